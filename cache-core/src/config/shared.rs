//! Stores that aliases share.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use super::invalid_setting;
use crate::Result;

/// The stores that a [`Backend`](super::Backend) has created, by the place of their entries.
///
/// Aliases that name the same place share a store.
///
/// # Examples
///
/// ```
/// use cache_core::config::SharedStores;
///
/// let stores = SharedStores::default();
/// let create = |max_entries: &usize| Ok(vec![0; *max_entries]);
/// let first = stores.get_or_create("pages", 300, create)?;
/// let second = stores.get_or_create("pages", 300, create)?;
/// assert!(std::sync::Arc::ptr_eq(&first, &second));
/// assert!(stores.get_or_create("pages", 500, create).is_err(), "the options differ");
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug)]
pub struct SharedStores<P, O, C> {
    by_place: Mutex<HashMap<P, (O, Arc<C>)>>,
}

impl<P, O, C> Default for SharedStores<P, O, C> {
    fn default() -> Self {
        Self { by_place: Mutex::default() }
    }
}

impl<P: Eq + Hash + Debug, O: PartialEq + Debug, C> SharedStores<P, O, C> {
    /// Returns the store at this place. Calls `create` if there is none yet.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`](crate::ErrorKind::Config) if the store was created with other
    /// options, and the errors of `create`.
    pub fn get_or_create(
        &self,
        place: P,
        options: O,
        create: impl FnOnce(&O) -> Result<C>,
    ) -> Result<Arc<C>> {
        match self.by_place.lock().unwrap_or_else(PoisonError::into_inner).entry(place) {
            Entry::Vacant(vacant) => {
                let store = Arc::new(create(&options)?);
                Ok(Arc::clone(&vacant.insert((options, store)).1))
            }
            Entry::Occupied(store) if store.get().0 == options => Ok(Arc::clone(&store.get().1)),
            Entry::Occupied(store) => {
                let (place, other) = (store.key(), &store.get().0);
                let expected =
                    format!("{other:?} like the other cache at {place:?}, or another LOCATION");
                Err(invalid_setting("OPTIONS", &format!("{options:?}"), &expected))
            }
        }
    }
}
