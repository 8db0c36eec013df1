//! One server: its connection, made when it is needed and replaced when it stops replying.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cache_net::{SharedConnection, cannot_connect};
use redis::ServerError;
use tokio::time::{Instant, timeout_at};

use crate::{
    bounded_replies::Violation,
    connection::{ConnectError, Connection, Request, Target},
    failure::{Failure, Fault, fault_of},
    handshake::Manners,
};

/// Whether a command may be sent again if its reply was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Executing it twice has the same effect as executing it once.
    Idempotent,
    /// It must be executed at most once.
    Once,
}

/// The timeouts of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) reply: Duration,
}

impl Timeouts {
    /// The deadline of a call that begins now.
    pub(crate) fn deadline(self) -> Instant {
        Instant::now() + self.connect + self.reply
    }
}

/// A server, which may be unreachable.
pub(crate) struct Node {
    target: Target,
    /// The address, for errors.
    name: Arc<str>,
    timeouts: Timeouts,
    connection: SharedConnection<Connection, Failure>,
    /// Whether the server closed a connection because of the courtesies of the handshake.
    rejects_courtesies: AtomicBool,
}

impl Node {
    pub(crate) fn new(target: Target, timeouts: Timeouts) -> Self {
        let name = target.address.to_string().into();
        Self {
            target,
            name,
            timeouts,
            connection: SharedConnection::default(),
            rejects_courtesies: AtomicBool::new(false),
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_open()
    }

    /// Drops the connection. Calls that wait for a reply still receive it.
    pub(crate) fn close(&self) {
        drop(self.connection.take());
    }

    /// Closes the connection immediately, because its replies cannot be trusted.
    pub(crate) fn abort(&self) {
        if let Some(connection) = self.connection.take() {
            connection.abort();
        }
    }

    /// The size in bytes of the largest value that the server accepts. Connects to find out.
    pub(crate) async fn max_value(self: &Arc<Self>, deadline: Instant) -> Result<usize, Failure> {
        let connection = match self.connection.current() {
            Some(connection) => connection,
            None => self.connect(deadline).await?,
        };
        Ok(connection.max_value())
    }

    /// Sends a request. The reply may be an error of the server.
    ///
    /// A request whose reply was lost is sent again if it is idempotent, and one that was not sent
    /// in any case, both once.
    pub(crate) async fn send<R: Request>(
        self: &Arc<Self>,
        request: &R,
        effect: Effect,
        deadline: Instant,
    ) -> Result<R::Reply, Failure> {
        let mut is_first = true;
        loop {
            let connection = match self.connection.current() {
                Some(connection) => connection,
                None => self.connect(deadline).await?,
            };
            let sent_before = connection.bytes_sent();
            let limit = deadline.min(Instant::now() + self.timeouts.reply);
            match timeout_at(limit, connection.send(request)).await {
                Ok(Ok(reply)) => {
                    let fault = R::server_error(&reply).map(fault_of);
                    if fault.is_some_and(|fault| fault.needs_new_connection()) {
                        self.connection.discard(&connection);
                    }
                    return Ok(reply);
                }
                Ok(Err(error)) => {
                    self.connection.discard(&connection);
                    if let Some(violation) = Violation::cause_of(&error)
                        && violation != Violation::NotRedis
                    {
                        // It would be as long again.
                        let message = violation.to_string();
                        return Err(Failure::new(Fault::ReplyTooLong, &self.name, &message));
                    }
                    // If nothing at all was sent since, the request was not.
                    let was_sent = connection.bytes_sent() != sent_before;
                    let may_retry = effect == Effect::Idempotent || !was_sent;
                    if !may_retry || !is_first {
                        let fault =
                            if was_sent { Fault::ConnectionLost } else { Fault::Unreachable };
                        return Err(Failure::from_redis(fault, &self.name, &error));
                    }
                    is_first = false;
                }
                Err(_) => {
                    // The connection may be dead, so later calls must not wait for it.
                    self.connection.discard(&connection);
                    let message = format!("no reply within {:?}", self.timeouts.reply);
                    return Err(Failure::new(Fault::TimedOut, &self.name, &message));
                }
            }
        }
    }

    /// Like [`send`](Self::send), but an error of the server is a failure.
    pub(crate) async fn execute<R: Request>(
        self: &Arc<Self>,
        request: &R,
        effect: Effect,
        deadline: Instant,
    ) -> Result<R::Reply, Failure> {
        let reply = self.send(request, effect, deadline).await?;
        match R::server_error(&reply) {
            Some(error) => Err(Failure::from_server(&self.name, error)),
            None => Ok(reply),
        }
    }

    /// Waits for a connection until the deadline.
    async fn connect(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Connection>, Failure> {
        let node = Arc::clone(self);
        let attempt =
            self.connection.get_or_connect(self.timeouts.connect, async move || node.open().await);
        match timeout_at(deadline, attempt).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(self.unreachable("the attempt to connect was cancelled")),
            Err(_) => Err(self.connect_timed_out()),
        }
    }

    async fn open(&self) -> Result<Connection, Failure> {
        let limit = Instant::now() + self.timeouts.connect;
        match timeout_at(limit, self.open_politely()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.connect_failed(error)),
            Err(_) => Err(self.connect_timed_out()),
        }
    }

    /// Connects again with less of the handshake if the server does not understand it.
    async fn open_politely(&self) -> Result<Connection, ConnectError> {
        let courtesies = !self.rejects_courtesies.load(Ordering::Relaxed);
        let mut manners = Manners { courtesies, username: true };
        loop {
            match Connection::open(&self.target, manners).await {
                Err(ConnectError::Courtesy(error)) if manners.courtesies => {
                    tracing::debug!(server = &*self.name, %error, "handshake without courtesies");
                    manners.courtesies = false;
                }
                Err(ConnectError::Server(error))
                    if manners.username && is_user_name_unknown(&error) =>
                {
                    manners.username = false;
                }
                Ok(connection) => {
                    self.rejects_courtesies.store(!manners.courtesies, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn connect_failed(&self, error: ConnectError) -> Failure {
        match error {
            ConnectError::Io(error) | ConnectError::Courtesy(error) => {
                self.unreachable(&cannot_connect(&error))
            }
            ConnectError::Server(error) => Failure::from_server(&self.name, &error),
            ConnectError::Protocol => Failure::not_redis(Fault::Unreachable, &self.name),
            ConnectError::Replica => {
                let message = "it is a replica, and the new primary is not known yet";
                Failure::new(Fault::NotPrimary, &self.name, message)
            }
            ConnectError::InCluster => Failure::in_cluster(&self.name),
        }
    }

    fn connect_timed_out(&self) -> Failure {
        self.unreachable(&format!("no connection within {:?}", self.timeouts.connect))
    }

    fn unreachable(&self, message: &str) -> Failure {
        Failure::new(Fault::Unreachable, &self.name, message)
    }
}

/// Whether AUTH failed because the server expects a password only.
fn is_user_name_unknown(error: &ServerError) -> bool {
    error.details().is_some_and(|details| details.contains("wrong number of arguments"))
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
