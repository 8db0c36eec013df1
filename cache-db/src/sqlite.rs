//! SQLite, through rusqlite, on the threads of this process.
//!
//! A statement takes a few microseconds, and moving to another thread takes tens of them.
//! Statements on the entries of a few keys therefore run on the caller's thread, unless they would
//! have to wait: for a connection, for the write lock, or for a change of the file. What would
//! wait, and what works on the whole table, runs on a blocking thread.
//!
//! - [`readers`]: connections that only read. In WAL mode they never wait for a writer.
//! - [`writer`]: the connection that writes, and the queue of writes that have to wait for it.
//! - [`checkpoint`]: a thread that moves the WAL into the file, so that no caller waits for an
//!   fsync.
//! - [`file`]: opening, creating and recognizing the file. [`companions`]: the files beside it.
//! - [`space`]: room for removals on a full disk, and free pages.

mod blocking;
mod budget;
mod checkpoint;
mod companions;
mod connection;
mod failure;
mod file;
mod readers;
mod space;
mod writer;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use self::{
    blocking::spawn_blocking,
    checkpoint::{Checkpointer, MAX_WAL_PAGES},
    connection::Connection,
    file::DatabaseFile,
    readers::Readers,
    space::{MIN_WAL_PAGES, RESERVED_PAGES},
    writer::Writer,
};
use crate::{
    database::Effect,
    dialect::{Dialect, sqlite::SQLITE},
    error::Failure,
    fault::Fault,
    limits::Limits,
    statement::{Outcome, Scope, Statement},
};

/// The maximum number of arguments of statements that run on the caller's thread: those of
/// `set_many` with 256 entries, which takes as long as five changes of threads.
const MAX_ARGS: usize = 1024;

/// The maximum size of statements that run on the caller's thread.
const MAX_BYTES: usize = 128 << 10;

/// How long a caller's thread waits for another thread that uses the connection of a database in
/// memory. A statement takes less, and a change of threads takes more.
const MAX_WAIT: Duration = Duration::from_micros(50);

/// A SQLite database. It is opened when it is first used.
#[derive(Debug)]
pub(crate) struct Sqlite {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    location: String,
    /// `None` if the database is in memory. It then has one connection, the writer's.
    file: Option<DatabaseFile>,
    limits: Limits,
    readers: Readers,
    writer: Writer,
    checkpointer: Checkpointer,
    /// The number of pages in the WAL after the last write.
    wal_pages: AtomicU32,
    /// The number of pages that are allocated for the WAL, and that fit into the file. This and the
    /// other fields on space are changed by the thread that has the writer's connection.
    allocated_pages: AtomicU32,
    /// Whether the WAL must be moved into the file before a write that needs space.
    needs_checkpoint: AtomicBool,
    /// Whether the disk is full, so that what room is left is for removals.
    is_full: AtomicBool,
}

impl Sqlite {
    pub(crate) fn file(path: PathBuf, limits: Limits) -> Self {
        let location = format!("sqlite:{}", path.display());
        Self::new(location, Some(DatabaseFile::new(path)), limits)
    }

    pub(crate) fn in_memory(limits: Limits) -> Self {
        Self::new("sqlite::memory:".into(), None, limits)
    }

    fn new(location: String, file: Option<DatabaseFile>, limits: Limits) -> Self {
        let readers = Readers::new(limits.pool_size);
        let inner = Inner {
            location,
            file,
            limits,
            readers,
            writer: Writer::default(),
            checkpointer: Checkpointer::default(),
            wal_pages: AtomicU32::new(0),
            allocated_pages: AtomicU32::new(0),
            needs_checkpoint: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    #[expect(clippy::unused_self, reason = "the engines have the same methods")]
    pub(crate) fn dialect(&self) -> &'static Dialect {
        &SQLITE
    }

    pub(crate) fn location(&self) -> &str {
        &self.inner.location
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.inner.file.is_none()
    }

    #[cfg(unix)]
    pub(crate) fn path(&self) -> Option<&std::path::Path> {
        self.inner.file.as_ref().map(DatabaseFile::path)
    }

    /// Runs the statements on this thread, or returns `None` if they would have to wait.
    pub(crate) fn run_now(
        &self,
        statements: &[Statement<'_>],
        effect: Effect,
    ) -> Option<Result<Vec<Outcome>, Failure>> {
        let inner = &self.inner;
        if inner.limits.blocking_threads
            || !are_short(statements)
            || !budget::spend_for(statements, effect)
            || inner.has_changed()
        {
            return None;
        }
        let result = match effect {
            Effect::Read => inner.read_now(statements)?,
            Effect::Idempotent | Effect::NotIdempotent => {
                if let Err(failure) = inner.check_space(statements) {
                    return Some(Err(failure));
                }
                inner.write_now(statements)?
            }
        };
        match result {
            Err(failure) if failure.fault == Fault::Busy => None,
            result => Some(result),
        }
    }

    /// Runs the statements on this thread if they need not wait, otherwise on a blocking thread.
    pub(crate) async fn run(
        &self,
        statements: &[Statement<'_>],
        effect: Effect,
    ) -> Result<Vec<Outcome>, Failure> {
        if let Some(result) = self.run_now(statements, effect) {
            return result;
        }
        if budget::renew().await
            && let Some(result) = self.run_now(statements, effect)
        {
            return result;
        }
        let limits = &self.inner.limits;
        let deadline = Instant::now() + limits.connect_timeout + limits.statement_timeout;
        let statements: Vec<_> = statements.iter().map(Statement::to_owned).collect();
        let inner = Arc::clone(&self.inner);
        match effect {
            Effect::Read => {
                let read = move || inner.read_until(&statements, deadline);
                spawn_blocking(read, deadline).await?
            }
            Effect::Idempotent | Effect::NotIdempotent => {
                inner.check_space(&statements)?;
                writer::enqueue(inner, statements, deadline).await
            }
        }
    }

    /// Closes the connections. Does nothing if the data would be lost.
    pub(crate) async fn close(&self) {
        if self.is_in_memory() {
            return;
        }
        let deadline = Instant::now() + self.inner.limits.statement_timeout;
        let inner = Arc::clone(&self.inner);
        // Connections that are still in use then are closed when they are given back.
        let _ = spawn_blocking(move || inner.close(), deadline).await;
    }
}

/// Whether running the statements takes no longer than a few changes of threads.
fn are_short(statements: &[Statement<'_>]) -> bool {
    let args: usize = statements.iter().map(|statement| statement.args.len()).sum();
    args <= MAX_ARGS
        && statements.iter().all(|statement| statement.scope == Scope::Entries)
        && statements.iter().map(Statement::size).sum::<usize>() <= MAX_BYTES
}

impl Inner {
    /// Whether the path no longer names the open file, so that the connections must be replaced.
    fn has_changed(&self) -> bool {
        self.file.as_ref().is_some_and(DatabaseFile::has_changed)
    }

    /// Reserves space for a write of this many pages and for others, or returns `false`. If there
    /// is little space, the next checkpoint comes sooner.
    fn reserve_space(&self, pages: u32) -> bool {
        let is_reserved = self.allocate_wal(pages.max(MAX_WAL_PAGES))
            || self.allocate_wal(pages.max(MIN_WAL_PAGES));
        if is_reserved {
            self.is_full.store(false, Ordering::Relaxed);
        }
        is_reserved
    }

    /// Allocates this many more pages of the WAL on the disk, and those for removals. Returns
    /// `false` if there is no space for them, in the WAL and then in the file.
    fn allocate_wal(&self, more: u32) -> bool {
        let Some(file) = &self.file else { return true };
        let used = self.wal_pages.load(Ordering::Relaxed) + RESERVED_PAGES;
        let pages = used.saturating_add(more);
        let is_allocated = file.allocate_wal(pages);
        if is_allocated {
            self.allocated_pages.store(pages, Ordering::Relaxed);
        }
        self.needs_checkpoint.store(!is_allocated, Ordering::Relaxed);
        is_allocated
    }

    /// Returns an error for writes that need more space on a full disk.
    fn check_space(self: &Arc<Self>, statements: &[Statement<'_>]) -> Result<(), Failure> {
        if !self.is_full.load(Ordering::Relaxed) || statements.iter().all(Statement::removes) {
            return Ok(());
        }
        // Finds out whether there is space now.
        self.checkpointer.request(self);
        Err(Failure::new(Fault::Full, "database or disk is full".into()))
    }

    /// A file that was replaced can look broken, or lack its table.
    fn look_soon_after(&self, failure: &Failure) {
        if matches!(failure.fault, Fault::Other | Fault::MissingTable)
            && let Some(file) = &self.file
        {
            file.look_soon();
        }
    }

    /// Runs a read on an idle connection, or returns `None` if there is none.
    fn read_now(
        self: &Arc<Self>,
        statements: &[Statement<'_>],
    ) -> Option<Result<Vec<Outcome>, Failure>> {
        if self.file.is_none() {
            let connection = self.try_lock_writer(MAX_WAIT)?;
            return Some(failing(connection.as_ref()?.read(statements)));
        }
        let mut connection = self.readers.take_idle()?;
        let result =
            connection.wait_for_locks(Duration::ZERO).and_then(|()| connection.read(statements));
        self.readers.put_back(connection);
        Some(failing(result).inspect_err(|failure| self.look_soon_after(failure)))
    }

    /// Runs a read on this blocking thread.
    fn read_until(
        self: &Arc<Self>,
        statements: &[Statement<'_>],
        deadline: Instant,
    ) -> Result<Vec<Outcome>, Failure> {
        retry_until(deadline, || {
            let Some(file) = &self.file else {
                let mut writer = self.lock_writer();
                return failing(self.open_writer(&mut writer)?.read(statements));
            };
            self.replace_changed_connections()?;
            let mut connection = self.readers.take(deadline, || {
                // Without waiting for a writer, unless there is no file yet.
                if !file.is_open() {
                    self.open_writer(&mut self.lock_writer())?;
                }
                file.open_reader()
            })?;
            let result = connection
                .wait_for_locks(self.limits.busy_timeout)
                .and_then(|()| connection.read(statements));
            self.readers.put_back(connection);
            failing(result).inspect_err(|failure| self.look_soon_after(failure))
        })
    }

    /// Opens the writer's connection, unless it is open.
    fn open_writer<'a>(
        &self,
        writer: &'a mut Option<Connection>,
    ) -> Result<&'a mut Connection, Failure> {
        match writer {
            Some(connection) => Ok(connection),
            None => Ok(writer.insert(match &self.file {
                Some(file) => {
                    let connection = file.open_writer(self.limits.busy_timeout)?;
                    self.is_full.store(!self.reserve_space(0), Ordering::Relaxed);
                    connection
                }
                None => failing(Connection::in_memory())?,
            })),
        }
    }

    /// Closes the connections if the path no longer names the open file.
    fn replace_changed_connections(self: &Arc<Self>) -> Result<(), Failure> {
        if !self.has_changed() {
            return Ok(());
        }
        self.checkpointer.stop();
        self.replace_if_changed(&mut self.lock_writer())
    }

    /// Like [`replace_changed_connections`](Self::replace_changed_connections), for the thread that
    /// uses the writer's connection and has stopped the checkpointer.
    fn replace_if_changed(&self, writer: &mut Option<Connection>) -> Result<(), Failure> {
        let Some(file) = &self.file else { return Ok(()) };
        // Another thread may have replaced them since.
        if !file.has_changed() {
            return Ok(());
        }
        tracing::info!(
            database = self.location,
            "reopening the cache: the file was deleted, replaced or changed"
        );
        file.remove_leftovers(self.limits.busy_timeout)?;
        *writer = None;
        self.readers.clear();
        file.forget();
        Ok(())
    }

    fn close(self: &Arc<Self>) -> Result<(), Failure> {
        self.checkpointer.stop();
        let mut writer = self.lock_writer();
        self.readers.clear();
        // The last connection moves the WAL into the file and removes it.
        *writer = None;
        if let Some(file) = &self.file {
            file.forget();
        }
        Ok(())
    }
}

/// Repeats `attempt` while it fails because of a lock.
fn retry_until<T>(
    deadline: Instant,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut pause = Duration::from_millis(1);
    loop {
        match attempt() {
            Err(failure) if failure.fault == Fault::Busy && Instant::now() + pause < deadline => {
                std::thread::sleep(pause);
                pause = (2 * pause).min(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}

fn failing<T>(result: rusqlite::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::from_rusqlite(&error))
}
