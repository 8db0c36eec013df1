//! Faults under the load of 64 tasks: no wrong value, no call beyond its limit, and no leaked
//! connection, task or memory.

mod common;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache_core::{Cache, ErrorKind, Value};
use cache_memcached::MemcachedCache;
use common::{HOUR, impatient, proxy, server, store_at};
use tokio::{runtime::Handle, sync::Mutex, task::JoinSet, time::sleep};
use xtask::proxy::Mode;

const TASKS: usize = 64;
const KEYS: usize = 200;

/// The longest time that a call may take (see the options), plus a margin for a busy machine.
const LIMIT: Duration = Duration::from_millis(1500 + 15_000);

/// How long an effect may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Held by the test that runs: open files and memory are those of all tests of this process.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Returns a short or long value that contains its key at both ends.
fn value_of(key: usize, turn: usize) -> Value {
    let mark = format!("key-{key};");
    let middle = "x".repeat(turn * 7919 % 6000);
    Value::Bytes(Bytes::from([&*mark, &middle, &mark].concat()))
}

fn belongs_to(value: &Value, key: usize) -> bool {
    let mark = format!("key-{key};");
    matches!(
        value,
        Value::Bytes(bytes)
            if bytes.starts_with(mark.as_bytes()) && bytes.ends_with(mark.as_bytes())
    )
}

#[derive(Default)]
struct Observed {
    stop: AtomicBool,
    succeeded: AtomicUsize,
    failed: AtomicUsize,
    /// Violations of what the test asserts.
    violations: std::sync::Mutex<Vec<String>>,
}

impl Observed {
    fn record<T>(&self, start: Instant, result: cache_core::Result<T>) -> Option<T> {
        if start.elapsed() > LIMIT {
            self.report_violation(format!("a call took {:?}", start.elapsed()));
        }
        match result {
            Ok(output) => {
                self.succeeded.fetch_add(1, Ordering::Relaxed);
                Some(output)
            }
            Err(error) => {
                if error.kind() != ErrorKind::Unavailable
                    || !error.to_string().contains(": 127.0.0.1:")
                {
                    self.report_violation(error.to_string());
                }
                self.failed.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn report_violation(&self, what: String) {
        self.violations.lock().expect("no panic while locked").push(what);
    }

    /// Waits until more calls have succeeded than were in flight, for at most a minute.
    async fn wait_for_success(&self) {
        let (start, before) = (Instant::now(), self.succeeded.load(Ordering::Relaxed));
        while self.succeeded.load(Ordering::Relaxed) < before + 10 * TASKS {
            assert!(start.elapsed() < PATIENCE, "calls do not succeed again");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until calls fail, for at most a minute.
    async fn wait_for_failures(&self) {
        let (start, before) = (Instant::now(), self.failed.load(Ordering::Relaxed));
        while self.failed.load(Ordering::Relaxed) < before + TASKS {
            assert!(start.elapsed() < PATIENCE, "no call fails");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn work(store: MemcachedCache, observed: Arc<Observed>, task: usize) {
    let mut turn = task * 31;
    while !observed.stop.load(Ordering::Relaxed) {
        turn += 1;
        let key = turn * 17 % KEYS;
        let name = format!("key-{key}");
        let start = Instant::now();
        match turn % 4 {
            0 => drop(observed.record(start, store.set(&name, value_of(key, turn), HOUR).await)),
            1 => {
                // A few keys, or enough for a classic get.
                let keys: Vec<usize> = (key..key + if turn % 64 == 1 { 40 } else { 2 })
                    .map(|key| key % KEYS)
                    .collect();
                let names: Vec<String> = keys.iter().map(|key| format!("key-{key}")).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let values =
                    observed.record(start, store.get_many(&names).await).unwrap_or_default();
                for (value, key) in values.iter().zip(keys) {
                    if value.as_ref().is_some_and(|value| !belongs_to(value, key)) {
                        observed.report_violation(format!("a wrong value for key-{key}"));
                    }
                }
            }
            _ => {
                let value = observed.record(start, store.get(&name).await).flatten();
                if value.is_some_and(|value| !belongs_to(&value, key)) {
                    observed.report_violation(format!("a wrong value for key-{key}"));
                }
            }
        }
        // Without a pause, a server that is down gets a million calls.
        if turn.is_multiple_of(16) {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").expect("read").count()
}

/// Returns the resident memory of this process in KiB.
fn memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

fn alive_task_count() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn wait_for_at_most(max: usize, what: &str, count: impl Fn() -> usize) {
    let start = Instant::now();
    while count() > max {
        assert!(start.elapsed() < PATIENCE, "{} {what}, expected at most {max}", count());
        sleep(Duration::from_millis(20)).await;
    }
}

/// Runs the tasks while `fail` injects faults, and checks what they observed and what is left over.
async fn assert_survives<F: Future<Output = ()>>(
    store: MemcachedCache,
    fail: impl FnOnce(Arc<Observed>) -> F,
) {
    let tasks_before = alive_task_count();
    let observed = Arc::new(Observed::default());
    let mut working = JoinSet::new();
    for task in 0..TASKS {
        working.spawn(work(store.clone(), Arc::clone(&observed), task));
    }
    observed.wait_for_success().await;
    let (files, memory_before) = (open_files(), memory());
    fail(Arc::clone(&observed)).await;
    observed.wait_for_success().await;
    observed.stop.store(true, Ordering::Relaxed);
    while let Some(worker) = working.join_next().await {
        worker.expect("no panic");
    }
    assert_eq!(*observed.violations.lock().expect("no panic while locked"), Vec::<String>::new());
    assert!(
        observed.failed.load(Ordering::Relaxed) > 0,
        "no call failed, so no fault was injected"
    );
    wait_for_at_most(files + 2, "open files", open_files).await;
    assert!(memory() < memory_before + (64 << 10), "{} KiB after {memory_before}", memory());
    store.close().await.expect("close");
    drop(store);
    wait_for_at_most(tasks_before, "tasks", alive_task_count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_killed_repeatedly_under_load() {
    let _alone = ALONE.lock().await;
    let mut server = server();
    let store = store_at(&[server.port()], &impatient());
    assert_survives(store, async |observed| {
        for _ in 0..5 {
            server.kill().expect("kill");
            observed.wait_for_failures().await;
            server.restart().expect("restart");
            observed.wait_for_success().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_frozen_repeatedly_under_load() {
    let _alone = ALONE.lock().await;
    let server = server();
    let store = store_at(&[server.port()], &impatient());
    assert_survives(store, async |observed| {
        for _ in 0..5 {
            server.freeze().expect("freeze");
            observed.wait_for_failures().await;
            server.thaw().expect("thaw");
            observed.wait_for_success().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn network_faults_under_load() {
    let _alone = ALONE.lock().await;
    let server = server();
    let proxy = proxy(&server);
    let store = store_at(&[proxy.port()], &impatient());
    let forged = b"VA 5 f256 O4000000000\r\nwrong\r\n".to_vec();
    assert_survives(store, async |observed| {
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
            let (failed, accepted) = (observed.failed.load(Ordering::Relaxed), proxy.accepted());
            proxy.switch(bad.clone());
            let start = Instant::now();
            // Either calls fail, or broken connections are replaced in time.
            while observed.failed.load(Ordering::Relaxed) < failed + TASKS
                && proxy.accepted() < accepted + 10
            {
                assert!(start.elapsed() < PATIENCE, "{bad:?} has no effect");
                sleep(Duration::from_millis(5)).await;
            }
            proxy.switch(Mode::Pass);
            observed.wait_for_success().await;
        }
    })
    .await;
    let start = Instant::now();
    while proxy.open() > 0 {
        assert!(start.elapsed() < PATIENCE, "{} connections are left", proxy.open());
        sleep(Duration::from_millis(20)).await;
    }
}
