//! Single flight: of the callers that want the same result, one produces it and the others wait.
//!
//! The first caller that joins a key becomes its leader. Callers that join later wait until the
//! leader completes the flight. Each of them can produce the result itself, so if the leader is
//! dropped or fails, exactly one waiter takes over, and no background task is needed.
//!
//! The engine knows neither stores nor timers: `get_or_set` and the layers of `cache-http` decide
//! what a result is and how long a caller waits for it.
//!
//! # Why there is no loom test
//!
//! Each flight is behind one mutex, the map of flights behind another, which is always locked
//! first. Every call below changes a flight in a single critical section and wakes tasks after it.
//! What threads do is therefore the same as some order of these calls, and the model test of
//! `get_or_set` tries orders of them: it decides which task is polled next, and polls a task only
//! if it was woken, so a lost wake-up is a test that does not end.

mod flight;
mod led;
mod waiter;

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::flight::{End, Flight};
pub(crate) use self::led::innermost_key;
pub use self::waiter::{Waited, Waiter};
use crate::{Clock, Moment};

/// The source of time of a [`SingleFlight`].
pub trait Time: Clone {
    /// A point in time.
    type Instant: Copy + PartialEq;

    /// Returns the current time.
    fn now(&self) -> Self::Instant;
}

impl Time for Clock {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Self::now(self)
    }
}

type SharedFlight<R, C> = Arc<Mutex<Flight<R, <C as Time>::Instant>>>;

/// The flights of one cache in this process. `K` identifies a result, `R` is what waiters get.
pub struct SingleFlight<K, R, C: Time> {
    time: C,
    /// The flights that callers can join. A flight leaves the map when it is over.
    flights: Mutex<HashMap<K, SharedFlight<R, C>>>,
}

/// The role of a caller that has joined a key.
#[derive(Debug)]
pub enum Joined<K: Clone + Eq + Hash, R: Clone, C: Time> {
    /// Produce the result and complete the flight.
    Leader(Leader<K, R, C>),
    /// Wait for the leader.
    Waiter(Waiter<K, R, C>),
    /// Produce the result without a flight: the caller is called by the leader's producer.
    Recursive,
}

/// The caller that produces the result.
///
/// If it is dropped without [`complete`](Self::complete), a waiter takes over.
pub struct Leader<K: Clone + Eq + Hash, R: Clone, C: Time> {
    member: Member<K, R, C>,
    end: End<R>,
}

/// A flight and the map that it is in.
#[derive(Clone)]
struct Member<K, R, C: Time> {
    all: Arc<SingleFlight<K, R, C>>,
    key: K,
    flight: SharedFlight<R, C>,
}

/// Locks a mutex. No caller leaves what it guards half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Clone + Eq + Hash, R: Clone, C: Time> SingleFlight<K, R, C> {
    /// Creates an empty map.
    #[must_use]
    pub fn new(time: C) -> Self {
        Self { time, flights: Mutex::default() }
    }

    /// Joins the flight for `key`, or starts one.
    pub fn join(self: &Arc<Self>, key: &K) -> Joined<K, R, C> {
        self.join_if(key, |_| true)
    }

    /// Joins the flight for `key` if `accepts` returns `true` for the time at which its last leader
    /// began. Otherwise starts one, and the other flight accepts no more callers.
    pub fn join_if(
        self: &Arc<Self>,
        key: &K,
        accepts: impl FnOnce(C::Instant) -> bool,
    ) -> Joined<K, R, C> {
        let now = self.time.now();
        let mut flights = lock(&self.flights);
        let member = |flight| Member { all: Arc::clone(self), key: key.clone(), flight };
        if let Some(shared) = flights.get(key) {
            let mut flight = lock(shared);
            if led::is_led_here(Arc::as_ptr(shared).addr()) {
                return Joined::Recursive;
            }
            if accepts(flight.led_since()) {
                let ticket = flight.add_waiter();
                drop(flight);
                return Joined::Waiter(Waiter::new(member(Arc::clone(shared)), ticket));
            }
        }
        let flight = Arc::new(Mutex::new(Flight::new(now)));
        flights.insert(key.clone(), Arc::clone(&flight));
        Joined::Leader(Leader::new(member(flight)))
    }

    /// Calls `poll`, which polls a producer without a flight or creates it.
    ///
    /// `name` is the key, as for [`Leader::poll_producer`].
    pub(crate) fn poll_alone<T>(self: &Arc<Self>, name: &Arc<str>, poll: impl FnOnce() -> T) -> T {
        led::lead(led::NO_FLIGHT, Arc::as_ptr(self).addr(), name, poll)
    }

    /// Whether this thread is polling a producer of the key with this name, of whatever type.
    pub(crate) fn is_led_here(self: &Arc<Self>, name: &str) -> bool {
        led::is_key_led_here(Arc::as_ptr(self).addr(), name)
    }

    /// Returns the number of flights.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        lock(&self.flights).len()
    }
}

impl<K: Clone + Eq + Hash, R: Clone, C: Time> Member<K, R, C> {
    /// Changes the flight, removes it from the map if it is over, and wakes those whom the change
    /// concerns. Returns what `change` returns, after the locks are released.
    fn update<T>(&self, change: impl FnOnce(&mut Flight<R, C::Instant>) -> T) -> T {
        let mut flights = lock(&self.all.flights);
        let mut flight = lock(&self.flight);
        let output = change(&mut flight);
        let woken = flight.settle();
        // A flight that accepts no more callers may have been replaced.
        if flight.is_over()
            && flights.get(&self.key).is_some_and(|other| Arc::ptr_eq(other, &self.flight))
        {
            flights.remove(&self.key);
        }
        drop((flight, flights));
        for waker in woken {
            waker.wake();
        }
        output
    }
}

impl<K: Clone + Eq + Hash, R: Clone, C: Time> Leader<K, R, C> {
    fn new(member: Member<K, R, C>) -> Self {
        Self { member, end: End::Dropped }
    }

    /// Calls `poll`, which polls the producer or creates it. A call that joins this flight from
    /// inside of it gets [`Joined::Recursive`]. A panic in it counts as a failure.
    ///
    /// `name` is the key for messages, and for calls that join another flight for the same key.
    pub fn poll_producer<T>(&mut self, name: &Arc<str>, poll: impl FnOnce() -> T) -> T {
        self.end = End::Failed;
        let Member { all, flight, .. } = &self.member;
        let polled = led::lead(Arc::as_ptr(flight).addr(), Arc::as_ptr(all).addr(), name, poll);
        self.end = End::Dropped;
        polled
    }

    /// Adds a waiter, for a caller that passes the lead on to a task and waits for it.
    #[must_use]
    pub fn wait(&self) -> Waiter<K, R, C> {
        let ticket = lock(&self.member.flight).add_waiter();
        Waiter::new(self.member.clone(), ticket)
    }

    /// Returns the result if another leader has completed the flight.
    #[must_use]
    pub fn result(&self) -> Option<R> {
        lock(&self.member.flight).result()
    }

    /// Ends the flight and gives the result to all waiters.
    ///
    /// Does nothing if another leader has ended it.
    pub fn complete(mut self, result: R) {
        self.end = End::Completed(result);
    }

    /// Reports that producing failed. One waiter makes a new attempt; those that have waited for
    /// two failed attempts get [`Waited::Failed`].
    pub fn fail(mut self) {
        self.end = End::Failed;
    }
}

impl<K: Clone + Eq + Hash, R: Clone, C: Time> Drop for Leader<K, R, C> {
    fn drop(&mut self) {
        let end = mem::replace(&mut self.end, End::Dropped);
        let _unused = self.member.update(|flight| flight.remove_leader(end));
    }
}

impl<K, R, C: Time> fmt::Debug for SingleFlight<K, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight").finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash, R: Clone, C: Time> fmt::Debug for Leader<K, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader").finish_non_exhaustive()
    }
}
