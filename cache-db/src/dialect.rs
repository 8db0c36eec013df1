//! The SQL of each database.
//!
//! The table is `cache_key`, `value`, `number`, `expires`. An entry is an integer where `number` is set, and bytes where
//! `value` is. `expires` is a count of microseconds since 1970 UTC and no timestamp of the database's: it means the same in
//! all three, knows no time zone, is compared as it is bound, and has room for those that never expire. These are above
//! [`NEVER`] by the time at which they were written, so that the index on `expires` knows the oldest of them.

mod mysql;
mod postgres;
mod sqlite;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::{
    error::Fault,
    statement::{Answers, Arg, Outcome, Statement},
};

/// An `expires` of so much or more is none at all. 2^62 microseconds are 146,000 years.
pub(crate) const NEVER: i64 = 1 << 62;

/// A database's ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
    Mysql,
}

impl Dialect {
    /// What the error of this code means.
    pub(crate) fn fault(self, code: &str, message: &str) -> Fault {
        match self {
            Self::Sqlite => sqlite::fault(code, message),
            Self::Postgres => postgres::fault(code, message),
            Self::Mysql => mysql::fault(code),
        }
    }

    /// The name, as an identifier.
    pub(crate) fn quoted(self, name: &str) -> String {
        let quote = if self == Self::Mysql { '`' } else { '"' };
        let mut quoted = String::with_capacity(name.len() + 2);
        quoted.push(quote);
        for character in name.chars() {
            if character == quote {
                quoted.push(quote);
            }
            quoted.push(character);
        }
        quoted.push(quote);
        quoted
    }

    /// Why the database would not take the name, if so.
    pub(crate) fn refuses_name(self, name: &str) -> Option<&'static str> {
        if name.is_empty() || name.contains('\0') {
            return Some("the name of a table, without NUL");
        }
        match self {
            Self::Sqlite => sqlite::refuses_name(name),
            Self::Postgres => postgres::refuses_name(name),
            Self::Mysql => mysql::refuses_name(name),
        }
    }

    /// How many keys or entries go into one statement.
    pub(crate) fn chunk(self) -> usize {
        match self {
            Self::Sqlite => sqlite::CHUNK,
            Self::Postgres => postgres::CHUNK,
            Self::Mysql => mysql::CHUNK,
        }
    }

    /// The template as this database takes it: `{t}` is the table, `{i}` the index, and `?` an argument.
    pub(crate) fn sql(self, template: &str, table: &str) -> SqlStr {
        let numbered =
            if self == Self::Postgres { postgres::numbered(template) } else { template.to_owned() };
        let index = self.quoted(&self.index(table));
        let text = fill(&numbered, &self.quoted(table), &index);
        // The one place where a name gets into SQL: `quoted` has made an identifier of it.
        AssertSqlSafe(std::sync::Arc::<str>::from(text)).into_sql_str()
    }

    /// The name of the index on `expires`. MySQL's belong to their table; elsewhere it is the table's with `_expires`, cut to
    /// what a name may be.
    pub(crate) fn index(self, table: &str) -> String {
        match self {
            Self::Sqlite => format!("{table}_expires"),
            Self::Postgres => postgres::index(table),
            Self::Mysql => "expires".into(),
        }
    }
}

/// Puts the names in, both at once, lest a table be called `{i}`.
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

/// The statements on one table, ready to be bound.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) dialect: Dialect,
    pub(crate) table: String,
    get: SqlStr,
    expiry: SqlStr,
    upsert: SqlStr,
    add: SqlStr,
    revive: SqlStr,
    touch: SqlStr,
    incr: SqlStr,
    delete: SqlStr,
    count: SqlStr,
    soonest: SqlStr,
    cutoff: SqlStr,
}

/// Few enough to be removed well within a statement's time.
const CLEARED_AT_ONCE: u64 = 10_000;

const ASSIGN: &str = "value = excluded.value, number = excluded.number, expires = excluded.expires";

impl Statements {
    pub(crate) fn new(dialect: Dialect, table: &str) -> Self {
        let sql = |template: &str| dialect.sql(template, table);
        let insert = "INSERT INTO {t} (cache_key, value, number, expires) VALUES (?, ?, ?, ?)";
        let (upsert, add, incr) = match dialect {
            Dialect::Mysql => (
                format!("{insert} {}", mysql::OVERWRITE),
                insert.replacen("INSERT", "INSERT IGNORE", 1),
                mysql::INCR.to_owned(),
            ),
            Dialect::Sqlite | Dialect::Postgres => (
                format!("{insert} ON CONFLICT (cache_key) DO UPDATE SET {ASSIGN}"),
                format!("{insert} ON CONFLICT (cache_key) DO UPDATE SET {ASSIGN} WHERE {{t}}.expires <= ?"),
                "UPDATE {t} SET number = number + ? WHERE cache_key = ? AND expires > ? AND number BETWEEN ? AND ? \
                 RETURNING number"
                    .to_owned(),
            ),
        };
        Self {
            dialect,
            table: table.into(),
            get: sql("SELECT value, number FROM {t} WHERE cache_key = ? AND expires > ?"),
            expiry: sql("SELECT expires FROM {t} WHERE cache_key = ? AND expires > ?"),
            upsert: sql(&upsert),
            add: sql(&add),
            revive: sql(
                "UPDATE {t} SET value = ?, number = ?, expires = ? WHERE cache_key = ? AND expires <= ?",
            ),
            touch: sql("UPDATE {t} SET expires = ? WHERE cache_key = ? AND expires > ?"),
            incr: sql(&incr),
            delete: sql("DELETE FROM {t} WHERE cache_key = ? AND expires > ?"),
            count: sql("SELECT COUNT(*) FROM {t} WHERE expires > ?"),
            soonest: sql(
                "SELECT cache_key FROM {t} WHERE expires > ? AND expires <= ? ORDER BY expires LIMIT ?",
            ),
            cutoff: sql(
                "SELECT expires FROM {t} WHERE expires > ? ORDER BY expires LIMIT 1 OFFSET ?",
            ),
        }
    }

    pub(crate) fn get<'a>(&self, key: &'a str, now: i64) -> Statement<'a> {
        statement(&self.get, vec![Arg::bytes(key.as_bytes()), Arg::int(now)], Answers::Entries)
    }

    /// When the entry expires, if it is there.
    pub(crate) fn expiry<'a>(&self, key: &'a str, now: i64) -> Statement<'a> {
        statement(&self.expiry, vec![Arg::bytes(key.as_bytes()), Arg::int(now)], Answers::Number)
    }

    pub(crate) fn set<'a>(&self, entry: Entry<'a>, expires: i64) -> Statement<'a> {
        statement(&self.upsert, entry.args(expires).into(), Answers::Nothing)
    }

    /// Stores where there is nothing, or (but for MySQL) something that has expired.
    pub(crate) fn add<'a>(&self, entry: Entry<'a>, expires: i64, now: i64) -> Statement<'a> {
        let mut args: Vec<_> = entry.args(expires).into();
        if self.dialect != Dialect::Mysql {
            args.push(Arg::int(now));
        }
        statement(&self.add, args, Answers::Nothing)
    }

    /// Stores over something that has expired.
    pub(crate) fn revive<'a>(&self, entry: Entry<'a>, expires: i64, now: i64) -> Statement<'a> {
        let [key, value, number, expires] = entry.args(expires);
        statement(&self.revive, vec![value, number, expires, key, Arg::int(now)], Answers::Nothing)
    }

    pub(crate) fn touch<'a>(&self, key: &'a str, expires: i64, now: i64) -> Statement<'a> {
        let args = vec![Arg::int(expires), Arg::bytes(key.as_bytes()), Arg::int(now)];
        statement(&self.touch, args, Answers::Nothing)
    }

    /// Adds where the sum fits. Answers it as a row, or on MySQL as the last id.
    pub(crate) fn incr<'a>(&self, key: &'a str, delta: i64, now: i64) -> Statement<'a> {
        let (least, most) = summands(delta);
        let args = vec![
            Arg::int(delta),
            Arg::bytes(key.as_bytes()),
            Arg::int(now),
            Arg::int(least),
            Arg::int(most),
        ];
        let answers =
            if self.dialect == Dialect::Mysql { Answers::Nothing } else { Answers::Number };
        statement(&self.incr, args, answers)
    }

    /// The sum that [`incr`](Self::incr) has made, if it has.
    pub(crate) fn sum(&self, outcome: &Outcome) -> Option<i64> {
        match self.dialect {
            Dialect::Mysql => (outcome.affected > 0).then_some(outcome.last_id.cast_signed()),
            Dialect::Sqlite | Dialect::Postgres => outcome.rows.first().and_then(|row| row.number),
        }
    }

    /// Whether [`add`](Self::add) is all that it takes to add.
    pub(crate) fn adds_at_once(&self) -> bool {
        self.dialect != Dialect::Mysql
    }

    pub(crate) fn delete<'a>(&self, key: &'a str, now: i64) -> Statement<'a> {
        statement(&self.delete, vec![Arg::bytes(key.as_bytes()), Arg::int(now)], Answers::Nothing)
    }

    /// How many rows expire after `now`.
    pub(crate) fn count(&self, now: i64) -> Statement<'static> {
        statement(&self.count, vec![Arg::int(now)], Answers::Number)
    }

    /// Finds nothing, and fails where the table's columns are not ours: of what another application has made, nothing may be
    /// removed.
    pub(crate) fn is_ours(&self) -> Statement<'static> {
        let template = "SELECT number FROM {t} WHERE 1 = 0 AND cache_key IS NULL AND value IS NULL AND expires IS NULL";
        statement(&self.sql(template), Vec::new(), Answers::Number)
    }

    /// How many bytes the keys and values of all rows have.
    pub(crate) fn bytes(&self) -> Statement<'static> {
        let integer = if self.dialect == Dialect::Mysql { "SIGNED" } else { "BIGINT" };
        let template = format!(
            "SELECT CAST(SUM(LENGTH(cache_key) + COALESCE(LENGTH(value), 8)) AS {integer}) FROM {{t}}"
        );
        statement(&self.sql(&template), Vec::new(), Answers::Number)
    }

    /// The keys of up to `most` rows that expire first, after `from` and not after `to`.
    pub(crate) fn soonest(&self, from: i64, to: i64, most: i64) -> Statement<'static> {
        statement(&self.soonest, vec![Arg::int(from), Arg::int(to), Arg::int(most)], Answers::Keys)
    }

    /// When the row expires that has `before` rows before it, of those that expire after `now`.
    pub(crate) fn cutoff(&self, now: i64, before: i64) -> Statement<'static> {
        statement(&self.cutoff, vec![Arg::int(now), Arg::int(before)], Answers::Number)
    }

    /// Removes rows, whatever is in them; to be repeated until it removes fewer than it could, where that is a number.
    pub(crate) fn clear(&self) -> (Statement<'static>, Option<u64>) {
        let (template, most) = match self.dialect {
            Dialect::Sqlite => ("DELETE FROM {t}", None),
            Dialect::Postgres => (postgres::CLEAR, Some(CLEARED_AT_ONCE)),
            Dialect::Mysql => (mysql::CLEAR, Some(CLEARED_AT_ONCE)),
        };
        let args = most.iter().map(|&most| Arg::int(most.cast_signed())).collect();
        (statement(&self.sql(template), args, Answers::Nothing), most)
    }

    /// The entries of these keys, one chunk at most.
    pub(crate) fn get_many<'a>(&self, keys: &[&'a str], now: i64) -> Statement<'a> {
        let (list, args) = self.list(keys.iter().map(|key| key.as_bytes()));
        let template = format!(
            "SELECT cache_key, value, number FROM {{t}} WHERE cache_key {list} AND expires > ?"
        );
        self.with_time(&template, args, now, Answers::KeyedEntries)
    }

    /// Removes the rows of these keys that expire after `now`, one chunk at most.
    pub(crate) fn delete_many<'a>(&self, keys: &[&'a str], now: i64) -> Statement<'a> {
        let (list, args) = self.list(keys.iter().map(|key| key.as_bytes()));
        self.with_time(
            &format!("DELETE FROM {{t}} WHERE cache_key {list} AND expires > ?"),
            args,
            now,
            Answers::Nothing,
        )
    }

    /// Removes the rows of these keys that do not expire after `cutoff`, one chunk at most: a row that was written anew
    /// meanwhile stays.
    pub(crate) fn remove<'a>(
        &self,
        keys: impl ExactSizeIterator<Item = &'a [u8]>,
        cutoff: i64,
    ) -> Statement<'a> {
        let (list, args) = self.list(keys);
        let template = format!("DELETE FROM {{t}} WHERE cache_key {list} AND expires <= ?");
        self.with_time(&template, args, cutoff, Answers::Nothing)
    }

    /// Stores these entries, one chunk at most, whose keys differ.
    pub(crate) fn set_many<'a>(&self, entries: &[Entry<'a>], expires: i64) -> Statement<'a> {
        if self.dialect == Dialect::Postgres {
            return statement(
                &self.sql(postgres::SET_MANY),
                postgres::columns(entries, expires),
                Answers::Nothing,
            );
        }
        let overwrite = match self.dialect {
            Dialect::Mysql => mysql::OVERWRITE.to_owned(),
            _ => format!("ON CONFLICT (cache_key) DO UPDATE SET {ASSIGN}"),
        };
        let rows = vec!["(?, ?, ?, ?)"; entries.len()].join(", ");
        let template = format!(
            "INSERT INTO {{t}} (cache_key, value, number, expires) VALUES {rows} {overwrite}"
        );
        let args = entries.iter().flat_map(|entry| entry.args(expires)).collect();
        statement(&self.sql(&template), args, Answers::Nothing)
    }

    pub(crate) fn sql(&self, template: &str) -> SqlStr {
        self.dialect.sql(template, &self.table)
    }

    fn with_time<'a>(
        &self,
        template: &str,
        mut args: Vec<Arg<'a>>,
        time: i64,
        answers: Answers,
    ) -> Statement<'a> {
        args.push(Arg::int(time));
        statement(&self.sql(template), args, answers)
    }

    /// The condition that a column is one of these keys. Padded to powers of two, so that there are few statements to
    /// prepare.
    fn list<'a>(&self, keys: impl ExactSizeIterator<Item = &'a [u8]>) -> (String, Vec<Arg<'a>>) {
        if self.dialect == Dialect::Postgres {
            return ("= ANY(?)".into(), vec![Arg::AllBytes(keys.map(Some).collect())]);
        }
        let padded = keys.len().next_power_of_two();
        let mut args: Vec<Arg<'a>> = keys.map(Arg::bytes).collect();
        let last = args.last().cloned();
        args.resize_with(padded, || last.clone().unwrap_or(Arg::Bytes(None)));
        (format!("IN ({})", vec!["?"; padded].join(", ")), args)
    }
}

fn statement<'a>(sql: &SqlStr, args: Vec<Arg<'a>>, answers: Answers) -> Statement<'a> {
    Statement { sql: sql.clone(), args, answers }
}

/// The numbers to which `delta` can be added.
fn summands(delta: i64) -> (i64, i64) {
    if delta >= 0 { (i64::MIN, i64::MAX - delta) } else { (i64::MIN - delta, i64::MAX) }
}

/// A row to be written, but for its expiry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) number: Option<i64>,
}

impl<'a> Entry<'a> {
    fn args(self, expires: i64) -> [Arg<'a>; 4] {
        [
            Arg::bytes(self.key.as_bytes()),
            Arg::Bytes(self.value),
            Arg::Int(self.number),
            Arg::int(expires),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: [&str; 5] =
        ["x\"; DROP TABLE y; --", "`back` tick", "a ? b", "{i}{t}", "Žluťoučký"];

    #[test]
    fn a_name_is_one_identifier_whatever_is_in_it() {
        assert_eq!(Dialect::Sqlite.quoted(HOSTILE[0]), r#""x""; DROP TABLE y; --""#);
        assert_eq!(Dialect::Postgres.quoted(HOSTILE[0]), r#""x""; DROP TABLE y; --""#);
        assert_eq!(Dialect::Mysql.quoted(HOSTILE[1]), "```back`` tick`");
    }

    #[test]
    fn what_stands_in_a_name_is_neither_an_argument_nor_a_place_for_another_name() {
        for name in HOSTILE {
            let sql = Dialect::Postgres.sql("SELECT ? FROM {t} WHERE ? = {i}", name);
            let (table, index) =
                (Dialect::Postgres.quoted(name), Dialect::Postgres.quoted(&postgres::index(name)));
            assert_eq!(sql.as_str(), format!("SELECT $1 FROM {table} WHERE $2 = {index}"));
        }
    }

    #[test]
    fn a_list_of_keys_has_a_power_of_two_of_arguments() {
        let statements = Statements::new(Dialect::Sqlite, "t");
        let statement = statements.get_many(&["a", "b", "c"], 7);
        assert!(statement.sql.as_str().contains("IN (?, ?, ?, ?)"), "{:?}", statement.sql);
        assert_eq!(statement.args.len(), 5);
    }

    #[test]
    fn the_numbers_that_fit_are_told_from_those_that_do_not() {
        for delta in [0, 1, -1, i64::MAX, i64::MIN, 5, -5] {
            let (least, most) = summands(delta);
            assert!(
                least.checked_add(delta).is_some() && most.checked_add(delta).is_some(),
                "{delta}"
            );
            assert!(least == i64::MIN || (least - 1).checked_add(delta).is_none(), "{delta}");
            assert!(most == i64::MAX || (most + 1).checked_add(delta).is_none(), "{delta}");
        }
    }
}
