//! A cluster: its primaries share the slots, and a slot may move to another primary at any time.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::future::join_all;
use parking_lot::RwLock;
use redis::{Cmd, Pipeline, Value};
use tokio::time::{Instant, timeout_at};

use super::{
    NodeFactory, names,
    slots::{SLOTS, SlotRange, parse_ranges, slot_of},
};
use crate::{
    failure::{Failure, Fault, concerns_one_key},
    location::Address,
    node::{Effect, Node},
};

/// How many times a command is redirected before it fails.
const MAX_REDIRECTS: usize = 8;

/// The servers of a cluster, as far as they are known.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The servers in LOCATION.
    seeds: Vec<Arc<Node>>,
    factory: NodeFactory,
    map: RwLock<Option<Arc<SlotMap>>>,
    /// Held while the map is fetched, so that concurrent callers share one fetch.
    refresh: tokio::sync::Mutex<()>,
}

/// The primary of each slot.
#[derive(Debug)]
struct SlotMap {
    nodes: Vec<Arc<Node>>,
    /// For each slot, the index of its primary in `nodes`.
    slots: Vec<Option<u16>>,
}

/// Where a command is sent next.
enum Destination {
    /// To the primary of the key's slot.
    SlotOwner,
    Node(Arc<Node>),
    /// To this node, after ASKING: it is importing the slot and rejects the command otherwise.
    Asking(Arc<Node>),
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Arc<Node>>, factory: NodeFactory) -> Self {
        Self { seeds, factory, map: RwLock::default(), refresh: tokio::sync::Mutex::default() }
    }

    pub(super) fn known_nodes(&self) -> Vec<Arc<Node>> {
        let map = self.map.read().clone();
        self.seeds.iter().chain(map.iter().flat_map(|map| &map.nodes)).cloned().collect()
    }

    pub(super) async fn primaries(self: &Arc<Self>) -> Result<Vec<Arc<Node>>, Failure> {
        let deadline = self.factory.timeouts.deadline();
        // An outdated map could lack a primary, so fetch a new one.
        let known = self.map.read().clone();
        Ok(self.newer_map(known.as_ref(), deadline).await?.nodes.clone())
    }

    pub(super) async fn execute(
        self: &Arc<Self>,
        key: &[u8],
        command: &Cmd,
        effect: Effect,
    ) -> Result<Value, Failure> {
        let deadline = self.factory.timeouts.deadline();
        self.execute_at(Destination::SlotOwner, key, command, effect, deadline).await
    }

    /// The primary of a key's slot, and the deadline of a call that begins now.
    pub(super) async fn node(
        self: &Arc<Self>,
        key: &[u8],
    ) -> Result<(Arc<Node>, Instant), Failure> {
        let deadline = self.factory.timeouts.deadline();
        let map = self.map(deadline).await?;
        let node = map.primary(slot_of(key)).ok_or_else(|| self.uncovered_slot())?;
        Ok((Arc::clone(node), deadline))
    }

    /// Executes a command and follows redirections.
    async fn execute_at(
        self: &Arc<Self>,
        mut destination: Destination,
        key: &[u8],
        command: &Cmd,
        effect: Effect,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let mut redirects = 0;
        loop {
            let map = self.map(deadline).await?;
            let (node, outcome) = match destination {
                Destination::SlotOwner => {
                    let node = map.primary(slot_of(key)).ok_or_else(|| self.uncovered_slot())?;
                    (Arc::clone(node), node.execute(command, effect, deadline).await)
                }
                Destination::Node(node) => {
                    (Arc::clone(&node), node.execute(command, effect, deadline).await)
                }
                Destination::Asking(node) => {
                    (Arc::clone(&node), execute_asking(&node, command, effect, deadline).await)
                }
            };
            let failure = match outcome {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            redirects += 1;
            if redirects > MAX_REDIRECTS {
                return Err(failure);
            }
            destination = self.redirect(failure, &node, &map, key, effect, deadline).await?;
        }
    }

    /// Decides where to send a command that failed. Errors if it must not be sent again.
    async fn redirect(
        self: &Arc<Self>,
        failure: Failure,
        node: &Arc<Node>,
        map: &Arc<SlotMap>,
        key: &[u8],
        effect: Effect,
        deadline: Instant,
    ) -> Result<Destination, Failure> {
        match &failure.fault {
            Fault::Redirected { address, ask } => {
                let Some(address) = parse_address(address, node) else { return Err(failure) };
                let other = map.node(&address).unwrap_or_else(|| self.factory.node(address));
                if *ask {
                    return Ok(Destination::Asking(other));
                }
                self.refresh_in_background(map);
                Ok(Destination::Node(other))
            }
            Fault::Unreachable | Fault::NotPrimary => {
                self.new_primary(failure, node, map, key, deadline).await
            }
            Fault::ConnectionLost if effect == Effect::Idempotent => {
                self.new_primary(failure, node, map, key, deadline).await
            }
            Fault::ConnectionLost | Fault::TimedOut => {
                self.refresh_in_background(map);
                Err(failure)
            }
            _ => Err(failure),
        }
    }

    /// Fetches the map. Errors unless the slot has moved to another primary.
    async fn new_primary(
        self: &Arc<Self>,
        failure: Failure,
        node: &Arc<Node>,
        map: &Arc<SlotMap>,
        key: &[u8],
        deadline: Instant,
    ) -> Result<Destination, Failure> {
        let Ok(newer) = self.newer_map(Some(map), deadline).await else { return Err(failure) };
        match newer.primary(slot_of(key)) {
            Some(other) if !Arc::ptr_eq(other, node) => Ok(Destination::SlotOwner),
            _ => Err(failure),
        }
    }

    /// Sends each server its commands, all servers concurrently. Commands whose slot has moved are
    /// then redirected one by one.
    pub(super) async fn execute_all(
        self: &Arc<Self>,
        commands: &[(&[u8], Cmd)],
        effect: Effect,
    ) -> Result<Vec<Value>, Failure> {
        let deadline = self.factory.timeouts.deadline();
        let map = self.map(deadline).await?;
        let mut batches: HashMap<usize, Vec<usize>> = HashMap::new();
        for (position, (key, _)) in commands.iter().enumerate() {
            let node = map.slots[slot_of(key)].ok_or_else(|| self.uncovered_slot())?;
            batches.entry(node.into()).or_default().push(position);
        }
        let batches = batches.into_iter().map(|(node, positions)| {
            let map = &map;
            async move {
                let node = &map.nodes[node];
                self.execute_batch(commands, positions, node, map, effect, deadline).await
            }
        });
        let mut replies = vec![Value::Nil; commands.len()];
        for batch in join_all(batches).await {
            for (position, reply) in batch? {
                replies[position] = reply;
            }
        }
        Ok(replies)
    }

    /// Executes the commands at these positions on one server, and pairs each reply with its
    /// position.
    async fn execute_batch(
        self: &Arc<Self>,
        commands: &[(&[u8], Cmd)],
        positions: Vec<usize>,
        node: &Arc<Node>,
        map: &Arc<SlotMap>,
        effect: Effect,
        deadline: Instant,
    ) -> Result<Vec<(usize, Value)>, Failure> {
        let mut pipeline = Pipeline::with_capacity(positions.len());
        for position in &positions {
            pipeline.add_command(commands[*position].1.clone());
        }
        let outcomes = match node.send(&pipeline, effect, deadline).await {
            Ok(replies) => replies.into_iter().map(|reply| check_in_batch(reply, node)).collect(),
            Err(failure) => vec![Err(failure); positions.len()],
        };
        let replies = positions.into_iter().zip(outcomes).map(|(position, outcome)| async move {
            let (key, command) = &commands[position];
            let reply = match outcome {
                Ok(reply) => reply,
                Err(failure) => {
                    let next = self.redirect(failure, node, map, key, effect, deadline).await?;
                    self.execute_at(next, key, command, effect, deadline).await?
                }
            };
            Ok((position, reply))
        });
        join_all(replies).await.into_iter().collect()
    }

    /// Fetches the map if there is none.
    async fn map(self: &Arc<Self>, deadline: Instant) -> Result<Arc<SlotMap>, Failure> {
        let known = self.map.read().clone();
        match known {
            Some(map) => Ok(map),
            None => self.newer_map(None, deadline).await,
        }
    }

    fn refresh_in_background(self: &Arc<Self>, old: &Arc<SlotMap>) {
        let (cluster, old) = (Arc::clone(self), Arc::clone(old));
        tokio::spawn(async move {
            let deadline = cluster.factory.timeouts.deadline();
            if let Err(failure) = cluster.newer_map(Some(&old), deadline).await {
                tracing::warn!(error = %failure.into_error(), "cannot refresh the cluster's slots");
            }
        });
    }

    /// Fetches a map unless there is one newer than `old`. Concurrent callers share one fetch.
    async fn newer_map(
        self: &Arc<Self>,
        old: Option<&Arc<SlotMap>>,
        deadline: Instant,
    ) -> Result<Arc<SlotMap>, Failure> {
        let newer = || {
            let known = self.map.read().clone();
            known.filter(|known| old.is_none_or(|old| !Arc::ptr_eq(known, old)))
        };
        let Ok(_refresh) = timeout_at(deadline, self.refresh.lock()).await else {
            return Err(self.unreachable("no server of the cluster replied in time"));
        };
        if let Some(map) = newer() {
            return Ok(map);
        }
        let map = Arc::new(self.fetch_map(old, deadline).await?);
        *self.map.write() = Some(Arc::clone(&map));
        Ok(map)
    }

    /// Fetches the map from the first server that has it, connected servers first. Each server gets
    /// an equal share of the remaining time, so that one that hangs does not use it up.
    async fn fetch_map(
        &self,
        old: Option<&Arc<SlotMap>>,
        deadline: Instant,
    ) -> Result<SlotMap, Failure> {
        let known = old.map(|map| &*map.nodes).unwrap_or_default();
        let (mut nodes, others): (Vec<_>, Vec<_>) =
            known.iter().chain(&self.seeds).cloned().partition(|node| node.is_connected());
        nodes.extend(others);
        let mut seen = HashSet::new();
        nodes.retain(|node| seen.insert(Arc::clone(node.name())));
        let mut failure = self.unreachable("no server of the cluster reported its slots");
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        for (asked, node) in nodes.iter().enumerate() {
            let left = u32::try_from(nodes.len() - asked).unwrap_or(u32::MAX);
            let limit = Instant::now() + deadline.saturating_duration_since(Instant::now()) / left;
            match node.execute(&command, Effect::Idempotent, limit).await {
                Ok(reply) => match parse_ranges(&reply) {
                    Some(ranges) if !ranges.is_empty() => {
                        return Ok(self.build_map(&ranges, node, &nodes));
                    }
                    _ => {
                        let message = "it reported no slots of a cluster";
                        failure = Failure::new(Fault::NotPrimary, node.name(), message);
                    }
                },
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Builds the map from the ranges that `reporter` returned. Known servers keep their
    /// connections.
    fn build_map(
        &self,
        ranges: &[SlotRange],
        reporter: &Arc<Node>,
        known: &[Arc<Node>],
    ) -> SlotMap {
        let mut map = SlotMap { nodes: Vec::new(), slots: vec![None; SLOTS] };
        for range in ranges {
            let Some(address) = address_of(&range.host, range.port, reporter) else { continue };
            let position = |nodes: &[Arc<Node>]| {
                nodes.iter().position(|node| node.target().address == address)
            };
            let index = position(&map.nodes).unwrap_or_else(|| {
                let node = position(known).map(|index| Arc::clone(&known[index]));
                map.nodes.push(node.unwrap_or_else(|| self.factory.node(address.clone())));
                map.nodes.len() - 1
            });
            let index = u16::try_from(index).ok();
            let slots = map.slots.get_mut(range.first..=range.last);
            slots.into_iter().flatten().for_each(|slot| *slot = index);
        }
        map
    }

    fn unreachable(&self, message: &str) -> Failure {
        Failure::new(Fault::Unreachable, &names(&self.seeds).into(), message)
    }

    /// A slot has no primary. Forgets the map, so that the next call fetches it.
    fn uncovered_slot(&self) -> Failure {
        self.map.write().take();
        self.unreachable("no server of the cluster covers the slot of the key")
    }
}

impl SlotMap {
    fn primary(&self, slot: usize) -> Option<&Arc<Node>> {
        self.slots[slot].map(|index| &self.nodes[usize::from(index)])
    }

    fn node(&self, address: &Address) -> Option<Arc<Node>> {
        self.nodes.iter().find(|node| node.target().address == *address).cloned()
    }
}

/// Executes a command on a server that is importing the slot.
async fn execute_asking(
    node: &Arc<Node>,
    command: &Cmd,
    effect: Effect,
    deadline: Instant,
) -> Result<Value, Failure> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("ASKING").add_command(command.clone());
    let mut replies = node.send(&pipeline, effect, deadline).await?;
    check(replies.pop().unwrap_or_default(), node)
}

/// Like [`check`], but leaves errors that concern one key to the caller.
fn check_in_batch(reply: Value, node: &Arc<Node>) -> Result<Value, Failure> {
    match &reply {
        Value::ServerError(error) if concerns_one_key(error) => Ok(reply),
        _ => check(reply, node),
    }
}

/// Converts an error of the server into a failure.
fn check(reply: Value, node: &Arc<Node>) -> Result<Value, Failure> {
    match reply {
        Value::ServerError(error) => Err(Failure::from_server(node.name(), &error)),
        reply => Ok(reply),
    }
}

/// Parses `host:port` as `reporter` writes it.
fn parse_address(text: &str, reporter: &Arc<Node>) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    address_of(host, port.parse().ok()?, reporter)
}

/// The address of a server as `reporter` sees it: an empty host is its own, and TLS is used if it
/// uses TLS.
fn address_of(host: &str, port: u16, reporter: &Arc<Node>) -> Option<Address> {
    match &reporter.target().address {
        Address::Tcp { host: same, tls, .. } => {
            let host = if host.is_empty() { same } else { host };
            Some(Address::Tcp { host: host.into(), port, tls: *tls })
        }
        Address::Unix(_) => {
            (!host.is_empty()).then(|| Address::Tcp { host: host.into(), port, tls: false })
        }
    }
}
