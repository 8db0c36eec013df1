//! Sixty-four tasks at work while servers and the network fail: no wrong value, no call beyond its limit, and nothing
//! is left over.

mod common;

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache_core::{Cache, ErrorKind, Value};
use cache_memcached::MemcachedCache;
use common::{HOUR, impatient, proxy, server, store_at};
use tokio::{runtime::Handle, task::JoinSet, time::sleep};
use xtask::proxy::Mode;

const TASKS: usize = 64;
const KEYS: usize = 200;

/// What a call may take at most (see the options), and something for a machine that is busy with others.
const LIMIT: Duration = Duration::from_millis(1500 + 4000);

/// Any of a key's values, short or long, says so at both ends.
fn value_of(key: usize, turn: usize) -> Value {
    let mark = format!("key-{key};");
    let middle = "x".repeat(turn * 7919 % 6000);
    Value::Bytes(Bytes::from([&*mark, &middle, &mark].concat()))
}

fn is_of(value: &Value, key: usize) -> bool {
    let mark = format!("key-{key};");
    matches!(value, Value::Bytes(bytes) if bytes.starts_with(mark.as_bytes()) && bytes.ends_with(mark.as_bytes()))
}

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    answered: AtomicUsize,
    failed: AtomicUsize,
    /// What must not be.
    wrong: Mutex<Vec<String>>,
}

impl Seen {
    fn note<T>(&self, start: Instant, answer: cache_core::Result<T>) -> Option<T> {
        if start.elapsed() > LIMIT {
            self.blame(format!("a call took {:?}", start.elapsed()));
        }
        match answer {
            Ok(answer) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                Some(answer)
            }
            Err(error) => {
                if error.kind() != ErrorKind::Unavailable
                    || !error.to_string().contains(": 127.0.0.1:")
                {
                    self.blame(error.to_string());
                }
                self.failed.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn blame(&self, what: String) {
        self.wrong.lock().expect("nobody panicked").push(what);
    }

    /// Waits for answers, which have to come soon, and for more than what was under way.
    async fn flows(&self) {
        let (start, before) = (Instant::now(), self.answered.load(Ordering::Relaxed));
        while self.answered.load(Ordering::Relaxed) < before + 10 * TASKS {
            assert!(start.elapsed() < Duration::from_secs(10), "the traffic does not come back");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for failures.
    async fn ebbs(&self) {
        let (start, before) = (Instant::now(), self.failed.load(Ordering::Relaxed));
        while self.failed.load(Ordering::Relaxed) < before + TASKS {
            assert!(start.elapsed() < Duration::from_secs(10), "nothing fails");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn work(store: MemcachedCache, seen: Arc<Seen>, task: usize) {
    let mut turn = task * 31;
    while !seen.stop.load(Ordering::Relaxed) {
        turn += 1;
        let key = turn * 17 % KEYS;
        let name = format!("key-{key}");
        let start = Instant::now();
        match turn % 4 {
            0 => drop(seen.note(start, store.set(&name, value_of(key, turn), HOUR).await)),
            1 => {
                // A few, and as many as the server is asked for with one command.
                let keys: Vec<usize> = (key..key + if turn % 64 == 1 { 40 } else { 2 })
                    .map(|key| key % KEYS)
                    .collect();
                let names: Vec<String> = keys.iter().map(|key| format!("key-{key}")).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let got = seen.note(start, store.get_many(&names).await).unwrap_or_default();
                for (value, key) in got.iter().zip(keys) {
                    if value.as_ref().is_some_and(|value| !is_of(value, key)) {
                        seen.blame(format!("a wrong value for key-{key}"));
                    }
                }
            }
            _ => {
                let got = seen.note(start, store.get(&name).await).flatten();
                if got.is_some_and(|value| !is_of(&value, key)) {
                    seen.blame(format!("a wrong value for key-{key}"));
                }
            }
        }
        // Without a pause, a dead server is asked a million times.
        if turn.is_multiple_of(16) {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").expect("it is there").count()
}

/// In KiB.
fn memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("it is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is told");
    line.trim().trim_end_matches("kB").trim().parse().expect("it is a number")
}

fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn settles(what: &str, most: usize, now: impl Fn() -> usize) {
    let start = Instant::now();
    while now() > most {
        assert!(start.elapsed() < Duration::from_secs(10), "{} {what} of {most}", now());
        sleep(Duration::from_millis(20)).await;
    }
}

/// Has the tasks work while `fail` does its worst, and looks at what they saw and what is left.
async fn endures<F: Future<Output = ()>>(store: MemcachedCache, fail: impl FnOnce(Arc<Seen>) -> F) {
    let tasks_before = alive_tasks();
    let seen = Arc::new(Seen::default());
    let mut working = JoinSet::new();
    for task in 0..TASKS {
        working.spawn(work(store.clone(), Arc::clone(&seen), task));
    }
    seen.flows().await;
    let (files, memory_before) = (open_files(), memory());
    fail(Arc::clone(&seen)).await;
    seen.flows().await;
    seen.stop.store(true, Ordering::Relaxed);
    while let Some(worker) = working.join_next().await {
        worker.expect("nobody panics");
    }
    assert_eq!(*seen.wrong.lock().expect("nobody panicked"), Vec::<String>::new());
    assert!(seen.failed.load(Ordering::Relaxed) > 0, "nothing failed: so nothing was tried");
    settles("open files", files + 2, open_files).await;
    assert!(memory() < memory_before + (64 << 10), "{} KiB after {memory_before}", memory());
    store.close().await.expect("it closes");
    drop(store);
    settles("tasks", tasks_before, alive_tasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_again_and_again_under_load() {
    let mut server = server();
    let store = store_at(&[server.port()], &impatient());
    endures(store, async |seen| {
        for _ in 0..5 {
            server.kill().expect("it is killed");
            seen.ebbs().await;
            server.restart().expect("it starts again");
            seen.flows().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_freezes_again_and_again_under_load() {
    let server = server();
    let store = store_at(&[server.port()], &impatient());
    endures(store, async |seen| {
        for _ in 0..5 {
            server.freeze().expect("it is stopped");
            seen.ebbs().await;
            server.thaw().expect("it goes on");
            seen.flows().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_fails_in_every_way_under_load() {
    let server = server();
    let proxy = proxy(&server);
    let store = store_at(&[proxy.port()], &impatient());
    let forged = b"VA 5 f256 O4000000000\r\nwrong\r\n".to_vec();
    endures(store, async |seen| {
        for bad in [
            Mode::Reset(3),
            Mode::Truncate(5000),
            Mode::Garbage(forged),
            Mode::Reset(20_000),
            Mode::Blackhole,
            Mode::Garbage(b"rubbish".into()),
            Mode::Truncate(1),
            Mode::Delay(Duration::from_millis(700)),
        ] {
            let (failed, accepted) = (seen.failed.load(Ordering::Relaxed), proxy.accepted());
            proxy.switch(bad.clone());
            let start = Instant::now();
            // Calls that fail, or new connections where those that broke are made good.
            while seen.failed.load(Ordering::Relaxed) < failed + TASKS
                && proxy.accepted() < accepted + 10
            {
                assert!(start.elapsed() < Duration::from_secs(10), "nobody minds {bad:?}");
                sleep(Duration::from_millis(5)).await;
            }
            proxy.switch(Mode::Pass);
            seen.flows().await;
        }
    })
    .await;
    let start = Instant::now();
    while proxy.open() > 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "{} connections are left", proxy.open());
        sleep(Duration::from_millis(20)).await;
    }
}
