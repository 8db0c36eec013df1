//! The requests that produce pages, and those that wait for them.
//!
//! This is the [single flight](cache_core::single_flight) of cachette with the rules of pages.
//!
//! A flight accepts waiters for a limited time, counted from when its leader began. A request also
//! limits its own waiting, over all flights that it joins, by a
//! [deadline](Flights::wait_deadline). If a leader is dropped, one waiter takes over.
//!
//! If a result cannot be shared, one of the waiters leads the next flight: the cause may lie in the
//! leader alone. If that result cannot be shared either, no request waits for a while, see
//! [`UnsharedKeys`]. A result that is shared, or [produced](Flights::produced) outside of a flight,
//! ends this.

use std::{future::poll_fn, hash::Hash, sync::Arc, time::Duration};

use cache_core::single_flight::{self, SingleFlight, Time};
use tokio::time::{Instant, timeout_at};

use crate::unshared::UnsharedKeys;

/// The flights of one cache in this process.
pub(crate) struct Flights<K, T> {
    wait_timeout: Duration,
    flights: Arc<SingleFlight<K, Outcome<T>, TimerTime>>,
    unshared: UnsharedKeys<K>,
}

/// The time of tokio's timer, which limits the waiting.
#[derive(Clone, Copy, Debug)]
struct TimerTime;

impl Time for TimerTime {
    type Instant = Instant;

    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// How a leader completes a flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<T> {
    /// The result, for the waiters.
    Shared(T),
    /// The result must not be shared. A waiter leads the next flight, or each waiter produces its
    /// own.
    Unshareable,
    /// There is no result.
    Failed,
    /// The waiters look for the result in the store, and join again if it is not there.
    Retry,
}

/// The role of a caller that has joined a key.
pub(crate) enum Joined<K: Clone + Eq + Hash, T: Clone> {
    /// Produce the result, and complete the flight.
    Leader(Leader<K, T>),
    /// Wait for the leader.
    Waiter(Waiter<K, T>),
    /// Produce the result without a flight: recent results for this key could not be shared.
    Unshared,
}

/// How waiting ended.
pub(crate) enum Waited<K: Clone + Eq + Hash, T: Clone> {
    Completed(Outcome<T>),
    /// The leader was dropped before it completed the flight, and this caller has taken over.
    Leader(Leader<K, T>),
    TimedOut,
}

/// The caller that produces the result.
///
/// If it is dropped without [`complete`](Self::complete), a waiter takes over.
pub(crate) struct Leader<K: Clone + Eq + Hash, T: Clone> {
    flights: Arc<Flights<K, T>>,
    key: K,
    leader: single_flight::Leader<K, Outcome<T>, TimerTime>,
}

/// A caller that waits for the leader.
pub(crate) struct Waiter<K: Clone + Eq + Hash, T: Clone> {
    flights: Arc<Flights<K, T>>,
    key: K,
    waiter: single_flight::Waiter<K, Outcome<T>, TimerTime>,
}

/// Longer than any request waits. An [`Instant`] cannot be as far away as [`Duration::MAX`].
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

impl<K: Clone + Eq + Hash, T: Clone> Flights<K, T> {
    pub(crate) fn new(wait_timeout: Duration) -> Self {
        let flights = Arc::new(SingleFlight::new(TimerTime));
        let wait_timeout = wait_timeout.min(LONGEST_WAIT);
        Self { wait_timeout, flights, unshared: UnsharedKeys::new() }
    }

    /// The deadline of a caller that starts waiting now.
    pub(crate) fn wait_deadline(&self) -> Instant {
        Instant::now() + self.wait_timeout
    }

    /// Joins the flight for `key`, or starts one.
    pub(crate) fn join(self: &Arc<Self>, key: &K) -> Joined<K, T> {
        if self.unshared.is_alone(key) {
            return Joined::Unshared;
        }
        let accepts = |led_since: Instant| Instant::now() < led_since + self.wait_timeout;
        let (flights, own_key) = (Arc::clone(self), key.clone());
        match self.flights.join_if(key, accepts) {
            single_flight::Joined::Leader(leader) => {
                Joined::Leader(Leader { flights, key: own_key, leader })
            }
            single_flight::Joined::Waiter(waiter) => {
                Joined::Waiter(Waiter { flights, key: own_key, waiter })
            }
            // Only of leaders that use `produce`, which pages do not: their bodies outlive the call.
            single_flight::Joined::Recursive => Joined::Unshared,
        }
    }

    /// Whether the last results for `key` could not be shared, however long ago.
    pub(crate) fn is_unshared(&self, key: &K) -> bool {
        self.unshared.contains(key)
    }

    /// Records that a result for `key` can be shared.
    pub(crate) fn produced(&self, key: &K) {
        self.unshared.remove(key);
    }
}

impl<K: Clone + Eq + Hash, T: Clone> Leader<K, T> {
    /// Ends the flight and wakes the waiters.
    pub(crate) fn complete(self, outcome: Outcome<T>) {
        match &outcome {
            Outcome::Unshareable => self.flights.unshared.add(&self.key),
            Outcome::Shared(_) => self.flights.produced(&self.key),
            Outcome::Failed | Outcome::Retry => {}
        }
        self.leader.complete(outcome);
    }
}

impl<K: Clone + Eq + Hash, T: Clone> Waiter<K, T> {
    /// Waits until the flight ends, this caller takes over, the leader takes too long, or
    /// `wait_deadline` passes.
    pub(crate) async fn wait(self, wait_deadline: Instant) -> Waited<K, T> {
        let Self { flights, key, mut waiter } = self;
        loop {
            let led_since = waiter.led_since();
            let deadline = wait_deadline.min(led_since + flights.wait_timeout);
            let waited = timeout_at(deadline, poll_fn(|context| waiter.poll_wait(context))).await;
            return match waited {
                Ok(single_flight::Waited::Completed(outcome)) => Waited::Completed(outcome),
                Ok(single_flight::Waited::Failed) => Waited::Completed(Outcome::Failed),
                Ok(single_flight::Waited::Leader(leader)) => {
                    Waited::Leader(Leader { flights, key, leader })
                }
                // Another waiter has taken over meanwhile.
                Err(_) if deadline < wait_deadline && waiter.led_since() != led_since => continue,
                Err(_) => Waited::TimedOut,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestFlights = Arc<Flights<&'static str, u8>>;

    const TIMEOUT: Duration = Duration::from_secs(5);
    const SECOND: Duration = Duration::from_secs(1);

    fn flights() -> TestFlights {
        Arc::new(Flights::new(TIMEOUT))
    }

    fn lead(flights: &TestFlights) -> Leader<&'static str, u8> {
        match flights.join(&"k") {
            Joined::Leader(leader) => leader,
            Joined::Waiter(_) | Joined::Unshared => panic!("another caller leads"),
        }
    }

    fn wait(flights: &TestFlights) -> Waiter<&'static str, u8> {
        match flights.join(&"k") {
            Joined::Waiter(waiter) => waiter,
            Joined::Leader(_) | Joined::Unshared => panic!("no flight to wait for"),
        }
    }

    fn outcome(waited: Waited<&'static str, u8>) -> Option<Outcome<u8>> {
        match waited {
            Waited::Completed(outcome) => Some(outcome),
            Waited::Leader(_) => panic!("this caller leads"),
            Waited::TimedOut => None,
        }
    }

    #[tokio::test]
    async fn waiter_gets_the_result_of_the_leader() {
        let flights = flights();
        let leader = lead(&flights);
        let waiter = wait(&flights);
        leader.complete(Outcome::Shared(7));
        let waited = waiter.wait(flights.wait_deadline()).await;
        assert_eq!(outcome(waited), Some(Outcome::Shared(7)));
        assert_eq!(flights.flights.in_flight(), 0, "no flight is left behind");
    }

    #[tokio::test]
    async fn wait_timeout_may_be_the_longest_duration() {
        let flights: TestFlights = Arc::new(Flights::new(Duration::MAX));
        let leader = lead(&flights);
        let waiter = wait(&flights);
        leader.complete(Outcome::Shared(7));
        let waited = waiter.wait(flights.wait_deadline()).await;
        assert_eq!(outcome(waited), Some(Outcome::Shared(7)));
    }

    #[tokio::test]
    async fn waiter_takes_over_from_a_dropped_leader() {
        let flights = flights();
        let leader = lead(&flights);
        let (first, second) = (wait(&flights), wait(&flights));
        drop(leader);
        let Waited::Leader(next) = first.wait(flights.wait_deadline()).await else {
            panic!("nobody leads");
        };
        next.complete(Outcome::Shared(7));
        let waited = second.wait(flights.wait_deadline()).await;
        assert_eq!(outcome(waited), Some(Outcome::Shared(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn waiter_times_out_and_the_next_caller_leads() {
        let flights = flights();
        let slow = lead(&flights);
        let waiter = wait(&flights);
        assert_eq!(outcome(waiter.wait(flights.wait_deadline()).await), None);
        let next = lead(&flights);
        drop(slow);
        assert_eq!(flights.flights.in_flight(), 1, "the slow leader does not end the next flight");
        drop(next);
        assert_eq!(flights.flights.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn waiter_gives_a_new_leader_its_time() {
        let (flights, started_at) = (flights(), Instant::now());
        let first = lead(&flights);
        tokio::time::advance(TIMEOUT - SECOND).await;
        let (second, third) = (wait(&flights), wait(&flights));
        drop(first);
        let Waited::Leader(second) = second.wait(flights.wait_deadline()).await else {
            panic!("nobody leads");
        };
        let third = third.wait(flights.wait_deadline());
        let (waited, ()) = tokio::join!(third, async {
            tokio::time::sleep(3 * SECOND).await;
            second.complete(Outcome::Shared(7));
        });
        assert_eq!(outcome(waited), Some(Outcome::Shared(7)));
        assert!(started_at.elapsed() > TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn wait_deadline_covers_all_flights_that_a_caller_joins() {
        let (flights, started_at) = (flights(), Instant::now());
        let wait_deadline = flights.wait_deadline();
        let (first, waiter) = (lead(&flights), wait(&flights));
        tokio::time::advance(TIMEOUT - SECOND).await;
        first.complete(Outcome::Retry);
        assert_eq!(outcome(waiter.wait(wait_deadline).await), Some(Outcome::Retry));
        let _second = lead(&flights);
        assert_eq!(outcome(wait(&flights).wait(wait_deadline).await), None);
        assert_eq!(started_at.elapsed().as_secs(), TIMEOUT.as_secs());
    }

    #[tokio::test]
    async fn caller_after_one_unshareable_result_leads() {
        let flights = flights();
        let leader = lead(&flights);
        let waiter = wait(&flights);
        leader.complete(Outcome::Unshareable);
        let waited = waiter.wait(flights.wait_deadline()).await;
        assert_eq!(outcome(waited), Some(Outcome::Unshareable));
        let _next = lead(&flights);
        wait(&flights);
    }

    #[tokio::test]
    async fn result_that_is_shared_or_produced_makes_callers_wait_again() {
        let flights = flights();
        let share_nothing = || {
            lead(&flights).complete(Outcome::Unshareable);
            lead(&flights).complete(Outcome::Unshareable);
            assert!(matches!(flights.join(&"k"), Joined::Unshared));
            assert!(flights.is_unshared(&"k"));
        };
        share_nothing();
        flights.produced(&"k");
        assert!(!flights.is_unshared(&"k"));
        lead(&flights).complete(Outcome::Unshareable);
        lead(&flights).complete(Outcome::Shared(7));
        share_nothing();
    }
}
