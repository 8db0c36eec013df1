//! The wrapper that makes a store in memory behave like a server.

use std::sync::Arc;

use cache_core::{Cache, Result};

use crate::{
    Call, Verb,
    intercept::{Intercept, intercept},
};

/// A wrapper that makes a store of this process behave like a store on a server.
///
/// Every call waits, values are encoded instead of kept as objects, and
/// [`get_now`](Cache::get_now) and [`set_now`](Cache::set_now) never answer. A test so sees what
/// would otherwise show up only with a server: a type that cannot be decoded again, calls that
/// overlap, and [round trips](crate::Recorder#round-trips).
///
/// Two of them around one store behave like two processes that share a server. The wrapped store is
/// therefore not reached by [`inner`](Cache::inner): put other wrappers outside this one.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use cache_core::{Cache, CacheHandle, Settings, Timeout};
/// use cache_locmem::LocMemCache;
/// use cache_testing::Remote;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// let server: Arc<dyn Cache> = Arc::new(LocMemCache::default());
/// let process = || {
///     let store = Remote::new(Arc::clone(&server));
///     CacheHandle::new("default", Arc::new(store), Settings::default())
/// };
/// let (here, there) = (process(), process());
///
/// here.set("greeting", "hello", Timeout::Default).await?;
/// assert_eq!(there.get::<String>("greeting").await?.as_deref(), Some("hello"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Remote {
    store: Arc<dyn Cache>,
}

impl Remote {
    /// Wraps a store.
    #[must_use]
    pub fn new(store: Arc<dyn Cache>) -> Self {
        Self { store }
    }
}

impl Intercept for Remote {
    fn must_wait(&self, _: Verb) -> bool {
        true
    }

    fn answered_now(&self, _: impl FnOnce() -> Call) {}

    async fn around<T, F>(&self, call: Call, run: impl FnOnce(usize) -> F + Send) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        // As if the request were sent here. Other calls of the same task can begin meanwhile.
        tokio::task::yield_now().await;
        run(call.keys.len()).await
    }
}

intercept!(Remote, except keeps_objects, inner {
    fn keeps_objects(&self) -> bool {
        false
    }

    // The wrapped store stands for a server, which is not in this process. Otherwise two of these
    // would be taken for one store, and share what processes cannot, such as the single flight.
    fn inner(&self) -> Option<&dyn Cache> {
        None
    }
});
