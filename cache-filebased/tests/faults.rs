//! Disks that are full, folders that are closed or vanish, files that are broken or somebody else's.

mod common;

use std::{
    fs::{self, File},
    future::Future,
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use cache_core::{Cache, ErrorKind, Value};
use cache_filebased::{FileBasedCache, FileBasedOptions};
use common::{HOUR, age, bytes, entries, files, folder, store, temporary_files};

/// The one entry's file.
fn the_file(folder: &Path) -> std::path::PathBuf {
    let entries = entries(folder);
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries[0].clone()
}

mod broken_files {
    use super::*;

    /// Stores an entry, has its file spoiled, and expects a miss that a set mends.
    async fn is_a_miss_once(spoil: impl FnOnce(&Path)) {
        let folder = folder();
        let store = store(folder.path());
        store.set("k", bytes(7, 1000), HOUR).await.expect("it sets");
        spoil(&the_file(folder.path()));
        assert_eq!(store.get("k").await.expect("no error"), None);
        assert!(!store.contains("k").await.expect("no error"));
        assert_eq!(store.ttl("k").await.expect("no error"), None);
        assert!(!store.touch("k", HOUR).await.expect("no error"));
        assert_eq!(store.incr("k", 1).await.expect("no error"), None);
        assert_eq!(store.get_many(&["k"; 20]).await.expect("no error"), vec![None; 20]);
        assert!(store.add("k", bytes(8, 10), HOUR).await.expect("no error"));
        assert_eq!(store.get("k").await.expect("no error"), Some(bytes(8, 10)));
    }

    fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut content = fs::read(file).expect("it is there");
        change(&mut content);
        fs::write(file, content).expect("there is room");
    }

    #[tokio::test]
    async fn an_empty_file_is_a_miss() {
        is_a_miss_once(|file| edit(file, Vec::clear)).await;
    }

    #[tokio::test]
    async fn a_truncated_file_is_a_miss() {
        is_a_miss_once(|file| edit(file, |content| content.truncate(500))).await;
    }

    #[tokio::test]
    async fn a_file_with_another_byte_is_a_miss() {
        is_a_miss_once(|file| edit(file, |content| content[700] ^= 1)).await;
    }

    #[tokio::test]
    async fn a_file_of_another_version_is_a_miss() {
        is_a_miss_once(|file| edit(file, |content| content[8] = 2)).await;
    }

    #[tokio::test]
    async fn a_file_of_something_else_is_a_miss() {
        is_a_miss_once(|file| edit(file, |content| content.fill(b'x'))).await;
    }

    #[tokio::test]
    async fn a_file_that_pretends_to_be_huge_is_a_miss() {
        is_a_miss_once(|file| edit(file, |content| content[24..31].fill(0x7F))).await;
    }

    #[tokio::test]
    async fn the_file_of_another_key_is_a_miss() {
        let other = folder();
        store(other.path()).set("other", bytes(7, 1000), HOUR).await.expect("it sets");
        is_a_miss_once(|file| assert!(fs::copy(the_file(other.path()), file).is_ok())).await;
    }

    #[tokio::test]
    async fn a_large_broken_file_is_a_miss() {
        let folder = folder();
        let store = store(folder.path());
        store.set("k", bytes(7, 1 << 20), HOUR).await.expect("it sets");
        edit(&the_file(folder.path()), |content| content[1 << 19] ^= 1);
        assert_eq!(store.get("k").await.expect("no error"), None);
        assert!(!store.delete("k").await.expect("no error"), "there was nothing to get");
        assert!(entries(folder.path()).is_empty());
    }

    #[tokio::test]
    async fn broken_files_are_swept_away_but_not_those_of_another_version() {
        let folder = folder();
        let store = store(folder.path());
        store.set("k", bytes(7, 1000), HOUR).await.expect("it sets");
        let file = the_file(folder.path());
        edit(&file, |content| content[8] = 2);
        assert_eq!(store.sweep().await.expect("it sweeps").entries, 1);
        edit(&file, |content| content.truncate(30));
        let swept = store.sweep().await.expect("it sweeps");
        assert_eq!((swept.entries, swept.expired), (0, 1));
    }
}

mod telling {
    use super::*;
    use std::sync::{Arc, Mutex};

    use metrics::{
        Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    #[derive(Clone, Debug, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl CounterFn for Seen {
        fn increment(&self, _: u64) {}
        fn absolute(&self, _: u64) {}
    }

    impl Recorder for Seen {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels: Vec<String> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            self.0.lock().expect("nobody panics").push(format!(
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
    fn a_miss_of_a_broken_file_is_counted() {
        let (folder, seen) = (folder(), Seen::default());
        let store = store(folder.path());
        without_a_runtime(store.set("k", bytes(7, 1000), HOUR)).expect("it sets");
        fs::write(the_file(folder.path()), b"cachette").expect("there is room");
        let value = metrics::with_local_recorder(&seen, || without_a_runtime(store.get("k")));
        assert_eq!(value.expect("no error"), None);
        let seen = seen.0.lock().expect("nobody panics");
        assert_eq!(*seen, ["cachette_unusable_total store=filebased reason=truncated"]);
    }
}

/// Where there is no tokio, nothing is awaited that is not ready.
fn without_a_runtime<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it waits for something"),
    }
}

#[test]
fn it_works_without_a_runtime() {
    let folder = folder();
    let store = store(folder.path());
    without_a_runtime(store.set("k", Value::Int(1), HOUR)).expect("it sets");
    assert_eq!(without_a_runtime(store.incr("k", 1)).expect("it counts"), Some(2));
    without_a_runtime(store.set("k", bytes(7, 1 << 20), HOUR)).expect("it sets");
    assert_eq!(without_a_runtime(store.get("k")).expect("it reads"), Some(bytes(7, 1 << 20)));
}

mod files_of_others {
    use super::*;

    #[tokio::test]
    async fn neither_clear_nor_sweep_touches_or_counts_them() {
        let folder = folder();
        let store = store(folder.path());
        store.set("k", bytes(7, 10), HOUR).await.expect("it sets");
        let shard = the_file(folder.path()).parent().expect("a shard").to_owned();
        let digits = "0123456789abcdef".repeat(4);
        let theirs = [
            folder.path().join("notes.txt"),
            folder.path().join("0cc175b9c0f1b6a831c399e269772661.djcache"),
            folder.path().join(format!("{}.entry", &digits[2..])),
            folder.path().join("zz").join(format!("{}.entry", &digits[2..])),
            shard.join("notes.txt"),
            shard.join("short.entry"),
            shard.join(format!("{}.entry", digits[2..].to_uppercase())),
            shard.join(format!("{}.entry.bak", &digits[2..])),
            shard.join("new-file"),
        ];
        fs::create_dir(folder.path().join("zz")).expect("there is room");
        for file in &theirs {
            fs::write(file, b"theirs").expect("there is room");
            age(file, Duration::from_secs(1_000_000));
        }
        assert_eq!(store.sweep().await.expect("it sweeps").entries, 1);
        store.clear().await.expect("it clears");
        let swept = store.sweep().await.expect("it sweeps");
        assert_eq!((swept.entries, swept.left_over), (0, 0));
        for file in &theirs {
            assert_eq!(fs::read(file).ok().as_deref(), Some(&b"theirs"[..]), "{}", file.display());
        }
    }

    #[tokio::test]
    async fn a_temporary_file_that_is_being_written_stays_until_it_is_a_minute_old() {
        let folder = folder();
        let store = store(folder.path());
        store.set("k", bytes(7, 10), HOUR).await.expect("it sets");
        let new = the_file(folder.path()).with_file_name(".new-12345678");
        fs::write(&new, b"cache").expect("there is room");
        assert_eq!(store.sweep().await.expect("it sweeps").left_over, 0);
        age(&new, Duration::from_secs(61));
        assert_eq!(store.sweep().await.expect("it sweeps").left_over, 1);
        assert!(!new.exists());
    }
}

mod vanishing {
    use super::*;

    #[tokio::test]
    async fn a_folder_that_vanishes_is_made_again() {
        let folder = folder();
        let root = folder.path().join("a/b/c");
        let store = store(&root);
        for vanishing in [folder.path().join("a"), root.clone()] {
            store.set("k", Value::Int(1), HOUR).await.expect("it sets");
            // The sweep after the first entry may be at work: then a file comes back while its folder is emptied.
            while vanishing.exists() {
                let _ = fs::remove_dir_all(&vanishing);
            }
            assert_eq!(store.get("k").await.expect("no error"), None);
            assert_eq!(store.incr("k", 1).await.expect("no error"), None);
            assert!(!store.delete("k").await.expect("no error"));
            store.clear().await.expect("no error");
            store.sweep().await.expect("no error");
            assert!(store.add("k", Value::Int(2), HOUR).await.expect("it adds"));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_folder_that_vanishes_all_the_time_loses_entries_and_nothing_else() {
        let folder = folder();
        let root = folder.path().join("cache");
        let store = store(&root);
        let removing = thread::spawn(move || {
            for _ in 0..100 {
                let _ = fs::remove_dir_all(&root);
                thread::sleep(Duration::from_millis(3));
            }
        });
        while !removing.is_finished() {
            store.set("k", bytes(7, 100), HOUR).await.expect("it sets");
            let value = store.get("k").await.expect("it reads");
            assert!(value.is_none() || value == Some(bytes(7, 100)));
            store.touch("k", HOUR).await.expect("it touches");
        }
    }
}

mod giving_up {
    use super::*;

    /// As another process would.
    fn hold_the_lock(folder: &Path) -> File {
        let lock = File::open(the_file(folder).with_file_name("lock")).expect("it is there");
        lock.lock().expect("nobody holds it");
        lock
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_set_that_is_given_up_before_it_happened_does_not_happen_later() {
        let folder = folder();
        let store = std::sync::Arc::new(store(folder.path()));
        store.set("k", Value::Int(1), HOUR).await.expect("it sets");
        let lock = hold_the_lock(folder.path());
        let late = tokio::spawn({
            let store = std::sync::Arc::clone(&store);
            async move { store.set("k", Value::Int(2), HOUR).await }
        });
        while temporary_files(folder.path()).is_empty() {
            tokio::task::yield_now().await;
        }
        late.abort();
        assert!(late.await.expect_err("it was given up").is_cancelled());
        drop(lock);
        while !temporary_files(folder.path()).is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(store.get("k").await.expect("it reads"), Some(Value::Int(1)));
        assert_eq!(store.incr("k", 5).await.expect("it counts"), Some(6));
    }

    /// Under the lock a delete reads the entry: of a large one, there is time to give it up when it is past its last look at
    /// its caller.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_delete_that_is_given_up_while_it_happens_takes_nothing_that_was_found_after() {
        let folder = folder();
        let store = std::sync::Arc::new(store(folder.path()));
        for _ in 0..5 {
            store.set("k", bytes(7, 16 << 20), HOUR).await.expect("it sets");
            let lock =
                File::open(the_file(folder.path()).with_file_name("lock")).expect("it is there");
            let late = tokio::spawn({
                let store = std::sync::Arc::clone(&store);
                async move { store.delete_many(&["k"]).await }
            });
            while lock.try_lock().is_ok() {
                lock.unlock().expect("it is held");
                tokio::task::yield_now().await;
            }
            late.abort();
            // Cancelled or done, it is dropped by now.
            let _ = late.await;
            let added = store.add("k", Value::Int(2), HOUR).await.expect("it adds");
            lock.lock().expect("it is released");
            lock.unlock().expect("it is held");
            let expected = if added { Value::Int(2) } else { bytes(7, 16 << 20) };
            assert!(
                store.get("k").await.expect("it reads") == Some(expected),
                "gone after add said {added}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_lock_that_is_never_released_is_an_error_for_all_who_wait_when_their_patience_ends() {
        const PATIENCE: Duration = Duration::from_millis(200);
        let folder = folder();
        let options = FileBasedOptions::default().lock_timeout(PATIENCE);
        let store = std::sync::Arc::new(
            FileBasedCache::new(folder.path(), options).expect("the options are fine"),
        );
        store.set("k", Value::Int(1), HOUR).await.expect("it sets");
        let _lock = hold_the_lock(folder.path());
        let start = std::time::Instant::now();
        let waiting = (0..20).map(|_| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move { store.incr("k", 1).await.expect_err("the lock is held") })
        });
        for error in waiting.collect::<Vec<_>>() {
            let error = error.await.expect("it does not panic");
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(
                error.to_string().contains("lock: another process has held this lock"),
                "{error}"
            );
        }
        let waited = start.elapsed();
        assert!(PATIENCE <= waited && waited < Duration::from_secs(8), "{waited:?}");
        assert_eq!(store.get("k").await.expect("readers do not wait"), Some(Value::Int(1)));
    }
}

/// Not a test of its own, but what the tests below have other processes do.
#[cfg(unix)]
#[tokio::test]
async fn a_child_does_its_task() {
    let Some((task, folder)) = common::task() else { return };
    match &*task {
        "fill" => by_the_system::fill(&folder).await,
        "grow" => by_the_system::grow(&folder).await,
        "make" => by_the_system::make(&folder).await,
        "write where it may not" => by_the_system::write_where_it_may_not(&folder).await,
        other => panic!("no task {other}"),
    }
}

#[cfg(unix)]
mod by_the_system {
    use super::*;
    use std::{
        os::unix::{
            fs::{MetadataExt, PermissionsExt, chown},
            process::CommandExt,
        },
        path::PathBuf,
        process::Command,
    };

    use common::{child, shell_child, succeeds, this_binary};
    use tempfile::TempDir;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    /// A child that runs as somebody whom modes bind, with a folder and a binary that are open to them. Where the tests do not
    /// run as root, that is who they run as.
    struct Unprivileged {
        within: TempDir,
        folder: PathBuf,
        binary: PathBuf,
        is_root: bool,
    }

    const NOBODY: u32 = 65534;

    impl Unprivileged {
        fn new() -> Self {
            let within = tempfile::tempdir().expect("there is room");
            let (folder, binary) = (within.path().join("cache"), within.path().join("test"));
            fs::create_dir(&folder).expect("there is room");
            fs::copy(this_binary(), &binary).expect("there is room");
            set_mode(&binary, 0o755);
            set_mode(within.path(), 0o755);
            let is_root = fs::metadata(&folder).expect("it is there").uid() == 0;
            if is_root {
                chown(&folder, Some(NOBODY), Some(NOBODY)).expect("root may");
            }
            Self { within, folder, binary, is_root }
        }

        fn command(&self, line: &str, task: &str, folder: &Path) -> Command {
            let mut command = shell_child(line, &self.binary, task, folder);
            command.current_dir(self.within.path());
            if self.is_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        }
    }

    pub(super) async fn make(folder: &Path) {
        let store = store(folder);
        store.set("k", Value::Int(1), HOUR).await.expect("it sets");
        assert_eq!(store.incr("k", 1).await.expect("it counts"), Some(2));
        let other = common::store(folder);
        for _ in 0..100 {
            // Whoever comes first makes the lock anew, and the other one may meet it half made.
            let _ = fs::remove_file(folder.join("sweep"));
            let (one, two) = tokio::join!(store.sweep(), other.sweep());
            assert_eq!((one.expect("it sweeps").entries, two.expect("it sweeps").entries), (1, 1));
        }
    }

    #[test]
    fn folders_are_0700_and_files_0600_whatever_the_umask() {
        for umask in ["0", "0777", "0277", "022"] {
            let nobody = Unprivileged::new();
            let root = nobody.folder.join("some/where");
            succeeds(nobody.command(&format!("umask {umask}; exec \"$@\""), "make", &root));
            let file = the_file(&root);
            for (path, expected) in [
                (&nobody.folder.join("some"), 0o700),
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
    async fn a_folder_that_exists_keeps_its_mode() {
        let folder = folder();
        set_mode(folder.path(), 0o750);
        store(folder.path()).set("k", Value::Int(1), HOUR).await.expect("it sets");
        assert_eq!(mode(folder.path()), 0o750);
    }

    pub(super) async fn write_where_it_may_not(folder: &Path) {
        let store = store(folder);
        store.set("k", Value::Int(1), HOUR).await.expect("it sets");
        let file = the_file(folder);
        let shard = file.parent().expect("a shard");

        set_mode(shard, 0o500);
        let results = [
            store.set("k", Value::Int(2), HOUR).await,
            store.incr("k", 1).await.map(drop),
            store.touch("k", None).await.map(drop),
            store.delete("k").await.map(drop),
            store.clear().await,
        ];
        for error in results.map(|result| result.expect_err("it may not")) {
            let told = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Backend);
            assert!(
                told.contains(&*shard.to_string_lossy()) && told.contains("Permission denied"),
                "{told}"
            );
        }
        assert_eq!(store.get("k").await.expect("it reads"), Some(Value::Int(1)));
        assert!(temporary_files(folder).is_empty());
        set_mode(shard, 0o700);

        set_mode(&file, 0);
        let told = store.get("k").await.expect_err("it may not").to_string();
        assert!(
            told.contains(&*file.to_string_lossy()) && told.contains("cannot be read"),
            "{told}"
        );
        store.set("k", Value::Int(2), HOUR).await.expect("it needs no right to what it replaces");
        assert_eq!(store.get("k").await.expect("it reads"), Some(Value::Int(2)));
    }

    #[test]
    fn a_folder_without_the_right_to_write_is_an_error_with_its_path_and_keeps_its_entries() {
        let nobody = Unprivileged::new();
        succeeds(nobody.command("exec \"$@\"", "write where it may not", &nobody.folder));
    }

    /// On a disk of half a mebibyte.
    pub(super) async fn fill(folder: &Path) {
        let store = store(folder);
        store.set("old", bytes(1, 10_000), HOUR).await.expect("there is room");
        let mut number = 0;
        let error = loop {
            match store.set(&format!("more {number}"), bytes(2, 30_000), HOUR).await {
                Ok(()) => number += 1,
                Err(error) => break error,
            }
            assert!(number < 100, "the disk has no end");
        };
        let told = error.to_string();
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Backend, true), "{told}");
        assert!(
            told.contains(&*folder.to_string_lossy()) && told.contains("No space left"),
            "{told}"
        );

        store.set("old", bytes(3, 60_000), HOUR).await.expect_err("there is no room");
        assert_eq!(
            store.get("old").await.expect("it reads"),
            Some(bytes(1, 10_000)),
            "the old entry"
        );
        assert!(temporary_files(folder).is_empty(), "nothing is left behind");
        assert_eq!(files(folder).len(), number + 1);

        assert!(store.delete("more 0").await.expect("it deletes"));
        assert!(store.delete("more 1").await.expect("it deletes"));
        store.set("old", bytes(3, 30_000), HOUR).await.expect("there is room again");
    }

    /// In a namespace of its own, the mount ends with the process.
    #[cfg(target_os = "linux")]
    #[test]
    #[allow(clippy::print_stderr, reason = "what was not tested has to be seen")]
    fn a_full_disk_is_an_error_with_the_path_that_leaves_old_entries_and_nothing_else() {
        const LINE: &str = "mount -t tmpfs -o size=512k,mode=0700 cachette \"$CACHETTE_TEST_FOLDER\" && exec \"$@\"";
        let folder = folder();
        let mount = ["--user", "--map-root-user", "--mount"];
        let may_mount = Command::new("unshare")
            .args(mount)
            .args(["sh", "-c", "mount -t tmpfs none /mnt"])
            .output();
        if !may_mount.is_ok_and(|tried| tried.status.success()) {
            eprintln!(
                "NOT TESTED ON A FULL DISK: nothing can be mounted here, neither by root nor in a user namespace. \
                 a_file_that_may_not_grow_… stands in for it, with a limit on the size of files."
            );
            return;
        }
        let mut command = Command::new("unshare");
        command.args(mount).args(["sh", "-c", LINE, "sh"]).arg(this_binary());
        succeeds(child(command, "fill", folder.path()));
        assert!(files(folder.path()).is_empty(), "it was written to the mount");
    }

    /// Under a limit of 32 KiB a file.
    pub(super) async fn grow(folder: &Path) {
        let store = store(folder);
        store.set("k", bytes(1, 10_000), HOUR).await.expect("it is below the limit");
        let error =
            store.set("k", bytes(2, 1 << 20), HOUR).await.expect_err("it is above the limit");
        let told = error.to_string();
        assert!(
            told.contains(&*folder.to_string_lossy()) && told.contains("File too large"),
            "{told}"
        );
        assert!(!store.add("k", bytes(2, 1 << 20), HOUR).await.expect("it is there"));
        store.add("other", bytes(2, 1 << 20), HOUR).await.expect_err("it is above the limit");
        assert_eq!(
            store.get("k").await.expect("it reads"),
            Some(bytes(1, 10_000)),
            "the old entry"
        );
        assert!(temporary_files(folder).is_empty(), "nothing is left behind");
        assert_eq!(files(folder).len(), 1);
    }

    #[test]
    fn a_file_that_may_not_grow_is_an_error_with_the_path_that_leaves_old_entries_and_nothing_else()
    {
        let folder = folder();
        succeeds(shell_child(
            "trap '' XFSZ; ulimit -f 64; exec \"$@\"",
            &this_binary(),
            "grow",
            folder.path(),
        ));
    }
}
