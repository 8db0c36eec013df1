//! The wrapper that injects faults.

use std::{future, sync::Arc, time::Duration};

use cache_core::{Cache, Error, ErrorKind, Result};
use parking_lot::Mutex;

use crate::{
    Call, Fault, Verb,
    fault::Effect,
    intercept::{Intercept, intercept},
};

/// A wrapper that injects [`Fault`]s into the calls of its store.
///
/// Clones share the faults, so that a test can [`inject`](Self::inject) while the application holds
/// the store. Without faults, all calls are forwarded.
///
/// If several faults affect a call, their latencies add up; of the others, the one that was
/// injected first counts.
///
/// # Outages
///
/// After three errors of the kind [`ErrorKind::Unavailable`] in a row, `get_or_set` and `fetch` do
/// not read the store for one second, by the clock of the handle: they produce values without
/// calling it. Such a call is not affected by a fault, and also one after [`heal`](Self::heal) may
/// not reach the store yet. A test that needs it to advances the
/// [`ManualClock`](cache_core::ManualClock) of the handle.
///
/// # Randomness
///
/// Probabilities and random latencies depend only on the [seed](Self::seeded), which is 0 by
/// default, and on the order of calls. A test whose calls have one order therefore has one result.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use cache_core::{CacheHandle, ErrorKind, Settings, Timeout};
/// use cache_locmem::LocMemCache;
/// use cache_testing::{Chaos, Fault, Verb};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// let chaos = Chaos::new(Arc::new(LocMemCache::default()));
/// let cache = CacheHandle::new("default", Arc::new(chaos.clone()), Settings::default());
///
/// chaos.inject(Fault::lost_reply().on(Verb::Set).times(1));
/// let error = cache.set("k", &1, Timeout::Default).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert_eq!(cache.get("k").await?, Some(1), "it was stored all the same");
/// assert_eq!(chaos.affected(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Chaos {
    store: Arc<dyn Cache>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    faults: Vec<Fault>,
    random: fastrand::Rng,
    affected: u64,
}

/// What happens to one call.
#[derive(Default)]
struct Plan {
    latency: Duration,
    effect: Option<Effect>,
}

impl Chaos {
    /// Wraps a store, with the seed 0.
    #[must_use]
    pub fn new(store: Arc<dyn Cache>) -> Self {
        let random = fastrand::Rng::with_seed(0);
        let state = State { faults: Vec::new(), random, affected: 0 };
        Self { store, state: Arc::new(Mutex::new(state)) }
    }

    /// Sets the seed of the probabilities and random latencies.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        self.state.lock().random = fastrand::Rng::with_seed(seed);
        self
    }

    /// Adds a fault, for the calls that begin from now on.
    pub fn inject(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// Removes all faults. Calls that have begun keep theirs: a call that hangs, hangs forever.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// Returns the number of calls that faults have affected.
    #[must_use]
    pub fn affected(&self) -> u64 {
        self.state.lock().affected
    }
}

impl State {
    fn plan(&mut self, verb: Verb) -> Plan {
        let mut plan = Plan::default();
        let mut is_affected = false;
        for fault in &mut self.faults {
            let is_latency = matches!(fault.effect(), Effect::Latency(_));
            // A second error is not counted: it does not happen.
            if (!is_latency && plan.effect.is_some()) || !fault.affects(verb, &mut self.random) {
                continue;
            }
            is_affected = true;
            match fault.effect() {
                Effect::Latency(range) => {
                    let spread = range.end().saturating_sub(*range.start());
                    plan.latency += *range.start() + spread.mul_f64(self.random.f64());
                }
                effect => plan.effect = Some(effect.clone()),
            }
        }
        self.affected += u64::from(is_affected);
        plan
    }
}

impl Intercept for Chaos {
    fn must_wait(&self, verb: Verb) -> bool {
        self.state.lock().faults.iter().any(|fault| fault.may_affect(verb))
    }

    fn answered_now(&self, _: impl FnOnce() -> Call) {}

    async fn around<T, F>(&self, call: Call, run: impl FnOnce(usize) -> F + Send) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let items = call.keys.len();
        let plan = self.state.lock().plan(call.verb);
        if !plan.latency.is_zero() {
            tokio::time::sleep(plan.latency).await;
        }
        match plan.effect {
            None | Some(Effect::Latency(_)) => run(items).await,
            Some(Effect::Error(make)) => Err(make()),
            Some(Effect::Hang) => future::pending().await,
            Some(Effect::LostReply) => {
                run(items).await?;
                Err(unavailable("injected loss of the reply"))
            }
            Some(Effect::PartialBatch) => {
                let half = items / 2;
                if half > 0 {
                    run(half).await?;
                }
                Err(unavailable("injected failure after half of the batch"))
            }
        }
    }
}

intercept!(Chaos);

fn unavailable(message: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}
