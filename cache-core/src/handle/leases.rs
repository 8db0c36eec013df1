//! Leases as a handle uses them: those of the store, or those within this process.
//!
//! The errors of the functions below are those of the store. The verbs add the alias, or treat them
//! as `on_outage` says.

mod held;
mod local;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use self::held::{Abandoned, Origin};
pub(super) use self::{
    held::{HeldLease, HeldLeases},
    local::LocalLeases,
};
use super::View;
use crate::{Ask, CacheHandle, Leases, Moment, Result, Timeout, Value, timeout::Lifetime};

/// When a lease is granted: [`Ask`] without the side key, which is composed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Only if the key is absent or expired.
    Missing,
    /// Also if there is a value.
    Any,
}

/// The value of a key and the lease of it, as in [`Acquired`](crate::Acquired).
#[derive(Debug)]
pub(super) struct Acquisition {
    pub(super) value: Option<Value>,
    pub(super) lease: Option<HeldLease>,
}

impl CacheHandle {
    /// Returns the value stored under a composed key, and a lease of it if `wanted` allows one and
    /// nobody holds one.
    ///
    /// If callers of this process were dropped with leases of the key, these are ended first.
    pub(super) async fn acquire(
        &self,
        key: &Arc<str>,
        wanted: Wanted,
        hold: Duration,
    ) -> Result<Acquisition> {
        let epoch = self.view.epochs.number(key);
        self.acquire_as(Origin { epoch, in_flight: false }, key, wanted, hold).await
    }

    /// Like [`acquire`](Self::acquire), for a caller that belongs to a flight of `get_or_set`.
    /// Other callers of such flights [share](Self::share_lease) the lease.
    pub(super) async fn acquire_in_flight(
        &self,
        key: &Arc<str>,
        wanted: Wanted,
        hold: Duration,
    ) -> Result<Acquisition> {
        let epoch = self.view.epochs.number(key);
        self.acquire_as(Origin { epoch, in_flight: true }, key, wanted, hold).await
    }

    async fn acquire_as(
        &self,
        origin: Origin,
        key: &Arc<str>,
        wanted: Wanted,
        hold: Duration,
    ) -> Result<Acquisition> {
        let now = self.view.clock.now();
        let until = now + hold;
        let held = &self.view.held_leases;
        let unsure = Unsure { held, key, now, until, is_over: false };
        let mut may_be_own = false;
        loop {
            match held.take_abandoned(key, now) {
                Abandoned::Nothing => break,
                Abandoned::Lease(lease) => {
                    self.leases().release(key, lease, Duration::ZERO).await?;
                }
                // Ends the lease that a caller of this process may have left. It may as well be one
                // of another process, which then may produce at the same time.
                Abandoned::Unknown => {
                    self.leases().revoke(key, &self.view.composer.lease_side(key)).await?;
                    may_be_own = true;
                }
            }
        }
        let side = (wanted == Wanted::Any).then(|| self.view.composer.lease_side(key));
        let ask = side.as_deref().map_or(Ask::Missing, |side| Ask::Any { side });
        let mut acquired = self.leases().acquire(key, ask, hold).await?;
        if may_be_own && acquired.value.is_none() && acquired.lease.is_none() {
            // The same for the lease of an absent key. A fill through it stores nothing.
            self.inner().delete(key).await?;
            acquired = self.leases().acquire(key, ask, hold).await?;
        }
        unsure.settle();
        let replaces = acquired.value.is_some();
        let lease =
            acquired.lease.map(|lease| held.insert(key, origin, lease, replaces, now, until));
        Ok(Acquisition { value: acquired.value, lease })
    }

    /// Returns a lease of a composed key that never has a value, unless somebody holds one.
    ///
    /// Unlike [`acquire`](Self::acquire), this does not end a lease that may be one of another
    /// process, because it stands for a lock.
    pub(super) async fn acquire_lock(
        &self,
        key: &Arc<str>,
        hold: Duration,
    ) -> Result<Option<HeldLease>> {
        // No lease lasts for no time.
        let hold = hold.max(Duration::from_nanos(1));
        let now = self.view.clock.now();
        let held = &self.view.held_leases;
        while let Abandoned::Lease(lease) = held.take_abandoned(key, now) {
            self.leases().release(key, lease, Duration::ZERO).await?;
        }
        let acquired = self.leases().acquire(key, Ask::Missing, hold).await?;
        let (origin, until) = (Origin::default(), now + hold);
        Ok(acquired.lease.map(|lease| held.insert(key, origin, lease, false, now, until)))
    }

    /// Returns a share in the lease that another caller of this process holds, unless this process
    /// has written the key since the lease was acquired.
    ///
    /// If the caller `can_wait`, it shares leases of flights only. It waits for the value of a task
    /// of `fetch`, and for the end of an `update`, as if these were of another process.
    ///
    /// What a caller produces from now on may be stored through it. The first to do so ends the
    /// lease, so that the others store nothing.
    pub(super) fn share_lease(&self, key: &Arc<str>, can_wait: bool) -> Option<HeldLease> {
        let current = self.view.epochs.number(key)?;
        let may_share =
            |origin: Origin| origin.epoch == Some(current) && (origin.in_flight || !can_wait);
        self.view.held_leases.share(key, may_share, self.view.clock.now())
    }

    /// Stores a value if the lease is still valid, and returns whether it was.
    ///
    /// A timeout of zero stores nothing. If the lease would replace a value and is still valid, it
    /// deletes that. If there was none, it returns whether the key is still absent.
    pub(super) async fn fill_lease(
        &self,
        held: HeldLease,
        value: Value,
        timeout: Timeout,
    ) -> Result<bool> {
        let Some((lease, replaces)) = held.take() else { return Ok(false) };
        let key = &**held.key();
        let ttl = match self.lifetime(timeout) {
            Lifetime::For(ttl) => Some(ttl),
            Lifetime::Forever => None,
            // Only a fill replaces the value if nothing newer is stored.
            Lifetime::Expired if replaces => Some(Duration::ZERO),
            Lifetime::Expired => {
                let is_absent = !self.inner().contains(key).await?;
                self.leases().release(key, lease, Duration::ZERO).await?;
                held.settle();
                return Ok(is_absent);
            }
        };
        let is_stored = self.leases().fill(key, lease, value, ttl).await?;
        held.settle();
        Ok(is_stored)
    }

    /// Ends a lease after `keep`. If other callers of this process share it, leaves it to them.
    pub(super) async fn release_lease(&self, held: HeldLease, keep: Duration) -> Result<()> {
        let Some((lease, _)) = held.take_last() else { return Ok(()) };
        self.leases().release(held.key(), lease, keep).await?;
        held.settle();
        Ok(())
    }

    /// Ends the lease that another caller of this process holds, as a write does: the value that
    /// this one produces is not stored.
    pub(super) async fn end_held_lease(&self, key: &Arc<str>) -> Result<()> {
        let held = self.view.held_leases.share(key, |_| true, self.view.clock.now());
        let Some(held) = held else { return Ok(()) };
        let Some((lease, _)) = held.take() else { return Ok(()) };
        self.leases().release(key, lease, Duration::ZERO).await?;
        held.settle();
        Ok(())
    }

    fn leases(&self) -> &dyn Leases {
        let local = &*self.view.local_leases;
        if local.is_used() { local } else { self.inner().leases().unwrap_or(local) }
    }
}

/// An `acquire` that runs. If it is dropped or fails, it is unknown whether the key is leased.
struct Unsure<'a> {
    held: &'a HeldLeases,
    key: &'a Arc<str>,
    now: Moment,
    until: Moment,
    is_over: bool,
}

impl Unsure<'_> {
    fn settle(mut self) {
        self.is_over = true;
    }
}

impl Drop for Unsure<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.held.insert_unknown(self.key, self.now, self.until);
        }
    }
}

/// The keys of a write.
#[derive(Clone, Copy)]
pub(super) enum Written<'a> {
    Key(&'a str),
    Keys(&'a [&'a str]),
    All,
}

/// A write by a verb, which ends the leases within this process when it begins and when it ends,
/// and the epochs of its keys when it ends.
///
/// The first time keeps fills from storing while the write runs. The second one is for leases that
/// were granted meanwhile, before the store executed the write. A fill of such a lease that ends
/// before the write does is not noticed: its producer began after the write was called.
pub(super) struct Write<'a> {
    view: &'a View,
    written: Written<'a>,
    /// Whether the store may have changed an entry.
    may_have_written: bool,
}

impl CacheHandle {
    /// Declares a write. If it [must begin](Write::must_begin), [`begin`](Write::begin) comes next.
    ///
    /// On a store with leases of its own, this costs two comparisons while nobody produces a value.
    #[inline]
    pub(super) fn write<'a>(&'a self, written: Written<'a>) -> Write<'a> {
        Write { view: &self.view, written, may_have_written: true }
    }
}

impl<'a> Write<'a> {
    #[inline]
    pub(super) fn must_begin(&self) -> bool {
        let local = &self.view.local_leases;
        local.is_used() && local.has_any()
    }

    #[cold]
    pub(super) fn begin(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let (local, written) = (&self.view.local_leases, self.written);
        Box::pin(async move {
            match written {
                Written::Key(key) => local.end(key).await,
                Written::All => local.end_all().await,
                Written::Keys(keys) => {
                    for key in keys {
                        local.end(key).await;
                    }
                }
            }
        })
    }

    /// Leaves the callers that wait for a value as they are: the store reports that it has changed
    /// nothing, so it has not ended their leases either.
    pub(super) fn wrote_nothing(&mut self) {
        self.may_have_written = false;
    }

    #[cold]
    fn end_local_leases(&self) {
        let local = &self.view.local_leases;
        match self.written {
            Written::Key(key) => local.end_now(key),
            Written::Keys(keys) => keys.iter().for_each(|key| local.end_now(key)),
            Written::All => local.end_all_now(),
        }
    }

    #[cold]
    fn end_epochs(&self) {
        let epochs = &self.view.epochs;
        match self.written {
            Written::Key(key) => epochs.end([key]),
            Written::Keys(keys) => epochs.end(keys.iter().copied()),
            Written::All => epochs.end_all(),
        }
    }
}

impl Drop for Write<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.must_begin() {
            self.end_local_leases();
        }
        if self.may_have_written && self.view.epochs.has_any() {
            self.end_epochs();
        }
    }
}

#[cfg(test)]
mod tests;
