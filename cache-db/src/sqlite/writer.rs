//! The connection that writes, and the writes that have to wait for it.
//!
//! A write runs on its caller's thread if no other thread and no other process is writing.
//! Otherwise it is copied into a queue, and one blocking thread at a time runs what is in the queue,
//! all in one transaction. SQLite does not queue writers of several processes: each one polls for
//! the lock, and an unlucky one times out. So only one thread of this process polls.
//!
//! The order of a caller's writes is that of its calls, even if it stops waiting for one of them:
//! while the queue holds any write, every write joins it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{runtime::Handle, sync::oneshot, time::timeout_at};

use super::{
    Inner, MAX_WAIT, checkpoint::MAX_WAL_PAGES, connection::Connection, failing, retry_until,
    space::RESERVED_PAGES,
};
use crate::{
    error::Failure,
    fault::Fault,
    statement::{Outcome, Scope, Statement},
};

/// The maximum number of writes in one transaction.
const MAX_GROUP: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) connection: Mutex<Option<Connection>>,
    queue: Mutex<Queue>,
    /// The number of writes in the queue or being run from it.
    pending: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<Request>,
    /// Whether a blocking thread runs the requests, or will.
    is_served: bool,
}

type Reply = Result<Vec<Outcome>, Failure>;

/// A write that waits.
#[derive(Debug)]
struct Request {
    statements: Vec<Statement<'static>>,
    deadline: Instant,
    /// Closed if the caller stopped waiting.
    reply: oneshot::Sender<Reply>,
}

impl Inner {
    /// Runs a write on this thread, or returns `None` if others are writing.
    pub(super) fn write_now(self: &Arc<Self>, statements: &[Statement<'_>]) -> Option<Reply> {
        if self.writer.pending.load(Ordering::Acquire) > 0 {
            return None;
        }
        let mut writer = self.writer.connection.try_lock_for(MAX_WAIT)?;
        let connection = writer.as_mut()?;
        let result =
            connection.wait_for_locks(Duration::ZERO).and_then(|()| connection.write(statements));
        drop(writer);
        let result = failing(result);
        self.after_write(&result);
        Some(result)
    }

    /// Starts a checkpoint if the last commit of this thread has filled the WAL, or if the disk is
    /// full.
    fn after_write<T>(self: &Arc<Self>, result: &Result<T, Failure>) {
        let pages = Connection::take_wal_pages();
        if pages > 0 {
            self.wal_pages.store(pages, Ordering::Relaxed);
            if pages + RESERVED_PAGES > self.allocated_pages.load(Ordering::Relaxed) {
                self.reserve_space();
            }
        }
        let is_full = result.as_ref().is_err_and(|failure| failure.fault == Fault::Full);
        if is_full {
            self.is_full.store(true, Ordering::Relaxed);
        }
        if is_full || pages > MAX_WAL_PAGES {
            self.checkpointer.request(self);
        }
    }
}

fn frees_pages(statement: &Statement<'_>) -> bool {
    statement.scope == Scope::Table && statement.removes()
}

/// Puts a write into the queue and waits for its outcome.
///
/// If the future is dropped, the write is run unless it has not begun. Later writes follow it.
pub(super) async fn enqueue(
    inner: Arc<Inner>,
    statements: Vec<Statement<'static>>,
    deadline: Instant,
) -> Reply {
    let (reply, outcome) = oneshot::channel();
    let request = Request { statements, deadline, reply };
    let runtime = Handle::try_current();
    if inner.writer.push(request) {
        let server = QueueServer { inner: Arc::clone(&inner), is_done: false };
        match &runtime {
            Ok(runtime) => drop(runtime.spawn_blocking(move || server.run())),
            Err(_) => server.run(),
        }
    }
    // The thread that serves the queue keeps the deadline. The limit here is for a disk that does
    // not respond.
    let outcome = match runtime {
        Ok(_) => {
            let limit = deadline + inner.limits.busy_timeout;
            timeout_at(limit.into(), outcome).await.map_err(|_| Failure::timed_out())?
        }
        Err(_) => outcome.await,
    };
    outcome.unwrap_or_else(|_| Err(Failure::runtime_ended()))
}

impl Writer {
    /// Adds a request. Returns whether the caller must start to serve the queue.
    fn push(&self, request: Request) -> bool {
        let mut queue = self.queue.lock();
        self.pending.fetch_add(1, Ordering::AcqRel);
        queue.requests.push_back(request);
        !std::mem::replace(&mut queue.is_served, true)
    }

    /// Takes the requests of one transaction. If there are none, the queue is no longer served.
    fn next_group(&self) -> Vec<Request> {
        let mut queue = self.queue.lock();
        let count = queue.requests.len().min(MAX_GROUP);
        queue.is_served = count > 0;
        queue.requests.drain(..count).collect()
    }
}

/// Serves the queue until it is empty.
#[derive(Debug)]
struct QueueServer {
    inner: Arc<Inner>,
    is_done: bool,
}

impl QueueServer {
    fn run(mut self) {
        loop {
            let writer = self.inner.writer.connection.lock();
            let group = self.inner.writer.next_group();
            if group.is_empty() {
                self.is_done = true;
                return;
            }
            self.inner.write_group(writer, group);
        }
    }
}

impl Drop for QueueServer {
    /// Fails the requests that are left if the runtime has ended before it ran, or if it panicked.
    fn drop(&mut self) {
        let writer = &self.inner.writer;
        while !self.is_done {
            let left = writer.next_group();
            self.is_done = left.is_empty();
            writer.pending.fetch_sub(left.len(), Ordering::AcqRel);
        }
    }
}

impl Inner {
    fn write_group(
        self: &Arc<Self>,
        mut writer: MutexGuard<'_, Option<Connection>>,
        group: Vec<Request>,
    ) {
        let count = group.len();
        // A write whose caller has stopped waiting has not begun.
        let mut waiting: Vec<Request> =
            group.into_iter().filter(|request| !request.reply.is_closed()).collect();
        let mut replies: Vec<Reply> = Vec::new();
        if let Some(deadline) = waiting.iter().map(|request| request.deadline).max() {
            let result = retry_until(deadline, || self.attempt_group(&mut writer, &waiting));
            replies = result
                .unwrap_or_else(|failure| waiting.iter().map(|_| Err(failure.clone())).collect());
            replies.iter().for_each(|reply| self.after_write(reply));
            // Rows were removed, perhaps most of them.
            if waiting.iter().flat_map(|request| &request.statements).any(frees_pages) {
                self.checkpointer.request(self);
            }
        }
        MutexGuard::unlock_fair(writer);
        // Before the callers continue, so that their next write can run on their thread.
        self.writer.pending.fetch_sub(count, Ordering::AcqRel);
        for (request, reply) in waiting.drain(..).zip(replies) {
            // The caller may have stopped waiting.
            let _ = request.reply.send(reply);
        }
    }

    /// Runs the requests in one transaction, or each one in its own if that fails. Returns an error
    /// if nothing was changed because of a lock.
    fn attempt_group(
        &self,
        writer: &mut Option<Connection>,
        group: &[Request],
    ) -> Result<Vec<Reply>, Failure> {
        let connection = self.open_writer(writer)?;
        failing(connection.wait_for_locks(self.limits.busy_timeout))?;
        if group.len() > 1 {
            let grouped = connection.write_transaction(|connection| {
                let mut replies = Vec::with_capacity(group.len());
                for request in group {
                    let result = connection.run_nested(&request.statements);
                    // A full disk, for example, ends the transaction.
                    if connection.raw.is_autocommit() {
                        return result.map(|_| Vec::new());
                    }
                    replies.push(failing(result));
                }
                Ok(replies)
            });
            match failing(grouped) {
                Ok(replies) => return Ok(replies),
                Err(failure) if failure.fault == Fault::Busy => return Err(failure),
                Err(_) => {}
            }
        }
        let mut replies = Vec::with_capacity(group.len());
        for request in group {
            match failing(connection.write(&request.statements)) {
                // The first one has changed nothing, so that the group can be repeated.
                Err(failure) if failure.fault == Fault::Busy && replies.is_empty() => {
                    return Err(failure);
                }
                reply => replies.push(reply),
            }
        }
        Ok(replies)
    }
}
