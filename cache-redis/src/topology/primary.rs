//! One primary, and optionally replicas to read from.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Access;
use crate::{
    connection::Request,
    failure::{Failure, Fault},
    node::{Effect, Node},
};

/// How long a replica that failed is marked down.
const DOWN_TIME: Duration = Duration::from_secs(1);

/// The first server of LOCATION, which receives the writes, and the others, which take turns with
/// the reads.
#[derive(Debug)]
pub(crate) struct Primary {
    primary: Arc<Node>,
    replicas: Vec<Replica>,
    next_replica: AtomicUsize,
}

#[derive(Debug)]
struct Replica {
    node: Arc<Node>,
    down_until: Mutex<Option<Instant>>,
}

impl Primary {
    pub(super) fn new(mut nodes: Vec<Arc<Node>>) -> Self {
        let primary = nodes.remove(0);
        let replicas =
            nodes.into_iter().map(|node| Replica { node, down_until: Mutex::default() }).collect();
        Self { primary, replicas, next_replica: AtomicUsize::new(0) }
    }

    pub(super) fn primary(&self) -> Arc<Node> {
        Arc::clone(&self.primary)
    }

    pub(super) fn servers(&self) -> Vec<Arc<Node>> {
        let replicas = self.replicas.iter().map(|replica| &replica.node);
        [&self.primary].into_iter().chain(replicas).cloned().collect()
    }

    pub(super) async fn execute<R: Request>(
        &self,
        request: &R,
        access: Access,
    ) -> Result<R::Reply, Failure> {
        if access == Access::Read
            && let Some(replica) = self.replica()
            && let Some(reply) = replica.read(request).await?
        {
            return Ok(reply);
        }
        let (effect, deadline) = (access.effect(), self.primary.timeouts().deadline());
        match self.primary.execute(request, effect, deadline).await {
            // The address may lead to another server by now. A pipeline of which a part was
            // executed is idempotent: only single commands are not.
            Err(failure) if failure.fault.was_rejected_by_connection() => {
                self.primary.execute(request, effect, deadline).await
            }
            outcome => outcome,
        }
    }

    /// Picks the replica whose turn it is, skipping those that are marked down.
    fn replica(&self) -> Option<&Replica> {
        if self.replicas.is_empty() {
            return None;
        }
        let next = self.next_replica.fetch_add(1, Ordering::Relaxed);
        let mut in_turn = (0..self.replicas.len())
            .map(|offset| &self.replicas[next.wrapping_add(offset) % self.replicas.len()]);
        in_turn.find(|replica| !replica.is_down())
    }
}

impl Replica {
    fn is_down(&self) -> bool {
        self.down_until.lock().is_some_and(|until| Instant::now() < until)
    }

    /// Executes a read. Returns `None` if the replica is unreachable or not ready, so that the
    /// primary must execute it.
    async fn read<R: Request>(&self, request: &R) -> Result<Option<R::Reply>, Failure> {
        let deadline = self.node.timeouts().deadline();
        let failure = match self.node.execute(request, Effect::Idempotent, deadline).await {
            Ok(reply) => return Ok(Some(reply)),
            Err(failure) => failure,
        };
        match failure.fault {
            Fault::Unreachable
            | Fault::ConnectionLost
            | Fault::TimedOut
            | Fault::Busy
            | Fault::BehindProxy
            | Fault::NotPrimary => {
                *self.down_until.lock() = Some(Instant::now() + DOWN_TIME);
                tracing::warn!(error = %failure.into_error(), "replica marked down");
                Ok(None)
            }
            _ => Err(failure),
        }
    }
}
