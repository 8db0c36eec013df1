//! Keeps the entries from becoming too many, off everybody's path.
//!
//! A set does not list: it counts the entries it adds. When enough were added, a thread lists the names, which corrects the
//! count by what other processes did. If there are too many entries it reads the header of each, removes those that
//! expired, and if that is not enough, those that were written longest ago. If there are not, it removes what expired in a part
//! of the shards, a different one each time. So its work is in proportion to the entries that are added.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    thread,
    time::SystemTime,
};

use cache_core::{Result, Stats};

use crate::{
    entries::Entries,
    entry_file::{HEADER, Header, Unusable},
    folder::{Held, Listed},
    reading,
};

/// When to sweep, and where.
#[derive(Debug)]
pub(crate) struct Sweeper {
    /// How many entries this process added.
    added: AtomicU64,
    /// How many those are when it is time.
    due: AtomicU64,
    running: AtomicBool,
    /// The shard to go on with.
    hand: AtomicU8,
}

/// What a sweep found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// The entries that are left.
    pub entries: usize,
    /// The files that were removed because their entry had expired or was broken.
    pub expired: usize,
    /// The entries that were removed because there were too many.
    pub culled: usize,
    /// The temporary files of dead processes that were removed.
    pub left_over: usize,
}

/// How much of the folder is searched for what expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// A part of the shards, unless there are too many entries.
    Part,
    All,
}

/// The shards that a sweep searches for what expired, where it need not search all.
const PART: u16 = 32;

/// The most that is removed while a shard's lock is held at a stretch.
const STRETCH: usize = 64;

/// How many ages of entries are enough to tell which are old.
const SAMPLE: usize = 8192;

impl Sweeper {
    /// The first entry that a process adds has it count: how many there are is not known before.
    pub(crate) fn new() -> Self {
        Self {
            added: AtomicU64::new(0),
            due: AtomicU64::new(1),
            running: AtomicBool::new(false),
            hand: AtomicU8::new(0),
        }
    }

    /// Counts an entry, and says whether a sweep has to be started.
    pub(crate) fn one_more(&self) -> bool {
        let added = self.added.fetch_add(1, Ordering::Relaxed) + 1;
        added >= self.due.load(Ordering::Relaxed) && !self.running.swap(true, Ordering::Acquire)
    }

    /// Starts the thread, to which [`one_more`](Self::one_more) gave the right.
    pub(crate) fn start(entries: &Arc<Entries>) {
        let sweeping = Arc::clone(entries);
        let started =
            thread::Builder::new().name("cachette-sweep".into()).spawn(move || run(&sweeping));
        if let Err(error) = started {
            tracing::warn!(%error, "no thread can be started to count and cull the files of a cache");
            entries.sweeper.postpone();
            entries.sweeper.running.store(false, Ordering::Release);
        }
    }

    /// Has another try after some more entries.
    fn postpone(&self) {
        self.due.store(self.added.load(Ordering::Relaxed) + 16, Ordering::Relaxed);
    }

    fn is_due(&self) -> bool {
        self.added.load(Ordering::Relaxed) >= self.due.load(Ordering::Relaxed)
    }
}

fn run(entries: &Entries) {
    let sweeper = &entries.sweeper;
    loop {
        let has_swept = sweep_unless_another_does(entries).unwrap_or_else(|error| {
            tracing::warn!(%error, "the files of a cache can't be counted and culled");
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

fn sweep_unless_another_does(entries: &Entries) -> Result<bool> {
    let Some(held) = entries.folder.try_lock_sweep()? else { return Ok(false) };
    sweep(entries, &held, Extent::Part).map(|_| true)
}

/// Counts, collects what is left over, removes what expired, and culls if there are too many. One at a time, among all
/// processes.
pub(crate) fn sweep(entries: &Entries, _: &Held, extent: Extent) -> Result<Swept> {
    let added_before = entries.sweeper.added.load(Ordering::Relaxed);
    let mut swept = Swept::default();
    count(entries, &mut swept)?;
    let most = entries.options.max_entries;
    let sample = remove_expired(entries, &mut swept, extent)?;
    cull_excess(entries, &mut swept, sample)?;
    let room = most.saturating_sub(swept.entries) + 1;
    let next = room.min((most / 8).max(64)) as u64;
    entries.sweeper.due.store(added_before + next, Ordering::Relaxed);
    Ok(swept)
}

/// Culls if there are too many entries, the oldest first, until few enough are left.
fn cull_excess(entries: &Entries, swept: &mut Swept, mut sample: Sample) -> Result<()> {
    let total = swept.entries;
    let excess = entries.options.excess(total);
    if excess == 0 {
        return Ok(());
    }
    sample.times.sort_unstable();
    // An entry is old if it was written before a time that the sample gives, and a sample is off by
    // a few percent. A few more entries may go, or old entries in the last shards would outlive
    // younger ones in the first.
    let margin = if sample.stride == 1 { 0 } else { excess / 16 };
    cull(entries, swept, excess + margin, sample.threshold(excess, total))?;
    // If fewer went, the number that is missing tells by how much the time was too early.
    let missing = swept.entries.saturating_sub(total - excess);
    let later = sample.threshold(excess + missing + missing / 2 + 4 * sample.stride, total);
    cull(entries, swept, missing, later)?;
    let missing = swept.entries.saturating_sub(total - excess);
    cull(entries, swept, missing, None)?;
    Ok(())
}

/// Reads names only.
fn count(entries: &Entries, swept: &mut Swept) -> Result<()> {
    for shard in 0..=u8::MAX {
        for file in entries.folder.list(shard)? {
            match file {
                Listed::Entry(_) => swept.entries += 1,
                Listed::New(path) => {
                    swept.left_over += usize::from(entries.folder.remove_if_left_over(&path))
                }
            }
        }
    }
    Ok(())
}

/// Answers a sample of the times at which the entries that stay were written.
fn remove_expired(entries: &Entries, swept: &mut Swept, extent: Extent) -> Result<Sample> {
    let excess = entries.options.excess(swept.entries);
    let enough = swept.entries - excess;
    let shards = if extent == Extent::All || excess > 0 { u16::from(u8::MAX) + 1 } else { PART };
    let mut sample = Sample::of(swept.entries);
    for _ in 0..shards {
        if extent == Extent::Part && excess > 0 && swept.entries <= enough {
            break;
        }
        let shard = entries.sweeper.hand.fetch_add(1, Ordering::Relaxed);
        let expired = expired(entries, shard, &mut sample)?;
        let removed =
            remove(entries, shard, &expired, |path| judge(entries, path) == Some(Verdict::Goes))?;
        swept.expired += removed;
        swept.entries = swept.entries.saturating_sub(removed);
    }
    Ok(sample)
}

/// Removes up to so many files whose entry has expired or is broken, and goes on at the next shard the next time.
pub(crate) fn purge(entries: &Entries, most: usize) -> Result<usize> {
    let mut removed = 0;
    for _ in 0..=u8::MAX {
        if removed >= most {
            break;
        }
        let shard = entries.sweeper.hand.fetch_add(1, Ordering::Relaxed);
        let mut expired = expired(entries, shard, &mut Sample::of(0))?;
        expired.truncate(most - removed);
        removed +=
            remove(entries, shard, &expired, |path| judge(entries, path) == Some(Verdict::Goes))?;
    }
    Ok(removed)
}

/// Counts the entries, those that have expired or are broken, and the bytes of all.
pub(crate) fn stats(entries: &Entries) -> Result<Stats> {
    let (mut all, mut expired, mut bytes) = (0, 0, 0);
    for shard in 0..=u8::MAX {
        for path in listed_entries(entries, shard)? {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            all += 1;
            bytes += metadata.len();
            expired += u64::from(judge(entries, &path) == Some(Verdict::Goes));
        }
    }
    Ok(Stats { entries: Some(all), expired: Some(expired), bytes: Some(bytes), ..Stats::default() })
}

/// The files of a shard that have to go; those that stay are offered to the sample.
fn expired(entries: &Entries, shard: u8, sample: &mut Sample) -> Result<Vec<PathBuf>> {
    let mut expired = Vec::new();
    for path in listed_entries(entries, shard)? {
        match judge(entries, &path) {
            Some(Verdict::Stays(written)) => sample.offer(written),
            Some(Verdict::Goes) => expired.push(path),
            None => {}
        }
    }
    Ok(expired)
}

/// The times at which some of the entries were written: all of them, or some thousands, evenly drawn, for digests are in no
/// order.
struct Sample {
    stride: usize,
    offered: usize,
    times: Vec<SystemTime>,
}

impl Sample {
    fn of(entries: usize) -> Self {
        Self { stride: entries / SAMPLE + 1, offered: 0, times: Vec::new() }
    }

    fn offer(&mut self, written: SystemTime) {
        self.offered += 1;
        if self.offered.is_multiple_of(self.stride) {
            self.times.push(written);
        }
    }

    /// The time up to which so many of the entries were written; none where all have to go.
    fn threshold(&self, victims: usize, entries: usize) -> Option<SystemTime> {
        if victims >= entries {
            return None;
        }
        let position = (victims * self.times.len()).div_ceil(entries);
        self.times.get(position.saturating_sub(1)).copied()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It was written then.
    Stays(SystemTime),
    Goes,
}

/// Whether a file has to go by what its header says; nothing where it is gone already or can't be read. What another version
/// of this crate wrote may be of use to that one.
fn judge(entries: &Entries, path: &Path) -> Option<Verdict> {
    let (head, length, written) = head(path).ok()?;
    Some(match Header::read(&head) {
        Ok(header) if header.expiry.has_come(&entries.clock) => Verdict::Goes,
        Ok(header) if header.length().is_some_and(|expected| expected as u64 == length) => {
            Verdict::Stays(written)
        }
        Err(Unusable::Version(_)) => Verdict::Stays(written),
        Ok(_) | Err(_) => Verdict::Goes,
    })
}

fn head(path: &Path) -> io::Result<(Vec<u8>, u64, SystemTime)> {
    let file = reading::open(path)?;
    let metadata = file.metadata()?;
    let mut head = Vec::with_capacity(HEADER);
    file.take(HEADER as u64).read_to_end(&mut head)?;
    Ok((head, metadata.len(), metadata.modified()?))
}

/// Removes so many entries at most, of those that were not written since.
fn cull(
    entries: &Entries,
    swept: &mut Swept,
    mut victims: usize,
    since: Option<SystemTime>,
) -> Result<()> {
    let is_old = |written: SystemTime| since.is_none_or(|since| written <= since);
    let first = entries.sweeper.hand.load(Ordering::Relaxed);
    for shard in (0..=u8::MAX).map(|step| first.wrapping_add(step)) {
        if victims == 0 {
            break;
        }
        let mut old = listed_entries(entries, shard)?;
        old.retain(|path| written(path).is_some_and(is_old));
        old.truncate(victims);
        let removed = remove(entries, shard, &old, |path| written(path).is_some_and(is_old))?;
        victims -= removed;
        swept.culled += removed;
        swept.entries = swept.entries.saturating_sub(removed);
    }
    Ok(())
}

fn written(path: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(path).ok()?.modified().ok()
}

fn listed_entries(entries: &Entries, shard: u8) -> Result<Vec<PathBuf>> {
    let entry = |file| match file {
        Listed::Entry(path) => Some(path),
        Listed::New(_) => None,
    };
    Ok(entries.folder.list(shard)?.filter_map(entry).collect())
}

/// Removes those of the files that `goes` condemns with the lock held: it may be that they were replaced meanwhile.
fn remove(
    entries: &Entries,
    shard: u8,
    paths: &[PathBuf],
    goes: impl Fn(&Path) -> bool,
) -> Result<usize> {
    let mut removed = 0;
    for stretch in paths.chunks(STRETCH) {
        let held = entries.folder.lock(shard, &entries.call())?;
        for path in stretch.iter().filter(|path| goes(path)) {
            removed += usize::from(entries.folder.remove(&held, path)?);
        }
    }
    Ok(removed)
}
