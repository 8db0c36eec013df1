//! Removing what has expired, and what is too much, in the background.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use cache_core::Result;
use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::cache::Inner;

/// So many rows go at a time.
const BATCH: usize = 200;

/// Counts what is written, and says when it is time to clean up.
#[derive(Debug)]
pub(crate) struct Sweeper {
    written: AtomicU64,
    uncounted: AtomicU64,
    /// So many writes after the last sweep is the next.
    every: u64,
    /// So many writes after the rows were counted, they are counted again.
    count_every: u64,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Sweeper {
    /// The first write of a process is followed by a sweep, so that processes that live for few writes sweep as well.
    pub(crate) fn new(max_entries: u64) -> Self {
        let count_every = (max_entries / 10).max(1);
        let every = count_every.min(BATCH as u64);
        Self {
            written: AtomicU64::new(every),
            uncounted: AtomicU64::new(count_every),
            every,
            count_every,
            running: Mutex::default(),
        }
    }

    /// Waits for the sweep that is under way.
    pub(crate) async fn settle(&self) {
        let running = self.running.lock().take();
        if let Some(running) = running {
            // It reports its own errors.
            let _ = running.await;
        }
    }
}

/// Notes that so many rows were written, and sweeps where it is time to.
pub(crate) fn wrote(inner: &Arc<Inner>, rows: u64) {
    let sweeper = &inner.sweeper;
    sweeper.uncounted.fetch_add(rows, Ordering::Relaxed);
    if sweeper.written.fetch_add(rows, Ordering::Relaxed) + rows < sweeper.every {
        return;
    }
    let mut running = sweeper.running.lock();
    if running.as_ref().is_some_and(|running| !running.is_finished()) {
        return;
    }
    let Ok(runtime) = Handle::try_current() else { return };
    let written = sweeper.written.swap(0, Ordering::Relaxed);
    let inner = Arc::clone(inner);
    *running = Some(runtime.spawn(async move {
        if let Err(error) = sweep(&inner, written).await {
            tracing::warn!(table = inner.table, %error, "the cache's table could not be cleaned up");
        }
    }));
}

async fn sweep(inner: &Inner, written: u64) -> Result<()> {
    remove_expired(inner, 2 * written.max(BATCH as u64)).await?;
    if inner.sweeper.uncounted.load(Ordering::Relaxed) >= inner.sweeper.count_every {
        inner.sweeper.uncounted.store(0, Ordering::Relaxed);
        cull(inner).await?;
    }
    Ok(())
}

/// Removes up to `most` rows that have expired, and answers how many there were.
pub(crate) async fn remove_expired(inner: &Inner, most: u64) -> Result<u64> {
    let now = inner.now();
    remove_soonest(inner, i64::MIN, now, most).await
}

/// Where there are more rows than there may be, removes those that expire first. Processes that do so at the same time
/// come to the same row where it ends, and so don't remove the double.
async fn cull(inner: &Inner) -> Result<()> {
    let now = inner.now();
    let count = inner.count(now).await?;
    let Some(surplus) = surplus(count, inner.options.max_entries, inner.options.cull_frequency)
    else {
        return Ok(());
    };
    let node = inner.writer()?;
    let before = i64::try_from(surplus - 1).unwrap_or(i64::MAX);
    if let Some(cutoff) = inner.number(node, node.statements.cutoff(now, before)).await? {
        let removed = remove_soonest(inner, now, cutoff, surplus).await?;
        tracing::debug!(table = inner.table, count, removed, "culled the cache's table");
    }
    Ok(())
}

/// How many of `count` rows have to go, if any: all that is too much, and a part of what there may be.
fn surplus(count: u64, max_entries: u64, cull_frequency: u64) -> Option<u64> {
    let part = max_entries.checked_div(cull_frequency).unwrap_or(max_entries);
    (count > max_entries).then(|| (count - max_entries + part).max(1))
}

/// Removes up to `most` rows that expire after `from` and not after `to`, those first that expire first.
async fn remove_soonest(inner: &Inner, from: i64, to: i64, most: u64) -> Result<u64> {
    let node = inner.writer()?;
    let mut removed = 0;
    while removed < most {
        let batch = usize::try_from(most - removed).unwrap_or(BATCH).min(BATCH);
        let soonest = node.statements.soonest(from, to, batch as i64);
        let mut keys: Vec<Vec<u8>> =
            inner.read_rows(node, soonest).await?.into_iter().map(|row| row.key).collect();
        if keys.is_empty() {
            break;
        }
        // In order, so that whoever locks several rows meets the others going the same way.
        keys.sort_unstable();
        inner.write(node, node.statements.remove(keys.iter().map(Vec::as_slice), to)).await?;
        removed += keys.len() as u64;
        if keys.len() < batch {
            break;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_goes_and_a_part_of_the_rest() {
        assert_eq!(surplus(300, 300, 3), None);
        assert_eq!(surplus(301, 300, 3), Some(101));
        assert_eq!(surplus(1000, 300, 3), Some(800));
        assert_eq!(surplus(2, 1, 3), Some(1));
    }

    #[test]
    fn a_cull_frequency_of_zero_or_one_leaves_nothing() {
        assert_eq!(surplus(301, 300, 0), Some(301));
        assert_eq!(surplus(301, 300, 1), Some(301));
    }
}
