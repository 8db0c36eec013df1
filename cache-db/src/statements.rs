//! The statements on one table.

mod leases;

use std::sync::{Arc, OnceLock};

use self::leases::LeaseStatements;
pub(crate) use self::leases::{Expected, LONGEST_HOLD, Mark, is_held, mark_number};
use crate::{
    dialect::{Bulk, Dialect, Sum},
    entry::Entry,
    statement::{Arg, Columns, Outcome, Scope, Statement},
};

/// The smallest `expires` of an entry that never expires: 2^62 microseconds are 146,000 years.
pub(crate) const NEVER: i64 = 1 << 62;

/// The statements on one table of one database. Each method binds arguments to one of them.
///
/// The SQL of frequent statements is prepared once.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) dialect: &'static Dialect,
    pub(crate) table: String,
    get: Arc<str>,
    expiry: Arc<str>,
    set: Arc<str>,
    add: Arc<str>,
    revive: Arc<str>,
    touch: Arc<str>,
    incr: Arc<str>,
    incr_or_set: Option<Arc<str>>,
    get_and_touch: Option<Arc<str>>,
    delete: Arc<str>,
    count: Arc<str>,
    first_to_expire: Arc<str>,
    expiry_at: Arc<str>,
    leases: LeaseStatements,
    get_many: BySize,
    set_many: BySize,
    delete_many: BySize,
}

/// The SQL of a statement on several keys, for each power of two that is their number.
#[derive(Debug, Default)]
struct BySize([OnceLock<Arc<str>>; 11]);

impl BySize {
    /// Returns the SQL for this number of keys. `build` is called again for a number that is no
    /// power of two or is large.
    fn get(&self, count: usize, build: impl FnOnce() -> Arc<str>) -> Arc<str> {
        match self.0.get(count.trailing_zeros() as usize) {
            Some(slot) if count.is_power_of_two() => Arc::clone(slot.get_or_init(build)),
            _ => build(),
        }
    }
}

impl Statements {
    pub(crate) fn new(dialect: &'static Dialect, table: &str) -> Self {
        let sql = |template: &str| dialect.sql(template, table);
        Self {
            dialect,
            table: table.into(),
            get: sql("SELECT value, number FROM {t} WHERE cache_key = ? AND expires > ?"),
            expiry: sql("SELECT expires FROM {t} WHERE cache_key = ? AND expires > ?"),
            set: sql(dialect.sql.set),
            add: sql(dialect.sql.add),
            revive: sql("UPDATE {t} SET value = ?, number = ?, expires = ? \
                 WHERE cache_key = ? AND expires <= ?"),
            touch: sql("UPDATE {t} SET expires = ? WHERE cache_key = ? AND expires > ?"),
            incr: sql(dialect.sql.incr),
            incr_or_set: dialect.sql.returning.map(|returning| sql(returning.incr_or_set)),
            get_and_touch: dialect.sql.returning.map(|returning| sql(returning.get_and_touch)),
            delete: sql("DELETE FROM {t} WHERE cache_key = ? AND expires NOT BETWEEN 0 AND ?"),
            count: sql("SELECT COUNT(*) FROM {t} WHERE expires > ?"),
            first_to_expire: sql("SELECT cache_key FROM {t} WHERE expires > ? AND expires <= ? \
                 ORDER BY expires LIMIT ?"),
            expiry_at: sql("SELECT expires FROM {t} WHERE expires > ? \
                 ORDER BY expires LIMIT 1 OFFSET ?"),
            leases: LeaseStatements::new(dialect, table),
            get_many: BySize::default(),
            set_many: BySize::default(),
            delete_many: BySize::default(),
        }
    }

    /// How many of `count` entries the next statement of [`set_many`](Self::set_many) stores.
    ///
    /// SQLite prepares a statement for each number of entries, which takes longer than to run it.
    /// So the number is a power of two.
    pub(crate) fn rows_at_once(&self, count: usize) -> usize {
        if self.dialect.rows_by_powers_of_two { 1 << count.ilog2() } else { count }
    }

    pub(crate) fn get<'a>(&self, key: &'a str, now: i64) -> Statement<'a> {
        statement(&self.get, vec![Arg::bytes(key.as_bytes()), Arg::int(now)], Columns::Entry)
    }

    /// Selects the `expires` of an entry.
    pub(crate) fn expiry<'a>(&self, key: &'a str, now: i64) -> Statement<'a> {
        statement(&self.expiry, vec![Arg::bytes(key.as_bytes()), Arg::int(now)], Columns::Number)
    }

    pub(crate) fn set<'a>(&self, entry: Entry<'a>, expires: i64) -> Statement<'a> {
        statement(&self.set, entry.args(expires).into(), Columns::None)
    }

    /// Stores an entry if none exists. Replaces an expired one if
    /// [`add_replaces_expired`](crate::dialect::Sql::add_replaces_expired).
    pub(crate) fn add<'a>(&self, entry: Entry<'a>, expires: i64, now: i64) -> Statement<'a> {
        let mut args: Vec<_> = entry.args(expires).into();
        if self.dialect.sql.add_replaces_expired {
            args.push(Arg::int(now));
        }
        statement(&self.add, args, Columns::None)
    }

    /// Replaces an expired entry.
    pub(crate) fn revive<'a>(&self, entry: Entry<'a>, expires: i64, now: i64) -> Statement<'a> {
        let [key, value, number, expires] = entry.args(expires);
        statement(&self.revive, vec![value, number, expires, key, Arg::int(now)], Columns::None)
    }

    pub(crate) fn touch<'a>(&self, key: &'a str, expires: i64, now: i64) -> Statement<'a> {
        let args = vec![Arg::int(expires), Arg::bytes(key.as_bytes()), Arg::int(now)];
        statement(&self.touch, args, Columns::None)
    }

    /// Adds `delta` to a number, unless the sum overflows. [`sum`](Self::sum) extracts the sum.
    pub(crate) fn incr<'a>(&self, key: &'a str, delta: i64, now: i64) -> Statement<'a> {
        let (min, max) = summands(delta);
        let args = vec![
            Arg::int(delta),
            Arg::bytes(key.as_bytes()),
            Arg::int(now),
            Arg::int(min),
            Arg::int(max),
        ];
        let columns = match self.dialect.sql.sum {
            Sum::Returned => Columns::Number,
            Sum::LastInsertId => Columns::None,
        };
        statement(&self.incr, args, columns)
    }

    /// Stores `initial` if there is no entry, and otherwise adds `delta` to a number unless the sum
    /// overflows. Selects what it stored. `None` if the database has no such statement.
    pub(crate) fn incr_or_set<'a>(
        &self,
        key: &'a str,
        delta: i64,
        initial: i64,
        expires: i64,
        now: i64,
    ) -> Option<Statement<'a>> {
        let (min, max) = summands(delta);
        let numbers = [initial, expires, now, delta, now, now, min, max];
        let mut args = vec![Arg::bytes(key.as_bytes())];
        args.extend(numbers.map(Arg::int));
        Some(statement(self.incr_or_set.as_ref()?, args, Columns::Number))
    }

    /// Sets `expires` of an entry and selects its value. `None` if the database has no such
    /// statement.
    pub(crate) fn get_and_touch<'a>(
        &self,
        key: &'a str,
        expires: i64,
        now: i64,
    ) -> Option<Statement<'a>> {
        let args = vec![Arg::int(expires), Arg::bytes(key.as_bytes()), Arg::int(now)];
        Some(statement(self.get_and_touch.as_ref()?, args, Columns::Entry))
    }

    /// The sum that [`incr`](Self::incr) stored, if it changed a row.
    pub(crate) fn sum(&self, outcome: &Outcome) -> Option<i64> {
        match self.dialect.sql.sum {
            Sum::Returned => outcome.number(),
            Sum::LastInsertId => {
                (outcome.affected > 0).then_some(outcome.last_insert_id.cast_signed())
            }
        }
    }

    /// Removes the entry of a key, or the mark of a lease.
    ///
    /// Also a mark whose lease has ended: by the clock of its holder, it may still be held.
    pub(crate) fn delete<'a>(&self, key: &'a str, now: i64) -> Statement<'a> {
        let args = vec![Arg::bytes(key.as_bytes()), Arg::int(now)];
        statement(&self.delete, args, Columns::None)
    }

    /// Counts the rows that expire after `now`.
    pub(crate) fn count(&self, now: i64) -> Statement<'static> {
        on_table(&self.count, vec![Arg::int(now)], Columns::Number)
    }

    /// Selects no rows, and fails if the table has other columns. Run before statements that remove
    /// rows without naming all columns, because they must not empty another application's table.
    pub(crate) fn check_columns(&self) -> Statement<'static> {
        let template = "SELECT number FROM {t} \
            WHERE 1 = 0 AND cache_key IS NULL AND value IS NULL AND expires IS NULL";
        on_table(&self.sql(template), Vec::new(), Columns::Number)
    }

    /// Computes the size of the keys and values of all rows in bytes.
    pub(crate) fn bytes(&self) -> Statement<'static> {
        on_table(&self.sql(self.dialect.sql.bytes), Vec::new(), Columns::Number)
    }

    /// Selects the keys of the first `limit` rows that expire after `from` and not after `to`.
    pub(crate) fn first_to_expire(&self, from: i64, to: i64, limit: i64) -> Statement<'static> {
        let args = vec![Arg::int(from), Arg::int(to), Arg::int(limit)];
        on_table(&self.first_to_expire, args, Columns::Key)
    }

    /// Selects the keys and `expires` of the first `limit` rows in the order of the keys, from
    /// `first` up to before `end`.
    pub(crate) fn range<'a>(&self, first: &'a [u8], end: &'a [u8], limit: i64) -> Statement<'a> {
        let sql = self.sql(
            "SELECT cache_key, expires, number FROM {t} WHERE cache_key >= ? AND cache_key < ? \
             ORDER BY cache_key LIMIT ?",
        );
        on_table(&sql, vec![Arg::bytes(first), Arg::bytes(end), Arg::int(limit)], Columns::Listed)
    }

    /// Selects the keys, the `expires` and the sizes of the values of rows, whether they are
    /// entries or marks.
    pub(crate) fn sizes<'a>(&self, keys: &[&'a str]) -> Statement<'a> {
        let args = self.key_args(keys.iter().map(|key| key.as_bytes()));
        let sql = self.sql(&format!(
            "SELECT cache_key, expires, COALESCE(LENGTH(value), 8) + 0 * expires FROM {{t}} \
             WHERE cache_key {}",
            self.is_any_of(args.len())
        ));
        statement(&sql, args, Columns::Listed)
    }

    /// Selects the `expires` of the row at this position in the order of expiry, among those that
    /// expire after `now`.
    pub(crate) fn expiry_at(&self, position: i64, now: i64) -> Statement<'static> {
        on_table(&self.expiry_at, vec![Arg::int(now), Arg::int(position)], Columns::Number)
    }

    /// Removes rows. If [`max_cleared`](Dialect::max_cleared) is set, it must be repeated until it
    /// removes fewer rows than that.
    pub(crate) fn clear(&self) -> Statement<'static> {
        let limit = self.dialect.max_cleared.iter();
        let args = limit.map(|&limit| Arg::int(limit.cast_signed())).collect();
        on_table(&self.sql(self.dialect.sql.clear), args, Columns::None)
    }

    /// Selects the entries of at most [`max_rows`](Dialect::max_rows) keys.
    pub(crate) fn get_many<'a>(&self, keys: &[&'a str], now: i64) -> Statement<'a> {
        let mut args = self.key_args(keys.iter().map(|key| key.as_bytes()));
        let sql = self.get_many.get(args.len(), || {
            let condition = self.is_any_of(args.len());
            self.sql(&format!(
                "SELECT cache_key, value, number FROM {{t}} \
                 WHERE cache_key {condition} AND expires > ?"
            ))
        });
        args.push(Arg::int(now));
        statement(&sql, args, Columns::KeyedEntry)
    }

    /// Like [`delete`](Self::delete), for at most [`max_rows`](Dialect::max_rows) keys.
    pub(crate) fn delete_many<'a>(&self, keys: &[&'a str], now: i64) -> Statement<'a> {
        let mut args = self.key_args(keys.iter().map(|key| key.as_bytes()));
        let build = || self.delete_if("expires NOT BETWEEN 0 AND ?", args.len());
        let sql = self.delete_many.get(args.len(), build);
        args.push(Arg::int(now));
        statement(&sql, args, Columns::None)
    }

    /// Removes the rows of at most [`max_rows`](Dialect::max_rows) keys that expire after `from`
    /// and not after `to`. A row that was overwritten since its key was read stays.
    pub(crate) fn remove<'a>(
        &self,
        keys: impl ExactSizeIterator<Item = &'a [u8]>,
        from: i64,
        to: i64,
    ) -> Statement<'a> {
        let mut args = self.key_args(keys);
        let sql = self.delete_if("expires > ? AND expires <= ?", args.len());
        args.extend([Arg::int(from), Arg::int(to)]);
        on_table(&sql, args, Columns::None)
    }

    /// Stores at most [`max_rows`](Dialect::max_rows) entries, whose keys must be distinct.
    pub(crate) fn set_many<'a>(&self, entries: &[Entry<'a>], expires: i64) -> Statement<'a> {
        match self.dialect.sql.bulk {
            Bulk::Arrays { set, .. } => {
                statement(&self.sql(set), arrays(entries, expires), Columns::None)
            }
            Bulk::Placeholders { on_conflict } => {
                let sql = self.set_many.get(entries.len(), || {
                    let rows = vec!["(?, ?, ?, ?)"; entries.len()].join(", ");
                    self.sql(&format!(
                        "INSERT INTO {{t}} (cache_key, value, number, expires) VALUES {rows} \
                         {on_conflict}"
                    ))
                });
                let mut args = Vec::with_capacity(4 * entries.len());
                args.extend(entries.iter().flat_map(|entry| entry.args(expires)));
                statement(&sql, args, Columns::None)
            }
        }
    }

    pub(crate) fn sql(&self, template: &str) -> Arc<str> {
        self.dialect.sql(template, &self.table)
    }

    /// The statement that removes the rows of keys which [`key_args`](Self::key_args) binds to this
    /// number of arguments, if they fulfil the condition.
    fn delete_if(&self, condition: &str, args: usize) -> Arc<str> {
        match self.dialect.sql.bulk {
            Bulk::Arrays { delete, .. } => self.sql(&delete.replace("{condition}", condition)),
            Bulk::Placeholders { .. } => {
                let keys = self.is_any_of(args);
                self.sql(&format!("DELETE FROM {{t}} WHERE cache_key {keys} AND {condition}"))
            }
        }
    }

    /// The condition that a column equals one of the keys that [`key_args`](Self::key_args) binds
    /// to this number of arguments.
    fn is_any_of(&self, args: usize) -> String {
        match self.dialect.sql.bulk {
            Bulk::Arrays { .. } => "= ANY(?)".into(),
            Bulk::Placeholders { .. } => format!("IN ({})", vec!["?"; args].join(", ")),
        }
    }

    /// The arguments for keys: an array, or a list that is padded to a power of two, which limits
    /// the number of distinct statements to prepare.
    fn key_args<'a>(&self, keys: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Arg<'a>> {
        if let Bulk::Arrays { .. } = self.dialect.sql.bulk {
            return vec![Arg::BytesArray(keys.map(Some).collect())];
        }
        let padded = keys.len().next_power_of_two();
        let mut args = Vec::with_capacity(padded + 1);
        args.extend(keys.map(Arg::bytes));
        let last = args.last().cloned();
        args.resize_with(padded, || last.clone().unwrap_or(Arg::Bytes(None)));
        args
    }
}

fn statement<'a>(sql: &Arc<str>, args: Vec<Arg<'a>>, columns: Columns) -> Statement<'a> {
    Statement { sql: Arc::clone(sql), args, columns, scope: Scope::Entries }
}

fn on_table<'a>(sql: &Arc<str>, args: Vec<Arg<'a>>, columns: Columns) -> Statement<'a> {
    Statement { scope: Scope::Table, ..statement(sql, args, columns) }
}

/// The arguments of [`Bulk::Arrays`].
fn arrays<'a>(entries: &[Entry<'a>], expires: i64) -> Vec<Arg<'a>> {
    vec![
        Arg::int(expires),
        Arg::BytesArray(entries.iter().map(|entry| Some(entry.key.as_bytes())).collect()),
        Arg::BytesArray(entries.iter().map(|entry| entry.value).collect()),
        Arg::IntArray(entries.iter().map(|entry| entry.number).collect()),
    ]
}

/// The smallest and the largest number to which `delta` can be added.
fn summands(delta: i64) -> (i64, i64) {
    if delta >= 0 { (i64::MIN, i64::MAX - delta) } else { (i64::MIN - delta, i64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::sqlite::SQLITE;

    #[test]
    fn list_of_keys_is_padded_to_a_power_of_two() {
        let statements = Statements::new(&SQLITE, "t");
        let statement = statements.get_many(&["a", "b", "c"], 7);
        assert!(statement.sql.contains("IN (?, ?, ?, ?)"), "{:?}", statement.sql);
        assert_eq!(statement.args.len(), 5);
    }

    #[test]
    fn summands_are_all_numbers_that_do_not_overflow() {
        for delta in [0, 1, -1, i64::MAX, i64::MIN, 5, -5] {
            let (min, max) = summands(delta);
            assert!(min.checked_add(delta).is_some(), "{delta}");
            assert!(max.checked_add(delta).is_some(), "{delta}");
            assert!(min == i64::MIN || (min - 1).checked_add(delta).is_none(), "{delta}");
            assert!(max == i64::MAX || (max + 1).checked_add(delta).is_none(), "{delta}");
        }
    }
}
