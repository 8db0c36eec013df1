//! The command `check`: finds problems of the configuration, the servers and the tables.

use std::time::Duration;

use cachette::{
    CacheHandle, ErrorKind,
    stores::{DbCache, FileBasedCache, MemcachedCache, TableState},
};
use serde_json::{Value as Json, json};

use super::{Printer, own_keys};
use crate::{
    Failure, Outcome, Result,
    selection::Selection,
    terminal::{self, BAD, GOOD, styled},
};

/// The result of checking one alias.
struct Finding {
    alias: String,
    store: Option<String>,
    problem: Option<Failure>,
}

pub(super) async fn run(selection: Selection, printer: Printer) -> Result<Outcome> {
    let mut findings = Vec::new();
    for (alias, cache) in selection.into_each() {
        let finding = check(alias, cache).await;
        if !printer.is_json() {
            print(&finding)?;
        }
        findings.push(finding);
    }
    if printer.is_json() {
        terminal::print_json(&findings.iter().map(as_json).collect())?;
    }
    Ok(Outcome::done_if(findings.iter().all(|finding| finding.problem.is_none())))
}

async fn check(alias: String, cache: Result<CacheHandle>) -> Finding {
    let cache = match cache {
        Ok(cache) => cache,
        Err(problem) => return Finding { alias, store: None, problem: Some(problem) },
    };
    let problem = check_cache(&cache).await.err();
    Finding { alias, store: Some(cache.store().name().into()), problem }
}

async fn check_cache(cache: &CacheHandle) -> Result<()> {
    check_tables(cache).await?;
    check_servers(cache).await?;
    if let Some(store) = cache.store().downcast_ref::<FileBasedCache>() {
        // The verbs would leave directories behind.
        let checked = store.check().await;
        return Ok(checked.map_err(|error| error.in_cache(cache.alias()))?);
    }
    try_verbs(cache).await
}

/// Checks every memcached server. A verb reaches only the server that owns the key.
async fn check_servers(cache: &CacheHandle) -> Result<()> {
    let Some(store) = cache.store().downcast_ref::<MemcachedCache>() else { return Ok(()) };
    let mut unreachable = store.unreachable().await;
    let Some((_, error)) = unreachable.pop() else { return Ok(()) };
    let others: String =
        unreachable.into_iter().map(|(server, _)| format!("; {server} is down as well")).collect();
    Err(Failure::from(error.in_cache(cache.alias())).with_more(&others))
}

/// Checks that the cache's tables exist and are current, if it has any.
async fn check_tables(cache: &CacheHandle) -> Result<()> {
    let Some(store) = cache.store().downcast_ref::<DbCache>() else { return Ok(()) };
    let tables = store.create_table(true).await;
    for table in tables.map_err(|error| error.in_cache(cache.alias()))? {
        if table.state == TableState::Outdated {
            let message =
                format!("the table {:?} in {} has an older schema", table.table, table.database);
            return Err(Failure::new(message).with_help("run `cachette createcachetable`"));
        }
    }
    Ok(())
}

/// Calls each verb on keys of its own, and deletes them.
///
/// A user may have the right to execute some of them only. The values are not compared: a replica
/// may lag behind, and a dummy stores nothing.
pub(super) async fn try_verbs(cache: &CacheHandle) -> Result<()> {
    let keys = own_keys("check", ["a", "b"]);
    let tried = try_verbs_on(cache, &keys).await;
    if tried.is_err() {
        // The verb that failed is reported, and entries that cannot be deleted soon expire.
        let _ = cache.delete_many(&keys).await;
    }
    tried
}

/// How long an entry stays that cannot be deleted.
const TIMEOUT: Duration = Duration::from_secs(10);

async fn try_verbs_on(cache: &CacheHandle, keys: &[String; 2]) -> Result<()> {
    let [key, other] = keys;
    verb("set", cache.set(key, "written by `cachette check`", TIMEOUT).await)?;
    verb("get", cache.get::<String>(key).await)?;
    verb("contains", cache.contains(key).await)?;
    verb("add", cache.add(other, &1, TIMEOUT).await)?;
    match cache.incr(other, 1).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        counted => drop(verb("incr", counted)?),
    }
    verb("touch", cache.touch(other, TIMEOUT).await)?;
    verb("ttl", cache.ttl(other).await)?;
    match cache.incr_or_set(other, 1, 1, TIMEOUT).await {
        // An incr that a replica or an eviction has made impossible.
        Err(error) if error.kind() == ErrorKind::NotAnInteger => {}
        counted => drop(verb("incr_or_set", counted)?),
    }
    verb("get_and_touch", cache.get_and_touch::<i64>(other, TIMEOUT).await)?;
    verb("set_many", cache.set_many(keys.iter().zip([1, 2]), TIMEOUT).await)?;
    verb("get_many", cache.get_many::<i64, _>(keys).await)?;
    verb("delete", cache.delete(key).await)?;
    verb("delete_many", cache.delete_many(keys).await)?;
    verb("lock", try_lock(cache, key).await)?;
    Ok(())
}

/// Acquires a lease as a lock and releases it, as misses do.
async fn try_lock(cache: &CacheHandle, key: &str) -> cachette::Result<()> {
    match cache.lock(key).hold(TIMEOUT).await? {
        Some(guard) => guard.release().await,
        None => Ok(()),
    }
}

/// Adds the name of the verb to its error.
fn verb<T>(name: &str, result: cachette::Result<T>) -> Result<T> {
    result.map_err(|error| Failure::from(error.within(name)))
}

fn print(finding: &Finding) -> Result<()> {
    let Finding { alias, store, problem } = finding;
    let name = store.as_ref().map_or_else(|| alias.clone(), |store| format!("{alias} ({store})"));
    let Some(problem) = problem else {
        return terminal::print(format!("{} {name}", styled(GOOD, "ok     ")));
    };
    terminal::print(format!("{} {name}\n        {problem}", styled(BAD, "problem")))?;
    problem.details().try_for_each(|detail| terminal::print(format!("        {detail}")))
}

fn as_json(finding: &Finding) -> Json {
    let Finding { alias, store, problem } = finding;
    json!({
        "cache": alias,
        "store": store,
        "ok": problem.is_none(),
        "problem": problem.as_ref().map(Failure::message),
        "causes": problem.as_ref().map(Failure::causes),
        "help": problem.as_ref().and_then(Failure::help),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cachette::{
        Cache, Caches, forward_cache,
        stores::{CreateTables, DbBackend},
    };

    use super::*;

    #[derive(Debug)]
    struct Wrapper(Arc<dyn Cache>);

    impl Cache for Wrapper {
        forward_cache!(self.0);
    }

    async fn wrapped(url: &str, db: DbBackend) -> Caches {
        let builder = Caches::builder().url("default", url).backend("db", db);
        builder.wrap(Wrapper).wrap(Wrapper).build().await.expect("valid configuration")
    }

    #[tokio::test]
    async fn table_of_a_wrapped_store_is_checked() {
        const OLDER: &str = "CREATE TABLE pages (expires BIGINT NOT NULL, cache_key BLOB \
                             PRIMARY KEY, number BIGINT, value BLOB)";
        let folder = tempfile::tempdir().expect("create a temporary directory");
        let file = folder.path().join("cache.db");
        let database = rusqlite::Connection::open(&file).expect("open the file");
        database.execute_batch(OLDER).expect("create an older table");
        let url = format!("db://pages?url=sqlite:{}", file.display());
        let caches = wrapped(&url, DbBackend::default()).await;
        let error = check_cache(&caches["default"]).await.expect_err("an older table");
        assert!(error.message().contains("\"pages\""), "{error}");
        assert!(error.help().is_some_and(|help| help.contains("createcachetable")), "{error}");
        caches.create_tables(&CreateTables::default()).await.expect("update the table");
        check_cache(&caches["default"]).await.expect("the table is current");
    }

    #[tokio::test]
    async fn servers_of_a_wrapped_store_are_checked() {
        let url = "memcached://127.0.0.1:1,127.0.0.1:2?when_dead=miss";
        let caches = wrapped(url, DbBackend::default()).await;
        let error = check_servers(&caches["default"]).await.expect_err("no servers");
        for server in ["127.0.0.1:1", "127.0.0.1:2"] {
            assert!(error.message().contains(server), "{error}");
        }
    }
}
