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
    bounded_replies::BoundedReplies,
    coalescing_writer::{BytesSent, CoalescingWriter},
    failure::concerns_one_key,
    handshake::{self, Facts, Login, Manners},
    location::Address,
};

/// How long a connection is idle before the kernel probes it.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How many commands may wait to be written. A longer queue is not faster; a shorter one makes
/// callers wait for each other.
const QUEUE: usize = 1024;

/// Requests are added to a write until it has this many bytes. With the default of 8 KiB, the sets
/// of 64 tasks would be two writes, and two batches of 100 too.
const MAX_COMBINED: usize = 64 << 10;

/// What is needed to connect. It does not implement `Debug`, because it holds a password.
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) login: Login,
    pub(crate) tls: Option<Tls>,
    pub(crate) keepalive: bool,
    /// The size in bytes of the largest value that the configuration allows.
    pub(crate) max_value: usize,
    pub(crate) client_name: Option<String>,
    /// The name and the version of this library. Empty ones are not sent.
    pub(crate) library: (String, String),
    /// Whether the server must be a primary.
    pub(crate) must_be_primary: bool,
    /// Whether the server may be one of several servers of a cluster.
    pub(crate) in_cluster: bool,
}

/// An open connection. It is closed when the last reference to it is dropped.
pub(crate) struct Connection {
    connection: MultiplexedConnection,
    bytes_sent: BytesSent,
    max_value: usize,
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

    /// Ignores errors that concern one key and not the request: the caller handles them.
    fn server_error(replies: &Vec<Value>) -> Option<&ServerError> {
        replies.iter().filter_map(Cmd::server_error).find(|error| !concerns_one_key(error))
    }
}

/// Why a connection could not be opened.
pub(crate) enum ConnectError {
    /// The server cannot be reached.
    Io(io::Error),
    /// The connection was lost after a command that a server need not know.
    Courtesy(io::Error),
    /// The server rejected the client.
    Server(ServerError),
    /// The server sent bytes that are not a reply of Redis.
    Protocol,
    /// The server is a replica, and a primary is required.
    Replica,
    /// The server is one of several servers of a cluster, and the options do not say so.
    InCluster,
}

impl ConnectError {
    pub(crate) fn after_courtesy(self) -> Self {
        match self {
            Self::Io(error) => Self::Courtesy(error),
            other => other,
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Unreachable in practice: the handshake has succeeded, and nothing is sent.
impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> Self {
        Self::Io(io::Error::other(error))
    }
}

impl cache_net::Connection for Connection {
    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    async fn settle(&self) {
        // Its reply follows those to all requests before it.
        let _ = self.send(&redis::cmd("PING")).await;
    }
}

impl Connection {
    /// Connects, performs the TLS handshake and authenticates. Has no timeout of its own.
    pub(crate) async fn open(target: &Target, manners: Manners) -> Result<Self, ConnectError> {
        match &target.address {
            Address::Unix(path) => {
                Self::new(UnixStream::connect(path).await?, target, manners).await
            }
            Address::Tcp { host, port, tls } => {
                let keepalive = target.keepalive.then_some(KEEPALIVE);
                let stream = connect_tcp(host, *port, keepalive).await?;
                match &target.tls {
                    Some(client) if *tls => {
                        let stream = client.connect(host, stream).await.map_err(|error| {
                            io::Error::new(error.kind(), format!("TLS handshake failed: {error}"))
                        })?;
                        Self::new(stream, target, manners).await
                    }
                    _ => Self::new(stream, target, manners).await,
                }
            }
        }
    }

    async fn new<S>(mut stream: S, target: &Target, manners: Manners) -> Result<Self, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Facts { max_value, .. } = handshake::perform(&mut stream, target, manners).await?;
        // Timeouts belong to the node, which decides what follows from them.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE)
            .set_write_backpressure_boundary(MAX_COMBINED);
        let bytes_sent = BytesSent::default();
        let stream = BoundedReplies::new(stream, target.max_value);
        let stream = CoalescingWriter::new(stream, bytes_sent.clone());
        let nothing_to_send = RedisConnectionInfo::default().set_skip_set_lib_name();
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&nothing_to_send, stream, config).await?;
        let open = Arc::new(AtomicBool::new(true));
        let close_guard = CloseGuard(Arc::clone(&open));
        let driver = tokio::spawn(async move {
            let _close_guard = close_guard;
            driver.await;
        });
        Ok(Self {
            connection,
            bytes_sent,
            max_value: max_value.map_or(target.max_value, |max| max.min(target.max_value)),
            open,
            driver: driver.abort_handle(),
        })
    }

    /// The size in bytes of the largest value that the server accepts.
    pub(crate) fn max_value(&self) -> usize {
        self.max_value
    }

    /// How many bytes were sent so far.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.bytes_sent.get()
    }

    /// Closes the connection immediately. All waiting calls fail.
    pub(crate) fn abort(&self) {
        self.driver.abort();
    }

    /// Sends a request and waits for the reply, without a timeout.
    pub(crate) async fn send<R: Request>(&self, request: &R) -> RedisResult<R::Reply> {
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
