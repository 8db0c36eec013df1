//! Servers that die, fall silent and come back, and networks that fail on the way.

mod common;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cache_core::{Bytes, Cache, Error, ErrorKind, Value};
use cache_redis::RedisCache;
use common::{HOUR, SLACK, fresh, impatient, patient, server};
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{sleep, timeout},
};
use xtask::{
    proxy::{Mode, Proxy},
    servers::Server,
};

/// What [`impatient`] allows a call.
const LIMIT: Duration = Duration::from_secs(1);

/// Within so much of the server, traffic is back.
const BACK: Duration = Duration::from_secs(5);

fn on(server: &Server) -> RedisCache {
    fresh(&[server.url()], impatient())
}

fn through(proxy: &Proxy) -> RedisCache {
    fresh(&[format!("redis://127.0.0.1:{}", proxy.port())], impatient())
}

fn before(server: &Server) -> Proxy {
    Proxy::before(server.port()).unwrap_or_else(|why| panic!("{why}"))
}

async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let start = Instant::now();
    let answer = call.await;
    assert!(start.elapsed() < LIMIT + SLACK, "it took {:?}", start.elapsed());
    answer
}

/// Every verb, and that each is told as it should be, in time, with the server's address.
async fn all_are_unavailable(store: &RedisCache, port: u16) {
    let answers: [(&str, Result<(), Error>); 10] = [
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
    for (verb, answer) in answers {
        let error = answer.expect_err(verb);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{verb}: {error}");
        assert!(error.is_temporary(), "{verb}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}: ")), "{verb}: {error}");
    }
}

#[tokio::test]
async fn a_killed_server_is_unavailable_until_it_is_back_and_then_the_first_call_works() {
    let mut server = server();
    let store = on(&server);
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    server.kill().expect("it is killed");
    all_are_unavailable(&store, server.port()).await;
    server.restart().expect("it starts again");
    assert!(store.add("k", Value::Int(3), HOUR).await.expect("the first call finds it again"));
}

/// Also for calls that must not be made twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_two_calls_is_not_noticed() {
    let mut server = server();
    let store = on(&server);
    for _ in 0..3 {
        store.set("n", Value::Int(10), HOUR).await.expect("it is stored");
        server.kill().expect("it is killed");
        server.restart().expect("it starts again");
        assert_eq!(
            store.incr("n", 1).await.expect("it answers"),
            None,
            "it keeps nothing over a restart"
        );
    }
}

#[tokio::test]
async fn a_frozen_server_is_unavailable_in_time_and_recovers() {
    let server = server();
    let store = on(&server);
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    server.freeze().expect("it is stopped");
    all_are_unavailable(&store, server.port()).await;
    server.thaw().expect("it goes on");
    store.set("k", Value::Int(3), HOUR).await.expect("it is stored");
    assert_eq!(store.get("k").await.expect("it answers"), Some(Value::Int(3)));
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_unavailable_and_told_without_its_password() {
    let store = fresh(&["redis://ada:hunter2@127.0.0.1:1/3".into()], impatient());
    let error = in_time(store.get("k")).await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!format!("{error} {error:?} {store:?}").contains("hunter2"), "{error:?} {store:?}");
    assert!(error.to_string().starts_with("redis: 127.0.0.1:1: "), "{error}");
}

#[tokio::test]
async fn a_name_that_is_unknown_is_unavailable() {
    let store = fresh(&["redis://no-such-host.invalid".into()], impatient());
    let error = in_time(store.get("k")).await.expect_err("there is no such host");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no-such-host.invalid:6379"), "{error}");
}

/// As when a machine behind an address is replaced: nothing is heard of the connection any more, not even its end.
#[tokio::test]
async fn a_dead_connection_makes_room_for_a_new_one_even_if_nobody_waits_for_the_limit() {
    let server = server();
    let proxy = before(&server);
    let store = through(&proxy);
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    proxy.strand();
    assert!(in_time(store.get("k")).await.is_err());
    assert_eq!(in_time(store.get("k")).await.expect("it answers"), Some(Value::Int(1)));
    assert_eq!(proxy.accepted(), 2);
}

/// A connection that takes longer than any caller waits is made all the same.
#[tokio::test]
async fn callers_without_patience_get_a_connection_in_the_end() {
    let server = server();
    let proxy = before(&server);
    proxy.switch(Mode::Delay(Duration::from_millis(50)));
    let store = fresh(&[format!("redis://127.0.0.1:{}", proxy.port())], patient());
    common::eventually("that there is a connection", async || {
        let _ = timeout(Duration::from_millis(5), store.get("k")).await;
        proxy.accepted() == 1
            && timeout(Duration::from_secs(9), store.get("k")).await.is_ok_and(|got| got.is_ok())
    })
    .await;
    assert_eq!(proxy.accepted(), 1, "all wait for the same connection");
}

/// A call that takes as long as the limit does not take the others' connection away.
#[tokio::test]
async fn those_who_wait_on_a_connection_that_is_given_up_still_get_their_answers() {
    let server = server();
    let proxy = before(&server);
    let mut options = impatient();
    options.socket_timeout = Duration::from_secs(2);
    let store = fresh(&[format!("redis://127.0.0.1:{}", proxy.port())], options);
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    proxy.switch(Mode::Blackhole);
    let early = tokio::spawn({
        let store = store.clone();
        async move { store.get("k").await }
    });
    sleep(Duration::from_millis(1000)).await;
    let late = tokio::spawn({
        let store = store.clone();
        async move { store.get("k").await }
    });
    assert!(early.await.expect("nobody panics").is_err());
    proxy.switch(Mode::Pass);
    assert_eq!(late.await.expect("nobody panics").expect("it answers"), Some(Value::Int(1)));
}

#[tokio::test]
async fn an_answer_of_another_kind_than_was_due_ends_the_connection() {
    let server = server();
    let proxy = before(&server);
    let store = through(&proxy);
    store.set("k", Value::Int(1), HOUR).await.expect("it is stored");
    for answer in ["+OK\r\n", ":1\r\n", "*0\r\n"] {
        proxy.switch(Mode::Garbage(answer.into()));
        let error = in_time(store.get("k")).await.expect_err(answer);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{}", proxy.port())), "{error}");
        proxy.switch(Mode::Pass);
        assert_eq!(in_time(store.get("k")).await.expect("it answers"), Some(Value::Int(1)));
    }
    assert_eq!(proxy.accepted(), 4, "the first, and one after each");
}

/// The server holds writes back, and then ends the connection on which one waits.
#[tokio::test]
async fn what_must_not_happen_twice_is_not_asked_for_twice_when_its_answer_is_lost() {
    let server = server();
    let store = fresh(&[server.url()], patient());
    store.set("n", Value::Int(0), HOUR).await.expect("it is stored");
    let client = redis::Client::open(server.url()).expect("it is a URL");
    let mut other = client.get_multiplexed_async_connection().await.expect("it is there");
    for (verb, is_made_again) in [("incr", false), ("add", false), ("delete", false), ("set", true)]
    {
        redis::cmd("CLIENT")
            .arg(&["PAUSE", "20000", "WRITE"])
            .exec_async(&mut other)
            .await
            .expect("it pauses");
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
            info = redis::cmd("INFO")
                .arg("clients")
                .query_async(&mut other)
                .await
                .expect("it answers");
            if info.contains("blocked_clients:1") {
                break;
            }
            tokio::task::yield_now().await;
        }
        redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal"])
            .exec_async(&mut other)
            .await
            .expect("it is ended");
        redis::cmd("CLIENT").arg("UNPAUSE").exec_async(&mut other).await.expect("it goes on");
        let outcome = call.await.expect("nobody panics");
        assert_eq!(outcome.is_ok(), is_made_again, "{outcome:?}");
        let expected = [Some(Value::Int(if is_made_again { 7 } else { 0 })), None];
        assert_eq!(store.get_many(&["n", "new"]).await.expect("it answers"), expected);
    }
}

/// Tens of thousands of calls that are dropped at random moments, many of them between the request and its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_dropped_never_shift_an_answer_to_another() {
    let server = server();
    let store = fresh(&[server.url()], patient());
    let keys: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
    for (key, number) in keys.iter().zip(0..) {
        store.set(key, Value::Int(number), HOUR).await.expect("it is stored");
    }
    let (dropped, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for task in 0..50_usize {
        let (store, keys) = (store.clone(), keys.clone());
        let (dropped, answered) = (Arc::clone(&dropped), Arc::clone(&answered));
        tasks.spawn(async move {
            for round in 0..600_usize {
                let number = (task * 31 + round * 7) % 100;
                let patience = Duration::from_micros((task * 37 + round * 101) as u64 % 700);
                let call = async { (store.get(&keys[number]).await, number) };
                match timeout(patience, call).await {
                    Ok((got, number)) => {
                        let got = got.expect("it answers");
                        assert_eq!(
                            got,
                            Some(Value::Int(i64::try_from(number).expect("it is small")))
                        );
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) => drop(dropped.fetch_add(1, Ordering::Relaxed)),
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("no wrong answer");
    }
    let (dropped, answered) = (dropped.load(Ordering::Relaxed), answered.load(Ordering::Relaxed));
    assert!(dropped > 1000 && answered > 1000, "{dropped} were dropped, {answered} answered");
}

/// Tasks that set and get until they are told to stop, and check what they are told.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Count>,
}

/// How often a task's calls went well, and how often not.
#[derive(Default)]
struct Count {
    well: usize,
    failed: usize,
}

const TASKS: usize = 64;

impl Load {
    fn on(store: &RedisCache, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (store, stop) = (store.clone(), Arc::clone(&stop));
            tasks.spawn(async move {
                let mut count = Count::default();
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    one_round(&store, task, round, port, &mut count).await;
                }
                count
            });
        }
        Self { stop, tasks }
    }

    /// Ends the load, and says how often calls went well and how often not.
    async fn end(mut self) -> Count {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Count::default();
        while let Some(task) = self.tasks.join_next().await {
            let count = task.expect("no wrong answer, none that is late");
            sum.well += count.well;
            sum.failed += count.failed;
        }
        sum
    }
}

/// Sets a value that says whose it is, and reads it, alone and among others. Whatever is read is one that was written
/// under this key, not later than now.
async fn one_round(store: &RedisCache, task: usize, round: usize, port: u16, count: &mut Count) {
    let key = format!("task {task}");
    let filler = "x".repeat(round * 37 % 5000);
    let value = Value::Bytes(Bytes::from(format!("{key}: {round} {filler}")));
    let mut told = |answer: Result<(), Error>| match answer {
        Ok(()) => count.well += 1,
        Err(error) => {
            assert!(error.is_temporary(), "{error}");
            assert!(error.to_string().contains(&format!("127.0.0.1:{port}: ")), "{error}");
            count.failed += 1;
        }
    };
    told(in_time(store.set(&key, value, HOUR)).await);
    told(in_time(store.get(&key)).await.map(|got| check(got, &key, round)));
    let many = in_time(store.get_many(&["missing", &key, "missing"])).await;
    told(many.map(|mut got| {
        assert_eq!((got.len(), &got[0], &got[2]), (3, &None, &None));
        check(got.swap_remove(1), &key, round);
    }));
}

fn check(got: Option<Value>, key: &str, round: usize) {
    // It may be gone, as the server keeps nothing over a restart.
    let Some(got) = got else { return };
    let Value::Bytes(got) = got else { panic!("{got:?} under {key:?}") };
    let got = str::from_utf8(&got).expect("it was text");
    let (number, filler) =
        got.strip_prefix(&format!("{key}: ")).and_then(|rest| rest.split_once(' ')).expect(got);
    let number: usize = number.parse().expect(got);
    assert!(
        number <= round && filler.len() == number * 37 % 5000,
        "{got:?} under {key:?} in round {round}"
    );
}

/// Waits until calls go well again.
async fn traffic_is_back(store: &RedisCache) {
    let start = Instant::now();
    while let Err(error) = in_time(store.set("probe", Value::Int(1), HOUR)).await {
        assert!(start.elapsed() < BACK + SLACK, "after {:?}: {error}", start.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
}

/// The memory that this process takes, in bytes.
fn memory() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("it is Linux");
    let pages: usize =
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("it has pages");
    pages * 4096
}

/// As many tasks as before, one connection, and no more memory than a few buffers.
async fn nothing_is_left_behind(tasks: usize, memory_before: usize) {
    common::eventually("that all tasks have ended", async || {
        Handle::current().metrics().num_alive_tasks() <= tasks
    })
    .await;
    let grown = memory().saturating_sub(memory_before);
    assert!(grown < 64 << 20, "{grown} bytes are left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_a_server_may_be_killed_restarted_frozen_and_thawed() {
    let mut server = server();
    let store = on(&server);
    traffic_is_back(&store).await;
    let (tasks, memory) = (Handle::current().metrics().num_alive_tasks(), memory());
    let load = Load::on(&store, server.port());
    for _ in 0..2 {
        sleep(Duration::from_millis(300)).await;
        server.kill().expect("it is killed");
        sleep(Duration::from_millis(300)).await;
        server.restart().expect("it starts again");
        traffic_is_back(&store).await;
        server.freeze().expect("it is stopped");
        sleep(Duration::from_millis(1200)).await;
        server.thaw().expect("it goes on");
        traffic_is_back(&store).await;
    }
    let count = load.end().await;
    assert!(
        count.well > 1000 && count.failed > TASKS,
        "{} went well, {} not",
        count.well,
        count.failed
    );
    nothing_is_left_behind(tasks, memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_a_network_may_fail_in_every_way() {
    let server = server();
    let proxy = before(&server);
    let store = through(&proxy);
    traffic_is_back(&store).await;
    let (tasks, memory) = (Handle::current().metrics().num_alive_tasks(), memory());
    // None of it is an answer: one that is could not be told from the server's own.
    let garbage = [&b"rubbish"[..], b"$5\r\nab", b"*x", b"\r\n\r\n", b":12x\r\n"];
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
        sleep(Duration::from_millis(50)).await;
        proxy.switch(mode.clone());
        sleep(Duration::from_millis(700)).await;
        proxy.switch(Mode::Pass);
        traffic_is_back(&store).await;
        let count = load.end().await;
        assert!(count.well > TASKS, "{mode:?}: {} went well, {} not", count.well, count.failed);
        if mode != Mode::Delay(Duration::from_millis(20)) {
            assert!(count.failed > 0, "{mode:?} was not noticed");
        }
    }
    nothing_is_left_behind(tasks, memory).await;
    common::eventually("that one connection is left", async || proxy.open() <= 1).await;
}
