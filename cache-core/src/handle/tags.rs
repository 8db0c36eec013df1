//! Verbs with tags.

use std::{sync::Arc, time::Duration};

use futures_util::future::join;
use serde::Serialize;

use crate::{
    CacheHandle, Error, ErrorKind, Purge, Result, Tags, Timeout, Value,
    codec::{self, MAX_TAG_NAME, MAX_TAGS},
    key::shown,
    meta::{Meta, Tag},
    observe::TAG_PURGES,
    tags::{Record, Records, Seen, record_ttl},
    timeout::Lifetime,
};

/// Removing entries in groups.
///
/// An entry can have up to 64 tags. [`purge_tags`](Self::purge_tags) removes all entries with a
/// tag, however many, in all processes that use the store and the KEY_PREFIX, whatever their
/// VERSION. The same tags are those of the pages of `cachette::http`.
///
/// # Guarantees
///
/// After [`purge_tags`](Self::purge_tags) has returned, no read that begins later returns an entry
/// whose [`tags`](Self::tags) were read before the purge. Each tag has a record in the store with
/// two random numbers, and an entry those that the tag had. A purge replaces a number. If the store
/// evicts a record, the entries with the tag are missing, and none of them is returned again.
///
/// | the record of a tag | `get`, `get_many`, `get_shared`, `get_and_touch`, `update` | `get_or_set` | `fetch` |
/// |---|---|---|---|
/// | is unchanged | the value | the value | the value |
/// | was purged softly | a miss | stale | stale |
/// | was purged, or is lost | a miss | produces | missing |
/// | cannot be read | as if the entry could not be read | the same | the same |
///
/// [`contains`](Self::contains), [`ttl`](Self::ttl), [`touch`](Self::touch), [`add`](Self::add) and
/// [`delete`](Self::delete) do not look at tags: an entry that was purged counts as existing until
/// it expires or is replaced.
///
/// What is not guaranteed: a read from a replica that lags returns a purged entry for the lag. If a
/// soft and a hard purge of a tag happen at the same time, either may take effect.
///
/// # Performance
///
/// Entries without tags cost nothing. A hit of an entry with tags costs one round trip more, in
/// which the records of all its tags are read, or none if the caller of [`fetch`](Self::fetch)
/// names them. In a store of this process an object, as of
/// [`set_shared_with`](Self::set_shared_with), is compared with a counter of purges instead.
impl CacheHandle {
    /// Reads the generations of tags, to be called before the data of an entry is read.
    ///
    /// A tag without a record gets one. Pass the result to [`set_with`](Self::set_with) of the same
    /// cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Purge, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # async fn load(_: u64) -> Result<String> { Ok("Ada".into()) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// let tags = cache.tags(["user:42"]).await?;
    /// let user = load(42).await?;
    /// // Meanwhile, the user is changed.
    /// cache.purge_tags(["user:42"], Purge::Hard).await?;
    /// cache.set_with("user:42", &user, Timeout::Default, &tags).await?;
    /// assert_eq!(cache.get::<String>("user:42").await?, None);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::TooLarge`] for more than 64 tags or a name of more than 255 bytes, and
    /// [`ErrorKind::InvalidKey`] for a name that breaks the rules of keys. See
    /// [Errors](CacheHandle#errors) for the others.
    ///
    /// # Performance
    ///
    /// One round trip, and one more if a tag has no record.
    pub async fn tags<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Result<Tags> {
        let tags = Tags::of(names);
        self.check_tags(&tags.names)?;
        if self.must_learn() && !self.learned().await? {
            return Ok(Tags { seen: Seen::Unknown, ..tags });
        }
        let key_generation = self.key_generation();
        let seen = self.see_tags(&tags.names, record_ttl(Some(Duration::ZERO))).await;
        let seen = seen.map(|mut records| {
            // The time to live of the entry is not known yet.
            records.iter_mut().for_each(|record| record.is_new = false);
            Seen::Read(records)
        });
        let seen = self.unless_outage(seen, || Seen::Unknown)?;
        Ok(Tags { seen, key_generation, ..tags })
    }

    /// Stores a value with tags and replaces an existing entry.
    ///
    /// Like [`set`](Self::set), except that an integer cannot be counted with
    /// [`incr`](Self::incr). [`update`](Self::update) keeps the tags of an entry, other verbs that
    /// replace it do not.
    ///
    /// # Errors
    ///
    /// Same as [`set`](Self::set) and [`tags`](Self::tags).
    ///
    /// # Performance
    ///
    /// One round trip, in which the records of the tags are given a longer time to live if they
    /// need one. [`Tags::of`] reads them first: one more round trip, or two if a tag has no record.
    pub async fn set_with<T>(
        &self,
        key: &str,
        value: &T,
        timeout: impl Into<Timeout>,
        tags: &Tags,
    ) -> Result<()>
    where
        T: Serialize + ?Sized,
    {
        let value = self.encode(value)?;
        self.put_with(key, value, timeout.into(), tags).await
    }

    /// Stores an object with tags, like [`set_shared`](Self::set_shared).
    ///
    /// # Errors
    ///
    /// Same as [`set_with`](Self::set_with).
    pub async fn set_shared_with<T>(
        &self,
        key: &str,
        object: &Arc<T>,
        timeout: impl Into<Timeout>,
        tags: &Tags,
    ) -> Result<()>
    where
        T: Serialize + Send + Sync + 'static,
    {
        let value = self.share(object)?;
        self.put_with(key, value, timeout.into(), tags).await
    }

    /// Removes all entries that have one of these tags, or makes them stale.
    ///
    /// Concerns the values and pages of all versions and processes. The entries themselves stay in
    /// the store until they expire or are replaced.
    ///
    /// # Errors
    ///
    /// Returns the error of the store whatever `on_outage` says: the entries may not have been
    /// purged, and nothing is tried later. Returns [`ErrorKind::InvalidKey`] for a name that breaks
    /// the rules of keys; nothing was purged then.
    ///
    /// # Performance
    ///
    /// One round trip for a hard purge, and two for a soft one, however many entries there are.
    pub async fn purge_tags<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
        purge: Purge,
    ) -> Result<()> {
        let Tags { names, .. } = Tags::of(names);
        for name in &names {
            self.key(name)?;
        }
        let records = self.tag_records(&names);
        if records.is_empty() {
            return Ok(());
        }
        let keys: Vec<&str> = records.iter().map(String::as_str).collect();
        Records::of(self).purge(&keys, purge, self.view.clock.unix_time()).await?;
        self.count_tag_purges(keys.len(), purge);
        Ok(())
    }

    /// Counts tags that were purged in the metric `cachette_tag_purges_total`.
    #[doc(hidden)]
    pub fn count_tag_purges(&self, tags: usize, purge: Purge) {
        let kind = match purge {
            Purge::Hard => "hard",
            Purge::Soft => "soft",
        };
        metrics::counter!(TAG_PURGES, "cache" => self.view.alias.to_string(), "kind" => kind)
            .increment(tags.try_into().unwrap_or(u64::MAX));
    }

    /// Stores a value with tags.
    async fn put_with(&self, key: &str, value: Value, timeout: Timeout, tags: &Tags) -> Result<()> {
        self.check_tags(&tags.names)?;
        if self.must_learn() && !self.learned().await? {
            return Ok(());
        }
        let generation = self.key_generation();
        let key = self.key_in(generation, key)?;
        if tags.key_generation.is_some() && tags.key_generation != generation {
            // The tags were read before a `clear`, and the value may have been read before it.
            return self.put(&key, value, Timeout::EXPIRED).await;
        }
        let ttl = match self.lifetime(timeout) {
            _ if tags.names.is_empty() => return self.put(&key, value, timeout).await,
            Lifetime::Expired => return self.put(&key, value, timeout).await,
            Lifetime::For(ttl) => Some(ttl),
            Lifetime::Forever => None,
        };
        let read;
        let records = match &tags.seen {
            Seen::Read(records) => records,
            Seen::Unknown => return Ok(()),
            Seen::Unread => {
                let seen = self.see_tags(&tags.names, record_ttl(ttl)).await;
                let Some(seen) = self.unless_outage(seen.map(Some), || None)? else {
                    return Ok(());
                };
                read = seen;
                &read
            }
        };
        let meta = Meta { tags: stamped(&tags.names, records), ..Meta::default() };
        let value = codec::describe(value, meta).map_err(|error| self.at(error))?;
        let keep = self.keep_tags(&tags.names, records, ttl);
        join(self.put(&key, value, timeout), keep).await.0
    }

    /// Returns an error if an entry cannot have these tags.
    pub(super) fn check_tags(&self, names: &[Box<str>]) -> Result<()> {
        let problem = if names.len() > MAX_TAGS {
            format!("the entry has {} tags, but the maximum is {MAX_TAGS}", names.len())
        } else if let Some(name) = names.iter().find(|name| name.len() > MAX_TAG_NAME) {
            let (shown, length) = (shown(name), name.len());
            format!("the tag {shown} takes {length} bytes, but the maximum is {MAX_TAG_NAME}")
        } else {
            return names.iter().try_for_each(|name| self.key(name).map(drop));
        };
        Err(self.at(Error::new(ErrorKind::TooLarge, problem)))
    }

    /// Reads the records of tags, and creates those that do not exist with this time to live.
    pub(super) async fn see_tags(
        &self,
        names: &[Box<str>],
        ttl: Option<Duration>,
    ) -> Result<Box<[Record]>> {
        let keys = self.tag_records(names);
        let keys: Vec<_> = keys.iter().map(|key| (key.as_str(), ttl)).collect();
        Records::of(self).read_or_create(&keys).await.map(Into::into)
    }

    /// Makes the records of tags outlive an entry with this time to live, which is stored at the
    /// same time. New records do already.
    pub(super) async fn keep_tags(
        &self,
        names: &[Box<str>],
        records: &[Record],
        ttl: Option<Duration>,
    ) {
        let old = names.iter().zip(records).filter(|(_, record)| !record.is_new);
        let keys: Vec<String> = old.map(|(name, _)| self.tag_record(name)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        Records::of(self).keep(&keys, ttl).await;
    }

    /// Makes the records of the tags of a value outlive the entry, which is stored next with this
    /// timeout.
    pub(super) async fn keep_tags_of(&self, value: &Value, timeout: Timeout) {
        let ttl = match self.lifetime(timeout) {
            Lifetime::Expired => return,
            Lifetime::For(ttl) => Some(ttl),
            Lifetime::Forever => None,
        };
        let Ok(Some(meta)) = codec::meta(value) else { return };
        let keys: Vec<String> = meta.tags.iter().map(|tag| self.tag_record(&tag.name)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        Records::of(self).keep(&keys, ttl).await;
    }

    fn tag_records(&self, names: &[Box<str>]) -> Vec<String> {
        names.iter().map(|name| self.tag_record(name)).collect()
    }
}

/// The tags of an entry with the generations that were read.
pub(super) fn stamped(names: &[Box<str>], records: &[Record]) -> Box<[Tag]> {
    let stamped = names.iter().zip(records).map(|(name, record)| {
        let stamp = record.generation.stamp;
        let [hard, soft] = [stamp.hard, stamp.soft].map(u64::to_be_bytes);
        Tag { name: name.clone(), hard, soft }
    });
    stamped.collect()
}
