//! What is done, and what SPEED demands of it.

use std::sync::Arc;

use crate::{
    DISKCACHE, DJANGO, SQLX_NO_PING, SQLX_ONE,
    candidate::{BATCH, Candidate},
};

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    Get,
    Set,
    GetMany,
    SetMany,
}

impl Job {
    pub(crate) const ALL: [Self; 4] = [Self::Get, Self::Set, Self::GetMany, Self::SetMany];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set of a new key",
            Self::GetMany => "get_many of 100",
            Self::SetMany => "set_many of 100 new keys",
        }
    }

    /// As `python/peers.py` names it.
    pub(crate) fn in_python(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::GetMany => "get_many",
            Self::SetMany => "set_many",
        }
    }

    /// How many operations a full pass has.
    pub(crate) fn operations(self) -> usize {
        match self {
            Self::Get => 1000,
            Self::Set => 500,
            Self::GetMany => 200,
            Self::SetMany => 40,
        }
    }

    /// How many keys an operation takes.
    pub(crate) fn keys(self) -> usize {
        match self {
            Self::Get | Self::Set => 1,
            Self::GetMany | Self::SetMany => BATCH,
        }
    }

    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Set | Self::SetMany)
    }

    /// So many times as long as these it may take at most.
    pub(crate) fn targets(self) -> &'static [(f64, &'static str)] {
        match self {
            Self::Get | Self::Set => &[(1.15, SQLX_NO_PING), (1.15, SQLX_ONE)],
            Self::GetMany => &[(1.2, SQLX_NO_PING), (1.2, SQLX_ONE)],
            Self::SetMany => {
                &[(1.2, SQLX_NO_PING), (1.2, SQLX_ONE), (0.12, DISKCACHE), (0.02, DJANGO)]
            }
        }
    }

    /// Why the target against this one is missed, where it is.
    pub(crate) fn why(self, peer: &str) -> Option<&'static str> {
        match (self, peer) {
            (Self::SetMany, DISKCACHE | DJANGO) => Some(
                "the target is from medians of single batches, which leave checkpoints out. Here is the mean: half of rusqlite's at \
                 1,000 rows and three fifths at a million are for a checkpoint's fsyncs, as `synchronous = OFF` shows, whoever asks \
                 for them. The rest are pages, a hundred for a hundred keys in no order among a million, and what sqlx \
                 takes for 300 arguments.",
            ),
            (_, SQLX_ONE) => Some(
                "the pool, the time limits and what all statements share are 5,000 instructions to the 20,000 of one connection's get, \
                 and a limit's timer often wakes the thread that waits for the runtime's events; and passes of one and the same \
                 candidate differ by a fifth.",
            ),
            _ => None,
        }
    }

    pub(crate) async fn run(self, candidate: Arc<dyn Candidate>, keys: &[String]) {
        match self {
            Self::Get => candidate.get(&keys[0]).await,
            Self::Set => candidate.set(&keys[0]).await,
            Self::GetMany => candidate.get_many(&references(keys)).await,
            Self::SetMany => candidate.set_many(&references(keys)).await,
        }
    }
}

fn references(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}
