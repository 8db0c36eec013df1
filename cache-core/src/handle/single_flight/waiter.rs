//! Callers that wait for a leader.

use std::{
    fmt,
    hash::Hash,
    task::{Context, Poll, ready},
};

use super::{Leader, Member, Time, flight::News, lock};

/// A caller that waits for the leader.
///
/// If it is dropped after it was chosen to take over, another waiter is chosen.
pub struct Waiter<K: Clone + Eq + Hash, R: Clone, C: Time> {
    member: Member<K, R, C>,
    /// `None` once the waiting is over.
    ticket: Option<u64>,
}

/// How waiting ended.
#[derive(Debug)]
pub enum Waited<K: Clone + Eq + Hash, R: Clone, C: Time> {
    /// A leader has completed the flight.
    Completed(R),
    /// The caller is the leader now: the last one was dropped or has failed.
    Leader(Leader<K, R, C>),
    /// Two attempts have failed since the caller joined.
    Failed,
}

impl<K: Clone + Eq + Hash, R: Clone, C: Time> Waiter<K, R, C> {
    pub(super) fn new(member: Member<K, R, C>, ticket: u64) -> Self {
        Self { member, ticket: Some(ticket) }
    }

    /// Polls for the end of the waiting. Pending forever once it has returned it.
    pub fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<Waited<K, R, C>> {
        let Some(ticket) = self.ticket else { return Poll::Pending };
        let now = || self.member.all.time.now();
        let (news, _unused) = lock(&self.member.flight).poll_waiter(ticket, now, context.waker());
        let news = ready!(news);
        self.ticket = None;
        Poll::Ready(match news {
            News::Completed(result) => Waited::Completed(result),
            News::Leads => Waited::Leader(Leader::new(self.member.clone())),
            News::Failed => Waited::Failed,
        })
    }

    /// Returns when the last leader began.
    #[must_use]
    pub fn led_since(&self) -> C::Instant {
        lock(&self.member.flight).led_since()
    }

    /// Leads as well, unless a leader has begun after `since` or the waiting is over.
    ///
    /// Of the waiters that call it with the same time, one leads. The first leader to complete
    /// completes the flight.
    pub fn lead_as_well(&mut self, since: C::Instant) -> Option<Leader<K, R, C>> {
        let ticket = self.ticket?;
        let now = || self.member.all.time.now();
        let _unused = lock(&self.member.flight).lead_as_well(ticket, since, now)?;
        self.ticket = None;
        Some(Leader::new(self.member.clone()))
    }
}

impl<K: Clone + Eq + Hash, R: Clone, C: Time> Drop for Waiter<K, R, C> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let _unused = self.member.update(|flight| flight.remove_waiter(ticket));
        }
    }
}

impl<K: Clone + Eq + Hash, R: Clone, C: Time> fmt::Debug for Waiter<K, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        task::{Wake, Waker},
        thread,
        time::Duration,
    };

    use super::*;
    use crate::{
        Clock,
        handle::single_flight::{Joined, SingleFlight},
    };

    type Flights = Arc<SingleFlight<u8, u8, Clock>>;

    /// A task that waits and is dropped with its last waker.
    struct Task(#[expect(dead_code, reason = "it is dropped")] Waiter<u8, u8, Clock>);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    fn wait(flights: &Flights) -> Waiter<u8, u8, Clock> {
        let Joined::Waiter(waiter) = flights.join(&1) else { panic!("there is a leader") };
        waiter
    }

    /// Polls a waiter with the last waker of another one.
    fn poll_with_task(waiter: &mut Waiter<u8, u8, Clock>, flights: &Flights) {
        let waker = Waker::from(Arc::new(Task(wait(flights))));
        assert!(waiter.poll_wait(&mut Context::from_waker(&waker)).is_pending());
    }

    #[test]
    fn unused_waker_is_dropped_without_the_lock() {
        let (done, ended) = mpsc::channel();
        // In a thread, because a lock that is acquired twice is a deadlock.
        thread::spawn(move || {
            let flights = Flights::new(SingleFlight::new(Clock::system()));
            let Joined::Leader(leader) = flights.join(&1) else { panic!("it is the first") };
            let mut noop = Context::from_waker(Waker::noop());
            let (mut replaces, mut ends, mut leads) =
                (wait(&flights), wait(&flights), wait(&flights));
            poll_with_task(&mut replaces, &flights);
            assert!(replaces.poll_wait(&mut noop).is_pending());
            poll_with_task(&mut ends, &flights);
            drop(ends);
            poll_with_task(&mut leads, &flights);
            let since = leads.led_since();
            assert!(leads.lead_as_well(since).is_some());
            drop((leader, replaces));
            assert_eq!(flights.in_flight(), 0);
            done.send(()).expect("the test waits");
        });
        ended.recv_timeout(Duration::from_secs(60)).expect("no deadlock");
    }
}
