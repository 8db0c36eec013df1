//! The files that SQLite keeps beside a database: the WAL and its index, `-wal` and `-shm`.
//!
//! SQLite finds them by name. If a database is deleted or replaced while processes have it open,
//! the files of the old one stay, and a process that opens the new one would use them: it would
//! apply the old WAL, and share an index with processes that write to the old file. So they are
//! removed first, by the process that finds that the path no longer names its file, and by the one
//! that creates the file. Meanwhile a lock on the folder keeps other processes that use this crate
//! from creating new ones.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{error::Failure, fault::Fault};

/// The device and the inode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    #[cfg(unix)]
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;

        fs::metadata(path).map(|file| Self(file.dev(), file.ino()))
    }

    /// On other systems, an open file cannot be removed.
    #[cfg(not(unix))]
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|_| Self(0, 0))
    }
}

/// The names of the files beside a database.
#[derive(Debug)]
pub(super) struct Companions {
    pub(super) wal: PathBuf,
    index: PathBuf,
}

/// Which files had these names at some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen([Option<Identity>; 2]);

impl Companions {
    pub(super) fn of(database: &Path) -> Self {
        let with = |suffix| {
            let mut name = OsString::from(database);
            name.push(suffix);
            name.into()
        };
        Self { wal: with("-wal"), index: with("-shm") }
    }

    pub(super) fn see(&self) -> Seen {
        Seen([&self.wal, &self.index].map(|path| Identity::of(path).ok()))
    }

    /// Removes the files that were seen, but not others that have their names now.
    ///
    /// The caller has them open, so that no other file can have got their inodes, or they belong to
    /// no database.
    pub(super) fn remove(&self, Seen(seen): Seen) {
        for (path, seen) in [&self.wal, &self.index].into_iter().zip(seen) {
            if seen.is_some() && Identity::of(path).ok() == seen {
                // If it cannot be removed, opening the database reports the problem.
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Gives the files that this user owns the permissions of the database, as SQLite does when it
    /// creates them. Beside a database that was read-only then, they would stay read-only.
    pub(super) fn make_writable_like(&self, database: &Path) {
        let Ok(database) = fs::metadata(database) else { return };
        for path in [&self.wal, &self.index] {
            let is_read_only = |file: fs::Metadata| file.is_file() && file.permissions().readonly();
            if fs::symlink_metadata(path).is_ok_and(is_read_only) {
                // If the file belongs to another user, writes report that it is read-only.
                let _ = fs::set_permissions(path, database.permissions());
            }
        }
    }

    /// Whether there is a WAL with content.
    pub(super) fn has_wal(&self) -> bool {
        fs::metadata(&self.wal).is_ok_and(|wal| wal.len() > 0)
    }
}

/// Keeps other processes that use this crate from opening databases in a folder.
#[derive(Debug)]
pub(super) struct FolderLock {
    /// `None` if the folder is missing or its file system has no locks.
    _folder: Option<File>,
}

impl FolderLock {
    /// Locks the folder of a file. Waits for other processes for at most `wait`.
    pub(super) fn acquire(file: &Path, wait: Duration) -> Result<Self, Failure> {
        let Ok(folder) = File::open(parent_of(file)) else { return Ok(Self { _folder: None }) };
        let deadline = Instant::now() + wait;
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(Self { _folder: Some(folder) }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(TryLockError::WouldBlock) => {
                    let message = "another process is opening a database in the folder";
                    return Err(Failure::new(Fault::Busy, message.into()));
                }
                Err(TryLockError::Error(_)) => return Ok(Self { _folder: None }),
            }
        }
    }
}

/// The folder of a file.
pub(super) fn parent_of(file: &Path) -> &Path {
    let parent = file.parent().filter(|parent| *parent != Path::new(""));
    parent.unwrap_or(Path::new("."))
}
