//! Statistics that a server reports about itself.

use std::{collections::HashMap, sync::Arc};

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

/// Reads the fields of a server, named `<address> <field>`. If it fails, there is one field
/// `state` with the error.
pub(crate) async fn details(node: &Arc<Node>) -> Vec<(String, String)> {
    let named = |field: &str, value: String| (format!("{} {field}", node.name()), value);
    match info(node).await {
        Ok(info) => FIELDS
            .iter()
            .filter_map(|field| info.get(*field).map(|value| named(field, value.clone())))
            .collect(),
        Err(failure) => vec![named("state", failure.into_error().to_string())],
    }
}

async fn info(node: &Arc<Node>) -> Result<HashMap<String, String>, Failure> {
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
