//! Entries that record more than their value: whether they may be returned.

use std::{borrow::Cow, collections::HashMap, pin::Pin};

use super::{Found, FreshEntry, NoHit, key_buffer::KeyBuffer};
use crate::{
    CacheHandle, Result, Value, codec,
    meta::Meta,
    observe::Outcome,
    tags::{Generation, GenerationCheck, PurgeCounter, Records},
};

/// How an entry may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fresh,
    /// It is past its fresh time, or was purged softly.
    Stale,
    /// One of its tags was purged, or has lost its record.
    Purged,
}

/// The generations of tags that were read, by the names of the tags.
#[derive(Debug, Default)]
pub(super) struct Generations(HashMap<Box<str>, Option<Generation>>);

impl Generations {
    pub(super) fn extend<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
        generations: impl IntoIterator<Item = Option<Generation>>,
    ) {
        self.0.extend(names.into_iter().map(Box::from).zip(generations));
    }

    fn verdict(&self, meta: &Meta) -> Verdict {
        let mut verdict = Verdict::Fresh;
        for tag in &meta.tags {
            match self.0.get(&tag.name).copied().flatten() {
                Some(now) if now.stamp.hard.to_be_bytes() == tag.hard => {
                    if now.stamp.soft.to_be_bytes() != tag.soft {
                        verdict = Verdict::Stale;
                    }
                }
                _ => return Verdict::Purged,
            }
        }
        verdict
    }
}

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// An entry whose tags are compared with their generations.
struct Tagged<'a> {
    meta: Cow<'a, Meta>,
    /// The check of an object, and the purges before the generations were read.
    check: Option<(&'a GenerationCheck, u64)>,
}

impl CacheHandle {
    /// Returns an entry that [has meta](codec::has_meta) if it is fresh, as far as that is known
    /// without reading the generations of its tags.
    #[cold]
    pub(super) fn if_judged_fresh(
        &self,
        key: KeyBuffer,
        value: Value,
    ) -> Result<FreshEntry, NoHit<'_>> {
        let verdict = self.judge_now(&value);
        if verdict.is_some() {
            self.report_lookup(&key, &value, verdict);
        }
        Err(match verdict {
            Some(Verdict::Fresh) => return Ok((key, value)),
            Some(Verdict::Stale) => NoHit::Ended(Ok(Found::Stale(Box::new(value)))),
            Some(Verdict::Purged) => NoHit::Ended(Ok(Found::Undecodable)),
            None => NoHit::Judging(Box::pin(async move {
                let verdict = self.judge_alone(&value).await;
                self.report_lookup(&key, &value, verdict.as_ref().ok().copied());
                Ok(match verdict? {
                    Verdict::Fresh => Found::Hit((key, value)),
                    Verdict::Stale => Found::Stale(Box::new(value)),
                    Verdict::Purged => Found::Undecodable,
                })
            })),
        })
    }

    /// Reports what a lookup came to that has found an entry with tags, as its store does not know.
    /// `None` if the generations could not be read. `key` is composed.
    pub(super) fn report_lookup(&self, key: &str, value: &Value, verdict: Option<Verdict>) {
        let Some(observer) = &self.view.observer else { return };
        if codec::has_tags(value) {
            let outcome = match verdict {
                Some(Verdict::Fresh) => Outcome::Hit,
                Some(Verdict::Stale) => Outcome::Stale,
                Some(Verdict::Purged) => Outcome::Miss,
                None => Outcome::Error,
            };
            observer.end_lookup(key, outcome);
        }
    }

    /// Decides about an entry that [has meta](codec::has_meta).
    ///
    /// One whose meta cannot be decoded counts as fresh. Decoding it reports that.
    pub(super) async fn judge(&self, value: &Value) -> Result<Verdict> {
        match self.judge_now(value) {
            Some(verdict) => Ok(verdict),
            None => self.judge_alone(value).await,
        }
    }

    /// Decides about an entry with tags. In a box, so that the future of a read stays small.
    #[cold]
    fn judge_alone<'a>(&'a self, value: &'a Value) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let verdicts = self.judge_tagged(&[value], &mut Generations::default()).await?;
            Ok(verdicts.first().copied().unwrap_or(Verdict::Purged))
        })
    }

    /// Like [`judge`](Self::judge), with generations that were read with the entry.
    #[cfg(feature = "fetch")]
    pub(super) async fn judge_knowing(
        &self,
        value: &Value,
        known: &mut Generations,
    ) -> Result<Verdict> {
        if let Some(verdict) = self.judge_now(value) {
            return Ok(verdict);
        }
        let verdicts = self.judge_tagged(&[value], known).await?;
        Ok(verdicts.first().copied().unwrap_or(Verdict::Purged))
    }

    /// Decides about an entry if no generations need to be read.
    #[cold]
    pub(super) fn judge_now(&self, value: &Value) -> Option<Verdict> {
        let Ok(Some(meta)) = codec::meta(value) else { return Some(Verdict::Fresh) };
        let is_current = meta.tags.is_empty() || self.was_checked(value);
        is_current.then(|| self.verdict_of_times(&meta))
    }

    /// Decides about entries with tags, in this order. Reads the generations that are not known, in
    /// one round trip.
    #[cold]
    pub(super) fn judge_tagged<'a>(
        &'a self,
        values: &'a [&'a Value],
        known: &'a mut Generations,
    ) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(async move {
            // The counters of purges must be read before the generations.
            let counts = known.0.is_empty();
            let tagged: Vec<Option<Tagged<'_>>> =
                values.iter().map(|value| self.tagged(value, counts)).collect();
            let mut names: Vec<&str> = tagged
                .iter()
                .flatten()
                .flat_map(|tagged| &tagged.meta.tags)
                .map(|tag| &*tag.name)
                .filter(|name| !known.0.contains_key(*name))
                .collect();
            names.sort_unstable();
            names.dedup();
            if !names.is_empty() {
                let read = self.read_tags(&names).await?;
                known.extend(names, read);
            }
            Ok(tagged.iter().map(|tagged| self.verdict(tagged.as_ref(), known)).collect())
        })
    }

    /// Reads the records of tags, in one round trip.
    pub(super) async fn read_tags(&self, names: &[&str]) -> Result<Vec<Option<Generation>>> {
        let records: Vec<String> = names.iter().map(|name| self.tag_record(name)).collect();
        let keys: Vec<&str> = records.iter().map(String::as_str).collect();
        Records::of(self).read(&keys).await
    }

    fn tagged<'a>(&self, value: &'a Value, counts: bool) -> Option<Tagged<'a>> {
        let meta = codec::meta(value).ok().flatten()?;
        let check = match value {
            Value::Object(object) if counts => object.check(),
            _ => None,
        };
        let check = check.map(|check| {
            let counter = |name: &str| PurgeCounter::of(&self.tag_record(name));
            check.get_or_init(|| {
                GenerationCheck::new(meta.tags.iter().map(|tag| counter(&tag.name)))
            })
        });
        Some(Tagged { check: check.map(|check| (check, check.purges())), meta })
    }

    fn verdict(&self, tagged: Option<&Tagged<'_>>, known: &Generations) -> Verdict {
        let Some(Tagged { meta, check }) = tagged else { return Verdict::Fresh };
        match (known.verdict(meta), self.verdict_of_times(meta)) {
            (Verdict::Purged, _) => Verdict::Purged,
            (Verdict::Stale, _) | (_, Verdict::Stale) => Verdict::Stale,
            (Verdict::Fresh, of_times) => {
                if let Some((check, purges)) = check {
                    check.record(*purges, self.view.clock.coarse_unix_time());
                }
                of_times
            }
        }
    }

    pub(super) fn verdict_of_times(&self, meta: &Meta) -> Verdict {
        match meta.times {
            Some(times) if times.is_stale(self.view.clock.coarse_unix_time()) => Verdict::Stale,
            _ => Verdict::Fresh,
        }
    }

    /// Whether the tags of an object were current in this second, and none was purged since.
    fn was_checked(&self, value: &Value) -> bool {
        let Value::Object(object) = value else { return false };
        let check = object.check().and_then(|check| check.get());
        check.is_some_and(|check| check.is_current(self.view.clock.coarse_unix_time()))
    }
}
