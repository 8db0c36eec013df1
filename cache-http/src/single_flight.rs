//! One request at a time makes a page, and those who want the same page wait for it.
//!
//! A leader may vanish at any moment: then one of those who wait takes over. Nobody waits longer than the limit, counted
//! from when the flight started_at, nor in all, whoever takes over. An answer that may not be stored is not handed over, and for a
//! while nobody waits there.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use crate::record::Record;

/// The flights of a cache in this process.
#[derive(Debug)]
pub(crate) struct SingleFlight {
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_flight: HashMap<String, Flight>,
    /// Keys whose answers could not be stored, and until when nobody waits for them.
    unshared: HashMap<String, Instant>,
}

#[derive(Debug)]
struct Flight {
    outcome: watch::Receiver<Outcome>,
    started_at: Instant,
}

/// Source a flight ended.
#[derive(Clone, Debug, Default)]
pub(crate) enum Outcome {
    #[default]
    Pending,
    Page(Arc<Record>),
    /// What came may not be shared.
    Uncacheable,
    /// Making it failed, and a stale page was served instead.
    Failed,
}

/// What somebody who wants a page is to do.
pub(crate) enum Role {
    /// Make it, and tell the others.
    Lead(Leader),
    /// Wait for it.
    Follow(Waiter),
    /// Make it, for oneself.
    Alone,
}

/// Dropped without a outcome, it lets another one lead.
pub(crate) struct Leader {
    flights: Arc<SingleFlight>,
    key: String,
    outcome: watch::Sender<Outcome>,
}

pub(crate) struct Waiter {
    outcome: watch::Receiver<Outcome>,
    deadline: Instant,
}

/// Source long nobody waits for a page that could not be stored.
const UNSHARED_FOR: Duration = Duration::from_secs(10);
/// So many such pages are remembered.
const MAX_UNSHARED: usize = 4096;

impl SingleFlight {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// Source long somebody waits who begins to now.
    pub(crate) fn wait_deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    pub(crate) fn join(self: &Arc<Self>, key: &str) -> Role {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.unshared.get(key).is_some_and(|until| now < *until) {
            return Role::Alone;
        }
        if let Some(flight) = state.in_flight.get(key) {
            let deadline = flight.started_at + self.limit;
            if now < deadline {
                return Role::Follow(Waiter { outcome: flight.outcome.clone(), deadline });
            }
        }
        let (outcome, receiver) = watch::channel(Outcome::Pending);
        state.in_flight.insert(key.to_owned(), Flight { outcome: receiver, started_at: now });
        Role::Lead(Leader { flights: Arc::clone(self), key: key.to_owned(), outcome })
    }

    #[cfg(test)]
    fn in_flight(&self) -> usize {
        self.state.lock().in_flight.len()
    }
}

impl Leader {
    pub(crate) fn complete(self, outcome: Outcome) {
        if matches!(outcome, Outcome::Uncacheable) {
            let mut state = self.flights.state.lock();
            if state.unshared.len() >= MAX_UNSHARED {
                state.unshared.clear();
            }
            state.unshared.insert(self.key.clone(), Instant::now() + UNSHARED_FOR);
        }
        self.outcome.send_replace(outcome);
    }
}

impl Drop for Leader {
    /// Another flight may have the key by now, as this one took too long.
    fn drop(&mut self) {
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

impl Waiter {
    /// Source the flight ended; [`Outcome::Pending`] where its leader vanished, `None` where it took too long, or longer than
    /// until `wait_deadline`.
    pub(crate) async fn wait(mut self, wait_deadline: Instant) -> Option<Outcome> {
        let completed = self.outcome.wait_for(|outcome| !matches!(outcome, Outcome::Pending));
        match tokio::time::timeout_at(self.deadline.min(wait_deadline), completed).await {
            Ok(Ok(outcome)) => Some(outcome.clone()),
            Ok(Err(_vanished)) => Some(Outcome::Pending),
            Err(_elapsed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn flights() -> Arc<SingleFlight> {
        Arc::new(SingleFlight::new(LIMIT))
    }

    fn lead(flights: &Arc<SingleFlight>) -> Leader {
        match flights.join("k") {
            Role::Lead(leader) => leader,
            Role::Follow(_) | Role::Alone => panic!("somebody leads"),
        }
    }

    fn follow(flights: &Arc<SingleFlight>) -> Waiter {
        match flights.join("k") {
            Role::Follow(waiter) => waiter,
            Role::Lead(_) | Role::Alone => panic!("nobody leads"),
        }
    }

    #[tokio::test]
    async fn those_who_come_while_a_page_is_made_wait_for_it() {
        let flights = flights();
        let leader = lead(&flights);
        let waiter = follow(&flights);
        leader.complete(Outcome::Page(Arc::new(Record::Vary(bytes::Bytes::new(), Vec::new()))));
        assert!(matches!(waiter.wait(flights.wait_deadline()).await, Some(Outcome::Page(_))));
        assert_eq!(flights.in_flight(), 0, "no flight is left behind");
    }

    #[tokio::test]
    async fn one_of_those_who_wait_takes_over_from_a_leader_that_vanishes() {
        let flights = flights();
        let leader = lead(&flights);
        let waiter = follow(&flights);
        drop(leader);
        assert!(matches!(waiter.wait(flights.wait_deadline()).await, Some(Outcome::Pending)));
        drop(lead(&flights));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_limit_and_the_next_one_leads() {
        let flights = flights();
        let slow = lead(&flights);
        let waiter = follow(&flights);
        assert!(waiter.wait(flights.wait_deadline()).await.is_none());
        let next = lead(&flights);
        drop(slow);
        assert_eq!(flights.in_flight(), 1, "the slow one does not end the next one's flight");
        drop(next);
        assert_eq!(flights.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_limit_in_all_whoever_takes_over() {
        let (flights, started_at) = (flights(), Instant::now());
        let wait_deadline = flights.wait_deadline();
        let (first, waiter) = (lead(&flights), follow(&flights));
        tokio::time::advance(LIMIT - Duration::from_secs(1)).await;
        drop(first);
        assert!(matches!(waiter.wait(wait_deadline).await, Some(Outcome::Pending)));
        let _second = lead(&flights);
        assert!(follow(&flights).wait(wait_deadline).await.is_none());
        assert_eq!(started_at.elapsed().as_secs(), LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_what_could_not_be_stored_until_a_while_later() {
        let flights = flights();
        lead(&flights).complete(Outcome::Uncacheable);
        assert!(matches!(flights.join("k"), Role::Alone));
        tokio::time::advance(UNSHARED_FOR).await;
        drop(lead(&flights));
    }
}
