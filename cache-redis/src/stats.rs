//! Statistics that a server reports about itself.

use std::{collections::HashMap, sync::Arc};

use cache_core::Stats;
use redis::Value;

use crate::{
    failure::{Failure, Fault},
    node::{Effect, Node},
};

/// The fields of INFO that are reported. On Valkey, `redis_version` is the version of Redis that it
/// is compatible with.
const FIELDS: [&str; 10] = [
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

/// Adds the numbers of a server, and its fields as details named `<address> <field>`.
pub(crate) async fn add(stats: &mut Stats, node: &Arc<Node>) {
    let info = match info(node).await {
        Ok(info) => info,
        Err(failure) => {
            let error = failure.into_error().to_string();
            stats.details.push((format!("{} state", node.name()), error.clone()));
            stats.unreachable.push((node.name().to_string(), error));
            return;
        }
    };
    let number = |field: &str| info.get(field).and_then(|value| value.parse::<u64>().ok());
    let is_primary = info.get("role").is_none_or(|role| role != "slave");
    for (sum, more) in [
        (&mut stats.bytes, number("used_memory").filter(|_| is_primary)),
        (&mut stats.hits, number("keyspace_hits")),
        (&mut stats.misses, number("keyspace_misses")),
        (&mut stats.evictions, number("evicted_keys")),
        (&mut stats.expirations, number("expired_keys")),
    ] {
        *sum = more.map(|more| sum.unwrap_or(0) + more).or(*sum);
    }
    let named =
        |field: &&str| Some((format!("{} {field}", node.name()), info.get(*field)?.clone()));
    stats.details.extend(FIELDS.iter().filter_map(named));
}

pub(crate) async fn info(node: &Arc<Node>) -> Result<HashMap<String, String>, Failure> {
    let deadline = node.timeouts().deadline();
    let text = match node.execute(&redis::cmd("INFO"), Effect::Idempotent, deadline).await? {
        Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text,
        _ => return Err(Failure::new(Fault::Rejected, node.name(), "unexpected reply to INFO")),
    };
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    Ok(pairs.map(|(name, value)| (name.into(), value.trim().into())).collect())
}

/// Counts the keys in the database, including those of others.
pub(crate) async fn size(node: &Arc<Node>) -> Result<u64, Failure> {
    let deadline = node.timeouts().deadline();
    match node.execute(&redis::cmd("DBSIZE"), Effect::Idempotent, deadline).await? {
        Value::Int(size) => Ok(u64::try_from(size).unwrap_or(0)),
        _ => Err(Failure::new(Fault::Rejected, node.name(), "unexpected reply to DBSIZE")),
    }
}
