//! One server: its connection, and when to try again if it cannot be reached.
//!
//! A server to which a connection attempt fails is marked down: its calls fail immediately for a
//! while. The pause doubles with each failed attempt. The first call after the pause tries again.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cache_core::{Error, ErrorKind, Finding};
use cache_net::{SharedConnection, certificate};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::{
    address::Address,
    connect::{ConnectError, Connector, ends_stats, is_error},
    connection::{Connection, RequestError},
    dump::{Dump, DumpError, DumpedKey},
    error_line::Meaning,
    wire::{Command, Reply, Status},
};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The limits of what is sent before the replies are read.
const MAX_CHUNK_COMMANDS: usize = 256;
const MAX_CHUNK_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) request: Duration,
    /// The longest pause between two attempts to connect.
    pub(crate) max_pause: Duration,
}

#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    connector: Connector,
    timeouts: Timeouts,
    connection: SharedConnection<Connection, ConnectError>,
    health: Mutex<Health>,
    /// The size in bytes of the largest item that the server stores, or 0 if it is not known yet.
    max_item_size: AtomicUsize,
}

#[derive(Debug, Default)]
struct Health {
    /// The number of failed attempts to connect since the last successful one.
    failures: u32,
    down: Option<Down>,
}

#[derive(Clone, Debug)]
struct Down {
    until: Instant,
    error: ConnectError,
}

/// The error of a call that has no reply.
#[derive(Debug)]
pub(crate) struct CallError {
    pub(crate) error: Error,
    /// Whether the server may have executed the command.
    pub(crate) maybe_executed: bool,
}

impl Server {
    pub(crate) fn new(connector: Connector, timeouts: Timeouts) -> Self {
        Self {
            name: connector.address.to_string(),
            connector,
            timeouts,
            connection: SharedConnection::default(),
            health: Mutex::default(),
            max_item_size: AtomicUsize::new(0),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The size in bytes of the largest item that the server stores, if it is known.
    pub(crate) fn max_item_size(&self) -> Option<usize> {
        Some(self.max_item_size.load(Ordering::Relaxed)).filter(|size| *size > 0)
    }

    /// Sends a command and returns its reply.
    pub(crate) async fn call(self: &Arc<Self>, command: &Command<'_>) -> Result<Reply, CallError> {
        self.call_any(command).await.map(|(reply, _)| reply)
    }

    /// Sends a command and returns its reply and the connection that carried it.
    pub(crate) async fn call_any(
        self: &Arc<Self>,
        command: &Command<'_>,
    ) -> Result<(Reply, Arc<Connection>), CallError> {
        let mut is_first = true;
        loop {
            let connection = self.connection().await?;
            match self.in_time(&connection, connection.call(command)).await {
                Ok(reply) if self.needs_new_connection(&connection, &reply) && is_first => {
                    is_first = false;
                }
                Ok(mut reply) => {
                    self.add_name(&mut reply);
                    return Ok((reply, connection));
                }
                Err(error) if is_first && should_retry(&error, command.is_retryable()) => {
                    is_first = false;
                }
                Err(error) => return Err(self.call_failed(&error)),
            }
        }
    }

    /// Sends a command on this connection only. Returns `None` if it was not sent, because the
    /// connection is closed or belongs to another store.
    ///
    /// CAS tokens start again when the server restarts. One that was received on this connection is
    /// from this run of the server.
    pub(crate) async fn call_on(
        &self,
        connection: &Weak<Connection>,
        command: &Command<'_>,
    ) -> Result<Option<Reply>, CallError> {
        let current = self.connection.current();
        let current = current.filter(|current| Arc::as_ptr(current) == connection.as_ptr());
        let Some(connection) = current else { return Ok(None) };
        match self.in_time(&connection, connection.call(command)).await {
            Ok(reply) if self.needs_new_connection(&connection, &reply) => Ok(None),
            Ok(mut reply) => {
                self.add_name(&mut reply);
                Ok(Some(reply))
            }
            Err(RequestError::NotSent) => Ok(None),
            Err(error) => Err(self.call_failed(&error)),
        }
    }

    /// Sends the commands in chunks. The replies are in the order of the commands.
    ///
    /// If a chunk fails, returns the replies to the chunks before it and the error.
    pub(crate) async fn call_all(
        self: &Arc<Self>,
        commands: &[&Command<'_>],
    ) -> (Vec<Reply>, Option<CallError>) {
        let mut replies = Vec::new();
        while replies.len() < commands.len() {
            match self.call_chunk(first_chunk(&commands[replies.len()..])).await {
                Ok(chunk) if replies.is_empty() => replies = chunk,
                Ok(chunk) => replies.extend(chunk),
                Err(error) => return (replies, Some(error)),
            }
        }
        (replies, None)
    }

    async fn call_chunk(
        self: &Arc<Self>,
        commands: &[&Command<'_>],
    ) -> Result<Vec<Reply>, CallError> {
        let is_retryable = commands.iter().all(|command| command.is_retryable());
        let mut is_first = true;
        loop {
            let connection = self.connection().await?;
            match self.in_time(&connection, connection.call_all(commands)).await {
                Ok(mut replies) => {
                    for reply in &mut replies {
                        self.needs_new_connection(&connection, reply);
                        self.add_name(reply);
                    }
                    return Ok(replies);
                }
                Err(error) if is_first && should_retry(&error, is_retryable) => is_first = false,
                Err(error) => return Err(self.call_failed(&error)),
            }
        }
    }

    /// Connects, so that [`max_item_size`](Self::max_item_size) is known. Errors are ignored,
    /// because the next call reports them.
    pub(crate) async fn ensure_connected(self: &Arc<Self>) {
        let _ = self.connection().await;
    }

    async fn connection(self: &Arc<Self>) -> Result<Arc<Connection>, CallError> {
        if let Some(connection) = self.connection.current() {
            return Ok(connection);
        }
        if let Some(error) = self.down() {
            return Err(self.connect_failed(&error));
        }
        let (server, limit) = (Arc::clone(self), self.timeouts.connect);
        let attempt = self.connection.get_or_connect(limit, async move || server.connect().await);
        // The attempt of another caller may be on a runtime that stalls.
        match timeout(limit + self.timeouts.request, attempt).await {
            Ok(Some(outcome)) => outcome.map_err(|error| self.connect_failed(&error)),
            Ok(None) => Err(self.call_failed(&RequestError::NotSent)),
            Err(_) => Err(self.connect_failed(&ConnectError::timed_out(limit))),
        }
    }

    /// Waits for a call until the timeout.
    ///
    /// The timer is the caller's own, because the runtime that carries the connection may stall:
    /// the connection is then discarded, and the next call makes another on its own runtime.
    async fn in_time<T>(
        &self,
        connection: &Arc<Connection>,
        call: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        let start = connection.ticks();
        if let Ok(outcome) = timeout(self.timeouts.request, call).await {
            return outcome;
        }
        if connection.is_stalled_since(start) {
            self.connection.discard(connection);
        }
        Err(RequestError::TimedOut)
    }

    /// Returns whether the server rejected the command because of the connection, which is then
    /// discarded.
    fn needs_new_connection(&self, connection: &Arc<Connection>, reply: &Reply) -> bool {
        let needs_new = Meaning::of(&reply.status) == Some(Meaning::NewConnection);
        if needs_new {
            self.connection.discard(connection);
        }
        needs_new
    }

    /// Returns the error of the last attempt to connect if the server is marked down.
    fn down(&self) -> Option<ConnectError> {
        let down = self.health.lock().down.clone()?;
        (Instant::now() < down.until).then_some(down.error)
    }

    async fn connect(&self) -> Result<Connection, ConnectError> {
        // The previous attempt may have failed since the caller checked.
        if let Some(error) = self.down() {
            return Err(error);
        }
        let limit = self.timeouts.connect;
        let attempt = timeout(limit, self.connector.connect()).await;
        match attempt.unwrap_or(Err(ConnectError::timed_out(limit))) {
            Ok(connected) => {
                let (reader, writer) = connected.stream.into_split();
                self.mark_up(connected.max_item_size);
                let max_value_len = connected.max_item_size.unwrap_or(usize::MAX);
                Ok(Connection::new(reader, writer, self.timeouts.request, max_value_len))
            }
            Err(error) if self.connection.is_open() => {
                // Calls succeed on the connection that was to be renewed.
                let (server, reason) = (&*self.name, &*error.reason);
                tracing::warn!(server, reason, "cannot renew the connection to memcached");
                Err(error)
            }
            Err(error) => {
                self.mark_down(&error);
                Err(error)
            }
        }
    }

    fn mark_up(&self, max_item_size: Option<usize>) {
        let mut health = self.health.lock();
        if health.failures > 0 {
            tracing::info!(server = self.name, "memcached server is up again");
        }
        self.max_item_size.store(max_item_size.unwrap_or(0), Ordering::Relaxed);
        *health = Health::default();
    }

    fn mark_down(&self, error: &ConnectError) {
        let mut health = self.health.lock();
        if health.failures == 0 {
            tracing::warn!(server = self.name, reason = error.reason, "memcached server is down");
        }
        metrics::counter!("cachette_memcached_marked_down_total", "server" => self.name.clone())
            .increment(1);
        let pause =
            FIRST_PAUSE.saturating_mul(1 << health.failures.min(16)).min(self.timeouts.max_pause);
        health.failures = health.failures.saturating_add(1);
        health.down = Some(Down {
            until: Instant::now() + pause.mul_f64(0.5 + 0.5 * fastrand::f64()),
            error: error.clone(),
        });
    }

    fn connect_failed(&self, error: &ConnectError) -> CallError {
        let temporary = error.temporary;
        let error = Error::new(ErrorKind::Unavailable, format!("{}: {error}", self.name));
        CallError { error: error.temporary(temporary), maybe_executed: false }
    }

    fn call_failed(&self, error: &RequestError) -> CallError {
        let (reason, maybe_executed) = match error {
            RequestError::NotSent => ("connection closed".into(), false),
            RequestError::BufferFull => ("too many unsent requests".into(), false),
            RequestError::ConnectionLost { reason, .. } => (reason.to_string(), true),
            RequestError::TimedOut => {
                (format!("no reply within {:?}", self.timeouts.request), true)
            }
        };
        let error = Error::new(ErrorKind::Unavailable, format!("{}: {reason}", self.name));
        CallError { error, maybe_executed }
    }

    /// Adds the name of the server to an error reply.
    fn add_name(&self, reply: &mut Reply) {
        if let Status::Error(message) = &mut reply.status {
            *message = format!("{}: {message}", self.name).into();
        }
    }

    /// Sends `flush_all`.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let is_last = |_: &str| true;
        match &*self.exchange("flush_all", is_last).await? {
            [line] if line == "OK" => Ok(()),
            lines => Err(Error::new(
                ErrorKind::Backend,
                format!("{}: flush_all failed (reply {lines:?})", self.name),
            )),
        }
    }

    /// Fetches the names and values of `stats`.
    pub(crate) async fn stats(&self) -> Result<Vec<(String, String)>, Error> {
        self.stats_of("stats").await
    }

    /// Fetches the names and values of the settings.
    pub(crate) async fn settings(&self) -> Result<Vec<(String, String)>, Error> {
        self.stats_of("stats settings").await
    }

    /// The finding if the server presents a certificate that expires soon.
    pub(crate) async fn certificate(&self) -> Option<Finding> {
        let Connector { address, tls, .. } = &self.connector;
        let (Address::Tcp { host, port }, Some(tls)) = (address, tls) else { return None };
        certificate(tls, host, *port, self.timeouts.connect).await
    }

    async fn stats_of(&self, command: &str) -> Result<Vec<(String, String)>, Error> {
        let lines = self.exchange(command, ends_stats).await?;
        if let Some(line) = lines.iter().find(|line| is_error(line)) {
            return Err(Error::new(
                ErrorKind::Backend,
                format!("{}: {command} failed (reply {line:?})", self.name),
            ));
        }
        let parse = |line: &String| {
            let (name, value) = line.strip_prefix("STAT ")?.split_once(' ')?;
            Some((name.to_owned(), value.to_owned()))
        };
        Ok(lines.iter().filter_map(parse).collect())
    }

    /// Requests the list of keys on a separate connection.
    pub(crate) async fn dump(&self) -> Result<Dump, Error> {
        let limit = self.timeouts.connect + self.timeouts.request;
        let start = async { Dump::start(self.connector.lines().await?).await };
        timeout(limit, start)
            .await
            .unwrap_or(Err(ConnectError::timed_out(limit)))
            .map_err(|error| self.connect_failed(&error).error)
    }

    /// Returns the next keys of the list, or `None` at the end.
    pub(crate) async fn dumped(&self, dump: &mut Dump) -> Result<Option<Vec<DumpedKey>>, Error> {
        dump.next(self.timeouts.request).await.map_err(|error| match error {
            DumpError::Connection(error) => self.connect_failed(&error).error,
            DumpError::Rejected(reply) => {
                let is_busy = reply.starts_with("BUSY");
                let message = format!("{}: the server does not list its keys ({reply})", self.name);
                Error::new(ErrorKind::Backend, message).temporary(is_busy)
            }
        })
    }

    /// Sends a line on a separate connection, so that the reader of the shared connection needs to
    /// know only one kind of reply.
    async fn exchange(&self, line: &str, is_last: fn(&str) -> bool) -> Result<Vec<String>, Error> {
        let limit = self.timeouts.connect + self.timeouts.request;
        let lines = timeout(limit, self.connector.exchange(line, is_last)).await;
        lines
            .unwrap_or(Err(ConnectError::timed_out(limit)))
            .map_err(|error| self.connect_failed(&error).error)
    }

    /// Drops the connection. Calls in flight still get their replies.
    pub(crate) fn close(&self) {
        drop(self.connection.take());
    }
}

/// Returns whether to try again on a new connection.
///
/// A connection that was closed may have been stale, and a new one works. A command that must not
/// be executed twice is repeated only if it was not sent, and no command is repeated if most of the
/// timeout has passed.
fn should_retry(error: &RequestError, is_retryable: bool) -> bool {
    match error {
        RequestError::NotSent => true,
        RequestError::ConnectionLost { early, .. } => *early && is_retryable,
        RequestError::TimedOut | RequestError::BufferFull => false,
    }
}

/// The first commands, as many as may be sent at once and at least one.
fn first_chunk<'a, 'c>(commands: &'a [&'c Command<'c>]) -> &'a [&'c Command<'c>] {
    let mut size = 0;
    let fits = |command: &&&Command<'_>| {
        size += command.size_hint();
        size <= MAX_CHUNK_BYTES
    };
    let count = commands.iter().take(MAX_CHUNK_COMMANDS).take_while(fits).count();
    &commands[..count.max(1)]
}
