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

use cache_core::{Cache, Value};
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
    let mut command = child(Command::new(this_binary()), "write", directory);
    let mut writer = command.stdout(Stdio::piped()).spawn().expect("the child starts");
    let lines = BufReader::new(writer.stdout.take().expect("stdout is piped")).lines();
    assert!(
        lines.map_while(Result::ok).any(|line| line.contains("writing")),
        "the child did not start writing"
    );
    writer
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
