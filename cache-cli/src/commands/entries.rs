//! Commands on one entry.

use cachette::{Bytes, CacheHandle, Error, ErrorKind, Timeout, Ttl};
use serde_json::{Value as Json, json};

use super::{Printer, input};
use crate::{Failure, Outcome, Result, args::NewEntry, terminal};

pub(super) async fn get(cache: &CacheHandle, key: &str, printer: Printer) -> Result<Outcome> {
    let Some(value) = cache.get::<Json>(key).await? else { return miss(cache, key, printer) };
    printer.print(value.to_string(), &json!({"key": key, "hit": true, "value": value}))?;
    Ok(Outcome::Done)
}

pub(super) async fn get_raw(cache: &CacheHandle, key: &str, printer: Printer) -> Result<Outcome> {
    if printer.is_json() {
        return Err(Failure::new("--raw and --output json cannot be combined")
            .with_help("remove one of them"));
    }
    let value = cache.get::<Bytes>(key).await.map_err(|error| {
        let is_decode_error = error.kind() == ErrorKind::Decode;
        let failure = Failure::from(error);
        if is_decode_error {
            failure.with_help("the value is neither bytes nor a string: remove --raw")
        } else {
            failure
        }
    })?;
    let Some(bytes) = value else { return miss(cache, key, printer) };
    terminal::print_raw(&bytes)?;
    Ok(Outcome::Done)
}

/// Reports a miss, which prints nothing to standard output as text.
fn miss(cache: &CacheHandle, key: &str, printer: Printer) -> Result<Outcome> {
    printer.print("", &json!({"key": key, "hit": false}))?;
    super::note_misses(cache, [key]);
    Ok(Outcome::Miss)
}

pub(super) async fn set(
    cache: &CacheHandle,
    entry: &NewEntry,
    printer: Printer,
) -> Result<Outcome> {
    let NewEntry { key, value, timeout, raw } = entry;
    if *raw {
        cache.set(key, &Bytes::from(input(value)?), *timeout).await?;
    } else {
        cache.set(key, &super::value(value)?, *timeout).await?;
    }
    printer.print("", &json!({"key": key, "stored": true}))?;
    Ok(Outcome::Done)
}

pub(super) async fn add(
    cache: &CacheHandle,
    entry: &NewEntry,
    printer: Printer,
) -> Result<Outcome> {
    let NewEntry { key, value, timeout, raw } = entry;
    let stored = if *raw {
        cache.add(key, &Bytes::from(input(value)?), *timeout).await?
    } else {
        cache.add(key, &super::value(value)?, *timeout).await?
    };
    printer.print("", &json!({"key": key, "stored": stored}))?;
    if !stored {
        terminal::print_note_on_terminal(&format!("{key:?} exists already"));
    }
    Ok(Outcome::done_if(stored))
}

pub(super) async fn touch(
    cache: &CacheHandle,
    key: &str,
    timeout: Timeout,
    printer: Printer,
) -> Result<Outcome> {
    let touched = cache.touch(key, timeout).await?;
    if !touched {
        super::note_misses(cache, [key]);
    }
    printer.print("", &json!({"key": key, "touched": touched}))?;
    Ok(Outcome::done_if(touched))
}

pub(super) async fn has(cache: &CacheHandle, key: &str, printer: Printer) -> Result<Outcome> {
    let hit = cache.contains(key).await?;
    if !hit {
        return miss(cache, key, printer);
    }
    printer.print("", &json!({"key": key, "hit": true}))?;
    Ok(Outcome::Done)
}

pub(super) async fn ttl(cache: &CacheHandle, key: &str, printer: Printer) -> Result<Outcome> {
    let (text, seconds) = match cache.ttl(key).await? {
        Some(Ttl::Never) => ("never".into(), None),
        Some(Ttl::Left(left)) => {
            let seconds = left.as_secs_f64();
            (format!("{seconds:.3}"), Some(seconds))
        }
        None => return miss(cache, key, printer),
    };
    printer.print(text, &json!({"key": key, "hit": true, "ttl": seconds}))?;
    Ok(Outcome::Done)
}

/// Prints the result of `incr` or `decr`.
pub(super) fn sum(
    cache: &CacheHandle,
    key: &str,
    sum: Result<i64, Error>,
    printer: Printer,
) -> Result<Outcome> {
    match sum {
        Ok(sum) => printer.print(sum.to_string(), &json!({"hit": true, "value": sum}))?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            printer.print("", &json!({"hit": false}))?;
            super::note_misses(cache, [key]);
            return Ok(Outcome::Miss);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Outcome::Done)
}
