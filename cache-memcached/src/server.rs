//! One server: its connection, and what happens while there is none.
//!
//! Whoever finds no connection makes one, and those who come meanwhile wait for it. When that fails the server is set
//! aside: for a while that doubles each time, every call fails at once. Then the next call tries again.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cache_core::{Error, ErrorKind};
use cache_net::SharedConnection;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::{
    connection::{Connection, Failure},
    dial::{Dialer, Refusal, ends_stats, is_error},
    wire::{Command, Reply, Status},
};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// What is sent at once, before the replies are read.
const CHUNK: usize = 256;
const CHUNK_BYTES: usize = 1 << 20;

/// How long a server may take for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) request: Duration,
    /// The longest time that a dead server is left alone.
    pub(crate) dead: Duration,
}

#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    dialer: Dialer,
    limits: Limits,
    connection: SharedConnection<Connection, Refusal>,
    state: Mutex<State>,
    /// The largest item that it keeps, in bytes; 0 where that is not known yet.
    largest: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    aside: Option<Aside>,
}

#[derive(Clone, Debug)]
struct Aside {
    until: Instant,
    why: Refusal,
}

/// A request that was not answered.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) error: Error,
    /// Whether it may have been carried out all the same.
    pub(crate) perhaps_done: bool,
}

impl Server {
    pub(crate) fn new(dialer: Dialer, limits: Limits) -> Self {
        let name = dialer.address.to_string();
        Self {
            name,
            dialer,
            limits,
            connection: SharedConnection::default(),
            state: Mutex::default(),
            largest: AtomicUsize::new(0),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The largest item that it keeps, in bytes, where that is known yet.
    pub(crate) fn largest(&self) -> Option<usize> {
        Some(self.largest.load(Ordering::Relaxed)).filter(|largest| *largest > 0)
    }

    pub(crate) async fn ask(self: &Arc<Self>, command: &Command<'_>) -> Result<Reply, Unanswered> {
        let mut first = true;
        loop {
            let connection = self.connection().await?;
            match connection.ask(command).await {
                Ok(mut reply) => {
                    self.sign(&mut reply);
                    return Ok(reply);
                }
                Err(failure)
                    if first && is_worth_repeating(&failure, command.may_be_repeated()) =>
                {
                    first = false
                }
                Err(failure) => return Err(self.unanswered(&failure)),
            }
        }
    }

    /// The replies to all commands, in their order; where it fails midway, those up to there and why.
    pub(crate) async fn ask_all(
        self: &Arc<Self>,
        commands: &[&Command<'_>],
    ) -> (Vec<Reply>, Option<Unanswered>) {
        let mut replies = Vec::new();
        while replies.len() < commands.len() {
            match self.ask_chunk(chunk(&commands[replies.len()..])).await {
                Ok(all) if replies.is_empty() => replies = all,
                Ok(more) => replies.extend(more),
                Err(unanswered) => return (replies, Some(unanswered)),
            }
        }
        (replies, None)
    }

    async fn ask_chunk(
        self: &Arc<Self>,
        commands: &[&Command<'_>],
    ) -> Result<Vec<Reply>, Unanswered> {
        let repeatable = commands.iter().all(|command| command.may_be_repeated());
        let mut first = true;
        loop {
            let connection = self.connection().await?;
            match connection.ask_all(commands).await {
                Ok(mut replies) => {
                    replies.iter_mut().for_each(|reply| self.sign(reply));
                    return Ok(replies);
                }
                Err(failure) if first && is_worth_repeating(&failure, repeatable) => first = false,
                Err(failure) => return Err(self.unanswered(&failure)),
            }
        }
    }

    /// Connects, so that the [largest](Self::largest) item is known. Whoever asks next is told why, should that fail.
    pub(crate) async fn get_ready(self: &Arc<Self>) {
        let _ = self.connection().await;
    }

    async fn connection(self: &Arc<Self>) -> Result<Arc<Connection>, Unanswered> {
        if let Some(connection) = self.connection.current() {
            return Ok(connection);
        }
        if let Some(refusal) = self.aside() {
            return Err(self.away(&refusal));
        }
        let server = Arc::clone(self);
        match self.connection.get_or_connect(async move { server.dial().await }).await {
            Some(outcome) => outcome.map_err(|refusal| self.away(&refusal)),
            None => Err(self.unanswered(&Failure::Unsent)),
        }
    }

    /// Why no connection is to be made for now.
    fn aside(&self) -> Option<Refusal> {
        let aside = self.state.lock().aside.clone()?;
        (Instant::now() < aside.until).then_some(aside.why)
    }

    async fn dial(&self) -> Result<Connection, Refusal> {
        // The previous attempt may have failed since the caller asked.
        if let Some(refusal) = self.aside() {
            return Err(refusal);
        }
        let limit = self.limits.connect;
        match timeout(limit, self.dialer.dial()).await.unwrap_or(Err(Refusal::too_late(limit))) {
            Ok(dialled) => {
                let (reader, writer) = dialled.stream.into_halves();
                self.note_life(dialled.largest);
                Ok(Connection::new(reader, writer, self.limits.request))
            }
            Err(refusal) => {
                self.set_aside(&refusal);
                Err(refusal)
            }
        }
    }

    fn note_life(&self, largest: Option<usize>) {
        let mut state = self.state.lock();
        if state.failures > 0 {
            tracing::info!(server = self.name, "memcached is back");
        }
        self.largest.store(largest.unwrap_or(0), Ordering::Relaxed);
        *state = State::default();
    }

    fn set_aside(&self, refusal: &Refusal) {
        let mut state = self.state.lock();
        if state.failures == 0 {
            tracing::warn!(
                server = self.name,
                why = refusal.why,
                "memcached is set aside until it can be reached"
            );
        }
        metrics::counter!("cachette_memcached_set_aside_total", "server" => self.name.clone())
            .increment(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << state.failures.min(16)).min(self.limits.dead);
        state.failures = state.failures.saturating_add(1);
        state.aside = Some(Aside {
            until: Instant::now() + pause.mul_f64(0.5 + 0.5 * chance()),
            why: refusal.clone(),
        });
    }

    fn away(&self, refusal: &Refusal) -> Unanswered {
        let error = Error::new(ErrorKind::Unavailable, format!("{}: {refusal}", self.name));
        Unanswered { error: error.temporary(refusal.temporary), perhaps_done: false }
    }

    fn unanswered(&self, failure: &Failure) -> Unanswered {
        let (why, perhaps_done) = match failure {
            Failure::Unsent => ("the connection was closed".into(), false),
            Failure::Full => ("too much waits to be sent already".into(), false),
            Failure::Lost { why, .. } => (why.to_string(), true),
            Failure::Late => (format!("no answer within {:?}", self.limits.request), true),
        };
        Unanswered {
            error: Error::new(ErrorKind::Unavailable, format!("{}: {why}", self.name)),
            perhaps_done,
        }
    }

    /// Puts the server's name into what it refuses with.
    fn sign(&self, reply: &mut Reply) {
        if let Status::Refused(words) = &mut reply.status {
            *words = format!("{} answers {words:?}", self.name).into();
        }
    }

    /// Empties the server.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let is_last = |_: &str| true;
        match &*self.converse("flush_all", is_last).await? {
            [answer] if answer == "OK" => Ok(()),
            answer => Err(Error::new(
                ErrorKind::Backend,
                format!("{} answers {answer:?} to flush_all", self.name),
            )),
        }
    }

    /// What it tells about itself, by its own names.
    pub(crate) async fn stats(&self) -> Result<Vec<(String, String)>, Error> {
        let lines = self.converse("stats", ends_stats).await?;
        if let Some(error) = lines.iter().find(|line| is_error(line)) {
            return Err(Error::new(
                ErrorKind::Backend,
                format!("{} answers {error:?} to stats", self.name),
            ));
        }
        let pair = |line: &String| {
            let (name, value) = line.strip_prefix("STAT ")?.split_once(' ')?;
            Some((name.to_owned(), value.to_owned()))
        };
        Ok(lines.iter().filter_map(pair).collect())
    }

    async fn converse(&self, line: &str, is_last: fn(&str) -> bool) -> Result<Vec<String>, Error> {
        let limit = self.limits.connect + self.limits.request;
        let answer = timeout(limit, self.dialer.converse(line, is_last)).await;
        answer.unwrap_or(Err(Refusal::too_late(limit))).map_err(|refusal| self.away(&refusal).error)
    }

    /// Lets go of the connection. Those who wait for a reply still get it.
    pub(crate) fn close(&self) {
        drop(self.connection.take());
    }
}

/// A connection that ended was perhaps only an old one, and then a new one is fine. Nothing is sent twice that must not be
/// done twice, nor when most of the time is gone.
fn is_worth_repeating(failure: &Failure, repeatable: bool) -> bool {
    match failure {
        Failure::Unsent => true,
        Failure::Lost { soon, .. } => *soon && repeatable,
        Failure::Late | Failure::Full => false,
    }
}

/// The first of the commands, as many as may be sent at once.
fn chunk<'a, 'c>(commands: &'a [&'c Command<'c>]) -> &'a [&'c Command<'c>] {
    let mut size = 0;
    let fits = |command: &&&Command<'_>| {
        size += command.size();
        size <= CHUNK_BYTES
    };
    let number = commands.iter().take(CHUNK).take_while(fits).count();
    &commands[..number.max(1)]
}

/// A number from 0 to 1, by chance.
pub(crate) fn chance() -> f64 {
    f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX)
}
