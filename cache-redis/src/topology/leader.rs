//! One server, and perhaps replicas to read from.

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
    failure::{Failure, Fault},
    link::Ask,
    node::{Effect, Node},
};

/// How long a replica that failed is not asked.
const SET_ASIDE: Duration = Duration::from_secs(1);

/// The first of LOCATION, which is written to, and the others, which are read from in turn.
#[derive(Debug)]
pub(crate) struct Leader {
    leader: Arc<Node>,
    replicas: Vec<Replica>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Replica {
    node: Arc<Node>,
    aside_until: Mutex<Option<Instant>>,
}

impl Replica {
    fn is_aside(&self) -> bool {
        self.aside_until.lock().is_some_and(|until| Instant::now() < until)
    }
}

impl Leader {
    pub(super) fn new(mut nodes: Vec<Arc<Node>>) -> Self {
        let leader = nodes.remove(0);
        let replicas =
            nodes.into_iter().map(|node| Replica { node, aside_until: Mutex::default() }).collect();
        Self { leader, replicas, turn: AtomicUsize::new(0) }
    }

    pub(super) fn leader(&self) -> Arc<Node> {
        Arc::clone(&self.leader)
    }

    pub(super) fn servers(&self) -> Vec<Arc<Node>> {
        [&self.leader]
            .into_iter()
            .chain(self.replicas.iter().map(|replica| &replica.node))
            .cloned()
            .collect()
    }

    pub(super) async fn ask<A: Ask>(&self, ask: &A, access: Access) -> Result<A::Answer, Failure> {
        if access == Access::Read
            && let Some(replica) = self.replica()
            && let Some(answer) = replica.read(ask).await?
        {
            return Ok(answer);
        }
        self.leader.ask_well(ask, access.effect(), self.leader.limits().deadline()).await
    }

    /// The replica whose turn it is, of those that are well.
    fn replica(&self) -> Option<&Replica> {
        if self.replicas.is_empty() {
            return None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut in_turn = (0..self.replicas.len())
            .map(|next| &self.replicas[turn.wrapping_add(next) % self.replicas.len()]);
        in_turn.find(|replica| !replica.is_aside())
    }
}

impl Replica {
    /// What the replica answers; none, where it is away or not ready, so that the leader has to be asked.
    async fn read<A: Ask>(&self, ask: &A) -> Result<Option<A::Answer>, Failure> {
        let failure = match self
            .node
            .ask_well(ask, Effect::Idempotent, self.node.limits().deadline())
            .await
        {
            Ok(answer) => return Ok(Some(answer)),
            Err(failure) => failure,
        };
        match failure.fault {
            Fault::Unreached | Fault::Lost | Fault::Silent | Fault::Busy | Fault::NotLeading => {
                *self.aside_until.lock() = Some(Instant::now() + SET_ASIDE);
                tracing::warn!(error = %failure.told(), "a replica is set aside");
                Ok(None)
            }
            _ => Err(failure),
        }
    }
}
