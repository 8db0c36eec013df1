//! `incr`. The server counts from 0 to 2^64 and wraps around; this store counts up to the largest
//! `i64` and reports an overflow.
//!
//! A sum beyond an `i64` is subtracted again if the entry was not changed since. If the server
//! cannot parse the sum as a number, the old number is written over it, on the same condition.
//! Until then, readers miss the entry. A large delta is added only after reading the counter,
//! because only then could the sum come near 2^64.

use std::time::Duration;

use cache_core::{Error, ErrorKind, Result, Value};
use tokio::time::sleep;

use super::{MemcachedCache, is_found, unexpected, validate_key};
use crate::{
    error_line::Meaning,
    expiry::Expiry,
    item::{self, Item},
    wire::{Command, Reply, Status},
};

/// The largest delta that is added without reading the counter first.
///
/// A counter that overflows for a moment stays far from wrapping around: that would take 2^31
/// concurrent callers.
const MAX_BLIND_DELTA: u64 = 1 << 32;

/// The number of attempts to change an entry that others keep changing. Each time, one of them
/// succeeds.
pub(super) const MAX_ATTEMPTS: u32 = 60;

impl MemcachedCache {
    pub(super) async fn add_delta(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        validate_key(key)?;
        self.count(key, delta, None).await
    }

    pub(super) async fn add_delta_or_set(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        ttl: Option<Duration>,
    ) -> Result<i64> {
        validate_key(key)?;
        // The server stores no negative numbers itself.
        let create = u64::try_from(initial).ok().map(|initial| (initial, Expiry::new(ttl)));
        for attempt in 0..MAX_ATTEMPTS {
            back_off(attempt).await;
            if let Some(sum) = self.count(key, delta, create).await? {
                return Ok(sum);
            }
            // The key is leased, the server did not store the number, or it is down.
            if self.add_value(key, &Value::Int(initial), ttl).await?
                || self.call(&Command::GetHead(key)).await?.is_none()
            {
                return Ok(initial);
            }
        }
        Err(contention(key))
    }

    /// Adds the delta. If the key is absent, the server stores the number in `create` if the delta
    /// is not large.
    async fn count(
        &self,
        key: &str,
        delta: i64,
        create: Option<(u64, Expiry)>,
    ) -> Result<Option<i64>> {
        if delta > 0 && delta.unsigned_abs() > MAX_BLIND_DELTA {
            return self.compare_and_add(key, delta).await;
        }
        let command = Command::Arithmetic {
            key,
            delta: delta.unsigned_abs(),
            subtract: delta < 0,
            cas: None,
            create,
        };
        let Some(reply) = self.call(&command).await? else { return Ok(None) };
        if is_non_numeric(&reply.status) && self.is_leased(key).await? {
            return Ok(None);
        }
        let Some(sum) = parse_sum(key, &reply)? else { return Ok(None) };
        match i64::try_from(sum) {
            Ok(sum) => Ok(Some(sum)),
            Err(_) => {
                self.undo(key, delta, reply.cas).await?;
                Err(overflow(key, i128::from(sum) - i128::from(delta), delta))
            }
        }
    }

    /// Subtracts the delta from a sum that is too large, unless another caller has set a new value
    /// in the meantime.
    async fn undo(&self, key: &str, delta: i64, mut cas: u64) -> Result<()> {
        for attempt in 0..MAX_ATTEMPTS {
            back_off(attempt).await;
            let command = Command::Arithmetic {
                key,
                delta: delta.unsigned_abs(),
                subtract: delta > 0,
                cas: Some(cas),
                create: None,
            };
            let Some(reply) = self.call(&command).await? else { return Ok(()) };
            let is_unparsable = is_non_numeric(&reply.status);
            if !is_unparsable && reply.status != Status::CasMismatch {
                return parse_sum(key, &reply).map(drop);
            }
            let Some(reply) = self.get_with_cas(key).await? else { return Ok(()) };
            let sum = item::parse_counter(&reply.data).filter(|sum| i64::try_from(*sum).is_err());
            let Some(sum) = sum else { return Ok(()) };
            if is_unparsable {
                let number = sum.wrapping_add_signed(delta.wrapping_neg());
                if self.overwrite(key, number, &reply).await? {
                    return Ok(());
                }
            }
            cas = reply.cas;
        }
        Err(contention(key))
    }

    /// Writes a number over a sum that the server does not parse, unless the entry has changed.
    /// Returns whether nothing is left to do.
    ///
    /// Beyond an `i64`, the server looks for a minus sign, and finds one that an earlier, longer
    /// item has left behind this one.
    async fn overwrite(&self, key: &str, number: u64, sum: &Reply) -> Result<bool> {
        let ttl = u64::try_from(sum.ttl).ok().map(Duration::from_secs);
        let item = Item::from_counter(number);
        let command = Command::CompareAndSet(key, item, Expiry::new(ttl), sum.cas);
        match self.call(&command).await?.map(|reply| reply.status) {
            None | Some(Status::Done) => Ok(true),
            Some(Status::CasMismatch | Status::NotFound | Status::NotStored) => Ok(false),
            Some(other) => Err(unexpected(&other)),
        }
    }

    /// Reads the counter and adds the delta if the sum fits an `i64` and the counter has not
    /// changed.
    async fn compare_and_add(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        for attempt in 0..MAX_ATTEMPTS {
            back_off(attempt).await;
            let Some(reply) = self.get_with_cas(key).await? else { return Ok(None) };
            if item::is_stub(reply.flags, &reply.data) {
                return Ok(None);
            }
            let number = item::counter(reply.flags, &reply.data);
            let Some(number) = number else { return Err(Error::not_an_integer(key)) };
            if number.checked_add_signed(delta).is_none_or(|sum| i64::try_from(sum).is_err()) {
                return Err(overflow(key, i128::from(number), delta));
            }
            let command = Command::Arithmetic {
                key,
                delta: delta.unsigned_abs(),
                subtract: false,
                cas: Some(reply.cas),
                create: None,
            };
            let Some(reply) = self.call(&command).await? else { return Ok(None) };
            if reply.status != Status::CasMismatch {
                return Ok(parse_sum(key, &reply)?.and_then(|sum| i64::try_from(sum).ok()));
            }
        }
        Err(contention(key))
    }

    async fn get_with_cas(&self, key: &str) -> Result<Option<Reply>> {
        match self.call(&Command::GetWithCas(key)).await? {
            Some(reply) if is_found(&reply)? => Ok(Some(reply)),
            _ => Ok(None),
        }
    }
}

/// Waits for a random time after the first few attempts, so that concurrent callers stop colliding.
async fn back_off(attempt: u32) {
    const WITHOUT_PAUSE: u32 = 4;
    let max = Duration::from_millis(attempt.saturating_sub(WITHOUT_PAUSE).into());
    if !max.is_zero() {
        sleep(max.mul_f64(fastrand::f64())).await;
    }
}

/// Parses the sum. There is none if there is no entry.
fn parse_sum(key: &str, reply: &Reply) -> Result<Option<u64>> {
    match &reply.status {
        Status::NotFound => Ok(None),
        Status::Value => {
            item::parse_counter(&reply.data).map(Some).ok_or_else(|| Error::not_an_integer(key))
        }
        status if is_non_numeric(status) => Err(Error::not_an_integer(key)),
        other => Err(unexpected(other)),
    }
}

/// Whether the server could not parse the entry as a number.
fn is_non_numeric(status: &Status) -> bool {
    Meaning::of(status) == Some(Meaning::NotANumber)
}

fn overflow(key: &str, number: i128, delta: i64) -> Error {
    match i64::try_from(number) {
        Ok(number) => Error::overflow(key, number, delta),
        // This store never writes such a number.
        Err(_) => Error::new(
            ErrorKind::Overflow,
            format!("the key {key:?} holds {number}, which does not fit a signed 64-bit integer"),
        ),
    }
}

pub(super) fn contention(key: &str) -> Error {
    let message = format!("the key {key:?} was changed by others in all {MAX_ATTEMPTS} attempts");
    Error::new(ErrorKind::Backend, message).temporary(true)
}
