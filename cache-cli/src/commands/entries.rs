//! One entry.

use cachette::{Bytes, CacheHandle, Error, ErrorKind, Timeout, Ttl};
use serde_json::{Value as Json, json};

use super::{Say, input};
use crate::{Failure, Outcome, Result, args, terminal};

pub(super) async fn get(cache: &CacheHandle, key: &str, say: Say) -> Result<Outcome> {
    match cache.get::<Json>(key).await? {
        Some(value) => {
            say.answer(value.to_string(), &json!({"key": key, "hit": true, "value": value}))?
        }
        None => return missed(key, say),
    }
    Ok(Outcome::Done)
}

pub(super) async fn get_raw(cache: &CacheHandle, key: &str, say: Say) -> Result<Outcome> {
    if say.is_json() {
        return Err(Failure::new("--raw writes bytes, and --output json does not")
            .with_remedy("leave out one of them"));
    }
    let value = cache.get::<Bytes>(key).await.map_err(|error| {
        let is_unreadable = error.kind() == ErrorKind::Decode;
        let failure = Failure::from(error);
        if is_unreadable {
            failure.with_remedy("it is neither bytes nor a text: leave out --raw")
        } else {
            failure
        }
    })?;
    match value {
        Some(bytes) => terminal::say_raw(&bytes)?,
        None => return missed(key, say),
    }
    Ok(Outcome::Done)
}

/// A miss is silent, but for who asked for JSON.
fn missed(key: &str, say: Say) -> Result<Outcome> {
    say.answer("", &json!({"key": key, "hit": false}))?;
    Ok(Outcome::Miss)
}

pub(super) async fn set(cache: &CacheHandle, store: &args::Store, say: Say) -> Result<Outcome> {
    let args::Store { key, value, timeout, raw } = store;
    if *raw {
        cache.set(key, &Bytes::from(input(value)?), *timeout).await?;
    } else {
        cache.set(key, &super::value(value)?, *timeout).await?;
    }
    say.answer("", &json!({"key": key, "stored": true}))?;
    Ok(Outcome::Done)
}

pub(super) async fn add(cache: &CacheHandle, store: &args::Store, say: Say) -> Result<Outcome> {
    let args::Store { key, value, timeout, raw } = store;
    let stored = if *raw {
        cache.add(key, &Bytes::from(input(value)?), *timeout).await?
    } else {
        cache.add(key, &super::value(value)?, *timeout).await?
    };
    say.answer("", &json!({"key": key, "stored": stored}))?;
    Ok(Outcome::done_if(stored))
}

pub(super) async fn touch(
    cache: &CacheHandle,
    key: &str,
    timeout: Timeout,
    say: Say,
) -> Result<Outcome> {
    let touched = cache.touch(key, timeout).await?;
    say.answer("", &json!({"key": key, "touched": touched}))?;
    Ok(Outcome::done_if(touched))
}

pub(super) async fn has(cache: &CacheHandle, key: &str, say: Say) -> Result<Outcome> {
    let hit = cache.contains(key).await?;
    say.answer("", &json!({"key": key, "hit": hit}))?;
    Ok(Outcome::done_if(hit))
}

pub(super) async fn ttl(cache: &CacheHandle, key: &str, say: Say) -> Result<Outcome> {
    match cache.ttl(key).await? {
        Some(Ttl::Never) => say.answer("never", &json!({"key": key, "hit": true, "ttl": null}))?,
        Some(Ttl::Left(left)) => {
            let seconds = left.as_secs_f64();
            say.answer(format!("{seconds:.3}"), &json!({"key": key, "hit": true, "ttl": seconds}))?;
        }
        None => return missed(key, say),
    }
    Ok(Outcome::Done)
}

/// The sum that an `incr` or a `decr` came to.
pub(super) fn count(sum: Result<i64, Error>, say: Say) -> Result<Outcome> {
    match sum {
        Ok(sum) => say.answer(sum.to_string(), &json!({"hit": true, "value": sum}))?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            say.answer("", &json!({"hit": false}))?;
            return Ok(Outcome::Miss);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Outcome::Done)
}
