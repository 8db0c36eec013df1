//! The store.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, time::Duration};

use cache_core::{
    Cache, Clock, Error, ErrorKind, Finding, Inspector, Leases, Result, Stats, Ttl, Value,
    async_trait, set_one_by_one,
};

use crate::{
    database::{Database, Effect},
    diagnosis,
    entry::{self, Entry, check_key},
    options::{DbOptions, option},
    router::{FixedRouter, PRIMARY, REPLICA, Router},
    schema::{self, CREATE_TABLE, TableCreation},
    shared::Shared,
    statements::NEVER,
    sweeper::{self, Sweeper},
    table::Table,
};

/// The maximum number of attempts of an operation that takes several statements.
pub(crate) const MAX_ROUNDS: usize = 10;

/// A store in a table of a database. See the [crate documentation](crate).
///
/// The store connects when it is first used, in the tokio runtime of that call. Clones share their
/// connections.
#[derive(Clone)]
pub struct DbCache {
    pub(crate) shared: Arc<Shared>,
    sweeper: Arc<Sweeper>,
}

impl DbCache {
    /// Creates a store in this table of the database that the options name. Relative paths are
    /// resolved against the working directory.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if an option or the name of the table is invalid.
    pub fn new(table: &str, options: DbOptions) -> Result<Self> {
        Self::open(table, options, None, Clock::system())
    }

    /// Like [`new`](Self::new), with the directory that relative paths are resolved against and the
    /// clock that decides when entries expire.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if an option or the name of the table is invalid.
    pub fn open(
        table: &str,
        options: DbOptions,
        folder: Option<&Path>,
        clock: Clock,
    ) -> Result<Self> {
        let primary = (PRIMARY, Database::from_url(&options.url, &options, folder)?);
        let Some(read_url) = &options.read_url else {
            let router = FixedRouter { read: PRIMARY.into(), write: PRIMARY.into() };
            return Self::with_router(table, [primary], router, options, clock);
        };
        let replica = Database::from_setting(&option("read_url"), read_url, &options, folder)?;
        let router = FixedRouter { read: REPLICA.into(), write: PRIMARY.into() };
        Self::with_router(table, [primary, (REPLICA, replica)], router, options, clock)
    }

    /// Creates a store in this table of several databases. The router chooses a database for each
    /// call. The options `url` and `read_url` have no effect.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if an option or the name of the table is invalid.
    pub fn with_router<N: Into<String>>(
        table: &str,
        databases: impl IntoIterator<Item = (N, Database)>,
        router: impl Router,
        options: DbOptions,
        clock: Clock,
    ) -> Result<Self> {
        Self::assemble(table, databases, Arc::new(router), options, clock, CREATE_TABLE.into())
    }

    pub(crate) fn assemble<N: Into<String>>(
        table: &str,
        databases: impl IntoIterator<Item = (N, Database)>,
        router: Arc<dyn Router>,
        options: DbOptions,
        clock: Clock,
        create_command: String,
    ) -> Result<Self> {
        options.check()?;
        let mut tables = BTreeMap::new();
        for (name, database) in databases {
            tables.insert(name.into(), Table::new(table, database, &options)?);
        }
        let sweeper = Arc::new(Sweeper::new(options.max_entries));
        let shared =
            Shared { table_name: table.into(), options, tables, router, clock, create_command };
        Ok(Self { shared: Arc::new(shared), sweeper })
    }

    /// Returns the options that the store was created with.
    #[must_use]
    pub fn options(&self) -> &DbOptions {
        &self.shared.options
    }

    /// Returns the name of the table.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.shared.table_name
    }

    /// Creates the table and its index in each database in which the router allows it, or upgrades
    /// a table with an older schema.
    ///
    /// Does nothing if the table is up to date. With `dry_run`, only returns what it would do.
    /// Several processes may call this concurrently.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] if a table of this name is not a cache table or was created by
    /// a newer version, and otherwise the error that the database reports.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// use cache_db::{DbCache, DbOptions, TableState};
    ///
    /// let store = DbCache::new("cache", DbOptions::new("sqlite::memory:"))?;
    /// for creation in store.create_table(false).await? {
    ///     assert_eq!(creation.state, TableState::Missing);
    ///     assert_eq!(creation.to_string(), "created table \"cache\" in sqlite::memory:");
    /// }
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// ```
    pub async fn create_table(&self, dry_run: bool) -> Result<Vec<TableCreation>> {
        let mut creations = Vec::new();
        for database in self.shared.tables.keys() {
            creations.extend(self.create_table_in(database, dry_run).await?);
        }
        Ok(creations)
    }

    /// Like [`create_table`](Self::create_table), in one database.
    ///
    /// Returns `None` if the store has no database of this name or the router does not allow it.
    /// The database of the option `url` is named `default`, the one of `read_url` is named
    /// `replica`.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`create_table`](Self::create_table).
    pub async fn create_table_in(
        &self,
        database: &str,
        dry_run: bool,
    ) -> Result<Option<TableCreation>> {
        let shared = &self.shared;
        match shared.tables.get(database) {
            Some(table) if shared.router.allow_migrate(database, &shared.table_name) => {
                // In a box: the futures of the drivers are nested so deeply that the compiler would
                // reject those of applications that contain them.
                let created = schema::create(table, shared.options.unlogged, dry_run);
                Box::pin(created).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Returns the names of the databases, in alphabetical order.
    pub fn databases(&self) -> impl Iterator<Item = &str> {
        self.shared.tables.keys().map(String::as_str)
    }

    /// Returns the number of entries, without expired ones. Takes time proportional to the size of
    /// the table.
    ///
    /// # Errors
    ///
    /// Returns the error that the database reports.
    pub async fn entries(&self) -> Result<u64> {
        // In a box as in `create_table_in`.
        Box::pin(self.shared.count(self.shared.now())).await
    }

    /// Adds an entry with several statements, for databases that cannot do it with one: inserts it,
    /// otherwise replaces an expired entry, otherwise checks that an entry exists. Starts over if
    /// that entry is gone by then.
    async fn add_in_steps(&self, table: &Table, entry: Entry<'_>, expires: i64) -> Result<bool> {
        let shared = &self.shared;
        for _ in 0..MAX_ROUNDS {
            let now = shared.now();
            if shared.write_once(table, table.statements.add(entry, expires, now)).await? > 0
                || shared.write_once(table, table.statements.revive(entry, expires, now)).await? > 0
            {
                return Ok(true);
            }
            let expiry = table.statements.expiry(entry.key, now);
            if shared.select_number(table, expiry).await?.is_some() {
                return Ok(false);
            }
        }
        Err(contended(entry.key))
    }

    /// Adds to the number of an entry that allows it.
    async fn try_incr(&self, table: &Table, key: &str, delta: i64) -> Result<Option<i64>> {
        let incr = table.statements.incr(key, delta, self.shared.now());
        let outcome = self.shared.run_one(table, incr, Effect::NotIdempotent).await?;
        Ok(table.statements.sum(&outcome))
    }

    /// Returns whether there is an entry to which `delta` can be added, or the error if it cannot.
    ///
    /// Looks in the table that is written to, because a replica may lag behind.
    async fn may_incr(&self, table: &Table, key: &str, delta: i64) -> Result<bool> {
        let get = table.statements.get(key, self.shared.now());
        let Some(row) = self.shared.select(table, get).await?.into_iter().next() else {
            return Ok(false);
        };
        let Some(number) = row.number else {
            return Err(Error::not_an_integer(key).in_store("db"));
        };
        if number.checked_add(delta).is_none() {
            return Err(Error::overflow(key, number, delta).in_store("db"));
        }
        Ok(true)
    }

    /// Adds to a number, otherwise inserts `initial`, otherwise replaces an expired entry by it,
    /// for databases that cannot do it with one statement. Returns `None` if nothing was changed.
    async fn incr_or_set_in_steps(
        &self,
        table: &Table,
        key: &str,
        delta: i64,
        initial: i64,
        expires: i64,
    ) -> Result<Option<i64>> {
        if let Some(sum) = self.try_incr(table, key, delta).await? {
            return Ok(Some(sum));
        }
        let value = Value::Int(initial);
        let (entry, now) = (Entry::new(key, &value)?, self.shared.now());
        let add = table.statements.add(entry, expires, now);
        let is_stored = self.shared.write_once(table, add).await? > 0
            || self.shared.write_once(table, table.statements.revive(entry, expires, now)).await?
                > 0;
        Ok(is_stored.then_some(initial))
    }

    /// Counts rows that were written, which may start a sweep.
    pub(crate) fn record_writes(&self, rows: u64) {
        self.sweeper.record_writes(&self.shared, rows);
    }
}

/// The error for a key that others changed during each attempt.
pub(crate) fn contended(key: &str) -> Error {
    let message = format!("too many concurrent changes to the key {key:?}");
    Error::new(ErrorKind::Backend, message).temporary(true).in_store("db")
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for DbCache {
    fn name(&self) -> &str {
        "db"
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }

    fn inspector(&self) -> Option<&dyn Inspector> {
        Some(self)
    }

    fn inner(&self) -> Option<&dyn Cache> {
        None
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        check_key(key)?;
        let table = self.shared.reader()?;
        let get = table.statements.get(key, self.shared.now());
        let rows = self.shared.select(table, get).await?;
        Ok(rows.into_iter().next().and_then(entry::value))
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        let (entry, table) = (Entry::new(key, &value)?, self.shared.writer()?);
        let set = table.statements.set(entry, self.shared.deadline(ttl));
        if let Err(error) = self.shared.write(table, set).await {
            if error.kind() == ErrorKind::TooLarge {
                self.shared.write(table, table.statements.delete(key, self.shared.now())).await?;
            }
            return Err(error);
        }
        self.record_writes(1);
        Ok(())
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        let (entry, table) = (Entry::new(key, &value)?, self.shared.writer()?);
        let expires = self.shared.deadline(ttl);
        let added = if table.statements.dialect.sql.add_replaces_expired {
            let add = table.statements.add(entry, expires, self.shared.now());
            self.shared.write_once(table, add).await? > 0
        } else {
            self.add_in_steps(table, entry, expires).await?
        };
        if added {
            self.record_writes(1);
        }
        Ok(added)
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        check_key(key)?;
        let table = self.shared.writer()?;
        let touch = table.statements.touch(key, self.shared.deadline(ttl), self.shared.now());
        Ok(self.shared.write(table, touch).await? > 0)
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        check_key(key)?;
        let table = self.shared.writer()?;
        for _ in 0..MAX_ROUNDS {
            if let Some(sum) = self.try_incr(table, key, delta).await? {
                return Ok(Some(sum));
            }
            // Nothing was changed. If the entry allows the change by now, try again.
            if !self.may_incr(table, key, delta).await? {
                return Ok(None);
            }
        }
        Err(contended(key))
    }

    async fn incr_or_set(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        ttl: Option<Duration>,
    ) -> Result<i64> {
        check_key(key)?;
        let table = self.shared.writer()?;
        for _ in 0..MAX_ROUNDS {
            let (expires, now) = (self.shared.deadline(ttl), self.shared.now());
            let number = match table.statements.incr_or_set(key, delta, initial, expires, now) {
                Some(incr) => {
                    self.shared.run_one(table, incr, Effect::NotIdempotent).await?.number()
                }
                None => self.incr_or_set_in_steps(table, key, delta, initial, expires).await?,
            };
            if let Some(number) = number {
                // The sum of an existing entry may be the same number, which is counted as well.
                self.record_writes(u64::from(number == initial));
                return Ok(number);
            }
            self.may_incr(table, key, delta).await?;
        }
        Err(contended(key))
    }

    async fn get_and_touch(&self, key: &str, ttl: Option<Duration>) -> Result<Option<Value>> {
        check_key(key)?;
        let (table, expires) = (self.shared.writer()?, self.shared.deadline(ttl));
        let now = self.shared.now();
        let rows = match table.statements.get_and_touch(key, expires, now) {
            Some(touch) => self.shared.run_one(table, touch, Effect::Idempotent).await?.rows,
            None => {
                let touch = table.statements.touch(key, expires, now);
                if self.shared.write(table, touch).await? == 0 {
                    return Ok(None);
                }
                self.shared.select(table, table.statements.get(key, now)).await?
            }
        };
        Ok(rows.into_iter().next().and_then(entry::value))
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        check_key(key)?;
        let table = self.shared.writer()?;
        let delete = table.statements.delete(key, self.shared.now());
        Ok(self.shared.write_once(table, delete).await? > 0)
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        check_key(key)?;
        let (table, now) = (self.shared.reader()?, self.shared.now());
        let expiry = table.statements.expiry(key, now);
        let expires = self.shared.select_number(table, expiry).await?;
        Ok(expires.map(|expires| match expires {
            NEVER.. => Ttl::Never,
            _ => Ttl::Left(Duration::from_micros((expires - now).cast_unsigned())),
        }))
    }

    async fn clear(&self) -> Result<()> {
        let table = self.shared.writer()?;
        self.shared.select(table, table.statements.check_columns()).await?;
        loop {
            let removed = self.shared.write(table, table.statements.clear()).await?;
            if table.statements.dialect.max_cleared.is_none_or(|max| removed < max) {
                return Ok(());
            }
        }
    }

    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        let prepare = || {
            check_key(key)?;
            let table = self.shared.reader()?;
            Ok((table, table.statements.get(key, self.shared.now())))
        };
        match prepare() {
            Ok((table, get)) => {
                let outcome = self.shared.run_now(table, get, Effect::Read)?;
                Some(outcome.map(|outcome| outcome.rows.into_iter().next().and_then(entry::value)))
            }
            Err(error) => Some(Err(error)),
        }
    }

    fn set_now(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<Result<()>, Value> {
        let (entry, table) = match (Entry::new(key, &value), self.shared.writer()) {
            (Ok(entry), Ok(table)) => (entry, table),
            (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
        };
        let set = table.statements.set(entry, self.shared.deadline(ttl));
        match self.shared.run_now(table, set, Effect::Idempotent) {
            Some(Ok(_)) => {
                self.record_writes(1);
                Ok(Ok(()))
            }
            // `set` also removes the old entry.
            Some(Err(error)) if error.kind() == ErrorKind::TooLarge => Err(value),
            Some(Err(error)) => Ok(Err(error)),
            None => Err(value),
        }
    }

    fn keeps_objects(&self) -> bool {
        false
    }

    fn max_entries(&self) -> Option<u64> {
        Some(self.shared.options.max_entries)
    }

    fn server_of(&self, _: &str) -> usize {
        0
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        check_key(key)?;
        let table = self.shared.reader()?;
        let expiry = table.statements.expiry(key, self.shared.now());
        Ok(self.shared.select_number(table, expiry).await?.is_some())
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        self.shared.get_many(keys).await
    }

    async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        let result = self.shared.set_many(entries, ttl).await;
        self.record_writes(entries.len() as u64);
        match result {
            // Finds out which entry is too large, and stores the others.
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                set_one_by_one(self, entries, ttl).await
            }
            result => result.map(|()| Vec::new()),
        }
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        self.shared.delete_many(keys).await
    }

    /// Returns statistics of the table. Reads every row.
    async fn stats(&self) -> Result<Stats> {
        let (table, now) = (self.shared.writer()?, self.shared.now());
        let statements = &table.statements;
        let numbers = [statements.count(-1), statements.count(now), statements.bytes()];
        let outcomes = self.shared.run(table, &numbers, Effect::Read).await?;
        let mut numbers =
            outcomes.iter().map(|outcome| outcome.number().map_or(0, i64::cast_unsigned));
        let mut next = || numbers.next().unwrap_or(0);
        let (entries, live, bytes) = (next(), next(), next());
        Ok(Stats {
            entries: Some(entries),
            expired: Some(entries.saturating_sub(live)),
            bytes: Some(bytes),
            ..Stats::default()
        })
    }

    /// Reports the definition of the table, its indexes and whether it is UNLOGGED, connections and
    /// clocks of servers, and the disk of a file.
    async fn diagnose(&self) -> Result<Vec<Finding>> {
        // In a box as in `create_table_in`.
        Ok(Box::pin(diagnosis::run(&self.shared)).await)
    }

    /// Removes expired rows in batches. Batches before an error stay removed.
    async fn purge_expired(&self, limit: u64) -> Result<Option<u64>> {
        let table = self.shared.writer()?;
        self.shared.select(table, table.statements.check_columns()).await?;
        sweeper::remove_expired(&self.shared, limit).await.map(Some)
    }

    /// Waits for background work, and closes the connections except those of external pools.
    async fn close(&self) -> Result<()> {
        self.sweeper.finish().await;
        for table in self.shared.tables.values() {
            table.database.close().await;
        }
        Ok(())
    }
}

impl fmt::Debug for DbCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DbCache")
            .field("table", &self.shared.table_name)
            .field("options", &self.shared.options)
            .field("router", &self.shared.router)
            .finish_non_exhaustive()
    }
}
