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
        let news = lock(&self.member.flight).poll_waiter(ticket, now, context.waker());
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
        if !lock(&self.member.flight).lead_as_well(ticket, since, now) {
            return None;
        }
        self.ticket = None;
        Some(Leader::new(self.member.clone()))
    }
}

impl<K: Clone + Eq + Hash, R: Clone, C: Time> Drop for Waiter<K, R, C> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.member.update(|flight| flight.remove_waiter(ticket));
        }
    }
}

impl<K: Clone + Eq + Hash, R: Clone, C: Time> fmt::Debug for Waiter<K, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").finish_non_exhaustive()
    }
}
