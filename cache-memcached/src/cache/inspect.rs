//! Listing keys and finding the place of an entry.

use cache_core::{Error, Inspector, KeyPages, KeyState, ListedKey, Location, Result, async_trait};

use super::{MemcachedCache, in_store, is_found, validate_key};
use crate::{
    WhenDead,
    dump::{Dump, DumpedKey},
    wire::{Command, Reply},
};

#[async_trait]
impl Inspector for MemcachedCache {
    /// Lists the keys by `lru_crawler metadump`, one server after the other.
    ///
    /// A thread of the server writes the list beside its other work, for one client at a time: it
    /// is an error if another client lists for longer than two seconds. It is one as well if the
    /// server was started with `-o no_lru_crawler`, or is a proxy. The server lists an
    /// expired entry for up to a second more, and then not at all. Keys that no longer belong to
    /// their server, because others were added since, are left out.
    ///
    /// If a server cannot be reached, the error is returned after the keys of the others, whatever
    /// [`when_dead`](field@crate::MemcachedOptions::when_dead) is.
    fn keys(&self, prefix: &str) -> Box<dyn KeyPages + '_> {
        Box::new(Pages {
            cache: self,
            prefix: prefix.into(),
            next_server: 0,
            dump: None,
            unreachable: None,
        })
    }

    /// The place is the server that the key belongs to, whether it can be reached or not.
    async fn locate(&self, key: &str, side: &str) -> Result<Location> {
        self.locate_entry(key, side).await.map_err(in_store)
    }
}

impl MemcachedCache {
    async fn locate_entry(&self, key: &str, side: &str) -> Result<Location> {
        validate_key(key)?;
        let server = self.0.servers[self.0.rendezvous.pick(key)].name().to_owned();
        let found = self.found(key).await?;
        let is_stub = found.as_ref().is_some_and(Reply::is_stub);
        let is_side_held = match validate_key(side) {
            Ok(()) => self.found(side).await?.is_some_and(|side| side.is_stub()),
            // No lease has such a key.
            Err(_) => false,
        };
        Ok(Location {
            place: vec![("server".into(), server)],
            size: found.filter(|_| !is_stub).and_then(|reply| reply.size).map(|size| size as u64),
            is_leased: Some(is_stub || is_side_held),
        })
    }

    async fn found(&self, key: &str) -> Result<Option<Reply>> {
        match self.call(&Command::Peek(key)).await? {
            Some(reply) if is_found(&reply)? => Ok(Some(reply)),
            _ => Ok(None),
        }
    }
}

/// The keys of all servers.
struct Pages<'a> {
    cache: &'a MemcachedCache,
    prefix: String,
    next_server: usize,
    dump: Option<Dump>,
    /// The error of the first server that cannot be reached, to be returned after the keys of the
    /// others.
    unreachable: Option<Error>,
}

#[async_trait]
impl KeyPages for Pages<'_> {
    async fn next_page(&mut self) -> Result<Option<Vec<ListedKey>>> {
        self.next().await.map_err(in_store)
    }
}

impl Pages<'_> {
    async fn next(&mut self) -> Result<Option<Vec<ListedKey>>> {
        loop {
            if let Some(dump) = &mut self.dump {
                let server = self.next_server - 1;
                if let Some(keys) = self.cache.0.servers[server].dumped(dump).await? {
                    let keys = keys.into_iter().filter(|key| self.includes(server, &key.key));
                    return self.listed(server, keys.collect()).await.map(Some);
                }
            }
            let Some(server) = self.cache.0.servers.get(self.next_server) else {
                return self.unreachable.take().map_or(Ok(None), Err);
            };
            self.next_server += 1;
            self.dump = server.dump().await.map_or_else(
                |error| {
                    self.unreachable.get_or_insert(error);
                    None
                },
                Some,
            );
        }
    }

    fn includes(&self, server: usize, key: &str) -> bool {
        let cache = &self.cache.0;
        key.starts_with(&*self.prefix)
            && (cache.when_dead == WhenDead::Next || cache.rendezvous.pick(key) == server)
    }

    /// Finds out which keys are stubs.
    async fn listed(&self, server: usize, keys: Vec<DumpedKey>) -> Result<Vec<ListedKey>> {
        let is_candidate = |key: &&DumpedKey| key.may_be_stub() && validate_key(&key.key).is_ok();
        let candidates: Vec<_> =
            keys.iter().filter(is_candidate).map(|key| Command::Peek(&key.key)).collect();
        let commands: Vec<_> = candidates.iter().collect();
        let (replies, error) = self.cache.0.servers[server].call_all(&commands).await;
        if let Some(failed) = error {
            return Err(failed.error);
        }
        let mut replies = replies.iter();
        let listed = keys.iter().map(|key| {
            let reply = if is_candidate(&key) { replies.next() } else { None };
            let is_stub = reply.is_some_and(Reply::is_stub);
            ListedKey {
                key: key.key.clone(),
                state: if is_stub { KeyState::Lease } else { KeyState::Live },
            }
        });
        Ok(listed.collect())
    }
}
