//! Stores whose entries do not outlive the command.

use cachette::{
    CacheHandle,
    stores::{DummyCache, LocMemCache},
};

use crate::terminal;

/// Prints a note if the next command cannot find what this one stores.
///
/// Without the note, a `get` that misses after a `set` looks like an error of the store.
pub(super) fn warn(cache: &CacheHandle) {
    let store = cache.store();
    let fact = if store.downcast_ref::<LocMemCache>().is_some() {
        "keeps its entries in the memory of one process: this command sees no entries of other \
         processes, and its own entries are gone when it exits"
    } else if store.downcast_ref::<DummyCache>().is_some() {
        "stores nothing"
    } else {
        return;
    };
    terminal::print_note(&format!("cache {:?} ({}) {fact}", cache.alias(), store.name()));
}
