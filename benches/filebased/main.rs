//! filebased against the least that any program could do with files. The `README.md` of this crate says how to read it.
#![allow(clippy::print_stdout, reason = "a benchmark prints its tables")]

mod limit;

use std::{
    env,
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache_core::{Cache, Value};
use cache_filebased::{FileBasedCache, FileBasedOptions};
use cachette_benches::{
    Contest, Report,
    workload::{VALUE_LENGTH, keys},
};
use limit::Files;
use tokio::runtime::Runtime;

const FILEBASED: &str = "filebased";
const LIMIT: &str = "files by hand";
const LIMIT_HOP: &str = "files by hand in `spawn_blocking`";
const FEW: &str = "300 files";

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// What every contest here works with.
struct Bench<'a> {
    rounds: usize,
    /// Operations of one pass.
    operations: usize,
    runtime: &'a Runtime,
    folder: &'a Path,
}

/// A folder of entries, under names that are counted on.
struct Filled {
    store: Arc<FileBasedCache>,
    files: Files,
    keys: Vec<Box<str>>,
    next: AtomicUsize,
}

fn main() {
    let quick = env::args().any(|argument| argument == "--quick");
    let (rounds, operations, many) = if quick { (5, 300, 10_000) } else { (25, 1000, 100_000) };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is room");
    let runtime = Runtime::new().expect("it starts");
    let bench = Bench { rounds, operations, runtime: &runtime, folder: folder.path() };
    let (few, many) = (bench.fill("few", 300), bench.fill("many", many));
    let mut report = Report::default();
    bench.reads(&few, &mut report);
    bench.writes(&few, &mut report);
    bench.grows(&few, &many, &mut report);
    println!("{report}");
}

impl Bench<'_> {
    fn fill(&self, name: &str, count: usize) -> Filled {
        let options = FileBasedOptions { max_entries: 1_000_000, ..FileBasedOptions::default() };
        let store = FileBasedCache::new(self.folder.join(name), options).expect("the options are fine");
        let files = Files::new(&self.folder.join(format!("{name} by hand")));
        let keys = keys("there", count);
        self.runtime.block_on(async {
            for key in &keys {
                store.set(key, value(), HOUR).await.expect("there is room");
            }
        });
        keys.iter().for_each(|key| files.write(&files.path(key), &[b'v'; VALUE_LENGTH]));
        Filled { store: Arc::new(store), files, keys, next: AtomicUsize::new(0) }
    }

    /// Nanoseconds an operation, in a task of the runtime. What was written before is on the disk when it starts, lest one
    /// candidate wait for what another left to the journal.
    fn time<F>(&self, count: usize, operation: impl Fn(usize) -> F + Send + 'static) -> f64
    where
        F: Future<Output = ()> + Send,
    {
        File::open(self.folder).and_then(|folder| folder.sync_all()).expect("there is room");
        let work = async move {
            let start = Instant::now();
            for number in 0..count {
                operation(number).await;
            }
            start.elapsed()
        };
        let time = self.runtime.block_on(async { tokio::spawn(work).await }).expect("it does not panic");
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let each = time.as_secs_f64() * 1e9 / count as f64;
        each
    }

    fn reads(&self, filled: &Filled, report: &mut Report) {
        let keys: Vec<Box<str>> = filled.keys.clone();
        let paths: Vec<_> = keys.iter().map(|key| filled.files.path(key)).collect();
        let count = 10 * self.operations;
        let (inline, hop) = (paths.clone(), paths);
        let get = Contest::new("get")
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
                        let reading = tokio::task::spawn_blocking(move || limit::read(&paths[number % paths.len()]));
                        reading.await.expect("it does not panic");
                    }
                })
            })
            .at_most(1.5, LIMIT);
        report.add(get.run(self.rounds));
    }

    fn writes(&self, filled: &Filled, report: &mut Report) {
        let by_hand = |hop: bool| {
            let files = filled.files.clone();
            let first = filled.next.fetch_add(self.operations, Ordering::Relaxed);
            let time = self.time(self.operations, move |number| {
                let files = files.clone();
                async move {
                    let write = move || files.write(&files.path(&new_key(first + number)), &[b'v'; VALUE_LENGTH]);
                    if hop { tokio::task::spawn_blocking(write).await.expect("it does not panic") } else { write() }
                }
            });
            (first..first + self.operations).for_each(|number| filled.files.remove(&new_key(number)));
            time
        };
        let set = Contest::new("set of a new key")
            .candidate(FILEBASED, || self.time_new(filled))
            .candidate(LIMIT, || by_hand(false))
            .candidate(LIMIT_HOP, || by_hand(true))
            .at_most(1.15, LIMIT);
        report.add(set.run(self.rounds));

        let overwrite = Contest::new("set of a key that is there")
            .candidate(FILEBASED, || {
                let (store, keys) = (Arc::clone(&filled.store), Arc::new(filled.keys.clone()));
                self.time(self.operations, move |number| {
                    let (store, keys) = (Arc::clone(&store), Arc::clone(&keys));
                    async move { store.set(&keys[number % keys.len()], value(), HOUR).await.expect("there is room") }
                })
            })
            .candidate(LIMIT, || {
                let (files, keys) = (filled.files.clone(), Arc::new(filled.keys.clone()));
                self.time(self.operations, move |number| {
                    let (files, keys) = (files.clone(), Arc::clone(&keys));
                    async move { files.write(&files.path(&keys[number % keys.len()]), &[b'v'; VALUE_LENGTH]) }
                })
            });
        report.add(overwrite.run(self.rounds));
    }

    fn grows(&self, few: &Filled, many: &Filled, report: &mut Report) {
        let name = format!("set of a new key among {} files", many.keys.len());
        let contest = Contest::new(name)
            .candidate(FILEBASED, || self.time_new(many))
            .candidate(FEW, || self.time_new(few))
            .at_most(1.3, FEW);
        report.add(contest.run(self.rounds));
    }

    /// New entries, which are removed again when the time is taken.
    fn time_new(&self, filled: &Filled) -> f64 {
        let store = Arc::clone(&filled.store);
        let first = filled.next.fetch_add(self.operations, Ordering::Relaxed);
        let time = self.time(self.operations, move |number| {
            let store = Arc::clone(&store);
            async move { store.set(&new_key(first + number), value(), HOUR).await.expect("there is room") }
        });
        self.runtime.block_on(async {
            for number in first..first + self.operations {
                assert!(filled.store.delete(&new_key(number)).await.expect("it deletes"));
            }
        });
        time
    }
}

fn new_key(number: usize) -> String {
    format!("newer:user:{number:015}")
}

fn value() -> Value {
    Value::Bytes(Bytes::from_static(&[b'v'; VALUE_LENGTH]))
}
