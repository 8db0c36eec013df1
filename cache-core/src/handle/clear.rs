//! Clearing a store, or only the entries of a KEY_PREFIX by a generation in their keys.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex, PoisonError, RwLock, Weak,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
    time::Duration,
};

use super::leases::Written;
use crate::{
    CacheHandle, Clear, Clock, Moment, Result,
    key::Composer,
    tags::{Generation, Records},
};

/// For how long a generation is used that another process may have replaced.
const MEMO: Duration = Duration::from_secs(1);

/// The generation of a KEY_PREFIX, which all its keys contain. Handles of all versions share it.
#[derive(Debug)]
pub(super) struct ClearGeneration {
    /// The composed key of its record, which belongs to no generation.
    record: String,
    clears: Arc<Clears>,
    known: RwLock<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    number: u64,
    /// The clears before the record was read.
    clears: u64,
    until: Moment,
}

/// The number of clears by this process, for all handles whose generations have the same key.
///
/// They are usually of the same store. If not, they read their generations once too often.
#[derive(Debug, Default)]
struct Clears(AtomicU64);

impl Clears {
    fn of(record: &str) -> Arc<Self> {
        static ALL: LazyLock<Mutex<HashMap<String, Weak<Clears>>>> = LazyLock::new(Mutex::default);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clears) = all.get(record).and_then(Weak::upgrade) {
            return clears;
        }
        all.retain(|_, clears| clears.strong_count() > 0);
        let clears = Arc::<Self>::default();
        all.insert(record.into(), Arc::downgrade(&clears));
        clears
    }

    fn count(&self) -> u64 {
        self.0.load(Acquire)
    }
}

/// A clear that is counted when it ends or is dropped, after it may have replaced the generation.
struct Counted<'a>(&'a Clears);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Release);
    }
}

impl ClearGeneration {
    pub(super) fn new(clear: Clear, composer: &Composer, clock: &Clock) -> Option<Arc<Self>> {
        if clear != Clear::Generation {
            return None;
        }
        let record = composer.record("clear");
        let clears = Clears::of(&record);
        // No entry has this number, so a key that is composed before the record was read is absent.
        let number = Generation::new().stamp.hard;
        let known = RwLock::new(Known { number, clears: clears.count(), until: clock.now() });
        Some(Arc::new(Self { record, clears, known }))
    }

    /// Returns the generation that was read last.
    pub(super) fn number(&self) -> u64 {
        self.known().number
    }

    #[inline(never)]
    fn is_outdated(&self, clock: &Clock) -> bool {
        let known = self.known();
        known.clears != self.clears.count() || clock.has_passed(known.until)
    }

    fn known(&self) -> Known {
        *self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records what was read, unless another caller has read it later.
    fn learn(&self, read: Known) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if (read.clears, read.until) >= (known.clears, known.until) {
            *known = read;
        }
    }
}

/// Clearing.
impl CacheHandle {
    /// Removes all entries of the *store*: those of every version, prefix and alias that share it.
    ///
    /// A server may also hold data of other applications. Whether that stays depends on the store;
    /// see the documentation of its crate.
    ///
    /// With [`Clear::Generation`], removes the entries of this handle's KEY_PREFIX only, in all
    /// versions. This process sees that when the call returns, and others within a second: an
    /// operation that they begin later finds no entry that was stored before the call. A value
    /// whose production or whose [`tags`](Self::tags) began before it is not stored. If two callers
    /// clear at the same time, both succeed.
    ///
    /// # Errors
    ///
    /// Returns the error of the store whatever `on_outage` says. See [Errors](CacheHandle#errors).
    pub async fn clear(&self) -> Result<()> {
        if let Some(generation) = &self.view.generation {
            // No entry is written: values that are produced now have keys of the old generation,
            // and the leases that stand for locks must not end.
            let _counted = Counted(&generation.clears);
            let now = self.view.clock.unix_time();
            return Records::of(self).renew(&generation.record, now).await;
        }
        let write = self.write(Written::All);
        if write.must_begin() {
            write.begin().await;
        }
        self.inner().clear().await.map_err(|error| self.at(error))
    }

    /// Returns what [`clear`](Self::clear) removes.
    #[must_use]
    pub fn clears(&self) -> Clear {
        if self.view.generation.is_some() { Clear::Generation } else { Clear::Store }
    }

    /// Returns the generation of keys that are composed now, if they have one. Reads it if that is
    /// more than a second ago.
    #[doc(hidden)]
    pub async fn current_key_generation(&self) -> Result<Option<u64>> {
        if self.must_learn() {
            self.learn().await?;
        }
        Ok(self.key_generation())
    }

    /// Returns the generation of keys that was read last, if they have one.
    #[doc(hidden)]
    #[must_use]
    pub fn key_generation(&self) -> Option<u64> {
        self.view.generation.as_ref().map(|generation| generation.number())
    }

    /// Whether the generation must be read before a key is composed.
    #[inline]
    pub(super) fn must_learn(&self) -> bool {
        match &self.view.generation {
            None => false,
            Some(generation) => generation.is_outdated(&self.view.clock),
        }
    }

    /// Reads the generation. In a box, so that the futures of the verbs stay small.
    ///
    /// A second call at the same time reads it as well: nobody waits for a call that may be
    /// dropped.
    #[cold]
    #[doc(hidden)]
    #[must_use]
    pub fn learn(&self) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
        Box::pin(async move {
            let Some(generation) = &self.view.generation else { return Ok(()) };
            // Both before the read, as a clear may happen during it.
            let clears = generation.clears.count();
            let until = self.view.clock.now() + MEMO;
            let record = [(&*generation.record, None)];
            for read in Records::of(self).read_or_create(&record).await? {
                let number = read.generation.stamp.hard;
                generation.learn(Known { number, clears, until });
            }
            Ok(())
        })
    }

    /// Like [`learn`](Self::learn), but returns `false` if the store has failed and the alias then
    /// behaves like an empty store.
    #[cold]
    pub(super) fn learned(&self) -> Pin<Box<dyn Future<Output = Result<bool>> + Send + '_>> {
        Box::pin(async move {
            let learned = self.learn().await;
            self.unless_outage(learned.map(|()| true), || false)
        })
    }
}
