//! What the wrappers have in common: something happens around each call.

use std::sync::Arc;

use cache_core::{Cache, Leases, Result};

use crate::{Call, Verb};

/// What a wrapper does around the calls of its store. [`intercept!`] implements `Cache` and
/// `Leases` from it.
pub(crate) trait Intercept {
    /// Returns whether the next call of `verb` needs a future, so that `get_now` and `set_now` must
    /// not answer it.
    fn must_wait(&self, verb: Verb) -> bool;

    /// Notes a call that `get_now` or `set_now` has answered.
    fn answered_now(&self, call: impl FnOnce() -> Call);

    /// Runs a call.
    ///
    /// `run` calls the store. For a batch, it passes on only as many of the first entries as its
    /// argument says, at least one.
    fn around<T, F>(
        &self,
        call: Call,
        run: impl FnOnce(usize) -> F + Send,
    ) -> impl Future<Output = Result<T>> + Send
    where
        T: Send,
        F: Future<Output = Result<T>> + Send;
}

/// Returns the leases of the store inside a wrapper.
///
/// A caller has got the wrapper from `leases`, which returns it only if there are some.
pub(crate) fn wrapped_leases(store: &Arc<dyn Cache>) -> &dyn Leases {
    store.leases().expect("the store inside the wrapper has leases")
}

/// Implements `Cache` and `Leases` for a wrapper with a field `store` that implements
/// [`Intercept`].
///
/// The methods after `except` are those in the braces. Other methods that are not asynchronous are
/// forwarded, apart from `get_now`, `set_now` and `leases`, and so is `diagnose`, which is no verb
/// of applications.
macro_rules! intercept {
    ($wrapper:ty $(, except $($except:ident),+ { $($method:item)* })?) => {
        #[cache_core::async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl cache_core::Cache for $wrapper {
            cache_core::forward_cache!(
                self.store,
                except get, set, add, touch, incr, incr_or_set, get_and_touch, delete, ttl, clear,
                get_now, set_now, contains, get_many, set_many, delete_many, stats, purge_expired,
                close, leases $($(, $except)+)?
            );

            $($($method)*)?

            fn leases(&self) -> Option<&dyn cache_core::Leases> {
                self.store.leases().map(|_| self as &dyn cache_core::Leases)
            }

            fn get_now(
                &self,
                key: &str,
            ) -> Option<cache_core::Result<Option<cache_core::Value>>> {
                if self.must_wait($crate::Verb::Get) {
                    return None;
                }
                let result = self.store.get_now(key)?;
                self.answered_now(|| $crate::Call::new($crate::Verb::Get).key(key));
                Some(result)
            }

            fn set_now(
                &self,
                key: &str,
                value: cache_core::Value,
                ttl: Option<std::time::Duration>,
            ) -> cache_core::Result<cache_core::Result<()>, cache_core::Value> {
                if self.must_wait($crate::Verb::Set) {
                    return Err(value);
                }
                let result = self.store.set_now(key, value, ttl)?;
                self.answered_now(|| $crate::Call::new($crate::Verb::Set).key(key).ttl(ttl));
                Ok(result)
            }

            async fn get(&self, key: &str) -> cache_core::Result<Option<cache_core::Value>> {
                let call = $crate::Call::new($crate::Verb::Get).key(key);
                self.around(call, |_| self.store.get(key)).await
            }

            async fn set(
                &self,
                key: &str,
                value: cache_core::Value,
                ttl: Option<std::time::Duration>,
            ) -> cache_core::Result<()> {
                let call = $crate::Call::new($crate::Verb::Set).key(key).ttl(ttl);
                self.around(call, |_| self.store.set(key, value, ttl)).await
            }

            async fn add(
                &self,
                key: &str,
                value: cache_core::Value,
                ttl: Option<std::time::Duration>,
            ) -> cache_core::Result<bool> {
                let call = $crate::Call::new($crate::Verb::Add).key(key).ttl(ttl);
                self.around(call, |_| self.store.add(key, value, ttl)).await
            }

            async fn touch(
                &self,
                key: &str,
                ttl: Option<std::time::Duration>,
            ) -> cache_core::Result<bool> {
                let call = $crate::Call::new($crate::Verb::Touch).key(key).ttl(ttl);
                self.around(call, |_| self.store.touch(key, ttl)).await
            }

            async fn incr(&self, key: &str, delta: i64) -> cache_core::Result<Option<i64>> {
                let call = $crate::Call::new($crate::Verb::Incr).key(key);
                self.around(call, |_| self.store.incr(key, delta)).await
            }

            async fn incr_or_set(
                &self,
                key: &str,
                delta: i64,
                initial: i64,
                ttl: Option<std::time::Duration>,
            ) -> cache_core::Result<i64> {
                let call = $crate::Call::new($crate::Verb::IncrOrSet).key(key).ttl(ttl);
                self.around(call, |_| self.store.incr_or_set(key, delta, initial, ttl)).await
            }

            async fn get_and_touch(
                &self,
                key: &str,
                ttl: Option<std::time::Duration>,
            ) -> cache_core::Result<Option<cache_core::Value>> {
                let call = $crate::Call::new($crate::Verb::GetAndTouch).key(key).ttl(ttl);
                self.around(call, |_| self.store.get_and_touch(key, ttl)).await
            }

            async fn delete(&self, key: &str) -> cache_core::Result<bool> {
                let call = $crate::Call::new($crate::Verb::Delete).key(key);
                self.around(call, |_| self.store.delete(key)).await
            }

            async fn ttl(&self, key: &str) -> cache_core::Result<Option<cache_core::Ttl>> {
                let call = $crate::Call::new($crate::Verb::Ttl).key(key);
                self.around(call, |_| self.store.ttl(key)).await
            }

            async fn clear(&self) -> cache_core::Result<()> {
                self.around($crate::Call::new($crate::Verb::Clear), |_| self.store.clear()).await
            }

            async fn contains(&self, key: &str) -> cache_core::Result<bool> {
                let call = $crate::Call::new($crate::Verb::Contains).key(key);
                self.around(call, |_| self.store.contains(key)).await
            }

            async fn get_many(
                &self,
                keys: &[&str],
            ) -> cache_core::Result<Vec<Option<cache_core::Value>>> {
                let call = $crate::Call::new($crate::Verb::GetMany).keys(keys.iter().copied());
                self.around(call, |first| self.store.get_many(&keys[..first])).await
            }

            async fn set_many(
                &self,
                entries: &[(&str, cache_core::Value)],
                ttl: Option<std::time::Duration>,
            ) -> cache_core::Result<Vec<usize>> {
                let keys = entries.iter().map(|(key, _)| *key);
                let call = $crate::Call::new($crate::Verb::SetMany).keys(keys).ttl(ttl);
                self.around(call, |first| self.store.set_many(&entries[..first], ttl)).await
            }

            async fn delete_many(&self, keys: &[&str]) -> cache_core::Result<usize> {
                let call = $crate::Call::new($crate::Verb::DeleteMany).keys(keys.iter().copied());
                self.around(call, |first| self.store.delete_many(&keys[..first])).await
            }

            async fn stats(&self) -> cache_core::Result<cache_core::Stats> {
                self.around($crate::Call::new($crate::Verb::Stats), |_| self.store.stats()).await
            }

            async fn purge_expired(&self, max: u64) -> cache_core::Result<Option<u64>> {
                let call = $crate::Call::new($crate::Verb::PurgeExpired);
                self.around(call, |_| self.store.purge_expired(max)).await
            }

            async fn close(&self) -> cache_core::Result<()> {
                self.around($crate::Call::new($crate::Verb::Close), |_| self.store.close()).await
            }
        }

        #[cache_core::async_trait]
        impl cache_core::Leases for $wrapper {
            async fn acquire(
                &self,
                key: &str,
                ask: cache_core::Ask<'_>,
                hold: std::time::Duration,
            ) -> cache_core::Result<cache_core::Acquired> {
                let leases = $crate::intercept::wrapped_leases(&self.store);
                let call = $crate::Call::new($crate::Verb::Acquire).key(key);
                self.around(call, |_| leases.acquire(key, ask, hold)).await
            }

            async fn fill(
                &self,
                key: &str,
                lease: cache_core::Lease,
                value: cache_core::Value,
                ttl: Option<std::time::Duration>,
            ) -> cache_core::Result<bool> {
                let leases = $crate::intercept::wrapped_leases(&self.store);
                let call = $crate::Call::new($crate::Verb::Fill).key(key).ttl(ttl);
                self.around(call, |_| leases.fill(key, lease, value, ttl)).await
            }

            async fn release(
                &self,
                key: &str,
                lease: cache_core::Lease,
                keep: std::time::Duration,
            ) -> cache_core::Result<()> {
                let leases = $crate::intercept::wrapped_leases(&self.store);
                let call = $crate::Call::new($crate::Verb::Release).key(key);
                self.around(call, |_| leases.release(key, lease, keep)).await
            }

            async fn revoke(&self, key: &str, side: &str) -> cache_core::Result<()> {
                let leases = $crate::intercept::wrapped_leases(&self.store);
                let call = $crate::Call::new($crate::Verb::Revoke).key(key);
                self.around(call, |_| leases.revoke(key, side)).await
            }
        }
    };
}

pub(crate) use intercept;
