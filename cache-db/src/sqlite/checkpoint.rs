//! A thread that moves the WAL into the file.
//!
//! A checkpoint waits for the disk. SQLite runs it in the write that fills the WAL, on that
//! caller's thread; here it has a thread of its own. The thread also restarts the WAL, because
//! SQLite syncs the first write to a new WAL. And it gives free pages back to the file system.

use std::{
    sync::{
        Arc, Weak,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::{Inner, space};

/// The number of pages in the WAL above which it is moved into the file, as in SQLite.
pub(super) const MAX_WAL_PAGES: u32 = 1000;

/// How long writers of this process and readers can delay the start of a new WAL. The writers wait
/// meanwhile.
pub(super) const PATIENCE: Duration = Duration::from_millis(5);

/// How long the thread pauses after an error.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(super) struct Checkpointer(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    requests: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    /// Starts a checkpoint, unless one is running. Does nothing if the database is in memory.
    pub(super) fn request(&self, inner: &Arc<Inner>) {
        if inner.file.is_none() {
            return;
        }
        let mut running = self.0.lock();
        if let Some(running) = &*running
            // Fails if one is requested already.
            && !running.thread.is_finished()
        {
            let _ = running.requests.try_send(());
            return;
        }
        let (requests, received) = sync_channel(1);
        let inner = Arc::downgrade(inner);
        let thread = thread::Builder::new().name("cachette-checkpoint".into());
        match thread.spawn(move || serve(&inner, &received)) {
            Ok(thread) => {
                let _ = requests.try_send(());
                *running = Some(Running { requests, thread });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot start the thread for checkpoints");
            }
        }
    }

    /// Ends the thread and closes its connection. Waits for a running checkpoint.
    pub(super) fn stop(&self) {
        let Some(Running { requests, thread }) = self.0.lock().take() else { return };
        drop(requests);
        // The thread itself may replace the connections, for a write that waited for it.
        if thread.thread().id() != thread::current().id() {
            // A panic was reported on standard error.
            let _ = thread.join();
        }
    }
}

fn serve(inner: &Weak<Inner>, requests: &Receiver<()>) {
    let mut connection = None;
    while requests.recv().is_ok() {
        let Some(inner) = inner.upgrade() else { return };
        let Some(file) = &inner.file else { return };
        let done = match &mut connection {
            Some(connection) => maintain(&inner, connection),
            None => file.open_checkpointer(PATIENCE).and_then(|opened| {
                let connection = connection.insert(opened);
                maintain(&inner, connection)
            }),
        };
        let error = done.err();
        let is_full = error
            .as_ref()
            .is_some_and(|error| error.sqlite_error_code() == Some(ErrorCode::DiskFull));
        {
            let _writer = inner.lock_writer();
            // There may be space again although a read keeps the WAL from being moved.
            inner.reserve_space(0);
            inner.is_full.fetch_or(is_full, Ordering::Relaxed);
        }
        if let Some(error) = error {
            connection = None;
            tracing::debug!(database = inner.location, %error, "the checkpoint failed");
            thread::sleep(PAUSE);
        }
    }
}

fn maintain(inner: &Arc<Inner>, connection: &mut Connection) -> rusqlite::Result<()> {
    let mut is_vacuumed = false;
    while space::is_mostly_free(connection)? {
        {
            let _writer = inner.lock_writer();
            space::vacuum(connection)?;
        }
        // The pages that were moved are in the WAL.
        checkpoint(inner, connection)?;
        is_vacuumed = true;
    }
    if is_vacuumed {
        tracing::debug!(database = inner.location, "gave free pages back to the file system");
    }
    let is_due = inner.wal_pages.load(Ordering::Relaxed) > MAX_WAL_PAGES
        || inner.needs_checkpoint.load(Ordering::Relaxed)
        || inner.is_full.load(Ordering::Relaxed);
    if is_due { checkpoint(inner, connection) } else { Ok(()) }
}

fn checkpoint(inner: &Arc<Inner>, connection: &mut Connection) -> rusqlite::Result<()> {
    // The most part, while others write.
    run(connection, "PASSIVE")?;
    let Some(_writer) = inner.try_lock_writer(PATIENCE) else { return Ok(()) };
    // The rest, while they wait. A long read of another process prevents it; the next checkpoint
    // tries again.
    restart(inner, connection, 0).map(drop)
}

/// Moves the whole WAL into the file, starts a new one, and reserves space in it for a write of
/// this many pages and for others. For a thread that has the writer's connection. Returns `false`
/// if a read or another checkpoint prevents it.
pub(super) fn restart(
    inner: &Inner,
    connection: &mut Connection,
    pages: u32,
) -> rusqlite::Result<bool> {
    let is_moved = run(connection, "RESTART")?;
    if is_moved {
        write_first_page(connection)?;
        inner.wal_pages.store(0, Ordering::Relaxed);
        // The WAL may have been truncated.
        inner.is_full.store(!inner.reserve_space(pages), Ordering::Relaxed);
    }
    Ok(is_moved)
}

/// Returns whether the whole WAL was moved.
fn run(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok(row.get::<_, i64>(0)? == 0)
    })
}

/// Writes the first page unchanged, which starts the new WAL.
fn write_first_page(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}
