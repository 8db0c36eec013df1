//! Whether the caches can be used, and what to do where they can't.

use std::{
    process,
    time::{Duration, SystemTime},
};

use cachette::{
    CacheHandle,
    stores::{DbCache, MemcachedCache, TableState},
};
use serde_json::{Value as Json, json};

use super::Say;
use crate::{
    Failure, Outcome, Result,
    ours::Ours,
    terminal::{self, BAD, GOOD, HEADING, styled},
};

/// What was found out about an alias.
struct Finding {
    alias: String,
    store: Option<String>,
    problem: Option<Failure>,
}

pub(super) async fn run(ours: Ours, say: Say) -> Result<Outcome> {
    let mut findings = Vec::new();
    for (alias, cache) in ours.some() {
        let finding = examine(alias, cache).await;
        if !say.is_json() {
            tell(&finding)?;
        }
        findings.push(finding);
    }
    if say.is_json() {
        terminal::say_json(&findings.iter().map(as_json).collect())?;
    }
    Ok(Outcome::done_if(findings.iter().all(|finding| finding.problem.is_none())))
}

async fn examine(alias: String, cache: Result<CacheHandle>) -> Finding {
    let cache = match cache {
        Ok(cache) => cache,
        Err(problem) => return Finding { alias, store: None, problem: Some(problem) },
    };
    let problem = go_through(&cache).await.err();
    Finding { alias, store: Some(cache.store().name().into()), problem }
}

async fn go_through(cache: &CacheHandle) -> Result<()> {
    table(cache).await?;
    servers(cache).await?;
    round_trip(cache).await
}

/// That all of many servers answer, not only the one that has a key.
async fn servers(cache: &CacheHandle) -> Result<()> {
    let Some(store) = cache.store().downcast_ref::<MemcachedCache>() else { return Ok(()) };
    let mut dead = store.unreachable().await;
    let Some((_, error)) = dead.pop() else { return Ok(()) };
    let others: String =
        dead.into_iter().map(|(server, _)| format!("; {server} can't be reached either")).collect();
    Err(Failure::from(error).and(&others))
}

/// That the cache's table is as it should be, where it has one.
async fn table(cache: &CacheHandle) -> Result<()> {
    let Some(store) = cache.store().downcast_ref::<DbCache>() else { return Ok(()) };
    for found in store.create_table(true).await? {
        if found.state == TableState::Outdated {
            let problem =
                format!("the table {:?} in {} is of an older version", found.table, found.database);
            return Err(Failure::new(problem)
                .with_remedy("bring it up to date: `cachette createcachetable`"));
        }
    }
    Ok(())
}

/// Writes, reads and deletes an entry. What is read is not looked at: a replica may be behind, and a dummy keeps nothing.
async fn round_trip(cache: &CacheHandle) -> Result<()> {
    const TIMEOUT: Duration = Duration::from_secs(10);
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos());
    let key = format!("cachette-check-{}-{now}", process::id());
    cache.set(&key, "written by `cachette check`", TIMEOUT).await?;
    cache.get::<String>(&key).await?;
    cache.delete(&key).await?;
    Ok(())
}

fn tell(finding: &Finding) -> Result<()> {
    let Finding { alias, store, problem } = finding;
    let name = store.as_ref().map_or_else(|| alias.clone(), |store| format!("{alias} ({store})"));
    let Some(problem) = problem else {
        return terminal::say(format!("{} {name}", styled(GOOD, "ok     ")));
    };
    terminal::say(format!("{} {name}\n        {problem}", styled(BAD, "problem")))?;
    match problem.remedy() {
        Some(remedy) => {
            terminal::say(format!("        {} {remedy}", styled(HEADING, "what to do:")))
        }
        None => Ok(()),
    }
}

fn as_json(finding: &Finding) -> Json {
    let Finding { alias, store, problem } = finding;
    json!({
        "cache": alias,
        "store": store,
        "ok": problem.is_none(),
        "problem": problem.as_ref().map(Failure::problem),
        "remedy": problem.as_ref().and_then(Failure::remedy),
    })
}
