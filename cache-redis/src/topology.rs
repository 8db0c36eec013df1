//! Which server receives a command.

mod cluster;
mod primary;
mod sentinel;
mod slots;

use std::{fmt, sync::Arc};

use cache_core::{Result, config::invalid_setting};
use cache_net::Tls;
use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

use self::{cluster::Cluster, primary::Primary, sentinel::Sentinel};
use crate::{
    RedisOptions,
    connection::Target,
    failure::{Failure, Fault},
    handshake::Login,
    location::{Address, Location},
    node::{Effect, Node, Timeouts},
    options::option,
};

/// What a command does, which decides which servers may execute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It reads. A replica may execute it.
    Read,
    /// It writes, or reads what must be up to date.
    Write(Effect),
}

impl Access {
    fn effect(self) -> Effect {
        match self {
            Self::Read => Effect::Idempotent,
            Self::Write(effect) => effect,
        }
    }
}

/// The servers and how they are related.
#[derive(Debug)]
pub(crate) enum Topology {
    Primary(Primary),
    Sentinel(Arc<Sentinel>),
    Cluster(Arc<Cluster>),
}

/// Creates the node of an address.
#[derive(Clone)]
struct NodeFactory {
    login: Login,
    tls: Option<Tls>,
    timeouts: Timeouts,
    keepalive: bool,
    max_value: usize,
    client_name: Option<String>,
    library: (String, String),
    must_be_primary: bool,
    in_cluster: bool,
}

impl NodeFactory {
    fn node(&self, address: Address) -> Arc<Node> {
        let target = Target {
            address,
            login: self.login.clone(),
            tls: self.tls.clone(),
            keepalive: self.keepalive,
            max_value: self.max_value,
            client_name: self.client_name.clone(),
            library: self.library.clone(),
            must_be_primary: self.must_be_primary,
            in_cluster: self.in_cluster,
        };
        Arc::new(Node::new(target, self.timeouts))
    }
}

/// Hides the password.
impl fmt::Debug for NodeFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeFactory")
    }
}

impl Topology {
    /// Creates the topology that the options describe. Does not connect yet.
    pub(crate) fn new(
        locations: &[Location],
        options: &RedisOptions,
        tls: Option<&Tls>,
    ) -> Result<Self> {
        let timeouts =
            Timeouts { connect: options.socket_connect_timeout, reply: options.socket_timeout };
        let factory = |login| NodeFactory {
            login,
            tls: tls.cloned(),
            timeouts,
            keepalive: options.socket_keepalive,
            max_value: options.max_value_bytes,
            client_name: options.client_name.clone(),
            library: (options.lib_name.clone(), options.lib_version.clone()),
            must_be_primary: options.sentinel.is_some(),
            in_cluster: options.cluster,
        };
        let db = locations.first().and_then(|first| first.db).or(options.db).unwrap_or(0);
        if options.cluster && db != 0 {
            let expected = "0, because a cluster has only one database";
            return Err(invalid_setting(&option("db"), &db.to_string(), expected));
        }
        if let Some(name) = &options.sentinel {
            let login = Login {
                username: options.sentinel_username.clone(),
                password: options.sentinel_password.clone(),
                db: 0,
            };
            let to_sentinels = NodeFactory { must_be_primary: false, ..factory(login) };
            let addresses = locations.iter().map(|location| location.address.clone());
            let sentinels = addresses.map(|address| to_sentinels.node(address)).collect();
            let to_primary = factory(login_of(&locations[0], options));
            return Ok(Self::Sentinel(Arc::new(Sentinel::new(name, sentinels, to_primary))));
        }
        let nodes = locations
            .iter()
            .map(|location| factory(login_of(location, options)).node(location.address.clone()));
        if options.cluster {
            let factory = factory(login_of(&locations[0], options));
            return Ok(Self::Cluster(Arc::new(Cluster::new(nodes.collect(), factory))));
        }
        Ok(Self::Primary(Primary::new(nodes.collect())))
    }

    /// Executes a command on the server that has the key.
    pub(crate) async fn execute(
        &self,
        key: &[u8],
        command: &Cmd,
        access: Access,
    ) -> Result<Value, Failure> {
        match self {
            Self::Primary(primary) => {
                primary.execute(command, access).await.map_err(explain_redirection)
            }
            Self::Sentinel(sentinel) => sentinel.execute(command, access.effect()).await,
            Self::Cluster(cluster) => cluster.execute(key, command, access.effect()).await,
        }
    }

    /// Executes many commands, each with its key, in one round trip to each server that has any of
    /// the keys. Returns the replies in the order of the commands.
    pub(crate) async fn execute_all(
        &self,
        commands: Vec<(&[u8], Cmd)>,
        access: Access,
    ) -> Result<Vec<Value>, Failure> {
        match self {
            Self::Primary(primary) => {
                primary.execute(&pipeline(commands), access).await.map_err(explain_redirection)
            }
            Self::Sentinel(sentinel) => {
                sentinel.execute(&pipeline(commands), access.effect()).await
            }
            Self::Cluster(cluster) => cluster.execute_all(&commands, access.effect()).await,
        }
    }

    /// Whether one server has all keys, so that a command may name many keys.
    pub(crate) fn is_single_shard(&self) -> bool {
        !matches!(self, Self::Cluster(_))
    }

    /// Returns a number that only keys on one server share: in a cluster, the slot, because slots
    /// move between servers.
    pub(crate) fn server_of(&self, key: &[u8]) -> usize {
        match self {
            Self::Primary(_) | Self::Sentinel(_) => 0,
            Self::Cluster(_) => slots::slot_of(key),
        }
    }

    /// The server that has the key, and the deadline of a call that begins now.
    pub(crate) async fn node(&self, key: &[u8]) -> Result<(Arc<Node>, Instant), Failure> {
        match self {
            Self::Primary(primary) => {
                let node = primary.primary();
                let deadline = node.timeouts().deadline();
                Ok((node, deadline))
            }
            Self::Sentinel(sentinel) => sentinel.node().await,
            Self::Cluster(cluster) => cluster.node(key).await,
        }
    }

    /// The size in bytes of the largest value that the server of a key accepts. Connects to find
    /// out.
    pub(crate) async fn max_value(&self, key: &[u8]) -> Result<usize, Failure> {
        let (node, deadline) = self.node(key).await?;
        node.max_value(deadline).await
    }

    /// The servers that together have all keys.
    pub(crate) async fn primaries(&self) -> Result<Vec<Arc<Node>>, Failure> {
        match self {
            Self::Primary(primary) => Ok(vec![primary.primary()]),
            Self::Sentinel(sentinel) => sentinel.primaries().await,
            Self::Cluster(cluster) => cluster.primaries().await,
        }
    }

    /// All servers from which entries are read.
    pub(crate) async fn servers(&self) -> Result<Vec<Arc<Node>>, Failure> {
        match self {
            Self::Primary(primary) => Ok(primary.servers()),
            _ => self.primaries().await,
        }
    }

    /// Drops all connections. Calls that wait for a reply still receive it.
    pub(crate) fn close(&self) {
        self.known_nodes().iter().for_each(|node| node.close());
    }

    /// Closes all connections immediately, because the replies on one of them cannot be trusted.
    pub(crate) fn abort(&self) {
        self.known_nodes().iter().for_each(|node| node.abort());
    }

    /// The addresses of the servers, for errors that may concern any of them.
    pub(crate) fn names(&self) -> String {
        names(&self.known_nodes())
    }

    fn known_nodes(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Primary(primary) => primary.servers(),
            Self::Sentinel(sentinel) => sentinel.known_nodes(),
            Self::Cluster(cluster) => cluster.known_nodes(),
        }
    }
}

/// A server that redirects is one of several servers of a cluster.
fn explain_redirection(failure: Failure) -> Failure {
    match failure.fault {
        Fault::Redirected { .. } | Fault::InCluster => Failure::in_cluster(failure.server()),
        _ => failure,
    }
}

fn names(nodes: &[Arc<Node>]) -> String {
    nodes.iter().map(|node| &**node.name()).collect::<Vec<_>>().join(", ")
}

fn pipeline(commands: Vec<(&[u8], Cmd)>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(commands.len());
    for (_, command) in commands {
        pipeline.add_command(command);
    }
    pipeline
}

fn login_of(location: &Location, options: &RedisOptions) -> Login {
    Login {
        username: location.username.clone().or_else(|| options.username.clone()),
        password: location.password.clone().or_else(|| options.password.clone()),
        db: location.db.or(options.db).unwrap_or(0),
    }
}
