//! One request at a time makes a page, and those who want the same page wait for it.
//!
//! A leader may vanish at any moment: then one of those who wait takes over. Nobody waits longer than the limit, counted
//! from when the flight began, nor in all, whoever takes over. An answer that may not be stored is not handed over, and for a
//! while nobody waits there.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use crate::stored::Record;

/// The flights of a cache in this process.
#[derive(Debug)]
pub(crate) struct Flights {
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    aloft: HashMap<String, Flight>,
    /// Keys whose answers could not be stored, and until when nobody waits for them.
    solitary: HashMap<String, Instant>,
}

#[derive(Debug)]
struct Flight {
    landing: watch::Receiver<Landing>,
    began: Instant,
}

/// How a flight ended.
#[derive(Clone, Debug, Default)]
pub(crate) enum Landing {
    #[default]
    Aloft,
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
    Follow(Follower),
    /// Make it, for oneself.
    Alone,
}

/// Dropped without a landing, it lets another one lead.
pub(crate) struct Leader {
    flights: Arc<Flights>,
    key: String,
    landing: watch::Sender<Landing>,
}

pub(crate) struct Follower {
    landing: watch::Receiver<Landing>,
    deadline: Instant,
}

/// How long nobody waits for a page that could not be stored.
const SOLITARY: Duration = Duration::from_secs(10);
/// So many such pages are remembered.
const MOST_SOLITARY: usize = 4096;

impl Flights {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// How long somebody waits who begins to now.
    pub(crate) fn patience(&self) -> Instant {
        Instant::now() + self.limit
    }

    pub(crate) fn board(self: &Arc<Self>, key: &str) -> Role {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.solitary.get(key).is_some_and(|until| now < *until) {
            return Role::Alone;
        }
        if let Some(flight) = state.aloft.get(key) {
            let deadline = flight.began + self.limit;
            if now < deadline {
                return Role::Follow(Follower { landing: flight.landing.clone(), deadline });
            }
        }
        let (landing, receiver) = watch::channel(Landing::Aloft);
        state.aloft.insert(key.to_owned(), Flight { landing: receiver, began: now });
        Role::Lead(Leader { flights: Arc::clone(self), key: key.to_owned(), landing })
    }

    #[cfg(test)]
    fn aloft(&self) -> usize {
        self.state.lock().aloft.len()
    }
}

impl Leader {
    pub(crate) fn land(self, landing: Landing) {
        if matches!(landing, Landing::Uncacheable) {
            let mut state = self.flights.state.lock();
            if state.solitary.len() >= MOST_SOLITARY {
                state.solitary.clear();
            }
            state.solitary.insert(self.key.clone(), Instant::now() + SOLITARY);
        }
        self.landing.send_replace(landing);
    }
}

impl Drop for Leader {
    /// Another flight may have the key by now, as this one took too long.
    fn drop(&mut self) {
        let mut state = self.flights.state.lock();
        let own = state
            .aloft
            .get(&self.key)
            .is_some_and(|flight| self.landing.subscribe().same_channel(&flight.landing));
        if own {
            state.aloft.remove(&self.key);
        }
    }
}

impl Follower {
    /// How the flight ended; [`Landing::Aloft`] where its leader vanished, `None` where it took too long, or longer than
    /// until `patience`.
    pub(crate) async fn wait(mut self, patience: Instant) -> Option<Landing> {
        let landed = self.landing.wait_for(|landing| !matches!(landing, Landing::Aloft));
        match tokio::time::timeout_at(self.deadline.min(patience), landed).await {
            Ok(Ok(landing)) => Some(landing.clone()),
            Ok(Err(_vanished)) => Some(Landing::Aloft),
            Err(_elapsed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn flights() -> Arc<Flights> {
        Arc::new(Flights::new(LIMIT))
    }

    fn lead(flights: &Arc<Flights>) -> Leader {
        match flights.board("k") {
            Role::Lead(leader) => leader,
            Role::Follow(_) | Role::Alone => panic!("somebody leads"),
        }
    }

    fn follow(flights: &Arc<Flights>) -> Follower {
        match flights.board("k") {
            Role::Follow(follower) => follower,
            Role::Lead(_) | Role::Alone => panic!("nobody leads"),
        }
    }

    #[tokio::test]
    async fn those_who_come_while_a_page_is_made_wait_for_it() {
        let flights = flights();
        let leader = lead(&flights);
        let follower = follow(&flights);
        leader.land(Landing::Page(Arc::new(Record::Vary(bytes::Bytes::new(), Vec::new()))));
        assert!(matches!(follower.wait(flights.patience()).await, Some(Landing::Page(_))));
        assert_eq!(flights.aloft(), 0, "no flight is left behind");
    }

    #[tokio::test]
    async fn one_of_those_who_wait_takes_over_from_a_leader_that_vanishes() {
        let flights = flights();
        let leader = lead(&flights);
        let follower = follow(&flights);
        drop(leader);
        assert!(matches!(follower.wait(flights.patience()).await, Some(Landing::Aloft)));
        drop(lead(&flights));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_limit_and_the_next_one_leads() {
        let flights = flights();
        let slow = lead(&flights);
        let follower = follow(&flights);
        assert!(follower.wait(flights.patience()).await.is_none());
        let next = lead(&flights);
        drop(slow);
        assert_eq!(flights.aloft(), 1, "the slow one does not end the next one's flight");
        drop(next);
        assert_eq!(flights.aloft(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_limit_in_all_whoever_takes_over() {
        let (flights, began) = (flights(), Instant::now());
        let patience = flights.patience();
        let (first, follower) = (lead(&flights), follow(&flights));
        tokio::time::advance(LIMIT - Duration::from_secs(1)).await;
        drop(first);
        assert!(matches!(follower.wait(patience).await, Some(Landing::Aloft)));
        let _second = lead(&flights);
        assert!(follow(&flights).wait(patience).await.is_none());
        assert_eq!(began.elapsed().as_secs(), LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_what_could_not_be_stored_until_a_while_later() {
        let flights = flights();
        lead(&flights).land(Landing::Uncacheable);
        assert!(matches!(flights.board("k"), Role::Alone));
        tokio::time::advance(SOLITARY).await;
        drop(lead(&flights));
    }
}
