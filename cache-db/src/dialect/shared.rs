//! SQL texts that SQLite and PostgreSQL share.

use super::Sum;

pub(super) const SET: &str = "INSERT INTO {t} (cache_key, value, number, expires) \
    VALUES (?, ?, ?, ?) ON CONFLICT (cache_key) DO UPDATE \
    SET value = excluded.value, number = excluded.number, expires = excluded.expires";

pub(super) const ADD: &str = "INSERT INTO {t} (cache_key, value, number, expires) \
    VALUES (?, ?, ?, ?) ON CONFLICT (cache_key) DO UPDATE \
    SET value = excluded.value, number = excluded.number, expires = excluded.expires \
    WHERE {t}.expires <= ?";

pub(super) const INCR: &str = "UPDATE {t} SET number = number + ? \
    WHERE cache_key = ? AND expires > ? AND number BETWEEN ? AND ? RETURNING number";

pub(super) const SUM: Sum = Sum::Returned;

pub(super) const BYTES: &str = "SELECT CAST(SUM(LENGTH(cache_key) + COALESCE(LENGTH(value), 8)) AS BIGINT) FROM {t} \
     WHERE expires >= 0";
