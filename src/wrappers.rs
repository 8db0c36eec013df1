//! Wrappers that the builder puts around stores.

use std::{fmt, sync::Arc};

use cache_core::{Cache, Error, ErrorKind, Result};

use crate::caches::quoted;

type Wrap = Box<dyn Fn(Arc<dyn Cache>) -> Arc<dyn Cache> + Send + Sync>;

/// The functions that wrap stores, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Wrappers {
    every_store: Vec<Wrap>,
    by_alias: Vec<(String, Wrap)>,
}

impl Wrappers {
    pub(crate) fn add<W: Cache>(
        &mut self,
        wrap: impl Fn(Arc<dyn Cache>) -> W + Send + Sync + 'static,
    ) {
        self.every_store.push(boxed(wrap));
    }

    pub(crate) fn add_for<W: Cache>(
        &mut self,
        alias: &str,
        wrap: impl Fn(Arc<dyn Cache>) -> W + Send + Sync + 'static,
    ) {
        self.by_alias.push((alias.into(), boxed(wrap)));
    }

    /// Checks that each alias with a wrapper is one of `aliases`.
    pub(crate) fn check<'a>(&self, aliases: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
        let unknown =
            self.by_alias.iter().find(|(wrapped, _)| aliases.clone().all(|a| a != wrapped));
        unknown.map_or(Ok(()), |(alias, _)| {
            let message = format!(
                "CachesBuilder::wrap_cache: unknown cache {alias:?}; configured caches: {}",
                quoted(aliases)
            );
            Err(Error::new(ErrorKind::Config, message))
        })
    }
}

fn boxed<W: Cache>(wrap: impl Fn(Arc<dyn Cache>) -> W + Send + Sync + 'static) -> Wrap {
    Box::new(move |store| Arc::new(wrap(store)))
}

impl fmt::Debug for Wrappers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrappers")
            .field("every_store", &self.every_store.len())
            .field("by_alias", &self.by_alias.iter().map(|(alias, _)| alias).collect::<Vec<_>>())
            .finish()
    }
}

/// Wraps the stores of one build.
///
/// Aliases that share a store still share it afterwards: each store is wrapped once.
pub(crate) struct Wrapping<'a> {
    wrappers: &'a Wrappers,
    /// Each store and its wrapped form. Holding the store ensures that no other store gets its
    /// address.
    wrapped: Vec<(Arc<dyn Cache>, Arc<dyn Cache>)>,
}

impl<'a> Wrapping<'a> {
    pub(crate) fn new(wrappers: &'a Wrappers) -> Self {
        Self { wrappers, wrapped: Vec::new() }
    }

    /// The store of `alias` in its wrappers, the alias's own outermost.
    pub(crate) fn apply(&mut self, alias: &str, store: Arc<dyn Cache>) -> Arc<dyn Cache> {
        let wrappers = self.wrappers;
        let of_alias = wrappers.by_alias.iter().filter(|(wrapped, _)| wrapped == alias);
        of_alias.fold(self.shared(store), |store, (_, wrap)| wrap(store))
    }

    fn shared(&mut self, store: Arc<dyn Cache>) -> Arc<dyn Cache> {
        let same = |(bare, _): &&(Arc<dyn Cache>, _)| Arc::ptr_eq(bare, &store);
        if let Some((_, wrapped)) = self.wrapped.iter().find(same) {
            return Arc::clone(wrapped);
        }
        let wrappers = &self.wrappers.every_store;
        let wrapped = wrappers.iter().fold(Arc::clone(&store), |store, wrap| wrap(store));
        self.wrapped.push((store, Arc::clone(&wrapped)));
        wrapped
    }
}
