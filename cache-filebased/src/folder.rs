//! Where the files are, and every change to them.
//!
//! ```text
//! LOCATION/              0700
//!   sweep                0600   who holds its lock counts and culls
//!   7f/                  0700   one of 256 shards, by the first byte of the key's digest
//!     lock               0600   who holds its lock may change what the shard's entries are
//!     83b1…d0.entry      0600   an entry, by the other 31 bytes
//!     .new-Xq3PzR7d      0600   an entry that is being written
//! ```
//!
//! Nothing else is ever read, counted or removed.

use std::{
    error::Error as _,
    fs::{self, DirEntry, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use cache_core::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::{
    call::Call,
    entry_file::{self, Entry},
    modes::{self, NEW},
};

const ENTRY: &str = ".entry";

/// After so long without a write, a temporary file is taken for left over. Should its writer be only asleep, it finds its
/// file gone and writes another one.
pub(crate) const LEFT_OVER_AFTER: Duration = Duration::from_secs(60);

/// The folder of a cache.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

/// Where the entry of a key is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) shard: u8,
    pub(crate) path: PathBuf,
}

/// The right to change what a shard's entries are, among all processes.
#[derive(Debug)]
pub(crate) struct Held {
    _lock: File,
}

/// A file of a shard, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    Entry(PathBuf),
    New(PathBuf),
}

impl Folder {
    /// Takes an absolute path.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Of a key, nothing but its digest gets into a path.
    pub(crate) fn place(&self, key: &str) -> Place {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digest = Sha256::digest(key.as_bytes());
        let mut name = String::with_capacity(2 * digest.len() + 1 + ENTRY.len());
        for (position, byte) in digest.iter().enumerate() {
            if position == 1 {
                name.push('/');
            }
            name.push(char::from(DIGITS[usize::from(byte >> 4)]));
            name.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        name.push_str(ENTRY);
        Place { shard: digest[0], path: self.root.join(name) }
    }

    fn shard(&self, shard: u8) -> PathBuf {
        self.root.join(format!("{shard:02x}"))
    }

    /// Does `work` in a shard; where that finds its folder or a file of it vanished, makes the folder and has it done again:
    /// often, for somebody may remove it again and again.
    pub(crate) fn in_shard<T>(&self, shard: u8, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        const ATTEMPTS: usize = 100;
        for _ in 1..ATTEMPTS {
            match work() {
                Err(error) if is_not_found(&error) => unless_not_found(self.make(shard))?,
                done => return done,
            };
        }
        work()
    }

    fn make(&self, shard: u8) -> Result<()> {
        let path = self.shard(shard);
        modes::make_folder(&path).map_err(|error| failed("cannot be made", &path, error))
    }

    /// Writes an entry to a file of its own, beside where it shall be.
    pub(crate) fn write(
        &self,
        place: &Place,
        key: &str,
        entry: &Entry<'_>,
    ) -> Result<NamedTempFile> {
        let shard = self.shard(place.shard);
        let told = |error| failed("cannot be written to", &shard, error);
        let mut new = modes::new_file_in(&shard).map_err(told)?;
        entry_file::write(key, entry, new.as_file_mut()).map_err(told)?;
        Ok(new)
    }

    /// Puts a written entry in its place, and says whether there was no file before.
    pub(crate) fn put(&self, _: &Held, place: &Place, new: NamedTempFile) -> Result<bool> {
        let told = |error| failed("cannot be replaced", &place.path, error);
        let is_new = !fs::exists(&place.path).map_err(told)?;
        new.persist(&place.path).map_err(|failure| told(failure.error))?;
        Ok(is_new)
    }

    /// Removes an entry, and says whether there was a file.
    pub(crate) fn remove(&self, _: &Held, path: &Path) -> Result<bool> {
        remove(path)
    }

    /// Waits for a shard's lock, as long as the call has patience. The shard's folder has to be there.
    pub(crate) fn lock(&self, shard: u8, call: &Call) -> Result<Held> {
        lock(&self.shard(shard).join("lock"), call)
    }

    /// The right to count and cull, unless somebody else has it or there is no folder.
    pub(crate) fn try_lock_sweep(&self) -> Result<Option<Held>> {
        unless_not_found(try_lock(&self.root.join("sweep"))).map(Option::flatten)
    }

    /// Waits for the right to count and cull; nothing where there is no folder.
    pub(crate) fn lock_sweep(&self, call: &Call) -> Result<Option<Held>> {
        unless_not_found(lock(&self.root.join("sweep"), call))
    }

    /// Our files in a shard; none where there is no such folder.
    pub(crate) fn list(&self, shard: u8) -> Result<impl Iterator<Item = Listed>> {
        let path = self.shard(shard);
        let files = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            files => Some(files.map_err(|error| failed("cannot be listed", &path, error))?),
        };
        Ok(files.into_iter().flatten().filter_map(|file| listed(&file.ok()?)))
    }

    /// Removes a temporary file if nobody has written to it for long, and says whether it did.
    pub(crate) fn remove_if_left_over(&self, path: &Path) -> bool {
        let age = fs::symlink_metadata(path).and_then(|file| file.modified()).map(|written| {
            // What was written in the future is new.
            SystemTime::now().duration_since(written).unwrap_or_default()
        });
        age.is_ok_and(|age| age >= LEFT_OVER_AFTER) && remove(path).unwrap_or(false)
    }
}

fn listed(file: &DirEntry) -> Option<Listed> {
    let name = file.file_name();
    let name = name.to_str()?;
    if name.starts_with(NEW) {
        return Some(Listed::New(file.path()));
    }
    let digits = name.strip_suffix(ENTRY)?;
    let is_digest =
        digits.len() == 62 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_digest.then(|| Listed::Entry(file.path()))
}

fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("cannot be removed", path, error)),
    }
}

fn lock(path: &Path, call: &Call) -> Result<Held> {
    let mut pause = Duration::from_micros(20);
    loop {
        if let Some(held) = try_lock(path)? {
            return Ok(held);
        }
        if call.is_out_of_patience() {
            let message = format!(
                "{}: another process has held this lock for longer than OPTIONS.lock_timeout",
                path.display()
            );
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(1));
    }
}

/// The lock, unless somebody else holds it. A file that was removed meanwhile guards nothing: its successor does.
fn try_lock(path: &Path) -> Result<Option<Held>> {
    let told = |error| failed("cannot be locked", path, error);
    let file = modes::open_lock(path).map_err(told)?;
    match file.try_lock() {
        Ok(()) => Ok(modes::is_at(&file, path).map_err(told)?.then_some(Held { _lock: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(told(error)),
    }
}

fn unless_not_found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if is_not_found(&error) => Ok(None),
        result => result.map(Some),
    }
}

/// An error that names the path.
pub(crate) fn failed(how: &str, path: &Path, error: io::Error) -> Error {
    let temporary = matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::Interrupted
            | io::ErrorKind::OutOfMemory
            | io::ErrorKind::ResourceBusy
            | io::ErrorKind::TimedOut
    );
    let message = format!("{}: {how}: {error}", path.display());
    Error::new(ErrorKind::Backend, message).temporary(temporary).with_source(error)
}

fn is_not_found(error: &Error) -> bool {
    let below = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    below.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}
