//! Which server a command goes to.

mod cluster;
mod leader;
mod sentinel;
mod slots;

use std::sync::Arc;

use cache_core::{Result, config::invalid_setting};
use cache_net::Tls;
use redis::{Cmd, Pipeline, RedisConnectionInfo, Value};

use self::{cluster::Cluster, leader::Leader, sentinel::Sentinel};
use crate::{
    RedisOptions,
    failure::Failure,
    link::Target,
    location::{Address, Location},
    node::{Effect, Limits, Node},
    options::option,
};

/// What a command does, and so who may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It reads: a replica will do, where there are any.
    Read,
    /// It writes, or reads what must not be old.
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

/// The servers, and what they are to each other.
#[derive(Debug)]
pub(crate) enum Topology {
    Leader(Leader),
    Sentinel(Arc<Sentinel>),
    Cluster(Arc<Cluster>),
}

/// What it takes to make a node of an address.
#[derive(Clone)]
struct Maker {
    login: RedisConnectionInfo,
    tls: Option<Tls>,
    limits: Limits,
    keepalive: bool,
    client_name: Option<String>,
    must_lead: bool,
}

impl Maker {
    fn node(&self, address: Address) -> Arc<Node> {
        let target = Target {
            address,
            login: self.login.clone(),
            tls: self.tls.clone(),
            keepalive: self.keepalive,
            client_name: self.client_name.clone(),
            must_lead: self.must_lead,
        };
        Arc::new(Node::new(target, self.limits))
    }
}

/// It holds a password.
impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Maker")
    }
}

impl Topology {
    /// The servers at these locations, as the options say what they are. Does not connect yet.
    pub(crate) fn new(
        locations: &[Location],
        options: &RedisOptions,
        tls: Option<&Tls>,
    ) -> Result<Self> {
        let limits =
            Limits { connect: options.socket_connect_timeout, answer: options.socket_timeout };
        let maker = |login| Maker {
            login,
            tls: tls.cloned(),
            limits,
            keepalive: options.socket_keepalive,
            client_name: options.client_name.clone(),
            must_lead: options.sentinel.is_some(),
        };
        let db = locations.first().and_then(|first| first.db).or(options.db).unwrap_or(0);
        if options.cluster && db != 0 {
            return Err(invalid_setting(
                &option("db"),
                &db.to_string(),
                "0 or none, as a cluster has one database",
            ));
        }
        if let Some(name) = &options.sentinel {
            let login = login(&options.sentinel_username, &options.sentinel_password, 0);
            let asking = Maker { must_lead: false, ..maker(login) };
            let sentinels: Vec<_> =
                locations.iter().map(|location| asking.node(location.address.clone())).collect();
            let to_leader = maker(login_of(&locations[0], options));
            return Ok(Self::Sentinel(Arc::new(Sentinel::new(name, sentinels, to_leader))));
        }
        let nodes = locations
            .iter()
            .map(|location| maker(login_of(location, options)).node(location.address.clone()));
        if options.cluster {
            let maker = maker(login_of(&locations[0], options));
            return Ok(Self::Cluster(Arc::new(Cluster::new(nodes.collect(), maker))));
        }
        Ok(Self::Leader(Leader::new(nodes.collect())))
    }

    /// The answer to a command about this key.
    pub(crate) async fn ask(
        &self,
        key: &[u8],
        command: &Cmd,
        access: Access,
    ) -> Result<Value, Failure> {
        match self {
            Self::Leader(leader) => leader.ask(command, access).await,
            Self::Sentinel(sentinel) => sentinel.ask(command, access.effect()).await,
            Self::Cluster(cluster) => cluster.ask(key, command, access.effect()).await,
        }
    }

    /// The answers to many commands, each about its key: one round trip to each server that has any of them.
    pub(crate) async fn ask_all(
        &self,
        asked: Vec<(&[u8], Cmd)>,
        access: Access,
    ) -> Result<Vec<Value>, Failure> {
        match self {
            Self::Leader(leader) => leader.ask(&pipeline(asked), access).await,
            Self::Sentinel(sentinel) => sentinel.ask(&pipeline(asked), access.effect()).await,
            Self::Cluster(cluster) => cluster.ask_all(&asked, access.effect()).await,
        }
    }

    /// Whether one server has all keys, so that one command may name many.
    pub(crate) fn is_undivided(&self) -> bool {
        !matches!(self, Self::Cluster(_))
    }

    /// The servers that have the keys, among them.
    pub(crate) async fn leaders(&self) -> Result<Vec<Arc<Node>>, Failure> {
        match self {
            Self::Leader(leader) => Ok(vec![leader.leader()]),
            Self::Sentinel(sentinel) => sentinel.leaders().await,
            Self::Cluster(cluster) => cluster.leaders().await,
        }
    }

    /// All servers that are asked for entries.
    pub(crate) async fn servers(&self) -> Result<Vec<Arc<Node>>, Failure> {
        match self {
            Self::Leader(leader) => Ok(leader.servers()),
            _ => self.leaders().await,
        }
    }

    /// Lets go of all connections. Who waits for an answer still gets it.
    pub(crate) fn close(&self) {
        self.known().iter().for_each(|node| node.close());
    }

    /// Closes all connections at once, as what comes on one of them can't be believed.
    pub(crate) fn cut(&self) {
        self.known().iter().for_each(|node| node.cut());
    }

    /// The addresses of the servers, for errors that may be any one's.
    pub(crate) fn shown(&self) -> String {
        let known = self.known();
        known.iter().map(|node| &**node.shown()).collect::<Vec<_>>().join(", ")
    }

    fn known(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Leader(leader) => leader.servers(),
            Self::Sentinel(sentinel) => sentinel.known(),
            Self::Cluster(cluster) => cluster.known(),
        }
    }
}

fn pipeline(asked: Vec<(&[u8], Cmd)>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(asked.len());
    for (_, command) in asked {
        pipeline.add_command(command);
    }
    pipeline
}

fn login_of(location: &Location, options: &RedisOptions) -> RedisConnectionInfo {
    let username = location.username.clone().or_else(|| options.username.clone());
    let password = location.password.clone().or_else(|| options.password.clone());
    login(&username, &password, location.db.or(options.db).unwrap_or(0))
}

fn login(username: &Option<String>, password: &Option<String>, db: u32) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default()
        .set_db(db.into())
        .set_lib_name("cachette", env!("CARGO_PKG_VERSION"));
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    login
}
