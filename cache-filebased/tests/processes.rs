//! Several processes in one folder, and some that are killed.
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
use common::{HOUR, bytes, child, folder, is_whole, store, task, temporary_files, this_binary};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("it starts")
}

/// Not a test of its own, but what the tests below have other processes do.
#[test]
fn a_child_does_its_task() {
    let Some((task, folder)) = task() else { return };
    match task.split_once(' ') {
        Some(("share", number)) => {
            runtime().block_on(share(&folder, number.parse().expect("a number")))
        }
        _ => runtime().block_on(write_until_killed(&folder)),
    }
}

const PROCESSES: u8 = 8;
const COUNTS: i64 = 200;
const ADDED: usize = 100;
const LENGTH: usize = 20_000;

/// Writes to the file `added.N` how many keys this process was the first to add.
async fn share(folder: &Path, number: u8) {
    let store = store(folder);
    let mut added = 0;
    for turn in 0..COUNTS {
        store.add("counter", Value::Int(0), HOUR).await.expect("it adds");
        store.incr("counter", 1).await.expect("it counts").expect("it is there");
        let key = format!("added {}", turn.unsigned_abs() as usize % ADDED);
        added +=
            usize::from(store.add(&key, Value::Int(number.into()), HOUR).await.expect("it adds"));
        let key = format!("set {}", turn % 3);
        store.set(&key, bytes(number, LENGTH), HOUR).await.expect("it sets");
        let value = store.get(&key).await.expect("it reads").expect("nobody deletes it");
        assert!(is_whole(&value, LENGTH), "half of one value and half of another");
    }
    fs::write(folder.join(format!("added.{number}")), added.to_string()).expect("there is room");
}

#[test]
fn eight_processes_lose_no_increment_add_each_key_once_and_read_whole_values() {
    let folder = folder();
    let start = |number| {
        let command = child(Command::new(this_binary()), &format!("share {number}"), folder.path());
        thread::spawn(move || common::succeeds(command))
    };
    let running: Vec<_> = (0..PROCESSES).map(start).collect();
    for process in running {
        process.join().expect("it succeeds");
    }
    let added_by = |number| {
        fs::read_to_string(folder.path().join(format!("added.{number}"))).expect("it was written")
    };
    let added = (0..PROCESSES).map(|number| added_by(number).parse::<usize>().expect("a number"));
    assert_eq!(added.sum::<usize>(), ADDED, "each key is added once");
    let counter = runtime().block_on(store(folder.path()).get("counter")).expect("it reads");
    assert_eq!(counter, Some(Value::Int(i64::from(PROCESSES) * COUNTS)));
    assert!(temporary_files(folder.path()).is_empty());
}

const KILLS: u64 = 1000;
const LARGE: usize = 200_000;

async fn write_until_killed(folder: &Path) {
    let store = store(folder);
    #[expect(clippy::print_stdout, reason = "the parent waits for it")]
    {
        println!("writing");
    }
    for number in (0..=u8::MAX).cycle() {
        store.set("large", bytes(number, LARGE), HOUR).await.expect("it sets");
        store.incr("counter", 1).await.expect("it counts");
    }
}

fn start_writer(folder: &Path) -> Child {
    let mut command = child(Command::new(this_binary()), "write", folder);
    let mut writer = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let said = BufReader::new(writer.stdout.take().expect("it is piped")).lines();
    assert!(said.map_while(Result::ok).any(|line| line.contains("writing")), "it never wrote");
    writer
}

/// Tells the watcher to stop, also where a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads until it is told to stop, and counts how often it did.
fn watch(folder: &Path, stop: &AtomicBool, reads: &AtomicU64) {
    let (store, runtime) = (store(folder), runtime());
    let mut last = 0;
    while !stop.load(Ordering::Relaxed) {
        let value =
            runtime.block_on(store.get("large")).expect("it reads").expect("nobody deletes it");
        assert!(
            is_whole(&value, LARGE),
            "half a value, after {} reads",
            reads.load(Ordering::Relaxed)
        );
        let counter = runtime.block_on(store.get("counter")).expect("it reads");
        let Some(Value::Int(counter)) = counter else { panic!("the counter is {counter:?}") };
        assert!(counter >= last, "the counter went back from {last} to {counter}");
        last = counter;
        reads.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn no_reader_sees_a_half_while_writers_are_killed_a_thousand_times_and_nothing_is_left_over() {
    let folder = folder();
    let (store, runtime) = (store(folder.path()), runtime());
    runtime.block_on(store.set("large", bytes(0, LARGE), HOUR)).expect("it sets");
    runtime.block_on(store.set("counter", Value::Int(0), HOUR)).expect("it sets");
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(folder.path(), &stop, &reads));
        let done = Stop(&stop);
        for number in 0..KILLS {
            let mut writer = start_writer(folder.path());
            thread::sleep(Duration::from_micros(number * 7 % 3000));
            writer.kill().expect("it runs");
            writer.wait().expect("it ends");
            // On one busy processor it would hardly be its turn.
            while reads.load(Ordering::Relaxed) <= number + 1 && !watcher.is_finished() {
                thread::yield_now();
            }
        }
        drop(done);
        watcher.join().expect("it saw no half");
    });
    assert!(reads.into_inner() > KILLS, "what each killed writer left was read");

    let left_over = temporary_files(folder.path());
    assert!(!left_over.is_empty(), "no writer was killed in the middle");
    left_over.iter().for_each(|file| common::age(file, Duration::from_secs(61)));
    let swept = runtime.block_on(store.sweep()).expect("it sweeps");
    assert_eq!((swept.left_over, swept.entries), (left_over.len(), 2));
    assert!(temporary_files(folder.path()).is_empty());
    assert_eq!(
        runtime.block_on(store.incr("counter", 0)).expect("no lock is left behind").map(|_| ()),
        Some(())
    );
}
