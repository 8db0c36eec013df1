//! Many keys: all servers at once, each in chunks.

use std::{sync::Arc, time::Duration};

use cache_core::{Result, Value};
use futures_util::future::join_all;

use super::{MemcachedCache, check, is_about_size, is_there, unexpected};
use crate::{
    WhenDead,
    expiry::Expiry,
    server::Server,
    wire::{Command, Reply, Status},
};

/// The part of the commands that one server has.
struct Share {
    server: usize,
    positions: Vec<usize>,
}

impl MemcachedCache {
    pub(super) async fn get_each(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        keys.iter().try_for_each(|key| check(key))?;
        let commands: Vec<Command<'_>> = keys.iter().map(|key| Command::Get(key)).collect();
        let mut values = Vec::with_capacity(keys.len());
        for (key, reply) in keys.iter().zip(self.ask_each(&commands).await?) {
            values.push(match reply {
                Some(reply) if is_there(&reply)? => self.read(key, reply),
                _ => None,
            });
        }
        Ok(values)
    }

    pub(super) async fn set_each(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        entries.iter().try_for_each(|(key, _)| check(key))?;
        let expiry = Expiry::of(ttl);
        let mut commands = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let item = self.item(value)?;
            let too_large = self.is_too_large(key, item.length());
            commands.push(if too_large {
                Command::Delete(key)
            } else {
                Command::Set(key, item, expiry)
            });
        }
        let mut refused = Vec::new();
        for (position, reply) in self.ask_each(&commands).await?.into_iter().enumerate() {
            let was_sent = matches!(commands[position], Command::Set(..));
            match reply.map(|reply| reply.status) {
                Some(Status::Done) if was_sent => {}
                Some(Status::Refused(words)) if !is_about_size(&words) => {
                    return Err(unexpected(&Status::Refused(words)));
                }
                _ => refused.push(position),
            }
        }
        Ok(refused)
    }

    pub(super) async fn delete_each(&self, keys: &[&str]) -> Result<usize> {
        keys.iter().try_for_each(|key| check(key))?;
        let commands: Vec<Command<'_>> = keys.iter().map(|key| Command::Delete(key)).collect();
        let mut removed = 0;
        for reply in self.ask_each(&commands).await?.into_iter().flatten() {
            removed += usize::from(is_there(&reply)?);
        }
        Ok(removed)
    }

    /// The reply to each command; `None` where its server is dead and its keys are missed. An error comes after the other
    /// servers have done their part.
    async fn ask_each(&self, commands: &[Command<'_>]) -> Result<Vec<Option<Reply>>> {
        if let [server] = &*self.0.servers {
            return self.ask_each_of_one(server, commands).await;
        }
        let mut replies: Vec<Option<Reply>> = commands.iter().map(|_| None).collect();
        let mut dead = vec![false; self.0.servers.len()];
        let mut shares = self.shares(commands, 0..commands.len(), &dead);
        let mut failed = Ok(());
        while !shares.is_empty() {
            let asking = shares.iter().map(|share| {
                let mine: Vec<&Command<'_>> =
                    share.positions.iter().map(|position| &commands[*position]).collect();
                let server = &self.0.servers[share.server];
                async move { server.ask_all(&mine).await }
            });
            let mut left = Vec::new();
            for (share, (answers, unanswered)) in shares.iter().zip(join_all(asking).await) {
                let rest = &share.positions[answers.len()..];
                for (position, answer) in share.positions.iter().zip(answers) {
                    replies[*position] = Some(answer);
                }
                let Some(unanswered) = unanswered else { continue };
                dead[share.server] = true;
                let others = dead.contains(&false);
                let repeatable = !unanswered.perhaps_done || commands[rest[0]].may_be_repeated();
                match self.0.when_dead {
                    WhenDead::Miss => {}
                    WhenDead::Next if others && repeatable => left.extend_from_slice(rest),
                    WhenDead::Error | WhenDead::Next => failed = failed.and(Err(unanswered.error)),
                }
            }
            shares = self.shares(commands, left, &dead);
        }
        failed.map(|()| replies)
    }

    async fn ask_each_of_one(
        &self,
        server: &Arc<Server>,
        commands: &[Command<'_>],
    ) -> Result<Vec<Option<Reply>>> {
        let (replies, unanswered) = server.ask_all(&commands.iter().collect::<Vec<_>>()).await;
        let mut replies: Vec<Option<Reply>> = replies.into_iter().map(Some).collect();
        match unanswered {
            Some(unanswered) if self.0.when_dead != WhenDead::Miss => return Err(unanswered.error),
            Some(_) => replies.resize_with(commands.len(), || None),
            None => {}
        }
        Ok(replies)
    }

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
                self.0.ring.pick_among(key, |server| !dead[server]).unwrap_or(0)
            } else {
                self.0.ring.pick(key)
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
