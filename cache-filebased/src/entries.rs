//! The operations on entries. All of them but [`try_look`](Entries::try_look) may block.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cache_core::{Bytes, Clock, Error, Result, Ttl, Value};
use tempfile::NamedTempFile;

use crate::{
    FileBasedOptions,
    directory::{Directory, EntryPath, ListedFile, LockGuard, failed},
    entry_file::{self, DecodeError, Entry, Expiry, HEADER, Payload},
    operation::{Operation, OrphanedWrites},
    read::{self, TryRead},
    sweep::{Skipped, Sweeper},
};

/// The entries of a directory.
#[derive(Debug)]
pub(crate) struct Entries {
    pub(crate) directory: Directory,
    pub(crate) clock: Clock,
    pub(crate) options: FileBasedOptions,
    pub(crate) sweeper: Sweeper,
    pub(crate) orphaned: OrphanedWrites,
}

/// The key of an operation and the location of its entry.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) key: String,
    pub(crate) path: EntryPath,
}

impl Entries {
    /// `path` must be absolute.
    pub(crate) fn new(path: PathBuf, options: FileBasedOptions, clock: Clock) -> Self {
        Self {
            directory: Directory::new(path),
            clock,
            options,
            sweeper: Sweeper::new(),
            orphaned: OrphanedWrites::default(),
        }
    }

    pub(crate) fn start_operation(&self) -> Operation {
        Operation::start(self.options.lock_timeout, &self.orphaned)
    }

    pub(crate) fn target(&self, key: &str) -> Target {
        Target { key: key.to_owned(), path: self.directory.entry_path(key) }
    }

    /// Like [`look`](Self::look), but returns `None` if it would have to wait.
    pub(crate) fn try_look<T>(
        &self,
        key: &str,
        map: impl FnOnce(Entry<'_>) -> T,
    ) -> Option<Option<T>> {
        let result = read::try_read(&self.directory.entry_path(key).path, |file| {
            let entry = entry_file::decode(file, key).ok()?;
            Some((!entry.expiry.has_passed(&self.clock)).then(|| map(entry)))
        });
        match result {
            TryRead::Done(mapped) => Some(mapped),
            TryRead::NotFound => Some(None),
            TryRead::WouldBlock => None,
        }
    }

    /// Applies `map` to the file and the entry in it. Returns `None` if there is no file, or if its
    /// entry is expired or undecodable.
    pub(crate) fn look<T>(
        &self,
        target: &Target,
        map: impl FnOnce(&Bytes, Entry<'_>) -> T,
    ) -> Result<Option<T>> {
        let path = &target.path.path;
        let check = |start: &[u8], length| entry_file::header(start, length).map(drop);
        let file = read::read(path, HEADER, check);
        let Some(file) = file.map_err(|error| failed("read", path, error))? else {
            return Ok(None);
        };
        let decoded = file.as_ref().map_err(|error| *error);
        match decoded.and_then(|file| Ok((file, entry_file::decode(file, &target.key)?))) {
            Ok((_, entry)) if entry.expiry.has_passed(&self.clock) => Ok(None),
            Ok((file, entry)) => Ok(Some(map(file, entry))),
            Err(error) => {
                report_undecodable(path, error);
                Ok(None)
            }
        }
    }

    /// Returns the value of an entry. Bytes share the memory that the file was read into.
    pub(crate) fn get(&self, target: &Target) -> Result<Option<Value>> {
        self.look(target, |file, entry| match entry.payload {
            Payload::Bytes(bytes) => Value::Bytes(file.slice_ref(bytes)),
            Payload::Int(number) => Value::Int(number),
        })
    }

    pub(crate) fn ttl(&self, target: &Target) -> Result<Option<Ttl>> {
        Ok(self.look(target, |_, entry| entry.expiry.remaining(&self.clock))?.flatten())
    }

    pub(crate) fn contains(&self, target: &Target) -> Result<bool> {
        Ok(self.look(target, |_, _| ())?.is_some())
    }

    pub(crate) fn set(
        self: &Arc<Self>,
        target: &Target,
        value: &Value,
        expiry: Expiry,
        operation: &Operation,
    ) -> Result<()> {
        let entry = Entry { expiry, payload: Payload::from_value(value)? };
        let Target { key, path } = target;
        let is_new = self.directory.in_shard(path.shard, || {
            let file = self.directory.write(path, key, &entry)?;
            let guard = self.lock(path.shard, operation)?;
            self.directory.replace(&guard, path, file)
        })?;
        self.count(is_new);
        Ok(())
    }

    /// Checks for the entry while holding the lock. The check before that only avoids an
    /// unnecessary write.
    pub(crate) fn add(
        self: &Arc<Self>,
        target: &Target,
        value: &Value,
        expiry: Expiry,
        operation: &Operation,
    ) -> Result<bool> {
        let entry = Entry { expiry, payload: Payload::from_value(value)? };
        let Target { key, path } = target;
        if !self.orphaned.any() && self.contains(target)? {
            return Ok(false);
        }
        let is_new = self.directory.in_shard(path.shard, || {
            let file = self.directory.write(path, key, &entry)?;
            let guard = self.lock(path.shard, operation)?;
            if self.contains(target)? {
                return Ok(None);
            }
            self.directory.replace(&guard, path, file).map(Some)
        })?;
        self.count(is_new == Some(true));
        Ok(is_new.is_some())
    }

    pub(crate) fn touch(
        &self,
        target: &Target,
        expiry: Expiry,
        operation: &Operation,
    ) -> Result<bool> {
        let touched =
            self.rewrite(target, operation, Directory::replace_keeping_lease, |entry| {
                Ok(Entry { expiry, payload: entry.payload })
            })?;
        Ok(touched.is_some())
    }

    pub(crate) fn incr(
        &self,
        target: &Target,
        delta: i64,
        operation: &Operation,
    ) -> Result<Option<i64>> {
        let mut sum = 0;
        let rewritten = self.rewrite(target, operation, Directory::replace, |entry| {
            sum = sum_of(&target.key, entry.payload, delta)?;
            Ok(Entry { expiry: entry.expiry, payload: Payload::Int(sum) })
        })?;
        Ok(rewritten.map(|()| sum))
    }

    /// Like [`incr`](Self::incr), but stores `initial` if there is no live entry.
    pub(crate) fn incr_or_set(
        self: &Arc<Self>,
        target: &Target,
        delta: i64,
        initial: i64,
        expiry: Expiry,
        operation: &Operation,
    ) -> Result<i64> {
        let Target { key, path } = target;
        let (number, is_new) = self.directory.in_shard(path.shard, || {
            let guard = self.lock(path.shard, operation)?;
            let counted = self.look(target, |_, entry| {
                sum_of(key, entry.payload, delta).map(|sum| (sum, entry.expiry))
            })?;
            let (number, expiry) = counted.transpose()?.unwrap_or((initial, expiry));
            let entry = Entry { expiry, payload: Payload::Int(number) };
            let file = self.directory.write(path, key, &entry)?;
            let is_new = self.directory.replace(&guard, path, file)?;
            Ok((number, is_new))
        })?;
        self.count(is_new);
        Ok(number)
    }

    pub(crate) fn get_and_touch(
        &self,
        target: &Target,
        expiry: Expiry,
        operation: &Operation,
    ) -> Result<Option<Value>> {
        let mut value = None;
        let touched =
            self.rewrite(target, operation, Directory::replace_keeping_lease, |entry| {
                value = Some(entry.payload.to_value());
                Ok(Entry { expiry, payload: entry.payload })
            })?;
        Ok(touched.and(value))
    }

    /// Replaces an entry by what `change` returns. Returns `None` if there is no live entry.
    fn rewrite<C>(
        &self,
        target: &Target,
        operation: &Operation,
        replace: fn(&Directory, &LockGuard, &EntryPath, NamedTempFile) -> Result<bool>,
        mut change: C,
    ) -> Result<Option<()>>
    where
        C: for<'a> FnMut(Entry<'a>) -> Result<Entry<'a>>,
    {
        let Target { key, path } = target;
        self.directory.in_shard(path.shard, || {
            let guard = self.lock(path.shard, operation)?;
            let written =
                self.look(target, |_, entry| self.directory.write(path, key, &change(entry)?))?;
            let Some(file) = written.transpose()? else { return Ok(None) };
            replace(&self.directory, &guard, path, file)?;
            Ok(Some(()))
        })
    }

    /// Removes an entry's file, even if it is expired or undecodable. Returns whether there was a
    /// live entry.
    pub(crate) fn delete(&self, target: &Target, operation: &Operation) -> Result<bool> {
        self.directory.in_shard(target.path.shard, || {
            let guard = self.lock(target.path.shard, operation)?;
            let existed = self.contains(target)?;
            self.directory.end_lease(&guard, &target.path)?;
            self.directory.remove(&guard, &target.path.path)?;
            Ok(existed)
        })
    }

    /// Removes all entries, leases and abandoned temporary files, one shard after the other. Skips
    /// what cannot be removed, and returns the first error at the end.
    pub(crate) fn clear(&self, operation: &mut Operation) -> Result<()> {
        let mut skipped = Skipped::default();
        for shard in 0..=u8::MAX {
            let cleared = self.clear_unless_empty(shard, operation, &mut skipped);
            skipped.unless_ok(cleared);
        }
        let (_, first) = skipped.log();
        first.map_or(Ok(()), Err)
    }

    fn clear_unless_empty(
        &self,
        shard: u8,
        operation: &mut Operation,
        skipped: &mut Skipped,
    ) -> Result<()> {
        if self.directory.list(shard)?.next().is_none() {
            return Ok(());
        }
        self.directory.in_shard(shard, || {
            operation.restart_timeout();
            let guard = self.lock(shard, operation)?;
            self.clear_shard(shard, &guard, skipped)
        })
    }

    fn clear_shard(&self, shard: u8, guard: &LockGuard, skipped: &mut Skipped) -> Result<()> {
        for file in self.directory.list(shard)? {
            match file {
                ListedFile::Entry(path) | ListedFile::Lease(path) => {
                    skipped.unless_ok(self.directory.remove(guard, &path));
                }
                ListedFile::Temporary(path) => drop(self.directory.remove_if_abandoned(&path)),
            }
        }
        Ok(())
    }

    pub(crate) fn lock(&self, shard: u8, operation: &Operation) -> Result<LockGuard> {
        let guard = self.directory.lock_shard(shard, operation)?;
        operation.check_cancelled()?;
        Ok(guard)
    }

    pub(crate) fn count(self: &Arc<Self>, is_new: bool) {
        if is_new && self.sweeper.record_insertion() {
            Sweeper::start(self);
        }
    }
}

/// Adds to the integer of an entry.
fn sum_of(key: &str, payload: Payload<'_>, delta: i64) -> Result<i64> {
    let Payload::Int(number) = payload else { return Err(Error::not_an_integer(key)) };
    number.checked_add(delta).ok_or_else(|| Error::overflow(key, number, delta))
}

/// Logs and counts an undecodable file, which is a miss.
fn report_undecodable(path: &Path, error: DecodeError) {
    let reason = error.reason();
    metrics::counter!("cachette_unusable_total", "store" => "filebased", "reason" => reason)
        .increment(1);
    tracing::warn!(path = %path.display(), reason = %error, "undecodable entry treated as a miss");
}
