//! A wrapper that changes nothing.

use std::sync::Arc;

use cache_core::{Cache, forward_cache};

/// A wrapper that forwards every call to its store.
///
/// [`Harness::wrapped_by`](crate::Harness::wrapped_by) with this wrapper verifies that a store
/// behaves the same inside a wrapper.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use cache_conformance::Forwarding;
/// use cache_core::Cache;
/// use cache_locmem::LocMemCache;
///
/// let store: Arc<dyn Cache> = Arc::new(Forwarding::new(Arc::new(LocMemCache::default())));
/// assert!(store.downcast_ref::<LocMemCache>().is_some());
/// ```
#[derive(Debug)]
pub struct Forwarding {
    store: Arc<dyn Cache>,
}

impl Forwarding {
    /// Wraps a store.
    #[must_use]
    pub fn new(store: Arc<dyn Cache>) -> Self {
        Self { store }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Cache for Forwarding {
    forward_cache!(self.store);
}
