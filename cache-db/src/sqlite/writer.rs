//! The connection that writes, and the writes that have to wait for it.
//!
//! A write runs on its caller's thread if no other thread and no other process is writing.
//! Otherwise it is copied into a queue. The thread that releases the connection serves the queue:
//! it runs what has come in meanwhile, in one transaction, which takes less than to wake a thread.
//! What can take long is left to a blocking thread: large writes, more than a few transactions, and
//! waiting for other processes. SQLite does not queue the writers of several processes: each one
//! polls for the lock, and an unlucky one times out. So only one thread of this process polls.
//!
//! The order of a caller's writes is that of its calls, even if it stops waiting for one of them:
//! while the queue holds any write, every write joins it.

use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering, fence},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::{
    Inner, are_short,
    blocking::timeout_at,
    checkpoint::{self, MAX_WAL_PAGES, PATIENCE},
    connection::Connection,
    failing, retry_until,
    space::{self, RESERVED_PAGES, WAL_PAGES_LIMIT},
};
use crate::{
    error::Failure,
    fault::Fault,
    statement::{Outcome, Scope, Statement},
};

/// The maximum number of writes in one transaction.
const MAX_GROUP: usize = 128;

/// The size of the writes in one transaction above which no other one is added. Space is needed for
/// all of them.
const MAX_GROUP_BYTES: usize = 1 << 20;

/// The maximum number of writes in one transaction on the thread of another write's caller.
const MAX_SHORT_GROUP: usize = 16;

/// The maximum number of such transactions, one after the other.
const MAX_SHORT_GROUPS: usize = 4;

/// How long writes wait for a checkpoint although the WAL can become longer.
const MAX_CHECKPOINT_WAIT: Duration = Duration::from_millis(50);

/// How long the thread that waits for a checkpoint pauses.
const PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Writer {
    connection: Mutex<Option<Connection>>,
    queue: Mutex<Queue>,
    /// The number of writes in the queue or being run from it.
    pending: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<Request>,
    /// Whether a thread runs the requests, or will.
    is_served: bool,
}

type Reply = Result<Vec<Outcome>, Failure>;

/// A write that waits.
#[derive(Debug)]
struct Request {
    statements: Vec<Statement<'static>>,
    /// Whether another caller's thread may run it.
    is_short: bool,
    deadline: Instant,
    /// Closed if the caller stopped waiting.
    reply: oneshot::Sender<Reply>,
}

/// Exclusive use of the connection. The thread that releases it serves the queue.
#[derive(Debug)]
pub(super) struct WriterGuard<'a> {
    inner: &'a Arc<Inner>,
    /// `None` once it is released.
    connection: Option<MutexGuard<'a, Option<Connection>>>,
}

impl Deref for WriterGuard<'_> {
    type Target = Option<Connection>;

    fn deref(&self) -> &Option<Connection> {
        self.connection.as_ref().expect("not released before it is dropped")
    }
}

impl DerefMut for WriterGuard<'_> {
    fn deref_mut(&mut self) -> &mut Option<Connection> {
        self.connection.as_mut().expect("not released before it is dropped")
    }
}

impl Drop for WriterGuard<'_> {
    fn drop(&mut self) {
        self.connection = None;
        // A thread that has added a request and then found the connection in use relies on this one
        // to see the request.
        fence(Ordering::SeqCst);
        if self.inner.writer.pending.load(Ordering::Relaxed) > 0
            && let Some(server) = QueueServer::start(self.inner)
        {
            server.run_short();
        }
    }
}

impl Inner {
    /// Waits for the connection. Blocks the thread.
    pub(super) fn lock_writer(self: &Arc<Self>) -> WriterGuard<'_> {
        WriterGuard { inner: self, connection: Some(self.writer.connection.lock()) }
    }

    /// Waits a limited time for the connection.
    pub(super) fn try_lock_writer(self: &Arc<Self>, wait: Duration) -> Option<WriterGuard<'_>> {
        let connection = self.writer.connection.try_lock_for(wait)?;
        Some(WriterGuard { inner: self, connection: Some(connection) })
    }

    /// Runs a write on this thread, or returns `None` if others are writing, or if the WAL must be
    /// moved into the file first.
    pub(super) fn write_now(self: &Arc<Self>, statements: &[Statement<'_>]) -> Option<Reply> {
        if self.writer.pending.load(Ordering::Acquire) > 0 {
            return None;
        }
        if self.needs_checkpoint.load(Ordering::Relaxed)
            && !statements.iter().all(Statement::removes)
        {
            return None;
        }
        // A write that waits for another one joins the queue, so that its thread can do other work.
        let connection = self.writer.connection.try_lock()?;
        let mut writer = WriterGuard { inner: self, connection: Some(connection) };
        let connection = writer.as_mut()?;
        let result =
            connection.wait_for_locks(Duration::ZERO).and_then(|()| connection.write(statements));
        let result = failing(result);
        self.after_write(&result);
        Some(result)
    }

    /// Starts a checkpoint if the last commit of this thread has filled the WAL, or if the disk is
    /// full. For a thread that has the connection.
    fn after_write<T>(self: &Arc<Self>, result: &Result<T, Failure>) {
        let pages = Connection::take_wal_pages();
        if pages > 0 {
            self.wal_pages.store(pages, Ordering::Relaxed);
            if !self.has_room_for(0) {
                self.needs_checkpoint.store(true, Ordering::Relaxed);
            }
        }
        if let Err(failure) = result {
            self.look_soon_after(failure);
        }
        let is_full = result.as_ref().is_err_and(|failure| failure.fault == Fault::Full);
        if is_full {
            self.is_full.store(true, Ordering::Relaxed);
        }
        let needs_checkpoint = pages > 0 && self.needs_checkpoint.load(Ordering::Relaxed);
        if is_full || needs_checkpoint || pages > MAX_WAL_PAGES {
            self.checkpointer.request(self);
        }
    }

    /// Whether the WAL has space for a write of this many pages, and for the removals that may
    /// follow. Writers are faster than a checkpoint on a busy machine: the WAL becomes longer
    /// meanwhile, up to a limit, if there is space.
    fn has_room_for(&self, pages: u32) -> bool {
        let used = self.wal_pages.load(Ordering::Relaxed);
        let needed = (used + RESERVED_PAGES).saturating_add(pages);
        needed <= self.allocated_pages.load(Ordering::Relaxed)
            || used <= WAL_PAGES_LIMIT && self.allocate_wal(pages.saturating_add(MAX_WAL_PAGES))
    }

    /// Moves the WAL into the file if it has no space for these writes, and finds out whether the
    /// disk is full. Blocks the thread.
    fn make_room_for(
        &self,
        group: &[Request],
        writer: &mut Option<Connection>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let connection = self.open_writer(writer)?;
        let pages = pages_of(group);
        if pages == 0 || self.has_room_for(pages) {
            return Ok(());
        }
        failing(connection.wait_for_locks(PATIENCE))?;
        let start = Instant::now();
        let deadline = deadline.min(start + self.limits.busy_timeout);
        loop {
            match failing(checkpoint::restart(self, &mut connection.raw, pages)) {
                Ok(true) => return Ok(()),
                Err(failure) if failure.fault == Fault::Full => {
                    self.is_full.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Err(failure) if failure.fault != Fault::Busy => return Err(failure),
                Ok(false) | Err(_) => {}
            }
            // The thread for checkpoints is at work, or a long read prevents the restart. The WAL
            // may then become longer if there is space.
            if start.elapsed() >= MAX_CHECKPOINT_WAIT {
                let is_reserved = self.reserve_space(pages);
                if is_reserved || Instant::now() >= deadline {
                    self.is_full.store(!is_reserved, Ordering::Relaxed);
                    return Ok(());
                }
            }
            thread::sleep(PAUSE);
        }
    }
}

/// The approximate number of pages that the values of the writes take: 0 if all of them are
/// removals.
fn pages_of(group: &[Request]) -> u32 {
    let statements = group.iter().flat_map(|request| &request.statements);
    let writes = statements.filter(|statement| !statement.removes());
    space::pages_of(writes.map(Statement::size).sum())
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
    let is_short = !inner.limits.blocking_threads && are_short(&statements);
    inner.writer.push(Request { statements, is_short, deadline, reply });
    // See the end of `WriterGuard`.
    fence(Ordering::SeqCst);
    if !inner.writer.connection.is_locked()
        && let Some(server) = QueueServer::start(&inner)
    {
        server.run_short();
    }
    // The thread that serves the queue keeps the deadline. The limit here is for a disk that does
    // not respond.
    let limit = deadline + inner.limits.busy_timeout;
    match timeout_at(limit, outcome).await {
        Some(outcome) => outcome.unwrap_or_else(|_| Err(Failure::no_thread())),
        None => Err(Failure::timed_out()),
    }
}

impl Writer {
    fn push(&self, request: Request) {
        let mut queue = self.queue.lock();
        self.pending.fetch_add(1, Ordering::AcqRel);
        queue.requests.push_back(request);
    }

    /// Returns whether the caller must serve the queue.
    fn start_to_serve(&self) -> bool {
        let mut queue = self.queue.lock();
        !queue.requests.is_empty() && !std::mem::replace(&mut queue.is_served, true)
    }

    /// Takes the requests of one transaction. If there are none, the queue is no longer served.
    fn next_group(&self) -> Vec<Request> {
        let mut queue = self.queue.lock();
        let mut bytes = 0;
        let group = queue.requests.iter().take(MAX_GROUP).take_while(|request| {
            let is_small = bytes < MAX_GROUP_BYTES;
            bytes += request.statements.iter().map(Statement::size).sum::<usize>();
            is_small
        });
        let count = group.count();
        queue.is_served = count > 0;
        queue.requests.drain(..count).collect()
    }

    /// Like [`next_group`](Self::next_group), but takes only requests that are short. Returns
    /// `None` if the first one is not.
    fn next_short_group(&self) -> Option<Vec<Request>> {
        let mut queue = self.queue.lock();
        let short = queue.requests.iter().take(MAX_SHORT_GROUP);
        let count = short.take_while(|request| request.is_short).count();
        if count == 0 && !queue.requests.is_empty() {
            return None;
        }
        queue.is_served = count > 0;
        Some(queue.requests.drain(..count).collect())
    }

    /// Puts requests back that were not run.
    fn put_back(&self, group: Vec<Request>) {
        let mut queue = self.queue.lock();
        for request in group.into_iter().rev() {
            queue.requests.push_front(request);
        }
    }

    /// Drops the requests at the front whose callers have stopped waiting. Returns whether others
    /// are left. Otherwise the queue is no longer served.
    fn has_more(&self) -> bool {
        let mut queue = self.queue.lock();
        while queue.requests.pop_front_if(|request| request.reply.is_closed()).is_some() {
            self.pending.fetch_sub(1, Ordering::AcqRel);
        }
        queue.is_served = !queue.requests.is_empty();
        queue.is_served
    }
}

/// Serves the queue until it is empty. At most one exists at a time.
#[derive(Debug)]
struct QueueServer {
    inner: Arc<Inner>,
    is_done: bool,
}

impl QueueServer {
    /// Returns a server if there are requests that no other server takes.
    fn start(inner: &Arc<Inner>) -> Option<Self> {
        let starts = inner.writer.start_to_serve();
        starts.then(|| Self { inner: Arc::clone(inner), is_done: false })
    }

    /// Runs what takes little time on this thread, and the rest on a thread of its own: one of a
    /// runtime would end with it, and the requests come from several runtimes.
    fn run_short(mut self) {
        let inner = Arc::clone(&self.inner);
        for _ in 0..MAX_SHORT_GROUPS {
            if inner.has_changed() {
                break;
            }
            let Some(mut writer) = inner.writer.connection.try_lock() else { break };
            if writer.is_none() {
                break;
            }
            let Some(group) = inner.writer.next_short_group() else { break };
            if group.is_empty() {
                drop(writer);
                if !self.continues() {
                    return;
                }
                continue;
            }
            let group = waiting(group, &inner.writer);
            let pages = pages_of(&group);
            if pages > 0 && !inner.has_room_for(pages) {
                inner.writer.put_back(group);
                break;
            }
            match inner.attempt_group(&mut writer, &group, Duration::ZERO) {
                Ok(replies) => inner.finish_group(writer, group, replies),
                Err(_) => {
                    inner.writer.put_back(group);
                    break;
                }
            }
        }
        if !inner.writer.has_more() {
            self.is_done = true;
            return;
        }
        let thread = thread::Builder::new().name("cachette-writer".into());
        if let Err(error) = thread.spawn(move || self.run()) {
            tracing::warn!(%error, "cannot start a thread for writes");
        }
    }

    /// Runs all requests on this thread, which may block.
    fn run(mut self) {
        let inner = Arc::clone(&self.inner);
        loop {
            let has_changed = inner.has_changed();
            if has_changed {
                inner.checkpointer.stop();
            }
            let mut writer = inner.writer.connection.lock();
            let group = inner.writer.next_group();
            if group.is_empty() {
                drop(writer);
                if !self.continues() {
                    return;
                }
                continue;
            }
            let group = waiting(group, &inner.writer);
            let deadline = group.iter().map(|request| request.deadline).max();
            let replies = deadline.map_or(Ok(Vec::new()), |deadline| {
                let busy_timeout = inner.limits.busy_timeout;
                retry_until(deadline, || {
                    if has_changed {
                        inner.replace_if_changed(&mut writer)?;
                    }
                    inner.make_room_for(&group, &mut writer, deadline)?;
                    inner.attempt_group(&mut writer, &group, busy_timeout)
                })
            });
            let replies = replies
                .unwrap_or_else(|failure| group.iter().map(|_| Err(failure.clone())).collect());
            inner.finish_group(writer, group, replies);
        }
    }

    /// Looks for requests that were added while this server had the connection. Returns `false` if
    /// there are none, or if another server takes them.
    fn continues(&mut self) -> bool {
        let continues = self.inner.writer.start_to_serve();
        self.is_done = !continues;
        continues
    }
}

impl Drop for QueueServer {
    /// Fails the requests that are left if no thread could be started, or if it panicked.
    fn drop(&mut self) {
        let writer = &self.inner.writer;
        while !self.is_done {
            let left = writer.next_group();
            self.is_done = left.is_empty();
            writer.pending.fetch_sub(left.len(), Ordering::AcqRel);
        }
    }
}

/// Drops the writes that have not begun and whose callers have stopped waiting.
fn waiting(group: Vec<Request>, writer: &Writer) -> Vec<Request> {
    let count = group.len();
    let waiting: Vec<_> = group.into_iter().filter(|request| !request.reply.is_closed()).collect();
    writer.pending.fetch_sub(count - waiting.len(), Ordering::AcqRel);
    waiting
}

impl Inner {
    /// Releases the connection and sends the replies.
    fn finish_group(
        self: &Arc<Self>,
        writer: MutexGuard<'_, Option<Connection>>,
        group: Vec<Request>,
        replies: Vec<Reply>,
    ) {
        replies.iter().for_each(|reply| self.after_write(reply));
        // Rows were removed, perhaps most of them.
        if group.iter().flat_map(|request| &request.statements).any(frees_pages) {
            self.checkpointer.request(self);
        }
        MutexGuard::unlock_fair(writer);
        // Before the callers continue, so that their next write can run on their thread.
        self.writer.pending.fetch_sub(group.len(), Ordering::AcqRel);
        for (request, reply) in group.into_iter().zip(replies) {
            // The caller may have stopped waiting.
            let _ = request.reply.send(reply);
        }
    }

    /// Runs the requests in one transaction, or each one in its own if that fails. Returns an error
    /// if nothing was changed because of a lock.
    fn attempt_group(
        self: &Arc<Self>,
        writer: &mut Option<Connection>,
        group: &[Request],
        busy_timeout: Duration,
    ) -> Result<Vec<Reply>, Failure> {
        let connection = self.open_writer(writer)?;
        failing(connection.wait_for_locks(busy_timeout))?;
        if group.len() > 1 {
            let grouped = connection.write_transaction(|connection| {
                let mut replies = Vec::with_capacity(group.len());
                for request in group {
                    if let Err(full) = self.check_space(&request.statements) {
                        replies.push(Err(full));
                        continue;
                    }
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
            let written = self.check_space(&request.statements);
            match written.and_then(|()| failing(connection.write(&request.statements))) {
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
