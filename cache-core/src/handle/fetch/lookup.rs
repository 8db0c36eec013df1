//! What `fetch` sees of an entry.

use std::time::Duration;

use super::{super::Found, Returned};
use crate::{CacheHandle, Result, Value, codec, meta::Times};

/// The state of an entry for a caller.
pub(super) enum Seen<O> {
    Fresh(O),
    /// Fresh, but in the share of its time in which it is refreshed.
    Early(O),
    Stale(O),
    /// Missing, with an entry that cannot be decoded.
    Undecodable,
    Absent,
    /// The store has failed, or was not asked because it had failed.
    Unknown,
}

impl CacheHandle {
    /// Looks a key up. An outage is `Unknown`, if the alias is configured so.
    pub(super) async fn see<R: Returned>(
        &self,
        name: &str,
        key: &str,
        early: f64,
    ) -> Result<Seen<R::Output>> {
        if !self.may_read(name) {
            return Ok(Seen::Unknown);
        }
        let found = match self.inner().get_now(key) {
            Some(found) => found,
            None => self.inner().get(key).await,
        };
        match found {
            Ok(value) => {
                self.has_read(name);
                match value {
                    Some(value) => self.judge::<R>(key, value, early),
                    None => Ok(Seen::Absent),
                }
            }
            Err(error) => self.read_failed(key, error).map(|()| Seen::Unknown),
        }
    }

    /// Decodes an entry and looks at its times.
    pub(super) fn judge<R: Returned>(
        &self,
        key: &str,
        value: Value,
        early: f64,
    ) -> Result<Seen<R::Output>> {
        let times = match codec::has_meta(&value) {
            true => codec::times(&value).ok().flatten(),
            false => None,
        };
        let output = match R::decode(value, &self.view.codecs) {
            Ok(output) => output,
            Err(error) => {
                return self.undecodable::<R::Output>(key, error).map(|found| match found {
                    Found::Hit(output) => Seen::Fresh(output),
                    Found::Stale(_) | Found::Undecodable | Found::Miss => Seen::Undecodable,
                });
            }
        };
        let Some(times) = times else { return Ok(Seen::Fresh(output)) };
        Ok(match times.fresh_for(self.view.clock.coarse_unix_time()) {
            Some(Duration::ZERO) => Seen::Stale(output),
            Some(left) if is_early(times, left, early) => Seen::Early(output),
            Some(_) | None => Seen::Fresh(output),
        })
    }
}

fn is_early(times: Times, left: Duration, share: f64) -> bool {
    let fresh = Duration::from_millis(times.fresh.unwrap_or_default());
    left.as_secs_f64() < fresh.as_secs_f64() * share
}
