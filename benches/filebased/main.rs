//! filebased against the least that any program could do with files, and against Python's caches. The `README.md` of this crate says how to read it.
#![allow(clippy::print_stderr, reason = "a benchmark says what is wrong")]

mod aside;
mod limit;

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aside::Aside;
use bytes::Bytes;
use cache_core::{Cache, Value};
use cache_filebased::{FileBasedCache, FileBasedOptions};
use cachette_benches::{
    Contest, Figure, Peer, Peers, Report, argument, asked, task_time,
    workload::{VALUE_LENGTH, keys},
};
use limit::Files;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;

const FILEBASED: &str = "filebased";
const LIMIT: &str = "files by hand";
const LIMIT_HOP: &str = "files by hand in `spawn_blocking`";
const CACACHE: &str = "cacache";
const DJANGO: &str = "Django";
const DISKCACHE: &str = "diskcache";
const FEW: &str = "itself among 300 files";

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// How many keys a batch has.
const BATCH: usize = 100;

/// What every contest here works with.
struct Bench<'a> {
    rounds: usize,
    /// Operations of one pass.
    operations: usize,
    runtime: &'a Runtime,
    folder: &'a Path,
    aside: Aside,
    peers: Option<Peers>,
}

/// A folder of entries, under names that are counted on.
struct Filled {
    store: Arc<FileBasedCache>,
    files: Files,
    cacache: Arc<Path>,
    keys: Vec<Box<str>>,
    next: AtomicUsize,
    peers: Vec<(&'static str, Mutex<Peer>)>,
    /// Of the peers.
    versions: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            report.publish();
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Report, String> {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (rounds, operations) = if asked("--quick") { (5, 300) } else { (7, 1000) };
    let counts: Vec<usize> = match argument("--files") {
        Some(given) => {
            given.split(',').map(|count| count.parse().expect("--files wants 300,10000")).collect()
        }
        None if asked("--quick") => vec![300, 10_000],
        None => vec![300, 10_000, 100_000],
    };
    let mut report = Report::default();
    let peers = Peers::if_asked(tmp, &mut report);
    let folder = tempfile::tempdir_in(tmp).expect("there is room");
    let runtime = Runtime::new().expect("it starts");
    let bench = Bench {
        rounds,
        operations,
        runtime: &runtime,
        folder: folder.path(),
        aside: Aside::new(folder.path().join("aside")),
        peers,
    };
    let filled: Vec<Filled> =
        counts.iter().map(|&count| bench.fill(count)).collect::<Result<_, _>>()?;
    for filled in &filled {
        bench.reads(filled, &mut report);
        bench.writes(filled, &mut report);
        bench.batches(filled, &mut report);
    }
    for many in &filled[1..] {
        bench.grows(&filled[0], many, &mut report);
    }
    // At last, as each one frees an inode: see `aside.rs`.
    filled.iter().for_each(|filled| bench.overwrites(filled, &mut report));
    for version in filled.iter().flat_map(|filled| &filled.versions) {
        report.measured_with(version);
    }
    for (title, job) in [
        ("A set of a new key as entries grow, files", "set of a new key"),
        ("A get as entries grow, files", "get"),
    ] {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let places: Vec<_> =
            counts.iter().map(|count| (*count as f64, format!("{count} files: {job}"))).collect();
        let figure = Figure::lines(title, "entries", "microseconds an operation").log_x().log_y();
        report.draw_over(figure, &places, |nanoseconds| nanoseconds / 1e3);
    }
    Ok(report)
}

impl Bench<'_> {
    fn fill(&self, count: usize) -> Result<Filled, String> {
        let place = |name: &str| self.folder.join(format!("{name} {count}"));
        let start = |(name, kind): (&'static str, &str)| {
            let peers = self.peers.as_ref()?;
            let peer = peers.start(kind, &place(kind).display().to_string(), count as u64);
            Some(peer.map(|peer| (name, Mutex::new(peer))))
        };
        let peers =
            [(DJANGO, "django-files"), (DISKCACHE, "diskcache")].into_iter().filter_map(start);
        let peers: Vec<_> = peers.collect::<Result<_, _>>()?;
        let options = FileBasedOptions::default().max_entries(1_000_000);
        let store = FileBasedCache::new(place("store"), options).expect("the options are fine");
        let files = Files::new(&place("by hand"));
        let keys = keys("there", count);
        self.runtime.block_on(async {
            for key in &keys {
                store.set(key, value(), HOUR).await.expect("there is room");
            }
        });
        keys.iter().for_each(|key| files.write(&files.path(key), &[b'v'; VALUE_LENGTH]));
        let cacache: Arc<Path> = place("cacache").into();
        self.runtime.block_on(async {
            for key in &keys {
                cacache::write(&cacache, key, content_of(key)).await.expect("there is room");
            }
        });
        let versions = peers.iter().map(|(_, peer)| peer.lock().ready()).collect();
        Ok(Filled {
            store: Arc::new(store),
            files,
            cacache,
            keys,
            next: AtomicUsize::new(0),
            peers,
            versions,
        })
    }

    /// Nanoseconds an operation, in a task of the runtime. What was written before is on the disk when it starts, lest one
    /// candidate wait for what another left to the journal.
    fn time<F>(&self, count: usize, operation: impl Fn(usize) -> F + Send + 'static) -> f64
    where
        F: Future<Output = ()> + Send,
    {
        File::open(self.folder).and_then(|folder| folder.sync_all()).expect("there is room");
        task_time(self.runtime, count, operation)
    }

    fn reads(&self, filled: &Filled, report: &mut Report) {
        let keys: Vec<Box<str>> = filled.keys.clone();
        let paths: Vec<_> = keys.iter().map(|key| filled.files.path(key)).collect();
        let count = 10 * self.operations;
        let (inline, hop) = (paths.clone(), paths);
        let get = filled
            .contest("get")
            .candidate(FILEBASED, || {
                let (store, keys) = (Arc::clone(&filled.store), keys.clone());
                let keys = Arc::new(keys);
                self.time(count, move |number| {
                    let (store, keys) = (Arc::clone(&store), Arc::clone(&keys));
                    async move {
                        let value = store.get(&keys[number % keys.len()]).await;
                        assert!(value.expect("it reads").is_some());
                    }
                })
            })
            .candidate(LIMIT, || {
                let paths = Arc::new(inline.clone());
                self.time(count, move |number| {
                    let paths = Arc::clone(&paths);
                    async move { limit::read(&paths[number % paths.len()]) }
                })
            })
            .candidate(LIMIT_HOP, || {
                let paths = Arc::new(hop.clone());
                self.time(count, move |number| {
                    let paths = Arc::clone(&paths);
                    async move {
                        let reading = tokio::task::spawn_blocking(move || {
                            limit::read(&paths[number % paths.len()])
                        });
                        reading.await.expect("it does not panic");
                    }
                })
            })
            .candidate(CACACHE, || {
                let (folder, keys) = (Arc::clone(&filled.cacache), Arc::new(keys.clone()));
                self.time(count, move |number| {
                    let (folder, keys) = (Arc::clone(&folder), Arc::clone(&keys));
                    async move {
                        let value = cacache::read(&folder, &keys[number % keys.len()]).await;
                        assert_eq!(value.expect("it is there").len(), VALUE_LENGTH);
                    }
                })
            })
            .at_most(1.5, LIMIT)
            .at_most(0.9, DISKCACHE);
        report.add(self.with_peers(get, "get", filled).run(self.rounds));
    }

    fn writes(&self, filled: &Filled, report: &mut Report) {
        let by_hand = |hop: bool| {
            let files = filled.files.clone();
            let first = filled.next.fetch_add(self.operations, Ordering::Relaxed);
            let time = self.time(self.operations, move |number| {
                let files = files.clone();
                async move {
                    let write = move || {
                        files.write(&files.path(&new_key(first + number)), &[b'v'; VALUE_LENGTH])
                    };
                    if hop {
                        tokio::task::spawn_blocking(write).await.expect("it does not panic")
                    } else {
                        write()
                    }
                }
            });
            (first..first + self.operations)
                .for_each(|number| self.aside.take(&filled.files.path(&new_key(number))));
            time
        };
        let set = filled
            .contest("set of a new key")
            .candidate(FILEBASED, || self.time_new(filled, self.operations, 1))
            .candidate(LIMIT, || by_hand(false))
            .candidate(LIMIT_HOP, || by_hand(true))
            .candidate(CACACHE, || self.time_new_by_cacache(filled))
            .at_most(1.15, LIMIT)
            .because(
                "the limit writes on the caller's thread, and one write in a thousand blocks that thread for milliseconds. \
                 filebased therefore writes on another one, which is two threads to wake: so do files by hand in `spawn_blocking`. \
                 `set_many`, which wakes them once for a hundred entries, takes about as long for each as files by hand.",
            );
        report.add(self.with_peers(set, "set", filled).run(self.rounds));
    }

    fn overwrites(&self, filled: &Filled, report: &mut Report) {
        let overwrite = filled
            .contest("set of a key that is there")
            .candidate(FILEBASED, || {
                let (store, keys) = (Arc::clone(&filled.store), Arc::new(filled.keys.clone()));
                self.time(self.operations, move |number| {
                    let (store, keys) = (Arc::clone(&store), Arc::clone(&keys));
                    async move {
                        store
                            .set(&keys[number % keys.len()], value(), HOUR)
                            .await
                            .expect("there is room")
                    }
                })
            })
            .candidate(LIMIT, || {
                let (files, keys) = (filled.files.clone(), Arc::new(filled.keys.clone()));
                self.time(self.operations, move |number| {
                    let (files, keys) = (files.clone(), Arc::clone(&keys));
                    async move {
                        files.write(&files.path(&keys[number % keys.len()]), &[b'v'; VALUE_LENGTH])
                    }
                })
            });
        report.add(overwrite.run(self.rounds));
    }

    /// New entries, which stay: they are in folders by their digests.
    fn time_new_by_cacache(&self, filled: &Filled) -> f64 {
        let folder = Arc::clone(&filled.cacache);
        let first = filled.next.fetch_add(self.operations, Ordering::Relaxed);
        self.time(self.operations, move |number| {
            let folder = Arc::clone(&folder);
            async move {
                let key = new_key(first + number);
                cacache::write(&folder, &key, content_of(&key)).await.expect("there is room");
            }
        })
    }

    fn batches(&self, filled: &Filled, report: &mut Report) {
        let get_many = filled.contest("get_many of 100").candidate(FILEBASED, || {
            let (store, keys) = (Arc::clone(&filled.store), Arc::new(filled.keys.clone()));
            self.time(self.operations / 10, move |number| {
                let (store, keys) = (Arc::clone(&store), Arc::clone(&keys));
                async move {
                    let batch: Vec<&str> =
                        (0..BATCH).map(|key| &*keys[(number * BATCH + key) % keys.len()]).collect();
                    let found = store.get_many(&batch).await.expect("it reads");
                    assert!(found.iter().all(Option::is_some));
                }
            })
        });
        report.add(self.with_peers(get_many, "get_many", filled).run(self.rounds));

        let set_many = filled
            .contest("set_many of 100 new keys")
            .candidate(FILEBASED, || self.time_new(filled, self.operations / BATCH, BATCH));
        report.add(self.with_peers(set_many, "set_many", filled).run(self.rounds));
    }

    fn grows(&self, few: &Filled, many: &Filled, report: &mut Report) {
        let contest = many
            .contest("growth of a set")
            .candidate(FILEBASED, || self.time_new(many, self.operations, 1))
            .candidate(FEW, || self.time_new(few, self.operations, 1))
            .at_most(1.3, FEW);
        report.add(contest.run(self.rounds));
        for ((name, many_files), (_, few)) in many.peers.iter().zip(&few.peers) {
            let contest = many
                .contest(format!("growth of a set by {name}"))
                .candidate(name, || many_files.lock().time("set", self.operations))
                .candidate(FEW, || few.lock().time("set", self.operations));
            report.add(contest.run(self.rounds));
        }
    }

    fn with_peers<'c>(
        &'c self,
        mut contest: Contest<'c>,
        job: &'static str,
        filled: &'c Filled,
    ) -> Contest<'c> {
        for (name, peer) in &filled.peers {
            contest = contest.candidate(name, move || peer.lock().time(job, self.operations));
        }
        contest
    }

    /// New entries, which are moved away when the time is taken. More than one an operation are set by `set_many`.
    fn time_new(&self, filled: &Filled, operations: usize, batch: usize) -> f64 {
        let store = Arc::clone(&filled.store);
        let count = operations * batch;
        let first = filled.next.fetch_add(count, Ordering::Relaxed);
        let time = self.time(operations, move |number| {
            let store = Arc::clone(&store);
            let first = first + number * batch;
            async move {
                if batch == 1 {
                    return store.set(&new_key(first), value(), HOUR).await.expect("there is room");
                }
                let keys: Vec<String> = (first..first + batch).map(new_key).collect();
                let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), value())).collect();
                assert!(store.set_many(&entries, HOUR).await.expect("there is room").is_empty());
            }
        });
        (first..first + count).for_each(|number| self.aside.take(&filled.path(&new_key(number))));
        time
    }
}

impl Filled {
    fn contest<'c>(&self, what: impl fmt::Display) -> Contest<'c> {
        Contest::new(format!("{} files: {what}", self.keys.len()))
    }

    /// Where the store keeps the entry of this key.
    fn path(&self, key: &str) -> PathBuf {
        let digest = Sha256::digest(key.as_bytes());
        let rest: String = digest[1..].iter().map(|byte| format!("{byte:02x}")).collect();
        self.store.directory().join(format!("{:02x}/{rest}.entry", digest[0]))
    }
}

fn new_key(number: usize) -> String {
    format!("newer:user:{number:015}")
}

/// Different for each key, as cacache keeps the same content once.
fn content_of(key: &str) -> [u8; VALUE_LENGTH] {
    let mut content = [b'v'; VALUE_LENGTH];
    content[..key.len()].copy_from_slice(key.as_bytes());
    content
}

fn value() -> Value {
    Value::Bytes(Bytes::from_static(&[b'v'; VALUE_LENGTH]))
}
