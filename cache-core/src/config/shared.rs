//! One store for all aliases that mean the same one.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use super::invalid_setting;
use crate::Result;

/// The stores that a [`Backend`](super::Backend) has made, by the place where their entries are: aliases that name the
/// same place share a store.
///
/// ```
/// use cache_core::config::SharedStores;
///
/// let stores = SharedStores::default();
/// let make = |max_entries: &usize| Ok(vec![0; *max_entries]);
/// let one = stores.get_or_create("pages", 300, make)?;
/// let same = stores.get_or_create("pages", 300, make)?;
/// assert!(std::sync::Arc::ptr_eq(&one, &same));
/// assert!(stores.get_or_create("pages", 500, make).is_err(), "one store has one set of options");
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug)]
pub struct SharedStores<P, O, C> {
    made: Mutex<HashMap<P, (O, Arc<C>)>>,
}

impl<P, O, C> Default for SharedStores<P, O, C> {
    fn default() -> Self {
        Self { made: Mutex::default() }
    }
}

impl<P: Eq + Hash + Debug, O: PartialEq + Debug, C> SharedStores<P, O, C> {
    /// The store at this place, made if it is the first one there.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) where it was made with other options, and what `make` reports.
    pub fn get_or_create(
        &self,
        place: P,
        options: O,
        make: impl FnOnce(&O) -> Result<C>,
    ) -> Result<Arc<C>> {
        match self.made.lock().unwrap_or_else(PoisonError::into_inner).entry(place) {
            Entry::Vacant(free) => {
                let store = Arc::new(make(&options)?);
                Ok(Arc::clone(&free.insert((options, store)).1))
            }
            Entry::Occupied(taken) if taken.get().0 == options => Ok(Arc::clone(&taken.get().1)),
            Entry::Occupied(taken) => {
                let (place, theirs) = (taken.key(), &taken.get().0);
                let expected = format!(
                    "{theirs:?} as of another cache at {place:?}, or a LOCATION of its own"
                );
                Err(invalid_setting("OPTIONS", &format!("{options:?}"), &expected))
            }
        }
    }
}
