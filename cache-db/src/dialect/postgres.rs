//! PostgreSQL.

mod errors;

#[cfg(test)]
pub(super) use self::errors::ERRORS;
use super::{Bulk, Dialect, LeaseSql, NameArg, Schema, Sql, shared};

/// The server truncates longer names, so that two tables would become one.
const MAX_NAME_BYTES: usize = 63;

pub(crate) static POSTGRES: Dialect = Dialect {
    name: "PostgreSQL",
    code_name: "SQLSTATE",
    classify: errors::classify,
    unsafe_settings: None,
    quote: '"',
    numbered_placeholders: true,
    violated_name_rule,
    index_name,
    pgbouncer: true,
    // Keys and entries are passed as arrays, whose limit is far away.
    max_rows: 10_000,
    rows_by_powers_of_two: false,
    // Few enough to be removed well within `statement_timeout`.
    max_cleared: Some(10_000),
    sql: Sql {
        set: shared::SET,
        add: shared::ADD,
        add_replaces_expired: true,
        incr: shared::INCR,
        sum: shared::SUM,
        returning: Some(shared::RETURNING),
        bulk: Bulk::Arrays {
            // A DELETE alone would lock the rows in the order of the table, and cause deadlocks
            // with `set`. The subquery locks them before the first one is removed.
            delete: "DELETE FROM {t} WHERE cache_key = ANY (ARRAY (SELECT cache_key FROM {t} \
                WHERE cache_key = ANY (?) AND {condition} ORDER BY cache_key FOR UPDATE))",
            set: "INSERT INTO {t} (cache_key, value, number, expires) \
                SELECT entry.cache_key, entry.value, entry.number, ?::bigint \
                FROM UNNEST(?::bytea[], ?::bytea[], ?::bigint[]) \
                AS entry (cache_key, value, number) ON CONFLICT (cache_key) DO UPDATE \
                SET value = excluded.value, number = excluded.number, expires = excluded.expires",
        },
        lease: LeaseSql::One {
            mark: "WITH here AS (SELECT value, number, expires FROM {t} WHERE cache_key = ?), \
                leased AS (SELECT CASE WHEN expires > ? THEN ?::bytea \
                    WHEN expires < ? AND expires + number % 16777216 * 1000000 >= ? \
                    AND number <> ? THEN NULL ELSE ?::bytea END AS cache_key \
                    FROM (SELECT 1) AS one LEFT JOIN here ON TRUE), \
                mark AS (INSERT INTO {t} (cache_key, number, expires) \
                    SELECT cache_key, ?::bigint, ?::bigint FROM leased \
                    WHERE cache_key IS NOT NULL \
                    ON CONFLICT (cache_key) DO UPDATE \
                    SET value = NULL, number = excluded.number, expires = excluded.expires \
                    WHERE {t}.expires BETWEEN ? AND ? \
                    OR ({t}.expires < 0 AND ({t}.number = excluded.number \
                    OR {t}.expires + {t}.number % 16777216 * 1000000 < ?)) \
                    RETURNING cache_key) \
                SELECT here.value, here.number, here.expires, (SELECT COUNT(*) FROM mark) \
                FROM (SELECT 1) AS one LEFT JOIN here ON TRUE",
            remove: "WITH removed AS (\
                DELETE FROM {t} WHERE cache_key = ? AND number = ? AND expires < 0) ",
        },
        bytes: shared::BYTES,
        // In the order of the keys, like all statements that lock several rows.
        clear: "DELETE FROM {t} WHERE cache_key = ANY (ARRAY (SELECT cache_key FROM {t} \
            ORDER BY cache_key LIMIT ? FOR UPDATE))",
    },
    schema: Schema {
        inspect: "SELECT obj_description(here.oid, 'pg_class'), \
            (SELECT string_agg(attname::text, ',') FROM pg_attribute \
                WHERE attrelid = here.oid AND attnum > 0 AND NOT attisdropped), \
            (SELECT COUNT(*) FROM pg_index \
                JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] \
                WHERE indrelid = here.oid AND attname = 'expires') \
            FROM pg_class AS here WHERE here.oid = to_regclass(?::text)",
        inspect_args: &[NameArg::QuotedTable],
        facts: FACTS,
        facts_args: &[NameArg::QuotedTable],
        create: &[
            "CREATE TABLE IF NOT EXISTS {t} (cache_key bytea NOT NULL PRIMARY KEY, value bytea, \
             number bigint, expires bigint NOT NULL)",
            CREATE_INDEX,
            COMMENT,
        ],
        create_unlogged: &[
            "CREATE UNLOGGED TABLE IF NOT EXISTS {t} (cache_key bytea NOT NULL PRIMARY KEY, \
             value bytea, number bigint, expires bigint NOT NULL)",
            CREATE_INDEX,
            COMMENT,
        ],
        add_index: &[],
        upgrade: &[CREATE_INDEX, COMMENT],
        is_transactional: true,
        // `IF NOT EXISTS` alone does not prevent concurrent creations from failing.
        lock: Some("SELECT pg_advisory_xact_lock(7161677480)"),
    },
};

/// `pg_stat_activity` has the processes of the server as well, and hides which these are from users
/// without rights.
const FACTS: &str = "WITH here AS (SELECT to_regclass(?::text)::oid AS oid) \
    SELECT 'server', current_setting('server_version'), pg_total_relation_size(oid) FROM here \
    UNION ALL SELECT 'clock', NULL, \
        CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint) \
    UNION ALL SELECT 'persistence', relpersistence::text, NULL \
        FROM pg_class JOIN here USING (oid) \
    UNION ALL SELECT 'unique keys', NULL, COUNT(*) \
        FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] \
        JOIN here ON here.oid = indrelid \
        WHERE indisunique AND indisvalid AND indnatts = 1 AND attname = 'cache_key' \
    UNION ALL SELECT 'invalid indexes', string_agg(indexrelid::regclass::text, ', '), COUNT(*) \
        FROM pg_index JOIN here ON here.oid = indrelid WHERE NOT indisvalid \
    UNION ALL SELECT 'dead rows', n_live_tup::text, n_dead_tup \
        FROM pg_stat_user_tables JOIN here ON here.oid = relid \
    UNION ALL SELECT 'connections', current_setting('max_connections'), \
        CAST(SUM(numbackends) AS bigint) FROM pg_stat_database";

const CREATE_INDEX: &str = "CREATE INDEX IF NOT EXISTS {i} ON {t} (expires)";
const COMMENT: &str = "COMMENT ON TABLE {t} IS '{note}'";

/// Settings of a session, whatever the defaults of the server and of the role are.
///
/// A statement whose caller has timed out must not be executed later. At a stricter level of
/// isolation, concurrent writes of a key would fail instead of waiting for each other.
#[cfg(feature = "postgres")]
pub(crate) fn session_settings(
    statement_timeout: std::time::Duration,
) -> [(&'static str, String); 2] {
    [
        ("statement_timeout", format!("{}ms", statement_timeout.as_millis())),
        ("default_transaction_isolation", "read committed".into()),
    ]
}

fn violated_name_rule(name: &str) -> Option<&'static str> {
    (name.len() > MAX_NAME_BYTES)
        .then_some("a name of at most 63 bytes, because PostgreSQL truncates longer ones")
}

/// The table's name with a suffix. If that is too long, the name is truncated and a hash of the
/// whole name is appended.
fn index_name(table: &str) -> String {
    const SUFFIX: &str = "_expires";
    if table.len() + SUFFIX.len() <= MAX_NAME_BYTES {
        return format!("{table}{SUFFIX}");
    }
    // FNV-1a. It must be stable, because the name of an existing index depends on it.
    let digest = table.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let end = table.floor_char_boundary(MAX_NAME_BYTES - SUFFIX.len() - "_".len() - 16);
    format!("{}_{digest:016x}{SUFFIX}", &table[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_name_of_a_long_table_name_is_unique_and_fits() {
        let names = ["ž".repeat(31), format!("{}a", "ž".repeat(31))];
        for name in &names {
            let index = index_name(name);
            assert!(name.len() <= MAX_NAME_BYTES && index.len() <= MAX_NAME_BYTES, "{index}");
        }
        assert_ne!(index_name(&names[0]), index_name(&names[1]));
        assert_eq!(index_name("t"), "t_expires");
    }
}
