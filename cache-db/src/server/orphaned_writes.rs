//! Writes whose future was dropped after they were sent.
//!
//! The database executes a statement that was sent, even if its caller is gone. If the next write
//! of that caller overtook it on another connection, a value that was just removed could come back.
//! Writes therefore wait until there is no orphaned write, for a limited time: a write that was
//! lost on a dead connection never ends.

use tokio::sync::watch;

/// The number of orphaned writes of one database.
#[derive(Clone, Debug)]
pub(crate) struct OrphanedWrites(watch::Sender<usize>);

/// An orphaned write, until it is dropped.
#[derive(Debug)]
pub(crate) struct OrphanedWrite(OrphanedWrites);

impl Default for OrphanedWrites {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl OrphanedWrites {
    /// Counts one more until the returned value is dropped.
    pub(crate) fn register(self) -> OrphanedWrite {
        self.0.send_modify(|count| *count += 1);
        OrphanedWrite(self)
    }

    /// Waits until there are none.
    pub(crate) async fn finished(&self) {
        if *self.0.borrow() > 0 {
            // The channel stays open while `self` holds its sender.
            let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
        }
    }
}

impl Drop for OrphanedWrite {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn finished_waits_for_the_last_orphaned_write() {
        let orphaned = OrphanedWrites::default();
        orphaned.finished().await;
        let both = [orphaned.clone().register(), orphaned.clone().register()];
        let waiting = tokio::spawn({
            let orphaned = orphaned.clone();
            async move { orphaned.finished().await }
        });
        for write in both {
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            drop(write);
        }
        waiting.await.expect("the task does not panic");
    }
}
