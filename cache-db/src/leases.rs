//! Leases.
//!
//! The lease of an absent key is a mark: a row under the key itself with a negative `expires`, a
//! `number` and no value. The number is random, and says for how long the lease was granted. Every
//! statement on entries finds the row expired, so no column and no condition distinguishes it, and
//! every write replaces or removes it, also one of an older release. Its lease ends at `-expires`.
//!
//! The lease of an entry is what the entry was, which a fill compares. A mark under a key of its
//! own keeps other callers out.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use cache_core::{Acquired, Ask, Cache as _, ErrorKind, Lease, Leases, Result, Value, async_trait};

use crate::{
    cache::{DbCache, MAX_ROUNDS, contended},
    database::Effect,
    dialect::LeaseSql,
    entry::{self, Entry, check_key},
    shared::Shared,
    statement::{Row, Statement},
    statements::{Expected, LONGEST_HOLD, Mark, is_held, mark_number},
    table::Table,
};

/// What a [`Lease`] of this store holds.
#[derive(Debug)]
struct Held {
    store: Weak<Shared>,
    key: String,
    /// The number of the mark.
    number: i64,
    /// The entry that may be replaced. Without one, the mark is under the key.
    entry: Option<HeldEntry>,
}

#[derive(Debug)]
struct HeldEntry {
    expected: Expected,
    /// The key of the mark.
    side: String,
    until: i64,
}

impl Held {
    /// The key that the mark is stored under.
    fn mark_key(&self) -> &str {
        self.entry.as_ref().map_or(&self.key, |entry| &entry.side)
    }
}

#[async_trait]
impl Leases for DbCache {
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        check_key(key)?;
        let side = match ask {
            Ask::Missing => None,
            Ask::Any { side } => Some(side),
        };
        side.map_or(Ok(()), check_key)?;
        let (shared, table, number) = (&self.shared, self.shared.writer()?, mark_number(hold));
        for _ in 0..MAX_ROUNDS {
            let (now, until) = (shared.now(), shared.end_of_lease(hold));
            let mark = Mark { key, side, number, until };
            let (row, is_granted) = shared.acquire(table, &mark, now).await?;
            if is_granted {
                // The mark is a row that nobody removes if the lease is dropped.
                self.record_writes(1);
            }
            let (number, expires) =
                row.as_ref().map_or((None, None), |row| (row.number, row.expires));
            if expires.is_some_and(|expires| expires > now) {
                let value = row.and_then(entry::value);
                let expected = value.as_ref().filter(|_| is_granted).and_then(Expected::new);
                let lease = side.zip(expected).map(|(side, expected)| {
                    self.lease(&mark, Some(HeldEntry { expected, side: side.into(), until }))
                });
                return Ok(Acquired { value, lease });
            }
            if is_granted {
                return Ok(Acquired { value: None, lease: Some(self.lease(&mark, None)) });
            }
            if expires.is_some_and(|expires| is_held(expires, number, now)) {
                return Ok(Acquired::default());
            }
            // The row was changed after it was read.
        }
        Err(contended(key))
    }

    async fn fill(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let (entry, table) = (Entry::new(key, &value)?, self.shared.writer()?);
        let Some(held) = self.held(key, lease) else { return Ok(false) };
        let filled = self.shared.fill(table, &held, entry, self.shared.deadline(ttl)).await;
        if filled.as_ref().is_err_and(|error| error.kind() == ErrorKind::TooLarge) {
            self.shared.end(table, &held, Duration::ZERO).await?;
        }
        let is_filled = filled? > 0;
        if is_filled {
            self.record_writes(1);
        }
        Ok(is_filled)
    }

    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        match self.held(key, lease) {
            Some(held) => self.shared.end(self.shared.writer()?, &held, keep).await,
            None => Ok(()),
        }
    }

    async fn revoke(&self, _: &str, side: &str) -> Result<()> {
        self.delete(side).await.map(drop)
    }
}

impl DbCache {
    fn lease(&self, mark: &Mark<'_>, entry: Option<HeldEntry>) -> Lease {
        let (store, key) = (Arc::downgrade(&self.shared), mark.key.into());
        Lease::new(Held { store, key, number: mark.number, entry })
    }

    /// Returns what the lease holds if it is one of this store and of this key.
    fn held(&self, key: &str, lease: Lease) -> Option<Held> {
        let held = lease.downcast::<Held>().ok()?;
        let is_own = held.store.ptr_eq(&Arc::downgrade(&self.shared));
        (is_own && held.key == key).then_some(held)
    }
}

impl Shared {
    /// When a lease ends that is held from now on: later than now.
    fn end_of_lease(&self, hold: Duration) -> i64 {
        self.deadline(Some(hold.min(LONGEST_HOLD))).max(self.now() + 1)
    }

    /// Returns the row under the key, and whether the mark was stored. If it was, the row may be
    /// the mark.
    ///
    /// If a call is repeated after a lost connection, it finds its own mark and stores it again.
    async fn acquire(
        &self,
        table: &Table,
        mark: &Mark<'_>,
        now: i64,
    ) -> Result<(Option<Row>, bool)> {
        let statements = &table.statements;
        let run = async |statements: &[Statement<'_>]| {
            self.run(table, statements, Effect::Idempotent).await
        };
        match statements.dialect.sql.lease {
            LeaseSql::One { .. } => {
                let outcomes = run(&[statements.mark(mark, now)]).await?;
                let row = outcomes.into_iter().flat_map(|outcome| outcome.rows).next();
                let is_granted = row.as_ref().is_some_and(|row| row.marks > 0);
                Ok((row, is_granted))
            }
            LeaseSql::Transaction { .. } => {
                let outcomes = run(&[statements.mark(mark, now), statements.row(mark.key)]).await?;
                let is_granted = outcomes.first().is_some_and(|outcome| outcome.affected > 0);
                let row = outcomes.into_iter().flat_map(|outcome| outcome.rows).next();
                Ok((row, is_granted))
            }
            LeaseSql::Steps { .. } => self.acquire_in_steps(table, mark, now).await,
        }
    }

    /// Reads the row, and then stores the mark unless there is an entry or another mark.
    ///
    /// If an entry changes in between, its lease is granted on what it was. The fill then stores
    /// nothing.
    async fn acquire_in_steps(
        &self,
        table: &Table,
        mark: &Mark<'_>,
        now: i64,
    ) -> Result<(Option<Row>, bool)> {
        let statements = &table.statements;
        let row = self.select(table, statements.row(mark.key)).await?.into_iter().next();
        let key = match row.as_ref().and_then(|row| Some((row.expires?, row.number))) {
            Some((expires, _)) if expires > now => mark.side,
            Some((expires, number))
                if is_held(expires, number, now) && number != Some(mark.number) =>
            {
                None
            }
            _ => Some(mark.key),
        };
        let Some(key) = key else { return Ok((row, false)) };
        let may_be_absent = row.is_none() || key != mark.key;
        let is_granted = may_be_absent
            && self.write(table, statements.insert_mark(key, mark)).await? > 0
            || self.write(table, statements.take(key, mark, now)).await? > 0;
        Ok((row, is_granted))
    }

    /// Stores an entry through a lease. Returns how many rows were changed.
    async fn fill(
        &self,
        table: &Table,
        held: &Held,
        entry: Entry<'_>,
        expires: i64,
    ) -> Result<u64> {
        let (statements, now) = (&table.statements, self.now());
        let Some(HeldEntry { expected, side, until }) = &held.entry else {
            let fill = statements.fill_mark(entry, expires, held.number, now);
            return self.write_once(table, fill).await;
        };
        if *until <= now {
            self.write(table, statements.remove_mark(side, held.number)).await?;
            return Ok(0);
        }
        let mark = (&**side, held.number);
        let (fill, remove) = statements.fill_entry(entry, expires, expected, now, mark);
        match (statements.dialect.sql.lease, remove) {
            (LeaseSql::Transaction { .. }, Some(remove)) => {
                let outcomes = self.run(table, &[fill, remove], Effect::NotIdempotent).await?;
                Ok(outcomes.first().map_or(0, |outcome| outcome.affected))
            }
            (_, remove) => {
                let filled = self.write_once(table, fill).await?;
                if let Some(remove) = remove {
                    self.write(table, remove).await?;
                }
                Ok(filled)
            }
        }
    }

    /// Ends a lease after `keep`.
    async fn end(&self, table: &Table, held: &Held, keep: Duration) -> Result<()> {
        let (statements, key) = (&table.statements, held.mark_key());
        let end = if keep.is_zero() {
            statements.remove_mark(key, held.number)
        } else {
            let (number, until) = (mark_number(keep), self.end_of_lease(keep));
            statements.keep_mark(held.number, &Mark { key, side: None, number, until }, self.now())
        };
        self.write(table, end).await.map(drop)
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use cache_core::Cache;

    use super::*;
    use crate::options::DbOptions;

    #[tokio::test]
    async fn repeated_acquire_finds_its_own_mark() {
        let store = DbCache::new("cache", DbOptions::new("sqlite::memory:")).expect("valid");
        let (shared, now) = (&store.shared, store.shared.now());
        let table = shared.writer().expect("one table");
        store.set("entry", Value::Int(1), None).await.expect("set succeeds");
        for key in ["absent", "entry"] {
            let own = Mark { key, side: Some("side"), number: 7, until: now + 1_000_000 };
            for (mark, expected) in [(own, true), (own, true), (Mark { number: 8, ..own }, false)] {
                let (_, is_granted) = shared.acquire(table, &mark, now).await.expect("acquired");
                assert_eq!(is_granted, expected, "{mark:?}");
            }
        }
    }
}
