//! The leases of the store.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use cache_core::{Acquired, Ask, Lease, Leases, Result, Value, async_trait};

use crate::LocMemCache;

/// What a lease of this store holds: a number that no other lease of the process has.
struct Token(u64);

impl Token {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[async_trait]
impl Leases for LocMemCache {
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        let token = Token::next();
        let (value, is_granted) = self.with_shard(key, |shard, hash, removed| {
            shard.acquire(hash, key, ask, token.0, hold, removed)
        });
        Ok(Acquired { value, lease: is_granted.then(|| Lease::new(token)) })
    }

    async fn fill(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let Some(&Token(number)) = lease.downcast_ref() else { return Ok(false) };
        if let Err(error) = self.check_size(key, &value) {
            self.with_shard(key, |shard, hash, removed| {
                if shard.redeem(hash, key, number) {
                    shard.delete(hash, key, removed);
                }
            });
            return Err(error);
        }
        let expiration = self.expiration(ttl);
        Ok(self.with_shard(key, |shard, hash, removed| {
            shard.fill(hash, key, number, value, expiration, removed)
        }))
    }

    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        if let Some(&Token(number)) = lease.downcast_ref() {
            self.with_shard(key, |shard, hash, _| shard.release(hash, key, number, keep));
        }
        Ok(())
    }

    async fn revoke(&self, key: &str, _: &str) -> Result<()> {
        self.with_shard(key, |shard, hash, _| shard.revoke(hash, key));
        Ok(())
    }
}
