//! Servers that are killed, frozen and restarted, and networks that fail.

mod common;

use std::{
    fs,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use cache_core::{Bytes, Cache, Error, ErrorKind, Value};
use cache_redis::{RedisCache, RedisOptions};
use common::{HOUR, SLACK, fresh, impatient, moderate, patient, server};
use tokio::{
    runtime::Handle,
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};
use xtask::{
    proxy::{Mode, Proxy},
    servers::Server,
};

/// The longest time that a call takes with the options [`moderate`]. With [`impatient`], it is a
/// sixth of that.
const LIMIT: Duration = Duration::from_secs(6);

/// How soon calls succeed again after the server is back.
const RECOVERY: Duration = Duration::from_secs(5);

fn on(server: &Server) -> RedisCache {
    fresh(&[server.url()], impatient())
}

fn through(proxy: &Proxy, options: RedisOptions) -> RedisCache {
    fresh(&[format!("redis://127.0.0.1:{}", proxy.port())], options)
}

fn proxy_to(server: &Server) -> Proxy {
    Proxy::before(server.port()).unwrap_or_else(|error| panic!("{error}"))
}

async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let start = Instant::now();
    let result = call.await;
    assert!(start.elapsed() < LIMIT + SLACK, "took {:?}", start.elapsed());
    result
}

/// Asserts that every operation returns `Unavailable` in time, with the address of the server.
async fn assert_all_unavailable(store: &RedisCache, port: u16) {
    let results: [(&str, Result<(), Error>); 10] = [
        ("get", in_time(store.get("k")).await.map(drop)),
        ("set", in_time(store.set("k", Value::Int(2), HOUR)).await),
        ("add", in_time(store.add("k", Value::Int(2), HOUR)).await.map(drop)),
        ("touch", in_time(store.touch("k", None)).await.map(drop)),
        ("incr", in_time(store.incr("n", 1)).await.map(drop)),
        ("ttl", in_time(store.ttl("n")).await.map(drop)),
        ("get_many", in_time(store.get_many(&["k", "n"])).await.map(drop)),
        ("set_many", in_time(store.set_many(&[("k", Value::Int(2))], HOUR)).await.map(drop)),
        ("delete_many", in_time(store.delete_many(&["k"])).await.map(drop)),
        ("clear", in_time(store.clear()).await),
    ];
    for (verb, result) in results {
        let error = result.expect_err(verb);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{verb}: {error}");
        assert!(error.is_temporary(), "{verb}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}: ")), "{verb}: {error}");
    }
}

#[tokio::test]
async fn killed_server_is_unavailable_until_restarted() {
    let mut server = server();
    let store = fresh(&[server.url()], patient());
    store.set("k", Value::Int(1), HOUR).await.expect("stored");
    server.kill().expect("killed");
    assert_all_unavailable(&store, server.port()).await;
    server.restart().expect("restarted");
    assert!(store.add("k", Value::Int(3), HOUR).await.expect("the first call reconnects"));
}

/// Including calls that are not retried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_between_calls_causes_no_error() {
    let mut server = server();
    let store = fresh(&[server.url()], patient());
    for _ in 0..3 {
        store.set("n", Value::Int(10), HOUR).await.expect("stored");
        server.kill().expect("killed");
        server.restart().expect("restarted");
        assert_eq!(store.incr("n", 1).await.expect("a reply"), None, "the server does not persist");
    }
}

#[tokio::test]
async fn frozen_server_is_unavailable_in_time_and_recovers() {
    let server = server();
    let store = on(&server);
    wait_until_available(&store).await;
    server.freeze().expect("frozen");
    assert_all_unavailable(&store, server.port()).await;
    server.thaw().expect("resumed");
    wait_until_available(&store).await;
}

#[tokio::test]
async fn refused_connection_error_names_the_address_and_hides_the_password() {
    let store = fresh(&["redis://ada:hunter2@127.0.0.1:1/3".into()], impatient());
    let error = in_time(store.get("k")).await.expect_err("connection refused");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!format!("{error} {error:?} {store:?}").contains("hunter2"), "{error:?} {store:?}");
    assert!(error.to_string().starts_with("redis: 127.0.0.1:1: "), "{error}");
}

#[tokio::test]
async fn unknown_host_is_unavailable() {
    let store = fresh(&["redis://no-such-host.invalid".into()], impatient());
    let error = in_time(store.get("k")).await.expect_err("unknown host");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no-such-host.invalid:6379"), "{error}");
}

/// As if the machine behind an address is replaced: the connection is silent and never closed.
#[tokio::test]
async fn silent_connection_is_replaced_after_one_timeout() {
    let server = server();
    let proxy = proxy_to(&server);
    let store = through(&proxy, moderate());
    wait_until_available(&store).await;
    let before = proxy.accepted();
    proxy.strand();
    assert!(in_time(store.get("k")).await.is_err());
    assert_eq!(in_time(store.get("k")).await.expect("a reply"), Some(Value::Int(1)));
    assert_eq!(proxy.accepted(), before + 1);
}

/// The attempt to connect takes longer than any caller waits.
#[tokio::test]
async fn connecting_continues_after_callers_are_dropped() {
    let server = server();
    let proxy = proxy_to(&server);
    proxy.switch(Mode::Delay(Duration::from_millis(50)));
    let store = through(&proxy, patient());
    common::eventually("a connection exists", async || {
        let _ = timeout(Duration::from_millis(5), store.get("k")).await;
        proxy.accepted() == 1
            && timeout(Duration::from_secs(9), store.get("k")).await.is_ok_and(|got| got.is_ok())
    })
    .await;
    assert_eq!(proxy.accepted(), 1, "all callers share one attempt");
}

/// A call that times out discards the connection, which other calls still use.
///
/// The later call must receive its reply between the limit of the earlier one and its own. If the
/// machine stands still meanwhile, it is tried again.
#[tokio::test]
async fn calls_on_a_discarded_connection_still_receive_replies() {
    const LIMIT: Duration = Duration::from_secs(2);
    let server = server();
    for _ in 0..5 {
        let proxy = proxy_to(&server);
        let store = through(&proxy, moderate().socket_timeout(LIMIT));
        wait_until_available(&store).await;
        proxy.switch(Mode::Blackhole);
        let get = || {
            let store = store.clone();
            tokio::spawn(async move { store.get("k").await })
        };
        let early = get();
        sleep(LIMIT / 2).await;
        let start = Instant::now();
        let late = get();
        assert!(early.await.expect("no panic").is_err());
        proxy.switch(Mode::Pass);
        let late = late.await.expect("no panic");
        if start.elapsed() < LIMIT {
            assert_eq!(late.expect("a reply"), Some(Value::Int(1)));
            return;
        }
    }
    panic!("no reply within the limit");
}

#[tokio::test]
async fn reply_of_unexpected_type_closes_the_connection() {
    let server = server();
    let proxy = proxy_to(&server);
    let store = through(&proxy, patient());
    store.set("k", Value::Int(1), HOUR).await.expect("stored");
    let before = proxy.accepted();
    for reply in ["+OK\r\n", ":1\r\n", "*0\r\n"] {
        proxy.switch(Mode::Garbage(reply.into()));
        let error = store.get("k").await.expect_err(reply);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{}", proxy.port())), "{error}");
        proxy.switch(Mode::Pass);
        assert_eq!(store.get("k").await.expect("a reply"), Some(Value::Int(1)));
    }
    assert_eq!(proxy.accepted(), before + 3, "a new connection after each reply");
}

/// The server delays writes, and then closes the connection on which one waits.
#[tokio::test]
async fn only_idempotent_commands_are_retried_after_a_lost_reply() {
    let server = server();
    let store = fresh(&[server.url()], patient());
    store.set("n", Value::Int(0), HOUR).await.expect("stored");
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut other = client.get_multiplexed_async_connection().await.expect("connected");
    for (verb, is_retried) in [("incr", false), ("add", false), ("delete", false), ("set", true)] {
        redis::cmd("CLIENT")
            .arg(&["PAUSE", "20000", "WRITE"])
            .exec_async(&mut other)
            .await
            .expect("paused");
        let (waiting, verb) = (store.clone(), verb.to_owned());
        let call = tokio::spawn(async move {
            match &*verb {
                "incr" => waiting.incr("n", 1).await.map(drop),
                "add" => waiting.add("new", Value::Int(1), HOUR).await.map(drop),
                "delete" => waiting.delete("n").await.map(drop),
                _ => waiting.set("n", Value::Int(7), HOUR).await,
            }
        });
        let mut info: String;
        loop {
            info =
                redis::cmd("INFO").arg("clients").query_async(&mut other).await.expect("a reply");
            if info.contains("blocked_clients:1") {
                break;
            }
            yield_now().await;
        }
        redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal"])
            .exec_async(&mut other)
            .await
            .expect("closed");
        redis::cmd("CLIENT").arg("UNPAUSE").exec_async(&mut other).await.expect("resumed");
        let outcome = call.await.expect("no panic");
        assert_eq!(outcome.is_ok(), is_retried, "{outcome:?}");
        let expected = [Some(Value::Int(if is_retried { 7 } else { 0 })), None];
        assert_eq!(store.get_many(&["n", "new"]).await.expect("a reply"), expected);
    }
}

/// Starts `call`, and drops it after a while that differs with `number`. Returns what it returned
/// before.
async fn drop_midway<T>(call: impl Future<Output = T>, number: usize) -> Option<T> {
    let mut call = pin!(call);
    let mut poll_once = async || {
        poll_fn(|context| {
            Poll::Ready(match call.as_mut().poll(context) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            })
        })
        .await
    };
    // Sends the request.
    if let Some(output) = poll_once().await {
        return Some(output);
    }
    match number % 8 {
        0 | 1 => return None,
        yields @ 2..6 => {
            for _ in 1..yields {
                yield_now().await;
            }
        }
        _ => sleep(Duration::from_millis(1)).await,
    }
    poll_once().await
}

/// Drops tens of thousands of calls at varying times, many between the request and its reply. A
/// call that waits for its reply follows each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_calls_never_shift_replies() {
    const TASKS: usize = 50;
    const ROUNDS: usize = 400;
    let server = server();
    let store = fresh(&[server.url()], patient());
    let keys: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
    for (key, number) in keys.iter().zip(0..) {
        store.set(key, Value::Int(number), HOUR).await.expect("stored");
    }
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (store, keys) = (store.clone(), keys.clone());
        tasks.spawn(async move {
            let value = |number| Some(Value::Int(i64::try_from(number).expect("a small number")));
            let mut dropped = 0;
            for round in 0..ROUNDS {
                let number = (task * 31 + round * 7) % 100;
                match drop_midway(store.get(&keys[number]), task + round).await {
                    Some(got) => assert_eq!(got.expect("a reply"), value(number)),
                    None => dropped += 1,
                }
                let next = (number + 1) % 100;
                assert_eq!(store.get(&keys[next]).await.expect("a reply"), value(next));
            }
            dropped
        });
    }
    let mut dropped = 0;
    while let Some(task) = tasks.join_next().await {
        dropped += task.expect("no wrong reply");
    }
    // No reply can arrive within the poll that sends the request.
    assert!(dropped >= TASKS * ROUNDS / 4, "{dropped} dropped");
}

/// Tasks that set and get until they are stopped, and check every result.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    count: Arc<Count>,
}

/// How many calls succeeded and how many failed.
#[derive(Default)]
struct Count {
    succeeded: AtomicUsize,
    failed: AtomicUsize,
}

const TASKS: usize = 64;

impl Load {
    fn on(store: &RedisCache, port: u16) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(Count::default()));
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (store, stop, count) = (store.clone(), Arc::clone(&stop), Arc::clone(&count));
            tasks.spawn(async move {
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    one_round(&store, task, round, port, &count).await;
                }
            });
        }
        Self { stop, tasks, count }
    }

    /// Waits until more calls have succeeded than were in flight.
    async fn wait_for_success(&self) {
        let enough = self.count.succeeded.load(Ordering::Relaxed) + TASKS;
        common::eventually("calls succeed", async || {
            self.count.succeeded.load(Ordering::Relaxed) > enough
        })
        .await;
    }

    /// Waits until calls fail.
    async fn wait_for_failures(&self) {
        let before = self.count.failed.load(Ordering::Relaxed);
        common::eventually("calls fail", async || {
            self.count.failed.load(Ordering::Relaxed) > before
        })
        .await;
    }

    /// Stops the load.
    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(task) = self.tasks.join_next().await {
            task.expect("no wrong and no late result");
        }
    }
}

/// Sets a value that contains its key and round, then reads it alone and in a batch. Every value
/// that is read must have been written under this key, in this round or an earlier one.
async fn one_round(store: &RedisCache, task: usize, round: usize, port: u16, count: &Count) {
    let key = format!("task {task}");
    let filler = "x".repeat(round * 37 % 5000);
    let value = Value::Bytes(Bytes::from(format!("{key}: {round} {filler}")));
    let record = |result: Result<(), Error>| match result {
        Ok(()) => count.succeeded.fetch_add(1, Ordering::Relaxed),
        Err(error) => {
            assert!(error.is_temporary(), "{error}");
            assert!(error.to_string().contains(&format!("127.0.0.1:{port}: ")), "{error}");
            count.failed.fetch_add(1, Ordering::Relaxed)
        }
    };
    record(in_time(store.set(&key, value, HOUR)).await);
    record(in_time(store.get(&key)).await.map(|got| check(got, &key, round)));
    let many = in_time(store.get_many(&["missing", &key, "missing"])).await;
    record(many.map(|mut got| {
        assert_eq!((got.len(), &got[0], &got[2]), (3, &None, &None));
        check(got.swap_remove(1), &key, round);
    }));
}

fn check(got: Option<Value>, key: &str, round: usize) {
    // It may be absent, because the server does not persist.
    let Some(got) = got else { return };
    let Value::Bytes(got) = got else { panic!("{got:?} under {key:?}") };
    let got = str::from_utf8(&got).expect("text");
    let (number, filler) =
        got.strip_prefix(&format!("{key}: ")).and_then(|rest| rest.split_once(' ')).expect(got);
    let number: usize = number.parse().expect(got);
    assert!(
        number <= round && filler.len() == number * 37 % 5000,
        "{got:?} under {key:?} in round {round}"
    );
}

/// Sets `k` until it succeeds.
async fn wait_until_available(store: &RedisCache) {
    let start = Instant::now();
    while let Err(error) = in_time(store.set("k", Value::Int(1), HOUR)).await {
        assert!(start.elapsed() < RECOVERY + SLACK, "after {:?}: {error}", start.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the resident memory of this process in bytes.
fn memory() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("a number of pages");
    pages * 4096
}

/// Asserts that there are as many tasks as before, and no more memory than a few buffers.
async fn assert_no_leaks(tasks: usize, memory_before: usize) {
    common::eventually("all tasks have ended", async || {
        Handle::current().metrics().num_alive_tasks() <= tasks
    })
    .await;
    let grown = memory().saturating_sub(memory_before);
    assert!(grown < 64 << 20, "{grown} bytes leaked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_recovers_under_load_from_kills_and_freezes() {
    let mut server = server();
    let store = on(&server);
    wait_until_available(&store).await;
    let (tasks, memory) = (Handle::current().metrics().num_alive_tasks(), memory());
    let load = Load::on(&store, server.port());
    for _ in 0..2 {
        load.wait_for_success().await;
        server.kill().expect("killed");
        load.wait_for_failures().await;
        server.restart().expect("restarted");
        wait_until_available(&store).await;
        load.wait_for_success().await;
        server.freeze().expect("frozen");
        load.wait_for_failures().await;
        server.thaw().expect("resumed");
        wait_until_available(&store).await;
    }
    load.wait_for_success().await;
    load.end().await;
    assert_no_leaks(tasks, memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_recovers_under_load_from_network_faults() {
    let server = server();
    let proxy = proxy_to(&server);
    let store = through(&proxy, impatient());
    wait_until_available(&store).await;
    let (tasks, memory) = (Handle::current().metrics().num_alive_tasks(), memory());
    // None of it is a valid reply: the store could not tell a valid one from the server's own. Nor
    // does it become one with a reply that follows, after the mode is switched back.
    let garbage = [&b"garbage"[..], b"$500000\r\nab", b"*x", b"\r\n\r\n", b":12x\r\n"];
    let mut modes = vec![
        Mode::Delay(Duration::from_millis(20)),
        Mode::Delay(Duration::from_millis(700)),
        Mode::Blackhole,
    ];
    modes.extend(
        [1, 7, 1000, 20_000]
            .into_iter()
            .flat_map(|after| [Mode::Truncate(after), Mode::Reset(after)]),
    );
    modes.extend(garbage.into_iter().map(|garbage| Mode::Garbage(garbage.into())));
    for mode in modes {
        let load = Load::on(&store, proxy.port());
        load.wait_for_success().await;
        proxy.switch(mode.clone());
        if mode == Mode::Delay(Duration::from_millis(20)) {
            load.wait_for_success().await;
        } else {
            load.wait_for_failures().await;
        }
        proxy.switch(Mode::Pass);
        wait_until_available(&store).await;
        load.wait_for_success().await;
        load.end().await;
    }
    assert_no_leaks(tasks, memory).await;
    common::eventually("at most one connection is open", async || proxy.open() <= 1).await;
}

/// The connection is never idle, and the first server does not end it.
#[tokio::test]
async fn busy_connection_follows_a_name_that_leads_to_another_server() {
    let (first, second) = (server(), server());
    let proxy = proxy_to(&first);
    let store = through(&proxy, patient());
    store.set("k", Value::Int(1), HOUR).await.expect("set succeeds");
    proxy.lead_to(second.port());
    assert_eq!(store.get("k").await.expect("get succeeds"), Some(Value::Int(1)));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::resume();
    // No call fails. The new connection is opened in the background.
    let renewed = async { while store.get("k").await.expect("get succeeds").is_some() {} };
    timeout(Duration::from_secs(60), renewed).await.expect("it is renewed");
    assert_eq!(proxy.accepted(), 2);
}
