//! A store as a whole.

use cachette::{CacheHandle, Stats, stores::RedisCache};
use serde_json::{Map, Value as Json, json};

use super::Say;
use crate::{
    Outcome, Result,
    ours::{Failures, Ours},
    terminal::{self, HEADING, Progress, styled},
};

pub(super) async fn clear(cache: &CacheHandle, yes: bool, say: Say) -> Result<Outcome> {
    let question = format!("clear removes {}: go on?", what_clear_removes(cache));
    if !yes && !terminal::confirm(&question)? {
        say.answer("nothing was removed", &json!({"cleared": false}))?;
        return Ok(Outcome::Miss);
    }
    cache.clear().await?;
    say.answer("", &json!({"cleared": true}))?;
    Ok(Outcome::Done)
}

fn what_clear_removes(cache: &CacheHandle) -> String {
    let (alias, store) = (cache.alias(), cache.store().name());
    match cache.store().downcast_ref::<RedisCache>() {
        Some(redis) if !redis.options().clear_database => {
            format!(
                "every entry of the {store} store that begins with the prefix of the cache {alias:?}, whatever its version"
            )
        }
        Some(_) => format!(
            "all that is in the {store} database behind the cache {alias:?}, whoever wrote it"
        ),
        None => format!(
            "every entry of the {store} store behind the cache {alias:?}, whatever its prefix and version"
        ),
    }
}

pub(super) async fn stats(ours: Ours, say: Say) -> Result<Outcome> {
    let (mut all, mut failures) = (Vec::new(), Failures::default());
    for (_, cache) in ours.some() {
        let Some(cache) = failures.note(cache) else { continue };
        let stats = cache.stats().await;
        all.extend(failures.note(stats).map(|stats| (cache, stats)));
    }
    if say.is_json() {
        terminal::say_json(&all.iter().map(|(cache, stats)| as_json(cache, stats)).collect())?;
    } else if !all.is_empty() {
        tell(&all)?;
    }
    Ok(failures.told())
}

fn as_json(cache: &CacheHandle, stats: &Stats) -> Json {
    let Stats { entries, expired, bytes, details } = stats;
    let details: Map<String, Json> =
        details.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({
        "cache": cache.alias(), "store": cache.store().name(),
        "entries": entries, "expired": expired, "bytes": bytes, "details": details,
    })
}

fn tell(all: &[(CacheHandle, Stats)]) -> Result<()> {
    let known =
        |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let row = |(cache, stats): &(CacheHandle, Stats)| {
        let [entries, expired, bytes] = [stats.entries, stats.expired, stats.bytes].map(known);
        [cache.alias().to_owned(), cache.store().name().to_owned(), entries, expired, bytes]
    };
    let heading = ["cache", "store", "entries", "expired", "bytes"].map(str::to_owned);
    let rows: Vec<_> = all.iter().map(row).collect();
    let width = |column: usize| {
        rows.iter().chain([&heading]).map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    terminal::say(styled(HEADING, &line(&heading, widths)))?;
    for (row, (_, stats)) in rows.iter().zip(all) {
        terminal::say(line(row, widths))?;
        for (name, value) in &stats.details {
            terminal::say(format!("    {name}: {value}"))?;
        }
    }
    Ok(())
}

/// Names to the left, numbers to the right.
fn line(
    [cache, store, numbers @ ..]: &[String; 5],
    [first, second, widths @ ..]: [usize; 5],
) -> String {
    let numbers: Vec<String> =
        numbers.iter().zip(widths).map(|(number, width)| format!("{number:>width$}")).collect();
    format!("{cache:first$}  {store:second$}  {}", numbers.join("  "))
}

pub(super) async fn purge_expired(ours: Ours, say: Say) -> Result<Outcome> {
    let (mut all, mut failures) = (Vec::new(), Failures::default());
    for (alias, cache) in ours.some() {
        let Some(cache) = failures.note(cache) else { continue };
        let purged = purge(&cache).await;
        let Some(removed) = failures.note(purged) else { continue };
        if !say.is_json() {
            let told = match removed {
                Some(removed) => format!("removed {removed}"),
                None => {
                    format!("a {} store removes what has expired by itself", cache.store().name())
                }
            };
            terminal::say(format!("{alias}: {told}"))?;
        }
        all.push(json!({"cache": alias, "removed": removed}));
    }
    if say.is_json() {
        terminal::say_json(&Json::Array(all))?;
    }
    Ok(failures.told())
}

/// In steps, so that it can be seen how it gets on.
async fn purge(cache: &CacheHandle) -> Result<Option<u64>> {
    const STEP: u64 = 1000;
    let mut progress = Progress::new(cache.alias(), cache.stats().await?.expired);
    let mut removed = 0;
    loop {
        let Some(step) = cache.purge_expired(STEP).await? else { return Ok(None) };
        removed += step;
        progress.show(removed);
        if step < STEP {
            return Ok(Some(removed));
        }
    }
}
