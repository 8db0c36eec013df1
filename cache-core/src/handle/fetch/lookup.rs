//! What `fetch` sees of an entry.

use std::time::Duration;

use super::{
    super::{
        Found,
        described::{Generations, Verdict},
    },
    Returned,
};
use crate::{CacheHandle, Result, Value, codec, meta::Times, tags::Generation};

/// The state of an entry for a caller.
pub(super) enum Seen<O> {
    Fresh(O),
    /// Fresh, but in the share of its time in which it is refreshed.
    Early(O),
    Stale(O),
    /// Missing, with an entry that cannot be decoded, or of which a tag was purged.
    Undecodable,
    Absent,
    /// The store has failed, or was not asked because it had failed.
    Unknown,
}

impl CacheHandle {
    /// Reads the generation of keys if that [must be known](CacheHandle::must_learn). Returns
    /// `false` if the store has failed and the value is to be produced nevertheless.
    pub(super) async fn knows_generation(&self, name: &str) -> Result<bool> {
        if !self.must_learn() {
            return Ok(true);
        }
        if !self.may_read(name) {
            return Ok(false);
        }
        match self.learn().await {
            Ok(()) => Ok(true),
            Err(error) => {
                let key = self.compose_in(self.key_generation(), name);
                self.read_failed(&key, error).map(|()| false)
            }
        }
    }

    /// Looks a key up, together with the generations of these tags. An outage is `Unknown`, if the
    /// alias is configured so.
    pub(super) async fn see<R: Returned>(
        &self,
        name: &str,
        key: &str,
        early: f64,
        tags: &[Box<str>],
    ) -> Result<Seen<R::Output>> {
        if !self.may_read(name) {
            return Ok(Seen::Unknown);
        }
        let mut known = Generations::default();
        let found = match self.inner().get_now(key) {
            Some(found) => found,
            None if tags.is_empty() => self.inner().get(key).await,
            None => self.get_with_tags(key, tags, &mut known).await,
        };
        let seen = match found {
            Ok(Some(value)) => {
                let is_lookup = true;
                self.judge_fetched::<R>(key, value, early, &mut known, is_lookup).await
            }
            Ok(None) => Ok(Seen::Absent),
            Err(error) => Err(error),
        };
        match seen {
            Ok(seen) => {
                self.has_read(name);
                Ok(seen)
            }
            Err(error) => self.read_failed(key, error).map(|()| Seen::Unknown),
        }
    }

    /// Reads an entry and the generations of tags in one round trip.
    async fn get_with_tags(
        &self,
        key: &str,
        tags: &[Box<str>],
        known: &mut Generations,
    ) -> Result<Option<Value>> {
        let records: Vec<String> = tags.iter().map(|tag| self.tag_record(tag)).collect();
        let keys: Vec<&str> = [key].into_iter().chain(records.iter().map(String::as_str)).collect();
        let found = match self.observed() {
            Some(observed) => observed.get_with_records(&keys).await,
            None => self.inner().get_many(&keys).await,
        };
        let mut found = found?.into_iter();
        let value = found.next().flatten();
        let generations = found.map(|value| Generation::from_value(value?));
        known.extend(tags.iter().map(|tag| &**tag), generations);
        Ok(value)
    }

    /// Decodes an entry, and looks at its times and its tags. `is_lookup` unless the entry comes
    /// with a lease.
    pub(super) async fn judge_fetched<R: Returned>(
        &self,
        key: &str,
        value: Value,
        early: f64,
        known: &mut Generations,
        is_lookup: bool,
    ) -> Result<Seen<R::Output>> {
        let meta = codec::meta(&value).ok().flatten();
        let times = meta.as_ref().and_then(|meta| meta.times);
        let verdict = match &meta {
            None => Verdict::Fresh,
            Some(meta) if meta.tags.is_empty() => self.verdict_of_times(meta),
            Some(_) => {
                let verdict = self.judge_knowing(&value, known).await;
                if is_lookup {
                    self.report_lookup(key, &value, verdict.as_ref().ok().copied());
                }
                verdict?
            }
        };
        drop(meta);
        if verdict == Verdict::Purged {
            return Ok(Seen::Undecodable);
        }
        let output = match R::decode(value, &self.view.codecs) {
            Ok(output) => output,
            Err(error) => {
                return self.undecodable::<R::Output>(key, error).map(|found| match found {
                    Found::Hit(output) => Seen::Fresh(output),
                    Found::Stale(_) | Found::Undecodable | Found::Miss => Seen::Undecodable,
                });
            }
        };
        if verdict == Verdict::Stale {
            return Ok(Seen::Stale(output));
        }
        let Some(times) = times else { return Ok(Seen::Fresh(output)) };
        Ok(match times.fresh_for(self.view.clock.coarse_unix_time()) {
            Some(left) if is_early(times, left, early) => Seen::Early(output),
            Some(_) | None => Seen::Fresh(output),
        })
    }
}

fn is_early(times: Times, left: Duration, share: f64) -> bool {
    let fresh = Duration::from_millis(times.fresh.unwrap_or_default());
    left.as_secs_f64() < fresh.as_secs_f64() * share
}
