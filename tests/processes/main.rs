//! Processes that produce, write and delete the same keys in each store that they can share.
#![cfg(all(
    unix,
    feature = "filebased",
    feature = "db-sqlite",
    feature = "memcached",
    feature = "redis",
    feature = "toml"
))]

mod source;
mod stores;

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use cachette::{CacheHandle, Caches};
use futures_util::future::join_all;
use source::Source;
use stores::Shared;
use tokio::runtime::Runtime;

const TASK: &str = "CACHETTE_TEST_TASK";
const CONFIG: &str = "CACHETTE_TEST_CONFIG";
const FOLDER: &str = "CACHETTE_TEST_FOLDER";

const HOUR: Duration = Duration::from_secs(3600);
/// How long a lease is held if its holder is killed.
const HOLD: Duration = Duration::from_secs(30);
const KEYS: [&str; 3] = ["a", "b", "c"];
const PROCESSES: u64 = 2;
const WORKERS: u64 = 4;
const TURNS: usize = 150;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the runtime starts")
}

async fn open(config: &str) -> CacheHandle {
    let caches = Caches::from_toml(&format!("[default]\n{config}")).await;
    caches.expect("valid configuration")["default"].clone()
}

/// Not a test: the entry point of the child processes of the tests below.
#[test]
fn child_process_runs_its_task() {
    let Ok(task) = env::var(TASK) else { return };
    let variable = |name| env::var(name).expect("set by the parent");
    runtime().block_on(async {
        let cache = open(&variable(CONFIG)).await;
        match task.parse() {
            Ok(process) => race(&cache, Path::new(&variable(FOLDER)), process).await,
            Err(_) => produce_until_killed(&cache).await,
        }
    });
}

fn child(task: &str, shared: &Shared) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of this program"));
    command
        .args(["--exact", "child_process_runs_its_task", "--nocapture"])
        .env(TASK, task)
        .env(CONFIG, &shared.config)
        .env(FOLDER, shared.folder.path());
    command
}

/// Produces, writes and deletes keys. After each step, the entry must not be older than the last
/// write that had returned before.
async fn race(cache: &CacheHandle, folder: &Path, process: u64) {
    let source = Source::new(folder);
    let work = async |worker| {
        let mut random = fastrand::Rng::with_seed(process * WORKERS + worker);
        let mut late = 0;
        for _ in 0..TURNS {
            let key = KEYS[random.usize(..KEYS.len())];
            match random.u8(..8) {
                0 => source.change(key, async |version| set(cache, key, version).await).await,
                1 => source.change(key, async |_| delete(cache, key).await).await,
                _ => late += produce(cache, &source, key, random.u64(..3)).await,
            }
            let acknowledged = source.acknowledged(key);
            if let Some(found) = cache.get::<i64>(key).await.expect("the store replies") {
                assert!(
                    found >= acknowledged,
                    "version {found} of {key} was stored after the write of {acknowledged}"
                );
            }
        }
        late
    };
    let late: usize = join_all((0..WORKERS).map(work)).await.into_iter().sum();
    assert!(late > 0, "no write was made while a value was produced");
}

async fn set(cache: &CacheHandle, key: &str, version: i64) {
    cache.set(key, &version, HOUR).await.expect("stored");
}

async fn delete(cache: &CacheHandle, key: &str) {
    cache.delete(key).await.expect("deleted");
}

/// Returns how many values were older than a write when their production ended.
async fn produce(cache: &CacheHandle, source: &Source, key: &str, millis: u64) -> usize {
    let mut late = 0;
    let produced = cache.get_or_set(key, HOUR, async || {
        let version = source.current(key);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        late = usize::from(source.acknowledged(key) > version);
        version
    });
    produced.await.expect("the store replies");
    late
}

fn late_value_is_never_stored(shared: &Shared) {
    // Creates the table.
    runtime().block_on(async { open(&shared.config).await.get::<i64>("k").await }).expect("a miss");
    let start = |process: u64| child(&process.to_string(), shared).spawn().expect("it starts");
    let children: Vec<Child> = (0..PROCESSES).map(start).collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
}

#[expect(clippy::print_stdout, reason = "the parent waits for the output")]
async fn produce_until_killed(cache: &CacheHandle) {
    let produced = cache.get_or_set("k", HOUR, async || {
        println!("producing");
        std::future::pending::<i64>().await
    });
    produced.await.expect("never");
}

fn killed_producer_delays_others_by_the_patience(shared: &Shared) {
    const PATIENCE: Duration = Duration::from_secs(1);
    let mut holder =
        child("hold", shared).stdout(Stdio::piped()).spawn().expect("the child starts");
    let lines = BufReader::new(holder.stdout.take().expect("piped")).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("producing")));
    holder.kill().expect("it is running");
    holder.wait().expect("it ends");
    runtime().block_on(async {
        let cache = open(&format!("patience = 1\n{}", shared.config)).await;
        let start = Instant::now();
        let value = cache.get_or_set("k", HOUR, async || 7).await.expect("the store replies");
        let waited = start.elapsed();
        assert_eq!(value, 7);
        assert!((PATIENCE..HOLD / 2).contains(&waited), "waited for {waited:?}");
        assert_eq!(
            cache.get::<i64>("k").await.expect("a reply"),
            None,
            "not stored without a lease"
        );
        set(&cache, "k", 8).await;
        let found = cache.get_or_set("k", HOUR, async || 9).await.expect("the store replies");
        assert_eq!(found, 8, "a write ends the lease");
    });
}

macro_rules! on_each_store {
    ($($(#[$attribute:meta])* $store:ident)+) => {
        $($(#[$attribute])*
        mod $store {
            use super::stores;

            #[test]
            fn late_value_is_never_stored() {
                super::late_value_is_never_stored(&stores::$store());
            }

            #[test]
            fn killed_producer_delays_others_by_the_patience() {
                super::killed_producer_delays_others_by_the_patience(&stores::$store());
            }
        })+
    };
}

on_each_store! {
    filebased
    sqlite
    #[cfg(feature = "db-postgres")]
    postgres
    #[cfg(feature = "db-mysql")]
    mysql
    memcached
    redis
}

/// The CAS numbers of memcached start again, so that the newer entry has that of the lease.
#[tokio::test]
async fn late_value_is_not_stored_after_a_restart_of_memcached() {
    let mut shared = stores::memcached();
    let server = Mutex::new(shared.server.take().expect("it has a server"));
    let (cache, other) = (open(&shared.config).await, open(&shared.config).await);
    let produced = cache.get_or_set("k", HOUR, async || {
        {
            let mut server = server.lock().expect("no panic");
            server.kill().expect("killed");
            server.restart().expect("restarted");
        }
        set(&other, "k", 2).await;
        1
    });
    produced.await.expect("produced");
    assert_eq!(other.get::<i64>("k").await.expect("a reply"), Some(2));
}
