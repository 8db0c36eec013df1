//! Statistics of a store, for operators.

/// Statistics of a store. What a store does not know is `None`.
///
/// # Examples
///
/// ```
/// use cache_core::Stats;
///
/// let stats = Stats { entries: Some(3), ..Stats::default() };
/// assert_eq!(stats.bytes, None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The number of entries that take up space, including expired ones that are not removed yet.
    pub entries: Option<u64>,
    /// The number of these entries that have expired.
    pub expired: Option<u64>,
    /// The size of the entries in bytes, as the store counts it.
    pub bytes: Option<u64>,
    /// How many lookups found an entry, since the servers were started. Servers count the lookups
    /// of all their clients.
    pub hits: Option<u64>,
    /// How many lookups found no entry, counted like [`hits`](Self::hits).
    pub misses: Option<u64>,
    /// How many entries were evicted for lack of room, counted like [`hits`](Self::hits).
    pub evictions: Option<u64>,
    /// How many entries were removed because they had expired, counted like
    /// [`hits`](Self::hits).
    pub expirations: Option<u64>,
    /// The servers that cannot be reached, and why. The other numbers do not include them.
    pub unreachable: Vec<(String, String)>,
    /// Other statistics, as names chosen by the store and values:
    /// `("127.0.0.1:11211 evictions", "17")`.
    pub details: Vec<(String, String)>,
}
