//! Leases of several processes and releases, beyond what the conformance suite tests.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql", unix))]

mod common;

use std::{env, fs, path::Path, process::Command, thread, time::Duration};

use cache_core::{
    Acquired, Ask, Bytes, Cache, Clock, ErrorKind, Lease, Leases, ManualClock, Value,
};
use cache_db::{DbCache, DbOptions};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use xtask::servers::{Kind, Server};

use self::common::child::{self, binary, child};

/// The databases that the tests run on.
const ALL: [fn() -> DbOptions; 3] = [common::sqlite_file, common::postgres, common::mysql];

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));
const HOLD: Duration = Duration::from_secs(3600);
const ANY: Ask<'static> = Ask::Any { side: "shop:~:lease:1:k" };

const URL: &str = "CACHETTE_TEST_URL";
const TABLE: &str = "CACHETTE_TEST_TABLE";

fn bytes(text: &'static [u8]) -> Value {
    Value::Bytes(Bytes::from_static(text))
}

fn leases(store: &DbCache) -> &dyn Leases {
    store.leases().expect("the store has leases")
}

async fn acquire(store: &DbCache, ask: Ask<'_>) -> Acquired {
    leases(store).acquire("k", ask, HOLD).await.expect("acquire succeeds")
}

async fn lease(store: &DbCache, ask: Ask<'_>) -> Lease {
    acquire(store, ask).await.lease.expect("nobody else holds a lease")
}

async fn fill(store: &DbCache, lease: Lease, value: Value) -> bool {
    leases(store).fill("k", lease, value, HOUR).await.expect("fill succeeds")
}

async fn set(store: &DbCache, key: &str, value: Value) {
    store.set(key, value, HOUR).await.expect("set succeeds");
}

async fn get(store: &DbCache, key: &str) -> Option<Value> {
    store.get(key).await.expect("get succeeds")
}

/// A clock that shows the time of the system until it is advanced.
fn manual_time() -> ManualClock {
    let time = ManualClock::new();
    time.advance(Clock::system().unix_time() - time.clock().unix_time());
    time
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("the runtime starts")
}

/// Not a test: the entry point of the child processes of the tests below.
#[test]
fn child_process_runs_its_task() {
    let Some((task, folder)) = child::task() else { return };
    let variable = |name| env::var(name).expect("the parent sets it");
    let options = DbOptions::new(variable(URL))
        .busy_timeout(Duration::from_secs(20))
        .connect_timeout(Duration::from_secs(20))
        .statement_timeout(Duration::from_secs(20));
    let store = DbCache::new(&variable(TABLE), options).expect("valid options");
    runtime().block_on(async {
        match task.as_str() {
            "race" => fill_until_stopped(&store, &folder).await,
            "hold" => hold_until_killed(&store).await,
            "fill late" => fill_late(&store).await,
            other => panic!("unknown task {other}"),
        }
    });
}

/// A command for a child that uses the same table.
fn child_of(store: &DbCache, task: &str, folder: &Path) -> Command {
    let mut command = child(Command::new(binary()), task, folder);
    command.env(URL, &store.options().url).env(TABLE, store.table());
    command
}

/// Replaces the number from which the entry `k` is produced.
fn write_source(folder: &Path, number: i64) {
    let new = folder.join("source.new");
    fs::write(&new, number.to_string()).expect("the file is written");
    fs::rename(new, folder.join("source")).expect("the file is renamed");
}

fn read_source(folder: &Path) -> i64 {
    let number = fs::read_to_string(folder.join("source")).expect("it exists throughout");
    number.parse().expect("a number")
}

/// Fills `k` from the source until the file `stop` exists. Adds the numbers of fills that were
/// stored and lost to counters.
async fn fill_until_stopped(store: &DbCache, folder: &Path) {
    let (mut stored, mut lost, mut turn) = (0, 0, 0);
    child::report_start();
    while !folder.join("stop").exists() {
        turn += 1;
        let ask = if turn % 2 == 0 { Ask::Missing } else { ANY };
        let Some(lease) = acquire(store, ask).await.lease else {
            thread::yield_now();
            continue;
        };
        let produced = Value::Int(read_source(folder));
        thread::sleep(Duration::from_micros(turn * 13 % 1000));
        match fill(store, lease, produced).await {
            true => stored += 1,
            false => lost += 1,
        }
    }
    store.incr("stored", stored).await.expect("incr succeeds");
    store.incr("lost", lost).await.expect("incr succeeds");
}

const ROUNDS: i64 = 200;
const FILLERS: usize = 3;

/// Each write of the parent is newer than every value that was produced before it.
fn late_fill_is_never_stored_over_a_write_of_another_process(options: DbOptions) {
    let (folder, runtime) = (TempDir::new().expect("a temporary folder"), runtime());
    let store = runtime.block_on(common::fresh(options, Clock::system()));
    write_source(folder.path(), 0);
    for counter in ["stored", "lost"] {
        runtime.block_on(set(&store, counter, Value::Int(0)));
    }
    let start = |_| child::start(child_of(&store, "race", folder.path()));
    let fillers: Vec<_> = (0..FILLERS).map(start).collect();
    for number in 1..=ROUNDS {
        write_source(folder.path(), number);
        runtime.block_on(async {
            if number % 2 == 0 {
                set(&store, "k", Value::Int(number)).await;
            } else {
                store.delete("k").await.expect("delete succeeds");
            }
        });
        for _ in 0..20 {
            match runtime.block_on(get(&store, "k")) {
                None => {}
                Some(Value::Int(found)) => {
                    assert!(found >= number, "{found} was stored after the write of {number}");
                }
                Some(other) => panic!("a value of another kind: {other:?}"),
            }
            thread::sleep(Duration::from_micros(100));
        }
    }
    fs::write(folder.path().join("stop"), "").expect("the file is written");
    fillers.into_iter().for_each(child::Started::finish);
    for counter in ["stored", "lost"] {
        let count = runtime.block_on(get(&store, counter));
        assert!(matches!(count, Some(Value::Int(1..))), "{counter}: {count:?}");
    }
}

#[test]
fn late_fill_is_never_stored_over_a_write_of_another_process_on_sqlite() {
    late_fill_is_never_stored_over_a_write_of_another_process(common::sqlite_file());
}

#[test]
fn late_fill_is_never_stored_over_a_write_of_another_process_on_postgres() {
    late_fill_is_never_stored_over_a_write_of_another_process(common::postgres());
}

#[test]
fn late_fill_is_never_stored_over_a_write_of_another_process_on_mariadb() {
    late_fill_is_never_stored_over_a_write_of_another_process(common::mysql());
}

/// Acquires leases of an absent key and of an entry, waits for the parent, and fills.
async fn fill_late(store: &DbCache) {
    let absent = lease(store, Ask::Missing).await;
    let present = leases(store).acquire("entry", ANY, HOLD).await.expect("acquire succeeds");
    child::report_start();
    child::wait_for_parent();
    assert!(!fill(store, absent, bytes(b"late")).await);
    let present = present.lease.expect("nobody else holds a lease");
    let filled = leases(store).fill("entry", present, bytes(b"late"), HOUR).await;
    assert!(!filled.expect("fill succeeds"));
}

#[test]
fn late_fill_of_another_process_does_not_bring_back_a_deleted_key() {
    let (folder, runtime) = (TempDir::new().expect("a temporary folder"), runtime());
    for options in ALL {
        let store = runtime.block_on(common::fresh(options(), Clock::system()));
        runtime.block_on(set(&store, "entry", Value::Int(1)));
        let mut filler = child::start(child_of(&store, "fill late", folder.path()));
        runtime.block_on(async {
            store.delete("k").await.expect("delete succeeds");
            assert!(store.delete("entry").await.expect("delete succeeds"));
        });
        filler.resume();
        filler.finish();
        for key in ["k", "entry"] {
            assert_eq!(runtime.block_on(get(&store, key)), None, "{key}");
        }
    }
}

async fn hold_until_killed(store: &DbCache) {
    let _held = lease(store, Ask::Missing).await;
    child::report_start();
    loop {
        thread::park();
    }
}

#[test]
fn lease_of_a_killed_process_ends_by_time() {
    let (folder, runtime) = (TempDir::new().expect("a temporary folder"), runtime());
    for options in ALL {
        let time = manual_time();
        let store = runtime.block_on(common::fresh(options(), time.clock()));
        child::start(child_of(&store, "hold", folder.path())).kill();
        runtime.block_on(async {
            assert!(acquire(&store, Ask::Missing).await.lease.is_none(), "it is still held");
            // The child may have been started some time after the clock was created.
            time.advance(HOLD + HOLD);
            let taken_over = lease(&store, Ask::Missing).await;
            assert!(fill(&store, taken_over, bytes(b"new")).await);
            assert_eq!(get(&store, "k").await, Some(bytes(b"new")));
        });
    }
}

/// Opens the table of a store with another clock.
fn same_table(store: &DbCache, time: &ManualClock) -> DbCache {
    let options = store.options().clone();
    DbCache::open(store.table(), options, None, time.clock()).expect("valid options")
}

#[tokio::test]
async fn delete_by_a_process_whose_clock_is_ahead_ends_a_lease() {
    for options in ALL {
        let (time, ahead) = (ManualClock::new(), ManualClock::new());
        ahead.advance(2 * HOLD);
        let store = common::fresh(options(), time.clock()).await;
        let other = same_table(&store, &ahead);
        let late = lease(&store, Ask::Missing).await;
        other.delete("k").await.expect("delete succeeds");
        assert!(!fill(&store, late, bytes(b"late")).await);
        let late = lease(&store, Ask::Missing).await;
        other.delete_many(&["k", "other"]).await.expect("delete_many succeeds");
        assert!(!fill(&store, late, bytes(b"late")).await);
    }
}

#[tokio::test]
async fn lease_that_was_granted_in_the_far_future_is_not_held() {
    for options in ALL {
        for ask in [Ask::Missing, ANY] {
            let (time, ahead) = (ManualClock::new(), ManualClock::new());
            let store = common::fresh(options(), time.clock()).await;
            let other = same_table(&store, &ahead);
            if ask == ANY {
                store.set("k", bytes(b"old"), None).await.expect("set succeeds");
            }
            ahead.advance(Duration::from_secs(59));
            let held = lease(&other, ask).await;
            assert!(acquire(&store, ask).await.lease.is_none(), "clocks may differ a little");
            leases(&other).release("k", held, Duration::ZERO).await.expect("release succeeds");

            ahead.advance(HOLD);
            let lost = lease(&other, ask).await;
            let taken_over = lease(&store, ask).await;
            assert!(fill(&store, taken_over, bytes(b"new")).await);
            assert!(!fill(&other, lost, bytes(b"late")).await);
        }
    }
}

#[tokio::test]
async fn lease_may_be_kept_for_longer_than_it_was_granted() {
    for options in ALL {
        let time = ManualClock::new();
        let store = common::fresh(options(), time.clock()).await;
        let acquired = leases(&store).acquire("k", Ask::Missing, Duration::from_secs(1)).await;
        let held = acquired.expect("acquire succeeds").lease.expect("nobody holds a lease");
        leases(&store).release("k", held, HOLD).await.expect("release succeeds");
        time.advance(HOLD - Duration::from_secs(1));
        assert!(acquire(&store, Ask::Missing).await.lease.is_none());
        time.advance(Duration::from_secs(1));
        let _lease = lease(&store, Ask::Missing).await;
    }
}

/// Runs SQL on a separate connection. Returns how many rows it changed.
async fn execute(options: &DbOptions, sql: &str) -> u64 {
    let (url, sql) = (&options.url, AssertSqlSafe(sql));
    let changed = if url.starts_with("sqlite") {
        let pool = sqlx::SqlitePool::connect(url).await.expect("the file opens");
        sqlx::raw_sql(sql).execute(&pool).await.map(|done| done.rows_affected())
    } else if url.starts_with("postgres") {
        let pool = sqlx::PgPool::connect(url).await.expect("the server accepts connections");
        sqlx::raw_sql(sql).execute(&pool).await.map(|done| done.rows_affected())
    } else {
        let pool = sqlx::MySqlPool::connect(url).await.expect("the server accepts connections");
        sqlx::raw_sql(sql).execute(&pool).await.map(|done| done.rows_affected())
    };
    changed.expect("valid SQL")
}

/// What releases without leases send: those rely on the same four columns.
#[tokio::test]
async fn write_of_an_earlier_release_ends_a_lease() {
    for options in ALL {
        let store = common::fresh(options(), Clock::system()).await;
        let options = store.options();
        let quote = if options.url.starts_with("mysql") { '`' } else { '"' };
        let table = format!("{quote}{}{quote}", store.table());
        let key = if options.url.starts_with("postgres") { r"'\x6b'" } else { "X'6B'" };
        let far = i64::MAX / 2;
        let set = if options.url.starts_with("mysql") {
            format!(
                "INSERT INTO {table} (cache_key, value, number, expires) \
                 VALUES ({key}, NULL, 7, {far}) ON DUPLICATE KEY UPDATE \
                 value = VALUES(value), number = VALUES(number), expires = VALUES(expires)"
            )
        } else {
            format!(
                "INSERT INTO {table} (cache_key, value, number, expires) \
                 VALUES ({key}, NULL, 7, {far}) ON CONFLICT (cache_key) DO UPDATE \
                 SET value = excluded.value, number = excluded.number, expires = excluded.expires"
            )
        };
        let incr = format!("UPDATE {table} SET number = number + 4 WHERE cache_key = {key}");
        let delete = format!("DELETE FROM {table} WHERE cache_key = {key} AND expires > 0");
        let purge = format!("DELETE FROM {table} WHERE cache_key = {key} AND expires <= {far}");
        for (ask, old, write, new) in [
            (Ask::Missing, None, &set, Some(7)),
            (ANY, None, &set, Some(7)),
            (ANY, Some(1), &set, Some(7)),
            (ANY, Some(1), &incr, Some(5)),
            (ANY, Some(1), &delete, None),
            (Ask::Missing, None, &purge, None),
        ] {
            match old {
                Some(old) => set_number(&store, old).await,
                None => drop(store.delete("k").await.expect("delete succeeds")),
            }
            let held = lease(&store, ask).await;
            assert!(execute(options, write).await > 0, "{write}");
            assert!(!fill(&store, held, bytes(b"late")).await, "{write}");
            assert_eq!(get(&store, "k").await, new.map(Value::Int), "{write}");
        }
    }
}

async fn set_number(store: &DbCache, number: i64) {
    set(store, "k", Value::Int(number)).await;
}

#[tokio::test]
async fn purge_keeps_the_leases_that_are_held() {
    for options in ALL {
        let time = ManualClock::new();
        let store = common::fresh(options(), time.clock()).await;
        for (key, hold) in [("ended", HOLD / 2), ("held", HOLD)] {
            let acquired = leases(&store).acquire(key, Ask::Missing, hold).await;
            assert!(acquired.expect("acquire succeeds").lease.is_some());
        }
        set(&store, "k", Value::Int(1)).await;
        let refresh = lease(&store, ANY).await;
        store.set("expired", Value::Int(1), Some(HOLD / 2)).await.expect("set succeeds");
        store.close().await.expect("background work ends");
        time.advance(HOLD / 2);
        assert_eq!(store.purge_expired(u64::MAX).await.expect("purge succeeds"), Some(2));
        let held = leases(&store).acquire("held", Ask::Missing, HOLD).await;
        assert!(held.expect("acquire succeeds").lease.is_none());
        assert!(acquire(&store, ANY).await.lease.is_none());
        assert!(fill(&store, refresh, bytes(b"new")).await);
    }
}

#[tokio::test]
async fn leases_do_not_count_as_entries() {
    for options in ALL {
        let store = common::fresh(options().max_entries(10), ManualClock::new().clock()).await;
        for number in 0..10 {
            set(&store, &number.to_string(), Value::Int(number)).await;
        }
        for number in 10..40 {
            let acquired = leases(&store).acquire(&number.to_string(), Ask::Missing, HOLD).await;
            assert!(acquired.expect("acquire succeeds").lease.is_some());
        }
        store.close().await.expect("background work ends");
        assert_eq!(store.entries().await.expect("the entries are counted"), 10);
        let held = leases(&store).acquire("39", Ask::Missing, HOLD).await;
        assert!(held.expect("acquire succeeds").lease.is_none());
    }
}

#[tokio::test]
async fn fills_count_towards_max_entries() {
    for options in ALL {
        let store = common::fresh(options().max_entries(10), ManualClock::new().clock()).await;
        for number in 0..40 {
            let key = number.to_string();
            let acquired = leases(&store).acquire(&key, Ask::Missing, HOLD).await;
            let lease = acquired.expect("acquire succeeds").lease.expect("granted");
            let filled = leases(&store).fill(&key, lease, Value::Int(number), HOUR).await;
            assert!(filled.expect("fill succeeds"));
            store.close().await.expect("background work ends");
        }
        let entries = store.entries().await.expect("the entries are counted");
        assert!(entries <= 11, "{entries}");
    }
}

#[tokio::test]
async fn lease_of_another_key_or_store_stores_nothing() {
    for options in ALL {
        let store = common::fresh(options(), Clock::system()).await;
        let other = common::fresh(options(), Clock::system()).await;
        for (ask, value) in [(Ask::Missing, None), (ANY, Some(Value::Int(1)))] {
            for (store, key) in [(&store, "k"), (&store, "other"), (&other, "k")] {
                store.delete(key).await.expect("delete succeeds");
                if let Some(value) = &value {
                    set(store, key, value.clone()).await;
                }
            }
            let held = lease(&store, ask).await;
            let filled = leases(&store).fill("other", held, bytes(b"late"), HOUR).await;
            assert!(!filled.expect("fill succeeds"));
            assert_eq!(get(&store, "other").await, value);
            store.clear().await.expect("clear succeeds");
            if let Some(value) = &value {
                set(&store, "k", value.clone()).await;
            }
            let held = lease(&store, ask).await;
            assert!(!fill(&other, held, bytes(b"late")).await);
            assert_eq!(get(&other, "k").await, value);
            store.clear().await.expect("clear succeeds");
        }
    }
}

#[tokio::test]
async fn stamp_alone_identifies_an_entry() {
    let (one, two) = (b"\xC1\x21\x20stamp--1body", b"\xC1\x21\x20stamp--2body");
    for options in ALL {
        let store = common::fresh(options(), Clock::system()).await;
        set(&store, "k", bytes(one)).await;
        let held = lease(&store, ANY).await;
        set(&store, "k", bytes(two)).await;
        assert!(!fill(&store, held, bytes(b"late")).await, "another stamp");
        let held = lease(&store, ANY).await;
        assert!(fill(&store, held, bytes(one)).await);
        assert_eq!(get(&store, "k").await, Some(bytes(one)));
    }
}

#[tokio::test]
async fn entry_is_compared_as_a_whole_unless_it_has_a_stamp() {
    for options in ALL {
        let store = common::fresh(options(), Clock::system()).await;
        for (old, new) in
            [(bytes(b"5"), bytes(b"57")), (bytes(b"5"), Value::Int(5)), (bytes(b""), bytes(b" "))]
        {
            set(&store, "k", old).await;
            let held = lease(&store, ANY).await;
            set(&store, "k", new.clone()).await;
            assert!(!fill(&store, held, bytes(b"late")).await, "{new:?}");
            assert_eq!(get(&store, "k").await, Some(new));
        }
    }
}

#[tokio::test]
async fn too_large_fill_ends_the_lease() {
    let store = common::fresh(common::mysql(), Clock::system()).await;
    let held = lease(&store, Ask::Missing).await;
    let giant = Value::Bytes(vec![7; 40 << 20].into());
    let error = leases(&store).fill("k", held, giant, HOUR).await.expect_err("it is too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(acquire(&store, Ask::Missing).await.lease.is_some());
}

async fn server_that_dies_between_acquire_and_fill_stores_nothing_late(kind: Kind) {
    let mut server = Server::start(kind).unwrap_or_else(|error| panic!("{error}"));
    let options = DbOptions::new(server.url()).connect_timeout(Duration::from_millis(500));
    let store = common::fresh(options, Clock::system()).await;
    let held = lease(&store, Ask::Missing).await;
    server.kill().expect("the server is killed");
    let error = leases(&store).fill("k", held, bytes(b"late"), HOUR).await.expect_err("no server");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = leases(&store).acquire("other", ANY, HOLD).await.expect_err("no server");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    server.restart().expect("the server starts");
    assert_eq!(get(&store, "k").await, None);
    store.delete("k").await.expect("delete succeeds");
    let held = lease(&store, Ask::Missing).await;
    assert!(fill(&store, held, bytes(b"new")).await);
}

#[tokio::test]
async fn postgres_that_dies_between_acquire_and_fill_stores_nothing_late() {
    server_that_dies_between_acquire_and_fill_stores_nothing_late(Kind::Postgres).await;
}

#[tokio::test]
async fn mariadb_that_dies_between_acquire_and_fill_stores_nothing_late() {
    server_that_dies_between_acquire_and_fill_stores_nothing_late(Kind::Mariadb).await;
}
