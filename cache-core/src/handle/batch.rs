//! Verbs on several entries.

use std::{collections::HashMap, hash::Hash};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    described::{Generations, Verdict},
    key_batch::KeyBatch,
    leases::Written,
};
use crate::{CacheHandle, Result, Timeout, Value, codec, timeout::Lifetime};

/// Reading and writing several entries.
impl CacheHandle {
    /// Returns the values of several keys, by key. Misses are omitted.
    ///
    /// Network stores send one request, or one per server, and not one per key.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let store = Arc::new(LocMemCache::default());
    /// # let cache = CacheHandle::new("default", store, Settings::default());
    /// let rejected = cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await?;
    /// assert!(rejected.is_empty());
    ///
    /// let found = cache.get_many::<u32, _>(["a", "b", "c"]).await?;
    /// assert_eq!((found.get("b"), found.get("c")), (Some(&2), None));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get). All keys are checked before anything is read.
    pub async fn get_many<T, K>(&self, keys: impl IntoIterator<Item = K>) -> Result<HashMap<K, T>>
    where
        T: DeserializeOwned + 'static,
        K: AsRef<str> + Eq + Hash,
    {
        let keys: Vec<K> = keys.into_iter().collect();
        if self.must_learn() && !self.learned().await? {
            return Ok(HashMap::new());
        }
        let batch = self.compose_all(&keys)?;
        if batch.is_empty() {
            return Ok(HashMap::new());
        }
        let composed: Vec<&str> = batch.iter().collect();
        let values = self.inner().get_many(&composed).await;
        let mut values = self.unless_outage(values, Vec::new)?;
        if values.iter().flatten().any(codec::has_meta) {
            let dropped = self.drop_stale(&composed, &mut values).await;
            self.unless_outage(dropped, || ())?;
        }
        let mut found = HashMap::with_capacity(keys.len());
        for ((key, composed), value) in keys.into_iter().zip(composed).zip(values) {
            let Some(value) = value else { continue };
            if let Some(value) = self.decode(composed, value)?.hit() {
                found.insert(key, value);
            }
        }
        Ok(found)
    }

    /// Stores several values with one timeout, and returns the keys that were *not* stored.
    ///
    /// A key is returned if the store rejected its entry as too large or had no room for it, or if
    /// the store is unavailable and the alias has `on_outage = "miss"`; that is not an error of the
    /// call. Each entry is stored atomically, but not all of them as a whole.
    ///
    /// # Errors
    ///
    /// Same as [`set`](Self::set), except
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge), and
    /// [`ErrorKind::StorageFull`](crate::ErrorKind::StorageFull) only if nothing was stored. All
    /// keys are checked and all values are encoded before anything is written. If the store fails,
    /// some entries may have been stored.
    pub async fn set_many<K, T>(
        &self,
        entries: impl IntoIterator<Item = (K, T)>,
        timeout: impl Into<Timeout>,
    ) -> Result<Vec<K>>
    where
        K: AsRef<str>,
        T: Serialize,
    {
        let (keys, values) = self.encode_all(entries)?;
        if self.must_learn() && !self.learned().await? {
            return Ok(keys);
        }
        let batch = self.compose_all(&keys)?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let composed: Vec<&str> = batch.iter().collect();
        let write = self.write(Written::Keys(&composed));
        if write.must_begin() {
            write.begin().await;
        }
        let ttl = match self.lifetime(timeout.into()) {
            Lifetime::Expired => {
                let deleted = self.inner().delete_many(&composed).await.map(drop);
                return self.unless_outage(deleted, || ()).map(|()| Vec::new());
            }
            Lifetime::For(ttl) => Some(ttl),
            Lifetime::Forever => None,
        };
        let entries: Vec<(&str, Value)> = composed.iter().copied().zip(values).collect();
        let rejected = self.inner().set_many(&entries, ttl).await;
        let rejected = self.unless_outage(rejected, || (0..entries.len()).collect())?;
        let mut keys: Vec<Option<K>> = keys.into_iter().map(Some).collect();
        Ok(rejected.into_iter().filter_map(|position| keys.get_mut(position)?.take()).collect())
    }

    /// Removes several entries and returns how many existed.
    ///
    /// # Errors
    ///
    /// Same as [`delete`](Self::delete). All keys are checked before anything is
    /// removed.
    pub async fn delete_many<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<usize> {
        let keys: Vec<K> = keys.into_iter().collect();
        if self.must_learn() && !self.learned().await? {
            return Ok(0);
        }
        let batch = self.compose_all(&keys)?;
        if batch.is_empty() {
            return Ok(0);
        }
        let composed: Vec<&str> = batch.iter().collect();
        let write = self.write(Written::Keys(&composed));
        if write.must_begin() {
            write.begin().await;
        }
        self.unless_outage(self.inner().delete_many(&composed).await, || 0)
    }

    /// Removes values that are not fresh. If the generations of tags cannot be read, removes all
    /// that have tags.
    #[cold]
    async fn drop_stale(&self, keys: &[&str], values: &mut [Option<Value>]) -> Result<()> {
        let mut tagged = Vec::new();
        for (position, slot) in values.iter_mut().enumerate() {
            let Some(value) = slot.take_if(|value| codec::has_meta(value)) else { continue };
            let Some(verdict) = self.judge_now(&value) else {
                tagged.push((position, value));
                continue;
            };
            self.report_lookup(keys[position], &value, Some(verdict));
            if verdict == Verdict::Fresh {
                *slot = Some(value);
            }
        }
        if tagged.is_empty() {
            return Ok(());
        }
        let judged: Vec<&Value> = tagged.iter().map(|(_, value)| value).collect();
        let verdicts = self.judge_tagged(&judged, &mut Generations::default()).await;
        if verdicts.is_err() {
            for (position, value) in &tagged {
                self.report_lookup(keys[*position], value, None);
            }
        }
        for ((position, value), verdict) in tagged.into_iter().zip(verdicts?) {
            self.report_lookup(keys[position], &value, Some(verdict));
            if verdict == Verdict::Fresh {
                values[position] = Some(value);
            }
        }
        Ok(())
    }

    fn encode_all<K, T: Serialize>(
        &self,
        entries: impl IntoIterator<Item = (K, T)>,
    ) -> Result<(Vec<K>, Vec<Value>)> {
        entries.into_iter().map(|(key, value)| Ok((key, self.encode(&value)?))).collect()
    }

    /// Composes keys in the current generation and checks them.
    fn compose_all<K: AsRef<str>>(&self, keys: &[K]) -> Result<KeyBatch> {
        let composer = &self.view.composer;
        let in_generation = self.key_generation().map(|number| composer.in_generation(number));
        let composer = in_generation.as_ref().unwrap_or(composer);
        let mut batch = KeyBatch::for_keys(keys, composer);
        for key in keys {
            let key = key.as_ref();
            let composed = batch.compose(composer, key);
            if !composer.surely_keeps_the_rule(key) {
                self.check_key(composed)?;
            }
        }
        Ok(batch)
    }
}
