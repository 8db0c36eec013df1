//! The statements that make the table, and those that look at it.

use super::SCHEMA_VERSION;
use crate::dialect::Dialect;

/// What stands before the version's number.
pub(super) const NOTE: &str = "cachette ";

/// The note is within the parentheses, as SQLite keeps no text behind them.
fn sqlite_index(if_absent: &str) -> String {
    format!("CREATE INDEX {if_absent}{{i}} ON {{t}} (expires /* {NOTE}{SCHEMA_VERSION} */)")
}

fn postgres_note() -> String {
    format!("COMMENT ON TABLE {{t}} IS '{NOTE}{SCHEMA_VERSION}'")
}

const POSTGRES_INDEX: &str = "CREATE INDEX IF NOT EXISTS {i} ON {t} (expires)";

/// All that a new table takes.
pub(super) fn create(dialect: Dialect, unlogged: bool) -> Vec<String> {
    match dialect {
        Dialect::Sqlite => vec![
            "CREATE TABLE IF NOT EXISTS {t} \
             (cache_key BLOB NOT NULL PRIMARY KEY, value BLOB, number INTEGER, expires INTEGER NOT NULL)"
                .into(),
            sqlite_index("IF NOT EXISTS "),
        ],
        Dialect::Postgres => vec![
            format!(
                "CREATE {}TABLE IF NOT EXISTS {{t}} \
                 (cache_key bytea NOT NULL PRIMARY KEY, value bytea, number bigint, expires bigint NOT NULL)",
                if unlogged { "UNLOGGED " } else { "" }
            ),
            POSTGRES_INDEX.into(),
            postgres_note(),
        ],
        Dialect::Mysql => vec![format!(
            "CREATE TABLE IF NOT EXISTS {{t}} \
             (cache_key VARBINARY(1024) NOT NULL PRIMARY KEY, value LONGBLOB, number BIGINT, expires BIGINT NOT NULL, \
             INDEX {{i}} (expires)) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = '{NOTE}{SCHEMA_VERSION}'"
        )],
    }
}

/// What a table with the right columns takes to be of this version.
pub(super) fn upgrade(dialect: Dialect, has_index: bool) -> Vec<String> {
    match dialect {
        Dialect::Sqlite => vec!["DROP INDEX IF EXISTS {i}".into(), sqlite_index("")],
        Dialect::Postgres => vec![POSTGRES_INDEX.into(), postgres_note()],
        Dialect::Mysql => {
            let note = format!("ALTER TABLE {{t}} COMMENT = '{NOTE}{SCHEMA_VERSION}'");
            let index = (!has_index).then(|| "ALTER TABLE {t} ADD INDEX {i} (expires)".to_owned());
            index.into_iter().chain([note]).collect()
        }
    }
}

/// Lets one at a time make tables: `IF NOT EXISTS` alone does not, on PostgreSQL.
pub(super) const POSTGRES_LOCK: &str = "SELECT pg_advisory_xact_lock(7161677480)";

pub(super) const SQLITE_LOOK: &str = "SELECT \
    (SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?), \
    (SELECT group_concat(name, ',') FROM pragma_table_info(here.name)), \
    (SELECT COUNT(*) FROM sqlite_master WHERE type = 'index' AND name = ?) \
    FROM sqlite_master AS here WHERE here.type = 'table' AND here.name = ? COLLATE NOCASE";

pub(super) const POSTGRES_LOOK: &str = "SELECT \
    obj_description(here.oid, 'pg_class'), \
    (SELECT string_agg(attname::text, ',') FROM pg_attribute \
        WHERE attrelid = here.oid AND attnum > 0 AND NOT attisdropped), \
    (SELECT COUNT(*) FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] \
        WHERE indrelid = here.oid AND attname = 'expires') \
    FROM pg_class AS here WHERE here.oid = to_regclass(?::text)";

pub(super) const MYSQL_LOOK: &str = "SELECT \
    CAST(here.table_comment AS CHAR), \
    (SELECT CAST(GROUP_CONCAT(c.column_name) AS CHAR) FROM information_schema.columns AS c \
        WHERE c.table_schema = here.table_schema AND c.table_name = here.table_name), \
    (SELECT COUNT(*) FROM information_schema.statistics AS s \
        WHERE s.table_schema = here.table_schema AND s.table_name = here.table_name \
        AND s.column_name = 'expires' AND s.seq_in_index = 1) \
    FROM information_schema.tables AS here WHERE here.table_schema = DATABASE() AND here.table_name = ?";
