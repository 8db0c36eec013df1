//! A primary that sentinels name, and that may change.

use std::sync::Arc;

use parking_lot::RwLock;
use redis::Value;
use tokio::time::{Instant, timeout_at};

use super::{NodeFactory, names};
use crate::{
    connection::Request,
    failure::{Failure, Fault},
    location::Address,
    node::{Effect, Node},
};

/// The primary as the sentinels name it. A connection to it is used only if the server itself
/// reports that it is a primary.
#[derive(Debug)]
pub(crate) struct Sentinel {
    name: String,
    sentinels: Vec<Arc<Node>>,
    factory: NodeFactory,
    primary: RwLock<Option<Arc<Node>>>,
    /// Held during a lookup, so that concurrent callers share one.
    lookup: tokio::sync::Mutex<()>,
}

impl Sentinel {
    pub(super) fn new(name: &str, sentinels: Vec<Arc<Node>>, factory: NodeFactory) -> Self {
        let (primary, lookup) = (RwLock::default(), tokio::sync::Mutex::default());
        Self { name: name.into(), sentinels, factory, primary, lookup }
    }

    pub(super) fn known_nodes(&self) -> Vec<Arc<Node>> {
        self.sentinels.iter().cloned().chain(self.primary.read().clone()).collect()
    }

    pub(super) async fn primaries(&self) -> Result<Vec<Arc<Node>>, Failure> {
        Ok(vec![self.primary(None, self.factory.timeouts.deadline()).await?])
    }

    /// The current primary, and the deadline of a call that begins now.
    pub(super) async fn node(&self) -> Result<(Arc<Node>, Instant), Failure> {
        let deadline = self.factory.timeouts.deadline();
        Ok((self.primary(None, deadline).await?, deadline))
    }

    pub(super) async fn execute<R: Request>(
        &self,
        request: &R,
        effect: Effect,
    ) -> Result<R::Reply, Failure> {
        let deadline = self.factory.timeouts.deadline();
        let primary = self.primary(None, deadline).await?;
        let failure = match primary.execute(request, effect, deadline).await {
            Ok(reply) => return Ok(reply),
            Err(failure) => failure,
        };
        match failure.fault {
            Fault::Unreachable | Fault::NotPrimary | Fault::NotAuthenticated => {}
            Fault::ConnectionLost if effect == Effect::Idempotent => {}
            Fault::ConnectionLost | Fault::TimedOut => {
                self.forget(&primary);
                return Err(failure);
            }
            _ => return Err(failure),
        }
        match self.primary(Some(&primary), deadline).await {
            Ok(other) if !Arc::ptr_eq(&other, &primary) => {
                other.execute(request, effect, deadline).await
            }
            _ => Err(failure),
        }
    }

    /// Forgets the primary if it is still this one, so that the next call asks the sentinels.
    fn forget(&self, primary: &Arc<Node>) {
        let mut current = self.primary.write();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, primary)) {
            current.take();
        }
    }

    /// The current primary. Asks the sentinels if none is known, or only `failed`.
    async fn primary(
        &self,
        failed: Option<&Arc<Node>>,
        deadline: Instant,
    ) -> Result<Arc<Node>, Failure> {
        let known = || {
            let current = self.primary.read().clone();
            current.filter(|primary| failed.is_none_or(|failed| !Arc::ptr_eq(primary, failed)))
        };
        if let Some(primary) = known() {
            return Ok(primary);
        }
        let Ok(_lookup) = timeout_at(deadline, self.lookup.lock()).await else {
            return Err(self.unreachable("no sentinel replied in time"));
        };
        // Another caller may have finished a lookup in the meantime.
        if let Some(primary) = known() {
            return Ok(primary);
        }
        let address = self.look_up(deadline).await?;
        let mut current = self.primary.write();
        let same = current.as_ref().or(failed).filter(|node| node.target().address == address);
        let primary = match same {
            Some(same) => Arc::clone(same),
            None => self.factory.node(address),
        };
        *current = Some(Arc::clone(&primary));
        Ok(primary)
    }

    /// Gets the primary's address from the first sentinel that knows it. Each sentinel gets an
    /// equal share of the remaining time, so that one that hangs does not use it up.
    async fn look_up(&self, deadline: Instant) -> Result<Address, Failure> {
        let uses_tls =
            |node: &Arc<Node>| matches!(node.target().address, Address::Tcp { tls: true, .. });
        let tls = self.sentinels.iter().any(uses_tls);
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let message = format!("no sentinel knows a primary named {:?}", self.name);
        let mut failure = self.unreachable(&message);
        // Sentinels that replied before come first.
        let (connected, others): (Vec<_>, Vec<_>) =
            self.sentinels.iter().partition(|node| node.is_connected());
        for (asked, sentinel) in connected.into_iter().chain(others).enumerate() {
            let left = u32::try_from(self.sentinels.len() - asked).unwrap_or(u32::MAX);
            let limit = Instant::now() + deadline.saturating_duration_since(Instant::now()) / left;
            match sentinel.execute(&command, Effect::Idempotent, limit).await {
                Ok(Value::Array(parts)) => match host_and_port(&parts) {
                    Some((host, port)) => return Ok(Address::Tcp { host, port, tls }),
                    None => tracing::warn!(?sentinel, "unexpected reply of a sentinel"),
                },
                Ok(_) => tracing::warn!(
                    ?sentinel,
                    name = self.name,
                    "sentinel does not know a primary of this name"
                ),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn unreachable(&self, message: &str) -> Failure {
        Failure::new(Fault::Unreachable, &names(&self.sentinels).into(), message)
    }
}

fn host_and_port(reply: &[Value]) -> Option<(String, u16)> {
    let [Value::BulkString(host), Value::BulkString(port)] = reply else { return None };
    let port = String::from_utf8_lossy(port).parse().ok()?;
    Some((String::from_utf8_lossy(host).into_owned(), port))
}
