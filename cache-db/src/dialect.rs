//! The differences between the databases.
//!
//! Each database is one constant of the type [`Dialect`]. Other code reads the constant and never
//! checks which database it belongs to. It contains no driver types.
//!
//! The table has the columns `cache_key`, `value`, `number` and `expires`. An entry is an integer
//! if `number` is set, and bytes if `value` is. `expires` counts microseconds since 1970 UTC and is
//! not a timestamp type: a count means the same in every database, has no time zone, and has values
//! left for entries that never expire. Those have [`NEVER`](crate::statements::NEVER) plus the time
//! they were written at, so that the index on `expires` orders them by age.
//!
//! A row whose `expires` is negative is no entry but the mark of a [lease](crate::leases).

mod error_code;
pub(crate) mod mysql;
pub(crate) mod postgres;
mod shared;
pub(crate) mod sqlite;

use std::sync::Arc;

use crate::fault::Fault;

/// The SQL texts, limits and error codes of one database.
///
/// In SQL texts, `{t}` stands for the table, `{i}` for the index on `expires`, and `?` for an
/// argument. In the texts of the [schema](Schema), `{note}` stands for the version note.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// The name of the database in messages.
    pub(crate) name: &'static str,
    /// What the database calls its error codes.
    pub(crate) code_name: &'static str,
    /// Classifies an error by its code and its message.
    pub(crate) classify: fn(code: &str, message: &str) -> Fault,

    /// Selects the settings of the session that lose writes or values: what the store requires,
    /// and what was found. The third column has no meaning.
    pub(crate) unsafe_settings: Option<&'static str>,

    /// The quotation mark of identifiers.
    pub(crate) quote: char,
    /// Whether placeholders are numbered (`$1`) instead of `?`.
    pub(crate) numbered_placeholders: bool,
    /// What the database requires of table names, if this name violates it.
    pub(crate) violated_name_rule: fn(name: &str) -> Option<&'static str>,
    /// The name of the index on `expires` for this table.
    pub(crate) index_name: fn(table: &str) -> String,

    /// Whether the option `pgbouncer` applies.
    pub(crate) pgbouncer: bool,
    /// The maximum number of keys or entries in one statement.
    pub(crate) max_rows: usize,
    /// Whether a statement stores a number of entries that is a power of two.
    pub(crate) rows_by_powers_of_two: bool,
    /// The maximum number of rows that [`Sql::clear`] removes, if it is limited.
    pub(crate) max_cleared: Option<u64>,

    pub(crate) sql: Sql,
    pub(crate) schema: Schema,
}

/// The statements on entries that differ between the databases.
#[derive(Debug)]
pub(crate) struct Sql {
    /// Stores an entry.
    pub(crate) set: &'static str,
    /// Stores an entry if none exists.
    pub(crate) add: &'static str,
    /// Whether `add` also replaces an expired row. It then takes the current time as last argument.
    pub(crate) add_replaces_expired: bool,
    /// Adds to a number.
    pub(crate) incr: &'static str,
    /// How `incr` reports the sum.
    pub(crate) sum: Sum,
    /// Statements that change a row and return it, if the database has such.
    pub(crate) returning: Option<Returning>,
    /// Statements on several keys.
    pub(crate) bulk: Bulk,
    /// Statements on the marks of leases.
    pub(crate) lease: LeaseSql,
    /// Computes the size of the keys and values of all entries in bytes.
    pub(crate) bytes: &'static str,
    /// Removes rows, at most the number given by its argument if the number is limited.
    pub(crate) clear: &'static str,
}

/// How a statement reports the number that it computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    /// As a row.
    Returned,
    /// As the last insert ID.
    LastInsertId,
}

/// The statements that change a row and return it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Returning {
    /// Stores a number if there is no entry, and adds to one that exists. Returns no row if that is
    /// not possible.
    pub(crate) incr_or_set: &'static str,
    /// Sets `expires` and returns the value.
    pub(crate) get_and_touch: &'static str,
}

/// How a statement takes several keys or entries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bulk {
    /// As one array per column. `set` stores the entries. `delete` removes the rows of the keys for
    /// which `{condition}` is true.
    Arrays { set: &'static str, delete: &'static str },
    /// As one placeholder per value. `on_conflict` follows the inserted rows and overwrites those
    /// that exist.
    Placeholders { on_conflict: &'static str },
}

/// How many statements a lease takes.
///
/// `mark` stores a mark under a key that has neither an entry nor a mark that is held. If it
/// chooses the key, it takes the arguments of
/// [`Statements::mark`](crate::statements::Statements::mark): the key of an entry, or the key
/// beside it if there is an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LeaseSql {
    /// One. `mark` returns the row under the key as it was before, and how many marks it stored.
    /// `remove` precedes a statement and removes a mark.
    One { mark: &'static str, remove: &'static str },
    /// Several in a transaction, which costs no round trips. `mark` stores at most one mark.
    Transaction { mark: &'static str },
    /// Several, one after the other. `mark` inserts a row unless one exists.
    Steps { mark: &'static str },
}

/// The statements that inspect, create and upgrade the table.
#[derive(Debug)]
pub(crate) struct Schema {
    /// Selects the text that contains the version note, the names of the columns separated by
    /// commas, and the number of indexes on `expires`. Selects no row if the table does not exist.
    pub(crate) inspect: &'static str,
    /// The arguments of `inspect`.
    pub(crate) inspect_args: &'static [NameArg],
    /// Selects facts about the server and the table for operators: the name of a fact, a text and
    /// a number. See [`crate::diagnosis`].
    pub(crate) facts: &'static str,
    /// The arguments of `facts`.
    pub(crate) facts_args: &'static [NameArg],
    /// Creates the table, its index and its version note.
    pub(crate) create: &'static [&'static str],
    /// The same without crash safety, if the database has such tables.
    pub(crate) create_unlogged: &'static [&'static str],
    /// Adds the index to a table that has none.
    pub(crate) add_index: &'static [&'static str],
    /// Updates the version note, after `add_index` if that was needed.
    pub(crate) upgrade: &'static [&'static str],
    /// Whether these statements can be run in one transaction.
    pub(crate) is_transactional: bool,
    /// Runs first in that transaction, and lets others wait until its end.
    pub(crate) lock: Option<&'static str>,
}

/// A name as the argument of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NameArg {
    Table,
    QuotedTable,
    Index,
}

impl Dialect {
    /// Quotes a name as an identifier.
    pub(crate) fn quoted(&self, name: &str) -> String {
        let mut quoted = String::with_capacity(name.len() + 2);
        quoted.push(self.quote);
        for character in name.chars() {
            if character == self.quote {
                quoted.push(self.quote);
            }
            quoted.push(character);
        }
        quoted.push(self.quote);
        quoted
    }

    /// Builds the SQL of a template for this table.
    pub(crate) fn sql(&self, template: &str, table: &str) -> Arc<str> {
        let index = self.quoted(&(self.index_name)(table));
        let table = self.quoted(table);
        if self.numbered_placeholders {
            return fill(&numbered(template), &table, &index).into();
        }
        fill(template, &table, &index).into()
    }

    /// The requirement that a table name violates, if any.
    pub(crate) fn violated_name_rule(&self, name: &str) -> Option<&'static str> {
        if name.is_empty() || name.contains('\0') {
            return Some("the name of a table, without NUL");
        }
        (self.violated_name_rule)(name)
    }
}

/// Inserts the names in one pass, because a table may be named `{i}`.
fn fill(template: &str, table: &str, index: &str) -> String {
    let mut filled = String::with_capacity(template.len() + table.len());
    let mut rest = template;
    while let Some(position) = rest.find('{') {
        filled.push_str(&rest[..position]);
        filled.push_str(if rest[position..].starts_with("{t}") { table } else { index });
        rest = &rest[position + 3..];
    }
    filled.push_str(rest);
    filled
}

/// Replaces each `?` by `$1`, `$2` and so on.
fn numbered(template: &str) -> String {
    let mut parts = template.split('?');
    let mut numbered = parts.next().unwrap_or_default().to_owned();
    for (part, number) in parts.zip(1..) {
        numbered.push_str(&format!("${number}{part}"));
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::{mysql::MYSQL, postgres::POSTGRES, sqlite::SQLITE};

    const HOSTILE: [&str; 5] =
        ["x\"; DROP TABLE y; --", "`back` tick", "a ? b", "{i}{t}", "Žluťoučký"];

    #[test]
    fn quoted_name_is_one_identifier() {
        assert_eq!(SQLITE.quoted(HOSTILE[0]), r#""x""; DROP TABLE y; --""#);
        assert_eq!(POSTGRES.quoted(HOSTILE[0]), r#""x""; DROP TABLE y; --""#);
        assert_eq!(MYSQL.quoted(HOSTILE[1]), "```back`` tick`");
    }

    #[test]
    fn placeholders_in_names_are_not_replaced() {
        for name in HOSTILE {
            let sql = POSTGRES.sql("SELECT ? FROM {t} WHERE ? = {i}", name);
            let index = POSTGRES.quoted(&(POSTGRES.index_name)(name));
            let table = POSTGRES.quoted(name);
            assert_eq!(*sql, format!("SELECT $1 FROM {table} WHERE $2 = {index}"));
        }
    }
}
