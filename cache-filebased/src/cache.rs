//! The store: what is done at once, what off the runtime, and what waits for its turn, as an implementation of [`Cache`].

use std::{
    fmt,
    path::{self, Path},
    sync::Arc,
    time::Duration,
};

use cache_core::{Cache, Clock, Error, Result, Stats, Ttl, Value, async_trait, config};
use tokio::sync::Mutex;

use crate::{
    FileBasedOptions, Swept,
    call::{Adrift, Call, off_the_runtime},
    entries::{Entries, Target},
    entry_file::Expiry,
    folder::Folder,
    reading,
    sweep::{self, Extent, Sweeper},
};

/// A store in a folder. See the [crate's page](crate) for what it does.
pub struct FileBasedCache {
    entries: Arc<Entries>,
    /// Whose turn it is to change something in a shard, among the tasks of this process. They wait here, in order and
    /// without a thread, so that only one of them at a time waits for the lock among processes.
    turns: Box<[Arc<Mutex<()>>]>,
}

/// So many entries at once are looked at without leaving the thread: about as much work as leaving it.
const GLANCES: usize = 8;

const NAME: &str = "filebased";

impl FileBasedCache {
    /// A store in this folder, which is made when something is stored. A relative path starts at the process's folder.
    ///
    /// # Errors
    /// [`Config`](cache_core::ErrorKind::Config) where an option is wrong or the path is empty.
    pub fn new(folder: impl AsRef<Path>, options: FileBasedOptions) -> Result<Self> {
        Self::with_clock(folder, options, Clock::system())
    }

    /// A store whose entries expire by the clock given.
    ///
    /// # Errors
    /// [`Config`](cache_core::ErrorKind::Config) where an option is wrong or the path is empty.
    pub fn with_clock(
        folder: impl AsRef<Path>,
        options: FileBasedOptions,
        clock: Clock,
    ) -> Result<Self> {
        options.check()?;
        let root = path::absolute(folder)
            .map_err(|_| config::invalid_setting("LOCATION", "an empty path", "a folder"))?;
        let folder = Folder::new(root);
        let entries = Arc::new(Entries {
            folder,
            clock,
            options,
            sweeper: Sweeper::new(),
            adrift: Adrift::default(),
        });
        Ok(Self { entries, turns: (0..=u8::MAX).map(|_| Arc::default()).collect() })
    }

    /// What it was made with.
    #[must_use]
    pub fn options(&self) -> FileBasedOptions {
        self.entries.options
    }

    /// Where its files are: an absolute path.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.entries.folder.root()
    }

    /// Does at once, and for the whole folder, what is else done bit by bit in the background: removes what expired or is
    /// broken, what dead processes left over, and, if there are more than [`FileBasedOptions::max_entries`], culls.
    ///
    /// Takes some 10 µs an entry.
    ///
    /// # Errors
    /// [`Unavailable`](cache_core::ErrorKind::Unavailable) where another process has been at it for [`FileBasedOptions::lock_timeout`],
    /// [`Backend`](cache_core::ErrorKind::Backend) where a file can't be listed or removed.
    pub async fn sweep(&self) -> Result<Swept> {
        let entries = Arc::clone(&self.entries);
        let swept = off_the_runtime(move || {
            let Some(held) = entries.folder.lock_sweep(&entries.call())? else {
                return Ok(Swept::default());
            };
            sweep::sweep(&entries, &held, Extent::All)
        });
        swept.await.map_err(in_store)
    }

    /// Changes an entry, when it is this task's turn.
    async fn change<T, W>(&self, key: &str, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Arc<Entries>, &Target, &Call) -> Result<T> + Send + 'static,
    {
        let call = self.entries.call();
        let _caller = call.caller();
        let target = self.entries.target(key);
        let turn = Arc::clone(&self.turns[usize::from(target.place.shard)]).lock_owned().await;
        let entries = Arc::clone(&self.entries);
        let changed = off_the_runtime(move || {
            // It ends with the work, not with the caller's interest.
            let _turn = turn;
            work(&entries, &target, &call)
        });
        changed.await.map_err(in_store)
    }

    /// Reads what can't be told at once.
    async fn read<T, W>(&self, key: &str, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Entries, &Target) -> Result<T> + Send + 'static,
    {
        let (entries, target) = (Arc::clone(&self.entries), self.entries.target(key));
        off_the_runtime(move || work(&entries, &target)).await.map_err(in_store)
    }

    /// Does something with each of many keys, in one go.
    async fn each<A, T, W>(&self, items: Vec<(String, A)>, work: W) -> Result<Vec<T>>
    where
        A: Send + 'static,
        T: Send + 'static,
        W: Fn(&Arc<Entries>, &Target, A, &Call) -> Result<T> + Send + 'static,
    {
        let mut call = self.entries.call();
        let _caller = call.caller();
        let entries = Arc::clone(&self.entries);
        let done = off_the_runtime(move || {
            let one = |(key, item): (String, A)| {
                call.renew();
                work(&entries, &entries.target(&key), item, &call)
            };
            items.into_iter().map(one).collect()
        });
        done.await.map_err(in_store)
    }

    fn expiry(&self, ttl: Option<Duration>) -> Expiry {
        Expiry::after(ttl, &self.entries.clock)
    }

    /// Whether the key is there, if that can be told at once.
    fn glance_for(&self, key: &str) -> Option<bool> {
        self.entries.glance(key, |_| ()).map(|seen| seen.is_some())
    }

    /// The same for who then changes nothing: what is adrift may still change it.
    fn is_settled(&self, key: &str) -> Option<bool> {
        if self.entries.adrift.is_any() { None } else { self.glance_for(key) }
    }

    fn look_up(&self, key: &str) -> Option<Option<Value>> {
        self.entries.glance(key, |entry| entry.payload.to_value())
    }
}

impl fmt::Debug for FileBasedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBasedCache")
            .field("folder", &self.folder())
            .field("options", &self.options())
            .finish_non_exhaustive()
    }
}

fn in_store(error: Error) -> Error {
    error.in_store(NAME)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for FileBasedCache {
    fn name(&self) -> &str {
        NAME
    }

    fn get_now(&self, key: &str) -> Option<Result<Option<Value>>> {
        if reading::IS_SURE_NOT_TO_WAIT { self.look_up(key).map(Ok) } else { None }
    }

    fn set_now(&self, _: &str, value: Value, _: Option<Duration>) -> Result<Result<()>, Value> {
        Err(value)
    }

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        match self.look_up(key) {
            Some(value) => Ok(value),
            None => self.read(key, Entries::get).await,
        }
    }

    async fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<()> {
        let expiry = self.expiry(ttl);
        self.change(key, move |entries, target, call| entries.set(target, &value, expiry, call))
            .await
    }

    async fn add(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool> {
        if self.is_settled(key) == Some(true) {
            return Ok(false);
        }
        let expiry = self.expiry(ttl);
        self.change(key, move |entries, target, call| entries.add(target, &value, expiry, call))
            .await
    }

    async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool> {
        if self.is_settled(key) == Some(false) {
            return Ok(false);
        }
        let expiry = self.expiry(ttl);
        self.change(key, move |entries, target, call| entries.touch(target, expiry, call)).await
    }

    async fn incr(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        if self.is_settled(key) == Some(false) {
            return Ok(None);
        }
        self.change(key, move |entries, target, call| entries.incr(target, delta, call)).await
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        if self.is_settled(key) == Some(false) {
            return Ok(false);
        }
        self.change(key, |entries, target, call| entries.delete(target, call)).await
    }

    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        match self.entries.glance(key, |entry| entry.expiry.left(&self.entries.clock)) {
            Some(left) => Ok(left.flatten()),
            None => self.read(key, Entries::ttl).await,
        }
    }

    async fn clear(&self) -> Result<()> {
        let mut call = self.entries.call();
        let _caller = call.caller();
        let entries = Arc::clone(&self.entries);
        off_the_runtime(move || entries.clear(&mut call)).await.map_err(in_store)
    }

    fn keeps_objects(&self) -> bool {
        false
    }

    async fn contains(&self, key: &str) -> Result<bool> {
        match self.glance_for(key) {
            Some(is_there) => Ok(is_there),
            None => self.read(key, Entries::is_there).await,
        }
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        if keys.len() <= GLANCES {
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                values.push(self.get(key).await?);
            }
            return Ok(values);
        }
        let keys = keys.iter().map(|&key| (key.to_owned(), ())).collect();
        self.each(keys, |entries, target, (), _| entries.get(target)).await
    }

    /// No file is too large for this store: none is refused.
    async fn set_many(&self, items: &[(&str, Value)], ttl: Option<Duration>) -> Result<Vec<usize>> {
        let expiry = self.expiry(ttl);
        let items = items.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        self.each(items, move |entries, target, value, call| {
            entries.set(target, &value, expiry, call)
        })
        .await?;
        Ok(Vec::new())
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        let keys = keys.iter().map(|&key| (key.to_owned(), ())).collect();
        let deleted =
            self.each(keys, |entries, target, (), call| entries.delete(target, call)).await?;
        Ok(deleted.into_iter().filter(|&was_there| was_there).count())
    }

    /// Reads the header of every file: some 10 µs an entry.
    async fn stats(&self) -> Result<Stats> {
        let entries = Arc::clone(&self.entries);
        off_the_runtime(move || sweep::stats(&entries)).await.map_err(in_store)
    }

    /// Removes what is broken as well, and what dead processes left over. Looks at every file, some 10 µs each, until there
    /// were `most`.
    async fn purge_expired(&self, most: u64) -> Result<Option<u64>> {
        let entries = Arc::clone(&self.entries);
        let purged = off_the_runtime(move || {
            sweep::purge(&entries, usize::try_from(most).unwrap_or(usize::MAX))
        });
        purged.await.map(|purged| Some(purged as u64)).map_err(in_store)
    }

    /// No file is kept open between calls.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
