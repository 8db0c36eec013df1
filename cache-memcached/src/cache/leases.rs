//! Leases.
//!
//! The lease of an absent key is a stub: an empty item that the server creates when a command with
//! the flag `N` finds nothing. Its CAS token names the lease, and every write changes it. The lease
//! of an entry is the entry's CAS token, with a stub under a key of its own, which only keeps other
//! callers out.
//!
//! The flags `R` and `I`, which the server offers for refreshes, are not used. With `R`, or after
//! an item was marked stale, a caller that dies is never replaced, because the server lets no
//! second one win. And `ms` with `I` accepts an old CAS token.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use cache_core::{Acquired, Ask, Cache as _, Error, Lease, Leases, Result, Value, async_trait};
use futures_util::future::join;

use super::{
    MemcachedCache,
    counting::{MAX_ATTEMPTS, contention},
    in_store, is_found, unexpected, validate_key,
};
use crate::{
    WhenDead,
    connection::Connection,
    error_line::Meaning,
    expiry::Expiry,
    item::Item,
    wire::{Command, Reply, Status},
};

/// No lease has more time left than it was acquired for, except if another application touched it.
/// A stub with more time left than this, and than the caller's own, is removed. Shorter ones are
/// kept, because a lease that was acquired for longer must exclude this caller.
const LONGEST_STUB: Duration = Duration::from_secs(600);

/// A connection to a server. CAS tokens are compared only where they were received.
#[derive(Clone)]
pub(super) struct Place {
    server: usize,
    connection: Weak<Connection>,
}

/// A reply, and where it was received.
pub(super) struct Found {
    pub(super) reply: Reply,
    server: usize,
    connection: Arc<Connection>,
}

impl Found {
    pub(super) fn place(&self) -> Place {
        Place { server: self.server, connection: Arc::downgrade(&self.connection) }
    }

    fn item(&self, key: &str) -> Claim {
        Claim { key: key.into(), cas: self.reply.cas, place: self.place() }
    }
}

/// An item as it was when it was read.
struct Claim {
    key: String,
    cas: u64,
    place: Place,
}

/// What a [`Lease`] holds.
struct Held {
    /// The stub or the entry that the holder may replace.
    item: Claim,
    is_entry: bool,
    /// The stub beside an entry.
    side: Option<Claim>,
    /// When the lease ends, even if its stub was touched.
    until: Instant,
}

#[async_trait]
impl Leases for MemcachedCache {
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        self.acquire_lease(key, ask, hold).await.map_err(in_store)
    }

    async fn fill(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        self.fill_leased(key, lease, &value, ttl).await.map_err(in_store)
    }

    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        self.release_lease(key, lease, keep).await.map_err(in_store)
    }

    async fn revoke(&self, _: &str, side: &str) -> Result<()> {
        self.delete(side).await.map(drop)
    }
}

impl MemcachedCache {
    async fn acquire_lease(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        validate_key(key)?;
        let (_, seconds) = Expiry::of_lease(hold);
        let until = Instant::now() + Duration::from_secs(seconds.into());
        let (side, found) = match ask {
            Ask::Missing => (None, self.vivify(key, hold).await?),
            Ask::Any { side } => {
                validate_key(side)?;
                // The stub beside the key is sent first, so that its holder reads the newest value.
                let (beside, found) = join(self.vivify(side, hold), self.vivify(key, hold)).await;
                let beside = beside?.filter(|beside| beside.reply.created);
                (beside.map(|beside| beside.item(side)), found?)
            }
        };
        let Some(found) = found else {
            // The server is down and `when_dead` is `miss`: the caller need not wait for another,
            // and its fill stores nothing, like every write.
            return Ok(Acquired { value: None, lease: Some(Lease::new(())) });
        };
        let item = found.item(key);
        let lease = |is_entry, side| Some(Lease::new(Held { item, is_entry, side, until }));
        if found.reply.created {
            return Ok(Acquired { value: None, lease: lease(false, side) });
        }
        if found.reply.is_stub() {
            self.release_side(side.as_ref()).await;
            return Ok(Acquired::default());
        }
        let value = self.decode(key, found.reply, &mut self.decompression_room(0));
        let lease = match (&value, ask) {
            // An entry of another application is a miss, and is replaced.
            (None, Ask::Missing) => lease(true, None),
            (Some(_), Ask::Missing) => None,
            (_, Ask::Any { .. }) if side.is_some() => lease(true, side),
            (_, Ask::Any { .. }) => None,
        };
        Ok(Acquired { value, lease })
    }

    async fn fill_leased(
        &self,
        key: &str,
        lease: Lease,
        value: &Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        validate_key(key)?;
        let Some(held) = held(key, lease) else { return Ok(false) };
        if Instant::now() >= held.until {
            return Ok(false);
        }
        let item = self.item(value)?;
        let len = item.len();
        // The server would delete the entry, even if the lease was lost.
        let max =
            self.0.servers.get(held.item.place.server).and_then(|server| server.max_item_size());
        if let Some(max) = max.filter(|max| len > *max) {
            self.end(&held, Duration::ZERO).await?;
            return Err(Error::too_large(key, len + key.len(), max));
        }
        let command = match ttl {
            Some(Duration::ZERO) => Command::CompareAndDelete(key, held.item.cas),
            ttl => Command::CompareAndSet(key, item, Expiry::new(ttl), held.item.cas),
        };
        let fill = self.call_on(&held.item.place, &command);
        let (reply, ()) = join(fill, self.release_side(held.side.as_ref())).await;
        match reply?.map(|reply| reply.status) {
            Some(Status::Done) => Ok(true),
            None | Some(Status::CasMismatch | Status::NotFound | Status::NotStored) => Ok(false),
            Some(status) if Meaning::of(&status) == Some(Meaning::TooLarge) => {
                Err(self.too_large(key, len))
            }
            Some(other) => Err(unexpected(&other)),
        }
    }

    async fn release_lease(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        validate_key(key)?;
        match held(key, lease) {
            Some(held) => self.end(&held, keep).await,
            None => Ok(()),
        }
    }

    /// Fetches the item, or creates a stub. Returns `None` if the server cannot be reached and the
    /// option `when_dead` is `miss`.
    async fn vivify(&self, key: &str, hold: Duration) -> Result<Option<Found>> {
        let (expiry, hold) = Expiry::of_lease(hold);
        let (_, longest) = Expiry::of_lease(LONGEST_STUB);
        let longest = i64::from(hold.max(longest));
        for _ in 0..MAX_ATTEMPTS {
            let found = self.call_at(&Command::Vivify(key, expiry)).await?;
            let Some(found) = found else { return Ok(None) };
            let reply = &found.reply;
            if !is_found(reply)? {
                return Err(unexpected(&reply.status));
            }
            let was_touched = reply.ttl < 0 || reply.ttl > longest;
            if reply.created || !reply.is_stub() || !was_touched {
                return Ok(Some(found));
            }
            self.release_stub(&found.item(key), Duration::ZERO).await?;
        }
        Err(contention(key))
    }

    /// Stores a value over a lease, after the key was found to have an item.
    pub(super) async fn add_over_lease(
        &self,
        key: &str,
        value: &Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(found) = self.call_at(&Command::GetHead(key)).await? else {
                return Ok(false);
            };
            let (is_found, expiry) = (is_found(&found.reply)?, Expiry::new(ttl));
            let status = if is_found && found.reply.is_stub() {
                let item = self.item(value)?;
                let command = Command::CompareAndSet(key, item, expiry, found.reply.cas);
                self.call_on(&found.place(), &command).await?.map(|reply| reply.status)
            } else if is_found {
                return Ok(false);
            } else {
                Some(self.send(Command::Add(key, self.item(value)?, expiry)).await?)
            };
            match status {
                Some(Status::Done) => return Ok(true),
                // The item has changed since it was read.
                None | Some(Status::CasMismatch | Status::NotFound | Status::NotStored) => {}
                Some(other) => return Err(unexpected(&other)),
            }
        }
        Err(contention(key))
    }

    /// Removes a stub that a touch has given a new time to live, which nothing may extend.
    pub(super) async fn end_touched_lease(&self, key: &str, found: &Found) -> Result<()> {
        let command = Command::CompareAndDelete(key, found.reply.cas);
        self.call_on(&found.place(), &command).await.map(drop)
    }

    /// Returns whether the key has a stub.
    pub(super) async fn is_leased(&self, key: &str) -> Result<bool> {
        Ok(match self.call(&Command::GetHead(key)).await? {
            Some(reply) => is_found(&reply)? && reply.is_stub(),
            None => false,
        })
    }

    /// Ends a lease after `keep`.
    async fn end(&self, held: &Held, keep: Duration) -> Result<()> {
        match &held.side {
            Some(side) if held.is_entry => self.release_stub(side, keep).await,
            None if held.is_entry => Ok(()),
            side => {
                let release = self.release_stub(&held.item, keep);
                join(release, self.release_side(side.as_ref())).await.0
            }
        }
    }

    /// Removes the stub beside a key. Errors are only logged, because the stub ends by time.
    async fn release_side(&self, side: Option<&Claim>) {
        let Some(side) = side else { return };
        if let Err(error) = self.release_stub(side, Duration::ZERO).await {
            tracing::debug!(%error, "cannot end the exclusion of a lease early");
        }
    }

    /// Removes a stub after `keep`, if it is still this one.
    ///
    /// A touch has no CAS token, so it could change the time to live of a newer entry. The stub is
    /// written again instead.
    async fn release_stub(&self, stub: &Claim, keep: Duration) -> Result<()> {
        let command = if keep.is_zero() {
            Command::CompareAndDelete(&stub.key, stub.cas)
        } else {
            let (expiry, _) = Expiry::of_lease(keep);
            Command::CompareAndSet(&stub.key, Item::stub(), expiry, stub.cas)
        };
        match self.call_on(&stub.place, &command).await?.map(|reply| reply.status) {
            None
            | Some(Status::Done | Status::CasMismatch | Status::NotFound | Status::NotStored) => {
                Ok(())
            }
            Some(other) => Err(unexpected(&other)),
        }
    }

    /// Sends a command like [`call`](Self::call), and returns where it was executed.
    pub(super) async fn call_at(&self, command: &Command<'_>) -> Result<Option<Found>> {
        let mut tried = Vec::new();
        loop {
            let next = self
                .0
                .rendezvous
                .pick_among(command.key(), |server| !tried.contains(&server))
                .unwrap_or(0);
            let failed = match self.0.servers[next].call_any(command).await {
                Ok((reply, connection)) => {
                    return Ok(Some(Found { reply, server: next, connection }));
                }
                Err(failed) => failed,
            };
            tried.push(next);
            let may_try_next = !failed.maybe_executed || command.is_retryable();
            match self.0.when_dead {
                WhenDead::Miss => return Ok(None),
                WhenDead::Next if may_try_next && tried.len() < self.0.servers.len() => {}
                WhenDead::Next | WhenDead::Error => return Err(failed.error),
            }
        }
    }

    /// Sends a command that has a CAS token. Returns `None` if the token can no longer be compared,
    /// or if the server cannot be reached and the option `when_dead` is `miss`.
    pub(super) async fn call_on(
        &self,
        place: &Place,
        command: &Command<'_>,
    ) -> Result<Option<Reply>> {
        let Some(server) = self.0.servers.get(place.server) else { return Ok(None) };
        match server.call_on(&place.connection, command).await {
            Ok(reply) => Ok(reply),
            Err(_) if self.0.when_dead == WhenDead::Miss => Ok(None),
            Err(failed) => Err(failed.error),
        }
    }
}

/// Returns what the lease holds if it is one of this key.
fn held(key: &str, lease: Lease) -> Option<Held> {
    lease.downcast::<Held>().ok().filter(|held| held.item.key == key)
}
