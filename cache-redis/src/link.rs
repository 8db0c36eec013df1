//! One connection to a server, on which all calls go at once.

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
    gather::{Calls, Gather},
    location::Address,
};

/// How long a connection is idle before the kernel asks after it.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How many commands may wait to be written. More do not make it faster; fewer make callers wait for each other.
const QUEUE: usize = 1024;

/// All that it takes to connect. It shows no password.
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) login: RedisConnectionInfo,
    pub(crate) tls: Option<Tls>,
    pub(crate) keepalive: bool,
    pub(crate) client_name: Option<String>,
    /// Whether only a leader will do.
    pub(crate) must_lead: bool,
}

/// An open connection. It is closed when nobody holds it any more.
pub(crate) struct Link {
    connection: MultiplexedConnection,
    calls: Calls,
    alive: Arc<AtomicBool>,
    driver: AbortHandle,
}

/// What can be asked of a server: a command, or many at once.
pub(crate) trait Ask: Sync {
    type Answer: Send;

    fn put(
        &self,
        connection: MultiplexedConnection,
    ) -> impl Future<Output = RedisResult<Self::Answer>> + Send;

    /// What the server refused.
    fn refusal(answer: &Self::Answer) -> Option<&ServerError>;
}

impl Ask for Cmd {
    type Answer = Value;

    async fn put(&self, mut connection: MultiplexedConnection) -> RedisResult<Value> {
        connection.send_packed_command(self).await
    }

    fn refusal(answer: &Value) -> Option<&ServerError> {
        match answer {
            Value::ServerError(error) => Some(error),
            _ => None,
        }
    }
}

impl Ask for Pipeline {
    type Answer = Vec<Value>;

    async fn put(&self, mut connection: MultiplexedConnection) -> RedisResult<Vec<Value>> {
        connection.send_packed_commands(self, 0, self.len()).await
    }

    /// That a key holds something of another type concerns this key alone: it is left to whoever asked.
    fn refusal(answers: &Vec<Value>) -> Option<&ServerError> {
        answers.iter().filter_map(Cmd::refusal).find(|error| error.code() != "WRONGTYPE")
    }
}

/// Why there is no link.
pub(crate) enum NoLink {
    /// The server is not to be reached, or lets nobody in.
    Error(RedisError),
    /// It is a replica, and a leader was asked for.
    Follows,
}

impl From<RedisError> for NoLink {
    fn from(error: RedisError) -> Self {
        Self::Error(error)
    }
}

impl From<io::Error> for NoLink {
    fn from(error: io::Error) -> Self {
        Self::Error(error.into())
    }
}

impl cache_net::Connection for Link {
    fn is_open(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }
}

impl Link {
    /// Connects, encrypts, and has itself let in. Takes as long as the server takes.
    pub(crate) async fn open(target: &Target) -> Result<Self, NoLink> {
        match &target.address {
            Address::Unix(path) => Self::on(UnixStream::connect(path).await?, target).await,
            Address::Tcp { host, port, tls } => {
                let keepalive = target.keepalive.then_some(KEEPALIVE);
                let stream = connect_tcp(host, *port, keepalive).await?;
                match &target.tls {
                    Some(tls_client) if *tls => {
                        Self::on(tls_client.connect(host, stream).await?, target).await
                    }
                    _ => Self::on(stream, target).await,
                }
            }
        }
    }

    async fn on<S>(stream: S, target: &Target) -> Result<Self, NoLink>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // How long a call may take is for the node to say, which knows what to do about it.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let calls = Calls::default();
        let stream = Gather::new(stream, calls.clone());
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&target.login, stream, config).await?;
        let alive = Arc::new(AtomicBool::new(true));
        let lifetime = Lifetime(Arc::clone(&alive));
        let driver = tokio::spawn(async move {
            let _lifetime = lifetime;
            driver.await;
        });
        let link = Self { connection, calls, alive, driver: driver.abort_handle() };
        link.introduce(target).await?;
        Ok(link)
    }

    async fn introduce(&self, target: &Target) -> Result<(), NoLink> {
        if let Some(name) = &target.client_name {
            let name = redis::cmd("CLIENT").arg("SETNAME").arg(name).to_owned();
            self.ask(&name).await?.extract_error()?;
        }
        if target.must_lead {
            let role = self.ask(&redis::cmd("ROLE")).await?.extract_error()?;
            let Value::Array(role) = role else { return Err(NoLink::Follows) };
            if role.first() != Some(&Value::BulkString(b"master".to_vec())) {
                return Err(NoLink::Follows);
            }
        }
        Ok(())
    }

    /// Closes the connection at once: all that wait for an answer are told that it is lost.
    pub(crate) fn cut(&self) {
        self.driver.abort();
    }

    /// The answer of the server, however long it takes.
    pub(crate) async fn ask<A: Ask>(&self, ask: &A) -> RedisResult<A::Answer> {
        let _call = self.calls.begin();
        ask.put(self.connection.clone()).await
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Notes the end of whoever holds it, whatever ends it.
struct Lifetime(Arc<AtomicBool>);

impl Drop for Lifetime {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
