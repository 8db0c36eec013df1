//! What a server tells of itself.

use std::{collections::HashMap, sync::Arc};

use redis::Value;

use crate::{
    failure::{Failure, Fault},
    node::{Effect, Node},
};

/// What an operator wants to see, of all that INFO tells. `redis_version` is what Valkey calls the one it is compatible with.
const TOLD: [&str; 10] = [
    "role",
    "redis_version",
    "valkey_version",
    "used_memory",
    "maxmemory",
    "maxmemory_policy",
    "connected_clients",
    "keyspace_hits",
    "keyspace_misses",
    "evicted_keys",
];

/// What the server tells, by names that begin with its address. One that is away tells that.
pub(crate) async fn details(node: &Arc<Node>) -> Vec<(String, String)> {
    let named = |name: &str, value: String| (format!("{} {name}", node.shown()), value);
    match info(node).await {
        Ok(info) => TOLD
            .iter()
            .filter_map(|name| info.get(*name).map(|value| named(name, value.clone())))
            .collect(),
        Err(failure) => vec![named("state", failure.told().to_string())],
    }
}

async fn info(node: &Arc<Node>) -> Result<HashMap<String, String>, Failure> {
    let answer =
        node.ask_well(&redis::cmd("INFO"), Effect::Idempotent, node.limits().deadline()).await?;
    let text = match answer {
        Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text,
        _ => {
            return Err(Failure::new(
                Fault::Refused,
                node.shown(),
                "its answer to INFO does not read",
            ));
        }
    };
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    Ok(pairs.map(|(name, value)| (name.into(), value.trim().into())).collect())
}

/// How many keys there are in the database, whosoever they are.
pub(crate) async fn size(node: &Arc<Node>) -> Result<u64, Failure> {
    let answer =
        node.ask_well(&redis::cmd("DBSIZE"), Effect::Idempotent, node.limits().deadline()).await?;
    match answer {
        Value::Int(size) => Ok(u64::try_from(size).unwrap_or(0)),
        _ => Err(Failure::new(Fault::Refused, node.shown(), "its answer to DBSIZE does not read")),
    }
}
