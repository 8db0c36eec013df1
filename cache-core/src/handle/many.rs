//! Many keys in one go.

use std::{collections::HashMap, hash::Hash};

use serde::{Serialize, de::DeserializeOwned};

use super::key_buffer::KeyBuffer;
use crate::{CacheHandle, Result, Timeout, Value, timeout::Lifetime};

impl CacheHandle {
    /// The values of many keys, by the keys as they were given; misses are left out. A store with a network between
    /// asks once, not once a key.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::{CacheHandle, Result, Settings, Timeout};
    /// # use cache_locmem::LocMemCache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let cache = CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
    /// let refused = cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await?;
    /// assert!(refused.is_empty());
    ///
    /// let found = cache.get_many::<u32, _>(["a", "b", "c"]).await?;
    /// assert_eq!((found.get("b"), found.get("c")), (Some(&2), None));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get), checked for all keys before anything is read.
    pub async fn get_many<T, K>(&self, keys: impl IntoIterator<Item = K>) -> Result<HashMap<K, T>>
    where
        T: DeserializeOwned + 'static,
        K: AsRef<str> + Eq + Hash,
    {
        let keys: Vec<K> = keys.into_iter().collect();
        let composed = self.composed(&keys)?;
        if composed.is_empty() {
            return Ok(HashMap::new());
        }
        let values =
            self.inner().get_many(&borrowed(&composed)).await.map_err(|error| self.at(error))?;
        let mut found = HashMap::with_capacity(keys.len());
        for ((key, composed), value) in keys.into_iter().zip(&composed).zip(values) {
            let Some(value) = value else { continue };
            if let Some(value) = self.read(composed, value)?.hit() {
                found.insert(key, value);
            }
        }
        Ok(found)
    }

    /// Stores many values with one timeout, and answers the keys that were *not* stored because the store refused that
    /// entry (too large). Not atomic as a whole.
    ///
    /// # Errors
    /// As [`set`](Self::set). Keys and values are checked and encoded before anything is written; where the store itself
    /// fails, some of the entries may have been stored.
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
        let composed = self.composed(&keys)?;
        if composed.is_empty() {
            return Ok(Vec::new());
        }
        let ttl = match self.lifetime(timeout.into()) {
            Lifetime::Expired => {
                self.inner()
                    .delete_many(&borrowed(&composed))
                    .await
                    .map_err(|error| self.at(error))?;
                return Ok(Vec::new());
            }
            Lifetime::For(ttl) => Some(ttl),
            Lifetime::Forever => None,
        };
        let entries: Vec<(&str, Value)> = borrowed(&composed).into_iter().zip(values).collect();
        let refused = self.inner().set_many(&entries, ttl).await.map_err(|error| self.at(error))?;
        let mut keys: Vec<Option<K>> = keys.into_iter().map(Some).collect();
        Ok(refused.into_iter().filter_map(|position| keys.get_mut(position)?.take()).collect())
    }

    /// Removes many entries, and answers how many there were.
    ///
    /// # Errors
    /// As [`delete`](Self::delete), checked for all keys before anything is removed.
    pub async fn delete_many<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<usize> {
        let keys: Vec<K> = keys.into_iter().collect();
        let composed = self.composed(&keys)?;
        if composed.is_empty() {
            return Ok(0);
        }
        self.inner().delete_many(&borrowed(&composed)).await.map_err(|error| self.at(error))
    }

    fn encode_all<K, T: Serialize>(
        &self,
        entries: impl IntoIterator<Item = (K, T)>,
    ) -> Result<(Vec<K>, Vec<Value>)> {
        entries.into_iter().map(|(key, value)| Ok((key, self.encode(&value)?))).collect()
    }

    fn composed<K: AsRef<str>>(&self, keys: &[K]) -> Result<Vec<KeyBuffer>> {
        keys.iter().map(|key| self.key(key.as_ref())).collect()
    }
}

fn borrowed(keys: &[KeyBuffer]) -> Vec<&str> {
    keys.iter().map(|key| &**key).collect()
}
