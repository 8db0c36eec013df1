//! The leases of the store: a file beside the entry, which every write of the entry removes.
//!
//! All of it happens under the lock of the shard. A reader never looks at the file.

use std::{sync::Arc, time::Duration};

use cache_core::{Acquired, Ask, Error, Lease, Leases, Result, Value, async_trait};

use crate::{
    FileBasedCache,
    entries::{Entries, Target},
    entry_file::{Entry, Expiry, Payload},
    lease_file::LeaseFile,
    operation::Operation,
};

/// What a lease of this store holds: a random number.
#[derive(Clone, Copy, Debug)]
struct Token(u128);

#[async_trait]
impl Leases for FileBasedCache {
    async fn acquire(&self, key: &str, ask: Ask<'_>, hold: Duration) -> Result<Acquired> {
        let replaces = matches!(ask, Ask::Any { .. });
        if !replaces && let Some(Some(value)) = self.try_get(key) {
            return Ok(Acquired { value: Some(value), lease: None });
        }
        self.write(key, move |entries, target, operation| {
            entries.acquire(target, replaces, hold, operation)
        })
        .await
    }

    async fn fill(
        &self,
        key: &str,
        lease: Lease,
        value: Value,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let Some(&token) = lease.downcast_ref::<Token>() else { return Ok(false) };
        let expiry = self.expiry(ttl);
        self.write(key, move |entries, target, operation| {
            entries.fill(target, token, &value, expiry, operation)
        })
        .await
    }

    async fn release(&self, key: &str, lease: Lease, keep: Duration) -> Result<()> {
        let Some(&token) = lease.downcast_ref::<Token>() else { return Ok(()) };
        self.write(key, move |entries, target, operation| {
            entries.release(target, token, keep, operation)
        })
        .await
    }

    async fn revoke(&self, key: &str, _: &str) -> Result<()> {
        self.write(key, |entries, target, operation| entries.revoke(target, operation)).await
    }
}

impl Entries {
    fn acquire(
        &self,
        target: &Target,
        replaces: bool,
        hold: Duration,
        operation: &Operation,
    ) -> Result<Acquired> {
        let path = &target.path;
        self.directory.in_shard(path.shard, || {
            let guard = self.lock(path.shard, operation)?;
            let value = self.get(target)?;
            let is_allowed = replaces || value.is_none();
            if !is_allowed || self.held_lease(target)?.is_some() {
                return Ok(Acquired { value, lease: None });
            }
            let token = Token(fastrand::u128(..));
            let lease = LeaseFile::new(token.0, hold, &self.clock);
            self.directory.write_lease(&guard, path, &lease)?;
            Ok(Acquired { value, lease: Some(Lease::new(token)) })
        })
    }

    fn fill(
        self: &Arc<Self>,
        target: &Target,
        token: Token,
        value: &Value,
        expiry: Expiry,
        operation: &Operation,
    ) -> Result<bool> {
        let entry = Entry { expiry, payload: Payload::from_value(value)? };
        let Target { key, path } = target;
        let is_new = self.directory.in_shard(path.shard, || {
            let file = self.directory.write(path, key, &entry)?;
            let guard = self.lock(path.shard, operation)?;
            if !self.holds(target, token)? {
                return Ok(None);
            }
            // Only then the lease ends: a `delete` that finds no lease does not take the lock, and
            // must see the entry.
            let is_new = self.directory.replace_keeping_lease(&guard, path, file)?;
            self.directory.end_lease(&guard, path)?;
            Ok(Some(is_new))
        })?;
        self.count(is_new == Some(true));
        Ok(is_new.is_some())
    }

    fn release(
        &self,
        target: &Target,
        token: Token,
        keep: Duration,
        operation: &Operation,
    ) -> Result<()> {
        let path = &target.path;
        self.directory.in_shard(path.shard, || {
            let guard = self.lock(path.shard, operation)?;
            if !self.holds(target, token)? {
                return Ok(());
            }
            if keep.is_zero() {
                return self.directory.end_lease(&guard, path);
            }
            let lease = LeaseFile::new(token.0, keep, &self.clock);
            self.directory.write_lease(&guard, path, &lease)
        })
    }

    fn revoke(&self, target: &Target, operation: &Operation) -> Result<()> {
        let path = &target.path;
        self.directory.in_shard(path.shard, || {
            let guard = self.lock(path.shard, operation)?;
            self.directory.end_lease(&guard, path)
        })
    }

    fn holds(&self, target: &Target, token: Token) -> Result<bool> {
        Ok(self.held_lease(target)?.is_some_and(|lease| lease.number == token.0))
    }

    pub(crate) fn held_lease(&self, target: &Target) -> Result<Option<LeaseFile>, Error> {
        let lease = self.directory.read_lease(&target.path)?;
        Ok(lease.filter(|lease| lease.is_held(&self.clock)))
    }
}
