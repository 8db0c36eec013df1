//! What a store tells an operator about itself.

/// How full a store is, as far as it can tell. What it can't is `None`.
///
/// ```
/// use cache_core::Stats;
///
/// let stats = Stats { entries: Some(3), ..Stats::default() };
/// assert_eq!(stats.bytes, None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many entries take up room: those too that have expired and were not removed yet.
    pub entries: Option<u64>,
    /// How many of these have expired.
    pub expired: Option<u64>,
    /// The room that the entries take, in bytes, as the store counts it.
    pub bytes: Option<u64>,
    /// What else there is to know, by names of the store's own: `("127.0.0.1:11211 evictions", "17")`.
    pub details: Vec<(String, String)>,
}
