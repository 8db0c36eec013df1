//! A testing kit for code that uses cachette: wrappers that inject faults, record calls and hold
//! calls, and a clock that a test advances.
//!
//! Use it through the feature `testing` of `cachette`, in the dev-dependencies:
//!
//! ```toml
//! [dev-dependencies]
//! cachette = { version = "0.1", features = ["testing"] }
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! ```
//!
//! | type | in a test |
//! |---|---|
//! | [`Chaos`] | adds latency, errors, hanging calls, lost replies and half-done batches |
//! | [`Recorder`] | records calls, with their keys, and counts round trips |
//! | [`Pause`] | holds a call until the test releases it, for races without sleeps |
//! | [`Remote`] | makes a store in memory behave like a server |
//! | [`ManualClock`] | sets the time of the stores, the handles and the pages |
//!
//! The wrappers also intercept the [`Leases`](cache_core::Leases) of a store: [`Verb::Acquire`],
//! [`Verb::Fill`] and [`Verb::Release`] are calls like any other.
//!
//! # A test with a store that hangs
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use cachette::{
//!     CacheHandle, Settings,
//!     stores::LocMemCache,
//!     testing::{Chaos, Fault, Verbs},
//! };
//! use tokio::time::{Instant, timeout};
//!
//! /// The service under test.
//! struct Prices {
//!     cache: CacheHandle,
//! }
//!
//! impl Prices {
//!     /// Returns a price from the cache, or from the database if the cache takes too long.
//!     async fn price(&self, article: u32) -> u64 {
//!         let key = format!("price:{article}");
//!         let ttl = Duration::from_secs(60);
//!         let cached = self.cache.get_or_set(&key, ttl, async || load_price(article).await);
//!         match timeout(Duration::from_millis(100), cached).await {
//!             Ok(Ok(price)) => price,
//!             Ok(Err(_)) | Err(_) => load_price(article).await,
//!         }
//!     }
//! }
//!
//! async fn load_price(article: u32) -> u64 {
//!     u64::from(article) * 100
//! }
//!
//! # // Rustdoc does not run functions with `#[test]`: let `tokio::test` run a plain function.
//! # mod tokio {
//! #     pub use ::tokio::{main as test, *};
//! # }
//! #[tokio::test(flavor = "current_thread", start_paused = true)]
//! async fn price_is_loaded_if_the_cache_hangs() {
//!     let chaos = Chaos::new(Arc::new(LocMemCache::default()));
//!     let cache = CacheHandle::new("default", Arc::new(chaos.clone()), Settings::default());
//!     let prices = Prices { cache };
//!
//!     chaos.inject(Fault::hang().on(Verbs::READS));
//!     let start = Instant::now();
//!     assert_eq!(prices.price(7).await, 700);
//!     assert_eq!(start.elapsed().as_millis(), 100);
//!     assert_eq!(chaos.affected(), 1);
//! }
//! # fn main() { price_is_loaded_if_the_cache_hangs(); }
//! ```
//!
//! # Wrapping the stores of a `Caches`
//!
//! Each wrapper is a [`Cache`](cache_core::Cache) around another one, so wrappers can be nested.
//! `CachesBuilder::wrap` takes their constructors, and
//! [`downcast_ref`](trait@cache_core::Cache#method.downcast_ref) finds a wrapper again:
//!
//! ```
//! use cachette::{
//!     Caches, ErrorKind,
//!     testing::{Chaos, Fault, Recorder, Verb},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> cachette::Result<()> {
//! let caches =
//!     Caches::builder().url("default", "locmem://").wrap(Chaos::new).wrap(Recorder::new);
//! let cache = caches.build().await?.get("default")?;
//! let chaos: &Chaos = cache.store().downcast_ref().expect("every store is wrapped");
//! let recorder: &Recorder = cache.store().downcast_ref().expect("every store is wrapped");
//!
//! chaos.inject(Fault::error(ErrorKind::Unavailable));
//! assert!(cache.get::<String>("greeting").await.is_err());
//! assert_eq!(recorder.count(Verb::Get), 1);
//! # Ok(()) }
//! ```
//!
//! # Time
//!
//! `CachesBuilder::clock` sets one clock for a whole `Caches`. With a [`ManualClock`], nothing
//! expires and no page ages until the test advances it:
//!
//! ```
//! use std::time::Duration;
//!
//! use cachette::{Caches, testing::ManualClock};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> cachette::Result<()> {
//! let time = ManualClock::new();
//! let caches =
//!     Caches::builder().url("default", "locmem://").clock(time.clock()).build().await?;
//! let cache = caches.get("default")?;
//!
//! cache.set("session", "Ada", Duration::from_secs(3600)).await?;
//! time.advance(Duration::from_secs(3599));
//! assert!(cache.contains("session").await?);
//! time.advance(Duration::from_secs(1));
//! assert!(!cache.contains("session").await?);
//! # Ok(()) }
//! ```
//!
//! A caller that waits by such a clock is woken when the test advances it. Here `fetch` gets the
//! stale value, because the database takes too long:
//!
//! ```
//! use std::{future::pending, time::Duration};
//!
//! use cachette::{CacheHandle, Caches, FetchError, testing::ManualClock};
//!
//! async fn news<F>(
//!     cache: CacheHandle,
//!     load: impl FnOnce() -> F + Send + 'static,
//! ) -> Result<String, FetchError>
//! where
//!     F: Future<Output = String> + Send + 'static,
//! {
//!     let fetch = cache.fetch("news", async move |_| load().await).ttl(Duration::from_secs(60));
//!     fetch.stale_for(Duration::from_secs(3600)).soft_timeout(Duration::from_millis(100)).await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let time = ManualClock::new();
//! let caches =
//!     Caches::builder().url("default", "locmem://").clock(time.clock()).build().await?;
//! let cache = caches.get("default")?;
//!
//! news(cache.clone(), async || "old".into()).await?;
//! time.advance(Duration::from_secs(60));
//! let call = tokio::spawn(news(cache, pending));
//! tokio::task::yield_now().await;
//! time.advance(Duration::from_millis(100));
//! assert_eq!(call.await??, "old");
//! # Ok(()) }
//! ```
//!
//! | what | its time |
//! |---|---|
//! | expiry in `locmem`, `filebased` and `db`; [`CacheHandle::clock`](cache_core::CacheHandle::clock); the age of pages | the clock of the `Caches` |
//! | the patience of `get_or_set`, the times and timeouts of `fetch`, waiting for a lock | the clock of the `Caches`: a caller waits until the test advances it |
//! | expiry in a store that was opened before, and added with `CachesBuilder::store` | the clock that the store was opened with |
//! | expiry in `memcached` and `redis` | the clock of the server |
//! | the latency of [`Chaos`], and timeouts of stores and of your own code | the timer of tokio |
//!
//! The timer of tokio does not sleep in a test with `#[tokio::test(start_paused = true)]`: it moves
//! on to the next deadline whenever every task waits. A test may use both; they do not move each
//! other.

mod call;
mod chaos;
mod fault;
mod intercept;
mod pause;
mod recorder;
mod remote;
mod verb;

pub use cache_core::ManualClock;

pub use self::{
    call::Call,
    chaos::Chaos,
    fault::Fault,
    pause::{Held, Pause},
    recorder::Recorder,
    remote::Remote,
    verb::{Verb, Verbs},
};
