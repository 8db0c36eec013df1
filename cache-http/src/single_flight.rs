//! Single flight: of the callers that want the same result, one produces it and the others wait.
//!
//! The first caller that joins a key becomes the leader. Callers that join later wait until the
//! leader completes the flight. Each waiter can produce the result itself: if a leader is dropped,
//! a waiter takes over, and no background task is needed.
//!
//! A flight accepts waiters for a limited time, counted from its start. A caller also limits its
//! own waiting, over all flights that it joins, by a [deadline](SingleFlight::wait_deadline).
//!
//! If a result cannot be shared, one of the waiters takes over: the cause may lie in the leader
//! alone. If that result cannot be shared either, no caller waits for the key during the next 10
//! seconds. A result that is shared, or [produced](SingleFlight::produced) outside of a flight,
//! ends this.

use std::{collections::HashMap, hash::Hash, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

/// The flights of one cache in this process.
pub(crate) struct SingleFlight<K, T> {
    wait_timeout: Duration,
    state: Mutex<State<K, T>>,
}

struct State<K, T> {
    in_flight: HashMap<K, Flight<T>>,
    /// Keys whose last results could not be shared.
    unshared: HashMap<K, Unshared>,
}

/// A key whose last results could not be shared.
struct Unshared {
    /// How many results in a row.
    results: u32,
    /// Until when no caller waits, if there were enough of them.
    until: Instant,
}

impl Unshared {
    fn is_certain(&self) -> bool {
        self.results >= CERTAIN
    }
}

struct Flight<T> {
    /// `None` while the leader works.
    outcome: watch::Receiver<Option<Outcome<T>>>,
    started_at: Instant,
}

/// How a leader completes a flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<T> {
    /// The result, for the waiters.
    Shared(T),
    /// The result must not be shared. A waiter takes over, or each waiter produces its own.
    Unshareable,
    /// There is no result.
    Failed,
}

/// The role of a caller that has joined a key.
pub(crate) enum Joined<K: Eq + Hash, T> {
    /// Produce the result, and complete the flight.
    Leader(Leader<K, T>),
    /// Wait for the leader.
    Waiter(Waiter<T>),
    /// Produce the result without a flight: recent results for this key could not be shared.
    Unshared,
}

/// How waiting ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited<T> {
    Completed(Outcome<T>),
    /// The leader was dropped before it completed the flight.
    LeaderDropped,
    TimedOut,
}

/// The caller that produces the result.
///
/// If it is dropped without [`complete`](Self::complete), a waiter takes over.
pub(crate) struct Leader<K: Eq + Hash, T> {
    flights: Arc<SingleFlight<K, T>>,
    key: K,
    outcome: watch::Sender<Option<Outcome<T>>>,
}

/// A caller that waits for the leader.
pub(crate) struct Waiter<T> {
    outcome: watch::Receiver<Option<Outcome<T>>>,
    deadline: Instant,
}

/// How many results in a row must be unshareable until no caller waits.
const CERTAIN: u32 = 2;
/// How long no caller waits for a key after its results could not be shared.
const UNSHARED_FOR: Duration = Duration::from_secs(10);
/// The maximum number of keys that are remembered as unshared.
const MAX_UNSHARED: usize = 4096;

impl<K: Clone + Eq + Hash, T> SingleFlight<K, T> {
    pub(crate) fn new(wait_timeout: Duration) -> Self {
        let state = State { in_flight: HashMap::new(), unshared: HashMap::new() };
        Self { wait_timeout, state: Mutex::new(state) }
    }

    /// The deadline of a caller that starts waiting now.
    pub(crate) fn wait_deadline(&self) -> Instant {
        Instant::now() + self.wait_timeout
    }

    /// Joins the flight for `key`, or starts one.
    pub(crate) fn join(self: &Arc<Self>, key: &K) -> Joined<K, T> {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.unshared.get(key).is_some_and(|key| key.is_certain() && now < key.until) {
            return Joined::Unshared;
        }
        if let Some(flight) = state.in_flight.get(key) {
            let deadline = flight.started_at + self.wait_timeout;
            if now < deadline {
                return Joined::Waiter(Waiter { outcome: flight.outcome.clone(), deadline });
            }
        }
        let (outcome, receiver) = watch::channel(None);
        state.in_flight.insert(key.clone(), Flight { outcome: receiver, started_at: now });
        Joined::Leader(Leader { flights: Arc::clone(self), key: key.clone(), outcome })
    }

    /// Whether the last results for `key` could not be shared, however long ago.
    pub(crate) fn is_unshared(&self, key: &K) -> bool {
        self.state.lock().unshared.get(key).is_some_and(Unshared::is_certain)
    }

    /// Records that a result for `key` can be shared.
    pub(crate) fn produced(&self, key: &K) {
        self.state.lock().unshared.remove(key);
    }

    #[cfg(test)]
    fn in_flight(&self) -> usize {
        self.state.lock().in_flight.len()
    }
}

impl<K: Clone + Eq + Hash, T> State<K, T> {
    fn add_unshared(&mut self, key: &K) {
        if self.unshared.len() >= MAX_UNSHARED && !self.unshared.contains_key(key) {
            self.unshared.clear();
        }
        let until = Instant::now() + UNSHARED_FOR;
        let unshared = self.unshared.entry(key.clone()).or_insert(Unshared { results: 0, until });
        unshared.results = unshared.results.saturating_add(1);
        unshared.until = until;
    }
}

impl<K: Eq + Hash, T> Leader<K, T> {
    /// Ends the flight and wakes the waiters.
    pub(crate) fn complete(self, outcome: Outcome<T>)
    where
        K: Clone,
    {
        match &outcome {
            Outcome::Unshareable => self.flights.state.lock().add_unshared(&self.key),
            Outcome::Shared(_) => self.flights.produced(&self.key),
            Outcome::Failed => {}
        }
        // A waiter that joins again must not find this flight.
        self.remove();
        self.outcome.send_replace(Some(outcome));
    }
}

impl<K: Eq + Hash, T> Drop for Leader<K, T> {
    fn drop(&mut self) {
        self.remove();
    }
}

impl<K: Eq + Hash, T> Leader<K, T> {
    /// Removes the flight, unless this leader took too long and another one has started a flight
    /// for the same key.
    fn remove(&self) {
        let mut state = self.flights.state.lock();
        let own = state
            .in_flight
            .get(&self.key)
            .is_some_and(|flight| self.outcome.subscribe().same_channel(&flight.outcome));
        if own {
            state.in_flight.remove(&self.key);
        }
    }
}

impl<T: Clone> Waiter<T> {
    /// Waits until the flight ends, the flight has lasted too long, or `wait_deadline` passes.
    pub(crate) async fn wait(mut self, wait_deadline: Instant) -> Waited<T> {
        let completed = self.outcome.wait_for(Option::is_some);
        match tokio::time::timeout_at(self.deadline.min(wait_deadline), completed).await {
            Ok(Ok(outcome)) => outcome.clone().map_or(Waited::LeaderDropped, Waited::Completed),
            Ok(Err(_dropped)) => Waited::LeaderDropped,
            Err(_elapsed) => Waited::TimedOut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Flights = Arc<SingleFlight<&'static str, u8>>;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn flights() -> Flights {
        Arc::new(SingleFlight::new(TIMEOUT))
    }

    fn lead(flights: &Flights) -> Leader<&'static str, u8> {
        match flights.join(&"k") {
            Joined::Leader(leader) => leader,
            Joined::Waiter(_) | Joined::Unshared => panic!("another caller leads"),
        }
    }

    fn wait(flights: &Flights) -> Waiter<u8> {
        match flights.join(&"k") {
            Joined::Waiter(waiter) => waiter,
            Joined::Leader(_) | Joined::Unshared => panic!("no flight to wait for"),
        }
    }

    #[tokio::test]
    async fn waiter_gets_the_result_of_the_leader() {
        let flights = flights();
        let leader = lead(&flights);
        let waiter = wait(&flights);
        leader.complete(Outcome::Shared(7));
        let waited = waiter.wait(flights.wait_deadline()).await;
        assert_eq!(waited, Waited::Completed(Outcome::Shared(7)));
        assert_eq!(flights.in_flight(), 0, "no flight is left behind");
    }

    #[tokio::test]
    async fn waiter_takes_over_from_a_dropped_leader() {
        let flights = flights();
        let leader = lead(&flights);
        let waiter = wait(&flights);
        drop(leader);
        assert_eq!(waiter.wait(flights.wait_deadline()).await, Waited::LeaderDropped);
        drop(lead(&flights));
    }

    #[tokio::test(start_paused = true)]
    async fn waiter_times_out_and_the_next_caller_leads() {
        let flights = flights();
        let slow = lead(&flights);
        let waiter = wait(&flights);
        assert_eq!(waiter.wait(flights.wait_deadline()).await, Waited::TimedOut);
        let next = lead(&flights);
        drop(slow);
        assert_eq!(flights.in_flight(), 1, "the slow leader does not end the next flight");
        drop(next);
        assert_eq!(flights.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn wait_deadline_covers_all_flights_that_a_caller_joins() {
        let (flights, started_at) = (flights(), Instant::now());
        let wait_deadline = flights.wait_deadline();
        let (first, waiter) = (lead(&flights), wait(&flights));
        tokio::time::advance(TIMEOUT - Duration::from_secs(1)).await;
        drop(first);
        assert_eq!(waiter.wait(wait_deadline).await, Waited::LeaderDropped);
        let _second = lead(&flights);
        assert_eq!(wait(&flights).wait(wait_deadline).await, Waited::TimedOut);
        assert_eq!(started_at.elapsed().as_secs(), TIMEOUT.as_secs());
    }

    #[tokio::test]
    async fn caller_after_one_unshareable_result_leads() {
        let flights = flights();
        let leader = lead(&flights);
        let waiter = wait(&flights);
        leader.complete(Outcome::Unshareable);
        let waited = waiter.wait(flights.wait_deadline()).await;
        assert_eq!(waited, Waited::Completed(Outcome::Unshareable));
        let _next = lead(&flights);
        wait(&flights);
    }

    #[tokio::test(start_paused = true)]
    async fn unshareable_results_in_a_row_make_callers_not_wait_for_a_while() {
        let flights = flights();
        for _ in 0..CERTAIN {
            lead(&flights).complete(Outcome::Unshareable);
        }
        assert!(matches!(flights.join(&"k"), Joined::Unshared));
        tokio::time::advance(UNSHARED_FOR).await;
        lead(&flights).complete(Outcome::Unshareable);
        assert!(matches!(flights.join(&"k"), Joined::Unshared), "one more result is enough");
    }

    #[tokio::test(start_paused = true)]
    async fn result_that_can_be_shared_makes_callers_wait_again() {
        let flights = flights();
        for _ in 0..CERTAIN {
            lead(&flights).complete(Outcome::Unshareable);
        }
        assert!(flights.is_unshared(&"k"));
        flights.produced(&"k");
        assert!(!flights.is_unshared(&"k"));
        lead(&flights).complete(Outcome::Unshareable);
        lead(&flights).complete(Outcome::Shared(7));
        lead(&flights).complete(Outcome::Unshareable);
        drop(lead(&flights));
    }
}
