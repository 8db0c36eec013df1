//! One connection that all tasks share: whoever asks appends to what is sent next, and replies come in the same order.
//!
//! A request that nobody waits for any more keeps its place in the order, so its reply goes nowhere and not to somebody
//! else. What breaks the order (a reply that is none, or one of another number) ends the connection, and so does silence.
//! Time is counted in ticks, eight to a time limit, so that no request needs a timer of its own.

use std::{
    collections::VecDeque,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::{
    io::AsyncReadExt as _,
    sync::{Notify, oneshot},
    task::AbortHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    batch::{Expected, Form, Unsorted},
    join::first,
    stream::{Reader, Writer},
    wire::{Command, Reply, Status},
};

/// A time limit is up after so many ticks.
const TICKS: u32 = 8;
const READ_AHEAD: usize = 64 << 10;
/// A buffer that was larger is not kept.
const KEPT: usize = 1 << 20;
/// When so much waits to be sent, nobody may add to it: those who gave up waiting may have left it there.
const MOST_UNSENT: usize = 64 << 20;

/// Why there is no reply.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The connection was over before anything was sent.
    Unsent,
    /// Too much waits to be sent already.
    Full,
    /// It ended while the reply was awaited.
    Lost {
        why: Arc<str>,
        /// Whether that was soon: then there is time to try again.
        soon: bool,
    },
    /// The time limit was up.
    Late,
}

#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    driver: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    line: Mutex<Line>,
    /// Something is to be written.
    wake: Notify,
}

#[derive(Debug)]
struct Line {
    /// None when the connection is over.
    writer: Option<Arc<Writer>>,
    out: Vec<u8>,
    /// Whether the driver is about to write, or at it: then nobody else does.
    driver_writes: bool,
    waiting: VecDeque<Waiting>,
    /// How many numbers were sent: the opaque of the next.
    sent: u32,
    tick: u32,
}

/// A request that was sent.
#[derive(Debug)]
struct Waiting {
    since: u32,
    expected: Expected,
    to: To,
}

#[derive(Debug)]
enum To {
    One(oneshot::Sender<Result<Reply, Failure>>),
    Many(oneshot::Sender<Result<Vec<Reply>, Failure>>, Vec<Reply>),
    /// Its time is up.
    Nobody,
}

impl To {
    /// Keeps what is one reply of many; else it comes back.
    fn collect(&mut self, reply: Reply) -> Option<Reply> {
        match self {
            Self::Many(_, so_far) if reply.status != Status::End => so_far.push(reply),
            Self::One(_) => return Some(reply),
            _ => {}
        }
        None
    }

    /// All has come. Whoever has gone away does not hear it.
    fn answer(self, reply: Option<Reply>) {
        match self {
            Self::One(to) => drop(reply.map(|reply| to.send(Ok(reply)))),
            Self::Many(to, replies) => drop(to.send(Ok(replies))),
            Self::Nobody => {}
        }
    }

    /// Whoever has gone away does not hear it.
    fn fail(self, failure: Failure) {
        match self {
            Self::One(to) => drop(to.send(Err(failure))),
            Self::Many(to, _) => drop(to.send(Err(failure))),
            Self::Nobody => {}
        }
    }
}

impl Connection {
    /// Takes over a connection on which nothing is under way. The driver runs on the current runtime.
    pub(crate) fn new(reader: Reader, writer: Writer, limit: Duration) -> Self {
        let line = Line {
            writer: Some(Arc::new(writer)),
            out: Vec::new(),
            driver_writes: false,
            waiting: VecDeque::new(),
            sent: 0,
            tick: 0,
        };
        let shared = Arc::new(Shared { line: Mutex::new(line), wake: Notify::new() });
        let driver = tokio::spawn(Driver(Arc::clone(&shared)).run(reader, limit));
        Self { shared, driver: driver.abort_handle() }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.shared.line.lock().writer.is_none()
    }

    pub(crate) async fn ask(&self, command: &Command<'_>) -> Result<Reply, Failure> {
        let (to, reply) = oneshot::channel();
        self.shared.send(To::One(to), &[command], Form::Single)?;
        reply.await.unwrap_or_else(|_| Err(closed()))
    }

    /// The replies to all commands, in their order. There is at least one command.
    pub(crate) async fn ask_all(&self, commands: &[&Command<'_>]) -> Result<Vec<Reply>, Failure> {
        let form = Form::of(commands);
        match form.sort(commands, self.replies(commands, form).await?) {
            Ok(replies) => Ok(replies),
            Err(Unsorted::Unclear) => self.replies(commands, Form::Single).await,
            Err(Unsorted::Garbage) => {
                let why = "a value came that was not asked for".into();
                self.shared.end(&why);
                Err(Failure::Lost { why, soon: false })
            }
        }
    }

    async fn replies(&self, commands: &[&Command<'_>], form: Form) -> Result<Vec<Reply>, Failure> {
        let (to, replies) = oneshot::channel();
        self.shared.send(To::Many(to, Vec::with_capacity(commands.len())), commands, form)?;
        replies.await.unwrap_or_else(|_| Err(closed()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Shared {
    fn send(&self, to: To, commands: &[&Command<'_>], form: Form) -> Result<(), Failure> {
        let mut line = self.line.lock();
        let line = &mut *line;
        let Some(writer) = &line.writer else { return Err(Failure::Unsent) };
        if line.out.len() > MOST_UNSENT {
            return Err(Failure::Full);
        }
        let idle = line.waiting.is_empty() && !line.driver_writes;
        let expected = form.write(commands, line.sent, &mut line.out);
        line.sent = line.sent.wrapping_add(expected.numbers());
        line.waiting.push_back(Waiting { since: line.tick, expected, to });
        if idle && let Ok(written) = writer.try_write(&line.out) {
            // Alone: that spares waking the driver. It hears of errors when it reads.
            line.out.drain(..written);
        }
        if !line.out.is_empty() && !line.driver_writes {
            line.driver_writes = true;
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Hands out replies. An error is the end of the connection.
    fn deliver(&self, replies: &mut Vec<Reply>) -> Result<(), Arc<str>> {
        let mut line = self.line.lock();
        for reply in replies.drain(..) {
            let Some(first) = line.waiting.front_mut() else { return Err("a reply that nobody asked for came".into()) };
            let Ok(is_last) = first.expected.take(&reply) else {
                return Err("a reply came to a request that is not the one to be answered".into());
            };
            let reply = first.to.collect(reply);
            if is_last && let Some(Waiting { to, .. }) = line.waiting.pop_front() {
                to.answer(reply);
            }
        }
        Ok(())
    }

    /// A tick later: those whose time is up hear so, and keep their places. Answers whether anybody waits.
    fn tick(&self) -> bool {
        let mut line = self.line.lock();
        line.tick = line.tick.wrapping_add(1);
        let now = line.tick;
        for waiting in line.waiting.iter_mut().take_while(|waiting| now.wrapping_sub(waiting.since) > TICKS) {
            std::mem::replace(&mut waiting.to, To::Nobody).fail(Failure::Late);
        }
        !line.waiting.is_empty()
    }

    /// Ends the connection: all who wait are told why.
    fn end(&self, why: &Arc<str>) {
        let mut line = self.line.lock();
        line.writer = None;
        line.out = Vec::new();
        let now = line.tick;
        for waiting in line.waiting.drain(..) {
            let soon = now.wrapping_sub(waiting.since) <= TICKS / 4;
            waiting.to.fail(Failure::Lost { why: Arc::clone(why), soon });
        }
    }
}

/// What reads, writes and keeps the time; when it ends, for whatever reason, the connection does.
struct Driver(Arc<Shared>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.end(&"the connection was closed".into());
    }
}

impl Driver {
    async fn run(self, reader: Reader, limit: Duration) {
        let shared = &*self.0;
        let silent = AtomicU32::new(0);
        let reading = pin!(shared.read(reader, &silent));
        let writing = pin!(shared.write());
        let watching = pin!(shared.watch(limit, &silent));
        let why: Arc<str> = first([reading, writing, watching]).await;
        shared.end(&why);
    }
}

impl Shared {
    /// Reads until the connection ends, and says why it did.
    async fn read(&self, mut reader: Reader, silent: &AtomicU32) -> Arc<str> {
        let mut buffer = BytesMut::with_capacity(READ_AHEAD);
        let mut replies = Vec::new();
        loop {
            if buffer.is_empty() && buffer.capacity() > KEPT {
                buffer = BytesMut::new();
            }
            if buffer.capacity() - buffer.len() < READ_AHEAD / 4 {
                buffer.reserve(READ_AHEAD);
            }
            match reader.read_buf(&mut buffer).await {
                Ok(0) => return "the connection was closed by the server".into(),
                Ok(_) => silent.store(0, Ordering::Relaxed),
                Err(error) => return told(&error),
            }
            let garbage = loop {
                match Reply::take(&mut buffer) {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            if let Err(why) = self.deliver(&mut replies) {
                return why;
            }
            if garbage {
                return "what came is no reply of memcached".into();
            }
        }
    }

    /// Writes what is to be written, all that has come together at once.
    async fn write(&self) -> Arc<str> {
        let mut piece = Vec::new();
        loop {
            self.wake.notified().await;
            // Others may be about to ask: let them, and it is one piece.
            tokio::task::yield_now().await;
            loop {
                let writer = {
                    let mut line = self.line.lock();
                    std::mem::swap(&mut piece, &mut line.out);
                    if piece.is_empty() {
                        line.driver_writes = false;
                        break;
                    }
                    line.writer.clone()
                };
                let Some(writer) = writer else { return "the connection was closed".into() };
                if let Err(error) = writer.write_all(&piece).await {
                    return told(&error);
                }
                piece.clear();
                piece.shrink_to(KEPT);
            }
        }
    }

    /// Keeps the time, until nothing was heard for as long as the limit while somebody waited.
    async fn watch(&self, limit: Duration, silent: &AtomicU32) -> Arc<str> {
        let mut ticks = interval(limit / TICKS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.tick() {
                silent.store(0, Ordering::Relaxed);
            } else if silent.fetch_add(1, Ordering::Relaxed) >= TICKS {
                return format!("nothing was heard for {limit:?}").into();
            }
        }
    }
}

/// It is not known what became of the request.
fn closed() -> Failure {
    Failure::Lost { why: "the connection was closed".into(), soon: false }
}

fn told(error: &io::Error) -> Arc<str> {
    format!("the connection broke: {error}").into()
}
