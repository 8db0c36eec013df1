//! Operations on many keys: all servers concurrently, each in chunks.

use std::{sync::Arc, time::Duration};

use cache_core::{RejectedEntries, Result, Value};
use futures_util::future::join_all;

use super::{MemcachedCache, is_found, unexpected, validate_key};
use crate::{
    WhenDead,
    error_line::Meaning,
    expiry::Expiry,
    server::Server,
    wire::{Command, Reply, Status},
};

/// The commands that go to one server, by their positions.
struct Share {
    server: usize,
    positions: Vec<usize>,
}

impl MemcachedCache {
    pub(super) async fn get_values(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        keys.iter().try_for_each(|key| validate_key(key))?;
        let commands: Vec<Command<'_>> = keys.iter().map(|key| Command::Get(key)).collect();
        let replies = self.call_all(&commands).await?;
        let received = replies.iter().flatten().map(|reply| reply.data.len()).sum();
        let mut room = self.decompression_room(received);
        let mut values = Vec::with_capacity(keys.len());
        for (key, reply) in keys.iter().zip(replies) {
            values.push(match reply {
                Some(reply) if is_found(&reply)? => self.decode(key, reply, &mut room),
                _ => None,
            });
        }
        Ok(values)
    }

    /// Returns the positions of the entries that were not stored.
    pub(super) async fn set_values(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        entries.iter().try_for_each(|(key, _)| validate_key(key))?;
        let expiry = Expiry::new(ttl);
        let mut commands = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let item = self.item(value)?;
            let too_large = self.is_too_large(key, item.len());
            commands.push(if too_large {
                Command::Delete(key)
            } else {
                Command::Set(key, item, expiry)
            });
        }
        let mut rejected = RejectedEntries::default();
        for (position, reply) in self.call_all(&commands).await?.into_iter().enumerate() {
            let was_sent = matches!(commands[position], Command::Set(..));
            match reply.map(|reply| reply.status) {
                Some(Status::Done) if was_sent => {}
                Some(status) if Meaning::of(&status).is_some_and(|it| it != Meaning::TooLarge) => {
                    rejected.record(position, Err(unexpected(&status)))?;
                }
                // It is too large, or the server is down and `when_dead` is `miss`.
                _ => rejected.reject(position),
            }
        }
        rejected.into_positions(entries.len())
    }

    pub(super) async fn delete_values(&self, keys: &[&str]) -> Result<usize> {
        keys.iter().try_for_each(|key| validate_key(key))?;
        let commands: Vec<Command<'_>> = keys.iter().map(|key| Command::Delete(key)).collect();
        let mut deleted = 0;
        for reply in self.call_all(&commands).await?.into_iter().flatten() {
            deleted += usize::from(is_found(&reply)?);
        }
        Ok(deleted)
    }

    /// Sends each command to its server. A reply is `None` if the server cannot be reached and
    /// `when_dead` is `miss`. An error is reported after the other servers have executed their
    /// commands.
    async fn call_all(&self, commands: &[Command<'_>]) -> Result<Vec<Option<Reply>>> {
        if let [server] = &*self.0.servers {
            return self.call_single_server(server, commands).await;
        }
        let mut replies: Vec<Option<Reply>> = commands.iter().map(|_| None).collect();
        let mut dead = vec![false; self.0.servers.len()];
        let mut shares = self.shares(commands, 0..commands.len(), &dead);
        let mut outcome = Ok(());
        while !shares.is_empty() {
            let calls = shares.iter().map(|share| {
                let commands: Vec<&Command<'_>> =
                    share.positions.iter().map(|position| &commands[*position]).collect();
                let server = &self.0.servers[share.server];
                async move { server.call_all(&commands).await }
            });
            let mut remaining = Vec::new();
            for (share, (received, failed)) in shares.iter().zip(join_all(calls).await) {
                let unanswered = &share.positions[received.len()..];
                for (position, reply) in share.positions.iter().zip(received) {
                    replies[*position] = Some(reply);
                }
                let Some(failed) = failed else { continue };
                dead[share.server] = true;
                let has_next = dead.contains(&false);
                let is_retryable = !failed.maybe_executed || commands[unanswered[0]].is_retryable();
                match self.0.when_dead {
                    WhenDead::Miss => {}
                    WhenDead::Next if has_next && is_retryable => {
                        remaining.extend_from_slice(unanswered);
                    }
                    WhenDead::Error | WhenDead::Next => outcome = outcome.and(Err(failed.error)),
                }
            }
            shares = self.shares(commands, remaining, &dead);
        }
        outcome.map(|()| replies)
    }

    async fn call_single_server(
        &self,
        server: &Arc<Server>,
        commands: &[Command<'_>],
    ) -> Result<Vec<Option<Reply>>> {
        let (replies, failed) = server.call_all(&commands.iter().collect::<Vec<_>>()).await;
        let mut replies: Vec<Option<Reply>> = replies.into_iter().map(Some).collect();
        match failed {
            Some(failed) if self.0.when_dead != WhenDead::Miss => return Err(failed.error),
            Some(_) => replies.resize_with(commands.len(), || None),
            None => {}
        }
        Ok(replies)
    }

    /// Groups the commands at these positions by the server that holds their key.
    fn shares(
        &self,
        commands: &[Command<'_>],
        positions: impl IntoIterator<Item = usize>,
        dead: &[bool],
    ) -> Vec<Share> {
        let mut shares: Vec<Share> = Vec::new();
        let mut share_of = vec![None; dead.len()];
        for position in positions {
            let key = commands[position].key();
            let server = if dead.contains(&true) {
                self.0.rendezvous.pick_among(key, |server| !dead[server]).unwrap_or(0)
            } else {
                self.0.rendezvous.pick(key)
            };
            let share = *share_of[server].get_or_insert_with(|| {
                shares.push(Share { server, positions: Vec::new() });
                shares.len() - 1
            });
            shares[share].positions.push(position);
        }
        shares
    }
}
