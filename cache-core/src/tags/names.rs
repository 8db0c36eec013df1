//! Tags as callers name them.

use super::Record;

/// The tags of an entry, for [`set_with`](crate::CacheHandle::set_with).
///
/// [`of`](Self::of) only names them: their generations are read when the entry is stored.
/// [`CacheHandle::tags`](crate::CacheHandle::tags) reads them at once, so that a purge between that
/// and the `set_with` is not lost.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use cache_core::{CacheHandle, Purge, Result, Settings, Tags, Timeout};
/// # use cache_locmem::LocMemCache;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// # let store = Arc::new(LocMemCache::default());
/// # let cache = CacheHandle::new("default", store, Settings::default());
/// let tags = Tags::of(["user:42", "team:7"]);
/// cache.set_with("user:42", "Ada", Timeout::Default, &tags).await?;
/// cache.purge_tags(["team:7"], Purge::Hard).await?;
/// assert_eq!(cache.get::<String>("user:42").await?, None);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Tags {
    /// Sorted and without duplicates.
    pub(crate) names: Box<[Box<str>]>,
    pub(crate) seen: Seen,
    /// The generation of keys at the time, which `clear` replaces, if they were read.
    pub(crate) key_generation: Option<u64>,
}

/// What is known of the generations of tags.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// They are read when the entry is stored.
    Unread,
    /// In the order of the names.
    Read(Box<[Record]>),
    /// The store has failed. An entry is not stored either.
    Unknown,
}

impl Tags {
    /// Names tags, whose generations are read when the entry is stored.
    ///
    /// A purge after the data of the entry was read and before the entry is stored is lost then.
    /// Use [`CacheHandle::tags`](crate::CacheHandle::tags) before reading the data, or
    /// [`fetch`](crate::CacheHandle::fetch), if that matters.
    #[must_use]
    pub fn of<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let mut names: Vec<Box<str>> =
            names.into_iter().map(|name| Box::from(name.as_ref())).collect();
        names.sort_unstable();
        names.dedup();
        Self { names: names.into(), seen: Seen::Unread, key_generation: None }
    }

    /// Returns the names, sorted and without duplicates.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }
}
