//! SQL texts that SQLite and PostgreSQL share.

use super::{Returning, Sum};

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

pub(super) const RETURNING: Returning = Returning {
    incr_or_set: "INSERT INTO {t} (cache_key, value, number, expires) VALUES (?, NULL, ?, ?) \
        ON CONFLICT (cache_key) DO UPDATE SET value = NULL, \
        number = CASE WHEN {t}.expires > ? THEN {t}.number + ? ELSE excluded.number END, \
        expires = CASE WHEN {t}.expires > ? THEN {t}.expires ELSE excluded.expires END \
        WHERE {t}.expires <= ? OR {t}.number BETWEEN ? AND ? RETURNING number",
    get_and_touch: "UPDATE {t} SET expires = ? WHERE cache_key = ? AND expires > ? \
        RETURNING value, number",
};

pub(super) const BYTES: &str = "SELECT CAST(SUM(LENGTH(cache_key) + COALESCE(LENGTH(value), 8)) AS BIGINT) FROM {t} \
     WHERE expires >= 0";
