//! What a case receives: empty stores, a way to let time pass, and the store's known limitations.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use cache_core::{Cache, CacheHandle, Clock, ManualClock, Settings};

type StoreFuture = Pin<Box<dyn Future<Output = Arc<dyn Cache>> + Send>>;
type Make = Arc<dyn Fn() -> StoreFuture + Send + Sync>;
type Clients = (Arc<dyn Cache>, Arc<dyn Cache>);
type MakeClients = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Clients> + Send>> + Send + Sync>;
type MakeBounded = Arc<dyn Fn(u64, u64) -> StoreFuture + Send + Sync>;
type Wrap = Arc<dyn Fn(Arc<dyn Cache>) -> Arc<dyn Cache> + Send + Sync>;

/// Creates the stores under test and describes what to expect of them.
///
/// # Examples
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
///     async { store.expect("the options are valid") }
/// })
/// .driven_by(time);
/// ```
#[derive(Clone)]
pub struct Harness {
    make: Make,
    make_bounded: Option<MakeBounded>,
    make_clients: Option<MakeClients>,
    wrap: Option<Wrap>,
    time: Option<ManualClock>,
    profile: Profile,
    limit: Duration,
    seed: Option<u64>,
}

/// Known limitations of a store.
///
/// A case that a limitation rules out is excused, and the report says so. Any other deviation is a
/// failure.
///
/// # Examples
///
/// ```
/// use cache_conformance::Profile;
///
/// let profile = Profile { unsigned_counters: true, ..Profile::default() };
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Profile {
    /// The accuracy of expiry. An entry may expire earlier or later by this much.
    pub expiry_granularity: Duration,
    /// Counters stop at zero and cannot be set below it.
    pub unsigned_counters: bool,
    /// The largest value in bytes that the store accepts. It rejects values of twice that size.
    pub largest_value: Option<usize>,
    /// The store accepts every write and stores nothing.
    pub keeps_nothing: bool,
    /// Statistics count the lease of an absent key as an entry.
    pub counts_leases: bool,
}

impl Harness {
    /// Creates a harness for the stores that `make` returns.
    ///
    /// `make` is called at least once for each case. Each store must be empty and share nothing
    /// with other stores in use.
    ///
    /// The suite sleeps when time has to pass, unless the stores are [`driven_by`](Self::driven_by)
    /// a manual clock.
    pub fn new<F, C>(make: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = C> + Send + 'static,
        C: Cache,
    {
        Self {
            make: Arc::new(move || boxed(make())),
            make_bounded: None,
            make_clients: None,
            wrap: None,
            time: None,
            profile: Profile::default(),
            limit: Duration::from_secs(300),
            seed: None,
        }
    }

    /// Sets the clock of the stores, which the suite then advances instead of sleeping.
    #[must_use]
    pub fn driven_by(mut self, time: ManualClock) -> Self {
        self.time = Some(time);
        self
    }

    /// Sets the known limitations of the stores.
    #[must_use]
    pub fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Sets how to create a store with bounds, for the cases about culling.
    ///
    /// `make` receives MAX_ENTRIES and CULL_FREQUENCY. Its stores must report
    /// [`Stats::entries`](cache_core::Stats::entries), and may cull in the background. Without it,
    /// the cases about culling are excused.
    #[must_use]
    pub fn with_limits<F, C>(mut self, make: impl Fn(u64, u64) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = C> + Send + 'static,
        C: Cache,
    {
        self.make_bounded = Some(Arc::new(move |max_entries, cull_frequency| {
            boxed(make(max_entries, cull_frequency))
        }));
        self
    }

    /// Sets how to create two clients of one empty store, for the cases about leases.
    ///
    /// For example two stores with their own connections to one server, or on one directory. `make`
    /// is called once for each of these cases. Without it, they use one store for both clients.
    #[must_use]
    pub fn with_clients<F, C>(mut self, make: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = (C, C)> + Send + 'static,
        C: Cache,
    {
        self.make_clients = Some(Arc::new(move || {
            let clients = make();
            Box::pin(async {
                let (one, other) = clients.await;
                (Arc::new(one) as Arc<dyn Cache>, Arc::new(other) as Arc<dyn Cache>)
            })
        }));
        self
    }

    /// Runs the suite on each store inside a wrapper.
    ///
    /// If it is called more than once, the last wrapper is the outermost.
    ///
    /// # Examples
    ///
    /// ```
    /// use cache_conformance::{Forwarding, Harness};
    /// use cache_locmem::LocMemCache;
    ///
    /// let harness = Harness::new(|| async { LocMemCache::default() }).wrapped_by(Forwarding::new);
    /// ```
    #[must_use]
    pub fn wrapped_by<C: Cache>(
        mut self,
        wrap: impl Fn(Arc<dyn Cache>) -> C + Send + Sync + 'static,
    ) -> Self {
        let inner = self.wrap.take();
        self.wrap = Some(Arc::new(move |store| {
            Arc::new(wrap(match &inner {
                Some(inner) => inner(store),
                None => store,
            }))
        }));
        self
    }

    /// Sets how long a case may take, in real time. The default is 5 minutes.
    ///
    /// A case that takes longer fails.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the seed of the random operations, which are then the same in every run.
    ///
    /// Without it, each run performs others and finds more. It is for a test that must not depend
    /// on chance, such as one that verifies that the suite detects a fault.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn seed(&self) -> Option<u64> {
        self.seed
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn has_limits(&self) -> bool {
        self.make_bounded.is_some()
    }

    /// Creates an empty store.
    pub(crate) async fn store(&self) -> Arc<dyn Cache> {
        self.wrapped((self.make)().await)
    }

    /// Creates an empty store with bounds.
    pub(crate) async fn bounded_store(
        &self,
        max_entries: u64,
        cull_frequency: u64,
    ) -> Arc<dyn Cache> {
        let make = self.make_bounded.as_ref().expect("the case is excused without limits");
        self.wrapped(make(max_entries, cull_frequency).await)
    }

    /// Creates two clients of one empty store.
    pub(crate) async fn clients(&self) -> Clients {
        let (one, other) = match &self.make_clients {
            Some(make) => make().await,
            None => {
                let store = (self.make)().await;
                (Arc::clone(&store), store)
            }
        };
        (self.wrapped(one), self.wrapped(other))
    }

    /// Returns whether the stores have leases. A wrapper that loses them does not change this.
    pub(crate) async fn has_leases(&self) -> bool {
        (self.make)().await.leases().is_some()
    }

    /// Returns whether the stores have an inspector. A wrapper that loses it does not change this.
    pub(crate) async fn has_inspector(&self) -> bool {
        (self.make)().await.inspector().is_some()
    }

    fn wrapped(&self, store: Arc<dyn Cache>) -> Arc<dyn Cache> {
        match &self.wrap {
            Some(wrap) => wrap(store),
            None => store,
        }
    }

    /// Creates a handle with default settings on an empty store.
    pub(crate) async fn cache(&self) -> CacheHandle {
        self.cache_with(Settings::default()).await
    }

    /// Creates a handle on an empty store.
    pub(crate) async fn cache_with(&self, settings: Settings) -> CacheHandle {
        CacheHandle::new("conformance", self.store().await, settings)
    }

    /// Returns the clock of the stores, for a handle that must agree with them.
    pub(crate) fn clock(&self) -> Clock {
        self.time.as_ref().map_or_else(Clock::default, ManualClock::clock)
    }

    /// Creates two handles on two clients of one empty store, with the clock of the harness.
    pub(crate) async fn handles(&self) -> (CacheHandle, CacheHandle) {
        self.handles_with(Settings::default()).await
    }

    /// Creates two handles with these settings on two clients of one empty store, with the clock of
    /// the harness.
    pub(crate) async fn handles_with(&self, settings: Settings) -> (CacheHandle, CacheHandle) {
        let clock = self.clock();
        let handle = |store| {
            let cache = CacheHandle::new("conformance", store, settings.clone());
            cache.with_clock(clock.clone())
        };
        let (one, other) = self.clients().await;
        (handle(one), handle(other))
    }

    pub(crate) fn has_manual_time(&self) -> bool {
        self.time.is_some()
    }

    /// Returns the shortest time to live that the cases use. The store can tell it from twice as
    /// much.
    pub(crate) fn moment(&self) -> Duration {
        const MANUAL: Duration = Duration::from_millis(1);
        const ASLEEP: Duration = Duration::from_millis(50);
        let shortest = if self.has_manual_time() { MANUAL } else { ASLEEP };
        shortest.max(2 * self.profile.expiry_granularity)
    }

    /// Lets time pass until entries with this time to live have expired.
    pub(crate) async fn outlive(&self, ttl: Duration) {
        self.pass(ttl + self.profile.expiry_granularity).await;
    }

    /// Lets time pass until leases that were held for this time have ended. A store that counts in
    /// large units rounds it up, so that none ends early.
    pub(crate) async fn outlive_lease(&self, hold: Duration) {
        self.outlive(hold + self.profile.expiry_granularity).await;
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
            .field("has_limits", &self.has_limits())
            .field("has_clients", &self.make_clients.is_some())
            .field("is_wrapped", &self.wrap.is_some())
            .finish_non_exhaustive()
    }
}

fn boxed<C: Cache>(store: impl Future<Output = C> + Send + 'static) -> StoreFuture {
    Box::pin(async { Arc::new(store.await) as Arc<dyn Cache> })
}
