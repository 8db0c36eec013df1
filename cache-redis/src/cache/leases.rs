//! Leases.
//!
//! The lease of an absent key is a mark stored under the key itself, so that every write ends it,
//! also one of another client, and no command needs a second key. The lease of an entry is the
//! entry's bytes, with a mark under a key of its own: that one only keeps other callers out,
//! because a fill compares the entry.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use cache_core::{Acquired, Ask, Cache as _, ErrorKind, Lease, Leases, Result, Value, async_trait};
use futures_util::future::join;
use redis::Value as Reply;

use super::{RedisCache, WRITE, WRITE_ONCE, millis};
use crate::{
    failure::Failure,
    value::{self, MARK_HEAD},
};

type Mark = [u8; 18];

/// Creates marks, each of which is different from all others: a random number of the store, so that
/// none is used again after a restart, and a counter.
#[derive(Debug)]
pub(super) struct Marks {
    store: [u8; 8],
    next: AtomicU64,
}

impl Marks {
    pub(super) fn new() -> Self {
        // The keys of a `RandomState` are random.
        let store = RandomState::new().build_hasher().finish().to_be_bytes();
        Self { store, next: AtomicU64::new(0) }
    }

    fn create(&self) -> Mark {
        let mut mark = [0; 18];
        mark[..2].copy_from_slice(&MARK_HEAD);
        mark[2..10].copy_from_slice(&self.store);
        mark[10..].copy_from_slice(&self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        mark
    }

    fn created(&self, mark: &Mark) -> bool {
        mark[2..10] == self.store
    }
}

/// What a [`Lease`] holds.
struct Held {
    /// The key, as the server stores it.
    key: String,
    mark: Mark,
    /// What the holder may replace, unless that is the mark.
    entry: Option<Entry>,
    /// The key that has the mark beside an entry, as the server stores it.
    side: Option<String>,
}

/// The entry that a lease was granted on.
struct Entry {
    /// Its first bytes, or all of them.
    bytes: Vec<u8>,
    has_stamp: bool,
    /// When the lease ends. The server does not compare the mark under another key, which may be on
    /// another server.
    until: Option<Instant>,
}

impl Entry {
    fn new(stored: &[u8], until: Option<Instant>) -> Self {
        let stamp = value::stamp(stored);
        Self { bytes: stamp.unwrap_or(stored).into(), has_stamp: stamp.is_some(), until }
    }

    fn has_ended(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

#[async_trait]
impl Leases for RedisCache {
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        let (key, mark) = (self.keyspace.key(key), self.servers.marks.create());
        let until = Instant::now().checked_add(hold);
        let (stored, side) = match ask {
            Ask::Missing => (self.acquire_key(&key, &mark, hold).await?, None),
            Ask::Any { side } => {
                let side = self.keyspace.key(side);
                // The mark beside the key is sent first, so that its holder reads the newest value.
                let exclusion = self.acquire_side(&side, &mark, hold);
                let (excludes, stored) = join(exclusion, self.acquire_key(&key, &mark, hold)).await;
                (stored?, excludes?.then(|| side.into_owned()))
            }
        };
        let lease = |entry, side| Some(Lease::new(Held { key: key.into(), mark, entry, side }));
        let Some(stored) = stored else {
            return Ok(Acquired { value: None, lease: lease(None, side) });
        };
        let entry = Entry::new(&stored, until);
        let value = value::decode(stored);
        if value.is_none() {
            // Another caller holds the key.
            self.release_side(side.as_deref(), &mark).await;
            return Ok(Acquired::default());
        }
        let lease = if side.is_some() { lease(Some(entry), side) } else { None };
        Ok(Acquired { value, lease })
    }

    async fn fill(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let key = self.keyspace.key(key);
        let Some(held) = self.held(&key, lease) else { return Ok(false) };
        let encoded = match self.encode(&key, &value).await {
            Ok(encoded) => encoded,
            Err(error) => {
                if error.kind() == ErrorKind::TooLarge {
                    self.end(&held, Duration::ZERO).await?;
                }
                return Err(error);
            }
        };
        let (expected, is_head) = match &held.entry {
            Some(entry) if entry.has_ended() => return Ok(false),
            Some(entry) => (&*entry.bytes, entry.has_stamp),
            None => (&held.mark[..], true),
        };
        let millis = |ttl: Duration| if ttl.is_zero() { 0 } else { millis(ttl) };
        let arguments = (expected, u8::from(is_head), &encoded, ttl.map(millis));
        let fill = self.run_script(&self.servers.scripts.fill, &key, &arguments, WRITE_ONCE);
        let (reply, ()) = join(fill, self.release_side(held.side.as_deref(), &held.mark)).await;
        Ok(self.expect_integer(reply.map_err(Failure::into_error)?)? > 0)
    }

    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        match self.held(&self.keyspace.key(key), lease) {
            Some(held) => self.end(&held, keep).await,
            None => Ok(()),
        }
    }

    async fn revoke(&self, _: &str, side: &str) -> Result<()> {
        self.delete(side).await.map(drop)
    }
}

impl RedisCache {
    /// Returns what the lease holds if it is one of this store and of this key.
    fn held(&self, key: &str, lease: Lease) -> Option<Held> {
        let held = lease.downcast::<Held>().ok()?;
        (held.key == key && self.servers.marks.created(&held.mark)).then_some(held)
    }

    /// Returns the stored bytes, which may be the mark of another caller. Stores the mark if there
    /// are none.
    async fn acquire_key(&self, key: &str, mark: &Mark, hold: Duration) -> Result<Option<Vec<u8>>> {
        let arguments = (&mark[..], millis(hold));
        let script = &self.servers.scripts.acquire;
        let reply = self.run_script(script, key, &arguments, WRITE_ONCE).await;
        self.expect_bytes(reply.map_err(Failure::into_error)?)
    }

    /// Stores the mark beside a key. Returns `false` if another caller has stored one.
    async fn acquire_side(&self, side: &str, mark: &Mark, hold: Duration) -> Result<bool> {
        let mut command = redis::cmd("SET");
        command.arg(side).arg(mark).arg("NX").arg("PX").arg(millis(hold));
        match self.execute(side, &command, WRITE_ONCE).await.map_err(Failure::into_error)? {
            Reply::Okay => Ok(true),
            Reply::Nil => Ok(false),
            other => Err(self.unexpected_reply(&other)),
        }
    }

    /// Ends a lease after `keep`.
    async fn end(&self, held: &Held, keep: Duration) -> Result<()> {
        match (&held.entry, &held.side) {
            (Some(_), Some(side)) => self.release_mark(side, &held.mark, keep).await,
            (_, side) => {
                let release = self.release_mark(&held.key, &held.mark, keep);
                join(release, self.release_side(side.as_deref(), &held.mark)).await.0
            }
        }
    }

    /// Removes the mark beside a key. Errors are only logged, because the mark ends by time.
    async fn release_side(&self, side: Option<&str>, mark: &Mark) {
        let Some(side) = side else { return };
        if let Err(error) = self.release_mark(side, mark, Duration::ZERO).await {
            tracing::debug!(%error, "cannot end the exclusion of a lease early");
        }
    }

    /// Removes the mark after `keep`, if it is still this one.
    async fn release_mark(&self, key: &str, mark: &Mark, keep: Duration) -> Result<()> {
        let keep = (!keep.is_zero()).then(|| millis(keep));
        let arguments = (&mark[..], keep);
        let script = &self.servers.scripts.release;
        let reply = self.run_script(script, key, &arguments, WRITE).await;
        self.expect_integer(reply.map_err(Failure::into_error)?).map(drop)
    }
}
