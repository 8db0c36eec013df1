//! Writes whose callers went away while the database was at them.
//!
//! A statement that was sent is done, sooner or later, whoever waits for it. If what its caller does next overtook it on another
//! connection, an old value would come back that was just removed. So whoever writes waits until nothing is adrift, but not
//! for long: of what a dead connection has swallowed, nobody ever hears.

use tokio::sync::watch;

/// How many there are, in one database.
#[derive(Clone, Debug)]
pub(crate) struct Drift(watch::Sender<usize>);

/// One of them, until it has ended.
#[derive(Debug)]
pub(crate) struct Adrift(Drift);

impl Default for Drift {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Drift {
    pub(crate) fn begin(self) -> Adrift {
        self.0.send_modify(|adrift| *adrift += 1);
        Adrift(self)
    }

    /// Waits until there is none.
    pub(crate) async fn over(&self) {
        if *self.0.borrow() > 0 {
            // This value sends, so it does not end before.
            let _ = self.0.subscribe().wait_for(|adrift| *adrift == 0).await;
        }
    }
}

impl Drop for Adrift {
    fn drop(&mut self) {
        self.0.0.send_modify(|adrift| *adrift -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_over_when_the_last_one_has_ended() {
        let drift = Drift::default();
        drift.over().await;
        let both = [drift.clone().begin(), drift.clone().begin()];
        let waiting = tokio::spawn({
            let drift = drift.clone();
            async move { drift.over().await }
        });
        for adrift in both {
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            drop(adrift);
        }
        waiting.await.expect("it is over");
    }
}
