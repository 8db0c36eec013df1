//! The wrapper that holds calls.

use std::sync::Arc;

use cache_core::{Cache, Result};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    Call, Verb, Verbs,
    intercept::{Intercept, intercept},
};

/// A wrapper that holds chosen calls until the test releases them.
///
/// It makes races deterministic: the test holds one call, does something else, and releases the
/// call. Clones share the holds. Calls that are not held are forwarded.
///
/// # Examples
///
/// A value that was produced before a `delete` is stored after it:
///
/// ```
/// use std::sync::Arc;
///
/// use cache_core::{CacheHandle, Settings, Timeout};
/// use cache_locmem::LocMemCache;
/// use cache_testing::{Pause, Verb};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// let pause = Pause::new(Arc::new(LocMemCache::default()));
/// let cache = CacheHandle::new("default", Arc::new(pause.clone()), Settings::default());
///
/// let held = pause.before(Verb::Set, 1);
/// let (stored, deleted) = tokio::join!(
///     cache.set("price", &7, Timeout::Default),
///     held.during(cache.delete("price")),
/// );
/// stored?;
/// assert!(!deleted?, "nothing was stored yet");
/// assert_eq!(cache.get("price").await?, Some(7));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Pause {
    store: Arc<dyn Cache>,
    holds: Arc<Mutex<Vec<Hold>>>,
}

/// Where a call is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the store is called.
    Request,
    /// After the store has returned.
    Reply,
}

/// A call that will be held.
#[derive(Debug)]
struct Hold {
    verbs: Verbs,
    place: Place,
    /// How many matching calls to forward first.
    skip: usize,
    phase: Phases,
}

type Phases = Arc<watch::Sender<Phase>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Expected,
    Held,
    Released,
}

impl Pause {
    /// Wraps a store.
    #[must_use]
    pub fn new(store: Arc<dyn Cache>) -> Self {
        Self { store, holds: Arc::default() }
    }

    /// Holds the `n`-th call of `verbs` from now on, before the store is called.
    ///
    /// The first call is number 1.
    ///
    /// # Panics
    ///
    /// Panics if `n` is 0.
    pub fn before(&self, verbs: impl Into<Verbs>, n: usize) -> Held {
        self.hold(verbs.into(), n, Place::Request)
    }

    /// Holds the `n`-th call of `verbs` from now on, after the store has returned and before the
    /// caller receives the result.
    ///
    /// The first call is number 1.
    ///
    /// # Panics
    ///
    /// Panics if `n` is 0.
    pub fn after(&self, verbs: impl Into<Verbs>, n: usize) -> Held {
        self.hold(verbs.into(), n, Place::Reply)
    }

    fn hold(&self, verbs: Verbs, n: usize, place: Place) -> Held {
        let skip = n.checked_sub(1).expect("calls are counted from 1");
        let phase = Arc::new(watch::Sender::new(Phase::Expected));
        let hold = Hold { verbs, place, skip, phase: Arc::clone(&phase) };
        self.holds.lock().push(hold);
        Held { phase }
    }

    /// Removes and returns the holds of the call that begins now, and counts it for the others.
    fn holds_of(&self, verb: Verb) -> Vec<Hold> {
        let mut holds = self.holds.lock();
        let due = holds.extract_if(.., |hold| {
            if !hold.verbs.contains(verb) || hold.is_released() {
                return hold.is_released();
            }
            let is_due = hold.skip == 0;
            hold.skip = hold.skip.saturating_sub(1);
            is_due
        });
        due.collect()
    }
}

impl Hold {
    fn is_released(&self) -> bool {
        *self.phase.borrow() == Phase::Released
    }

    /// Waits at `place` until the call is released.
    async fn wait(&self, place: Place) {
        if self.place != place {
            return;
        }
        let reached = |phase: &mut Phase| {
            let expected = *phase == Phase::Expected;
            if expected {
                *phase = Phase::Held;
            }
            expected
        };
        self.phase.send_if_modified(reached);
        let mut phase = self.phase.subscribe();
        // The sender is alive, so there is no error.
        let _ = phase.wait_for(|phase| *phase == Phase::Released).await;
    }
}

impl Intercept for Pause {
    fn must_wait(&self, verb: Verb) -> bool {
        self.holds.lock().iter().any(|hold| hold.verbs.contains(verb) && !hold.is_released())
    }

    fn answered_now(&self, _: impl FnOnce() -> Call) {}

    async fn around<T, F>(&self, call: Call, run: impl FnOnce(usize) -> F + Send) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let holds = self.holds_of(call.verb);
        for hold in &holds {
            hold.wait(Place::Request).await;
        }
        let result = run(call.keys.len()).await;
        for hold in &holds {
            hold.wait(Place::Reply).await;
        }
        result
    }
}

intercept!(Pause);

/// A call that a [`Pause`] holds, or will hold.
///
/// Dropping this releases the call, or cancels the hold if the call has not begun.
#[derive(Debug)]
#[must_use = "dropping it releases the call"]
pub struct Held {
    phase: Phases,
}

impl Held {
    /// Waits until the call is held.
    ///
    /// Never returns if there is no such call.
    pub async fn reached(&self) {
        let mut phase = self.phase.subscribe();
        // The sender is alive, so there is no error.
        let _ = phase.wait_for(|phase| *phase != Phase::Expected).await;
    }

    /// Returns whether the call is held now.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        *self.phase.borrow() == Phase::Held
    }

    /// Releases the call.
    pub fn release(self) {}

    /// Waits until the call is held, runs `action`, and releases the call.
    ///
    /// Never returns if there is no such call.
    pub async fn during<T>(self, action: impl Future<Output = T>) -> T {
        self.reached().await;
        action.await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Released);
    }
}
