//! A cluster: the leaders share the keys among them, and who has which may change at any time.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::future::join_all;
use parking_lot::RwLock;
use redis::{Cmd, Pipeline, Value};
use tokio::time::{Instant, timeout_at};

use super::{
    Maker,
    slots::{Range, SLOTS, ranges, slot_of},
};
use crate::{
    failure::{Failure, Fault},
    location::Address,
    node::{Effect, Node},
};

/// How often a command may be sent on to another server, before something must be wrong with the cluster.
const REDIRECTS: usize = 8;

/// The servers of a cluster, as far as they are known.
#[derive(Debug)]
pub(crate) struct Cluster {
    seeds: Vec<Arc<Node>>,
    maker: Maker,
    map: RwLock<Option<Arc<Map>>>,
    asking: tokio::sync::Mutex<()>,
}

/// Who has which slots.
#[derive(Debug)]
struct Map {
    nodes: Vec<Arc<Node>>,
    /// The place in `nodes` of whoever has the slot of this number.
    slots: Vec<Option<u16>>,
}

/// Where a command is to be sent next.
enum Next {
    Slot,
    Node(Arc<Node>),
    /// To that one, this once: it will only answer when it is told so.
    Once(Arc<Node>),
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Arc<Node>>, maker: Maker) -> Self {
        Self { seeds, maker, map: RwLock::default(), asking: tokio::sync::Mutex::default() }
    }

    pub(super) fn known(&self) -> Vec<Arc<Node>> {
        let map = self.map.read().clone();
        self.seeds.iter().chain(map.iter().flat_map(|map| &map.nodes)).cloned().collect()
    }

    pub(super) async fn leaders(self: &Arc<Self>) -> Result<Vec<Arc<Node>>, Failure> {
        let deadline = self.maker.limits.deadline();
        let known = self.map.read().clone();
        // Nobody may be overlooked.
        Ok(self.map_after(known.as_ref(), deadline).await?.nodes.clone())
    }

    pub(super) async fn ask(
        self: &Arc<Self>,
        key: &[u8],
        command: &Cmd,
        effect: Effect,
    ) -> Result<Value, Failure> {
        self.ask_until(key, command, effect, Next::Slot, self.maker.limits.deadline()).await
    }

    async fn ask_until(
        self: &Arc<Self>,
        key: &[u8],
        command: &Cmd,
        effect: Effect,
        mut next: Next,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let mut redirects = 0;
        loop {
            let map = self.map(deadline).await?;
            let (node, answer) = match next {
                Next::Slot => {
                    let node = map.leader(slot_of(key)).ok_or_else(|| self.not_whole())?;
                    (Arc::clone(node), node.ask_well(command, effect, deadline).await)
                }
                Next::Node(node) => {
                    (Arc::clone(&node), node.ask_well(command, effect, deadline).await)
                }
                Next::Once(node) => {
                    (Arc::clone(&node), ask_once(&node, command, effect, deadline).await)
                }
            };
            let failure = match answer {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            redirects += 1;
            if redirects > REDIRECTS {
                return Err(failure);
            }
            next = self.next(failure, &node, &map, key, effect, deadline).await?;
        }
    }

    /// Where to send a command that failed; the failure, where there is nobody else to send it to.
    async fn next(
        self: &Arc<Self>,
        failure: Failure,
        node: &Arc<Node>,
        map: &Arc<Map>,
        key: &[u8],
        effect: Effect,
        deadline: Instant,
    ) -> Result<Next, Failure> {
        match &failure.fault {
            Fault::Elsewhere { address, once } => {
                let Some(address) = address_at(address, node) else { return Err(failure) };
                let other = map.node(&address).unwrap_or_else(|| self.maker.node(address));
                if *once {
                    return Ok(Next::Once(other));
                }
                self.renew_later(map);
                Ok(Next::Node(other))
            }
            Fault::Unreached | Fault::NotLeading => {
                self.next_leader(failure, node, map, key, deadline).await
            }
            Fault::Lost if effect == Effect::Idempotent => {
                self.next_leader(failure, node, map, key, deadline).await
            }
            Fault::Lost | Fault::Silent => {
                self.renew_later(map);
                Err(failure)
            }
            _ => Err(failure),
        }
    }

    /// Whoever has the slot by now, if it is another one.
    async fn next_leader(
        self: &Arc<Self>,
        failure: Failure,
        node: &Arc<Node>,
        map: &Arc<Map>,
        key: &[u8],
        deadline: Instant,
    ) -> Result<Next, Failure> {
        let Ok(renewed) = self.map_after(Some(map), deadline).await else { return Err(failure) };
        match renewed.leader(slot_of(key)) {
            Some(other) if !Arc::ptr_eq(other, node) => Ok(Next::Slot),
            _ => Err(failure),
        }
    }

    /// To each server, what it has of them, all servers at once. What has moved is then sent on, one by one.
    pub(super) async fn ask_all(
        self: &Arc<Self>,
        asked: &[(&[u8], Cmd)],
        effect: Effect,
    ) -> Result<Vec<Value>, Failure> {
        let deadline = self.maker.limits.deadline();
        let map = self.map(deadline).await?;
        let mut shares: HashMap<usize, Vec<usize>> = HashMap::new();
        for (position, (key, _)) in asked.iter().enumerate() {
            let node = map.slots[slot_of(key)].ok_or_else(|| self.not_whole())?;
            shares.entry(node.into()).or_default().push(position);
        }
        let shares = shares.into_iter().map(|(node, positions)| {
            let map = &map;
            async move {
                self.ask_share(asked, positions, &map.nodes[node], map, effect, deadline).await
            }
        });
        let mut answers = vec![Value::Nil; asked.len()];
        for share in join_all(shares).await {
            for (position, answer) in share? {
                answers[position] = answer;
            }
        }
        Ok(answers)
    }

    async fn ask_share(
        self: &Arc<Self>,
        asked: &[(&[u8], Cmd)],
        positions: Vec<usize>,
        node: &Arc<Node>,
        map: &Arc<Map>,
        effect: Effect,
        deadline: Instant,
    ) -> Result<Vec<(usize, Value)>, Failure> {
        let mut pipeline = Pipeline::with_capacity(positions.len());
        for position in &positions {
            pipeline.add_command(asked[*position].1.clone());
        }
        let answers = match node.ask(&pipeline, effect, deadline).await {
            Ok(answers) => answers.into_iter().map(|answer| judge(answer, node)).collect(),
            Err(failure) => vec![Err(failure); positions.len()],
        };
        let settled = positions.into_iter().zip(answers).map(|(position, answer)| async move {
            let (key, command) = &asked[position];
            let answer = match answer {
                Ok(answer) => answer,
                Err(failure) => {
                    let next = self.next(failure, node, map, key, effect, deadline).await?;
                    self.ask_until(key, command, effect, next, deadline).await?
                }
            };
            Ok((position, answer))
        });
        join_all(settled).await.into_iter().collect()
    }

    /// The map, asked for if there is none.
    async fn map(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Map>, Failure> {
        let known = self.map.read().clone();
        match known {
            Some(map) => Ok(map),
            None => self.map_after(None, deadline).await,
        }
    }

    /// Asks for the map in the background.
    fn renew_later(self: &Arc<Self>, old: &Arc<Map>) {
        let (cluster, old) = (Arc::clone(self), Arc::clone(old));
        tokio::spawn(async move {
            if let Err(failure) =
                cluster.map_after(Some(&old), cluster.maker.limits.deadline()).await
            {
                tracing::warn!(error = %failure.told(), "nobody tells who has which slots of the cluster");
            }
        });
    }

    /// A map that is newer than `old`. One is enough for all who ask for it at once.
    async fn map_after(
        self: &Arc<Self>,
        old: Option<&Arc<Map>>,
        deadline: Instant,
    ) -> Result<Arc<Map>, Failure> {
        let newer = || {
            let known = self.map.read().clone();
            known.filter(|known| old.is_none_or(|old| !Arc::ptr_eq(known, old)))
        };
        let Ok(_asking) = timeout_at(deadline, self.asking.lock()).await else {
            return Err(self.nobody("no server of the cluster answered in time"));
        };
        if let Some(map) = newer() {
            return Ok(map);
        }
        let map = Arc::new(self.ask_for_map(old, deadline).await?);
        *self.map.write() = Some(Arc::clone(&map));
        Ok(map)
    }

    /// First those that are known to answer. One that fails must not take up all the time.
    async fn ask_for_map(&self, old: Option<&Arc<Map>>, deadline: Instant) -> Result<Map, Failure> {
        let known = old.map(|map| &*map.nodes).unwrap_or_default();
        let (mut nodes, others): (Vec<_>, Vec<_>) =
            known.iter().chain(&self.seeds).cloned().partition(|node| node.is_connected());
        nodes.extend(others);
        let mut seen = HashSet::new();
        nodes.retain(|node| seen.insert(Arc::clone(node.shown())));
        let mut failure = self.nobody("no server of the cluster tells who has which slots");
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        for (asked, node) in nodes.iter().enumerate() {
            let left = u32::try_from(nodes.len() - asked).unwrap_or(u32::MAX);
            let limit = Instant::now() + deadline.saturating_duration_since(Instant::now()) / left;
            match node.ask_well(&command, Effect::Idempotent, limit).await {
                Ok(answer) => match ranges(&answer) {
                    Some(ranges) if !ranges.is_empty() => {
                        return Ok(self.read(&ranges, node, &nodes));
                    }
                    _ => {
                        failure = Failure::new(
                            Fault::NotLeading,
                            node.shown(),
                            "it has no cluster's slots",
                        )
                    }
                },
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The map in these ranges, as `asked` told them. Servers that are known keep their connections.
    fn read(&self, ranges: &[Range], asked: &Arc<Node>, known: &[Arc<Node>]) -> Map {
        let mut map = Map { nodes: Vec::new(), slots: vec![None; SLOTS] };
        for range in ranges {
            let Some(address) = address_of(&range.host, range.port, asked) else { continue };
            let known_as = |nodes: &[Arc<Node>]| {
                nodes.iter().position(|node| node.target().address == address)
            };
            let place = known_as(&map.nodes).unwrap_or_else(|| {
                let node = known_as(known).map(|place| Arc::clone(&known[place]));
                map.nodes.push(node.unwrap_or_else(|| self.maker.node(address.clone())));
                map.nodes.len() - 1
            });
            let place = u16::try_from(place).ok();
            map.slots
                .get_mut(range.first..=range.last)
                .into_iter()
                .flatten()
                .for_each(|slot| *slot = place);
        }
        map
    }

    fn nobody(&self, message: &str) -> Failure {
        let all: Vec<&str> = self.seeds.iter().map(|node| &**node.shown()).collect();
        Failure::new(Fault::Unreached, &all.join(", ").into(), message)
    }

    fn not_whole(&self) -> Failure {
        let failure = self.nobody("no server of the cluster has the key's slot");
        // By the next call it may be otherwise.
        self.map.write().take();
        failure
    }
}

impl Map {
    fn leader(&self, slot: usize) -> Option<&Arc<Node>> {
        self.slots[slot].map(|place| &self.nodes[usize::from(place)])
    }

    fn node(&self, address: &Address) -> Option<Arc<Node>> {
        self.nodes.iter().find(|node| node.target().address == *address).cloned()
    }
}

/// Asks a server for a key that is on its way to it.
async fn ask_once(
    node: &Arc<Node>,
    command: &Cmd,
    effect: Effect,
    deadline: Instant,
) -> Result<Value, Failure> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("ASKING").add_command(command.clone());
    let mut answers = node.ask(&pipeline, effect, deadline).await?;
    judge_one(answers.pop().unwrap_or_default(), node)
}

/// As [`judge_one`], but for what concerns this key alone.
fn judge(answer: Value, node: &Arc<Node>) -> Result<Value, Failure> {
    match &answer {
        Value::ServerError(error) if error.code() == "WRONGTYPE" => Ok(answer),
        _ => judge_one(answer, node),
    }
}

fn judge_one(answer: Value, node: &Arc<Node>) -> Result<Value, Failure> {
    match answer {
        Value::ServerError(error) => Err(Failure::said(node.shown(), &error)),
        answer => Ok(answer),
    }
}

/// `host:port` as a server writes it; without a host, it is the one that says it.
fn address_at(text: &str, by: &Arc<Node>) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    address_of(host, port.parse().ok()?, by)
}

fn address_of(host: &str, port: u16, by: &Arc<Node>) -> Option<Address> {
    match &by.target().address {
        Address::Tcp { host: same, tls, .. } => {
            let host = if host.is_empty() { same } else { host };
            Some(Address::Tcp { host: host.into(), port, tls: *tls })
        }
        Address::Unix(_) => {
            (!host.is_empty()).then(|| Address::Tcp { host: host.into(), port, tls: false })
        }
    }
}
