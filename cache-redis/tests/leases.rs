//! Leases on real servers, beyond what the conformance suite tests.

mod common;

use std::{
    env,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cache_core::{Acquired, Ask, Bytes, Cache, ErrorKind, Lease, Leases, Ttl, Value};
use cache_redis::{RedisCache, RedisOptions};
use common::{HOUR, eventually, fresh, moderate, patient, server, shared_server};
use xtask::servers::{RedisCluster, RedisSentinels, Server};

const HOLD: Duration = Duration::from_secs(60);
const ANY: Ask<'static> = Ask::Any { side: "~:lease:k" };

fn bytes(text: &'static [u8]) -> Value {
    Value::Bytes(Bytes::from_static(text))
}

fn leases(store: &RedisCache) -> &dyn Leases {
    store.leases().expect("the store has leases")
}

async fn acquire(store: &RedisCache, ask: Ask<'_>) -> Acquired {
    leases(store).acquire("k", ask, HOLD).await.expect("a reply")
}

async fn lease(store: &RedisCache, ask: Ask<'_>) -> Lease {
    acquire(store, ask).await.lease.expect("granted")
}

async fn fill(store: &RedisCache, lease: Lease, value: Value) -> bool {
    leases(store).fill("k", lease, value, HOUR).await.expect("a reply")
}

/// Executes a command with another client.
async fn raw(server: &Server, command: &[&str]) -> redis::Value {
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("connected");
    let mut cmd = redis::cmd(command[0]);
    cmd.arg(&command[1..]);
    cmd.query_async(&mut connection).await.expect("a reply")
}

/// Creates a store whose keys another client knows.
fn store_on(server: &Server, options: RedisOptions) -> RedisCache {
    RedisCache::new(&[server.url()], options.clear_database(true)).expect("valid options")
}

#[tokio::test]
async fn mark_is_stored_under_the_key_and_a_foreign_write_ends_the_lease() {
    let server = server();
    let store = store_on(&server, patient());
    let held = lease(&store, Ask::Missing).await;
    let redis::Value::BulkString(mark) = raw(&server, &["GET", "k"]).await else {
        panic!("no mark")
    };
    assert!(mark.starts_with(b"\x1BT"), "{mark:?}");
    assert_eq!(raw(&server, &["DBSIZE"]).await, redis::Value::Int(1));
    raw(&server, &["SET", "k", "foreign"]).await;
    assert!(!fill(&store, held, bytes(b"late")).await);
    assert_eq!(store.get("k").await.expect("a reply"), Some(bytes(b"foreign")));
}

#[tokio::test]
async fn touch_does_not_extend_a_lease() {
    let server = server();
    let store = store_on(&server, patient());
    let _held = lease(&store, Ask::Missing).await;
    for ttl in [HOUR, None] {
        assert!(!store.touch("k", ttl).await.expect("a reply"));
        let redis::Value::Int(left) = raw(&server, &["PTTL", "k"]).await else { panic!("no ttl") };
        assert!((1..=60_000).contains(&left), "{left}");
    }
}

#[tokio::test]
async fn fill_after_flushdb_stores_nothing() {
    let server = server();
    let store = store_on(&server, patient());
    for (ask, entry) in [(Ask::Missing, None), (ANY, None), (ANY, Some(bytes(b"old")))] {
        if let Some(entry) = entry {
            store.set("k", entry, HOUR).await.expect("stored");
        }
        let held = lease(&store, ask).await;
        raw(&server, &["FLUSHDB"]).await;
        assert!(!fill(&store, held, bytes(b"late")).await);
        assert_eq!(store.get("k").await.expect("a reply"), None);
    }
}

#[tokio::test]
async fn fill_after_a_restart_stores_nothing() {
    let mut server = server();
    let store = fresh(&[server.url()], patient());
    let (held, lost) = (lease(&store, Ask::Missing).await, {
        store.set("other", Value::Int(1), HOUR).await.expect("stored");
        leases(&store).acquire("other", ANY, HOLD).await.expect("a reply").lease.expect("granted")
    });
    server.kill().expect("killed");
    let error = leases(&store).fill("other", lost, bytes(b"late"), HOUR).await;
    assert_eq!(error.expect_err("no server").kind(), ErrorKind::Unavailable);
    server.restart().expect("restarted");
    assert!(!fill(&store, held, bytes(b"late")).await, "the server does not persist marks");
    assert_eq!(store.get("k").await.expect("a reply"), None);
    let held = lease(&store, Ask::Missing).await;
    assert!(fill(&store, held, bytes(b"new")).await);
}

#[tokio::test]
async fn entry_is_compared_as_a_whole_unless_it_has_a_stamp() {
    let store = fresh(&shared_server(), patient());
    store.set("k", Value::Int(5), HOUR).await.expect("stored");
    let held = lease(&store, ANY).await;
    store.set("k", Value::Int(57), HOUR).await.expect("stored");
    assert!(!fill(&store, held, bytes(b"late")).await, "57 begins with 5");
    assert_eq!(store.get("k").await.expect("a reply"), Some(Value::Int(57)));
}

#[tokio::test]
async fn stamp_alone_identifies_an_entry() {
    let server = server();
    let store = fresh(&[server.url()], patient());
    let (one, two) = (b"\xC1\x21\x20stamp--1body", b"\xC1\x21\x20stamp--2body");
    store.set("k", bytes(one), HOUR).await.expect("stored");
    let held = lease(&store, ANY).await;
    store.set("k", bytes(two), HOUR).await.expect("stored");
    assert!(!fill(&store, held, bytes(b"late")).await, "another stamp");
    let held = lease(&store, ANY).await;
    assert!(fill(&store, held, bytes(one)).await);
    assert_eq!(store.get("k").await.expect("a reply"), Some(bytes(one)));
}

#[tokio::test]
async fn lease_of_another_key_or_store_stores_nothing() {
    let server = server();
    let (store, other) = (store_on(&server, patient()), store_on(&server, patient()));
    for key in ["k", "other"] {
        store.set(key, Value::Int(1), HOUR).await.expect("stored");
    }
    let held = lease(&store, ANY).await;
    let filled = leases(&store).fill("other", held, bytes(b"late"), HOUR).await;
    assert!(!filled.expect("a reply"));
    raw(&server, &["DEL", "~:lease:k"]).await;
    let held = lease(&store, ANY).await;
    assert!(!fill(&other, held, bytes(b"late")).await);
    assert_eq!(store.get("other").await.expect("a reply"), Some(Value::Int(1)));
    assert_eq!(store.get("k").await.expect("a reply"), Some(Value::Int(1)));
}

#[tokio::test]
async fn key_of_another_type_can_be_filled() {
    let server = server();
    let store = store_on(&server, patient());
    raw(&server, &["LPUSH", "k", "a"]).await;
    assert!(store.contains("k").await.expect("a reply"));
    assert!(!store.add("k", Value::Int(1), HOUR).await.expect("a reply"));
    assert!(matches!(store.ttl("k").await.expect("a reply"), Some(Ttl::Never)));
    let held = lease(&store, Ask::Missing).await;
    assert!(fill(&store, held, bytes(b"new")).await);
    assert_eq!(store.get("k").await.expect("a reply"), Some(bytes(b"new")));
}

#[tokio::test]
async fn too_large_fill_ends_the_lease() {
    let store = fresh(&shared_server(), patient());
    let large = Value::Bytes(vec![0; cache_redis::MAX_VALUE_BYTES + 1].into());
    let held = lease(&store, Ask::Missing).await;
    let error = leases(&store).fill("k", held, large, HOUR).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(acquire(&store, Ask::Missing).await.lease.is_some());
}

#[tokio::test]
async fn scripts_of_leases_are_sent_again_after_script_flush() {
    let server = server();
    let store = store_on(&server, patient());
    for ask in [Ask::Missing, ANY] {
        raw(&server, &["SCRIPT", "FLUSH"]).await;
        let held = lease(&store, ask).await;
        raw(&server, &["SCRIPT", "FLUSH"]).await;
        assert!(fill(&store, held, bytes(b"new")).await);
        store.delete("k").await.expect("deleted");
        let held = lease(&store, ask).await;
        raw(&server, &["SCRIPT", "FLUSH"]).await;
        leases(&store).release("k", held, Duration::ZERO).await.expect("released");
        assert_eq!(raw(&server, &["DBSIZE"]).await, redis::Value::Int(0));
    }
}

#[tokio::test]
async fn leases_are_on_the_primary() {
    let primary = server();
    let replica = primary.start_replica().expect("a replica");
    let store = fresh(&[primary.url(), replica.url()], patient());
    let held = lease(&store, Ask::Missing).await;
    eventually("the replica has the mark", async || {
        raw(&replica, &["DBSIZE"]).await == redis::Value::Int(1)
    })
    .await;
    assert_eq!(store.get("k").await.expect("a reply of the replica"), None);
    assert!(!store.contains("k").await.expect("a reply of the replica"));
    assert!(fill(&store, held, bytes(b"new")).await);
}

#[tokio::test]
async fn lease_moves_with_its_slot() {
    let cluster = RedisCluster::start(3, false).expect("started");
    let options = patient().cluster(true).namespace("{tag}");
    let store = RedisCache::new(&[cluster.servers[0].url()], options).expect("valid options");
    let redis::Value::Int(slot) = raw(&cluster.servers[0], &["CLUSTER", "KEYSLOT", "{tag}k"]).await
    else {
        panic!("no slot")
    };
    let slot = u16::try_from(slot).expect("a slot");
    let from = (0..3).find(|server| usize::from(slot) < (server + 1) * 16384 / 3).expect("one");
    let to = (from + 1) % 3;
    let held = lease(&store, ANY).await;
    cluster.begin_to_move_slot(slot, from, to).expect("migrating");
    let second = leases(&store).acquire("second", ANY, HOLD).await.expect("a reply");
    cluster.move_slot(slot, from, to).expect("moved");
    assert!(acquire(&store, Ask::Missing).await.lease.is_none(), "the mark has moved");
    assert!(fill(&store, held, bytes(b"new")).await);
    let second = second.lease.expect("granted on the new primary");
    let filled = leases(&store).fill("second", second, bytes(b"new"), HOUR).await;
    assert!(filled.expect("a reply"));
}

#[tokio::test]
async fn promoted_replica_accepts_the_fill() {
    let mut set = RedisSentinels::start().expect("started");
    let urls: Vec<_> = set.sentinels.iter().map(Server::url).collect();
    let store = fresh(&urls, moderate().sentinel(RedisSentinels::NAME));
    let held = lease(&store, Ask::Missing).await;
    eventually("the replica has the mark", async || {
        raw(&set.servers[1], &["DBSIZE"]).await == redis::Value::Int(1)
    })
    .await;
    set.servers[0].kill().expect("killed");
    eventually("the replica is promoted", async || {
        store.set("other", Value::Int(1), HOUR).await.is_ok()
    })
    .await;
    assert!(fill(&store, held, bytes(b"new")).await);
    assert_eq!(store.get("k").await.expect("a reply"), Some(bytes(b"new")));
}

const TASK: &str = "CACHETTE_TEST_TASK";
const URL: &str = "CACHETTE_TEST_URL";
const WRITES: usize = 200;

/// Starts this binary as another process that runs a task on the server.
fn child(task: &str, server: &Server) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path is known"));
    command.args(["child_process_runs_its_task", "--exact", "--nocapture"]);
    command.env(TASK, task).env(URL, server.url());
    command
}

/// Not a test: the entry point of the child processes of the tests below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_process_runs_its_task() {
    let (Ok(task), Ok(url)) = (env::var(TASK), env::var(URL)) else { return };
    let store = RedisCache::new(&[url], patient().clear_database(true)).expect("valid options");
    if task == "hold and die" {
        let hold = Duration::from_secs(2);
        let acquired = leases(&store).acquire("k", Ask::Missing, hold).await.expect("a reply");
        assert!(acquired.lease.is_some());
        std::process::abort();
    }
    race(&store, task.parse().expect("a number")).await;
}

/// Changes the source of this process's value and then writes or deletes the value, while other
/// tasks fill the values of both processes from their sources.
///
/// No value may be older than the last change of this process, which is the only writer. It writes
/// until a fill between two writes was stored, whenever the scheduler lets one happen.
async fn race(store: &RedisCache, process: i64) {
    let stored = [0, 1].map(|_| Arc::new(AtomicUsize::new(0)));
    let fillers = [0, 1].map(|key| {
        let (store, stored) = (store.clone(), Arc::clone(&stored[key]));
        tokio::spawn(async move { fill_until_done(&store, key, &stored).await })
    });
    let own = &stored[usize::try_from(process).expect("0 or 1")];
    for write in 0.. {
        if write >= WRITES && own.load(Ordering::Relaxed) > 0 {
            break;
        }
        let changed = store.incr(&format!("source {process}"), 1).await.expect("a reply");
        let changed = changed.expect("the parent created it");
        let key = format!("value {process}");
        if write % 2 == 0 {
            store.delete(&key).await.expect("deleted");
        } else {
            store.set(&key, Value::Int(changed), HOUR).await.expect("stored");
        }
        for _ in 0..5 {
            if let Some(Value::Int(found)) = store.get(&key).await.expect("a reply") {
                assert!(found >= changed, "{found} was stored over the change to {changed}");
            }
        }
    }
    store.set(&format!("done {process}"), Value::Int(1), HOUR).await.expect("stored");
    for filler in fillers {
        filler.await.expect("no panic");
    }
}

async fn fill_until_done(store: &RedisCache, process: usize, stored: &AtomicUsize) {
    let (key, source) = (format!("value {process}"), format!("source {process}"));
    let side = format!("~:lease:{process}");
    while store.get(&format!("done {process}")).await.expect("a reply").is_none() {
        for ask in [Ask::Missing, Ask::Any { side: &side }] {
            let acquired = leases(store).acquire(&key, ask, HOLD).await.expect("a reply");
            let Some(lease) = acquired.lease else { continue };
            let value = store.get(&source).await.expect("a reply").expect("it is never deleted");
            let filled = leases(store).fill(&key, lease, value, HOUR).await.expect("a reply");
            stored.fetch_add(usize::from(filled), Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn late_fill_of_two_processes_is_never_stored_over_a_newer_write() {
    let server = server();
    let store = store_on(&server, patient());
    for process in 0..2 {
        store.set(&format!("source {process}"), Value::Int(0), None).await.expect("stored");
    }
    let children = ["0", "1"].map(|number| {
        let mut command = child(number, &server);
        thread::spawn(move || command.output().expect("the child starts"))
    });
    for process in children {
        let output = process.join().expect("no panic");
        assert!(output.status.success(), "{output:?}");
    }
}

#[tokio::test]
async fn lease_of_a_killed_process_ends_by_time() {
    let server = server();
    let store = store_on(&server, patient());
    let start = Instant::now();
    let output = child("hold and die", &server).output().expect("the child starts");
    assert!(!output.status.success(), "it aborts: {output:?}");
    eventually("the lease has ended", async || acquire(&store, Ask::Missing).await.lease.is_some())
        .await;
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
}
