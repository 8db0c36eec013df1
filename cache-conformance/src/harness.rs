//! What a case is given: fresh stores, a way to let time go by, and what the store can't do.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use cache_core::{Cache, CacheHandle, ManualClock, Settings};

type Making = Pin<Box<dyn Future<Output = Arc<dyn Cache>> + Send>>;

/// How to make the store under test, and what may be expected of it.
///
/// ```
/// use cache_conformance::Harness;
/// use cache_core::ManualClock;
/// use cache_locmem::{LocMemCache, LocMemOptions};
///
/// let time = ManualClock::new();
/// let clock = time.clock();
/// let harness = Harness::new(move || {
///     let store = LocMemCache::with_clock(LocMemOptions::default(), clock.clone());
///     async { store.expect("the options are fine") }
/// })
/// .driven_by(time);
/// ```
#[derive(Clone)]
pub struct Harness {
    make: Arc<dyn Fn() -> Making + Send + Sync>,
    time: Option<ManualClock>,
    profile: Profile,
    limit: Duration,
}

/// What a store honestly can't do. A case that asks for it is excused and says so; anything else that deviates fails.
///
/// ```
/// use cache_conformance::Profile;
///
/// let profile = Profile { unsigned_counters: true, ..Profile::default() };
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Profile {
    /// Expiry is exact to so much only: an entry may go so much earlier or later.
    pub expiry_granularity: Duration,
    /// Counters stop at zero, and can't be set below it.
    pub unsigned_counters: bool,
    /// Values of so many bytes are taken, and values of twice as many are refused.
    pub largest_value: Option<usize>,
    /// It stores nothing at all.
    pub keeps_nothing: bool,
}

impl Harness {
    /// A harness for the stores that `make` makes. Each must be empty and share nothing with the others that are in use.
    ///
    /// Time goes by in real time, so the suite sleeps where it has to; see [`driven_by`](Self::driven_by).
    pub fn new<F, C>(make: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = C> + Send + 'static,
        C: Cache,
    {
        let make = move || -> Making {
            let store = make();
            Box::pin(async { Arc::new(store.await) as Arc<dyn Cache> })
        };
        Self {
            make: Arc::new(make),
            time: None,
            profile: Profile::default(),
            limit: Duration::from_secs(300),
        }
    }

    /// Says that the stores go by this clock, which then is moved instead of slept by.
    #[must_use]
    pub fn driven_by(mut self, time: ManualClock) -> Self {
        self.time = Some(time);
        self
    }

    /// Says what the stores can't do.
    #[must_use]
    pub fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// How long a case may take, in real time; 5 minutes unless set. One that takes longer fails: an operation never answers.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// An empty store.
    pub(crate) async fn store(&self) -> Arc<dyn Cache> {
        (self.make)().await
    }

    /// A handle with default settings on an empty store.
    pub(crate) async fn cache(&self) -> CacheHandle {
        self.cache_with(Settings::default()).await
    }

    pub(crate) async fn cache_with(&self, settings: Settings) -> CacheHandle {
        CacheHandle::new("conformance", self.store().await, settings)
    }

    pub(crate) fn has_manual_time(&self) -> bool {
        self.time.is_some()
    }

    /// The shortest time to live that the cases use: the store tells one from two of them.
    pub(crate) fn moment(&self) -> Duration {
        const EXACT: Duration = Duration::from_millis(1);
        const ASLEEP: Duration = Duration::from_millis(50);
        let least = if self.has_manual_time() { EXACT } else { ASLEEP };
        least.max(2 * self.profile.expiry_granularity)
    }

    /// Lets time go by until what was stored for this long has expired, and no longer than needed.
    pub(crate) async fn outlive(&self, ttl: Duration) {
        self.pass(ttl + self.profile.expiry_granularity).await;
    }

    pub(crate) async fn pass(&self, duration: Duration) {
        match &self.time {
            Some(time) => time.advance(duration),
            None => tokio::time::sleep(duration).await,
        }
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness")
            .field("time", &self.time)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}
