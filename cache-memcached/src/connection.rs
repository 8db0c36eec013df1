//! One connection to a server, shared by all tasks.
//!
//! Callers append their requests to a buffer, and replies come in the same order. A request whose
//! caller was dropped keeps its place in the order, so its reply is discarded and never delivered
//! to another caller. The connection is closed if the order is broken (the received bytes are not a
//! reply, or have another opaque) or if the server is silent for the whole timeout.
//!
//! Callers end their calls with timers of their own, because the runtime that carries the driver
//! may stall. The ticks of the connection, eight per timeout, detect a silent server, and show
//! whether the driver runs.
//!
//! If the connection is idle, the caller writes its request itself, which saves a lone task a
//! switch to another task. Otherwise the driver task writes, and yields once before it does: tasks
//! that were woken by the last replies then add their requests, and all of them are one write. With
//! 64 tasks this divides the processor time per operation by three (`benches/memcached`). For that
//! reason, several connections per server were not tried.

use std::{
    collections::VecDeque,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::select_all;
use parking_lot::Mutex;
use tokio::{
    io::AsyncReadExt as _,
    sync::{Notify, oneshot},
    task::AbortHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    batch::{Batch, Mode},
    incoming::{Incoming, MAX_IDLE_CAPACITY},
    stream::{Reader, Writer},
    wire::{Command, ProtocolError, Reply},
};

const TICKS_PER_TIMEOUT: u32 = 8;
/// No request is accepted while more bytes than this wait to be sent. Callers that timed out may
/// have left them there.
const MAX_UNSENT: usize = 64 << 20;
const OUT_OF_ORDER: &str = "received a reply that does not match its request";

/// The reason why a request has no reply.
#[derive(Clone, Debug)]
pub(crate) enum RequestError {
    /// The connection was closed before the request was sent.
    NotSent,
    /// More than [`MAX_UNSENT`] bytes wait to be sent.
    BufferFull,
    /// The connection was closed before the reply arrived.
    ConnectionLost {
        reason: Arc<str>,
        /// Whether that was soon after the request was sent, which leaves time for a retry.
        early: bool,
    },
    /// The caller waited for the whole timeout.
    TimedOut,
}

#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    driver: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    outbox: Mutex<Outbox>,
    /// Requests whose replies are expected, in order. If both locks are taken, this one is first.
    ///
    /// Only the driver uses it. It moves requests here from the outbox when it has no others left,
    /// so that reading replies and waking callers does not block callers that send.
    in_flight: Mutex<VecDeque<InFlight>>,
    /// The number of requests that were sent and have no reply yet.
    in_flight_count: AtomicUsize,
    /// Wakes the driver when there is something to write.
    wake: Notify,
}

#[derive(Debug)]
struct Outbox {
    /// `None` if the connection is closed.
    writer: Option<Arc<Writer>>,
    buffer: Vec<u8>,
    /// Whether the driver is writing or is about to. No caller writes then.
    driver_writes: bool,
    /// Requests that were added since the driver last took them.
    requests: VecDeque<InFlight>,
    next_opaque: u32,
    tick: u32,
}

/// A request that was sent.
#[derive(Debug)]
struct InFlight {
    sent_at: u32,
    request: Request,
}

/// The expected replies and the caller that waits for them, if it still does.
#[derive(Debug)]
enum Request {
    Single(u32, Option<oneshot::Sender<Result<Reply, RequestError>>>),
    Batch(Box<Batch>, Option<oneshot::Sender<Result<Option<Vec<Reply>>, RequestError>>>),
}

impl Request {
    /// Sends the reply to the caller, unless it was dropped.
    fn complete(self, single: Option<Reply>) {
        match self {
            Self::Single(_, sender) => {
                drop(sender.zip(single).map(|(sender, reply)| sender.send(Ok(reply))));
            }
            Self::Batch(batch, sender) => {
                drop(sender.map(|sender| sender.send(Ok(batch.into_replies()))));
            }
        }
    }

    /// Sends the error to the caller, unless it was dropped.
    fn fail(&mut self, error: RequestError) {
        match self {
            Self::Single(_, sender) => drop(sender.take().map(|sender| sender.send(Err(error)))),
            Self::Batch(_, sender) => drop(sender.take().map(|sender| sender.send(Err(error)))),
        }
    }
}

impl cache_net::Connection for Connection {
    fn is_open(&self) -> bool {
        self.shared.outbox.lock().writer.is_some()
    }

    async fn settle(&self) {
        // Its reply follows those to all requests before it.
        let _ = self.call(&Command::GetFlags("settle")).await;
    }
}

impl Connection {
    /// Takes over a connection without requests in flight, and spawns its driver on the current
    /// runtime. A value of more than `max_value_len` bytes breaks the connection.
    pub(crate) fn new(
        reader: Reader,
        writer: Writer,
        timeout: Duration,
        max_value_len: usize,
    ) -> Self {
        let outbox = Outbox {
            writer: Some(Arc::new(writer)),
            buffer: Vec::new(),
            driver_writes: false,
            requests: VecDeque::new(),
            next_opaque: 0,
            tick: 0,
        };
        let shared = Arc::new(Shared {
            outbox: Mutex::new(outbox),
            in_flight: Mutex::default(),
            in_flight_count: AtomicUsize::new(0),
            wake: Notify::new(),
        });
        let driver = tokio::spawn(Driver(Arc::clone(&shared)).run(reader, timeout, max_value_len));
        Self { shared, driver: driver.abort_handle() }
    }

    /// The number of ticks so far.
    pub(crate) fn ticks(&self) -> u32 {
        self.shared.outbox.lock().tick
    }

    /// Returns whether the driver does not run, judged by its ticks in the last timeout.
    pub(crate) fn is_stalled_since(&self, start: u32) -> bool {
        self.ticks().wrapping_sub(start) < TICKS_PER_TIMEOUT / 2
    }

    /// Sends a command and returns its reply.
    pub(crate) async fn call(&self, command: &Command<'_>) -> Result<Reply, RequestError> {
        let (sender, reply) = oneshot::channel();
        self.shared.send(|outbox| {
            let opaque = outbox.reserve_opaques(1);
            command.write(opaque, &mut outbox.buffer);
            Request::Single(opaque, Some(sender))
        })?;
        reply.await.unwrap_or_else(|_| Err(connection_closed()))
    }

    /// Sends at least one command. The replies are in the order of the commands.
    pub(crate) async fn call_all(
        &self,
        commands: &[&Command<'_>],
    ) -> Result<Vec<Reply>, RequestError> {
        let mode = Mode::for_commands(commands);
        if let Some(replies) = self.call_batch(commands, mode).await? {
            return Ok(replies);
        }
        let replies = self.call_batch(commands, Mode::Individual).await?;
        replies.ok_or_else(connection_closed)
    }

    async fn call_batch(
        &self,
        commands: &[&Command<'_>],
        mode: Mode,
    ) -> Result<Option<Vec<Reply>>, RequestError> {
        let (sender, replies) = oneshot::channel();
        let opaque = self.shared.outbox.lock().reserve_opaques(mode.opaque_count(commands.len()));
        // Encode the batch before locking the outbox again, so that other callers need not wait.
        let mut bytes =
            Vec::with_capacity(commands.iter().map(|command| command.size_hint()).sum());
        let batch = Box::new(Batch::write(mode, commands, opaque, &mut bytes));
        self.shared.send(|outbox| {
            if outbox.buffer.is_empty() {
                outbox.buffer = bytes;
            } else {
                outbox.buffer.extend_from_slice(&bytes);
            }
            Request::Batch(batch, Some(sender))
        })?;
        replies.await.unwrap_or_else(|_| Err(connection_closed()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Outbox {
    fn reserve_opaques(&mut self, count: u32) -> u32 {
        let first = self.next_opaque;
        self.next_opaque = first.wrapping_add(count);
        first
    }
}

impl Shared {
    /// Sends what `write` appends to the buffer.
    fn send(&self, write: impl FnOnce(&mut Outbox) -> Request) -> Result<(), RequestError> {
        let mut outbox = self.outbox.lock();
        let outbox = &mut *outbox;
        if outbox.writer.is_none() {
            return Err(RequestError::NotSent);
        }
        if outbox.buffer.len() > MAX_UNSENT {
            return Err(RequestError::BufferFull);
        }
        let request = write(outbox);
        outbox.requests.push_back(InFlight { sent_at: outbox.tick, request });
        let is_idle =
            self.in_flight_count.fetch_add(1, Ordering::Relaxed) == 0 && !outbox.driver_writes;
        if is_idle
            && let Some(writer) = &outbox.writer
            && let Ok(written) = writer.try_write(&outbox.buffer)
        {
            // The driver need not wake up. If this failed, it sees the error when it reads.
            outbox.buffer.drain(..written);
        }
        if !outbox.buffer.is_empty() && !outbox.driver_writes {
            outbox.driver_writes = true;
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Delivers the complete replies to their callers. The connection must be closed after an
    /// error.
    fn deliver(&self, incoming: &mut Incoming) -> Result<(), &'static str> {
        let in_flight = &mut *self.in_flight.lock();
        loop {
            if let Some(InFlight { request: Request::Batch(batch, _), .. }) = in_flight.front_mut()
            {
                batch.take_values(incoming);
            }
            let header =
                incoming.header().map_err(|_| "received bytes that are not a memcached reply")?;
            let Some(header) = header else { return Ok(()) };
            if in_flight.is_empty() {
                in_flight.append(&mut self.outbox.lock().requests);
            }
            let first = in_flight.front_mut().ok_or("received a reply without a request")?;
            let reply = match &mut first.request {
                Request::Single(opaque, _) if header.matches(*opaque) => {
                    Some(incoming.take(header))
                }
                Request::Batch(batch, _) => match batch.take(header, incoming) {
                    Ok(true) => None,
                    Ok(false) => continue,
                    Err(ProtocolError) => return Err(OUT_OF_ORDER),
                },
                Request::Single(..) => return Err(OUT_OF_ORDER),
            };
            // Before the caller is woken, so that a lone caller finds the connection idle.
            self.in_flight_count.fetch_sub(1, Ordering::Relaxed);
            if let Some(InFlight { request, .. }) = in_flight.pop_front() {
                request.complete(reply);
            }
        }
    }

    /// Advances the tick. Returns whether any request is in flight.
    fn tick(&self) -> bool {
        let in_flight = &mut *self.in_flight.lock();
        let mut outbox = self.outbox.lock();
        in_flight.append(&mut outbox.requests);
        outbox.tick = outbox.tick.wrapping_add(1);
        !in_flight.is_empty()
    }

    /// Closes the connection and fails all requests with the reason.
    fn close(&self, reason: &Arc<str>) {
        let in_flight = &mut *self.in_flight.lock();
        let now = {
            let mut outbox = self.outbox.lock();
            outbox.writer = None;
            outbox.buffer = Vec::new();
            in_flight.append(&mut outbox.requests);
            outbox.tick
        };
        for mut lost in in_flight.drain(..) {
            let early = now.wrapping_sub(lost.sent_at) <= TICKS_PER_TIMEOUT / 4;
            lost.request.fail(RequestError::ConnectionLost { reason: Arc::clone(reason), early });
        }
    }
}

/// The task that reads, writes and counts ticks. When it ends, the connection is closed.
struct Driver(Arc<Shared>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.close(&"connection closed".into());
    }
}

impl Driver {
    async fn run(self, reader: Reader, timeout: Duration, max_value_len: usize) {
        let shared = &*self.0;
        let silent_ticks = AtomicU32::new(0);
        let read = pin!(shared.read(reader, max_value_len, &silent_ticks));
        let write = pin!(shared.write());
        let watch = pin!(shared.watch(timeout, &silent_ticks));
        let parts: [Pin<&mut (dyn Future<Output = Arc<str>> + Send)>; 3] = [read, write, watch];
        let (reason, ..) = select_all(parts).await;
        shared.close(&reason);
    }
}

impl Shared {
    /// Reads until the connection is closed, which happens for the returned reason.
    async fn read(
        &self,
        mut reader: Reader,
        max_value_len: usize,
        silent_ticks: &AtomicU32,
    ) -> Arc<str> {
        let mut incoming = Incoming::new(max_value_len);
        loop {
            match reader.read_buf(incoming.read_buffer()).await {
                Ok(0) => return "connection closed by the server".into(),
                Ok(_) => silent_ticks.store(0, Ordering::Relaxed),
                Err(error) => return connection_lost(&error),
            }
            if let Err(reason) = self.deliver(&mut incoming) {
                return reason.into();
            }
        }
    }

    /// Writes the buffered requests until the connection is closed.
    async fn write(&self) -> Arc<str> {
        let mut bytes = Vec::new();
        loop {
            self.wake.notified().await;
            // Let other tasks add their requests, so that all of them are one write.
            tokio::task::yield_now().await;
            loop {
                let writer = {
                    let mut outbox = self.outbox.lock();
                    std::mem::swap(&mut bytes, &mut outbox.buffer);
                    if bytes.is_empty() {
                        outbox.driver_writes = false;
                        break;
                    }
                    outbox.writer.clone()
                };
                let Some(writer) = writer else { return "connection closed".into() };
                if let Err(error) = writer.write_all(&bytes).await {
                    return connection_lost(&error);
                }
                bytes.clear();
                bytes.shrink_to(MAX_IDLE_CAPACITY);
            }
        }
    }

    /// Ticks until nothing was received for the whole timeout while requests were in flight.
    async fn watch(&self, timeout: Duration, silent_ticks: &AtomicU32) -> Arc<str> {
        let mut ticks = interval(timeout / TICKS_PER_TIMEOUT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.tick() {
                silent_ticks.store(0, Ordering::Relaxed);
            } else if silent_ticks.fetch_add(1, Ordering::Relaxed) >= TICKS_PER_TIMEOUT {
                return format!("no data received for {timeout:?}").into();
            }
        }
    }
}

/// The error of a request that may or may not have been executed.
fn connection_closed() -> RequestError {
    RequestError::ConnectionLost { reason: "connection closed".into(), early: false }
}

fn connection_lost(error: &io::Error) -> Arc<str> {
    format!("connection lost: {error}").into()
}
