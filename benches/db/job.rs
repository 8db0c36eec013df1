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
            Self::SetMany => &[(1.2, SQLX_NO_PING), (1.2, SQLX_ONE), (0.12, DISKCACHE), (0.02, DJANGO)],
        }
    }

    /// Why the target against this one is missed, where it is.
    pub(crate) fn why(self, peer: &str) -> Option<&'static str> {
        match (self, peer) {
            (Self::SetMany, DISKCACHE | DJANGO) => Some(
                "a hundred new keys in no order lead to some hundred pages, which SQLite writes whoever asks it to: \
                 see what rusqlite takes, which is the limit.",
            ),
            (_, SQLX_ONE) => Some(
                "a pool and three timeouts are more than one connection; and passes of one and the same candidate differ by \
                 what ran before them.",
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
