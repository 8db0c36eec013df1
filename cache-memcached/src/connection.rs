//! One connection that all tasks share: whoever asks appends to what is sent next, and replies come in the same order.
//!
//! A request that nobody waits for any more keeps its place in the order, so its reply goes nowhere and not to somebody
//! else. What breaks the order (a reply that is none, or one of another number) ends the connection, and so does silence.
//! Time is counted in ticks, eight to a time limit, so that no request needs a timer of its own.

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
    batch::{Batch, Form},
    incoming::Incoming,
    stream::{Reader, Writer},
    wire::{Command, Garbage, Reply},
};

/// A time limit is up after so many ticks.
const TICKS: u32 = 8;
/// A buffer that was larger is not kept.
const KEPT: usize = 1 << 20;
/// When so much waits to be sent, nobody may add to it: those who gave up waiting may have left it there.
const MOST_UNSENT: usize = 64 << 20;
const MIXED_UP: &str = "a reply came to a request that is not the one to be answered";

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
    /// Those whose replies are to come. Only the driver looks at them; it is locked before the line.
    waiting: Mutex<VecDeque<Waiting>>,
    /// How many requests were sent and are not answered.
    under_way: AtomicUsize,
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
    /// Those who have asked since the driver took over the last ones.
    asked: VecDeque<Waiting>,
    /// How many numbers were sent: the opaque of the next.
    sent: u32,
    tick: u32,
}

/// A request that was sent.
#[derive(Debug)]
struct Waiting {
    since: u32,
    request: Request,
}

/// What is to come, and who is told of it: nobody, once the time is up.
#[derive(Debug)]
enum Request {
    One(u32, Option<oneshot::Sender<Result<Reply, Failure>>>),
    Many(Box<Batch>, Option<oneshot::Sender<Result<Option<Vec<Reply>>, Failure>>>),
}

impl Request {
    /// All has come. Whoever has gone away does not hear it.
    fn answer(self, one: Option<Reply>) {
        match self {
            Self::One(_, to) => drop(to.zip(one).map(|(to, reply)| to.send(Ok(reply)))),
            Self::Many(batch, to) => drop(to.map(|to| to.send(Ok(batch.answer())))),
        }
    }

    /// Whoever has gone away does not hear it.
    fn fail(&mut self, failure: Failure) {
        match self {
            Self::One(_, to) => drop(to.take().map(|to| to.send(Err(failure)))),
            Self::Many(_, to) => drop(to.take().map(|to| to.send(Err(failure)))),
        }
    }
}

impl cache_net::Connection for Connection {
    fn is_open(&self) -> bool {
        self.shared.line.lock().writer.is_some()
    }
}

impl Connection {
    /// Takes over a connection on which nothing is under way. The driver runs on the current runtime.
    pub(crate) fn new(reader: Reader, writer: Writer, limit: Duration) -> Self {
        let line = Line {
            writer: Some(Arc::new(writer)),
            out: Vec::new(),
            driver_writes: false,
            asked: VecDeque::new(),
            sent: 0,
            tick: 0,
        };
        let shared = Arc::new(Shared {
            line: Mutex::new(line),
            waiting: Mutex::default(),
            under_way: AtomicUsize::new(0),
            wake: Notify::new(),
        });
        let driver = tokio::spawn(Driver(Arc::clone(&shared)).run(reader, limit));
        Self { shared, driver: driver.abort_handle() }
    }

    pub(crate) async fn ask(&self, command: &Command<'_>) -> Result<Reply, Failure> {
        let (to, reply) = oneshot::channel();
        self.shared.send(|line| {
            let number = line.next_number(1);
            command.write(number, &mut line.out);
            Request::One(number, Some(to))
        })?;
        reply.await.unwrap_or_else(|_| Err(closed()))
    }

    /// The replies to all commands, in their order. There is at least one command.
    pub(crate) async fn ask_all(&self, commands: &[&Command<'_>]) -> Result<Vec<Reply>, Failure> {
        let form = Form::of(commands);
        if let Some(replies) = self.replies(commands, form).await? {
            return Ok(replies);
        }
        let replies = self.replies(commands, Form::Single).await?;
        replies.ok_or_else(closed)
    }

    async fn replies(
        &self,
        commands: &[&Command<'_>],
        form: Form,
    ) -> Result<Option<Vec<Reply>>, Failure> {
        let (to, replies) = oneshot::channel();
        let number = self.shared.line.lock().next_number(form.numbers(commands.len()));
        // Others need not wait for the line meanwhile.
        let mut bytes = Vec::with_capacity(commands.iter().map(|command| command.size()).sum());
        let batch = Box::new(Batch::write(form, commands, number, &mut bytes));
        self.shared.send(|line| {
            if line.out.is_empty() {
                line.out = bytes;
            } else {
                line.out.extend_from_slice(&bytes);
            }
            Request::Many(batch, Some(to))
        })?;
        replies.await.unwrap_or_else(|_| Err(closed()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Line {
    fn next_number(&mut self, count: u32) -> u32 {
        let number = self.sent;
        self.sent = number.wrapping_add(count);
        number
    }
}

impl Shared {
    /// Sends what is appended to the line.
    fn send(&self, write: impl FnOnce(&mut Line) -> Request) -> Result<(), Failure> {
        let mut line = self.line.lock();
        let line = &mut *line;
        if line.writer.is_none() {
            return Err(Failure::Unsent);
        }
        if line.out.len() > MOST_UNSENT {
            return Err(Failure::Full);
        }
        let request = write(line);
        line.asked.push_back(Waiting { since: line.tick, request });
        let idle = self.under_way.fetch_add(1, Ordering::Relaxed) == 0 && !line.driver_writes;
        if idle
            && let Some(writer) = &line.writer
            && let Ok(written) = writer.try_write(&line.out)
        {
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
    fn deliver(&self, incoming: &mut Incoming) -> Result<(), &'static str> {
        let waiting = &mut *self.waiting.lock();
        loop {
            if let Some(Waiting { request: Request::Many(batch, _), .. }) = waiting.front_mut() {
                batch.take_values(incoming);
            }
            let Some(head) = incoming.head().map_err(|_| "what came is no reply of memcached")?
            else {
                return Ok(());
            };
            if waiting.is_empty() {
                waiting.append(&mut self.line.lock().asked);
            }
            let first = waiting.front_mut().ok_or("a reply that nobody asked for came")?;
            let reply = match &mut first.request {
                Request::One(number, _) if head.answers(*number) => Some(incoming.take(head)),
                Request::Many(batch, _) => match batch.take(head, incoming) {
                    Ok(true) => None,
                    Ok(false) => continue,
                    Err(Garbage) => return Err(MIXED_UP),
                },
                Request::One(..) => return Err(MIXED_UP),
            };
            // Before they hear it: whoever is alone writes by himself.
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            if let Some(Waiting { request, .. }) = waiting.pop_front() {
                request.answer(reply);
            }
        }
    }

    /// A tick later: those whose time is up hear so, and keep their places. Answers whether anybody waits.
    fn tick(&self) -> bool {
        let waiting = &mut *self.waiting.lock();
        let now = {
            let mut line = self.line.lock();
            waiting.append(&mut line.asked);
            line.tick = line.tick.wrapping_add(1);
            line.tick
        };
        for late in waiting.iter_mut().take_while(|waiting| now.wrapping_sub(waiting.since) > TICKS)
        {
            late.request.fail(Failure::Late);
        }
        !waiting.is_empty()
    }

    /// Ends the connection: all who wait are told why.
    fn end(&self, why: &Arc<str>) {
        let waiting = &mut *self.waiting.lock();
        let now = {
            let mut line = self.line.lock();
            line.writer = None;
            line.out = Vec::new();
            waiting.append(&mut line.asked);
            line.tick
        };
        for mut waiting in waiting.drain(..) {
            let soon = now.wrapping_sub(waiting.since) <= TICKS / 4;
            waiting.request.fail(Failure::Lost { why: Arc::clone(why), soon });
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
        let parts: [Pin<&mut (dyn Future<Output = Arc<str>> + Send)>; 3] =
            [reading, writing, watching];
        let (why, ..) = select_all(parts).await;
        shared.end(&why);
    }
}

impl Shared {
    /// Reads until the connection ends, and says why it did.
    async fn read(&self, mut reader: Reader, silent: &AtomicU32) -> Arc<str> {
        let mut incoming = Incoming::default();
        loop {
            match reader.read_buf(incoming.room()).await {
                Ok(0) => return "the connection was closed by the server".into(),
                Ok(_) => silent.store(0, Ordering::Relaxed),
                Err(error) => return told(&error),
            }
            if let Err(why) = self.deliver(&mut incoming) {
                return why.into();
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
