//! Several processes on one SQLite file, and limits of the system: full disks, read-only files and
//! file systems, owners.
#![cfg(all(feature = "sqlite", unix))]

mod common;

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use cache_core::{Cache, ErrorKind, Value};
use cache_db::{DbCache, DbOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use self::common::child::{self, FOLDER, binary, child, run};

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the runtime starts")
}

/// A folder on the disk of the build. The system's temporary folder may be in memory.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

fn options() -> DbOptions {
    DbOptions::new("sqlite:cache.db")
        .create_table(true)
        .max_entries(1_000_000)
        .busy_timeout(Duration::from_secs(20))
        .connect_timeout(Duration::from_secs(20))
        .statement_timeout(Duration::from_secs(20))
}

fn store(folder: &Path) -> DbCache {
    open(folder, options())
}

fn open(folder: &Path, options: DbOptions) -> DbCache {
    let clock = cache_core::Clock::system();
    DbCache::open("cache", options, Some(folder), clock).expect("valid options")
}

fn bytes(byte: u8, length: usize) -> Value {
    Value::Bytes(vec![byte; length].into())
}

async fn set(store: &DbCache, key: &str, value: Value) {
    store.set(key, value, HOUR).await.expect("set succeeds");
}

async fn get(store: &DbCache, key: &str) -> Option<Value> {
    store.get(key).await.expect("get succeeds")
}

/// Not a test: the entry point of the child processes of the tests below.
#[test]
fn child_process_runs_its_task() {
    let Some((task, folder)) = child::task() else { return };
    runtime().block_on(async {
        match task.as_str() {
            "count" => count(&folder).await,
            "write" => write_until_killed(&folder).await,
            "fill" => fill(&folder).await,
            "fill during a read" => fill_during_a_read(&folder).await,
            "read only" => read_only(&folder).await,
            "idle" => idle(&folder).await,
            "other mount" => other_mount(&folder).await,
            "made writable" => made_writable(&folder).await,
            "remounted" => remounted(&folder).await,
            "named like a URI" => named_like_a_uri().await,
            other => panic!("unknown task {other}"),
        }
    });
}

const PROCESSES: usize = 6;
const COUNTS: i64 = 200;

async fn count(folder: &Path) {
    let store = store(folder);
    for turn in 0..COUNTS {
        store.add("counter", Value::Int(0), HOUR).await.expect("add succeeds");
        store.incr("counter", 1).await.expect("incr succeeds").expect("the counter exists");
        set(&store, &format!("key {}", turn % 7), Value::Int(turn)).await;
        assert!(get(&store, &format!("key {}", turn % 7)).await.is_some());
    }
}

#[test]
fn concurrent_processes_lose_no_increment() {
    let folder = folder();
    let start = || {
        let command = child(Command::new(binary()), "count", folder.path());
        thread::spawn(move || run(command))
    };
    let running: Vec<_> = (0..PROCESSES).map(|_| start()).collect();
    running.into_iter().for_each(|process| process.join().expect("the child succeeds"));
    let counter = runtime().block_on(async { get(&store(folder.path()), "counter").await });
    assert_eq!(counter, Some(Value::Int(PROCESSES as i64 * COUNTS)));
}

const KILLS: u64 = 50;
/// Keeps the file open without using it, until the process is killed.
async fn idle(folder: &Path) {
    let store = store(folder);
    set(&store, "idle", Value::Int(1)).await;
    child::report_start();
    std::future::pending::<()>().await;
}

/// The files beside the database stay in use by the idle process.
fn file_open_in_an_idle_process_can_be(changed: impl Fn(&Path)) {
    let folder = folder();
    let store = store(folder.path());
    let idle = start("idle", folder.path());
    let file = folder.path().join("cache.db");
    runtime().block_on(async {
        set(&store, "k", Value::Int(1)).await;
        changed(&file);
        // The store compares the path with its open file once per second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        for number in 0..100 {
            set(&store, &format!("key {number}"), Value::Int(number)).await;
            let found = get(&store, &format!("key {number}")).await;
            assert_eq!(found, Some(Value::Int(number)));
        }
        assert_eq!(get(&store, "k").await, None);
    });
    let connection = rusqlite::Connection::open(&file).expect("the file is a database");
    let check =
        connection.pragma_query_value(None, "integrity_check", |row| row.get::<_, String>(0));
    assert_eq!(check.expect("the check runs"), "ok");
    idle.kill();
}

#[test]
fn file_that_is_open_in_an_idle_process_can_be_deleted() {
    file_open_in_an_idle_process_can_be(|file| fs::remove_file(file).expect("the file exists"));
}

#[test]
fn file_that_is_open_in_an_idle_process_can_be_replaced() {
    file_open_in_an_idle_process_can_be(|file| {
        let new = file.with_file_name("new.db");
        let connection = rusqlite::Connection::open(&new).expect("the file is created");
        connection.execute_batch("CREATE TABLE other (number)").expect("the table is created");
        drop(connection);
        fs::rename(new, file).expect("the file is replaced");
    });
}

const LARGE: usize = 50_000;

async fn write_until_killed(folder: &Path) {
    let store = store(folder);
    child::report_start();
    for number in (0..=u8::MAX).cycle() {
        set(&store, "large", bytes(number, LARGE)).await;
        store.incr("counter", 1).await.expect("incr succeeds");
    }
}

/// Starts a child and waits until it reports that it has started.
fn start(task: &str, folder: &Path) -> child::Started {
    child::start(child(Command::new(binary()), task, folder))
}

#[test]
fn killed_writer_leaves_a_usable_file_with_whole_values() {
    let (folder, runtime) = (folder(), runtime());
    let store = store(folder.path());
    runtime.block_on(set(&store, "counter", Value::Int(0)));
    runtime.block_on(set(&store, "large", bytes(0, LARGE)));
    let mut last = 0;
    for number in 0..KILLS {
        let writer = start("write", folder.path());
        thread::sleep(Duration::from_micros(number * 211 % 9000));
        writer.kill();
        runtime.block_on(async {
            let Some(Value::Bytes(large)) = get(&store, "large").await else { panic!("missing") };
            let is_whole = large.len() == LARGE && large.iter().all(|byte| *byte == large[0]);
            assert!(is_whole, "a partial value after {number} kills");
            let count = store.incr("counter", 1).await.expect("no lock is held").expect("present");
            assert!(count > last, "the counter went from {last} back to {count}");
            last = count;
        });
    }
    let check = rusqlite::Connection::open(folder.path().join("cache.db")).expect("it opens");
    let result: String =
        check.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("the check runs");
    assert_eq!(result, "ok");
}

/// Stores entries until that fails.
async fn set_until_full(store: &DbCache) -> cache_core::Error {
    for number in 0..10_000 {
        if let Err(error) = store.set(&format!("key {number}"), bytes(1, 10_000), HOUR).await {
            cache_conformance::assert_storage_full(&error);
            return error;
        }
    }
    panic!("the disk is not limited");
}

/// Fills a disk of 16 mebibytes.
async fn fill(folder: &Path) {
    let store = store(folder);
    let error = set_until_full(&store).await;
    assert!(error.to_string().contains("cache.db"), "{error}");
    let entries = [("more", bytes(1, 10_000)), ("again", bytes(1, 10_000))];
    let error = store.set_many(&entries, HOUR).await.expect_err("none is stored");
    cache_conformance::assert_storage_full(&error);
    // Another program takes what is left.
    let mut ballast = fs::File::create(folder.join("ballast")).expect("the file is created");
    while std::io::Write::write_all(&mut ballast, &[1; 512]).is_ok() {}

    assert_eq!(get(&store, "key 0").await, Some(bytes(1, 10_000)));
    for key in 0..5 {
        assert!(store.delete(&format!("key {key}")).await.expect("delete succeeds"));
    }
    let before = fs::metadata(folder.join("cache.db")).expect("the file exists").len();
    store.clear().await.expect("clear succeeds");
    assert_eq!(store.entries().await.expect("entries succeeds"), 0);
    for attempt in 0.. {
        let after = fs::metadata(folder.join("cache.db")).expect("the file exists").len();
        let stored = store.set("again", bytes(2, 10_000), HOUR).await;
        // Fewer than 256 free pages stay in the file.
        if after < before && after <= 300 * 4096 && stored.is_ok() {
            break;
        }
        assert!(attempt < 1200, "no space was given back: {after} of {before} bytes, {stored:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(get(&store, "again").await, Some(bytes(2, 10_000)));
}

/// Runs a child in a mount namespace of its own, after `script`.
#[cfg(target_os = "linux")]
#[allow(clippy::print_stderr, reason = "a skipped test must be visible")]
fn run_with_mounts(script: &str, task: &str, folder: &Path) {
    let mount = ["--user", "--map-root-user", "--mount"];
    let mut probe = Command::new("unshare");
    let can_mount = probe.args(mount).args(["sh", "-c", "mount -t tmpfs none /mnt"]).output();
    if !can_mount.is_ok_and(|tried| tried.status.success()) {
        eprintln!("SKIPPED: file systems cannot be mounted in a user namespace");
        return;
    }
    let mut command = Command::new("unshare");
    let script = format!("{script} && exec \"$@\"");
    command.args(mount).args(["sh", "-c", &script, "sh"]).arg(binary());
    run(child(command, task, folder));
}

#[cfg(target_os = "linux")]
#[test]
fn removals_work_on_a_full_disk_and_clear_gives_space_back() {
    let folder = folder();
    let mount = format!("mount -t tmpfs -o size=16m cachette \"${FOLDER}\"");
    run_with_mounts(&mount, "fill", folder.path());
    assert!(!folder.path().join("cache.db").exists(), "the child wrote to the mount");
}

/// Fills a disk of 16 mebibytes while a read keeps the WAL from being moved into the file.
async fn fill_during_a_read(folder: &Path) {
    // The write that finds the disk full has waited for the read.
    let store = open(folder, options().busy_timeout(Duration::from_millis(100)));
    set(&store, "k", Value::Int(1)).await;
    let reader = rusqlite::Connection::open(folder.join("cache.db")).expect("the file exists");
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM sqlite_schema").expect("the read begins");
    set_until_full(&store).await;
    reader.execute_batch("COMMIT").expect("the read ends");
    for attempt in 0.. {
        match store.set("k", Value::Int(2), HOUR).await {
            Ok(()) => break,
            Err(error) => cache_conformance::assert_storage_full(&error),
        }
        assert!(attempt < 1200, "the WAL was not moved into the file");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(get(&store, "key 0").await, Some(bytes(1, 10_000)));
}

#[cfg(target_os = "linux")]
#[test]
fn wal_leaves_room_for_a_checkpoint_on_a_full_disk() {
    let folder = folder();
    let mount = format!("mount -t tmpfs -o size=16m cachette \"${FOLDER}\"");
    run_with_mounts(&mount, "fill during a read", folder.path());
    assert!(!folder.path().join("cache.db").exists(), "the child wrote to the mount");
}

async fn read_only(folder: &Path) {
    let store = store(folder);
    assert_eq!(get(&store, "k").await, Some(Value::Int(1)));
    let results = [
        store.set("k", Value::Int(2), HOUR).await,
        store.delete("k").await.map(drop),
        store.clear().await,
    ];
    for error in results.map(|result| result.expect_err("the file is read-only")) {
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Backend, false), "{error}");
        let message = error.to_string();
        assert!(message.contains("cache.db") && message.contains("read-only"), "{message}");
    }
    assert_eq!(get(&store, "k").await, Some(Value::Int(1)));
}

fn create(folder: &Path) {
    runtime().block_on(async {
        let store = store(folder);
        set(&store, "k", Value::Int(1)).await;
        store.close().await.expect("close succeeds");
    });
}

#[cfg(target_os = "linux")]
#[test]
fn file_in_a_read_only_file_system_is_a_read_only_cache() {
    let folder = folder();
    create(folder.path());
    let mount = format!("mount --bind \"${FOLDER}\" \"${FOLDER}\"");
    let script = format!("{mount} && mount -o remount,ro,bind \"${FOLDER}\"");
    run_with_mounts(&script, "read only", folder.path());
}

async fn write_to_read_only(store: &DbCache) {
    let error = store.set("k", Value::Int(2), HOUR).await.expect_err("the file is read-only");
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
}

/// Waits until the store looks at its file again, and writes.
async fn write_after_the_next_check(store: &DbCache) {
    tokio::time::sleep(Duration::from_millis(1100)).await;
    set(store, "k", Value::Int(2)).await;
    assert_eq!(get(store, "k").await, Some(Value::Int(2)));
}

async fn remounted(folder: &Path) {
    let store = store(folder);
    assert_eq!(get(&store, "k").await, Some(Value::Int(1)));
    write_to_read_only(&store).await;
    let mut mount = Command::new("mount");
    let status = mount.args(["-o", "remount,rw,bind"]).arg(folder).status();
    assert!(status.expect("mount starts").success(), "the file system is mounted again");
    write_after_the_next_check(&store).await;
}

#[cfg(target_os = "linux")]
#[test]
fn file_system_that_becomes_writable_is_noticed() {
    let folder = folder();
    create(folder.path());
    let mount = format!("mount --bind \"${FOLDER}\" \"${FOLDER}\"");
    let script = format!("{mount} && mount -o remount,ro,bind \"${FOLDER}\"");
    run_with_mounts(&script, "remounted", folder.path());
}

/// A mount that is read-only does not mean that nobody writes to the file.
async fn other_mount(folder: &Path) {
    let (writer, reader) = (store(folder), store(&folder.join("mount")));
    for number in 1..=3 {
        assert_eq!(get(&reader, "k").await, Some(Value::Int(number)));
        set(&writer, "k", Value::Int(number + 1)).await;
        assert_eq!(get(&reader, "k").await, Some(Value::Int(number + 1)));
        writer.close().await.expect("close succeeds");
    }
    assert!(writer.delete("k").await.expect("delete succeeds"));
    assert_eq!(get(&reader, "k").await, None);
}

#[cfg(target_os = "linux")]
#[test]
fn read_only_mount_sees_what_is_written_through_another() {
    let folder = folder();
    create(folder.path());
    let (source, mount) = (format!("\"${FOLDER}\""), format!("\"${FOLDER}\"/mount"));
    let script = format!(
        "mkdir {mount} && mount --bind {source} {mount} && mount -o remount,ro,bind {mount}"
    );
    run_with_mounts(&script, "other mount", folder.path());
}

const NOBODY: u32 = 65534;

/// Runs a child with a file that it cannot write to, as another user if this one is root.
fn run_with_read_only_file(task: &str, prepare: impl Fn(&Path)) {
    // Other users can access the folder, and run the copy of the binary.
    let folder = tempfile::tempdir().expect("a temporary folder");
    create(folder.path());
    let (file, program) = (folder.path().join("cache.db"), folder.path().join("program"));
    fs::copy(binary(), &program).expect("the binary is copied");
    set_mode(&program, 0o755);
    set_mode(&file, 0o444);
    set_mode(folder.path(), 0o777);
    prepare(&file);
    let mut command = Command::new(&program);
    command.current_dir("/");
    if is_root(&program) {
        // Root may write to it.
        command.uid(NOBODY).gid(NOBODY);
    }
    run(child(command, task, folder.path()));
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the process owns it");
}

/// Whether this process runs as root, to which a new file belongs.
fn is_root(new: &Path) -> bool {
    fs::metadata(new).expect("the file exists").uid() == 0
}

#[test]
fn read_only_file_is_a_read_only_cache() {
    run_with_read_only_file("read only", |_| {});
}

async fn made_writable(folder: &Path) {
    let store = store(folder);
    assert_eq!(get(&store, "k").await, Some(Value::Int(1)));
    write_to_read_only(&store).await;
    set_mode(&folder.join("cache.db"), 0o644);
    write_after_the_next_check(&store).await;
}

#[test]
fn file_that_becomes_writable_is_noticed() {
    run_with_read_only_file("made writable", |file| {
        if is_root(file) {
            chown(file, Some(NOBODY), Some(NOBODY)).expect("root has permission");
        }
    });
}

async fn named_like_a_uri() {
    let open = || {
        let options = DbOptions::new("sqlite:file:x.db?mode=memory").create_table(true);
        DbCache::new("cache", options).expect("valid options")
    };
    let (store, observer) = (open(), open());
    set(&store, "k", Value::Int(1)).await;
    assert_eq!(get(&observer, "k").await, Some(Value::Int(1)));
}

#[test]
fn path_that_looks_like_a_uri_is_a_path() {
    let folder = folder();
    let mut command = Command::new(binary());
    command.current_dir(folder.path());
    run(child(command, "named like a URI", folder.path()));
    assert!(folder.path().join("file:x.db?mode=memory").exists());
}

#[test]
fn files_that_root_creates_belong_to_the_owner_of_their_folder() {
    let folder = folder();
    if fs::metadata(folder.path()).expect("the folder exists").uid() != 0 {
        return;
    }
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root has permission");
    let inner = folder.path().join("inner");
    runtime().block_on(async {
        let store = store(&inner);
        set(&store, "k", Value::Int(1)).await;
        for name in ["cache.db", "cache.db-wal", "cache.db-shm", "."] {
            let file = fs::metadata(inner.join(name)).expect("the file exists");
            assert_eq!((file.uid(), file.gid()), (NOBODY, NOBODY), "{name}");
        }
    });
}

#[test]
fn cleared_file_gives_space_back_unless_it_holds_other_tables() {
    for has_others in [false, true] {
        let folder = folder();
        let file = folder.path().join("cache.db");
        runtime().block_on(async {
            let store = store(folder.path());
            for number in 0..2000 {
                set(&store, &number.to_string(), bytes(1, 4000)).await;
            }
            store.close().await.expect("close succeeds");
            if has_others {
                let other = rusqlite::Connection::open(&file).expect("it opens");
                other.execute_batch("CREATE TABLE orders (id INTEGER)").expect("valid SQL");
            }
            let before = fs::metadata(&file).expect("the file exists").len();
            store.clear().await.expect("clear succeeds");
            store.close().await.expect("close succeeds");
            let after = fs::metadata(&file).expect("the file exists").len();
            assert_eq!(after == before, has_others, "{before} bytes, then {after}");
            assert!(has_others || after < before / 4, "{before} bytes, then {after}");
        });
    }
}
