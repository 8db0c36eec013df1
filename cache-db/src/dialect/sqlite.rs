//! SQLite.

use super::{Bulk, Dialect, LeaseSql, NameArg, Schema, Sql, shared};
use crate::fault::Fault;

pub(crate) static SQLITE: Dialect = Dialect {
    name: "SQLite",
    code_name: "code",
    classify,
    unsafe_settings: None,
    quote: '"',
    numbered_placeholders: false,
    violated_name_rule,
    index_name: |table| format!("{table}_expires"),
    pgbouncer: false,
    // With four arguments each, this is below SQLite's limit of 32,766 arguments.
    max_rows: 1024,
    rows_by_powers_of_two: true,
    max_cleared: None,
    sql: Sql {
        set: shared::SET,
        add: shared::ADD,
        add_replaces_expired: true,
        incr: shared::INCR,
        sum: shared::SUM,
        returning: Some(shared::RETURNING),
        bulk: Bulk::Placeholders {
            on_conflict: "ON CONFLICT (cache_key) DO UPDATE \
                SET value = excluded.value, number = excluded.number, expires = excluded.expires",
        },
        lease: LeaseSql::Transaction {
            mark: "WITH here AS (SELECT number, expires FROM {t} WHERE cache_key = ?), \
                leased AS (SELECT CASE WHEN expires > ? THEN ? \
                    WHEN expires < ? AND expires + number % 16777216 * 1000000 >= ? \
                    AND number <> ? THEN NULL ELSE ? END AS cache_key \
                    FROM (SELECT 1) AS one LEFT JOIN here ON TRUE) \
                INSERT INTO {t} (cache_key, number, expires) \
                SELECT cache_key, ?, ? FROM leased WHERE cache_key IS NOT NULL \
                ON CONFLICT (cache_key) DO UPDATE \
                SET value = NULL, number = excluded.number, expires = excluded.expires \
                WHERE {t}.expires BETWEEN ? AND ? \
                OR ({t}.expires < 0 AND ({t}.number = excluded.number \
                OR {t}.expires + {t}.number % 16777216 * 1000000 < ?))",
        },
        bytes: shared::BYTES,
        clear: "DELETE FROM {t}",
    },
    schema: Schema {
        inspect: "SELECT \
            (SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?), \
            (SELECT group_concat(name, ',') FROM pragma_table_info(here.name)), \
            (SELECT COUNT(*) FROM sqlite_master WHERE type = 'index' AND name = ?) \
            FROM sqlite_master AS here WHERE here.type = 'table' AND here.name = ? COLLATE NOCASE",
        inspect_args: &[NameArg::Index, NameArg::Index, NameArg::Table],
        facts: "SELECT 'server', sqlite_version(), \
            (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size) \
            UNION ALL SELECT 'unique keys', NULL, (SELECT COUNT(*) \
                FROM pragma_index_list(?) AS here, pragma_index_info(here.name) AS part \
                WHERE here.\"unique\" = 1 AND part.seqno = 0 AND part.name = 'cache_key')",
        facts_args: &[NameArg::Table],
        create: CREATE,
        create_unlogged: CREATE,
        add_index: &[],
        upgrade: &["DROP INDEX IF EXISTS {i}", "CREATE INDEX {i} ON {t} (expires /* {note} */)"],
        is_transactional: true,
        lock: None,
    },
};

/// The value comes last because SQLite reads a row up to the last column that it needs.
///
/// The note is within the parentheses because SQLite does not keep the text after them.
const CREATE: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS {t} (cache_key BLOB NOT NULL PRIMARY KEY, number INTEGER, \
     expires INTEGER NOT NULL, value BLOB)",
    "CREATE INDEX IF NOT EXISTS {i} ON {t} (expires /* {note} */)",
];

/// Classifies a [result code](https://www.sqlite.org/rescode.html) by its low byte, the primary
/// code.
fn classify(code: &str, message: &str) -> Fault {
    const ERROR: i32 = 1;
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const READONLY: i32 = 8;
    const FULL: i32 = 13;
    const CANTOPEN: i32 = 14;
    const TOOBIG: i32 = 18;
    match code.parse::<i32>().map(|code| code & 0xff) {
        Ok(BUSY | LOCKED) => Fault::Busy,
        Ok(READONLY) => Fault::ReadOnly,
        Ok(FULL) => Fault::Full,
        Ok(CANTOPEN) => Fault::Unavailable,
        Ok(TOOBIG) => Fault::TooLarge,
        Ok(ERROR) if message.starts_with("no such table: ") => Fault::MissingTable,
        Ok(ERROR)
            if message.starts_with("no such column: ")
                || message.contains(" has no column named ") =>
        {
            Fault::ForeignTable
        }
        _ => Fault::Other,
    }
}

fn violated_name_rule(name: &str) -> Option<&'static str> {
    let is_reserved = name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"));
    is_reserved.then_some("a name that does not begin with \"sqlite_\", which SQLite reserves")
}
