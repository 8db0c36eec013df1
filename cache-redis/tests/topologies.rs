//! More than one server: replicas, sentinels, clusters.

mod common;

use std::time::{Duration, Instant};

use cache_core::{Cache, ErrorKind, Value};
use cache_redis::{RedisCache, RedisOptions};
use common::{HOUR, SLACK, eventually, fresh, impatient, patient, server};
use xtask::servers::{RedisCluster, RedisSentinels, Server};

/// How long it takes at most until another server leads, on a machine that is busy with others.
const FAIL_OVER: Duration = Duration::from_secs(60);

fn clustered(mut options: RedisOptions) -> RedisOptions {
    options.cluster = true;
    options
}

async fn detail(store: &RedisCache, server: &Server, name: &str) -> Option<String> {
    let name = format!("127.0.0.1:{} {name}", server.port());
    let details = store.stats().await.expect("it answers").details;
    details.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// Calls that are each over in time, until one succeeds.
async fn until_it_works<T, F: Future<Output = Result<T, cache_core::Error>>>(
    mut call: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        let this = Instant::now();
        let answer = call().await;
        assert!(this.elapsed() < Duration::from_secs(1) + SLACK, "it took {:?}", this.elapsed());
        match answer {
            Ok(answer) => return answer,
            Err(error) => {
                assert!(error.is_temporary(), "{error}");
                assert!(start.elapsed() < FAIL_OVER, "after {:?}: {error}", start.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn reads_go_to_replicas_and_writes_to_the_leader() {
    let leader = server();
    let replica = leader.start_replica().expect("it follows");
    let store = fresh(&[leader.url(), replica.url()], patient());
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    eventually("that the replica has it", async || {
        store.get("k").await.expect("it answers").is_some()
    })
    .await;
    assert!(store.contains("k").await.expect("it answers"));
    assert_eq!(store.get_many(&["k"]).await.expect("it answers"), [Some(Value::Int(1))]);
    assert_eq!(store.incr("k", 1).await.expect("the leader counts"), Some(2));
    assert_eq!(
        detail(&store, &leader, "keyspace_hits").await.as_deref(),
        Some("2"),
        "incr looks and reads"
    );
    assert_eq!(detail(&store, &replica, "role").await.as_deref(), Some("slave"));
}

#[tokio::test]
async fn without_its_replica_reads_go_to_the_leader_until_it_is_back() {
    let leader = server();
    let mut replica = leader.start_replica().expect("it follows");
    let store = fresh(&[leader.url(), replica.url()], impatient());
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    replica.kill().expect("it is killed");
    for _ in 0..10 {
        assert_eq!(store.get("k").await.expect("the leader answers"), Some(Value::Int(1)));
    }
    replica.restart().expect("it starts again");
    eventually("that the replica is asked again", async || {
        store.get("k").await.expect("somebody answers");
        detail(&store, &replica, "keyspace_hits").await.is_some_and(|hits| hits != "0")
    })
    .await;
}

#[tokio::test]
async fn a_frozen_replica_is_set_aside_after_one_limit() {
    let leader = server();
    let replica = leader.start_replica().expect("it follows");
    let store = fresh(&[leader.url(), replica.url()], impatient());
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    replica.freeze().expect("it is stopped");
    let start = Instant::now();
    assert_eq!(store.get("k").await.expect("the leader answers"), Some(Value::Int(1)));
    assert!(start.elapsed() < Duration::from_secs(2) + SLACK, "{:?}", start.elapsed());
    replica.thaw().expect("it goes on");
}

#[tokio::test]
async fn a_cluster_is_known_by_one_of_its_servers_and_cleared_as_a_whole() {
    let cluster = RedisCluster::start(3, false).expect("it starts");
    let store = fresh(&[cluster.servers[1].url()], clustered(patient()));
    let keys: Vec<String> = (0..600).map(|number| format!("k{number}")).collect();
    let entries: Vec<_> =
        keys.iter().zip(0..).map(|(key, number)| (key.as_str(), Value::Int(number))).collect();
    store.set_many(&entries, HOUR).await.expect("they are stored");
    assert_eq!(store.stats().await.expect("they answer").entries, Some(600));
    let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
    let found = store.get_many(&asked).await.expect("they answer");
    assert!(found.iter().zip(0..).all(|(found, number)| *found == Some(Value::Int(number))));
    for server in &cluster.servers {
        assert_eq!(detail(&store, server, "role").await.as_deref(), Some("master"));
    }
    assert_eq!(store.delete_many(&asked[..100]).await.expect("they answer"), 100);
    store.clear().await.expect("it is emptied");
    assert_eq!(store.stats().await.expect("they answer").entries, Some(0));
}

/// One server of the cluster tells the slot of a key, and which of three leaders has it at first.
async fn slot_of(store: &RedisCache, server: &Server, key: &str) -> (u16, usize) {
    let client = redis::Client::open(server.url()).expect("it is a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it is there");
    let key = format!("{}{key}", store.options().namespace);
    let slot: u16 = redis::cmd("CLUSTER")
        .arg("KEYSLOT")
        .arg(key)
        .query_async(&mut connection)
        .await
        .expect("it answers");
    let leader =
        (0..3).find(|leader| usize::from(slot) < (leader + 1) * 16384 / 3).expect("one of three");
    (slot, leader)
}

#[tokio::test]
async fn a_slot_that_moves_goes_unnoticed() {
    let cluster = RedisCluster::start(3, false).expect("it starts");
    let store = fresh(&[cluster.servers[0].url()], clustered(patient()));
    store.set("{tag}a", Value::Int(1), HOUR).await.expect("it is stored");
    let (slot, from) = slot_of(&store, &cluster.servers[0], "{tag}a").await;
    let to = (from + 1) % 3;

    cluster.begin_to_move_slot(slot, from, to).expect("it begins");
    assert_eq!(store.get("{tag}a").await.expect("it is still here"), Some(Value::Int(1)));
    assert!(
        store.add("{tag}b", Value::Int(2), HOUR).await.expect("it is new, so it is there already")
    );
    assert_eq!(store.incr("{tag}b", 1).await.expect("it counts there"), Some(3));
    let both = [Some(Value::Int(1)), Some(Value::Int(3))];
    assert_eq!(store.get_many(&["{tag}a", "{tag}b"]).await.expect("both answer"), both);

    cluster.move_slot(slot, from, to).expect("it ends");
    assert_eq!(store.get_many(&["{tag}a", "{tag}b"]).await.expect("one answers"), both);
    assert_eq!(store.incr("{tag}a", 1).await.expect("it counts"), Some(2));
    assert_eq!(store.delete_many(&["{tag}a", "{tag}b", "other"]).await.expect("it answers"), 2);
}

#[tokio::test]
async fn a_cluster_goes_on_when_a_leader_is_killed_and_the_others_never_notice() {
    let mut cluster = RedisCluster::start(3, true).expect("it starts");
    let urls: Vec<String> = cluster.servers.iter().map(Server::url).collect();
    let store = fresh(&urls, clustered(impatient()));
    let keys: Vec<String> = (0..60).map(|number| format!("k{number}")).collect();
    let mut of_others = Vec::new();
    for key in &keys {
        store.set(key, Value::Int(1), HOUR).await.expect("it is stored");
        if slot_of(&store, &cluster.servers[0], key).await.1 != 2 {
            of_others.push(key.clone());
        }
    }
    assert!(!of_others.is_empty() && of_others.len() < keys.len());
    cluster.servers[2].kill().expect("it is killed");
    // Until the cluster notes that a leader is gone, which takes it a second.
    let before = Instant::now();
    for key in &of_others {
        let found = store.get(key).await;
        if before.elapsed() < Duration::from_millis(700) {
            assert_eq!(found.expect("the others answer"), Some(Value::Int(1)));
        }
    }
    for key in &keys {
        until_it_works(|| store.set(key, Value::Int(2), HOUR)).await;
    }
    let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
    let found = until_it_works(|| store.get_many(&asked)).await;
    assert!(found.iter().all(|found| *found == Some(Value::Int(2))));

    cluster.servers[2].restart().expect("it starts again, as a replica");
    for key in &keys {
        assert_eq!(until_it_works(|| store.incr(key, 1)).await, Some(3));
    }
}

#[tokio::test]
async fn what_is_no_cluster_says_so() {
    let server = server();
    let store = fresh(&[server.url()], clustered(impatient()));
    let error = store.get("k").await.expect_err("it is none");
    assert!(error.to_string().contains("cluster support disabled"), "{error}");
    let mut options = clustered(patient());
    options.db = Some(1);
    let error = RedisCache::new(&[server.url()], options).expect_err("it has one database");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_server_of_a_cluster_that_is_taken_for_one_alone_is_told_as_a_failure() {
    let cluster = RedisCluster::start(3, false).expect("it starts");
    let store = fresh(&[cluster.servers[0].url()], patient());
    let mut outcome = Ok(());
    for number in 0..20 {
        outcome = outcome.and(store.set(&format!("k{number}"), Value::Int(1), HOUR).await);
    }
    let error = outcome.expect_err("most are elsewhere");
    assert!(error.to_string().contains("MOVED"), "{error}");
}

fn watched(set: &RedisSentinels, mut options: RedisOptions) -> RedisCache {
    options.sentinel = Some(RedisSentinels::NAME.into());
    fresh(&set.sentinels.iter().map(Server::url).collect::<Vec<_>>(), options)
}

#[tokio::test]
async fn sentinels_lead_to_the_leader_and_to_the_next_one_when_it_is_killed() {
    let mut set = RedisSentinels::start().expect("they start");
    let store = watched(&set, impatient());
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    assert_eq!(detail(&store, &set.servers[0], "role").await.as_deref(), Some("master"));
    set.servers[0].kill().expect("it is killed");
    let error = store.set("k", Value::Int(2), HOUR).await.expect_err("nobody leads");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    until_it_works(|| store.set("k", Value::Int(2), HOUR)).await;
    assert_eq!(detail(&store, &set.servers[1], "role").await.as_deref(), Some("master"));
    // The old one comes back and thinks that it leads, until it is told otherwise.
    set.servers[0].restart().expect("it starts again");
    assert_eq!(store.get("k").await.expect("it answers"), Some(Value::Int(2)));
    assert_eq!(detail(&store, &set.servers[1], "role").await.as_deref(), Some("master"));
}

#[tokio::test]
async fn sentinels_lead_away_from_a_frozen_leader_and_one_of_them_may_be_frozen_too() {
    let set = RedisSentinels::start().expect("they start");
    let store = watched(&set, impatient());
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    set.servers[0].freeze().expect("it is stopped");
    until_it_works(|| store.set("k", Value::Int(2), HOUR)).await;
    assert_eq!(detail(&store, &set.servers[1], "role").await.as_deref(), Some("master"));
    set.sentinels[0].freeze().expect("it is stopped");
    let late = watched(&set, impatient());
    until_it_works(|| late.get("k")).await;
}

/// It goes on answering reads, with what may be old.
#[tokio::test]
async fn a_leader_that_was_demoted_is_not_read_from() {
    let set = RedisSentinels::start().expect("they start");
    let store = watched(&set, impatient());
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    let ask = async |server: &Server, command: &[&str]| -> redis::RedisResult<String> {
        let mut connection =
            redis::Client::open(server.url())?.get_multiplexed_async_connection().await?;
        redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await
    };
    ask(&set.sentinels[0], &["SENTINEL", "FAILOVER", RedisSentinels::NAME])
        .await
        .expect("it agrees");
    // Who is connected meanwhile is thrown out.
    eventually("that it is demoted", async || {
        ask(&set.servers[0], &["INFO", "replication"])
            .await
            .is_ok_and(|info| info.contains("role:slave"))
    })
    .await;
    until_it_works(|| store.get("k")).await;
    assert_eq!(detail(&store, &set.servers[1], "role").await.as_deref(), Some("master"));
}

#[tokio::test]
async fn sentinels_that_know_no_such_leader_say_so() {
    let set = RedisSentinels::start().expect("they start");
    let mut options = impatient();
    options.sentinel = Some("another".into());
    let store = fresh(&set.sentinels.iter().map(Server::url).collect::<Vec<_>>(), options);
    let error = store.get("k").await.expect_err("it is unknown");
    assert!(error.to_string().contains("no sentinel knows a leader \"another\""), "{error}");
}
