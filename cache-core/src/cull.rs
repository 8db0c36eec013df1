//! The size of a store after a cull.

/// Returns the maximum number of entries after a cull of a store with these limits.
///
/// A store that exceeds MAX_ENTRIES removes entries until at most this many remain: MAX_ENTRIES
/// minus MAX_ENTRIES / CULL_FREQUENCY, rounded as integers are. This is what
/// [Django](https://docs.djangoproject.com/en/5.2/topics/cache/#cache-arguments) leaves when it
/// culls at the limit. If CULL_FREQUENCY is 0, the result is 0: the store is cleared.
///
/// # Examples
///
/// ```
/// use cache_core::entries_after_cull;
///
/// assert_eq!(entries_after_cull(300, 3), 200);
/// assert_eq!(entries_after_cull(300, 0), 0);
/// ```
#[must_use]
pub const fn entries_after_cull(max_entries: u64, cull_frequency: u64) -> u64 {
    match max_entries.checked_div(cull_frequency) {
        Some(removed) => max_entries - removed,
        None => 0,
    }
}
