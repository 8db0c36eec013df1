//! Going through the keys of a cache, in steps that no server notices.

use std::sync::Arc;

use redis::Value;

use crate::{
    failure::{Failure, Fault},
    node::{Effect, Node},
    room::{Room, pattern},
};

/// How many keys a server looks at in a step.
const STEP: usize = 1000;

/// A walk through the keys of one server that begin with a prefix.
pub(crate) struct Scan<'a> {
    node: &'a Arc<Node>,
    prefix: &'a str,
    pattern: String,
    exceptions: Vec<String>,
    cursor: Option<Vec<u8>>,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(node: &'a Arc<Node>, room: &Room, prefix: &'a str) -> Self {
        let exceptions = room.exceptions(prefix);
        Self { node, prefix, pattern: pattern(prefix), exceptions, cursor: Some(b"0".to_vec()) }
    }

    /// The keys of the next step, perhaps none, until there is none to come. What is there all the time is met at least
    /// once.
    pub(crate) async fn step(&mut self) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        let Some(cursor) = self.cursor.take() else { return Ok(None) };
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(STEP);
        let answer =
            self.node.ask_well(&command, Effect::Idempotent, self.node.limits().deadline()).await?;
        let unreadable =
            || Failure::new(Fault::Refused, self.node.shown(), "its answer to SCAN does not read");
        let (cursor, mut keys) = read(answer).ok_or_else(unreadable)?;
        self.cursor = (cursor != b"0").then_some(cursor);
        keys.retain(|key| self.is_ours(key));
        Ok(Some(keys))
    }

    fn is_ours(&self, key: &[u8]) -> bool {
        key.starts_with(self.prefix.as_bytes())
            && !self.exceptions.iter().any(|exception| key.starts_with(exception.as_bytes()))
    }

    /// Counts them.
    pub(crate) async fn count(mut self) -> Result<u64, Failure> {
        let mut count = 0;
        while let Some(keys) = self.step().await? {
            count += keys.len() as u64;
        }
        Ok(count)
    }
}

fn read(answer: Value) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let Value::Array(parts) = answer else { return None };
    let Ok([Value::BulkString(cursor), Value::Array(keys)]) = <[Value; 2]>::try_from(parts) else {
        return None;
    };
    let keys = keys.into_iter().map(|key| match key {
        Value::BulkString(key) => Some(key),
        _ => None,
    });
    Some((cursor, keys.collect::<Option<_>>()?))
}
