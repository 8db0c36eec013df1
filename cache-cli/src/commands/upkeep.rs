//! Commands on whole stores: `clear`, `stats` and `purge-expired`.

use cachette::{CacheHandle, Clear, Stats, stores::RedisCache};
use serde_json::{Map, Value as Json, json};

use super::Printer;
use crate::{
    Outcome, Result,
    selection::{Failures, Selection},
    terminal::{self, HEADING, Progress, styled},
};

pub(super) async fn clear(cache: &CacheHandle, yes: bool, printer: Printer) -> Result<Outcome> {
    let question = format!("delete {}?", what_clear_deletes(cache));
    if !yes && !terminal::confirm(&question)? {
        printer.print("nothing was deleted", &json!({"cleared": false}))?;
        return Ok(Outcome::Miss);
    }
    cache.clear().await?;
    printer.print("", &json!({"cleared": true}))?;
    Ok(Outcome::Done)
}

fn what_clear_deletes(cache: &CacheHandle) -> String {
    let (alias, store) = (cache.alias(), cache.store().name());
    let redis: Option<&RedisCache> = cache.store().downcast_ref();
    match redis {
        _ if cache.clears() == Clear::Generation => format!(
            "every entry with the KEY_PREFIX of the cache {alias:?} from the {store} store, in all \
             versions, by a new generation"
        ),
        Some(redis) if !redis.options().clear_database => format!(
            "every entry with the prefix of the cache {alias:?} from the {store} store, in all \
             versions"
        ),
        Some(_) => format!(
            "everything in the {store} database of the cache {alias:?}, including keys of other \
             applications"
        ),
        None => format!(
            "every entry of the {store} store of the cache {alias:?}, in all prefixes and versions"
        ),
    }
}

pub(super) async fn stats(selection: Selection, printer: Printer) -> Result<Outcome> {
    let (mut all, mut failures) = (Vec::new(), Failures::default());
    for (_, cache) in selection.into_each() {
        let Some(cache) = failures.ok(cache) else { continue };
        let stats = cache.stats().await;
        all.extend(failures.ok(stats).map(|stats| (cache, stats)));
    }
    if printer.is_json() {
        terminal::print_json(&all.iter().map(|(cache, stats)| as_json(cache, stats)).collect())?;
    } else if !all.is_empty() {
        print_table(&all)?;
    }
    Ok(failures.report())
}

fn as_json(cache: &CacheHandle, stats: &Stats) -> Json {
    let Stats { entries, expired, bytes, hits, misses, evictions, expirations, details, .. } =
        stats;
    let details: Map<String, Json> =
        details.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({
        "cache": cache.alias(), "store": cache.store().name(),
        "entries": entries, "expired": expired, "bytes": bytes,
        "hits": hits, "misses": misses, "evictions": evictions, "expirations": expirations,
        "details": details,
    })
}

fn print_table(all: &[(CacheHandle, Stats)]) -> Result<()> {
    let text =
        |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let row = |(cache, stats): &(CacheHandle, Stats)| {
        let [entries, expired, bytes] = [stats.entries, stats.expired, stats.bytes].map(text);
        [cache.alias().to_owned(), cache.store().name().to_owned(), entries, expired, bytes]
    };
    let heading = ["cache", "store", "entries", "expired", "bytes"].map(str::to_owned);
    let rows: Vec<_> = all.iter().map(row).collect();
    let width = |column: usize| {
        rows.iter().chain([&heading]).map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    terminal::print(styled(HEADING, &aligned(&heading, widths)))?;
    for (row, (_, stats)) in rows.iter().zip(all) {
        terminal::print(aligned(row, widths))?;
        for (name, value) in &stats.details {
            terminal::print(format!("    {name}: {value}"))?;
        }
    }
    Ok(())
}

/// Aligns names to the left and numbers to the right.
fn aligned(
    [cache, store, numbers @ ..]: &[String; 5],
    [first, second, widths @ ..]: [usize; 5],
) -> String {
    let numbers: Vec<String> =
        numbers.iter().zip(widths).map(|(number, width)| format!("{number:>width$}")).collect();
    format!("{cache:first$}  {store:second$}  {}", numbers.join("  "))
}

pub(super) async fn purge_expired(selection: Selection, printer: Printer) -> Result<Outcome> {
    let (mut all, mut failures) = (Vec::new(), Failures::default());
    for (alias, cache) in selection.into_each() {
        let Some(cache) = failures.ok(cache) else { continue };
        let purged = purge(&cache).await;
        let Some(removed) = failures.ok(purged) else { continue };
        if !printer.is_json() {
            let text = match removed {
                Some(removed) => format!("removed {removed}"),
                None => {
                    format!("the {} store removes expired entries itself", cache.store().name())
                }
            };
            terminal::print(format!("{alias}: {text}"))?;
        }
        all.push(json!({"cache": alias, "removed": removed}));
    }
    if printer.is_json() {
        terminal::print_json(&Json::Array(all))?;
    }
    Ok(failures.report())
}

/// Purges in steps, so that the progress bar moves. Returns `None` if the store does not support
/// it.
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
