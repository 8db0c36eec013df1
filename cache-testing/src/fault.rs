//! The faults that can be injected.

use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use cache_core::{Error, ErrorKind};

use crate::{Verb, Verbs};

/// A fault, and the calls that it affects: those of every verb, unless [`on`](Self::on) says
/// otherwise.
///
/// | fault | the store is called | the caller receives |
/// |---|---|---|
/// | [`latency`](Self::latency) | yes, later | the result, later |
/// | [`error`](Self::error), [`error_with`](Self::error_with) | no | the error |
/// | [`hang`](Self::hang) | no | nothing, ever |
/// | [`lost_reply`](Self::lost_reply) | yes | [`ErrorKind::Unavailable`] |
/// | [`partial_batch`](Self::partial_batch) | with the first half of the batch | [`ErrorKind::Unavailable`] |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use cache_core::ErrorKind;
/// use cache_testing::{Fault, Verb, Verbs};
///
/// let slow_reads = Fault::latency(Duration::from_millis(80)).on(Verbs::READS);
/// let flaky = Fault::error(ErrorKind::Unavailable).probability(0.1);
/// let second_add_is_lost = Fault::lost_reply().on(Verb::Add).skip(1).times(1);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    effect: Effect,
    verbs: Verbs,
    probability: f64,
    skip: u64,
    /// How many more calls to affect; `None` for all.
    times: Option<u64>,
}

/// What a fault does to a call.
#[derive(Clone)]
pub(crate) enum Effect {
    Latency(RangeInclusive<Duration>),
    Error(Arc<dyn Fn() -> Error + Send + Sync>),
    Hang,
    LostReply,
    PartialBatch,
}

impl Fault {
    fn new(effect: Effect) -> Self {
        Self { effect, verbs: Verbs::ALL, probability: 1.0, skip: 0, times: None }
    }

    /// Delays calls by `latency`. Delays of several faults add up.
    ///
    /// The delay is a `tokio::time::sleep`, so a call must run in a tokio runtime with its timer
    /// enabled. In a test with `start_paused = true`, it takes no real time.
    pub fn latency(latency: Duration) -> Self {
        Self::latency_between(latency..=latency)
    }

    /// Like [`latency`](Self::latency), with a random delay in this range.
    ///
    /// # Panics
    ///
    /// Panics if the range is empty.
    pub fn latency_between(latency: RangeInclusive<Duration>) -> Self {
        assert!(!latency.is_empty(), "the range of latencies is empty: {latency:?}");
        Self::new(Effect::Latency(latency))
    }

    /// Fails calls with an error of this kind.
    pub fn error(kind: ErrorKind) -> Self {
        Self::error_with(move || Error::new(kind, "injected error"))
    }

    /// Fails calls with the errors that `make` returns.
    pub fn error_with(make: impl Fn() -> Error + Send + Sync + 'static) -> Self {
        Self::new(Effect::Error(Arc::new(make)))
    }

    /// Lets calls hang: their futures never complete, not even if the fault is removed.
    ///
    /// A correct store never does this, but fails with [`ErrorKind::Unavailable`] within seconds.
    /// The fault shows what the caller does until then.
    pub fn hang() -> Self {
        Self::new(Effect::Hang)
    }

    /// Calls the store and then fails the call, as if the connection broke before the reply: the
    /// caller cannot know whether a write has happened.
    pub fn lost_reply() -> Self {
        Self::new(Effect::LostReply)
    }

    /// Calls the store with the first half of a batch, rounded down, and then fails the call.
    ///
    /// Affects [`Verbs::BATCHES`], unless [`on`](Self::on) says otherwise. A call with one entry or
    /// none fails without calling the store.
    pub fn partial_batch() -> Self {
        Self::new(Effect::PartialBatch).on(Verbs::BATCHES)
    }

    /// Limits the fault to these verbs.
    pub fn on(mut self, verbs: impl Into<Verbs>) -> Self {
        self.verbs = verbs.into();
        self
    }

    /// Sets the share of calls that are affected, from 0 to 1. The default is 1.
    ///
    /// The seed of the [`Chaos`](crate::Chaos) decides which.
    ///
    /// # Panics
    ///
    /// Panics if `probability` is not between 0 and 1.
    pub fn probability(mut self, probability: f64) -> Self {
        assert!((0.0..=1.0).contains(&probability), "no probability: {probability}");
        self.probability = probability;
        self
    }

    /// Does not affect the first `calls` calls of its verbs.
    pub fn skip(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Affects `calls` calls and no more. The default is all.
    pub fn times(mut self, calls: u64) -> Self {
        self.times = Some(calls);
        self
    }

    pub(crate) fn effect(&self) -> &Effect {
        &self.effect
    }

    /// Returns whether the fault may still affect a call of `verb`.
    pub(crate) fn may_affect(&self, verb: Verb) -> bool {
        self.verbs.contains(verb) && self.times != Some(0)
    }

    /// Returns whether the fault affects the call of `verb` that begins now, and counts the call.
    pub(crate) fn affects(&mut self, verb: Verb, random: &mut fastrand::Rng) -> bool {
        if !self.may_affect(verb) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let affects = self.probability >= 1.0 || random.f64() < self.probability;
        if affects && let Some(times) = &mut self.times {
            *times -= 1;
        }
        affects
    }
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency(range) => write!(f, "Latency({range:?})"),
            Self::Error(_) => f.write_str("Error"),
            Self::Hang => f.write_str("Hang"),
            Self::LostReply => f.write_str("LostReply"),
            Self::PartialBatch => f.write_str("PartialBatch"),
        }
    }
}
