//! The store: an implementation of [`Cache`] that runs each operation on the right thread.

use std::{
    fmt,
    path::{self, Path},
    sync::Arc,
    time::Duration,
};

use cache_core::{
    Cache, Clock, Error, ErrorKind, Finding, Inspector, Leases, RejectedEntries, Result, Stats,
    Ttl, Value, async_trait, config,
};
use tokio::sync::Mutex;

use crate::{
    FileBasedOptions, SweepReport,
    blocking::spawn_blocking,
    check, diagnosis,
    entries::{Entries, Target},
    entry_file::Expiry,
    operation::Operation,
    read,
    sweep::{self, Scope},
};

/// A store in a directory. See the [crate documentation](crate).
pub struct FileBasedCache {
    pub(crate) entries: Arc<Entries>,
    /// One lock per shard for the tasks of this process. Tasks wait here in order and without a
    /// thread, so that only one of them at a time polls the lock among processes.
    task_locks: Box<[Arc<Mutex<()>>]>,
}

/// The maximum number of keys that `get_many` reads on the caller's thread. Reading this many takes
/// about as long as moving to another thread.
const MAX_NONBLOCKING_KEYS: usize = 8;

const NAME: &str = "filebased";

impl FileBasedCache {
    /// Creates a store in a directory, which is created when the first entry is stored.
    ///
    /// A relative path is resolved against the current directory.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`](cache_core::ErrorKind::Config) if an option is invalid or the
    /// path is empty.
    pub fn new(directory: impl AsRef<Path>, options: FileBasedOptions) -> Result<Self> {
        Self::with_clock(directory, options, Clock::system())
    }

    /// Creates a store whose entries expire by `clock`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`](cache_core::ErrorKind::Config) if an option is invalid or the
    /// path is empty.
    pub fn with_clock(
        directory: impl AsRef<Path>,
        options: FileBasedOptions,
        clock: Clock,
    ) -> Result<Self> {
        options.check()?;
        let path = path::absolute(directory)
            .map_err(|_| config::invalid_setting("LOCATION", "an empty path", "a directory"))?;
        let entries = Arc::new(Entries::new(path, options, clock));
        Ok(Self { entries, task_locks: (0..=u8::MAX).map(|_| Arc::default()).collect() })
    }

    /// Returns the options that the store was created with.
    #[must_use]
    pub fn options(&self) -> FileBasedOptions {
        self.entries.options
    }

    /// Returns the absolute path of the store's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.entries.directory.path()
    }

    /// Sweeps the whole directory now, instead of shard by shard in the background.
    ///
    /// Removes expired and undecodable entries and the temporary files of killed processes. Culls
    /// if there are more than [`FileBasedOptions::max_entries`] entries. Skips and counts what it
    /// cannot access.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Unavailable`](cache_core::ErrorKind::Unavailable) if another process is
    /// still sweeping after [`FileBasedOptions::lock_timeout`].
    ///
    /// # Performance
    ///
    /// Takes about 10 µs per entry.
    pub async fn sweep(&self) -> Result<SweepReport> {
        let entries = Arc::clone(&self.entries);
        let report = spawn_blocking(move || {
            let Some(guard) = entries.directory.lock_sweep(&entries.start_operation())? else {
                return Ok(SweepReport::default());
            };
            sweep::sweep(&entries, &guard, Scope::Full)
        });
        report.await.map_err(in_store)
    }

    /// Checks that this process can store entries, and leaves nothing behind.
    ///
    /// Stores, reads, increments and removes an entry in a temporary directory inside the store's
    /// directory, and creates and removes a file in each directory of the store.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Backend`](cache_core::ErrorKind::Backend) with the path of the first
    /// file or directory that cannot be accessed.
    pub async fn check(&self) -> Result<()> {
        let entries = Arc::clone(&self.entries);
        spawn_blocking(move || check::run(&entries)).await.map_err(in_store)
    }

    /// Runs a write on a blocking thread, after the earlier writes of this process to the same
    /// shard.
    pub(crate) async fn write<T, W>(&self, key: &str, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Arc<Entries>, &Target, &Operation) -> Result<T> + Send + 'static,
    {
        let operation = self.entries.start_operation();
        let _caller = operation.caller();
        let target = self.entries.target(key);
        let task_lock = &self.task_locks[usize::from(target.path.shard)];
        let guard = Arc::clone(task_lock).lock_owned().await;
        let entries = Arc::clone(&self.entries);
        let result = spawn_blocking(move || {
            // The guard belongs to the work: it outlives a caller that is dropped.
            let _guard = guard;
            work(&entries, &target, &operation)
        });
        result.await.map_err(in_store)
    }

    /// Runs a read on a blocking thread.
    async fn read<T, W>(&self, key: &str, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Entries, &Target) -> Result<T> + Send + 'static,
    {
        let (entries, target) = (Arc::clone(&self.entries), self.entries.target(key));
        spawn_blocking(move || work(&entries, &target)).await.map_err(in_store)
    }

    /// Runs `work` for many keys, one after the other on one blocking thread.
    async fn for_each<A, T, W>(&self, items: Vec<(String, A)>, work: W) -> Result<Vec<T>>
    where
        A: Send + 'static,
        T: Send + 'static,
        W: Fn(&Arc<Entries>, &Target, A, &Operation) -> Result<T> + Send + 'static,
    {
        let mut operation = self.entries.start_operation();
        let _caller = operation.caller();
        let entries = Arc::clone(&self.entries);
        let results = spawn_blocking(move || {
            let run = |(key, item): (String, A)| {
                operation.restart_timeout();
                work(&entries, &entries.target(&key), item, &operation)
            };
            items.into_iter().map(run).collect()
        });
        results.await.map_err(in_store)
    }

    pub(crate) fn expiry(&self, ttl: Option<Duration>) -> Expiry {
        Expiry::after(ttl, &self.entries.clock)
    }

    /// Returns whether the key exists, or `None` if that would have to wait.
    fn try_contains(&self, key: &str) -> Option<bool> {
        self.entries.try_look(key, |_| ()).map(|found| found.is_some())
    }

    /// Like [`try_contains`](Self::try_contains), for a caller that returns without a write.
    /// Returns `None` while an orphaned write may still change the result.
    fn try_contains_settled(&self, key: &str) -> Option<bool> {
        if self.entries.orphaned.any() { None } else { self.try_contains(key) }
    }

    pub(crate) fn try_get(&self, key: &str) -> Option<Option<Value>> {
        self.entries.try_look(key, |entry| entry.payload.to_value())
    }
}

impl fmt::Debug for FileBasedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBasedCache")
            .field("directory", &self.directory())
            .field("options", &self.options())
            .finish_non_exhaustive()
    }
}

pub(crate) fn in_store(error: Error) -> Error {
    error.in_store(NAME)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for FileBasedCache {
    fn name(&self) -> &str {
        NAME
    }

    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        if read::TRY_READ_NEVER_BLOCKS { self.try_get(key).map(Ok) } else { None }
    }

    fn set_now(&self, _: &str, value: Value, _: Option<Duration>) -> Result<Result<()>, Value> {
        Err(value)
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        match self.try_get(key) {
            Some(value) => Ok(value),
            None => self.read(key, Entries::get).await,
        }
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        let expiry = self.expiry(ttl);
        self.write(key, move |entries, target, operation| {
            entries.set(target, &value, expiry, operation)
        })
        .await
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        if self.try_contains_settled(key) == Some(true) {
            return Ok(false);
        }
        let expiry = self.expiry(ttl);
        self.write(key, move |entries, target, operation| {
            entries.add(target, &value, expiry, operation)
        })
        .await
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        if self.try_contains_settled(key) == Some(false) {
            return Ok(false);
        }
        let expiry = self.expiry(ttl);
        self.write(key, move |entries, target, operation| entries.touch(target, expiry, operation))
            .await
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        if self.try_contains_settled(key) == Some(false) {
            return Ok(None);
        }
        self.write(key, move |entries, target, operation| entries.incr(target, delta, operation))
            .await
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        // The lease first: one that is acquired after this look began after the delete.
        let path = self.entries.directory.entry_path(key);
        if self.entries.directory.surely_has_no_lease(&path)
            && self.try_contains_settled(key) == Some(false)
        {
            return Ok(false);
        }
        self.write(key, |entries, target, operation| entries.delete(target, operation)).await
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        match self.entries.try_look(key, |entry| entry.expiry.remaining(&self.entries.clock)) {
            Some(ttl) => Ok(ttl.flatten()),
            None => self.read(key, Entries::ttl).await,
        }
    }

    async fn clear(&self) -> Result<()> {
        let mut operation = self.entries.start_operation();
        let _caller = operation.caller();
        let entries = Arc::clone(&self.entries);
        spawn_blocking(move || entries.clear(&mut operation)).await.map_err(in_store)
    }

    async fn incr_or_set(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        ttl: Option<Duration>,
    ) -> Result<i64> {
        let expiry = self.expiry(ttl);
        self.write(key, move |entries, target, operation| {
            entries.incr_or_set(target, delta, initial, expiry, operation)
        })
        .await
    }

    async fn get_and_touch(&self, key: &str, ttl: Option<Duration>) -> Result<Option<Value>> {
        if self.try_contains_settled(key) == Some(false) {
            return Ok(None);
        }
        let expiry = self.expiry(ttl);
        self.write(key, move |entries, target, operation| {
            entries.get_and_touch(target, expiry, operation)
        })
        .await
    }

    fn keeps_objects(&self) -> bool {
        false
    }

    fn max_entries(&self) -> Option<u64> {
        Some(self.options().max_entries as u64)
    }

    fn server_of(&self, _: &str) -> usize {
        0
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        match self.try_contains(key) {
            Some(found) => Ok(found),
            None => self.read(key, Entries::contains).await,
        }
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        if keys.len() <= MAX_NONBLOCKING_KEYS {
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                values.push(self.get(key).await?);
            }
            return Ok(values);
        }
        let keys = keys.iter().map(|&key| (key.to_owned(), ())).collect();
        self.for_each(keys, |entries, target, (), _| entries.get(target)).await
    }

    /// Rejects entries for which the disk has no room. There is no limit for the size of a value.
    async fn set_many(&self, items: &[(&str, Value)], ttl: Option<Duration>) -> Result<Vec<usize>> {
        let expiry = self.expiry(ttl);
        let count = items.len();
        let items = items.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let outcomes = self.for_each(items, move |entries, target, value, operation| match entries
            .set(target, &value, expiry, operation)
        {
            Err(error) if error.kind() == ErrorKind::StorageFull => Ok(Err(error)),
            outcome => outcome.map(Ok),
        });
        let mut rejected = RejectedEntries::default();
        for (position, outcome) in outcomes.await?.into_iter().enumerate() {
            rejected.record(position, outcome)?;
        }
        rejected.into_positions(count).map_err(in_store)
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        let keys = keys.iter().map(|&key| (key.to_owned(), ())).collect();
        let deleted =
            self.for_each(keys, |entries, target, (), operation| entries.delete(target, operation));
        Ok(deleted.await?.into_iter().filter(|&existed| existed).count())
    }

    /// Reads the header of every file, which takes about 10 µs per entry.
    async fn stats(&self) -> Result<Stats> {
        let entries = Arc::clone(&self.entries);
        spawn_blocking(move || Ok(sweep::stats(&entries))).await.map_err(in_store)
    }

    /// Reports whether this process can write to every part of the directory, who else can, and how
    /// much of its disk is free.
    async fn diagnose(&self) -> Result<Vec<Finding>> {
        let entries = Arc::clone(&self.entries);
        spawn_blocking(move || Ok(diagnosis::run(&entries))).await.map_err(in_store)
    }

    /// Also removes undecodable entries. Reads the header of every file, about 10 µs each, until
    /// `limit` entries are removed.
    async fn purge_expired(&self, limit: u64) -> Result<Option<u64>> {
        let entries = Arc::clone(&self.entries);
        let purged = spawn_blocking(move || {
            Ok(sweep::purge(&entries, usize::try_from(limit).unwrap_or(usize::MAX)))
        });
        purged.await.map(|purged| Some(purged as u64)).map_err(in_store)
    }

    /// Waits until no thread works in the directory: neither the thread that culls, which stops
    /// early, nor writes whose callers were dropped. The directory can then be removed.
    async fn close(&self) -> Result<()> {
        let entries = Arc::clone(&self.entries);
        let closed = spawn_blocking(move || {
            entries.orphaned.wait();
            entries.sweeper.close();
            Ok(())
        });
        closed.await.map_err(in_store)
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
}
