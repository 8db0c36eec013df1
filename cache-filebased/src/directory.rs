//! The layout of the cache's directory, and every change to it.
//!
//! ```text
//! LOCATION/              0700
//!   sweep                0600   the lock of the process that counts and culls
//!   7f/                  0700   one of 256 shards, named by the first byte of the key's digest
//!     lock               0600   the lock for changes to the shard's entries
//!     83b1…d0.entry      0600   an entry, named by the other 31 bytes
//!     83b1…d0.lease      0600   the lease of that key
//!     .new-Xq3PzR7d      0600   an entry that is being written
//! ```
//!
//! No other file is ever read, counted or removed.

use std::{
    error::Error as _,
    fs::{self, DirEntry, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use cache_core::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::{
    entry_file::{self, Entry},
    lease_file::{self, LeaseFile},
    operation::Operation,
    permissions::{self, TEMPORARY_PREFIX},
    read::{self, TryRead},
};

const ENTRY_SUFFIX: &str = ".entry";
const LEASE_SUFFIX: &str = ".lease";

/// A temporary file that was not written to for this long counts as abandoned.
///
/// Only the age is decisive, because process ids are ambiguous between containers. If the writer
/// was merely suspended, its rename fails, and it writes another file.
pub(crate) const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// The directory of a cache.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
}

/// The location of a key's entry.
#[derive(Clone, Debug)]
pub(crate) struct EntryPath {
    pub(crate) shard: u8,
    pub(crate) path: PathBuf,
}

impl EntryPath {
    /// The path of the key's lease.
    fn lease(&self) -> PathBuf {
        self.path.with_extension(&LEASE_SUFFIX[1..])
    }
}

/// A lock among all processes, which is released on drop.
#[derive(Debug)]
pub(crate) struct LockGuard {
    _file: File,
}

/// A file in a shard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ListedFile {
    Entry(PathBuf),
    Lease(PathBuf),
    Temporary(PathBuf),
}

impl Directory {
    /// `path` must be absolute.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a key's entry. It contains the digest of the key and no part of the key.
    pub(crate) fn entry_path(&self, key: &str) -> EntryPath {
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let [shard, ..] = digest;
        let [high, low] = [0, 16].map(|start| {
            let mut half = [0; 16];
            half.copy_from_slice(&digest[start..start + 16]);
            u128::from_be_bytes(half)
        });
        let high = high & (u128::MAX >> 8);
        let name = format!("{shard:02x}/{high:030x}{low:032x}{ENTRY_SUFFIX}");
        EntryPath { shard, path: self.path.join(name) }
    }

    fn shard(&self, shard: u8) -> PathBuf {
        self.path.join(format!("{shard:02x}"))
    }

    /// Runs `work` in a shard. If that fails because the shard or a file in it does not exist,
    /// creates the shard and tries again.
    ///
    /// There are many attempts, because another process may keep removing the directory.
    pub(crate) fn in_shard<T>(&self, shard: u8, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        const ATTEMPTS: usize = 100;
        for _ in 1..ATTEMPTS {
            match work() {
                Err(error) if is_not_found(&error) => none_if_not_found(self.create_shard(shard))?,
                result => return result,
            };
        }
        work()
    }

    fn create_shard(&self, shard: u8) -> Result<()> {
        let path = self.shard(shard);
        permissions::create_dir_all(&path).map_err(|error| failed("create", &path, error))
    }

    /// Writes an entry to a temporary file in its shard.
    pub(crate) fn write(
        &self,
        target: &EntryPath,
        key: &str,
        entry: &Entry<'_>,
    ) -> Result<NamedTempFile> {
        let shard = self.shard(target.shard);
        let failed = |error| failed("write to", &shard, error);
        let mut file = permissions::create_temporary_in(&shard).map_err(failed)?;
        entry_file::encode(key, entry, file.as_file_mut()).map_err(failed)?;
        Ok(file)
    }

    /// Ends the key's lease and renames a temporary file to its entry. Returns whether the entry is
    /// new.
    ///
    /// In this order, because the process may be killed in between: a lease that outlived the write
    /// could store an older value.
    pub(crate) fn replace(
        &self,
        guard: &LockGuard,
        target: &EntryPath,
        file: NamedTempFile,
    ) -> Result<bool> {
        self.end_lease(guard, target)?;
        self.replace_keeping_lease(guard, target, file)
    }

    /// Like [`replace`](Self::replace), for a change that writes no new value.
    pub(crate) fn replace_keeping_lease(
        &self,
        _: &LockGuard,
        target: &EntryPath,
        file: NamedTempFile,
    ) -> Result<bool> {
        let failed = |error| failed("replace", &target.path, error);
        let is_new = !fs::exists(&target.path).map_err(failed)?;
        file.persist(&target.path).map_err(|failure| failed(failure.error))?;
        Ok(is_new)
    }

    /// Returns the lease of a key, even if it has ended.
    pub(crate) fn read_lease(&self, target: &EntryPath) -> Result<Option<LeaseFile>> {
        read_lease(&target.lease())
    }

    /// Replaces the lease of a key.
    pub(crate) fn write_lease(
        &self,
        _: &LockGuard,
        target: &EntryPath,
        lease: &LeaseFile,
    ) -> Result<()> {
        let path = target.lease();
        let failed = |error| failed("write to", &path, error);
        let mut file =
            permissions::create_temporary_in(&self.shard(target.shard)).map_err(failed)?;
        file.write_all(&lease.encode()).map_err(failed)?;
        file.persist(&path).map_err(|failure| failed(failure.error))?;
        Ok(())
    }

    /// Ends the lease of a key, if there is one.
    pub(crate) fn end_lease(&self, _: &LockGuard, target: &EntryPath) -> Result<()> {
        remove(&target.lease()).map(drop)
    }

    /// Returns whether the key certainly has no lease. Never waits.
    pub(crate) fn surely_has_no_lease(&self, target: &EntryPath) -> bool {
        matches!(read::try_read(&target.lease(), |_| Some(())), TryRead::NotFound)
    }

    /// Removes an entry, if it exists.
    pub(crate) fn remove(&self, _: &LockGuard, path: &Path) -> Result<bool> {
        remove(path)
    }

    /// Waits for the lock of a shard until the operation gives up. The shard must exist.
    pub(crate) fn lock_shard(&self, shard: u8, operation: &Operation) -> Result<LockGuard> {
        lock(&self.shard(shard).join("lock"), operation)
    }

    /// Takes the lock for counting and culling. Returns `None` if another process holds it or the
    /// directory does not exist.
    pub(crate) fn try_lock_sweep(&self) -> Result<Option<LockGuard>> {
        none_if_not_found(try_lock(&self.path.join("sweep"))).map(Option::flatten)
    }

    /// Waits for the lock for counting and culling. Returns `None` if the directory does not exist.
    pub(crate) fn lock_sweep(&self, operation: &Operation) -> Result<Option<LockGuard>> {
        none_if_not_found(lock(&self.path.join("sweep"), operation))
    }

    /// Writes and removes a file in the directory, or in an existing shard.
    pub(crate) fn try_to_write(&self, shard: Option<u8>) -> Result<()> {
        let path = shard.map_or_else(|| self.path.clone(), |shard| self.shard(shard));
        match permissions::create_temporary_in(&path) {
            Err(error) if shard.is_some() && error.kind() == io::ErrorKind::NotFound => Ok(()),
            written => written.map(drop).map_err(|error| failed("write to", &path, error)),
        }
    }

    /// Lists the cache's files in a shard. The list is empty if the shard does not exist.
    pub(crate) fn list(&self, shard: u8) -> Result<impl Iterator<Item = ListedFile> + use<>> {
        let path = self.shard(shard);
        let files = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            files => Some(files.map_err(|error| failed("list", &path, error))?),
        };
        Ok(files.into_iter().flatten().filter_map(|file| classify(&file.ok()?)))
    }

    /// Removes a temporary file if it is abandoned.
    pub(crate) fn remove_if_abandoned(&self, path: &Path) -> bool {
        let age = fs::symlink_metadata(path).and_then(|file| file.modified()).map(|written| {
            // A file from the future counts as new.
            SystemTime::now().duration_since(written).unwrap_or_default()
        });
        age.is_ok_and(|age| age >= ABANDONED_AFTER) && remove(path).unwrap_or(false)
    }
}

fn classify(file: &DirEntry) -> Option<ListedFile> {
    let name = file.file_name();
    let name = name.to_str()?;
    if name.starts_with(TEMPORARY_PREFIX) {
        return Some(ListedFile::Temporary(file.path()));
    }
    let is_digest = |digits: &str| {
        digits.len() == 62 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if name.strip_suffix(ENTRY_SUFFIX).is_some_and(is_digest) {
        return Some(ListedFile::Entry(file.path()));
    }
    let is_lease = name.strip_suffix(LEASE_SUFFIX).is_some_and(is_digest);
    is_lease.then(|| ListedFile::Lease(file.path()))
}

/// Reads a lease. Returns `None` if there is none, or if the file is none.
pub(crate) fn read_lease(path: &Path) -> Result<Option<LeaseFile>> {
    let file = read::read(path, lease_file::LENGTH, |_, length| {
        if length == lease_file::LENGTH as u64 { Ok(()) } else { Err(()) }
    });
    let file = file.map_err(|error| failed("read", path, error))?;
    Ok(file.and_then(Result::ok).and_then(|file| LeaseFile::decode(&file)))
}

fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("remove", path, error)),
    }
}

/// Polls a lock. A blocking `lock` could not time out, so a holder that is stopped would cause a
/// hang instead of an error.
fn lock(path: &Path, operation: &Operation) -> Result<LockGuard> {
    let mut pause = Duration::from_micros(20);
    loop {
        if let Some(guard) = try_lock(path)? {
            return Ok(guard);
        }
        if operation.gives_up() {
            let message = format!(
                "timed out after OPTIONS.lock_timeout: another process holds the lock {}",
                path.display()
            );
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(1));
    }
}

/// Takes a lock unless another process holds it. A lock file that was just removed is not
/// used, because other processes lock the new one.
fn try_lock(path: &Path) -> Result<Option<LockGuard>> {
    let failed = |error| failed("lock", path, error);
    let file = permissions::open_lock(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {
            let is_current = permissions::is_file_at(&file, path).map_err(failed)?;
            Ok(is_current.then_some(LockGuard { _file: file }))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) if is_unsupported(&error) => {
            let message = format!(
                "cannot lock {}: its file system has no file locks (flock); choose a LOCATION on a \
                 local disk",
                path.display()
            );
            Err(Error::new(ErrorKind::Backend, message).with_source(error))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Whether the file system does not support locks.
fn is_unsupported(error: &io::Error) -> bool {
    #[cfg(target_os = "linux")]
    if error.raw_os_error() == Some(rustix::io::Errno::NOLCK.raw_os_error()) {
        return true;
    }
    error.kind() == io::ErrorKind::Unsupported
}

fn none_if_not_found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if is_not_found(&error) => Ok(None),
        result => result.map(Some),
    }
}

/// Creates an error that names the failed action and the path, with `error` as its source.
pub(crate) fn failed(action: &str, path: &Path, error: io::Error) -> Error {
    let message = format!("cannot {action} {}", path.display());
    let failed = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::storage_full(message),
        kind => Error::new(ErrorKind::Backend, message).temporary(matches!(
            kind,
            io::ErrorKind::Interrupted
                | io::ErrorKind::OutOfMemory
                | io::ErrorKind::ResourceBusy
                | io::ErrorKind::TimedOut
        )),
    };
    failed.with_source(error)
}

fn is_not_found(error: &Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn file_system_without_locks_is_recognized() {
        use rustix::io::Errno;

        for error in [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS] {
            assert!(is_unsupported(&error.into()), "{error}");
        }
        assert!(!is_unsupported(&Errno::ACCESS.into()));
    }

    /// The names are part of the format: an upgrade must find the entries of earlier versions.
    #[test]
    fn entry_is_named_by_the_sha_256_of_its_key() {
        let path = Directory::new("/cache".into()).entry_path("abc");
        let expected =
            "/cache/ba/7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad.entry";
        assert_eq!((path.shard, path.path), (0xba, PathBuf::from(expected)));
    }

    #[test]
    fn names_keep_leading_zeros() {
        let directory = Directory::new("/cache".into());
        for number in 0..1000 {
            let path = directory.entry_path(&number.to_string()).path;
            let digits = path.strip_prefix("/cache").expect("a path in the directory");
            assert_eq!(digits.to_string_lossy().len(), 2 + 1 + 62 + ENTRY_SUFFIX.len());
        }
    }
}
