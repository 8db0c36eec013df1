//! MySQL and MariaDB.

mod errors;

#[cfg(test)]
pub(super) use self::errors::ERRORS;
use super::{Bulk, Dialect, LeaseSql, NameArg, Schema, Sql, Sum};

pub(crate) static MYSQL: Dialect = Dialect {
    name: "MySQL",
    code_name: "error",
    classify: errors::classify,
    unsafe_settings: Some(UNSAFE_SETTINGS),
    quote: '`',
    numbered_placeholders: false,
    violated_name_rule,
    // Index names belong to their table.
    index_name: |_| "expires".into(),
    pgbouncer: false,
    // With four arguments each, this is below MySQL's limit of 65,535 arguments.
    max_rows: 1024,
    rows_by_powers_of_two: false,
    // Few enough to be removed well within `statement_timeout`.
    max_cleared: Some(10_000),
    sql: Sql {
        set: "INSERT INTO {t} (cache_key, value, number, expires) VALUES (?, ?, ?, ?) \
            ON DUPLICATE KEY UPDATE \
            value = VALUES(value), number = VALUES(number), expires = VALUES(expires)",
        add: "INSERT IGNORE INTO {t} (cache_key, value, number, expires) VALUES (?, ?, ?, ?)",
        add_replaces_expired: false,
        // There is no RETURNING. The last insert ID is unsigned until it is cast.
        incr: "UPDATE {t} SET number = CAST(LAST_INSERT_ID(number + ?) AS SIGNED) \
            WHERE cache_key = ? AND expires > ? AND number BETWEEN ? AND ?",
        sum: Sum::LastInsertId,
        returning: None,
        bulk: Bulk::Placeholders {
            on_conflict: "ON DUPLICATE KEY UPDATE \
                value = VALUES(value), number = VALUES(number), expires = VALUES(expires)",
        },
        // An INSERT that selects from the table would lock more than its row.
        lease: LeaseSql::Steps {
            mark: "INSERT IGNORE INTO {t} (cache_key, number, expires) VALUES (?, ?, ?)",
        },
        bytes: "SELECT CAST(SUM(LENGTH(cache_key) + COALESCE(LENGTH(value), 8)) AS SIGNED) \
            FROM {t} WHERE expires >= 0",
        clear: "DELETE FROM {t} ORDER BY cache_key LIMIT ?",
    },
    schema: Schema {
        inspect: "SELECT CAST(here.table_comment AS CHAR), \
            (SELECT CAST(GROUP_CONCAT(c.column_name) AS CHAR) FROM information_schema.columns AS c \
                WHERE c.table_schema = here.table_schema AND c.table_name = here.table_name), \
            (SELECT COUNT(*) FROM information_schema.statistics AS s \
                WHERE s.table_schema = here.table_schema AND s.table_name = here.table_name \
                AND s.column_name = 'expires' AND s.seq_in_index = 1) \
            FROM information_schema.tables AS here \
            WHERE here.table_schema = DATABASE() AND here.table_name = ?",
        inspect_args: &[NameArg::Table],
        facts: FACTS,
        facts_args: &[NameArg::Table, NameArg::Table, NameArg::Table],
        create: CREATE,
        create_unlogged: CREATE,
        add_index: &["ALTER TABLE {t} ADD INDEX {i} (expires)"],
        upgrade: &["ALTER TABLE {t} COMMENT = '{note}'"],
        is_transactional: false,
        lock: None,
    },
};

/// A user without the right PROCESS sees only its own connections.
const FACTS: &str = "SELECT 'server', CAST(VERSION() AS CHAR), CAST(( \
        SELECT data_length + index_length FROM information_schema.tables \
        WHERE table_schema = DATABASE() AND table_name = ?) AS SIGNED) \
    UNION ALL SELECT 'clock', NULL, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED) \
    UNION ALL SELECT 'engine', CAST(engine AS CHAR), CAST(NULL AS SIGNED) \
        FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ? \
    UNION ALL SELECT 'unique keys', NULL, CAST(COUNT(*) AS SIGNED) \
        FROM information_schema.statistics \
        WHERE table_schema = DATABASE() AND table_name = ? \
        AND non_unique = 0 AND seq_in_index = 1 AND column_name = 'cache_key' \
    UNION ALL SELECT 'connections', CAST(@@max_connections AS CHAR), CAST(COUNT(*) AS SIGNED) \
        FROM information_schema.processlist WHERE command <> 'Daemon'";

const CREATE: &[&str] = &["CREATE TABLE IF NOT EXISTS {t} \
    (cache_key VARBINARY(1024) NOT NULL PRIMARY KEY, value LONGBLOB, number BIGINT, \
    expires BIGINT NOT NULL, INDEX {i} (expires)) \
    ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = '{note}'"];

/// Without autocommit, and with chained transactions, writes are never committed. A limit of rows
/// hides entries from `get_many`.
const UNSAFE_SETTINGS: &str = "SELECT requirement, found, CAST(0 AS SIGNED) FROM ( \
    SELECT 'autocommit = 1' AS requirement, CAST(@@autocommit AS CHAR) AS found, \
        @@autocommit = 1 AS is_met \
    UNION ALL SELECT 'completion_type = NO_CHAIN', CAST(@@completion_type AS CHAR), \
        @@completion_type IN ('NO_CHAIN', '0') \
    UNION ALL SELECT 'a sql_mode without EMPTY_STRING_IS_NULL', CAST(@@sql_mode AS CHAR), \
        FIND_IN_SET('EMPTY_STRING_IS_NULL', @@sql_mode) = 0 \
    UNION ALL SELECT 'sql_select_limit of at least 1024', CAST(@@sql_select_limit AS CHAR), \
        @@sql_select_limit >= 1024 \
    ) AS settings WHERE NOT is_met";

/// Sets what the store relies on, whatever the defaults of the server are.
///
/// - `autocommit`, `completion_type`: a single statement is a transaction, and ends with it.
/// - `sql_mode`: values are stored unchanged or rejected, an empty value is not NULL, and a table
///   has the engine that was named.
/// - `sql_safe_updates`, `sql_select_limit`, `sql_big_selects`, `group_concat_max_len`: statements
///   are neither rejected nor their results truncated.
/// - `time_zone`: the store uses none, and the server need not know its system's.
/// - The timeouts: a statement whose caller has timed out does not wait for a lock.
#[cfg(feature = "mysql")]
pub(crate) fn session_settings(statement_timeout: std::time::Duration) -> [String; 2] {
    let seconds = statement_timeout.as_secs().max(1);
    let set = format!(
        "SET autocommit = 1, completion_type = 0, \
         sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', sql_safe_updates = 0, \
         sql_select_limit = 18446744073709551615, sql_big_selects = 1, \
         group_concat_max_len = 65536, time_zone = '+00:00', \
         lock_wait_timeout = {seconds}, innodb_lock_wait_timeout = {seconds}"
    );
    // The default. The name of the variable depends on the version.
    [set, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ".into()]
}

fn violated_name_rule(name: &str) -> Option<&'static str> {
    if name.chars().count() > 64 {
        return Some("a name of at most 64 characters, which is MySQL's limit");
    }
    if name.ends_with(' ') {
        return Some("a name without trailing spaces, which MySQL rejects");
    }
    let is_beyond_bmp = name.chars().any(|character| u32::from(character) > 0xffff);
    is_beyond_bmp.then_some("a name of characters up to U+FFFF, because MySQL rejects others")
}
