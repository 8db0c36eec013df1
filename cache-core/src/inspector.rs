//! Looking inside a store, for operators.

use async_trait::async_trait;

use crate::Result;

/// What operators see of a store besides its entries: the keys, and where an entry lies.
///
/// A store offers it by returning `Some` from [`Cache::inspector`](crate::Cache::inspector).
/// Applications do not need it: to remove a group of entries, give them a VERSION or a tag. The
/// crate `cache-conformance` tests this contract in its group `inspection`.
///
/// All keys are composed: they contain the prefix and the version.
/// [`CacheHandle::keys`](crate::CacheHandle::keys) and
/// [`CacheHandle::inspect`](crate::CacheHandle::inspect) work on the keys of callers.
///
/// # Wrappers
///
/// A wrapper that changes keys must not forward [`Cache::inspector`](crate::Cache::inspector).
#[async_trait]
pub trait Inspector: Send + Sync {
    /// Lists the keys in the store that begin with `prefix`.
    ///
    /// # Consistency
    ///
    /// The listing is no snapshot. A key that exists from the first page to the last is listed at
    /// least once, and usually once. A key that is stored or removed meanwhile may be listed or
    /// not.
    ///
    /// # Performance
    ///
    /// Takes time in proportion to the keys in the store, in steps of about a thousand keys, each
    /// of which holds a server or a lock for milliseconds at most. Memory is bounded by the size of
    /// a page.
    fn keys(&self, prefix: &str) -> Box<dyn KeyPages + '_>;

    /// Describes where the entry of a key lies, whether there is one or not.
    ///
    /// `side` is the key of [`Ask::Any`](crate::Ask::Any) for this key, under which some stores
    /// keep the lease of an entry.
    ///
    /// # Errors
    ///
    /// Those of [`Cache::get`](crate::Cache::get).
    async fn locate(&self, key: &str, side: &str) -> Result<Location>;
}

/// The pages of [`Inspector::keys`].
#[async_trait]
pub trait KeyPages: Send {
    /// Returns the next keys, possibly none, or `None` at the end.
    ///
    /// # Errors
    ///
    /// Those of [`Cache::get`](crate::Cache::get). The listing cannot be continued after an error.
    async fn next_page(&mut self) -> Result<Option<Vec<ListedKey>>>;
}

/// A key in a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedKey {
    /// The key. Bytes of another application that are not UTF-8 are replaced.
    pub key: String,
    /// What the store has under it.
    pub state: KeyState,
}

/// What a store has under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    /// An entry.
    Live,
    /// An entry that has expired and still takes up space.
    Expired,
    /// No entry, but a record of a [lease](crate::Leases), held or not.
    Lease,
}

/// Where the entry of a key lies, by [`Inspector::locate`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// The parts of the place, as names chosen by the store and values:
    /// `("server", "127.0.0.1:6379")`, `("file", "/var/cache/shop/7f/83b1….entry")`.
    pub place: Vec<(String, String)>,
    /// The size of the stored value in bytes, as the store keeps it. `None` if there is no entry or
    /// the store does not know it.
    pub size: Option<u64>,
    /// Whether somebody holds a lease of the key. `None` if the store cannot tell.
    pub is_leased: Option<bool>,
}
