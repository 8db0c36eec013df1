//! Removal of expired and surplus rows in the background.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use cache_core::{Result, entries_after_cull};
use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::shared::Shared;

/// The number of rows that one statement removes.
const BATCH: usize = 200;

/// Counts writes and starts a sweep from time to time.
#[derive(Debug)]
pub(crate) struct Sweeper {
    /// Writes since the last sweep.
    since_sweep: AtomicU64,
    /// Writes since the rows were last counted.
    since_count: AtomicU64,
    /// The number of writes between sweeps.
    sweep_interval: u64,
    /// The number of writes between counts.
    count_interval: u64,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Sweeper {
    /// Creates a sweeper that sweeps after its first write, because a process may end after a few.
    pub(crate) fn new(max_entries: u64) -> Self {
        let count_interval = (max_entries / 10).max(1);
        let sweep_interval = count_interval.min(BATCH as u64);
        Self {
            since_sweep: AtomicU64::new(sweep_interval),
            since_count: AtomicU64::new(count_interval),
            sweep_interval,
            count_interval,
            running: Mutex::default(),
        }
    }

    /// Waits for the end of a running sweep.
    pub(crate) async fn finish(&self) {
        let running = self.running.lock().take();
        if let Some(running) = running {
            // The sweep logs its own errors.
            let _ = running.await;
        }
    }

    /// Counts rows that were written, and starts a sweep if it is due.
    pub(crate) fn record_writes(self: &Arc<Self>, shared: &Arc<Shared>, rows: u64) {
        self.since_count.fetch_add(rows, Ordering::Relaxed);
        if self.since_sweep.fetch_add(rows, Ordering::Relaxed) + rows < self.sweep_interval {
            return;
        }
        let mut running = self.running.lock();
        if running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let written = self.since_sweep.swap(0, Ordering::Relaxed);
        let (sweeper, shared) = (Arc::clone(self), Arc::clone(shared));
        *running = Some(runtime.spawn(async move {
            if let Err(error) = sweeper.sweep(&shared, written).await {
                tracing::warn!(
                    table = shared.table_name,
                    error = %format_args!("{error:#}"),
                    "failed to remove expired and surplus rows from the cache table"
                );
            }
        }));
    }

    async fn sweep(&self, shared: &Shared, written: u64) -> Result<()> {
        remove_expired(shared, 2 * written.max(BATCH as u64)).await?;
        if self.since_count.load(Ordering::Relaxed) >= self.count_interval {
            self.since_count.store(0, Ordering::Relaxed);
            cull(shared).await?;
        }
        Ok(())
    }
}

/// Removes up to `limit` expired rows and marks of leases that have ended. Returns how many were
/// removed.
pub(crate) async fn remove_expired(shared: &Shared, limit: u64) -> Result<u64> {
    let now = shared.now();
    // The marks of leases that are held come before these rows.
    remove_first_to_expire(shared, -now - 1, now, limit).await
}

/// Removes the rows that expire first if there are more than `max_entries`.
///
/// Processes that cull at the same time determine the same last row to remove, so they do not
/// remove twice as many.
async fn cull(shared: &Shared) -> Result<()> {
    let now = shared.now();
    let count = shared.count(now).await?;
    let options = &shared.options;
    let Some(surplus) = surplus(count, options.max_entries, options.cull_frequency) else {
        return Ok(());
    };
    let table = shared.writer()?;
    let last = i64::try_from(surplus - 1).unwrap_or(i64::MAX);
    let cutoff = shared.select_number(table, table.statements.expiry_at(last, now)).await?;
    if let Some(cutoff) = cutoff {
        let removed = remove_first_to_expire(shared, now, cutoff, surplus).await?;
        tracing::debug!(table = shared.table_name, count, removed, "culled the cache table");
    }
    Ok(())
}

/// How many of `count` rows a cull removes, if there are too many.
fn surplus(count: u64, max_entries: u64, cull_frequency: u64) -> Option<u64> {
    let remaining = entries_after_cull(max_entries, cull_frequency);
    (count > max_entries).then(|| count - remaining)
}

/// Removes up to `limit` rows that expire after `from` and not after `to`, in the order of expiry.
/// Returns how many were removed.
async fn remove_first_to_expire(shared: &Shared, from: i64, to: i64, limit: u64) -> Result<u64> {
    let table = shared.writer()?;
    let mut removed = 0;
    while removed < limit {
        let batch = usize::try_from(limit - removed).unwrap_or(BATCH).min(BATCH);
        let first = table.statements.first_to_expire(from, to, batch as i64);
        let rows = shared.select(table, first).await?;
        let mut keys: Vec<Vec<u8>> = rows.into_iter().map(|row| row.key).collect();
        if keys.is_empty() {
            break;
        }
        // All statements lock rows in the order of their keys, which avoids deadlocks.
        keys.sort_unstable();
        let remove = table.statements.remove(keys.iter().map(Vec::as_slice), from, to);
        shared.write(table, remove).await?;
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
    fn cull_removes_the_surplus_and_a_part_of_max_entries() {
        assert_eq!(surplus(300, 300, 3), None);
        assert_eq!(surplus(301, 300, 3), Some(101));
        assert_eq!(surplus(1000, 300, 3), Some(800));
        assert_eq!(surplus(2, 1, 3), Some(1));
    }

    #[test]
    fn cull_frequency_of_zero_or_one_removes_everything() {
        assert_eq!(surplus(301, 300, 0), Some(301));
        assert_eq!(surplus(301, 300, 1), Some(301));
    }
}
