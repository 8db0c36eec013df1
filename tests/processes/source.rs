//! The data from which the processes produce values: a version of each key.

use std::{
    fs::{File, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// Versions of keys in a folder. A version is the length of a file, which changes atomically.
#[derive(Clone)]
pub(crate) struct Source {
    folder: PathBuf,
}

impl Source {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Returns the newest version.
    pub(crate) fn current(&self, key: &str) -> i64 {
        self.length("current", key)
    }

    /// Returns the newest version whose write to the cache has returned.
    pub(crate) fn acknowledged(&self, key: &str) -> i64 {
        self.length("acknowledged", key)
    }

    /// Creates a version and writes it to the cache. Two processes do not write one key at once,
    /// as if they held a row of a database.
    pub(crate) async fn change(&self, key: &str, write: impl AsyncFnOnce(i64)) {
        let lock = File::create(self.file("lock", key)).expect("created");
        while let Err(error) = lock.try_lock() {
            match error {
                TryLockError::WouldBlock => tokio::time::sleep(Duration::from_millis(1)).await,
                TryLockError::Error(error) => panic!("cannot lock {key}: {error}"),
            }
        }
        let version = self.current(key) + 1;
        self.set_length("current", key, version);
        write(version).await;
        self.set_length("acknowledged", key, version);
    }

    /// Counts a value of a verb that was older than a write when its production ended.
    pub(crate) fn count_late(&self, verb: &str) {
        let file = File::options().create(true).append(true).open(self.file("late", verb));
        file.and_then(|mut file| file.write_all(b".")).expect("written");
    }

    /// Returns how many such values the processes have counted.
    pub(crate) fn late(&self, verb: &str) -> i64 {
        self.length("late", verb)
    }

    fn file(&self, kind: &str, key: &str) -> PathBuf {
        self.folder.join(format!("{kind}.{key}"))
    }

    fn length(&self, kind: &str, key: &str) -> i64 {
        let length = self.file(kind, key).metadata().map_or(0, |file| file.len());
        length.try_into().expect("a small number")
    }

    fn set_length(&self, kind: &str, key: &str, length: i64) {
        let file = File::options().create(true).append(true).open(self.file(kind, key));
        file.and_then(|file| file.set_len(length.unsigned_abs())).expect("written");
    }
}
