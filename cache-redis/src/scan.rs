//! Iteration over the keys of a cache in steps that are short enough for the server.

use std::sync::Arc;

use redis::Value;

use crate::{
    failure::{Failure, Fault},
    keyspace::{Keyspace, pattern},
    node::{Effect, Node},
};

/// How many keys the server examines in one step.
const STEP: usize = 1000;

/// Iterates over the keys of one server that begin with a prefix.
pub(crate) struct Scan {
    node: Arc<Node>,
    prefix: String,
    pattern: String,
    /// Longer prefixes, whose keys are left out.
    excluded: Vec<String>,
    cursor: Option<Vec<u8>>,
}

impl Scan {
    pub(crate) fn new(node: &Arc<Node>, prefix: &str, excluded: Vec<String>) -> Self {
        Self {
            node: Arc::clone(node),
            prefix: prefix.into(),
            pattern: pattern(prefix),
            excluded,
            cursor: Some(b"0".to_vec()),
        }
    }

    /// Creates a scan of the keys that belong to the cache with this prefix and not to one with a
    /// longer prefix.
    pub(crate) fn of_cache(node: &Arc<Node>, keyspace: &Keyspace, prefix: &str) -> Self {
        Self::new(node, prefix, keyspace.nested_prefixes(prefix))
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Returns the keys of the next step, possibly none, or `None` at the end. A key that exists
    /// during the whole scan is returned at least once.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        let Some(cursor) = self.cursor.take() else { return Ok(None) };
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(STEP);
        let deadline = self.node.timeouts().deadline();
        let reply = self.node.execute(&command, Effect::Idempotent, deadline).await?;
        let invalid =
            || Failure::new(Fault::Rejected, self.node.name(), "unexpected reply to SCAN");
        let (cursor, mut keys) = parse(reply).ok_or_else(invalid)?;
        self.cursor = (cursor != b"0").then_some(cursor);
        keys.retain(|key| self.includes(key));
        Ok(Some(keys))
    }

    fn includes(&self, key: &[u8]) -> bool {
        key.starts_with(self.prefix.as_bytes())
            && !self.excluded.iter().any(|prefix| key.starts_with(prefix.as_bytes()))
    }

    pub(crate) async fn count(mut self) -> Result<u64, Failure> {
        let mut count = 0;
        while let Some(keys) = self.next().await? {
            count += keys.len() as u64;
        }
        Ok(count)
    }
}

/// Extracts the cursor and the keys from a reply to SCAN.
fn parse(reply: Value) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let Value::Array(parts) = reply else { return None };
    let Ok([Value::BulkString(cursor), Value::Array(keys)]) = <[Value; 2]>::try_from(parts) else {
        return None;
    };
    let keys = keys.into_iter().map(|key| match key {
        Value::BulkString(key) => Some(key),
        _ => None,
    });
    Some((cursor, keys.collect::<Option<_>>()?))
}
