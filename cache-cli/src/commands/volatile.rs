//! Stores whose entries do not outlive the command.

use cachette::{
    CacheHandle,
    stores::{DummyCache, LocMemCache},
};

use crate::terminal;

/// Prints a note if the store keeps nothing for the next command to find.
///
/// Otherwise `set` followed by a `get` that misses looks like an error of the store.
pub(super) fn warn(cache: &CacheHandle) {
    let store = cache.store();
    let why = if store.downcast_ref::<LocMemCache>().is_some() {
        "keeps its entries in the memory of one process: this command sees no entry of another \
         process, and an entry that it stores is gone when it exits"
    } else if store.downcast_ref::<DummyCache>().is_some() {
        "stores nothing"
    } else {
        return;
    };
    terminal::note(&format!("cache {:?} ({}) {why}", cache.alias(), store.name()));
}
