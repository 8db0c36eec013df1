//! A server that leads until sentinels say that another one does.

use std::sync::Arc;

use parking_lot::RwLock;
use redis::Value;
use tokio::time::{Instant, timeout_at};

use super::Maker;
use crate::{
    failure::{Failure, Fault},
    link::Ask,
    location::Address,
    node::{Effect, Node},
};

/// What leads, as sentinels say. Its connections are only kept to a server that says itself that it leads.
#[derive(Debug)]
pub(crate) struct Sentinel {
    name: String,
    sentinels: Vec<Arc<Node>>,
    maker: Maker,
    leader: RwLock<Option<Arc<Node>>>,
    asking: tokio::sync::Mutex<()>,
}

impl Sentinel {
    pub(super) fn new(name: &str, sentinels: Vec<Arc<Node>>, maker: Maker) -> Self {
        let (leader, asking) = (RwLock::default(), tokio::sync::Mutex::default());
        Self { name: name.into(), sentinels, maker, leader, asking }
    }

    pub(super) fn known(&self) -> Vec<Arc<Node>> {
        self.sentinels.iter().cloned().chain(self.leader.read().clone()).collect()
    }

    pub(super) async fn leaders(&self) -> Result<Vec<Arc<Node>>, Failure> {
        Ok(vec![self.leader(None, self.maker.limits.deadline()).await?])
    }

    pub(super) async fn ask<A: Ask>(&self, ask: &A, effect: Effect) -> Result<A::Answer, Failure> {
        let deadline = self.maker.limits.deadline();
        let leader = self.leader(None, deadline).await?;
        let failure = match leader.ask_well(ask, effect, deadline).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        match failure.fault {
            Fault::Unreached | Fault::NotLeading => {}
            Fault::Lost if effect == Effect::Idempotent => {}
            Fault::Lost | Fault::Silent => {
                self.forget(&leader);
                return Err(failure);
            }
            _ => return Err(failure),
        }
        match self.leader(Some(&leader), deadline).await {
            Ok(other) if !Arc::ptr_eq(&other, &leader) => {
                other.ask_well(ask, effect, deadline).await
            }
            _ => Err(failure),
        }
    }

    /// Whoever asks next shall ask the sentinels.
    fn forget(&self, leader: &Arc<Node>) {
        let mut current = self.leader.write();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, leader)) {
            current.take();
        }
    }

    /// The leader; where `failed` is the one that is known, the sentinels are asked again.
    async fn leader(
        &self,
        failed: Option<&Arc<Node>>,
        deadline: Instant,
    ) -> Result<Arc<Node>, Failure> {
        let known = || {
            let current = self.leader.read().clone();
            current.filter(|leader| failed.is_none_or(|failed| !Arc::ptr_eq(leader, failed)))
        };
        if let Some(leader) = known() {
            return Ok(leader);
        }
        let Ok(_asking) = timeout_at(deadline, self.asking.lock()).await else {
            return Err(self.unknown("no sentinel answered in time"));
        };
        // Somebody else may have asked meanwhile.
        if let Some(leader) = known() {
            return Ok(leader);
        }
        let address = self.address(deadline).await?;
        let mut current = self.leader.write();
        let leader =
            match current.as_ref().or(failed).filter(|leader| leader.target().address == address) {
                Some(same) => Arc::clone(same),
                None => self.maker.node(address),
            };
        *current = Some(Arc::clone(&leader));
        Ok(leader)
    }

    /// Where the leader is, by the first sentinel that knows. One that fails must not take up all the time.
    async fn address(&self, deadline: Instant) -> Result<Address, Failure> {
        let tls = self
            .sentinels
            .iter()
            .any(|node| matches!(node.target().address, Address::Tcp { tls: true, .. }));
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let mut failure = self.unknown(&format!("no sentinel knows a leader {:?}", self.name));
        // First those that answered before.
        let (connected, others): (Vec<_>, Vec<_>) =
            self.sentinels.iter().partition(|node| node.is_connected());
        for (asked, sentinel) in connected.into_iter().chain(others).enumerate() {
            let left = u32::try_from(self.sentinels.len() - asked).unwrap_or(u32::MAX);
            let limit = Instant::now() + deadline.saturating_duration_since(Instant::now()) / left;
            match sentinel.ask_well(&command, Effect::Idempotent, limit).await {
                Ok(Value::Array(parts)) => match &*parts {
                    [Value::BulkString(host), Value::BulkString(port)] => {
                        let port = String::from_utf8_lossy(port).parse().ok();
                        if let Some(port) = port {
                            let host = String::from_utf8_lossy(host).into_owned();
                            return Ok(Address::Tcp { host, port, tls });
                        }
                    }
                    _ => tracing::warn!(?sentinel, "a sentinel's answer does not read"),
                },
                Ok(_) => tracing::warn!(
                    ?sentinel,
                    name = self.name,
                    "a sentinel knows no leader of this name"
                ),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn unknown(&self, message: &str) -> Failure {
        let all: Vec<&str> = self.sentinels.iter().map(|node| &**node.shown()).collect();
        Failure::new(Fault::Unreached, &all.join(", ").into(), message)
    }
}
