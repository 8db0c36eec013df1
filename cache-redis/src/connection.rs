//! One connection to a server, shared by all calls.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cache_net::{Tls, connect_tcp};
use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisError, RedisResult,
    ServerError, Value, aio::MultiplexedConnection,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    task::AbortHandle,
};

use crate::{
    coalescing_writer::{CoalescingWriter, InFlight},
    location::Address,
};

/// How long a connection is idle before the kernel probes it.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How many commands may wait to be written. A longer queue is not faster; a shorter one makes
/// callers wait for each other.
const QUEUE: usize = 1024;

/// What is needed to connect. It does not implement `Debug`, because it holds a password.
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) login: RedisConnectionInfo,
    pub(crate) tls: Option<Tls>,
    pub(crate) keepalive: bool,
    pub(crate) client_name: Option<String>,
    /// Whether the server must be a primary.
    pub(crate) must_be_primary: bool,
}

/// An open connection. It is closed when the last reference to it is dropped.
pub(crate) struct Connection {
    connection: MultiplexedConnection,
    in_flight: InFlight,
    open: Arc<AtomicBool>,
    driver: AbortHandle,
}

/// A request to a server: one command, or a pipeline.
pub(crate) trait Request: Sync {
    type Reply: Send;

    fn send(
        &self,
        connection: MultiplexedConnection,
    ) -> impl Future<Output = RedisResult<Self::Reply>> + Send;

    /// The error that the server replied with.
    fn server_error(reply: &Self::Reply) -> Option<&ServerError>;
}

impl Request for Cmd {
    type Reply = Value;

    async fn send(&self, mut connection: MultiplexedConnection) -> RedisResult<Value> {
        connection.send_packed_command(self).await
    }

    fn server_error(reply: &Value) -> Option<&ServerError> {
        match reply {
            Value::ServerError(error) => Some(error),
            _ => None,
        }
    }
}

impl Request for Pipeline {
    type Reply = Vec<Value>;

    async fn send(&self, mut connection: MultiplexedConnection) -> RedisResult<Vec<Value>> {
        connection.send_packed_commands(self, 0, self.len()).await
    }

    /// Ignores WRONGTYPE: it concerns one key and not the request, so the caller handles it.
    fn server_error(replies: &Vec<Value>) -> Option<&ServerError> {
        replies.iter().filter_map(Cmd::server_error).find(|error| error.code() != "WRONGTYPE")
    }
}

/// Why a connection could not be opened.
pub(crate) enum ConnectError {
    /// The server cannot be reached, or rejected the client.
    Redis(RedisError),
    /// The server is a replica, and a primary is required.
    Replica,
}

impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Redis(error.into())
    }
}

impl cache_net::Connection for Connection {
    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}

impl Connection {
    /// Connects, performs the TLS handshake and authenticates. Has no timeout of its own.
    pub(crate) async fn open(target: &Target) -> Result<Self, ConnectError> {
        match &target.address {
            Address::Unix(path) => Self::new(UnixStream::connect(path).await?, target).await,
            Address::Tcp { host, port, tls } => {
                let keepalive = target.keepalive.then_some(KEEPALIVE);
                let stream = connect_tcp(host, *port, keepalive).await?;
                match &target.tls {
                    Some(client) if *tls => {
                        let stream = client.connect(host, stream).await.map_err(|error| {
                            io::Error::new(error.kind(), format!("TLS handshake failed: {error}"))
                        })?;
                        Self::new(stream, target).await
                    }
                    _ => Self::new(stream, target).await,
                }
            }
        }
    }

    async fn new<S>(stream: S, target: &Target) -> Result<Self, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Timeouts belong to the node, which decides what follows from them.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let in_flight = InFlight::default();
        let stream = CoalescingWriter::new(stream, in_flight.clone());
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&target.login, stream, config).await?;
        let open = Arc::new(AtomicBool::new(true));
        let close_guard = CloseGuard(Arc::clone(&open));
        let driver = tokio::spawn(async move {
            let _close_guard = close_guard;
            driver.await;
        });
        let connection = Self { connection, in_flight, open, driver: driver.abort_handle() };
        connection.set_up(target).await?;
        Ok(connection)
    }

    async fn set_up(&self, target: &Target) -> Result<(), ConnectError> {
        if let Some(name) = &target.client_name {
            let name = redis::cmd("CLIENT").arg("SETNAME").arg(name).to_owned();
            self.send(&name).await?.extract_error()?;
        }
        if target.must_be_primary {
            let role = self.send(&redis::cmd("ROLE")).await?.extract_error()?;
            let Value::Array(role) = role else { return Err(ConnectError::Replica) };
            if role.first() != Some(&Value::BulkString(b"master".to_vec())) {
                return Err(ConnectError::Replica);
            }
        }
        Ok(())
    }

    /// Closes the connection immediately. All waiting calls fail.
    pub(crate) fn abort(&self) {
        self.driver.abort();
    }

    /// Sends a request and waits for the reply, without a timeout.
    pub(crate) async fn send<R: Request>(&self, request: &R) -> RedisResult<R::Reply> {
        let _guard = self.in_flight.begin();
        request.send(self.connection.clone()).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Marks the connection closed when it is dropped, whether the driver returned, panicked or was
/// aborted.
struct CloseGuard(Arc<AtomicBool>);

impl Drop for CloseGuard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
