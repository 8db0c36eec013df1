//! Several servers: replicas, sentinels and clusters.

mod common;

use std::time::{Duration, Instant};

use cache_core::{Cache, ErrorKind, Value};
use cache_redis::{RedisCache, RedisOptions};
use common::{HOUR, SLACK, eventually, fresh, moderate, patient, server};
use xtask::servers::{RedisCluster, RedisSentinels, Server};

/// How long a failover may take on a busy machine.
const FAILOVER: Duration = Duration::from_secs(60);

/// The longest time that a call takes with the options [`moderate`].
const LIMIT: Duration = Duration::from_secs(6);

async fn detail(store: &RedisCache, server: &Server, name: &str) -> Option<String> {
    let name = format!("127.0.0.1:{} {name}", server.port());
    let details = store.stats().await.expect("a reply").details;
    details.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// Repeats a call until it succeeds. Each call must end in time.
async fn retry_until_ok<T, F: Future<Output = Result<T, cache_core::Error>>>(
    mut call: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        let began = Instant::now();
        let result = call().await;
        assert!(began.elapsed() < LIMIT + SLACK, "took {:?}", began.elapsed());
        match result {
            Ok(value) => return value,
            Err(error) => {
                assert!(error.is_temporary(), "{error}");
                assert!(start.elapsed() < FAILOVER, "after {:?}: {error}", start.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn reads_go_to_replicas_and_writes_to_the_primary() {
    let primary = server();
    let replica = primary.start_replica().expect("a replica");
    let store = fresh(&[primary.url(), replica.url()], patient());
    store.set("k", Value::Int(1), HOUR).await.expect("stored");
    eventually("the replica has the entry", async || {
        store.get("k").await.expect("a reply").is_some()
    })
    .await;
    assert!(store.contains("k").await.expect("a reply"));
    assert_eq!(store.get_many(&["k"]).await.expect("a reply"), [Some(Value::Int(1))]);
    assert_eq!(store.incr("k", 1).await.expect("incremented by the primary"), Some(2));
    assert_eq!(
        detail(&store, &primary, "keyspace_hits").await.as_deref(),
        Some("2"),
        "incr executes EXISTS and GET"
    );
    assert_eq!(detail(&store, &replica, "role").await.as_deref(), Some("slave"));
}

#[tokio::test]
async fn reads_go_to_the_primary_while_the_replica_is_down() {
    let primary = server();
    let mut replica = primary.start_replica().expect("a replica");
    let store = fresh(&[primary.url(), replica.url()], patient());
    store.set("k", Value::Int(1), HOUR).await.expect("stored");
    replica.kill().expect("killed");
    for _ in 0..10 {
        assert_eq!(store.get("k").await.expect("a reply of the primary"), Some(Value::Int(1)));
    }
    replica.restart().expect("restarted");
    eventually("the replica is read again", async || {
        store.get("k").await.expect("a reply");
        detail(&store, &replica, "keyspace_hits").await.is_some_and(|hits| hits != "0")
    })
    .await;
}

#[tokio::test]
async fn frozen_replica_is_marked_down_after_one_timeout() {
    let primary = server();
    let replica = primary.start_replica().expect("a replica");
    let store = fresh(&[primary.url(), replica.url()], moderate());
    store.set("k", Value::Int(1), HOUR).await.expect("stored");
    replica.freeze().expect("frozen");
    let start = Instant::now();
    assert_eq!(store.get("k").await.expect("a reply of the primary"), Some(Value::Int(1)));
    assert!(start.elapsed() < 2 * LIMIT + SLACK, "{:?}", start.elapsed());
    replica.thaw().expect("resumed");
}

#[tokio::test]
async fn cluster_is_discovered_from_one_server_and_cleared_completely() {
    let cluster = RedisCluster::start(3, false).expect("started");
    let store = fresh(&[cluster.servers[1].url()], patient().cluster(true));
    let keys: Vec<String> = (0..600).map(|number| format!("k{number}")).collect();
    let entries: Vec<_> =
        keys.iter().zip(0..).map(|(key, number)| (key.as_str(), Value::Int(number))).collect();
    store.set_many(&entries, HOUR).await.expect("stored");
    assert_eq!(store.stats().await.expect("a reply").entries, Some(600));
    let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
    let found = store.get_many(&asked).await.expect("a reply");
    assert!(found.iter().zip(0..).all(|(found, number)| *found == Some(Value::Int(number))));
    for server in &cluster.servers {
        assert_eq!(detail(&store, server, "role").await.as_deref(), Some("master"));
    }
    assert_eq!(store.delete_many(&asked[..100]).await.expect("a reply"), 100);
    store.clear().await.expect("cleared");
    assert_eq!(store.stats().await.expect("a reply").entries, Some(0));
}

/// Returns the slot of a key and which of three primaries has it at first.
async fn slot_of(store: &RedisCache, server: &Server, key: &str) -> (u16, usize) {
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("connected");
    let key = format!("{}{key}", store.options().namespace);
    let slot: u16 = redis::cmd("CLUSTER")
        .arg("KEYSLOT")
        .arg(key)
        .query_async(&mut connection)
        .await
        .expect("a reply");
    let primary = (0..3).find(|primary| usize::from(slot) < (primary + 1) * 16384 / 3);
    (slot, primary.expect("one of three"))
}

#[tokio::test]
async fn moving_slot_causes_no_error() {
    let cluster = RedisCluster::start(3, false).expect("started");
    let store = fresh(&[cluster.servers[0].url()], patient().cluster(true));
    store.set("{tag}a", Value::Int(1), HOUR).await.expect("stored");
    let (slot, from) = slot_of(&store, &cluster.servers[0], "{tag}a").await;
    let to = (from + 1) % 3;

    cluster.begin_to_move_slot(slot, from, to).expect("migrating");
    assert_eq!(store.get("{tag}a").await.expect("not moved yet"), Some(Value::Int(1)));
    assert!(store.add("{tag}b", Value::Int(2), HOUR).await.expect("added on the new primary"));
    assert_eq!(store.incr("{tag}b", 1).await.expect("incremented"), Some(3));
    let both = [Some(Value::Int(1)), Some(Value::Int(3))];
    assert_eq!(store.get_many(&["{tag}a", "{tag}b"]).await.expect("replies of both"), both);

    let inspector = store.inspector().expect("the store lists its keys");
    let (mut pages, mut listed) = (inspector.keys("{tag}"), Vec::new());
    while let Some(page) = pages.next_page().await.expect("a page") {
        listed.extend(page.into_iter().map(|listed| listed.key));
    }
    listed.sort();
    assert_eq!(listed, ["{tag}a", "{tag}b"]);
    for key in ["{tag}a", "{tag}b"] {
        assert!(inspector.locate(key, "side").await.expect("a place").size.is_some(), "{key}");
    }

    cluster.move_slot(slot, from, to).expect("moved");
    assert_eq!(store.get_many(&["{tag}a", "{tag}b"]).await.expect("a reply"), both);
    assert_eq!(store.incr("{tag}a", 1).await.expect("incremented"), Some(2));
    assert_eq!(store.delete_many(&["{tag}a", "{tag}b", "other"]).await.expect("a reply"), 2);
}

#[tokio::test]
async fn cluster_fails_over_and_other_slots_stay_available() {
    let mut cluster = RedisCluster::start(3, true).expect("started");
    let urls: Vec<String> = cluster.servers.iter().map(Server::url).collect();
    let store = fresh(&urls, moderate().cluster(true));
    let keys: Vec<String> = (0..60).map(|number| format!("k{number}")).collect();
    let mut on_others = Vec::new();
    for key in &keys {
        store.set(key, Value::Int(1), HOUR).await.expect("stored");
        if slot_of(&store, &cluster.servers[0], key).await.1 != 2 {
            on_others.push(key.clone());
        }
    }
    assert!(!on_others.is_empty() && on_others.len() < keys.len());
    // The cluster takes a second to detect the failure, and only then rejects commands.
    let before = Instant::now();
    cluster.servers[2].kill().expect("killed");
    for key in &on_others {
        let found = store.get(key).await;
        if before.elapsed() < Duration::from_millis(700) {
            assert_eq!(found.expect("a reply of the others"), Some(Value::Int(1)));
        }
    }
    for key in &keys {
        retry_until_ok(|| store.set(key, Value::Int(2), HOUR)).await;
    }
    let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
    let found = retry_until_ok(|| store.get_many(&asked)).await;
    assert!(found.iter().all(|found| *found == Some(Value::Int(2))));

    cluster.servers[2].restart().expect("restarted as a replica");
    for key in &keys {
        assert_eq!(retry_until_ok(|| store.incr(key, 1)).await, Some(3));
    }
}

#[tokio::test]
async fn cluster_option_on_a_single_server_is_an_error() {
    let server = server();
    let store = fresh(&[server.url()], patient().cluster(true));
    let error = store.get("k").await.expect_err("not a cluster");
    assert!(error.to_string().contains("cluster support disabled"), "{error}");
    let options = patient().cluster(true).db(1);
    let error = RedisCache::new(&[server.url()], options).expect_err("a cluster has one database");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn missing_cluster_option_is_an_error() {
    let cluster = RedisCluster::start(3, false).expect("started");
    let store = fresh(&[cluster.servers[0].url()], patient());
    let mut outcome = Ok(());
    for number in 0..20 {
        outcome = outcome.and(store.set(&format!("k{number}"), Value::Int(1), HOUR).await);
    }
    let error = outcome.expect_err("a cluster");
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Config, false), "{error}");
    assert!(error.to_string().contains("OPTIONS.cluster"), "{error}");
}

fn with_sentinels(set: &RedisSentinels, name: &str, options: RedisOptions) -> RedisCache {
    let urls: Vec<_> = set.sentinels.iter().map(Server::url).collect();
    fresh(&urls, options.sentinel(name))
}

async fn execute(server: &Server, command: &[&str]) -> redis::RedisResult<String> {
    let client = redis::Client::open(server.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await
}

/// Sets the time in milliseconds after which the sentinels believe that the primary is down.
async fn notice_failures_after(set: &RedisSentinels, millis: &str) {
    let name = RedisSentinels::NAME;
    let command = ["SENTINEL", "SET", name, "down-after-milliseconds", millis];
    for sentinel in &set.sentinels {
        execute(sentinel, &command).await.expect("the option is set");
    }
}

#[tokio::test]
async fn store_follows_the_sentinels_to_the_new_primary() {
    let mut set = RedisSentinels::start().expect("started");
    let store = with_sentinels(&set, RedisSentinels::NAME, moderate());
    store.set("k", Value::Int(1), HOUR).await.expect("stored");
    assert_eq!(detail(&store, &set.servers[0], "role").await.as_deref(), Some("master"));
    // The sentinels promote no other server while they do not notice.
    notice_failures_after(&set, "600000").await;
    set.servers[0].kill().expect("killed");
    let error = store.set("k", Value::Int(2), HOUR).await.expect_err("no primary");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    notice_failures_after(&set, "1000").await;
    retry_until_ok(|| store.set("k", Value::Int(2), HOUR)).await;
    assert_eq!(detail(&store, &set.servers[1], "role").await.as_deref(), Some("master"));
    // The old primary still believes that it is one, until the sentinels demote it.
    set.servers[0].restart().expect("restarted");
    assert_eq!(store.get("k").await.expect("a reply"), Some(Value::Int(2)));
    assert_eq!(detail(&store, &set.servers[1], "role").await.as_deref(), Some("master"));
}

#[tokio::test]
async fn failover_works_with_a_frozen_primary_and_a_frozen_sentinel() {
    let set = RedisSentinels::start().expect("started");
    let store = with_sentinels(&set, RedisSentinels::NAME, moderate());
    store.set("k", Value::Int(1), HOUR).await.expect("stored");
    set.servers[0].freeze().expect("frozen");
    retry_until_ok(|| store.set("k", Value::Int(2), HOUR)).await;
    assert_eq!(detail(&store, &set.servers[1], "role").await.as_deref(), Some("master"));
    set.sentinels[0].freeze().expect("frozen");
    let late = with_sentinels(&set, RedisSentinels::NAME, moderate());
    retry_until_ok(|| late.get("k")).await;
}

/// A demoted primary still replies to reads, with values that may be outdated.
#[tokio::test]
async fn demoted_primary_is_not_read() {
    let set = RedisSentinels::start().expect("started");
    let store = with_sentinels(&set, RedisSentinels::NAME, moderate());
    store.set("k", Value::Int(1), HOUR).await.expect("stored");
    execute(&set.sentinels[0], &["SENTINEL", "FAILOVER", RedisSentinels::NAME])
        .await
        .expect("failover started");
    // The server closes its connections when it is demoted.
    eventually("the primary is demoted", async || {
        execute(&set.servers[0], &["INFO", "replication"])
            .await
            .is_ok_and(|info| info.contains("role:slave"))
    })
    .await;
    retry_until_ok(|| store.get("k")).await;
    assert_eq!(detail(&store, &set.servers[1], "role").await.as_deref(), Some("master"));
}

#[tokio::test]
async fn unknown_sentinel_name_is_an_error() {
    let set = RedisSentinels::start().expect("started");
    let store = with_sentinels(&set, "another", patient());
    let error = store.get("k").await.expect_err("unknown name");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("\"another\""), "{error}");
}
