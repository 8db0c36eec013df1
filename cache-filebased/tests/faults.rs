//! Full disks, missing permissions, removed directories, and damaged or unrelated files.

mod common;

use std::{
    error::Error as _,
    fs::{self, File},
    future::Future,
    io,
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use cache_core::{Cache, ErrorKind, Value};
use cache_filebased::{FileBasedCache, FileBasedOptions};
use common::{HOUR, age, bytes, chain, entries, files, store, temp_dir, temporary_files};

/// Returns the file of the only entry.
fn only_entry(directory: &Path) -> std::path::PathBuf {
    let entries = entries(directory);
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries[0].clone()
}

fn io_error_kind(error: &cache_core::Error) -> Option<io::ErrorKind> {
    Some(error.source()?.downcast_ref::<io::Error>()?.kind())
}

mod damaged_files {
    use super::*;

    /// Asserts that a damaged entry is a miss until it is overwritten.
    async fn assert_miss_after(damage: impl FnOnce(&Path)) {
        let directory = temp_dir();
        let store = store(directory.path());
        store.set("k", bytes(7, 1000), HOUR).await.expect("set succeeds");
        damage(&only_entry(directory.path()));
        assert_eq!(store.get("k").await.expect("not an error"), None);
        assert!(!store.contains("k").await.expect("not an error"));
        assert_eq!(store.ttl("k").await.expect("not an error"), None);
        assert!(!store.touch("k", HOUR).await.expect("not an error"));
        assert_eq!(store.incr("k", 1).await.expect("not an error"), None);
        assert_eq!(store.get_many(&["k"; 20]).await.expect("not an error"), vec![None; 20]);
        assert!(store.add("k", bytes(8, 10), HOUR).await.expect("not an error"));
        assert_eq!(store.get("k").await.expect("not an error"), Some(bytes(8, 10)));
    }

    fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut content = fs::read(file).expect("the file is readable");
        change(&mut content);
        fs::write(file, content).expect("the file is written");
    }

    #[tokio::test]
    async fn empty_file_is_a_miss() {
        assert_miss_after(|file| edit(file, Vec::clear)).await;
    }

    #[tokio::test]
    async fn truncated_file_is_a_miss() {
        assert_miss_after(|file| edit(file, |content| content.truncate(500))).await;
    }

    #[tokio::test]
    async fn file_with_a_changed_byte_is_a_miss() {
        assert_miss_after(|file| edit(file, |content| content[700] ^= 1)).await;
    }

    #[tokio::test]
    async fn file_of_another_version_is_a_miss() {
        assert_miss_after(|file| edit(file, |content| content[8] = 2)).await;
    }

    #[tokio::test]
    async fn file_of_another_format_is_a_miss() {
        assert_miss_after(|file| edit(file, |content| content.fill(b'x'))).await;
    }

    #[tokio::test]
    async fn file_with_a_huge_length_in_its_header_is_a_miss() {
        assert_miss_after(|file| edit(file, |content| content[24..31].fill(0x7F))).await;
    }

    #[tokio::test]
    async fn file_of_another_key_is_a_miss() {
        let other = temp_dir();
        store(other.path()).set("other", bytes(7, 1000), HOUR).await.expect("set succeeds");
        assert_miss_after(|file| assert!(fs::copy(only_entry(other.path()), file).is_ok())).await;
    }

    #[tokio::test]
    async fn large_damaged_file_is_a_miss() {
        let directory = temp_dir();
        let store = store(directory.path());
        store.set("k", bytes(7, 1 << 20), HOUR).await.expect("set succeeds");
        edit(&only_entry(directory.path()), |content| content[1 << 19] ^= 1);
        assert_eq!(store.get("k").await.expect("not an error"), None);
        assert!(!store.delete("k").await.expect("not an error"), "the entry was a miss");
        assert!(entries(directory.path()).is_empty());
    }

    #[tokio::test]
    async fn sweep_removes_damaged_files_but_keeps_other_versions() {
        let directory = temp_dir();
        let store = store(directory.path());
        store.set("k", bytes(7, 1000), HOUR).await.expect("set succeeds");
        let file = only_entry(directory.path());
        edit(&file, |content| content[8] = 2);
        assert_eq!(store.sweep().await.expect("sweep succeeds").entries, 1);
        edit(&file, |content| content.truncate(30));
        let report = store.sweep().await.expect("sweep succeeds");
        assert_eq!((report.entries, report.expired), (0, 1));
    }
}

mod metrics_of_misses {
    use super::*;
    use std::sync::{Arc, Mutex};

    use metrics::{
        Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    #[derive(Clone, Debug, Default)]
    struct Registered(Arc<Mutex<Vec<String>>>);

    impl CounterFn for Registered {
        fn increment(&self, _: u64) {}
        fn absolute(&self, _: u64) {}
    }

    impl Recorder for Registered {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels: Vec<String> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            self.0.lock().expect("no thread panics").push(format!(
                "{} {}",
                key.name(),
                labels.join(" ")
            ));
            Counter::noop()
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn miss_of_a_damaged_file_is_counted() {
        let (directory, registered) = (temp_dir(), Registered::default());
        let store = store(directory.path());
        without_a_runtime(store.set("k", bytes(7, 1000), HOUR)).expect("set succeeds");
        fs::write(only_entry(directory.path()), b"cachette").expect("the write succeeds");
        let value = metrics::with_local_recorder(&registered, || without_a_runtime(store.get("k")));
        assert_eq!(value.expect("not an error"), None);
        let counters = registered.0.lock().expect("no thread panics");
        assert_eq!(*counters, ["cachette_unusable_total store=filebased reason=truncated"]);
    }
}

/// Polls a future once. Without a tokio runtime, it never waits.
fn without_a_runtime<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}

#[test]
fn store_works_without_a_runtime() {
    let directory = temp_dir();
    let store = store(directory.path());
    without_a_runtime(store.set("k", Value::Int(1), HOUR)).expect("set succeeds");
    assert_eq!(without_a_runtime(store.incr("k", 1)).expect("incr succeeds"), Some(2));
    without_a_runtime(store.set("k", bytes(7, 1 << 20), HOUR)).expect("set succeeds");
    assert_eq!(without_a_runtime(store.get("k")).expect("get succeeds"), Some(bytes(7, 1 << 20)));
}

mod unrelated_files {
    use super::*;

    #[tokio::test]
    async fn clear_and_sweep_ignore_unrelated_files() {
        let directory = temp_dir();
        let store = store(directory.path());
        store.set("k", bytes(7, 10), HOUR).await.expect("set succeeds");
        let shard = only_entry(directory.path()).parent().expect("a shard").to_owned();
        let digits = "0123456789abcdef".repeat(4);
        let unrelated = [
            directory.path().join("notes.txt"),
            directory.path().join("0cc175b9c0f1b6a831c399e269772661.djcache"),
            directory.path().join(format!("{}.entry", &digits[2..])),
            directory.path().join("zz").join(format!("{}.entry", &digits[2..])),
            shard.join("notes.txt"),
            shard.join("short.entry"),
            shard.join(format!("{}.entry", digits[2..].to_uppercase())),
            shard.join(format!("{}.entry.bak", &digits[2..])),
            shard.join("new-file"),
        ];
        fs::create_dir(directory.path().join("zz")).expect("the write succeeds");
        for file in &unrelated {
            fs::write(file, b"unrelated").expect("the write succeeds");
            age(file, Duration::from_secs(1_000_000));
        }
        assert_eq!(store.sweep().await.expect("sweep succeeds").entries, 1);
        store.clear().await.expect("clear succeeds");
        let report = store.sweep().await.expect("sweep succeeds");
        assert_eq!((report.entries, report.temporary_files), (0, 0));
        for file in &unrelated {
            assert_eq!(
                fs::read(file).ok().as_deref(),
                Some(&b"unrelated"[..]),
                "{}",
                file.display()
            );
        }
    }

    #[tokio::test]
    async fn temporary_file_is_removed_after_a_minute() {
        let directory = temp_dir();
        let store = store(directory.path());
        store.set("k", bytes(7, 10), HOUR).await.expect("set succeeds");
        let new = only_entry(directory.path()).with_file_name(".new-12345678");
        fs::write(&new, b"cache").expect("the write succeeds");
        assert_eq!(store.sweep().await.expect("sweep succeeds").temporary_files, 0);
        age(&new, Duration::from_secs(61));
        assert_eq!(store.sweep().await.expect("sweep succeeds").temporary_files, 1);
        assert!(!new.exists());
    }
}

mod removed_directories {
    use super::*;

    #[tokio::test]
    async fn removed_directory_is_created_again() {
        let directory = temp_dir();
        let root = directory.path().join("a/b/c");
        let store = store(&root);
        for removed in [directory.path().join("a"), root.clone()] {
            store.set("k", Value::Int(1), HOUR).await.expect("set succeeds");
            // The background sweep may create its lock file while the directory is being removed.
            while removed.exists() {
                let _ = fs::remove_dir_all(&removed);
            }
            assert_eq!(store.get("k").await.expect("not an error"), None);
            assert_eq!(store.incr("k", 1).await.expect("not an error"), None);
            assert!(!store.delete("k").await.expect("not an error"));
            store.clear().await.expect("not an error");
            store.sweep().await.expect("not an error");
            assert!(store.add("k", Value::Int(2), HOUR).await.expect("add succeeds"));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn repeatedly_removed_directory_loses_entries_without_errors() {
        let directory = temp_dir();
        let root = directory.path().join("cache");
        let store = store(&root);
        let removing = thread::spawn(move || {
            for _ in 0..100 {
                let _ = fs::remove_dir_all(&root);
                thread::sleep(Duration::from_millis(3));
            }
        });
        while !removing.is_finished() {
            store.set("k", bytes(7, 100), HOUR).await.expect("set succeeds");
            let value = store.get("k").await.expect("get succeeds");
            assert!(value.is_none() || value == Some(bytes(7, 100)));
            store.touch("k", HOUR).await.expect("touch succeeds");
        }
    }
}

mod closing {
    use super::*;

    /// The first entry starts the thread that counts and culls.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn closed_store_leaves_its_directory_alone() {
        for _ in 0..1000 {
            let directory = temp_dir();
            let root = directory.path().join("cache");
            let store = store(&root);
            store.set("k", Value::Int(1), HOUR).await.expect("set succeeds");
            store.close().await.expect("close succeeds");
            fs::remove_dir_all(&root).expect("no file is created meanwhile");
            // A thread that is still at work would create its lock file again.
            fs::create_dir(&root).expect("the directory is created");
            fs::remove_dir(&root).expect("the directory is empty");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn closed_store_waits_for_writes_of_dropped_callers() {
        for round in 0..200 {
            let directory = temp_dir();
            let root = directory.path().join("cache");
            let store = std::sync::Arc::new(store(&root));
            store.set("k", bytes(7, 1 << 20), HOUR).await.expect("set succeeds");
            let dropped = tokio::spawn({
                let store = std::sync::Arc::clone(&store);
                async move { store.touch("k", HOUR).await }
            });
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            dropped.abort();
            // The future is dropped now, cancelled or complete.
            let _ = dropped.await;
            store.close().await.expect("close succeeds");
            fs::remove_dir_all(&root).expect("no file is created meanwhile");
        }
    }

    #[tokio::test]
    async fn closed_store_can_be_used_again() {
        let directory = temp_dir();
        let store = common::store_with_max_entries(directory.path(), 10);
        for round in 0..3 {
            store.close().await.expect("close succeeds");
            for number in 0..100 {
                let key = format!("{round} {number}");
                store.set(&key, Value::Int(1), HOUR).await.expect("set succeeds");
            }
        }
        store.close().await.expect("close succeeds");
        store.set("last", Value::Int(1), HOUR).await.expect("set succeeds");
        while entries(directory.path()).len() > 10 {
            store.set("another", Value::Int(1), HOUR).await.expect("set succeeds");
            store.delete("another").await.expect("delete succeeds");
        }
    }
}

mod cancellation_and_timeouts {
    use super::*;

    /// Holds the lock of the only entry's shard, as another process would.
    fn hold_lock(directory: &Path) -> File {
        let lock =
            File::open(only_entry(directory).with_file_name("lock")).expect("the file exists");
        lock.lock().expect("the lock is free");
        lock
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn set_cancelled_before_its_change_does_not_happen_later() {
        let directory = temp_dir();
        let store = std::sync::Arc::new(store(directory.path()));
        store.set("k", Value::Int(1), HOUR).await.expect("set succeeds");
        let lock = hold_lock(directory.path());
        let cancelled = tokio::spawn({
            let store = std::sync::Arc::clone(&store);
            async move { store.set("k", Value::Int(2), HOUR).await }
        });
        while temporary_files(directory.path()).is_empty() {
            tokio::task::yield_now().await;
        }
        cancelled.abort();
        assert!(cancelled.await.expect_err("cancelled").is_cancelled());
        drop(lock);
        while !temporary_files(directory.path()).is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(store.get("k").await.expect("get succeeds"), Some(Value::Int(1)));
        assert_eq!(store.incr("k", 5).await.expect("incr succeeds"), Some(6));
    }

    /// A delete reads the entry while holding the lock. If the entry is large, there is time to
    /// cancel the delete after its last check for cancellation.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn delete_cancelled_during_its_change_removes_no_later_entry() {
        let directory = temp_dir();
        let store = std::sync::Arc::new(store(directory.path()));
        let mut during = 0;
        while during < 5 {
            store.set("k", bytes(7, 16 << 20), HOUR).await.expect("set succeeds");
            let lock = File::open(only_entry(directory.path()).with_file_name("lock"))
                .expect("the file exists");
            let cancelled = tokio::spawn({
                let store = std::sync::Arc::clone(&store);
                async move { store.delete_many(&["k"]).await }
            });
            // On a busy processor, the delete may be complete before this task sees its lock.
            while !cancelled.is_finished() {
                if lock.try_lock().is_err() {
                    during += 1;
                    break;
                }
                lock.unlock().expect("the lock is held");
                tokio::task::yield_now().await;
            }
            cancelled.abort();
            // The future is dropped now, cancelled or complete.
            let _ = cancelled.await;
            let added = store.add("k", Value::Int(2), HOUR).await.expect("add succeeds");
            lock.lock().expect("the lock is released");
            lock.unlock().expect("the lock is held");
            let expected = if added { Value::Int(2) } else { bytes(7, 16 << 20) };
            assert!(
                store.get("k").await.expect("get succeeds") == Some(expected),
                "wrong value after add returned {added}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn lock_that_is_never_released_times_out_for_all_waiters() {
        const LOCK_TIMEOUT: Duration = Duration::from_millis(200);
        let directory = temp_dir();
        let options = FileBasedOptions::default().lock_timeout(LOCK_TIMEOUT);
        let store = std::sync::Arc::new(
            FileBasedCache::new(directory.path(), options).expect("valid options"),
        );
        store.set("k", Value::Int(1), HOUR).await.expect("set succeeds");
        let _lock = hold_lock(directory.path());
        let start = std::time::Instant::now();
        let waiting = (0..20).map(|_| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move { store.incr("k", 1).await.expect_err("the lock is held") })
        });
        for error in waiting.collect::<Vec<_>>() {
            let error = error.await.expect("the task does not panic");
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            let lock = only_entry(directory.path()).with_file_name("lock");
            assert!(error.to_string().contains(&*lock.to_string_lossy()), "{error}");
            assert!(error.to_string().contains("OPTIONS.lock_timeout"), "{error}");
        }
        let waited = start.elapsed();
        assert!(LOCK_TIMEOUT <= waited && waited < Duration::from_secs(60), "{waited:?}");
        assert_eq!(store.get("k").await.expect("readers do not wait"), Some(Value::Int(1)));
    }
}

/// Not a test: the entry point of the child processes of the tests below.
#[cfg(unix)]
#[tokio::test]
async fn child_process_runs_its_task() {
    let Some((task, directory)) = common::task() else { return };
    match &*task {
        "fill" => limits_of_the_system::fill(&directory).await,
        "grow" => limits_of_the_system::grow(&directory).await,
        "create" => limits_of_the_system::create(&directory).await,
        "sweep beside an unreadable directory" => {
            limits_of_the_system::sweep_beside_an_unreadable_directory(&directory).await;
        }
        "read a huge file" => limits_of_the_system::read_a_huge_file(&directory).await,
        "use" => limits_of_the_system::use_every_shard(&directory).await,
        "write without permission" => {
            limits_of_the_system::write_without_permission(&directory).await;
        }
        other => panic!("unknown task {other}"),
    }
}

#[cfg(unix)]
mod limits_of_the_system {
    use super::*;
    use std::{
        os::unix::{
            fs::{MetadataExt, PermissionsExt, chown},
            process::CommandExt,
        },
        path::PathBuf,
        process::Command,
    };

    use common::{child, run_child, shell_child, this_binary};
    use tempfile::TempDir;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("the file exists").permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .expect("the test owns the file");
    }

    /// Runs children as a user without special permissions, with a directory and a binary that this
    /// user can access. That is the current user unless the tests run as root.
    struct Unprivileged {
        parent: TempDir,
        directory: PathBuf,
        binary: PathBuf,
        is_root: bool,
    }

    const NOBODY: u32 = 65534;

    impl Unprivileged {
        fn new() -> Self {
            let parent = tempfile::tempdir().expect("a temporary directory");
            let (directory, binary) = (parent.path().join("cache"), parent.path().join("test"));
            fs::create_dir(&directory).expect("the directory is created");
            fs::copy(this_binary(), &binary).expect("the binary is copied");
            set_mode(&binary, 0o755);
            set_mode(parent.path(), 0o755);
            let is_root = fs::metadata(&directory).expect("the directory exists").uid() == 0;
            if is_root {
                chown(&directory, Some(NOBODY), Some(NOBODY)).expect("root has permission");
            }
            Self { parent, directory, binary, is_root }
        }

        fn command(&self, script: &str, task: &str, directory: &Path) -> Command {
            let mut command = shell_child(script, &self.binary, task, directory);
            command.current_dir(self.parent.path());
            if self.is_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        }
    }

    pub(super) async fn create(directory: &Path) {
        let store = store(directory);
        store.set("k", Value::Int(1), HOUR).await.expect("set succeeds");
        assert_eq!(store.incr("k", 1).await.expect("incr succeeds"), Some(2));
        let other = common::store(directory);
        for _ in 0..100 {
            // One of the two creates the lock file while the other one opens it.
            let _ = fs::remove_file(directory.join("sweep"));
            let (one, two) = tokio::join!(store.sweep(), other.sweep());
            assert_eq!(
                (one.expect("sweep succeeds").entries, two.expect("sweep succeeds").entries),
                (1, 1)
            );
        }
    }

    #[test]
    fn directories_are_0700_and_files_0600_regardless_of_the_umask() {
        for umask in ["0", "0777", "0277", "022"] {
            let user = Unprivileged::new();
            let root = user.directory.join("some/where");
            run_child(user.command(&format!("umask {umask}; exec \"$@\""), "create", &root));
            let file = only_entry(&root);
            for (path, expected) in [
                (&user.directory.join("some"), 0o700),
                (&root, 0o700),
                (&file.parent().expect("a shard").to_owned(), 0o700),
                (&file, 0o600),
                (&file.with_file_name("lock"), 0o600),
                (&root.join("sweep"), 0o600),
            ] {
                assert_eq!(mode(path), expected, "{} under umask {umask}", path.display());
            }
        }
    }

    #[tokio::test]
    async fn existing_directory_keeps_its_mode() {
        let directory = temp_dir();
        set_mode(directory.path(), 0o750);
        store(directory.path()).set("k", Value::Int(1), HOUR).await.expect("set succeeds");
        assert_eq!(mode(directory.path()), 0o750);
    }

    /// Some file systems refuse every change of a mode, and others have bits to keep.
    #[tokio::test]
    async fn mode_that_is_already_sufficient_is_not_changed() {
        let directory = temp_dir();
        set_mode(directory.path(), 0o2755);
        store(directory.path()).set("k", Value::Int(1), HOUR).await.expect("set succeeds");
        let shard = only_entry(directory.path()).parent().expect("a shard").to_owned();
        assert_eq!(mode(&shard), 0o2700, "the directory's group is inherited");
    }

    pub(super) async fn use_every_shard(directory: &Path) {
        let store = store(directory);
        for number in 0..1000 {
            store.set(&number.to_string(), Value::Int(1), HOUR).await.expect("set succeeds");
        }
        assert_eq!(store.sweep().await.expect("sweep succeeds").skipped, 0);
        store.clear().await.expect("clear succeeds");
    }

    #[tokio::test]
    #[allow(clippy::print_stderr, reason = "a skipped test must be visible")]
    async fn service_can_use_what_root_created() {
        let user = Unprivileged::new();
        if !user.is_root {
            eprintln!("SKIPPED: only root can create files for another user");
            return;
        }
        let root = user.directory.join("new");
        let as_root = store(&root);
        for number in 0..100 {
            let key = number.to_string();
            as_root.set(&key, Value::Int(1), HOUR).await.expect("set succeeds");
        }
        as_root.sweep().await.expect("sweep succeeds");
        for path in files(&root).iter().chain([&root, &root.join("sweep")]) {
            let owner = fs::metadata(path).expect("the file exists");
            assert_eq!((owner.uid(), owner.gid()), (NOBODY, NOBODY), "{}", path.display());
        }
        run_child(user.command("exec \"$@\"", "use", &root));
    }

    #[tokio::test]
    async fn check_leaves_nothing_behind() {
        let directory = temp_dir();
        let root = directory.path().join("a/b");
        store(&root).check().await.expect("check succeeds");
        assert!(!directory.path().join("a").exists());
        fs::create_dir_all(&root).expect("the directory is created");
        store(&root).check().await.expect("check succeeds");
        assert_eq!(fs::read_dir(&root).expect("the directory exists").count(), 0);
    }

    pub(super) async fn sweep_beside_an_unreadable_directory(directory: &Path) {
        let store = common::store_with_max_entries(directory, 100);
        for number in 0..100 {
            store.set(&number.to_string(), Value::Int(1), HOUR).await.expect("set succeeds");
        }
        let shard = entries(directory)[0].parent().expect("a shard").to_owned();
        let hidden = fs::read_dir(&shard).expect("the shard exists").count() - 1;
        store.close().await.expect("close succeeds");
        set_mode(&shard, 0);

        let error = store.check().await.expect_err("permission is missing");
        assert!(error.to_string().contains(&*shard.to_string_lossy()), "{error}");
        for number in 0..400 {
            // Keys of the unreadable shard cannot be stored.
            let _ = store.set(&format!("more {number}"), Value::Int(1), HOUR).await;
            let report = store.sweep().await.expect("the other shards are swept");
            // The background thread may have culled before.
            assert!(report.skipped > 0 && report.entries <= 100, "{report:?}");
        }
        let stats = store.stats().await.expect("the other shards are counted");
        assert!(stats.entries.is_some_and(|entries| entries > 50), "{stats:?}");
        assert_eq!(stats.details, [("skipped".to_owned(), "1".to_owned())]);
        assert_eq!(store.purge_expired(10).await.expect("the others are searched"), Some(0));

        let error = store.clear().await.expect_err("permission is missing");
        assert!(error.to_string().contains(&*shard.to_string_lossy()), "{error}");
        assert!(entries(directory).is_empty(), "the other shards are empty");
        set_mode(&shard, 0o700);
        assert_eq!(entries(directory).len(), hidden);
    }

    #[test]
    fn unreadable_directory_is_skipped() {
        let user = Unprivileged::new();
        let task = "sweep beside an unreadable directory";
        run_child(user.command("exec \"$@\"", task, &user.directory));
    }

    pub(super) async fn write_without_permission(directory: &Path) {
        let store = store(directory);
        store.set("k", Value::Int(1), HOUR).await.expect("set succeeds");
        let file = only_entry(directory);
        let shard = file.parent().expect("a shard");

        set_mode(shard, 0o500);
        let results = [
            store.set("k", Value::Int(2), HOUR).await,
            store.incr("k", 1).await.map(drop),
            store.touch("k", None).await.map(drop),
            store.delete("k").await.map(drop),
            store.clear().await,
        ];
        for error in results.map(|result| result.expect_err("permission is missing")) {
            assert_eq!(error.kind(), ErrorKind::Backend);
            let named = chain(&error).matches(&*shard.to_string_lossy()).count();
            assert_eq!(named, 1, "the path is named once: {}", chain(&error));
            assert!(error.to_string().contains(&*shard.to_string_lossy()), "{error}");
            assert_eq!(io_error_kind(&error), Some(io::ErrorKind::PermissionDenied), "{error:?}");
        }
        assert_eq!(store.get("k").await.expect("get succeeds"), Some(Value::Int(1)));
        assert!(temporary_files(directory).is_empty());
        set_mode(shard, 0o700);

        set_mode(&file, 0);
        let error = store.get("k").await.expect_err("permission is missing");
        assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
        assert_eq!(io_error_kind(&error), Some(io::ErrorKind::PermissionDenied), "{error:?}");
        store
            .set("k", Value::Int(2), HOUR)
            .await
            .expect("replacing a file needs no permission for it");
        assert_eq!(store.get("k").await.expect("get succeeds"), Some(Value::Int(2)));
    }

    #[test]
    fn read_only_directory_is_an_error_with_its_path_and_keeps_its_entries() {
        let user = Unprivileged::new();
        run_child(user.command("exec \"$@\"", "write without permission", &user.directory));
    }

    /// Fills a disk of half a mebibyte.
    pub(super) async fn fill(directory: &Path) {
        let store = store(directory);
        store.set("old", bytes(1, 10_000), HOUR).await.expect("the write succeeds");
        let mut number = 0;
        let error = loop {
            match store.set(&format!("more {number}"), bytes(2, 30_000), HOUR).await {
                Ok(()) => number += 1,
                Err(error) => break error,
            }
            assert!(number < 100, "the disk is not limited");
        };
        let message = chain(&error);
        cache_conformance::assert_storage_full(&error);
        assert!(error.to_string().contains(&*directory.to_string_lossy()), "{message}");
        assert_eq!(io_error_kind(&error), Some(io::ErrorKind::StorageFull), "{message}");

        store.set("old", bytes(3, 60_000), HOUR).await.expect_err("the disk is full");
        let many = [("more 0", bytes(2, 10)), ("new", bytes(2, 60_000)), ("more 1", bytes(2, 10))];
        assert_eq!(store.set_many(&many, HOUR).await.expect("some are stored"), [1]);
        let none = [("new", bytes(2, 90_000)), ("newer", bytes(2, 90_000))];
        let error = store.set_many(&none, HOUR).await.expect_err("none is stored");
        cache_conformance::assert_storage_full(&error);
        assert_eq!(
            store.get("old").await.expect("get succeeds"),
            Some(bytes(1, 10_000)),
            "the old entry"
        );
        assert!(temporary_files(directory).is_empty(), "no temporary file is left");
        assert_eq!(files(directory).len(), number + 1);

        assert!(store.delete("more 0").await.expect("delete succeeds"));
        assert!(store.delete("more 1").await.expect("delete succeeds"));
        store.set("old", bytes(3, 30_000), HOUR).await.expect("free space");
    }

    /// The mount is in a namespace of the child and ends with it.
    #[cfg(target_os = "linux")]
    #[test]
    #[allow(clippy::print_stderr, reason = "a skipped test must be visible")]
    fn full_disk_is_an_error_with_the_path_and_keeps_old_entries() {
        const SCRIPT: &str = "mount -t tmpfs -o size=512k,mode=0700 cachette \
            \"$CACHETTE_TEST_DIRECTORY\" && exec \"$@\"";
        let directory = temp_dir();
        let mount = ["--user", "--map-root-user", "--mount"];
        let can_mount = Command::new("unshare")
            .args(mount)
            .args(["sh", "-c", "mount -t tmpfs none /mnt"])
            .output();
        if !can_mount.is_ok_and(|tried| tried.status.success()) {
            eprintln!(
                "SKIPPED: tmpfs cannot be mounted in a user namespace; \
                 file_size_limit_is_an_error_… covers a failed write"
            );
            return;
        }
        let mut command = Command::new("unshare");
        command.args(mount).args(["sh", "-c", SCRIPT, "sh"]).arg(this_binary());
        run_child(child(command, "fill", directory.path()));
        assert!(files(directory.path()).is_empty(), "the child wrote to the mount");
    }

    /// Reads an entry whose file was replaced by one of 6 GiB, with 2 GiB of memory.
    pub(super) async fn read_a_huge_file(directory: &Path) {
        let store = store(directory);
        store.set("k", bytes(1, 100_000), HOUR).await.expect("set succeeds");
        let file = File::options().write(true).open(only_entry(directory));
        file.and_then(|file| file.set_len(6 << 30)).expect("the file is sparse");
        assert_eq!(store.get("k").await.expect("not an error"), None);
        assert!(!store.contains("k").await.expect("not an error"));
        assert!(!store.touch("k", HOUR).await.expect("not an error"));
    }

    #[test]
    fn huge_file_in_place_of_an_entry_takes_no_memory() {
        let directory = temp_dir();
        let script = "ulimit -v 2097152; exec \"$@\"";
        run_child(shell_child(script, &this_binary(), "read a huge file", directory.path()));
    }

    /// Exceeds a limit of 32 KiB for the size of a file.
    pub(super) async fn grow(directory: &Path) {
        let store = store(directory);
        store.set("k", bytes(1, 10_000), HOUR).await.expect("the value is below the limit");
        let error = store
            .set("k", bytes(2, 1 << 20), HOUR)
            .await
            .expect_err("the value is above the limit");
        assert!(error.to_string().contains(&*directory.to_string_lossy()), "{error}");
        assert_eq!(io_error_kind(&error), Some(io::ErrorKind::FileTooLarge), "{error:?}");
        assert!(!store.add("k", bytes(2, 1 << 20), HOUR).await.expect("the key exists"));
        store
            .add("other", bytes(2, 1 << 20), HOUR)
            .await
            .expect_err("the value is above the limit");
        assert_eq!(
            store.get("k").await.expect("get succeeds"),
            Some(bytes(1, 10_000)),
            "the old entry"
        );
        assert!(temporary_files(directory).is_empty(), "no temporary file is left");
        assert_eq!(files(directory).len(), 1);
    }

    #[test]
    fn file_size_limit_is_an_error_with_the_path_and_keeps_old_entries() {
        let directory = temp_dir();
        run_child(shell_child(
            "trap '' XFSZ; ulimit -f 64; exec \"$@\"",
            &this_binary(),
            "grow",
            directory.path(),
        ));
    }
}
