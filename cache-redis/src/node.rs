//! One server: its connection, made when it is needed and replaced when it stops replying.

use std::{fmt, sync::Arc, time::Duration};

use cache_net::SharedConnection;
use tokio::time::{Instant, timeout_at};

use crate::{
    connection::{ConnectError, Connection, Request, Target},
    failure::{Failure, Fault},
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
}

impl Node {
    pub(crate) fn new(target: Target, timeouts: Timeouts) -> Self {
        let name = target.address.to_string().into();
        Self { target, name, timeouts, connection: SharedConnection::default() }
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
        self.connection.current().is_some()
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

    /// Sends a request. The reply may be an error of the server.
    pub(crate) async fn send<R: Request>(
        self: &Arc<Self>,
        request: &R,
        effect: Effect,
        deadline: Instant,
    ) -> Result<R::Reply, Failure> {
        let mut may_retry = effect == Effect::Idempotent;
        loop {
            let connection = match self.connection.current() {
                Some(connection) => connection,
                None => self.connect(deadline).await?,
            };
            let limit = deadline.min(Instant::now() + self.timeouts.reply);
            match timeout_at(limit, connection.send(request)).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) => {
                    self.connection.discard(&connection);
                    if !may_retry {
                        return Err(Failure::from_redis(Fault::ConnectionLost, &self.name, &error));
                    }
                    may_retry = false;
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
        let attempt = self.connection.get_or_connect(async move { node.open().await });
        match timeout_at(deadline, attempt).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(self.unreachable("the attempt to connect was cancelled")),
            Err(_) => Err(self.connect_timed_out()),
        }
    }

    async fn open(&self) -> Result<Connection, Failure> {
        let limit = Instant::now() + self.timeouts.connect;
        match timeout_at(limit, Connection::open(&self.target)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(ConnectError::Replica)) => {
                let message = "it is a replica, and the new primary is not known yet";
                Err(Failure::new(Fault::NotPrimary, &self.name, message))
            }
            Ok(Err(ConnectError::Redis(error))) => Err(match error.kind() {
                redis::ErrorKind::Server(_)
                | redis::ErrorKind::Extension
                | redis::ErrorKind::AuthenticationFailed => rejected(&self.name, &error),
                _ => Failure::from_redis(Fault::Unreachable, &self.name, &error),
            }),
            Err(_) => Err(self.connect_timed_out()),
        }
    }

    fn connect_timed_out(&self) -> Failure {
        self.unreachable(&format!("no connection within {:?}", self.timeouts.connect))
    }

    fn unreachable(&self, message: &str) -> Failure {
        Failure::new(Fault::Unreachable, &self.name, message)
    }
}

/// Classifies the failure of a server that rejected the client while it connected.
fn rejected(server: &Arc<str>, error: &redis::RedisError) -> Failure {
    let server_errors = error.clone().into_server_errors();
    let fault = match server_errors.as_deref() {
        Some([(_, server_error), ..]) => Failure::from_server(server, server_error).fault,
        _ => Fault::Rejected,
    };
    Failure::from_redis(fault, server, error)
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
