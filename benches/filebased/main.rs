//! filebased against the least work with files, and against Python's caches. See this crate's
//! `README.md`.

mod plain;

use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use cache_core::{Cache, Value};
use cache_filebased::{FileBasedCache, FileBasedOptions};
use cachette_benches::{
    Comparison, Figure, Peer, Peers, Report, flag, option, task_time,
    workload::{HOUR, VALUE, VALUE_LENGTH, keys},
};
use parking_lot::Mutex;
use plain::Files;
use sha2::{Digest as _, Sha256};
use tokio::{runtime::Runtime, task::spawn_blocking};

const FILEBASED: &str = "filebased";
const LIMIT: &str = "files by hand";
const LIMIT_BLOCKING: &str = "files by hand in `spawn_blocking`";
const CACACHE: &str = "cacache";
const DJANGO: &str = "Django";
const DISKCACHE: &str = "diskcache";
const FEW: &str = "the same with 300 files";

/// The number of keys in a batch.
const BATCH: usize = 100;

/// What every comparison needs.
struct Bench<'a> {
    rounds: usize,
    /// Operations in a pass.
    operations: usize,
    runtime: &'a Runtime,
    folder: &'a Path,
    peers: Option<Peers>,
    moved: AtomicUsize,
}

/// Caches with the same number of entries.
struct Filled {
    store: FileBasedCache,
    files: Files,
    cacache: PathBuf,
    keys: Vec<Box<str>>,
    /// The number of the next new key.
    next: AtomicUsize,
    peers: Vec<(&'static str, Mutex<Peer>)>,
    /// The versions of the peers.
    versions: Vec<String>,
}

fn main() {
    run().unwrap_or_else(|error| panic!("{error}")).publish();
}

fn run() -> Result<Report, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let quick = flag("--quick");
    let (rounds, operations) = if quick { (5, 300) } else { (7, 1000) };
    let counts = option("--files")
        .unwrap_or(if quick { "300,10000" } else { "300,10000,100000" }.to_owned())
        .split(',')
        .map(|count| count.parse().map_err(|error| format!("--files {count}: {error}")))
        .collect::<Result<Vec<usize>, _>>()?;
    let mut report = Report::default();
    let peers = Peers::if_requested(target, &mut report);
    let folder = tempfile::tempdir_in(target).expect("it can be created");
    let runtime = Runtime::new().expect("it starts");
    let (folder, moved) = (folder.path(), AtomicUsize::new(0));
    fs::create_dir_all(folder.join("moved")).expect("it can be created");
    let bench = Bench { rounds, operations, runtime: &runtime, folder, peers, moved };
    let filled: Vec<Arc<Filled>> =
        counts.iter().map(|&count| bench.fill(count)).collect::<Result<_, _>>()?;
    for filled in &filled {
        bench.reads(filled, &mut report);
        bench.writes(filled, &mut report);
        bench.batches(filled, &mut report);
    }
    for many in &filled[1..] {
        bench.growth(&filled[0], many, &mut report);
    }
    // Last, because each overwrite frees an inode: see `Bench::move_away`.
    filled.iter().for_each(|filled| bench.overwrites(filled, &mut report));
    for version in filled.iter().flat_map(|filled| &filled.versions) {
        report.measured_with(version);
    }
    for (title, job) in [
        ("A set of a new key as entries grow, files", "set of a new key"),
        ("A get as entries grow, files", "get"),
    ] {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let points: Vec<_> =
            counts.iter().map(|count| (*count as f64, format!("{count} files: {job}"))).collect();
        let figure = Figure::lines(title, "entries", "microseconds per operation").log_y();
        report.draw_over(figure, &points, |nanoseconds| nanoseconds / 1e3);
    }
    Ok(report)
}

impl Bench<'_> {
    fn fill(&self, count: usize) -> Result<Arc<Filled>, String> {
        let folder = |name: &str| self.folder.join(format!("{name} {count}"));
        let start = |(name, kind): (&'static str, &str)| {
            let peers = self.peers.as_ref()?;
            let peer = peers.start(kind, &folder(kind).display().to_string(), count as u64);
            Some(peer.map(|peer| (name, Mutex::new(peer))))
        };
        let peers =
            [(DJANGO, "django-files"), (DISKCACHE, "diskcache")].into_iter().filter_map(start);
        let peers: Vec<_> = peers.collect::<Result<_, _>>()?;
        let options = FileBasedOptions::default().max_entries(1_000_000);
        let store = FileBasedCache::new(folder("store"), options).expect("valid options");
        let files = Files::new(&folder("by hand"));
        let (keys, cacache) = (keys("there", count), folder("cacache"));
        self.runtime.block_on(async {
            for key in &keys {
                store.set(key, value(), Some(HOUR)).await.expect("no error");
                files.write(key);
                cacache::write(&cacache, key, content_of(key)).await.expect("no error");
            }
        });
        let versions = peers.iter().map(|(_, peer)| peer.lock().ready()).collect();
        let next = AtomicUsize::new(0);
        Ok(Arc::new(Filled { store, files, cacache, keys, next, peers, versions }))
    }

    /// Returns nanoseconds per operation in a task of the runtime. What was written before is
    /// synced first, so that no candidate waits for the journal of another one.
    fn time<F>(
        &self,
        filled: &Arc<Filled>,
        count: usize,
        operation: impl Fn(Arc<Filled>, usize) -> F + Send + 'static,
    ) -> f64
    where
        F: Future<Output = ()> + Send,
    {
        File::open(self.folder).and_then(|folder| folder.sync_all()).expect("no error");
        let filled = Arc::clone(filled);
        task_time(self.runtime, count, move |number| operation(Arc::clone(&filled), number))
    }

    fn reads(&self, filled: &Arc<Filled>, report: &mut Report) {
        let count = 10 * self.operations;
        let comparison = filled
            .comparison("get")
            .candidate(FILEBASED, || {
                self.time(filled, count, |filled, number| async move {
                    let value = filled.store.get(filled.key(number)).await;
                    assert!(value.expect("no error").is_some());
                })
            })
            .candidate(LIMIT, || {
                self.time(filled, count, |filled, number| async move {
                    filled.files.read(filled.key(number));
                })
            })
            .candidate(LIMIT_BLOCKING, || {
                self.time(filled, count, |filled, number| async move {
                    let read = move || filled.files.read(filled.key(number));
                    spawn_blocking(read).await.expect("no panic");
                })
            })
            .candidate(CACACHE, || {
                self.time(filled, count, |filled, number| async move {
                    let value = cacache::read(&filled.cacache, filled.key(number)).await;
                    assert_eq!(value.expect("no error").len(), VALUE_LENGTH);
                })
            })
            .at_most(1.5, LIMIT)
            .at_most(0.9, DISKCACHE);
        report.add(self.with_peers(comparison, "get", filled).run(self.rounds));
    }

    fn writes(&self, filled: &Arc<Filled>, report: &mut Report) {
        let by_hand = |blocking: bool| {
            let first = filled.new_keys(self.operations);
            let time = self.time(filled, self.operations, move |filled, number| async move {
                let write = move || filled.files.write(&new_key(first + number));
                if blocking { spawn_blocking(write).await.expect("no panic") } else { write() }
            });
            self.move_away(first, self.operations, |key| filled.files.path(key));
            time
        };
        let by_cacache = || {
            // These entries stay: cacache shares files between entries.
            let first = filled.new_keys(self.operations);
            self.time(filled, self.operations, move |filled, number| async move {
                let key = new_key(first + number);
                let written = cacache::write(&filled.cacache, &key, content_of(&key)).await;
                written.expect("no error");
            })
        };
        let comparison = filled
            .comparison("set of a new key")
            .candidate(FILEBASED, || self.time_new(filled, self.operations, 1))
            .candidate(LIMIT, || by_hand(false))
            .candidate(LIMIT_BLOCKING, || by_hand(true))
            .candidate(CACACHE, by_cacache)
            .at_most(1.15, LIMIT_BLOCKING);
        report.add(self.with_peers(comparison, "set", filled).run(self.rounds));
    }

    fn overwrites(&self, filled: &Arc<Filled>, report: &mut Report) {
        let comparison = filled
            .comparison("overwrite")
            .candidate(FILEBASED, || {
                self.time(filled, self.operations, |filled, number| async move {
                    let set = filled.store.set(filled.key(number), value(), Some(HOUR));
                    set.await.expect("no error");
                })
            })
            .candidate(LIMIT, || {
                self.time(filled, self.operations, |filled, number| async move {
                    filled.files.write(filled.key(number));
                })
            });
        report.add(comparison.run(self.rounds));
    }

    fn batches(&self, filled: &Arc<Filled>, report: &mut Report) {
        let get_many = filled.comparison("get_many of 100").candidate(FILEBASED, || {
            self.time(filled, self.operations / 10, |filled, number| async move {
                let keys = number * BATCH..(number + 1) * BATCH;
                let keys: Vec<&str> = keys.map(|key| filled.key(key)).collect();
                let found = filled.store.get_many(&keys).await.expect("no error");
                assert!(found.iter().all(Option::is_some));
            })
        });
        report.add(self.with_peers(get_many, "get_many", filled).run(self.rounds));
        let set_many = filled
            .comparison("set_many of 100 new keys")
            .candidate(FILEBASED, || self.time_new(filled, self.operations / BATCH, BATCH));
        report.add(self.with_peers(set_many, "set_many", filled).run(self.rounds));
    }

    fn growth(&self, few: &Arc<Filled>, many: &Arc<Filled>, report: &mut Report) {
        let comparison = many
            .comparison("growth of a set")
            .candidate(FILEBASED, || self.time_new(many, self.operations, 1))
            .candidate(FEW, || self.time_new(few, self.operations, 1))
            .at_most(1.3, FEW);
        report.add(comparison.run(self.rounds));
        for ((name, peer), (_, few)) in many.peers.iter().zip(&few.peers) {
            let comparison = many
                .comparison(format!("growth of a set by {name}"))
                .candidate(name, || peer.lock().time("set", self.operations))
                .candidate(FEW, || few.lock().time("set", self.operations));
            report.add(comparison.run(self.rounds));
        }
    }

    fn with_peers<'c>(
        &'c self,
        mut comparison: Comparison<'c>,
        job: &'static str,
        filled: &'c Filled,
    ) -> Comparison<'c> {
        for (name, peer) in &filled.peers {
            comparison = comparison.candidate(name, move || peer.lock().time(job, self.operations));
        }
        comparison
    }

    /// Sets new keys, in batches if `batch` is more than one, and moves their files away.
    fn time_new(&self, filled: &Arc<Filled>, operations: usize, batch: usize) -> f64 {
        let count = operations * batch;
        let first = filled.new_keys(count);
        let time = self.time(filled, operations, move |filled, number| async move {
            let first = first + number * batch;
            if batch == 1 {
                let set = filled.store.set(&new_key(first), value(), Some(HOUR)).await;
                return set.expect("no error");
            }
            let keys: Vec<String> = (first..first + batch).map(new_key).collect();
            let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), value())).collect();
            let rejected = filled.store.set_many(&entries, Some(HOUR)).await.expect("no error");
            assert!(rejected.is_empty());
        });
        self.move_away(first, count, |key| filled.path(key));
        time
    }

    /// Moves the files of new keys to another folder, which is removed at the end.
    ///
    /// Removing them would slow down the next pass tenfold: for a new file, ext4 skips inodes that
    /// were freed during the last minute, or the last five if the disk has not recorded it yet.
    fn move_away(&self, first: usize, count: usize, path: impl Fn(&str) -> PathBuf) {
        for number in first..first + count {
            let name = self.moved.fetch_add(1, Ordering::Relaxed).to_string();
            let moved = self.folder.join("moved").join(name);
            fs::rename(path(&new_key(number)), moved).expect("the file exists");
        }
    }
}

impl Filled {
    fn comparison<'c>(&self, job: impl fmt::Display) -> Comparison<'c> {
        Comparison::new(format!("{} files: {job}", self.keys.len()))
    }

    /// One of the stored keys.
    fn key(&self, number: usize) -> &str {
        &self.keys[number % self.keys.len()]
    }

    /// Reserves the numbers of new keys. Returns the first.
    fn new_keys(&self, count: usize) -> usize {
        self.next.fetch_add(count, Ordering::Relaxed)
    }

    /// The path of an entry in the store.
    fn path(&self, key: &str) -> PathBuf {
        let digest = Sha256::digest(key.as_bytes());
        let rest: String = digest[1..].iter().map(|byte| format!("{byte:02x}")).collect();
        self.store.directory().join(format!("{:02x}/{rest}.entry", digest[0]))
    }
}

fn new_key(number: usize) -> String {
    format!("newer:user:{number:015}")
}

/// Different content for each key, because cacache stores equal content once.
fn content_of(key: &str) -> [u8; VALUE_LENGTH] {
    let mut content = VALUE;
    content[..key.len()].copy_from_slice(key.as_bytes());
    content
}

fn value() -> Value {
    Value::Bytes(Bytes::from_static(&VALUE))
}
