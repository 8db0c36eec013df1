//! Counting and culling in the background.
//!
//! A `set` does not list the directory: it counts the entries it adds. When enough were added, a
//! thread lists the names, which also accounts for changes by other processes. If there are too
//! many entries, the thread reads the header of each and removes the expired ones, and if that is
//! not enough, the ones that were written longest ago. Otherwise it removes the expired entries of
//! some of the shards, different ones each time. The work is therefore proportional to the number
//! of added entries.

use std::{
    error::Error as StdError,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::SystemTime,
};

use cache_core::{Error, ErrorKind, Result, Stats};

use crate::{
    directory::{self, ListedFile, LockGuard},
    entries::Entries,
    entry_file::{DecodeError, HEADER, Header},
    read,
};

/// Schedules the sweeps of a process.
#[derive(Debug)]
pub(crate) struct Sweeper {
    /// The number of entries that this process has added.
    added: AtomicU64,
    /// The value of `added` at which the next sweep is due.
    due: AtomicU64,
    running: AtomicBool,
    /// The shard at which the next search for expired entries continues.
    next_shard: AtomicU8,
    /// How many callers wait for the thread that sweeps. No thread is started meanwhile.
    closing: AtomicUsize,
    /// How many threads sweep: one, and for a moment another one that just ends.
    threads: Mutex<usize>,
    thread_ended: Condvar,
}

/// The result of a [sweep](crate::FileBasedCache::sweep).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepReport {
    /// The number of remaining entries.
    pub entries: usize,
    /// The number of removed files whose entry was expired or undecodable.
    pub expired: usize,
    /// The number of entries that were culled.
    pub culled: usize,
    /// The number of removed temporary files, which killed processes left behind.
    pub temporary_files: usize,
    /// How many times a file or directory could not be listed, locked or removed and was skipped,
    /// for example because it belongs to another user.
    pub skipped: usize,
}

/// Files and directories that were skipped.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    count: usize,
    first: Option<Error>,
}

impl Skipped {
    /// Returns the result, or the default if it is an error, which is recorded.
    pub(crate) fn unless_ok<T: Default>(&mut self, result: Result<T>) -> T {
        result.unwrap_or_else(|error| {
            self.count += 1;
            self.first.get_or_insert(error);
            T::default()
        })
    }

    /// Logs how many there are and why the first one was skipped. Returns the number and the error.
    pub(crate) fn log(self) -> (usize, Option<Error>) {
        if let Some(error) = &self.first {
            let error: &(dyn StdError + 'static) = error;
            tracing::warn!(
                error,
                skipped = self.count,
                "skipped files of a file-based cache that cannot be accessed"
            );
        }
        (self.count, self.first)
    }
}

/// Which shards a sweep searches for expired entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Some shards, or all if there are too many entries.
    Partial,
    Full,
}

/// The number of shards that a partial sweep searches.
const PARTIAL_SWEEP_SHARDS: u16 = 32;

/// The maximum number of files to remove before releasing the lock of their shard.
const REMOVE_BATCH: usize = 64;

/// The maximum number of ages to keep.
const SAMPLE_SIZE: usize = 8192;

impl Sweeper {
    /// The first sweep is due at the first entry, because the number of existing ones is unknown.
    pub(crate) fn new() -> Self {
        Self {
            added: AtomicU64::new(0),
            due: AtomicU64::new(1),
            running: AtomicBool::new(false),
            next_shard: AtomicU8::new(0),
            closing: AtomicUsize::new(0),
            threads: Mutex::new(0),
            thread_ended: Condvar::new(),
        }
    }

    /// Counts an added entry. Returns whether the caller must [`start`](Self::start) a sweep.
    pub(crate) fn record_insertion(&self) -> bool {
        let added = self.added.fetch_add(1, Ordering::Relaxed) + 1;
        added >= self.due.load(Ordering::Relaxed) && !self.running.swap(true, Ordering::Acquire)
    }

    /// Starts the thread that sweeps.
    pub(crate) fn start(entries: &Arc<Entries>) {
        let sweeper = &entries.sweeper;
        if let Some(guard) = ThreadGuard::new(entries) {
            let thread = thread::Builder::new().name("cachette-sweep".into());
            match thread.spawn(move || run(&guard.0)) {
                Ok(_) => return,
                Err(error) => {
                    warn(&error, "cannot start the thread that culls a file-based cache");
                }
            }
        }
        sweeper.postpone();
        sweeper.running.store(false, Ordering::Release);
    }

    /// Waits until no thread sweeps. A thread that does stops at the next shard.
    pub(crate) fn close(&self) {
        self.closing.fetch_add(1, Ordering::AcqRel);
        drop(self.thread_ended.wait_while(self.threads(), |threads| *threads > 0));
        self.closing.fetch_sub(1, Ordering::AcqRel);
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire) > 0
    }

    fn threads(&self) -> MutexGuard<'_, usize> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries again after some more entries.
    fn postpone(&self) {
        self.due.store(self.added.load(Ordering::Relaxed) + 16, Ordering::Relaxed);
    }

    fn is_due(&self) -> bool {
        self.added.load(Ordering::Relaxed) >= self.due.load(Ordering::Relaxed)
    }
}

/// Counts as a thread until it is dropped, whether the thread returned or panicked.
struct ThreadGuard(Arc<Entries>);

impl ThreadGuard {
    /// Returns `None` if the store is being closed.
    fn new(entries: &Arc<Entries>) -> Option<Self> {
        let mut threads = entries.sweeper.threads();
        if entries.sweeper.is_closing() {
            return None;
        }
        *threads += 1;
        Some(Self(Arc::clone(entries)))
    }
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        let sweeper = &self.0.sweeper;
        *sweeper.threads() -= 1;
        sweeper.thread_ended.notify_all();
    }
}

fn run(entries: &Entries) {
    let sweeper = &entries.sweeper;
    loop {
        let has_swept = sweep_unless_locked(entries).unwrap_or_else(|error| {
            if !sweeper.is_closing() {
                warn(&error, "cannot cull a file-based cache");
            }
            false
        });
        if !has_swept {
            sweeper.postpone();
        }
        sweeper.running.store(false, Ordering::Release);
        if !sweeper.is_due() || sweeper.running.swap(true, Ordering::Acquire) {
            return;
        }
    }
}

/// Passes the error as a value, so that subscribers can log its sources.
fn warn(error: &(dyn StdError + 'static), message: &str) {
    tracing::warn!(error, "{message}");
}

fn sweep_unless_locked(entries: &Entries) -> Result<bool> {
    let Some(guard) = entries.directory.try_lock_sweep()? else { return Ok(false) };
    sweep(entries, &guard, Scope::Partial).map(|_| true)
}

/// Counts the entries, removes expired entries and abandoned files, and culls if there are too many
/// entries. The lock ensures that only one process sweeps at a time.
///
/// Skips what it cannot access. Fails only if the store is being closed.
pub(crate) fn sweep(entries: &Entries, _: &LockGuard, scope: Scope) -> Result<SweepReport> {
    let added_before = entries.sweeper.added.load(Ordering::Relaxed);
    let mut sweep =
        Sweep { entries, scope, report: SweepReport::default(), skipped: Skipped::default() };
    sweep.count()?;
    let sample = sweep.remove_expired()?;
    sweep.cull(sample)?;
    let mut report = sweep.report;
    (report.skipped, _) = sweep.skipped.log();
    let max_entries = entries.options.max_entries;
    let free = max_entries.saturating_sub(report.entries) + 1;
    let interval = free.min((max_entries / 8).max(64)) as u64;
    entries.sweeper.due.store(added_before + interval, Ordering::Relaxed);
    Ok(report)
}

/// A sweep that is running.
struct Sweep<'a> {
    entries: &'a Entries,
    scope: Scope,
    report: SweepReport,
    skipped: Skipped,
}

impl Sweep<'_> {
    /// Fails if the sweep must stop because the store is being closed.
    fn check_open(&self) -> Result<()> {
        if self.scope == Scope::Partial && self.entries.sweeper.is_closing() {
            return Err(Error::new(ErrorKind::Unavailable, "the store is being closed"));
        }
        Ok(())
    }

    /// Counts entries by the names of their files. Removes abandoned temporary files and leases
    /// that have ended.
    fn count(&mut self) -> Result<()> {
        let directory = &self.entries.directory;
        for shard in 0..=u8::MAX {
            self.check_open()?;
            let mut leases = Vec::new();
            for file in
                self.skipped.unless_ok(directory.list(shard).map(Some)).into_iter().flatten()
            {
                match file {
                    ListedFile::Entry(_) => self.report.entries += 1,
                    ListedFile::Lease(path) => leases.push(path),
                    ListedFile::Temporary(path) => {
                        let removed = directory.remove_if_abandoned(&path);
                        self.report.temporary_files += usize::from(removed);
                    }
                }
            }
            remove_ended_leases(self.entries, shard, leases, &mut self.skipped);
        }
        Ok(())
    }

    /// Removes expired entries. Returns a sample of the times at which the remaining ones were
    /// written.
    fn remove_expired(&mut self) -> Result<Sample> {
        let Self { entries, scope, .. } = *self;
        let excess = entries.options.excess(self.report.entries);
        let target = self.report.entries - excess;
        let search_all = scope == Scope::Full || excess > 0;
        let shards = if search_all { u16::from(u8::MAX) + 1 } else { PARTIAL_SWEEP_SHARDS };
        let mut sample = Sample::new(self.report.entries);
        for _ in 0..shards {
            self.check_open()?;
            if scope == Scope::Partial && excess > 0 && self.report.entries <= target {
                break;
            }
            let shard = entries.sweeper.next_shard.fetch_add(1, Ordering::Relaxed);
            let expired = self.skipped.unless_ok(expired(entries, shard, &mut sample));
            let removed = self.remove(shard, &expired, |path| is_garbage(entries, path));
            self.report.expired += removed;
        }
        Ok(sample)
    }

    /// Removes the oldest entries until few enough are left, if there are too many.
    fn cull(&mut self, mut sample: Sample) -> Result<()> {
        let total = self.report.entries;
        let excess = self.entries.options.excess(total);
        if excess == 0 {
            return Ok(());
        }
        let target = total - excess;
        sample.times.sort_unstable();
        // The sample gives the age of the entries to remove with an error of a few percent. If the
        // age is too young, a few more entries may be removed. Otherwise old entries in the last
        // shards would outlive younger ones in the first shards.
        let margin = if sample.stride == 1 { 0 } else { excess / 16 };
        self.remove_older(excess + margin, sample.threshold(excess, total))?;
        // If the age was too old, the number of missing entries shows by how much.
        let missing = self.report.entries.saturating_sub(target);
        let younger = sample.threshold(excess + missing + missing / 2 + 4 * sample.stride, total);
        self.remove_older(missing, younger)?;
        let missing = self.report.entries.saturating_sub(target);
        self.remove_older(missing, None)
    }

    /// Removes up to `limit` entries that were written at `threshold` or earlier, or at any time.
    fn remove_older(&mut self, mut limit: usize, threshold: Option<SystemTime>) -> Result<()> {
        let is_old = |path: &Path| {
            written(path)
                .is_some_and(|written| threshold.is_none_or(|threshold| written <= threshold))
        };
        let first = self.entries.sweeper.next_shard.load(Ordering::Relaxed);
        for shard in (0..=u8::MAX).map(|step| first.wrapping_add(step)) {
            if limit == 0 {
                break;
            }
            self.check_open()?;
            let mut old = self.skipped.unless_ok(list_entries(self.entries, shard));
            old.retain(|path| is_old(path));
            old.truncate(limit);
            let removed = self.remove(shard, &old, is_old);
            limit -= removed;
            self.report.culled += removed;
        }
        Ok(())
    }

    fn remove(&mut self, shard: u8, paths: &[PathBuf], condition: impl Fn(&Path) -> bool) -> usize {
        let removed = remove(self.entries, shard, paths, condition, &mut self.skipped);
        self.report.entries = self.report.entries.saturating_sub(removed);
        removed
    }
}

/// Removes up to `limit` files whose entry is expired or undecodable. The next call continues at
/// the next shard.
pub(crate) fn purge(entries: &Entries, limit: usize) -> usize {
    let (mut removed, mut skipped) = (0, Skipped::default());
    for _ in 0..=u8::MAX {
        if removed >= limit {
            break;
        }
        let shard = entries.sweeper.next_shard.fetch_add(1, Ordering::Relaxed);
        let mut expired = skipped.unless_ok(expired(entries, shard, &mut Sample::new(0)));
        expired.truncate(limit - removed);
        removed += remove(entries, shard, &expired, |path| is_garbage(entries, path), &mut skipped);
    }
    skipped.log();
    removed
}

/// Counts all entries and their bytes, and the entries that are expired or undecodable. Reports how
/// many directories were skipped because they cannot be listed.
pub(crate) fn stats(entries: &Entries) -> Stats {
    let (mut all, mut expired, mut bytes) = (0, 0, 0);
    let mut skipped = Skipped::default();
    for shard in 0..=u8::MAX {
        for path in skipped.unless_ok(list_entries(entries, shard)) {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            all += 1;
            bytes += metadata.len();
            expired += u64::from(is_garbage(entries, &path));
        }
    }
    let (count, _) = skipped.log();
    let details = (count > 0).then(|| ("skipped".to_owned(), count.to_string()));
    Stats {
        entries: Some(all),
        expired: Some(expired),
        bytes: Some(bytes),
        details: details.into_iter().collect(),
        ..Stats::default()
    }
}

/// Finds the files of a shard to remove, and adds the others to the sample.
fn expired(entries: &Entries, shard: u8, sample: &mut Sample) -> Result<Vec<PathBuf>> {
    let mut expired = Vec::new();
    for path in list_entries(entries, shard)? {
        match inspect(entries, &path) {
            Some(Verdict::Keep(written)) => sample.add(written),
            Some(Verdict::Remove) => expired.push(path),
            None => {}
        }
    }
    Ok(expired)
}

/// The times at which some of the entries were written.
///
/// The sample is evenly distributed, because the files are named by digests.
struct Sample {
    /// Every `stride`-th time is kept.
    stride: usize,
    added: usize,
    times: Vec<SystemTime>,
}

impl Sample {
    fn new(entries: usize) -> Self {
        Self { stride: entries / SAMPLE_SIZE + 1, added: 0, times: Vec::new() }
    }

    fn add(&mut self, written: SystemTime) {
        self.added += 1;
        if self.added.is_multiple_of(self.stride) {
            self.times.push(written);
        }
    }

    /// The time before which about `count` of `total` entries were written, or `None` for
    /// all of them. The times must be sorted.
    fn threshold(&self, count: usize, total: usize) -> Option<SystemTime> {
        if count >= total {
            return None;
        }
        let position = (count * self.times.len()).div_ceil(total);
        self.times.get(position.saturating_sub(1)).copied()
    }
}

/// What to do with a file, according to its header.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Keep the entry, which was written at this time.
    Keep(SystemTime),
    Remove,
}

fn is_garbage(entries: &Entries, path: &Path) -> bool {
    inspect(entries, path) == Some(Verdict::Remove)
}

/// Reads the header of a file. Returns `None` if the file was removed or is not readable. A file in
/// another version of the format is kept, because a process with that version may use it.
fn inspect(entries: &Entries, path: &Path) -> Option<Verdict> {
    let (header, length, written) = read_header(path).ok()?;
    Some(match Header::decode(&header) {
        Ok(header) if header.expiry.has_passed(&entries.clock) => Verdict::Remove,
        Ok(header) if header.file_length().is_some_and(|expected| expected as u64 == length) => {
            Verdict::Keep(written)
        }
        Err(DecodeError::Version(_)) => Verdict::Keep(written),
        Ok(_) | Err(_) => Verdict::Remove,
    })
}

fn read_header(path: &Path) -> io::Result<(Vec<u8>, u64, SystemTime)> {
    let file = read::open(path)?;
    let metadata = file.metadata()?;
    let mut header = Vec::with_capacity(HEADER);
    file.take(HEADER as u64).read_to_end(&mut header)?;
    Ok((header, metadata.len(), metadata.modified()?))
}

fn written(path: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(path).ok()?.modified().ok()
}

fn list_entries(entries: &Entries, shard: u8) -> Result<Vec<PathBuf>> {
    let entry = |file| match file {
        ListedFile::Entry(path) => Some(path),
        ListedFile::Lease(_) | ListedFile::Temporary(_) => None,
    };
    Ok(entries.directory.list(shard)?.filter_map(entry).collect())
}

/// Removes the files for which `condition` holds, and returns how many. It is checked while holding
/// the lock, because a file may have been replaced since it was listed.
fn remove(
    entries: &Entries,
    shard: u8,
    paths: &[PathBuf],
    condition: impl Fn(&Path) -> bool,
    skipped: &mut Skipped,
) -> usize {
    let mut removed = 0;
    for batch in paths.chunks(REMOVE_BATCH) {
        let guard = entries.directory.lock_shard(shard, &entries.start_operation());
        let Some(guard) = skipped.unless_ok(guard.map(Some)) else { break };
        for path in batch.iter().filter(|path| condition(path)) {
            removed += usize::from(skipped.unless_ok(entries.directory.remove(&guard, path)));
        }
    }
    removed
}

/// Removes leases whose holders have neither filled nor released them.
fn remove_ended_leases(
    entries: &Entries,
    shard: u8,
    mut leases: Vec<PathBuf>,
    skipped: &mut Skipped,
) {
    let has_ended = |path: &Path| {
        let lease = directory::read_lease(path).ok();
        lease.is_some_and(|lease| lease.is_none_or(|lease| !lease.is_held(&entries.clock)))
    };
    leases.retain(|path| has_ended(path));
    remove(entries, shard, &leases, has_ended, skipped);
}
