//! The file of a database: opening, creating and recognizing it.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use rusqlite::{ErrorCode, MAIN_DB, OpenFlags};

use super::{connection::Connection, failing, space};
use crate::{error::Failure, fault::Fault};

/// How often the path is compared with the open file.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    start: Instant,
    /// When the path is compared next, in milliseconds since `start`.
    next_check: AtomicU64,
    has_changed: AtomicBool,
    /// The open file and its WAL.
    open: Mutex<Option<[Option<Identity>; 2]>>,
}

/// The device and the inode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, u64);

impl DatabaseFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            start: Instant::now(),
            next_check: AtomicU64::new(0),
            has_changed: AtomicBool::new(false),
            open: Mutex::default(),
        }
    }

    /// Opens the connection that writes. Creates the file and its folder if they are missing.
    pub(super) fn open_writer(&self, busy_timeout: Duration) -> Result<Connection, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let existed = self.path.exists();
        let raw = match self.open(flags) {
            Err(_) if self.create_folder()? => self.open(flags),
            opened => opened,
        };
        let mut connection = Connection::new(failing(raw)?);
        if !existed {
            self.give_to_owner_of_folder();
        }
        failing(connection.wait_for_locks(busy_timeout))?;
        if failing(connection.raw.is_readonly(MAIN_DB))? {
            connection = self.readable(connection)?;
        } else {
            failing(prepare_to_write(&connection))?;
        }
        *self.open.lock() = Some([&self.path, &self.wal()].map(|path| identity(path).ok()));
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
        Ok(connection)
    }

    /// Allocates this many pages of the WAL on the disk. Returns `false` if the disk is full.
    pub(super) fn allocate_wal(&self, pages: u32) -> bool {
        space::allocate(&self.wal(), pages)
    }

    fn open(&self, flags: OpenFlags) -> rusqlite::Result<rusqlite::Connection> {
        // Each connection is used by one thread at a time.
        rusqlite::Connection::open_with_flags(&self.path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
    }

    /// Returns a connection that can read the file.
    ///
    /// SQLite reads a file in WAL mode only if it can create the files beside it, unless it is told
    /// that nobody changes the file. That is certain in a read-only file system.
    fn readable(&self, connection: Connection) -> Result<Connection, Failure> {
        let probe = connection.raw.query_row("SELECT 1 FROM sqlite_schema", [], |_| Ok(()));
        match probe.as_ref().map_err(rusqlite::Error::sqlite_error_code) {
            Err(Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
                if self.is_in_read_only_file_system() && !self.has_wal() =>
            {
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

    fn wal(&self) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push("-wal");
        name.into()
    }

    fn has_wal(&self) -> bool {
        fs::metadata(self.wal()).is_ok_and(|wal| wal.len() > 0)
    }

    /// Whether the path no longer names the open file. Looks at most once per second.
    pub(super) fn has_changed(&self) -> bool {
        if self.has_changed.load(Ordering::Acquire) {
            return true;
        }
        let now = self.start.elapsed().as_millis() as u64;
        if now < self.next_check.load(Ordering::Relaxed) {
            return false;
        }
        self.next_check.store(now + CHECK_INTERVAL.as_millis() as u64, Ordering::Relaxed);
        let Some([open @ Some(_), _]) = *self.open.lock() else { return false };
        let has_changed = match identity(&self.path) {
            Ok(named) => open != Some(named),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        self.has_changed.store(has_changed, Ordering::Release);
        has_changed
    }

    /// Forgets the open file, whose connections are closed. If another file has its path, removes
    /// the WAL that it left, which SQLite would apply to the other file.
    pub(super) fn forget(&self) {
        let open = self.open.lock().take();
        if let Some([_, wal @ Some(_)]) = open
            && identity(&self.wal()).ok() == wal
        {
            // If it cannot be removed, opening the file reports the problem.
            let _ = fs::remove_file(self.wal());
        }
        self.has_changed.store(false, Ordering::Release);
    }

    /// Creates the folder and its missing parents. Returns whether they were missing.
    fn create_folder(&self) -> Result<bool, Failure> {
        let missing = self.path.ancestors().skip(1).filter(|path| path != &Path::new(""));
        let missing: Vec<&Path> = missing.take_while(|path| !path.exists()).collect();
        for folder in missing.iter().rev() {
            create_folder(folder).map_err(|error| {
                let message = format!("cannot create the folder {}: {error}", folder.display());
                Failure::new(Fault::Unavailable, message)
            })?;
        }
        Ok(!missing.is_empty())
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
    connection.count_wal_pages();
    // Opens the WAL.
    raw.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))
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
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let parent = fs::metadata(parent.unwrap_or(Path::new(".")))?;
    chown(path, Some(parent.uid()), Some(parent.gid()))
}

#[cfg(not(unix))]
fn give_to_owner_of_parent(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;

    fs::metadata(path).map(|file| Identity(file.dev(), file.ino()))
}

/// On other systems, an open file cannot be removed.
#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|_| Identity(0, 0))
}
