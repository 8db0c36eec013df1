//! The state of one flight.

use std::{
    collections::BTreeMap,
    task::{Poll, Waker},
};

/// A flight: its leader, or leaders if a waiter has run out of patience, and its waiters.
#[derive(Debug)]
pub(super) struct Flight<R, I> {
    leaders: usize,
    /// When the last leader began.
    led_since: I,
    /// How many leaders have failed.
    failures: u32,
    /// The waiters by their tickets, which ascend: the first waiter takes over first.
    waiters: BTreeMap<u64, Waiting>,
    next_ticket: u64,
    /// The waiter that has been woken to take over. Set if there is no leader.
    successor: Option<u64>,
    /// The result, once the flight is completed.
    result: Option<R>,
}

#[derive(Debug)]
struct Waiting {
    /// How many leaders had failed when this caller joined.
    failures_before: u32,
    waker: Option<Waker>,
}

/// A waker that is no longer registered. It may be the last owner of a task that waits as well, so
/// it must be dropped without the lock of the flight.
#[derive(Debug)]
#[must_use = "drop it after the lock is released"]
pub(super) struct Unused(#[expect(dead_code, reason = "it is dropped")] Option<Waker>);

/// How a leader ends.
#[derive(Debug)]
pub(super) enum End<R> {
    Completed(R),
    Failed,
    Dropped,
}

/// The news for a waiter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News<R> {
    Completed(R),
    /// The waiter is the leader now.
    Leads,
    Failed,
}

/// The number of failed attempts after which a caller no longer waits.
///
/// The cause of one failure may lie in the caller that led. With more attempts, the time that a
/// caller waits would grow with the number of callers.
const MAX_FAILURES: u32 = 2;

impl<R: Clone, I: Copy + PartialEq> Flight<R, I> {
    /// Starts a flight with one leader.
    pub(super) fn new(now: I) -> Self {
        Self {
            leaders: 1,
            led_since: now,
            failures: 0,
            waiters: BTreeMap::new(),
            next_ticket: 0,
            successor: None,
            result: None,
        }
    }

    pub(super) fn led_since(&self) -> I {
        self.led_since
    }

    pub(super) fn result(&self) -> Option<R> {
        self.result.clone()
    }

    /// Whether the flight is completed or abandoned.
    pub(super) fn is_over(&self) -> bool {
        self.result.is_some() || (self.leaders == 0 && self.waiters.is_empty())
    }

    pub(super) fn add_waiter(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let waiting = Waiting { failures_before: self.failures, waker: None };
        self.waiters.insert(ticket, waiting);
        ticket
    }

    pub(super) fn remove_waiter(&mut self, ticket: u64) -> Unused {
        if self.successor == Some(ticket) {
            self.successor = None;
        }
        Unused(self.waiters.remove(&ticket).and_then(|waiting| waiting.waker))
    }

    /// Returns the news for a waiter, or registers its waker.
    pub(super) fn poll_waiter(
        &mut self,
        ticket: u64,
        now: impl FnOnce() -> I,
        waker: &Waker,
    ) -> (Poll<News<R>>, Unused) {
        if let Some(result) = &self.result {
            return (Poll::Ready(News::Completed(result.clone())), Unused(None));
        }
        if self.successor == Some(ticket) {
            let unused = self.promote(ticket, now());
            return (Poll::Ready(News::Leads), unused);
        }
        let Some(waiting) = self.waiters.get_mut(&ticket) else {
            return (Poll::Ready(News::Failed), Unused(None));
        };
        let replaced = match &waiting.waker {
            Some(known) if known.will_wake(waker) => None,
            _ => waiting.waker.replace(waker.clone()),
        };
        (Poll::Pending, Unused(replaced))
    }

    /// Makes a waiter a leader although there may be one, or returns `None` if a leader has begun
    /// after `since`.
    pub(super) fn lead_as_well(
        &mut self,
        ticket: u64,
        since: I,
        now: impl FnOnce() -> I,
    ) -> Option<Unused> {
        let may_lead =
            self.result.is_none() && self.led_since == since && self.waiters.contains_key(&ticket);
        may_lead.then(|| self.promote(ticket, now()))
    }

    fn promote(&mut self, ticket: u64, now: I) -> Unused {
        let unused = self.remove_waiter(ticket);
        self.successor = None;
        self.leaders += 1;
        self.led_since = now;
        unused
    }

    /// Of several leaders, the first to complete decides. Returns the result of another one, which
    /// is to be dropped without the lock like a waker.
    pub(super) fn remove_leader(&mut self, end: End<R>) -> Option<R> {
        self.leaders -= 1;
        match end {
            End::Completed(result) if self.result.is_some() => return Some(result),
            End::Completed(result) => self.result = Some(result),
            End::Failed => self.failures += 1,
            End::Dropped => {}
        }
        None
    }

    /// Chooses a successor if there is no leader, and removes the waiters whose waiting is over.
    /// Returns the wakers of all of these.
    pub(super) fn settle(&mut self) -> Vec<Waker> {
        if self.result.is_some() {
            let waiters = std::mem::take(&mut self.waiters);
            return waiters.into_values().filter_map(|waiting| waiting.waker).collect();
        }
        let mut woken = self.remove_failed_waiters();
        if self.leaders == 0
            && self.successor.is_none()
            && let Some((ticket, first)) = self.waiters.iter_mut().next()
        {
            self.successor = Some(*ticket);
            woken.extend(first.waker.take());
        }
        woken
    }

    /// Removes the waiters that have seen too many failures. They joined before all others.
    fn remove_failed_waiters(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while let Some(first) = self.waiters.first_entry() {
            if self.failures - first.get().failures_before < MAX_FAILURES {
                break;
            }
            woken.extend(first.remove().waker);
        }
        woken
    }
}
