//! Settings of an alias, apart from its store.

use std::time::Duration;

use serde::Deserialize;

use crate::{Codec, FillOptions, KeyCheck, KeyFunction, TagOptions, Timeout, Version};

/// The settings of a [`CacheHandle`](crate::CacheHandle): the part of a cache's configuration that
/// does not concern its store.
///
/// The names in upper case are those of
/// [Django's CACHES](https://docs.djangoproject.com/en/5.2/ref/settings/#caches).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use cache_core::Settings;
///
/// let settings = Settings {
///     timeout: Duration::from_secs(60).into(),
///     key_prefix: "shop".into(),
///     ..Settings::default()
/// };
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    /// TIMEOUT: the time to live of entries that are stored with [`Timeout::Default`].
    ///
    /// `Timeout::Default` here means Django's default of 300 seconds.
    pub timeout: Timeout,
    /// KEY_PREFIX, which separates applications that share a store. Empty by default.
    pub key_prefix: String,
    /// VERSION, 1 by default.
    pub version: Version,
    /// KEY_FUNCTION.
    pub key_function: KeyFunction,
    /// What to do with keys that break Django's rule for keys.
    pub key_check: KeyCheck,
    /// How values are encoded.
    pub codec: Codec,
    /// Codecs whose entries are decoded in addition to those of `codec`, MessagePack and JSON.
    ///
    /// Needed only to read old entries after `codec` was changed from postcard to another one.
    pub also_decode: Vec<Codec>,
    /// What to do with entries that cannot be decoded as the requested type.
    pub undecodable: Undecodable,
    /// What to do while the store is unavailable.
    pub on_outage: OnOutage,
    /// For how long the callers of `get_or_set` wait for the one that produces the value, before
    /// one of them produces it as well. 5 seconds by default, and at most 24 days and 20 hours in a
    /// configuration; zero means that no caller waits.
    ///
    /// Counted from the beginning of the last producer. This is not a timeout of producers: a
    /// producer that may hang needs its own.
    pub patience: Duration,
    /// Who is kept from producing a value that a caller of `get_or_set` produces already, and whose
    /// writes keep that value from being stored.
    pub share: Share,
    /// FILL: the defaults of `fetch`, which needs the feature of that name.
    pub fill: FillOptions,
    /// TAGS: the options of tags.
    pub tags: TagOptions,
    /// CLEAR: what [`clear`](crate::CacheHandle::clear) removes.
    pub clear: Clear,
}

/// PATIENCE by default.
const PATIENCE: Duration = Duration::from_secs(5);

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Timeout::default(),
            key_prefix: String::new(),
            version: Version::default(),
            key_function: KeyFunction::default(),
            key_check: KeyCheck::default(),
            codec: Codec::default(),
            also_decode: Vec::new(),
            undecodable: Undecodable::default(),
            on_outage: OnOutage::default(),
            patience: PATIENCE,
            share: Share::default(),
            fill: FillOptions::default(),
            tags: TagOptions::default(),
            clear: Clear::default(),
        }
    }
}

/// Where the [leases](crate::Leases) of a [`CacheHandle`](crate::CacheHandle) are kept.
///
/// A caller of `get_or_set` that produces a value holds a lease of its key. While it does, others
/// wait for the value. A write or a delete ends the lease, so that the value, which may have been
/// read before, is not stored after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Share {
    /// In the store, if it has leases: they hold for all processes that use the store.
    ///
    /// If the store has none, as a store of your own without
    /// [`Cache::leases`](crate::Cache::leases), writes of other processes do not end a lease. A
    /// second entry in the store then keeps other processes from producing, at the cost of two more
    /// round trips for a miss.
    #[default]
    Store,
    /// In this process: in the handle, its clones and the handles derived from it.
    ///
    /// Other processes produce as well, and their writes do not end a lease. Nothing but entries is
    /// stored. Use it behind a proxy that hides restarts of memcached, or if a store must not
    /// receive the commands for leases.
    Process,
}

/// What [`CacheHandle::clear`](crate::CacheHandle::clear) removes.
///
/// | | `Store` | `Generation` |
/// |---|---|---|
/// | removes | what the store removes: all of it, or the entries with the KEY_PREFIX | the entries of the KEY_PREFIX, in all versions |
/// | costs | depends on the store; Redis and databases look at every entry | one round trip |
/// | the memory of the entries | is free at once | is free when they expire, are evicted or culled |
/// | other processes see it | at once | up to a second later |
/// | locks and the records of tags | are lost | stay |
/// | each operation | | one more round trip once a second |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Clear {
    /// The store clears itself, as in Django.
    #[default]
    Store,
    /// All keys contain a random number, the generation, which `clear` replaces. The entries with
    /// the previous one cannot be reached any more.
    ///
    /// Other applications keep their entries on a server that can only be cleared as a whole, such
    /// as memcached. Aliases with the same store and KEY_PREFIX share the generation if all of them
    /// have this setting. Keys are 18 characters longer than those of Django: `shop:1:k` becomes
    /// `shop:g1f0c63a09be74d25:1:k`. A custom KEY_FUNCTION receives the prefix
    /// `shop:g1f0c63a09be74d25`, which its result must depend on.
    ///
    /// The generation has a record of its own, without expiry. If the store loses it, all entries
    /// are missing, and none of them is returned again. A store that culls at random, such as that
    /// of files, may lose it whenever it is full.
    Generation,
}

/// What to do with an entry that cannot be decoded as the requested type.
///
/// Reasons are a type that changed with a deployment, bytes of another application, or corruption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Undecodable {
    /// Treat the entry as a miss, log it and count it. The application then produces the value
    /// again.
    #[default]
    Miss,
    /// Return [`ErrorKind::Decode`](crate::ErrorKind::Decode).
    Error,
}

/// What the verbs of a [`CacheHandle`](crate::CacheHandle) do if the store fails in a way that may
/// pass: with [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) or another error that
/// [is temporary](crate::Error::is_temporary).
///
/// The rule is the same for every store. A store may have an option that comes before it, such as
/// `when_dead` of memcached: the handle sees only the errors that the store returns.
///
/// | | `Produce` | `Miss` | `Error` |
/// |---|---|---|---|
/// | `get_or_set` cannot read | produces, does not store | the same | returns the error |
/// | `get_or_set` cannot store, or the value is too large | returns the value | the same | returns the error |
/// | other verbs | return the error | behave like an empty store | return the error |
///
/// `get_or_set` stands for all verbs that produce missing values. The errors that are not returned
/// are counted in the metric `cachette_outage_errors_total`, and one is logged every ten seconds.
/// Other errors, such as an invalid key, a wrong configuration or a missing table, are always
/// returned.
///
/// Under `Produce` and `Miss`, `get_or_set` does not wait for a server that is known to be away:
/// after three `Unavailable` in a row it does not read that server for a second. Then one caller
/// tries again. A handle, its clones and the handles derived from it share what they know. Writes
/// of other verbs are always attempted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OnOutage {
    /// Produce in the verbs that produce missing values, and return the error of others.
    #[default]
    Produce,
    /// Return the error.
    Error,
    /// Behave like an empty store that stores nothing, as django-redis does with
    /// `IGNORE_EXCEPTIONS`.
    ///
    /// Reads miss. `set` does nothing; `add`, `touch` and `delete` return `false`; `set_many`
    /// returns all its keys; `incr` and `incr_version` return
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound); `incr_or_set` returns its initial
    /// value; `get_or_set` returns what it produced; no lock is held. `clear`, `stats`,
    /// `purge_expired` and `close` still return the error.
    ///
    /// An entry whose `set` or `delete` was lost keeps its old value, which is returned when the
    /// store is back. Use this policy only if outdated entries are acceptable until they expire.
    Miss,
}
