//! Many keys at once.

use std::{borrow::Cow, time::Duration};

use cache_core::{ErrorKind, Result, Value};
use redis::Value as Answer;

use super::{READ, RedisCache, WRITE, WRITE_ONCE, get, set};
use crate::{
    failure::Failure,
    topology::Access,
    value::{self, Stored},
};

/// As many keys go in one round trip, so that a server is not kept busy for longer than others like to wait.
const KEYS: usize = 5000;
/// As many bytes of values go in one round trip.
const BYTES: usize = 4 << 20;

impl RedisCache {
    pub(super) async fn read_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS) {
            let answers = self.answers_to(&self.keys(keys)).await.map_err(Failure::told)?;
            if answers.len() != keys.len() {
                return Err(self.unexpected(&Answer::Array(answers)));
            }
            for answer in answers {
                values.push(self.bytes(answer)?.map(value::read));
            }
        }
        Ok(values)
    }

    async fn answers_to(&self, keys: &[Cow<'_, str>]) -> Result<Vec<Answer>, Failure> {
        if !self.servers.topology.is_undivided() {
            let asked = keys.iter().map(|key| (key.as_bytes(), get(key))).collect();
            return self.servers.topology.ask_all(asked, READ).await;
        }
        let mut command = redis::cmd("MGET");
        command.arg(bytes_of(keys));
        match self.servers.topology.ask(&[], &command, READ).await? {
            Answer::Array(answers) => Ok(answers),
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
        let (mut refused, mut sent, mut size) =
            (Vec::new(), Vec::with_capacity(entries.len().min(KEYS)), 0);
        for (position, (key, (_, value))) in keys.iter().zip(entries).enumerate() {
            let stored = match Stored::of(key, value) {
                Ok(stored) => stored,
                Err(error) if error.kind() == ErrorKind::TooLarge => {
                    // After those before it: one of them may have the same key.
                    self.send(std::mem::take(&mut sent)).await?;
                    size = 0;
                    self.remove(key).await?;
                    refused.push(position);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if sent.len() == KEYS || (size + stored.size() > BYTES && !sent.is_empty()) {
                self.send(std::mem::take(&mut sent)).await?;
                size = 0;
            }
            size += stored.size();
            sent.push((key.as_bytes(), set(key, &stored, ttl)));
        }
        self.send(sent).await?;
        Ok(refused)
    }

    /// Perhaps none.
    async fn send(&self, sent: Vec<(&[u8], redis::Cmd)>) -> Result<()> {
        if sent.is_empty() {
            return Ok(());
        }
        let answers = self.servers.topology.ask_all(sent, WRITE).await.map_err(Failure::told)?;
        answers.iter().try_for_each(|answer| self.done(answer))
    }

    pub(super) async fn remove_many(&self, keys: &[&str]) -> Result<usize> {
        let mut removed = 0;
        for keys in keys.chunks(KEYS) {
            let keys = self.keys(keys);
            removed += self.remove_some(&bytes_of(&keys), WRITE_ONCE).await?;
        }
        Ok(usize::try_from(removed).unwrap_or(0))
    }

    /// Of keys as the server has them, perhaps none.
    pub(super) async fn remove_some(&self, keys: &[&[u8]], access: Access) -> Result<i64> {
        let unlink = |keys: &[&[u8]]| {
            let mut command = redis::cmd("UNLINK");
            command.arg(keys);
            command
        };
        if keys.is_empty() {
            return Ok(0);
        }
        if self.servers.topology.is_undivided() {
            return self.number(
                self.servers
                    .topology
                    .ask(&[], &unlink(keys), access)
                    .await
                    .map_err(Failure::told)?,
            );
        }
        let asked = keys.chunks(1).map(|key| (key[0], unlink(key))).collect();
        let answers = self.servers.topology.ask_all(asked, access).await.map_err(Failure::told)?;
        answers.into_iter().map(|answer| self.number(answer)).sum()
    }

    fn keys<'a>(&self, keys: &[&'a str]) -> Vec<Cow<'a, str>> {
        keys.iter().map(|key| self.room.key(key)).collect()
    }
}

fn bytes_of<'a>(keys: &'a [Cow<'_, str>]) -> Vec<&'a [u8]> {
    keys.iter().map(|key| key.as_bytes()).collect()
}
