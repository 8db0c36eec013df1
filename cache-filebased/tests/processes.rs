//! Several processes in one directory, some of which are killed.
#![cfg(unix)]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use cache_core::{Ask, Cache, Clock, ManualClock, Value};
use cache_filebased::{FileBasedCache, FileBasedOptions};
use common::{HOUR, bytes, child, is_intact, store, task, temp_dir, temporary_files, this_binary};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("the runtime starts")
}

/// Not a test: the entry point of the child processes of the tests below.
#[test]
fn child_process_runs_its_task() {
    let Some((task, directory)) = task() else { return };
    match task.split_once(' ') {
        Some(("share", number)) => {
            runtime().block_on(share(&directory, number.parse().expect("a number")));
        }
        _ if task == "fill" => runtime().block_on(fill_until_stopped(&directory)),
        _ if task == "lease" => runtime().block_on(lease_until_killed(&directory)),
        _ => runtime().block_on(write_until_killed(&directory)),
    }
}

const PROCESSES: u8 = 8;
const COUNTS: i64 = 200;
const ADDED: usize = 100;
const LENGTH: usize = 20_000;

/// Writes the number of keys that this process added to the file `added.N`.
async fn share(directory: &Path, number: u8) {
    let store = store(directory);
    let mut added = 0;
    for turn in 0..COUNTS {
        store.add("counter", Value::Int(0), HOUR).await.expect("add succeeds");
        store.incr("counter", 1).await.expect("incr succeeds").expect("the counter exists");
        let key = format!("added {}", turn.unsigned_abs() as usize % ADDED);
        added += usize::from(
            store.add(&key, Value::Int(number.into()), HOUR).await.expect("add succeeds"),
        );
        let key = format!("set {}", turn % 3);
        store.set(&key, bytes(number, LENGTH), HOUR).await.expect("set succeeds");
        let value = store.get(&key).await.expect("get succeeds").expect("the key is never deleted");
        assert!(is_intact(&value, LENGTH), "a mix of two values");
    }
    fs::write(directory.join(format!("added.{number}")), added.to_string())
        .expect("the file is written");
}

#[test]
fn concurrent_processes_lose_no_increment_add_each_key_once_and_read_intact_values() {
    let directory = temp_dir();
    let start = |number| {
        let command =
            child(Command::new(this_binary()), &format!("share {number}"), directory.path());
        thread::spawn(move || common::run_child(command))
    };
    let running: Vec<_> = (0..PROCESSES).map(start).collect();
    for process in running {
        process.join().expect("the child succeeds");
    }
    let added_by = |number| {
        fs::read_to_string(directory.path().join(format!("added.{number}")))
            .expect("written by the child")
    };
    let added = (0..PROCESSES).map(|number| added_by(number).parse::<usize>().expect("a number"));
    assert_eq!(added.sum::<usize>(), ADDED, "each key is added once");
    let counter = runtime().block_on(store(directory.path()).get("counter")).expect("get succeeds");
    assert_eq!(counter, Some(Value::Int(i64::from(PROCESSES) * COUNTS)));
    assert!(temporary_files(directory.path()).is_empty());
}

const KILLS: u64 = 1000;
const LARGE: usize = 200_000;

async fn write_until_killed(directory: &Path) {
    let store = store(directory);
    #[expect(clippy::print_stdout, reason = "the parent waits for the output")]
    {
        println!("writing");
    }
    for number in (0..=u8::MAX).cycle() {
        store.set("large", bytes(number, LARGE), HOUR).await.expect("set succeeds");
        store.incr("counter", 1).await.expect("incr succeeds");
    }
}

fn start_writer(directory: &Path) -> Child {
    start_child("write", directory, "writing")
}

/// Starts a child and waits until it has printed `ready`.
fn start_child(task: &str, directory: &Path, ready: &str) -> Child {
    let mut command = child(Command::new(this_binary()), task, directory);
    let mut started = command.stdout(Stdio::piped()).spawn().expect("the child starts");
    let lines = BufReader::new(started.stdout.take().expect("stdout is piped")).lines();
    assert!(
        lines.map_while(Result::ok).any(|line| line.contains(ready)),
        "the child did not print {ready:?}"
    );
    started
}

/// Stops the watcher on drop, even if the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads until `stop` is set, and counts the reads.
fn watch(directory: &Path, stop: &AtomicBool, reads: &AtomicU64) {
    let (store, runtime) = (store(directory), runtime());
    let mut last = 0;
    while !stop.load(Ordering::Relaxed) {
        let value = runtime
            .block_on(store.get("large"))
            .expect("get succeeds")
            .expect("the key is never deleted");
        assert!(
            is_intact(&value, LARGE),
            "a partial value after {} reads",
            reads.load(Ordering::Relaxed)
        );
        let counter = runtime.block_on(store.get("counter")).expect("get succeeds");
        let Some(Value::Int(counter)) = counter else { panic!("the counter is {counter:?}") };
        assert!(counter >= last, "the counter went from {last} back to {counter}");
        last = counter;
        reads.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn killing_writers_shows_no_partial_value_and_leaves_no_file_after_a_sweep() {
    let directory = temp_dir();
    let (store, runtime) = (store(directory.path()), runtime());
    runtime.block_on(store.set("large", bytes(0, LARGE), HOUR)).expect("set succeeds");
    runtime.block_on(store.set("counter", Value::Int(0), HOUR)).expect("set succeeds");
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(directory.path(), &stop, &reads));
        let done = Stop(&stop);
        // The scheduler decides where a kill meets its writer. Some must meet it during a write.
        let is_enough =
            |kills: u64| kills >= KILLS && !temporary_files(directory.path()).is_empty();
        for number in (0..10 * KILLS).take_while(|kills| !is_enough(*kills)) {
            let mut writer = start_writer(directory.path());
            thread::sleep(Duration::from_micros(number * 7 % 3000));
            writer.kill().expect("the child is running");
            writer.wait().expect("the child ends");
            // Let the watcher run even on a single busy processor.
            while reads.load(Ordering::Relaxed) <= number + 1 && !watcher.is_finished() {
                thread::yield_now();
            }
        }
        drop(done);
        watcher.join().expect("the watcher saw no partial value");
    });
    assert!(reads.into_inner() > KILLS, "there is a read after every kill");

    let abandoned = temporary_files(directory.path());
    assert!(!abandoned.is_empty(), "no writer was killed during a write");
    abandoned.iter().for_each(|file| common::age(file, Duration::from_secs(61)));
    let report = runtime.block_on(store.sweep()).expect("sweep succeeds");
    assert_eq!((report.temporary_files, report.entries), (abandoned.len(), 2));
    assert!(temporary_files(directory.path()).is_empty());
    assert_eq!(
        runtime.block_on(store.incr("counter", 0)).expect("no lock is held").map(|_| ()),
        Some(())
    );
}

const ROUNDS: i64 = 400;
const FILLERS: usize = 3;
const HOLD: Duration = Duration::from_secs(3600);

/// Replaces the number from which the entry `k` is produced.
fn write_source(directory: &Path, number: i64) {
    let new = directory.join("source.new");
    fs::write(&new, number.to_string()).expect("the file is written");
    fs::rename(new, directory.join("source")).expect("the file is renamed");
}

fn read_source(directory: &Path) -> i64 {
    let number = fs::read_to_string(directory.join("source")).expect("it exists throughout");
    number.parse().expect("a number")
}

/// Fills `k` from the source until the file `stop` exists. Counts the fills that were stored and
/// lost.
async fn fill_until_stopped(directory: &Path) {
    let store = store(directory);
    let leases = store.leases().expect("the store has leases");
    let mut turn = 0;
    while !directory.join("stop").exists() {
        turn += 1;
        let ask = if turn % 2 == 0 { Ask::Missing } else { Ask::Any { side: "side" } };
        let acquired = leases.acquire("k", ask, HOLD).await.expect("acquire succeeds");
        let Some(lease) = acquired.lease else {
            thread::yield_now();
            continue;
        };
        let produced = Value::Int(read_source(directory));
        thread::sleep(Duration::from_micros(turn * 13 % 400));
        let stored = leases.fill("k", lease, produced, HOUR).await.expect("fill succeeds");
        store.incr(if stored { "stored" } else { "lost" }, 1).await.expect("incr succeeds");
    }
}

/// Each write of the parent is newer than every value that was produced before it.
#[test]
fn late_fill_is_never_stored_over_a_write_of_another_process() {
    let directory = temp_dir();
    let (store, runtime) = (store(directory.path()), runtime());
    write_source(directory.path(), 0);
    for counter in ["stored", "lost"] {
        runtime.block_on(store.set(counter, Value::Int(0), HOUR)).expect("set succeeds");
    }
    let start = |_| {
        let command = child(Command::new(this_binary()), "fill", directory.path());
        thread::spawn(move || common::run_child(command))
    };
    let fillers: Vec<_> = (0..FILLERS).map(start).collect();
    let is_positive = |counter: &&str| {
        let count = runtime.block_on(store.get(counter)).expect("get succeeds");
        matches!(count, Some(Value::Int(1..)))
    };
    for number in 1.. {
        // The scheduler decides when the children start and where a fill meets a write.
        if number > ROUNDS && ["stored", "lost"].iter().all(is_positive) {
            break;
        }
        assert!(number < 100 * ROUNDS, "no fill was stored, or none was lost");
        write_source(directory.path(), number);
        if number % 2 == 0 {
            runtime.block_on(store.set("k", Value::Int(number), HOUR)).expect("set succeeds");
        } else {
            runtime.block_on(store.delete("k")).expect("delete succeeds");
        }
        for _ in 0..20 {
            match runtime.block_on(store.get("k")).expect("get succeeds") {
                None => {}
                Some(Value::Int(found)) => {
                    assert!(found >= number, "{found} was stored after the write of {number}");
                }
                Some(other) => panic!("a value of another kind: {other:?}"),
            }
            thread::sleep(Duration::from_micros(100));
        }
    }
    fs::write(directory.path().join("stop"), "").expect("the file is written");
    for filler in fillers {
        filler.join().expect("the child succeeds");
    }
}

async fn lease_until_killed(directory: &Path) {
    let store = store(directory);
    let leases = store.leases().expect("the store has leases");
    let acquired = leases.acquire("k", Ask::Missing, HOLD).await.expect("acquire succeeds");
    assert!(acquired.lease.is_some(), "nobody else holds a lease");
    #[expect(clippy::print_stdout, reason = "the parent waits for the output")]
    {
        println!("leased");
    }
    loop {
        thread::park();
    }
}

#[tokio::test]
async fn lease_of_a_killed_process_ends_by_time() {
    let directory = temp_dir();
    let mut holder = start_child("lease", directory.path(), "leased");
    let time = ManualClock::new();
    time.advance(Clock::system().unix_time() - time.clock().unix_time());
    let options = FileBasedOptions::default();
    let store = FileBasedCache::with_clock(directory.path(), options, time.clock());
    let store = store.expect("valid options");
    let leases = store.leases().expect("the store has leases");
    holder.kill().expect("the child is running");
    holder.wait().expect("the child ends");

    let held = leases.acquire("k", Ask::Missing, HOLD).await.expect("acquire succeeds");
    assert!(held.lease.is_none(), "the lease of the killed process is held");
    time.advance(HOLD);
    let acquired = leases.acquire("k", Ask::Missing, HOLD).await.expect("acquire succeeds");
    let lease = acquired.lease.expect("the lease has ended");
    assert!(leases.fill("k", lease, Value::Int(1), HOUR).await.expect("fill succeeds"));
    assert_eq!(store.get("k").await.expect("get succeeds"), Some(Value::Int(1)));
}

#[tokio::test]
async fn sweep_removes_ended_leases_and_keeps_held_ones() {
    let directory = temp_dir();
    let time = ManualClock::new();
    let options = FileBasedOptions::default();
    let store = FileBasedCache::with_clock(directory.path(), options, time.clock());
    let store = store.expect("valid options");
    let leases = store.leases().expect("the store has leases");
    for (key, hold) in [("ended", HOLD / 2), ("held", HOLD)] {
        let acquired = leases.acquire(key, Ask::Missing, hold).await.expect("acquire succeeds");
        assert!(acquired.lease.is_some());
    }
    assert_eq!(common::files(directory.path()).len(), 2);
    time.advance(HOLD / 2);
    let report = store.sweep().await.expect("sweep succeeds");
    assert_eq!((report.entries, report.temporary_files, report.skipped), (0, 0, 0));
    assert_eq!(common::files(directory.path()).len(), 1);
    let held = leases.acquire("held", Ask::Missing, HOLD).await.expect("acquire succeeds");
    assert!(held.lease.is_none());
}
