//! `incr`: the server counts from 0 to 2^64 and wraps; we count to the largest `i64` and report an overflow.

use std::time::Duration;

use cache_core::{Error, ErrorKind, Result};
use tokio::time::sleep;

use super::{MemcachedCache, check, is_there, unexpected};
use crate::{
    expiry::Expiry,
    item::{self, Item},
    server::chance,
    wire::{Command, Reply, Status},
};

/// Beyond it, a counter is looked at before it is added to. So what overflows for a moment is far from wrapping: it would
/// take 2^31 callers at once.
const STRIDE: u64 = 1 << 32;

/// How often it is tried to change what others change all the time. Each time, one of them succeeded.
const ATTEMPTS: u32 = 60;

impl MemcachedCache {
    pub(super) async fn count(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        check(key)?;
        if delta > 0 && delta.unsigned_abs() > STRIDE {
            return self.count_after_a_look(key, delta).await;
        }
        let command =
            Command::Count { key, by: delta.unsigned_abs(), down: delta < 0, if_unchanged: None };
        let Some(reply) = self.ask(&command).await? else { return Ok(None) };
        let Some(sum) = counted(key, &reply)? else { return Ok(None) };
        match i64::try_from(sum) {
            Ok(sum) => Ok(Some(sum)),
            Err(_) => {
                self.take_back(key, delta, reply.token).await?;
                Err(overflow(key, i128::from(sum) - i128::from(delta), delta))
            }
        }
    }

    /// Undoes a sum that is too large, unless somebody has set something else since.
    async fn take_back(&self, key: &str, delta: i64, mut token: u64) -> Result<()> {
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            let command = Command::Count {
                key,
                by: delta.unsigned_abs(),
                down: delta > 0,
                if_unchanged: Some(token),
            };
            let Some(reply) = self.ask(&command).await? else { return Ok(()) };
            let misread = is_no_number(&reply.status);
            if !misread && reply.status != Status::Changed {
                return counted(key, &reply).map(drop);
            }
            let Some(reply) = self.look(key).await? else { return Ok(()) };
            let sum = item::counter(&reply.data).filter(|sum| i64::try_from(*sum).is_err());
            let Some(sum) = sum else { return Ok(()) };
            if misread
                && self.put_back(key, sum.wrapping_add_signed(delta.wrapping_neg()), &reply).await?
            {
                return Ok(());
            }
            token = reply.token;
        }
        Err(restless(key))
    }

    /// Writes a number over a sum that the server does not read as one, unless it is another by now. Beyond an `i64` it looks
    /// for a minus sign, and finds those that an earlier, longer item has left behind this one.
    async fn put_back(&self, key: &str, number: u64, sum: &Reply) -> Result<bool> {
        let left = u64::try_from(sum.time_left).ok().map(Duration::from_secs);
        let command =
            Command::SetIfUnchanged(key, Item::of_counter(number), Expiry::of(left), sum.token);
        match self.ask(&command).await?.map(|reply| reply.status) {
            None | Some(Status::Done) => Ok(true),
            Some(Status::Changed | Status::Missing | Status::NotStored) => Ok(false),
            Some(other) => Err(unexpected(&other)),
        }
    }

    async fn count_after_a_look(&self, key: &str, delta: i64) -> Result<Option<i64>> {
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            let Some(reply) = self.look(key).await? else { return Ok(None) };
            let number = item::counter(&reply.data).filter(|_| item::is_integer(reply.flags));
            let Some(number) = number else { return Err(Error::not_an_integer(key)) };
            if number.checked_add_signed(delta).is_none_or(|sum| i64::try_from(sum).is_err()) {
                return Err(overflow(key, i128::from(number), delta));
            }
            let by = delta.unsigned_abs();
            let command = Command::Count { key, by, down: false, if_unchanged: Some(reply.token) };
            let Some(reply) = self.ask(&command).await? else { return Ok(None) };
            if reply.status != Status::Changed {
                return Ok(counted(key, &reply)?.and_then(|sum| i64::try_from(sum).ok()));
            }
        }
        Err(restless(key))
    }

    /// The entry, its time to live and its token.
    async fn look(&self, key: &str) -> Result<Option<Reply>> {
        match self.ask(&Command::GetToCompare(key)).await? {
            Some(reply) if is_there(&reply)? => Ok(Some(reply)),
            _ => Ok(None),
        }
    }
}

/// Of many who get in each other's way, those who wait for times by chance let the others through.
async fn pause(attempt: u32) {
    const IN_A_ROW: u32 = 4;
    let longest = Duration::from_millis(attempt.saturating_sub(IN_A_ROW).into());
    if !longest.is_zero() {
        sleep(longest.mul_f64(chance())).await;
    }
}

/// The sum; `None` where there is no entry.
fn counted(key: &str, reply: &Reply) -> Result<Option<u64>> {
    match &reply.status {
        Status::Missing => Ok(None),
        Status::Value => {
            item::counter(&reply.data).map(Some).ok_or_else(|| Error::not_an_integer(key))
        }
        status if is_no_number(status) => Err(Error::not_an_integer(key)),
        other => Err(unexpected(other)),
    }
}

/// Whether the server could read no number in the entry.
fn is_no_number(status: &Status) -> bool {
    matches!(status, Status::Refused(words) if words.contains("non-numeric"))
}

fn overflow(key: &str, number: i128, delta: i64) -> Error {
    match i64::try_from(number) {
        Ok(number) => Error::overflow(key, number, delta),
        // Only somebody else could write that.
        Err(_) => Error::new(
            ErrorKind::Overflow,
            format!("the key {key:?} holds {number}, which is beyond 64 bits with a sign"),
        ),
    }
}

fn restless(key: &str) -> Error {
    Error::new(ErrorKind::Backend, format!("the key {key:?} was changed by others all the time"))
        .temporary(true)
}
