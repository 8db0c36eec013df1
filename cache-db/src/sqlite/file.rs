//! The file of a database: opening, creating and recognizing it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use rusqlite::{ErrorCode, MAIN_DB, OpenFlags};

use super::{
    companions::{Companions, FolderLock, Identity, Seen, parent_of},
    connection::Connection,
    failing, space,
};
use crate::{error::Failure, fault::Fault};

/// How often the path is compared with the open file.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    companions: Companions,
    start: Instant,
    /// When the path is compared next, in milliseconds since `start`.
    next_check: AtomicU64,
    has_changed: AtomicBool,
    /// The open file, and what is beside it.
    open: Mutex<Option<(Identity, Seen)>>,
    /// Whether the file could only be opened for reading.
    is_read_only: AtomicBool,
    /// Whether SQLite was told that nobody changes the file.
    is_frozen: AtomicBool,
    /// What the file was like then.
    frozen: Mutex<Option<Version>>,
}

/// What changes with the content of a file.
type Version = (u64, Option<SystemTime>);

fn version(path: &Path) -> Option<Version> {
    fs::metadata(path).ok().map(|file| (file.len(), file.modified().ok()))
}

impl DatabaseFile {
    #[cfg(unix)]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn new(path: PathBuf) -> Self {
        // SQLite takes a name that begins with `file:` for a URI.
        let path = if path.is_relative() { Path::new(".").join(path) } else { path };
        Self {
            companions: Companions::of(&path),
            path,
            start: Instant::now(),
            next_check: AtomicU64::new(0),
            has_changed: AtomicBool::new(false),
            open: Mutex::default(),
            is_read_only: AtomicBool::new(false),
            is_frozen: AtomicBool::new(false),
            frozen: Mutex::default(),
        }
    }

    /// Opens the connection that writes. Creates the file and its folder if they are missing.
    pub(super) fn open_writer(&self, busy_timeout: Duration) -> Result<Connection, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        self.create_folder()?;
        let _lock = FolderLock::acquire(&self.path, busy_timeout)?;
        let leftovers = self.companions.see();
        let existed = self.path.exists();
        if !existed {
            self.companions.remove(leftovers);
        } else if can_write(&self.path) {
            self.companions.make_writable_like(&self.path);
        }
        let mut connection = Connection::new(failing(self.open(flags))?);
        if !existed {
            self.give_to_owner_of_folder();
        }
        failing(connection.wait_for_locks(busy_timeout))?;
        let is_read_only = failing(connection.raw.is_readonly(MAIN_DB))?;
        self.is_read_only.store(is_read_only, Ordering::Release);
        if is_read_only {
            connection = self.readable(connection)?;
        } else {
            failing(prepare_to_write(&connection))?;
        }
        let identity = Identity::of(&self.path).ok();
        *self.open.lock() = identity.map(|identity| (identity, self.companions.see()));
        Ok(connection)
    }

    /// Opens a connection that reads. The file must exist.
    pub(super) fn open_reader(&self) -> Result<Connection, Failure> {
        let raw = failing(self.open(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
        self.readable(Connection::new(raw))
    }

    /// Opens another connection that writes, for checkpoints.
    pub(super) fn open_checkpointer(
        &self,
        busy_timeout: Duration,
    ) -> rusqlite::Result<rusqlite::Connection> {
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(busy_timeout)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
        space::limit_wal(&connection)?;
        Ok(connection)
    }

    /// Allocates this many pages of the WAL on the disk. Returns `false` if there is no space for
    /// them, in the WAL and then in the file.
    pub(super) fn allocate_wal(&self, pages: u32) -> bool {
        space::allocate(&self.companions.wal, pages)
    }

    fn open(&self, flags: OpenFlags) -> rusqlite::Result<rusqlite::Connection> {
        // Each connection is used by one thread at a time.
        rusqlite::Connection::open_with_flags(&self.path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
    }

    /// Returns a connection that can read the file.
    ///
    /// SQLite reads a file in WAL mode only if it can create the files beside it, unless it is told
    /// that nobody changes the file. That is assumed in a read-only file system until the file has
    /// changed: another mount of it may be writable.
    fn readable(&self, connection: Connection) -> Result<Connection, Failure> {
        let probe = connection.raw.query_row("SELECT 1 FROM sqlite_schema", [], |_| Ok(()));
        match probe.as_ref().map_err(rusqlite::Error::sqlite_error_code) {
            Err(Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
                if self.is_in_read_only_file_system() && !self.companions.has_wal() =>
            {
                *self.frozen.lock() = version(&self.path);
                self.is_frozen.store(true, Ordering::Release);
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
                let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let raw = rusqlite::Connection::open_with_flags(self.immutable_uri(), flags);
                failing(raw).map(Connection::new)
            }
            // The other errors are those of the statements that follow.
            _ => Ok(connection),
        }
    }

    fn immutable_uri(&self) -> String {
        const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');
        let path = self.path.as_os_str().as_encoded_bytes();
        format!("file:{}?immutable=1", percent_encode(path, ESCAPED))
    }

    /// Whether the file is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.lock().is_some()
    }

    /// Whether the path no longer names the open file, or a read-only file has become writable.
    /// Looks at most once per second, but each time if SQLite was told that nobody changes the
    /// file.
    pub(super) fn has_changed(&self) -> bool {
        if self.has_changed.load(Ordering::Acquire) {
            return true;
        }
        if self.is_frozen.load(Ordering::Acquire)
            && (self.companions.has_wal() || *self.frozen.lock() != version(&self.path))
        {
            self.has_changed.store(true, Ordering::Release);
            return true;
        }
        let now = self.start.elapsed().as_millis() as u64;
        if now < self.next_check.load(Ordering::Relaxed) {
            return false;
        }
        self.next_check.store(now + CHECK_INTERVAL.as_millis() as u64, Ordering::Relaxed);
        let Some((open, _)) = *self.open.lock() else { return false };
        let has_changed = self.is_elsewhere(open)
            || self.is_read_only.load(Ordering::Acquire) && can_write(&self.path);
        self.has_changed.store(has_changed, Ordering::Release);
        has_changed
    }

    /// Lets the next call look whether the path still names the open file, after an error that it
    /// would explain.
    pub(super) fn look_soon(&self) {
        self.next_check.store(0, Ordering::Relaxed);
    }

    /// Whether the path no longer names this file.
    fn is_elsewhere(&self, file: Identity) -> bool {
        match Identity::of(&self.path) {
            Ok(named) => named != file,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Removes what the open file has left beside its path, if that names another file or none.
    ///
    /// The connections must still be open: without them, another file could get the same inode.
    pub(super) fn remove_leftovers(&self, wait: Duration) -> Result<(), Failure> {
        let _lock = FolderLock::acquire(&self.path, wait)?;
        if let Some((open, seen)) = *self.open.lock()
            && self.is_elsewhere(open)
        {
            self.companions.remove(seen);
        }
        Ok(())
    }

    /// Forgets the open file, whose connections are closed.
    pub(super) fn forget(&self) {
        *self.open.lock() = None;
        self.is_frozen.store(false, Ordering::Release);
        self.has_changed.store(false, Ordering::Release);
    }

    /// Creates the folder and its missing parents.
    fn create_folder(&self) -> Result<(), Failure> {
        let missing = self.path.ancestors().skip(1).filter(|path| path != &Path::new(""));
        let missing: Vec<&Path> = missing.take_while(|path| !path.exists()).collect();
        for folder in missing.iter().rev() {
            create_folder(folder).map_err(|error| {
                let message = format!("cannot create the folder {}: {error}", folder.display());
                Failure::new(Fault::Unavailable, message)
            })?;
        }
        Ok(())
    }

    /// Gives a file that root has created to the owner of its folder. SQLite gives the WAL to the
    /// owner of the file.
    fn give_to_owner_of_folder(&self) {
        if let Err(error) = give_to_owner_of_parent(&self.path) {
            tracing::warn!(
                path = %self.path.display(),
                %error,
                "cannot give the cache file to the owner of its folder"
            );
        }
    }

    #[cfg(unix)]
    fn is_in_read_only_file_system(&self) -> bool {
        use rustix::fs::{StatVfsMountFlags, statvfs};

        statvfs(&self.path).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY))
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "used on Unix")]
    fn is_in_read_only_file_system(&self) -> bool {
        false
    }
}

/// Sets what a file keeps, and what the connection does when it writes.
fn prepare_to_write(connection: &Connection) -> rusqlite::Result<()> {
    let raw = &connection.raw;
    let pages: i64 = raw.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages == 0 {
        // Only possible in an empty file: later, it takes a VACUUM.
        raw.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    raw.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    raw.pragma_update(None, "synchronous", "NORMAL")?;
    raw.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    // Within a transaction, SQLite keeps the pages that a statement on several rows changes until
    // the statement has succeeded: by default in a temporary file.
    raw.pragma_update(None, "temp_store", "MEMORY")?;
    space::limit_wal(raw)?;
    connection.count_wal_pages();
    // Opens the WAL.
    raw.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// Whether this process may write to a file. Does not open it, because closing it would release
/// SQLite's locks.
#[cfg(unix)]
fn can_write(path: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, accessat};

    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

#[cfg(not(unix))]
fn can_write(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| !file.permissions().readonly())
}

/// Creates a folder that only its owner can access, and which belongs to the owner of its parent.
fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.and_then(|()| give_to_owner_of_parent(folder)),
    }
}

#[cfg(unix)]
fn give_to_owner_of_parent(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};

    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let parent = fs::metadata(parent_of(path))?;
    chown(path, Some(parent.uid()), Some(parent.gid()))
}

#[cfg(not(unix))]
fn give_to_owner_of_parent(_: &Path) -> io::Result<()> {
    Ok(())
}
