//! The statements on the marks of leases.

use std::{sync::Arc, time::Duration};

use cache_core::{Bytes, Value};

use super::{Statements, statement};
use crate::{
    dialect::{Dialect, LeaseSql},
    entry::Entry,
    statement::{Arg, Columns, Statement},
};

#[derive(Debug)]
pub(super) struct LeaseStatements {
    row: Arc<str>,
    mark: Arc<str>,
    take: Arc<str>,
    fill: Arc<str>,
    keep: Arc<str>,
    remove: Arc<str>,
}

/// The longest time for which a lease is held, because a lease must end: half a year.
pub(crate) const LONGEST_HOLD: Duration = Duration::from_secs(HOLDS as u64 - 1);

/// The number of a mark is random, except for its last bits: the seconds for which the lease was
/// granted. They are what remains if it is divided by this.
const HOLDS: i64 = 1 << 24;
const _: () = assert!(HOLDS == 16_777_216, "the number in the SQL texts");

/// The difference between clocks that is expected, in microseconds.
///
/// A lease that was granted later than this in the future is not held: the clock of its holder was
/// wrong, and if the holder has died, the key would stay leased until that time.
const MAX_DIFFERENCE: i64 = 60_000_000;

/// Returns the number of a new mark.
pub(crate) fn mark_number(hold: Duration) -> i64 {
    let hold = hold.min(LONGEST_HOLD);
    let seconds = hold.as_secs() + u64::from(hold.subsec_nanos() > 0);
    let hold = i64::try_from(seconds).unwrap_or(HOLDS - 1);
    fastrand::i64(0..i64::MAX / HOLDS) * HOLDS + hold
}

/// Returns whether a mark is held. The same condition is in the SQL texts.
pub(crate) fn is_held(expires: i64, number: Option<i64>, now: i64) -> bool {
    let granted = |number: i64| -expires - number % HOLDS * 1_000_000;
    expires < -now && number.is_some_and(|number| granted(number) <= now + MAX_DIFFERENCE)
}

/// A mark to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark<'a> {
    /// The key of the entry.
    pub(crate) key: &'a str,
    /// The key of the mark if there is an entry. Without one, the entry is not leased.
    pub(crate) side: Option<&'a str>,
    pub(crate) number: i64,
    /// When the lease ends.
    pub(crate) until: i64,
}

/// What distinguishes an entry from those that replace it.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    Number(i64),
    Bytes(Bytes),
    /// The first bytes, which no other entry begins with.
    Stamp([u8; STAMPED_HEAD]),
}

/// The length of the header of an entry in the format 2 of `cache_core::codec` up to the end of its
/// stamp.
const STAMPED_HEAD: usize = 3 + 8;

impl Expected {
    /// Returns `None` if the value is of an unknown kind.
    pub(crate) fn new(value: &Value) -> Option<Self> {
        match value {
            Value::Int(number) => Some(Self::Number(*number)),
            Value::Bytes(bytes) => Some(match stamp(bytes) {
                Some(stamp) => Self::Stamp(stamp),
                None => Self::Bytes(bytes.clone()),
            }),
            _ => None,
        }
    }

    fn condition(&self) -> &'static str {
        match self {
            Self::Number(_) => "number = ?",
            Self::Bytes(_) => "number IS NULL AND value = ?",
            Self::Stamp(_) => "number IS NULL AND SUBSTR(value, 1, 11) = ?",
        }
    }

    fn arg(&self) -> Arg<'_> {
        match self {
            Self::Number(number) => Arg::int(*number),
            Self::Bytes(bytes) => Arg::bytes(bytes),
            Self::Stamp(stamp) => Arg::bytes(stamp),
        }
    }
}

/// The bytes up to the end of the stamp, if the entry has the format 2 and a stamp.
fn stamp(entry: &[u8]) -> Option<[u8; STAMPED_HEAD]> {
    const MAGIC: u8 = 0xC1;
    const FORMAT: u8 = 0x20;
    const HAS_STAMP: u8 = 0x20;
    let head: &[u8; STAMPED_HEAD] = entry.first_chunk()?;
    let [magic, format, flags, ..] = *head;
    (magic == MAGIC && format & 0xF0 == FORMAT && flags & HAS_STAMP != 0).then_some(*head)
}

impl LeaseStatements {
    pub(super) fn new(dialect: &Dialect, table: &str) -> Self {
        let sql = |template: &str| dialect.sql(template, table);
        let (LeaseSql::One { mark, .. }
        | LeaseSql::Transaction { mark }
        | LeaseSql::Steps { mark }) = dialect.sql.lease;
        Self {
            row: sql("SELECT value, number, expires, 0 FROM {t} WHERE cache_key = ?"),
            mark: sql(mark),
            take: sql("UPDATE {t} SET value = NULL, number = ?, expires = ? WHERE cache_key = ? \
                 AND (expires BETWEEN ? AND ? OR (expires < 0 \
                 AND (number = ? OR expires + number % 16777216 * 1000000 < ?)))"),
            fill: sql("UPDATE {t} SET value = ?, number = ?, expires = ? \
                 WHERE cache_key = ? AND number = ? AND expires < ?"),
            keep: sql("UPDATE {t} SET number = ?, expires = ? \
                 WHERE cache_key = ? AND number = ? AND expires < ?"),
            remove: sql("DELETE FROM {t} WHERE cache_key = ? AND number = ? AND expires < 0"),
        }
    }
}

impl Mark<'_> {
    /// The `expires` of the row: negative, so that every statement on entries finds the row
    /// expired, and so that the marks that are held come first in the index.
    fn expires(&self) -> i64 {
        -self.until
    }
}

impl Statements {
    /// Selects the row under a key, whether it is an entry or a mark.
    pub(crate) fn row<'a>(&self, key: &'a str) -> Statement<'a> {
        statement(&self.leases.row, vec![Arg::bytes(key.as_bytes())], Columns::Leasable)
    }

    /// Stores a mark under the key of the entry, or the one beside it: see [`LeaseSql`].
    pub(crate) fn mark<'a>(&self, mark: &Mark<'a>, now: i64) -> Statement<'a> {
        let args = vec![
            Arg::bytes(mark.key.as_bytes()),
            Arg::int(now),
            Arg::Bytes(mark.side.map(|side| side.as_bytes().into())),
            Arg::int(-now),
            Arg::int(-now - MAX_DIFFERENCE),
            Arg::int(mark.number),
            Arg::bytes(mark.key.as_bytes()),
            Arg::int(mark.number),
            Arg::int(mark.expires()),
            Arg::int(-now),
            Arg::int(now),
            Arg::int(-now - MAX_DIFFERENCE),
        ];
        let columns = match self.dialect.sql.lease {
            LeaseSql::One { .. } => Columns::Leasable,
            LeaseSql::Transaction { .. } | LeaseSql::Steps { .. } => Columns::None,
        };
        statement(&self.leases.mark, args, columns)
    }

    /// Inserts a mark unless there is a row. For [`LeaseSql::Steps`].
    pub(crate) fn insert_mark<'a>(&self, key: &'a str, mark: &Mark<'_>) -> Statement<'a> {
        let args =
            vec![Arg::bytes(key.as_bytes()), Arg::int(mark.number), Arg::int(mark.expires())];
        statement(&self.leases.mark, args, Columns::None)
    }

    /// Replaces an expired entry or a mark that is not held by this mark.
    pub(crate) fn take<'a>(&self, key: &'a str, mark: &Mark<'_>, now: i64) -> Statement<'a> {
        let args = vec![
            Arg::int(mark.number),
            Arg::int(mark.expires()),
            Arg::bytes(key.as_bytes()),
            Arg::int(-now),
            Arg::int(now),
            Arg::int(mark.number),
            Arg::int(-now - MAX_DIFFERENCE),
        ];
        statement(&self.leases.take, args, Columns::None)
    }

    /// Replaces a mark that is held by an entry.
    pub(crate) fn fill_mark<'a>(
        &self,
        entry: Entry<'a>,
        expires: i64,
        number: i64,
        now: i64,
    ) -> Statement<'a> {
        let [key, value, new, expires] = entry.args(expires);
        let args = vec![value, new, expires, key, Arg::int(number), Arg::int(-now)];
        statement(&self.leases.fill, args, Columns::None)
    }

    /// Replaces an entry if it is still the expected one, and removes the mark beside it. Returns
    /// the statement that replaces, and one for the mark unless the first does both.
    pub(crate) fn fill_entry<'a>(
        &self,
        entry: Entry<'a>,
        expires: i64,
        expected: &'a Expected,
        now: i64,
        (side, mark): (&'a str, i64),
    ) -> (Statement<'a>, Option<Statement<'a>>) {
        let (first, remove) = match self.dialect.sql.lease {
            LeaseSql::One { remove, .. } => (remove, None),
            _ => ("", Some(self.remove_mark(side, mark))),
        };
        let mut args = Vec::with_capacity(8);
        if remove.is_none() {
            args.extend([Arg::bytes(side.as_bytes()), Arg::int(mark)]);
        }
        let [key, value, number, expires] = entry.args(expires);
        args.extend([value, number, expires, key, Arg::int(now), expected.arg()]);
        let condition = expected.condition();
        let sql = self.sql(&format!(
            "{first}UPDATE {{t}} SET value = ?, number = ?, expires = ? \
             WHERE cache_key = ? AND expires > ? AND {condition}"
        ));
        (statement(&sql, args, Columns::None), remove)
    }

    /// Replaces a mark by another one, unless its lease has ended.
    pub(crate) fn keep_mark<'a>(&self, number: i64, kept: &Mark<'a>, now: i64) -> Statement<'a> {
        let args = vec![
            Arg::int(kept.number),
            Arg::int(kept.expires()),
            Arg::bytes(kept.key.as_bytes()),
            Arg::int(number),
            Arg::int(-now),
        ];
        statement(&self.leases.keep, args, Columns::None)
    }

    pub(crate) fn remove_mark<'a>(&self, key: &'a str, number: i64) -> Statement<'a> {
        let args = vec![Arg::bytes(key.as_bytes()), Arg::int(number)];
        statement(&self.leases.remove, args, Columns::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(bytes: &'static [u8]) -> Expected {
        Expected::new(&Value::Bytes(Bytes::from_static(bytes))).expect("a known kind")
    }

    #[test]
    fn only_entries_of_format_2_with_the_flag_have_a_stamp() {
        for stamped in [&b"\xC1\x21\x20stamp678body"[..], b"\xC1\x22\x21stamp678"] {
            let Expected::Stamp(stamp) = expected(stamped) else { panic!("{stamped:?}") };
            assert_eq!(stamp, stamped[..11]);
        }
        for other in
            [&b"\xC1\x11 text of format 1"[..], b"\xC1\x21\x01no stamp at all", b"\xC1\x21\x20x"]
        {
            assert!(matches!(expected(other), Expected::Bytes(_)), "{other:?}");
        }
    }
}
