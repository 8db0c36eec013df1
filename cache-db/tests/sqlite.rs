//! What only a SQLite database does: order of cancelled writes, WAL, files that are replaced.
#![cfg(feature = "sqlite")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{Cache, CacheHandle, Settings, Value};
use cache_db::{DbCache, DbOptions};
use rusqlite::Connection;
use tokio::{task::JoinSet, time::sleep};

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

fn path_of(options: &DbOptions) -> PathBuf {
    options.url["sqlite:".len()..].into()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    format!("{}{suffix}", path.display()).into()
}

fn open(options: DbOptions) -> DbCache {
    DbCache::new("cache", options.create_table(true)).expect("valid options")
}

async fn set(store: &DbCache, key: &str, number: i64) {
    store.set(key, Value::Int(number), HOUR).await.expect("set succeeds");
}

async fn get(store: &DbCache, key: &str) -> Option<Value> {
    store.get(key).await.expect("get succeeds")
}

/// Another process, as far as SQLite's locks are concerned.
fn other(path: &Path) -> Connection {
    Connection::open(path).expect("the file is opened")
}

/// Waits until the store compares the path with its open file.
async fn next_check() {
    sleep(Duration::from_millis(1100)).await;
}

#[tokio::test]
async fn open_store_reads_and_writes_on_the_callers_thread() {
    for options in [common::sqlite_file(), DbOptions::new("sqlite::memory:")] {
        let store = open(options);
        set(&store, "k", 1).await;
        assert_eq!(get(&store, "k").await, Some(Value::Int(1)));
        let stored = store.set_now("k", Value::Int(2), HOUR).expect("no lock is held");
        stored.expect("set succeeds");
        let found = store.get_now("k").expect("a connection is idle").expect("get succeeds");
        assert_eq!(found, Some(Value::Int(2)));
        assert!(store.get_now("absent").expect("idle").expect("get succeeds").is_none());
    }
}

#[tokio::test]
async fn option_blocking_threads_keeps_calls_off_the_callers_thread() {
    let store = open(common::sqlite_file().blocking_threads(true));
    set(&store, "k", 1).await;
    assert_eq!(get(&store, "k").await, Some(Value::Int(1)));
    assert!(store.get_now("k").is_none());
    assert_eq!(store.set_now("k", Value::Int(2), HOUR).err(), Some(Value::Int(2)));
}

#[tokio::test]
async fn write_of_another_process_does_not_block_the_caller() {
    let options = common::sqlite_file();
    let store = open(options.clone());
    set(&store, "k", 1).await;
    let other = other(&path_of(&options));
    other.execute_batch("BEGIN IMMEDIATE").expect("the file is locked");
    let start = Instant::now();
    assert_eq!(store.set_now("k", Value::Int(2), HOUR).err(), Some(Value::Int(2)));
    assert!(start.elapsed() < options.busy_timeout, "{:?}", start.elapsed());
    assert!(store.get_now("k").is_some(), "reads do not wait for a writer");
    other.execute_batch("COMMIT").expect("the lock is released");
    set(&store, "k", 2).await;
    assert_eq!(get(&store, "k").await, Some(Value::Int(2)));
}

/// The store has no connection that reads yet, and one write waits for the lock.
#[tokio::test]
async fn first_read_does_not_wait_for_a_writer() {
    let options = common::sqlite_file();
    let store = open(options.clone());
    set(&store, "k", 1).await;
    store.close().await.expect("close succeeds");
    set(&store, "k", 1).await;
    let other = other(&path_of(&options));
    other.execute_batch("BEGIN IMMEDIATE").expect("the file is locked");
    let write = tokio::spawn({
        let store = store.clone();
        async move { store.set("k", Value::Int(2), HOUR).await }
    });
    sleep(Duration::from_millis(20)).await;
    assert_eq!(get(&store, "k").await, Some(Value::Int(1)));
    assert!(!write.is_finished(), "the file is locked");
    other.execute_batch("COMMIT").expect("the lock is released");
    write.await.expect("the task does not panic").expect("set succeeds");
}

/// Tests of applications pause and advance tokio's clock.
#[tokio::test(start_paused = true)]
async fn calls_are_not_limited_by_the_clock_of_tokio() {
    for options in [common::sqlite_file(), DbOptions::new("sqlite::memory:")] {
        tokio::time::advance(Duration::from_secs(60)).await;
        let store = open(options);
        store.set("k", Value::Bytes(vec![7; 200_000].into()), HOUR).await.expect("set succeeds");
        store.clear().await.expect("clear succeeds");
        assert_eq!(store.stats().await.expect("stats succeed").entries, Some(0));
    }
}

#[test]
fn calls_need_no_timer_of_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("the runtime starts").block_on(async {
        let store = open(common::sqlite_file());
        set(&store, "k", 1).await;
        store.clear().await.expect("clear succeeds");
        assert_eq!(get(&store, "k").await, None);
    });
}

/// The write of the runtime that ends was the first in the queue. No thread of that runtime runs
/// anything until the other caller's write is executed: its only blocking thread is in use, and its
/// only worker is this thread.
#[test]
fn write_is_executed_although_the_runtime_of_another_caller_ends() {
    let options = common::sqlite_file();
    let store = open(options.clone());
    let lasting = tokio::runtime::Runtime::new().expect("the runtime starts");
    lasting.block_on(set(&store, "k", 0));
    for round in 0..20 {
        let ending = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .expect("the runtime starts");
        let (end, ended) = std::sync::mpsc::channel::<()>();
        ending.spawn_blocking(move || ended.recv());
        let other = other(&path_of(&options));
        other.execute_batch("BEGIN IMMEDIATE").expect("the file is locked");
        let write = |key: &'static str| {
            let store = store.clone();
            async move { store.set(key, Value::Int(round), HOUR).await }
        };
        ending.block_on(async {
            drop(tokio::spawn(write("first")));
            tokio::task::yield_now().await;
        });
        let second = lasting.spawn(write("k"));
        std::thread::sleep(Duration::from_millis(2));
        ending.shutdown_background();
        other.execute_batch("COMMIT").expect("the lock is released");
        lasting.block_on(second).expect("the task does not panic").expect("set succeeds");
        drop(end);
        assert_eq!(lasting.block_on(get(&store, "k")), Some(Value::Int(round)));
    }
}

/// Each write waits for the lock when its future is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_write_is_not_applied_after_a_later_write() {
    let options = common::sqlite_file();
    let store = open(options.clone());
    set(&store, "warm", 1).await;
    let other = other(&path_of(&options));
    for round in 0..30 {
        set(&store, "k", 1).await;
        other.execute_batch("BEGIN IMMEDIATE").expect("the file is locked");
        let mut cancelled = Box::pin(store.set("k", Value::Int(2), HOUR));
        let pause = Duration::from_micros(100 * round);
        assert!(tokio::time::timeout(pause, &mut cancelled).await.is_err(), "the file is locked");
        drop(cancelled);
        let next = tokio::spawn({
            let store = store.clone();
            async move {
                match round % 3 {
                    0 => store.delete("k").await.map(drop),
                    1 => store.delete_many(&["k"]).await.map(drop),
                    _ => store.clear().await,
                }
            }
        });
        sleep(Duration::from_millis(1)).await;
        assert!(!next.is_finished(), "round {round}: the file is locked");
        other.execute_batch("COMMIT").expect("the lock is released");
        next.await.expect("the task does not panic").expect("the next write succeeds");
        assert_eq!(get(&store, "k").await, None, "round {round}");
        // The cancelled write may have begun, and has then ended.
        set(&store, "warm", 1).await;
        assert_eq!(get(&store, "k").await, None, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grouped_writes_fail_one_by_one() {
    let options = common::sqlite_file();
    let store = open(options.clone());
    for key in ["text", "n"] {
        set(&store, key, 1).await;
    }
    store.set("text", Value::Bytes("abc".into()), HOUR).await.expect("set succeeds");
    let path = path_of(&options);
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON cache WHEN new.number = 13 \
                   BEGIN SELECT RAISE(ABORT, 'unlucky'); END";
    other(&path).execute_batch(trigger).expect("valid SQL");
    let other = other(&path);
    other.execute_batch("BEGIN IMMEDIATE").expect("the file is locked");
    let mut writes = JoinSet::new();
    for number in 10..20 {
        let store = store.clone();
        writes.spawn(async move {
            let key = number.to_string();
            let entries = [("n", Value::Int(number)), (&key, Value::Int(number))];
            (number, store.set_many(&entries, HOUR).await)
        });
    }
    sleep(Duration::from_millis(20)).await;
    other.execute_batch("COMMIT").expect("the lock is released");
    while let Some(written) = writes.join_next().await {
        let (number, result) = written.expect("the task does not panic");
        assert_eq!(result.is_err(), number == 13, "{number}: {result:?}");
        let expected = (number != 13).then_some(Value::Int(number));
        assert_eq!(get(&store, &number.to_string()).await, expected, "{number}");
    }
}

/// A runtime that ends must not leave the queue of writes without a thread.
#[expect(clippy::async_yields_async, reason = "the write outlives the call that starts it")]
#[test]
fn store_works_in_the_next_runtime() {
    let options = common::sqlite_file();
    let store = open(options.clone());
    for round in 0..20 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the runtime starts");
        let other = other(&path_of(&options));
        other.execute_batch("BEGIN IMMEDIATE").expect("the file is locked");
        let waiting = runtime.block_on(async {
            let store = store.clone();
            let write = tokio::spawn(async move { store.set("k", Value::Int(1), HOUR).await });
            tokio::task::yield_now().await;
            write
        });
        other.execute_batch("COMMIT").expect("the lock is released");
        drop(runtime);
        drop(waiting);
        let next = tokio::runtime::Builder::new_current_thread().enable_all().build();
        next.expect("the runtime starts").block_on(async {
            set(&store, "k", round).await;
            assert_eq!(get(&store, "k").await, Some(Value::Int(round)));
        });
    }
}

#[tokio::test]
async fn task_that_never_waits_yields_to_others() {
    let store = Arc::new(open(common::sqlite_file()));
    set(&store, "k", 1).await;
    let cache = CacheHandle::new("default", store, Settings::default());
    let other = tokio::spawn(async {});
    let mut reads = 0;
    while !other.is_finished() {
        cache.get::<i64>("k").await.expect("get succeeds");
        reads += 1;
        assert!(reads < 1000, "the other task does not run");
    }
}

#[tokio::test]
async fn wal_stays_bounded_and_close_removes_it() {
    let options = common::sqlite_file().max_entries(1_000_000);
    let store = open(options.clone());
    let value = Value::Bytes(vec![7; 1000].into());
    let wal = beside(&path_of(&options), "-wal");
    let mut largest = 0;
    for number in 0..20_000 {
        let key = format!("key {}", number % 5000);
        store.set(&key, value.clone(), HOUR).await.expect("set succeeds");
        largest = largest.max(fs::metadata(&wal).expect("the WAL exists").len());
    }
    // 20,000 sets write 50,000 pages, 200 MB. The limit leaves room for a slow disk.
    assert!(largest < 64 << 20, "the WAL has {largest} bytes");
    store.close().await.expect("close succeeds");
    assert!(!wal.exists(), "the last connection removes the WAL");
    assert_eq!(get(&store, "key 1").await, Some(value));
}

#[tokio::test]
async fn deleted_file_is_created_again() {
    let options = common::sqlite_file();
    let store = open(options.clone());
    set(&store, "k", 1).await;
    fs::remove_file(path_of(&options)).expect("the file exists");
    next_check().await;
    assert_eq!(get(&store, "k").await, None);
    set(&store, "k", 2).await;
    let observer = open(options);
    assert_eq!(get(&observer, "k").await, Some(Value::Int(2)), "the new file is used");
}

#[tokio::test]
async fn write_creates_a_deleted_file_again() {
    let options = common::sqlite_file();
    let store = open(options.clone());
    set(&store, "k", 1).await;
    fs::remove_file(path_of(&options)).expect("the file exists");
    next_check().await;
    set(&store, "k", 2).await;
    let observer = open(options);
    assert_eq!(get(&observer, "k").await, Some(Value::Int(2)), "the new file is used");
}

#[tokio::test]
async fn replaced_file_is_read_without_the_old_wal() {
    let (options, replacement) = (common::sqlite_file(), common::sqlite_file());
    let other = open(replacement.clone());
    set(&other, "k", 2).await;
    other.close().await.expect("close succeeds");
    let store = open(options.clone());
    set(&store, "k", 1).await;
    assert!(beside(&path_of(&options), "-wal").exists(), "there is an old WAL");
    fs::rename(path_of(&replacement), path_of(&options)).expect("the file is replaced");
    next_check().await;
    assert_eq!(get(&store, "k").await, Some(Value::Int(2)));
    set(&store, "k", 3).await;
    assert_eq!(get(&store, "k").await, Some(Value::Int(3)));
}

#[tokio::test]
async fn missing_folder_is_created_and_again_if_it_is_removed() {
    let folder = tempfile::tempdir().expect("the directory is created");
    let folder = folder.path().join("some/where");
    let store = open(DbOptions::new(format!("sqlite:{}/cache.db", folder.display())));
    set(&store, "k", 1).await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&folder).expect("the folder exists").permissions().mode();
        assert_eq!(mode & 0o077, 0, "only its owner can access it");
    }
    fs::remove_dir_all(&folder).expect("the folder is removed");
    next_check().await;
    assert_eq!(get(&store, "k").await, None);
    set(&store, "k", 2).await;
    assert_eq!(get(&store, "k").await, Some(Value::Int(2)));
    assert!(folder.join("cache.db").exists());
}

#[tokio::test]
async fn calls_of_a_handle_wait_for_the_first_connection_only() {
    let store = Arc::new(open(common::sqlite_file()));
    let cache = CacheHandle::new("default", store, Settings::default());
    cache.set("k", &7, HOUR.expect("an hour")).await.expect("set succeeds");
    let read = async { cache.get::<i64>("k").await };
    assert_eq!(read.await.expect("get succeeds"), Some(7));
    let mut warm = std::pin::pin!(cache.get::<i64>("k"));
    let polled = futures_poll(&mut warm);
    assert!(matches!(polled, Some(Ok(Some(7)))), "{polled:?}");
}

/// Polls a future once.
fn futures_poll<T>(future: &mut std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}
