//! Batches of keys.

use std::{borrow::Cow, time::Duration};

use cache_core::{ErrorKind, RejectedEntries, Result, Value};
use redis::Value as Reply;

use super::{READ, RedisCache, WRITE, WRITE_ONCE, get, set};
use crate::{failure::Failure, topology::Access, value};

/// How many keys are sent in one round trip, so that a batch does not block a server for long.
const MAX_BATCH_KEYS: usize = 5000;
/// How many bytes of values are sent in one round trip.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// SET commands that are sent in one round trip, with the positions of their entries.
#[derive(Default)]
struct Batch<'a> {
    commands: Vec<(&'a [u8], redis::Cmd)>,
    positions: Vec<usize>,
    /// The size of the values in bytes.
    size: usize,
}

impl RedisCache {
    pub(super) async fn read_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(MAX_BATCH_KEYS) {
            let replies = self.mget(&self.keys(keys)).await.map_err(Failure::into_error)?;
            if replies.len() != keys.len() {
                return Err(self.unexpected_reply(&Reply::Array(replies)));
            }
            for reply in replies {
                values.push(self.expect_bytes(reply)?.and_then(value::decode));
            }
        }
        Ok(values)
    }

    async fn mget(&self, keys: &[Cow<'_, str>]) -> Result<Vec<Reply>, Failure> {
        let topology = &self.servers.topology;
        if !topology.is_single_shard() {
            let commands = keys.iter().map(|key| (key.as_bytes(), get(key))).collect();
            return topology.execute_all(commands, READ).await;
        }
        let mut command = redis::cmd("MGET");
        command.arg(as_bytes(keys));
        match topology.execute(&[], &command, READ).await? {
            Reply::Array(replies) => Ok(replies),
            other => Ok(vec![other]),
        }
    }

    pub(super) async fn write_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let keys = self.keys(&keys);
        let mut rejected = RejectedEntries::default();
        let mut batch = Batch::default();
        for (position, (key, (_, value))) in keys.iter().zip(entries).enumerate() {
            let encoded = match self.encode(key, value).await {
                Ok(encoded) => encoded,
                Err(error) if error.kind() == ErrorKind::TooLarge => {
                    // An earlier entry may have the same key, so it must be sent first.
                    self.send_batch(std::mem::take(&mut batch), &mut rejected).await?;
                    self.remove(key).await?;
                    rejected.record(position, Err(error))?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let is_full = batch.size + encoded.size() > MAX_BATCH_BYTES && batch.size > 0;
            if batch.commands.len() == MAX_BATCH_KEYS || is_full {
                self.send_batch(std::mem::take(&mut batch), &mut rejected).await?;
            }
            batch.size += encoded.size();
            batch.positions.push(position);
            batch.commands.push((key.as_bytes(), set(key, &encoded, ttl)));
        }
        self.send_batch(batch, &mut rejected).await?;
        rejected.into_positions(entries.len())
    }

    /// Sends SET commands, possibly none.
    async fn send_batch(&self, batch: Batch<'_>, rejected: &mut RejectedEntries) -> Result<()> {
        if batch.commands.is_empty() {
            return Ok(());
        }
        let replies = self.servers.topology.execute_all(batch.commands, WRITE).await;
        let replies = replies.map_err(Failure::into_error)?;
        let mut outcomes = batch.positions.into_iter().zip(&replies);
        outcomes
            .try_for_each(|(position, reply)| rejected.record(position, self.expect_okay(reply)))
    }

    pub(super) async fn remove_many(&self, keys: &[&str]) -> Result<usize> {
        let mut removed = 0;
        for keys in keys.chunks(MAX_BATCH_KEYS) {
            let keys = self.keys(keys);
            removed += self.unlink(&as_bytes(&keys), WRITE_ONCE).await?;
        }
        Ok(usize::try_from(removed).unwrap_or(0))
    }

    /// Removes keys, given as the server stores them, possibly none, and counts those that existed.
    pub(super) async fn unlink(&self, keys: &[&[u8]], access: Access) -> Result<i64> {
        let unlink = |keys: &[&[u8]]| {
            let mut command = redis::cmd("UNLINK");
            command.arg(keys);
            command
        };
        if keys.is_empty() {
            return Ok(0);
        }
        let topology = &self.servers.topology;
        if topology.is_single_shard() {
            let reply = topology.execute(&[], &unlink(keys), access).await;
            return self.expect_integer(reply.map_err(Failure::into_error)?);
        }
        let commands = keys.chunks(1).map(|key| (key[0], unlink(key))).collect();
        let replies = topology.execute_all(commands, access).await.map_err(Failure::into_error)?;
        replies.into_iter().map(|reply| self.expect_integer(reply)).sum()
    }

    fn keys<'a>(&self, keys: &[&'a str]) -> Vec<Cow<'a, str>> {
        keys.iter().map(|key| self.keyspace.key(key)).collect()
    }
}

fn as_bytes<'a>(keys: &'a [Cow<'_, str>]) -> Vec<&'a [u8]> {
    keys.iter().map(|key| key.as_bytes()).collect()
}
