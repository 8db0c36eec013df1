//! The command `bench`: measures what a get and a set cost from this machine.

use std::{
    io,
    time::{Duration, Instant},
};

use cachette::{Bytes, CacheHandle};
use serde_json::{Value as Json, json};

use super::{Printer, own_keys};
use crate::{
    Failure, Outcome, Result,
    args::Bench,
    terminal::{self, HEADING, styled},
};

/// How many keys are written and read in turn, so that they belong to several servers.
const KEYS: usize = 64;
/// After this many gets, the percentiles do not change any more.
const MAX_ROUNDS: usize = 500_000;
/// A benchmark that is killed leaves its entries for this long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The times that the calls took.
#[derive(Default)]
struct Times {
    gets: Vec<Duration>,
    sets: Vec<Duration>,
    misses: usize,
}

pub(super) async fn run(cache: &CacheHandle, args: &Bench, printer: Printer) -> Result<Outcome> {
    let keys: [String; KEYS] = own_keys("bench", std::array::from_fn(|number| number));
    // Random, so that a store that compresses values cannot make them shorter.
    let value = Bytes::from_iter(std::iter::repeat_with(|| fastrand::u8(..)).take(args.size));
    let (start, mut times) = (Instant::now(), Times::default());
    let measured = tokio::select! {
        biased;
        signal = interrupted() => signal.map(|()| Outcome::Interrupted),
        measured = measure(cache, &keys, &value, start + args.duration, &mut times) => {
            measured.map(|()| Outcome::Done)
        }
    };
    let elapsed = start.elapsed();
    // Also after an interruption or an error.
    let removed = cache.delete_many(&keys).await;
    let outcome = measured?;
    removed?;
    times.gets.sort_unstable();
    times.sets.sort_unstable();
    if printer.is_json() {
        terminal::print_json(&as_json(cache, args, elapsed, &times, outcome))?;
    } else {
        print(cache, args, elapsed, &times)?;
    }
    Ok(outcome)
}

/// Sets and gets the keys in turn until `end`.
async fn measure(
    cache: &CacheHandle,
    keys: &[String],
    value: &Bytes,
    end: Instant,
    times: &mut Times,
) -> Result<()> {
    // The first call connects.
    cache.set(&keys[0], value, TIMEOUT).await?;
    for key in keys.iter().cycle().take(MAX_ROUNDS) {
        let start = Instant::now();
        cache.set(key, value, TIMEOUT).await?;
        let stored = Instant::now();
        let found = cache.get::<Bytes>(key).await?;
        let read = Instant::now();
        times.sets.push(stored - start);
        times.gets.push(read - stored);
        times.misses += usize::from(found.is_none());
        if read >= end {
            break;
        }
        // A store in memory never waits, and signals would not be noticed.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Waits for Ctrl-C, or for the signal that ends services.
async fn interrupted() -> Result<()> {
    let failed = |error: io::Error| Failure::new("cannot wait for signals").with_cause(&error);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed.map_err(failed),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map_err(failed)
}

/// The percentiles that are reported, and the maximum.
const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];

/// The smallest time that at least this share of the calls took at most. `sorted` is in ascending
/// order.
fn percentile(sorted: &[Duration], share: f64) -> Option<Duration> {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "there are at most MAX_ROUNDS"
    )]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

fn print(cache: &CacheHandle, args: &Bench, elapsed: Duration, times: &Times) -> Result<()> {
    let Bench { size, .. } = args;
    let (alias, store) = (cache.alias(), cache.store().name());
    terminal::print(format!("cache {alias:?} ({store}): {size} bytes, {elapsed:.1?}"))?;
    let names: String = PERCENTILES.iter().map(|(name, _)| format!("{name:>12}")).collect();
    terminal::print(styled(HEADING, &format!("{:4}{:>10}{names}", "", "calls")))?;
    for (verb, sorted) in [("get", &times.gets), ("set", &times.sets)] {
        let shown = |share| {
            percentile(sorted, share).map_or_else(String::new, |time| format!("{time:.1?}"))
        };
        let columns: String =
            PERCENTILES.iter().map(|(_, share)| format!("{:>12}", shown(*share))).collect();
        terminal::print(format!("{verb:4}{:>10}{columns}", sorted.len()))?;
    }
    if times.misses > 0 {
        let (misses, gets) = (times.misses, times.gets.len());
        terminal::print_note(&format!(
            "{misses} of {gets} gets were misses, right after a set: the store did not keep the \
             entries, or a replica lags behind"
        ));
    }
    Ok(())
}

/// All times are in microseconds.
fn as_json(
    cache: &CacheHandle,
    args: &Bench,
    elapsed: Duration,
    times: &Times,
    outcome: Outcome,
) -> Json {
    let verb = |sorted: &[Duration]| {
        let mut fields = json!({"calls": sorted.len()});
        for (name, share) in PERCENTILES {
            // To a tenth, since clocks are hardly more precise.
            let time =
                percentile(sorted, share).map(|time| (time.as_secs_f64() * 1e7).round() / 10.0);
            fields[format!("{name}_us")] = json!(time);
        }
        fields
    };
    json!({
        "cache": cache.alias(), "store": cache.store().name(), "value_bytes": args.size,
        "seconds": elapsed.as_secs_f64(), "interrupted": outcome == Outcome::Interrupted,
        "misses": times.misses, "get": verb(&times.gets), "set": verb(&times.sets),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_a_time_that_was_measured() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        for (share, expected) in [(0.5, 100), (0.9, 180), (0.99, 198), (1.0, 200)] {
            assert_eq!(percentile(&times, share), Some(Duration::from_millis(expected)));
        }
        assert_eq!(percentile(&times[..1], 0.5), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
