//! A queue of the slots whose entries expire, ordered by deadline.

use std::{cmp::Reverse, collections::BinaryHeap};

use cache_core::Moment;

/// Schedules a check of each slot whose entry expires.
///
/// A slot is checked at its entry's deadline or earlier. If the entry is overwritten or touched,
/// the scheduled check stays where it is; once it is due, the slot is scheduled again. Repeatedly
/// overwriting a key therefore adds no work here.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    queue: BinaryHeap<Reverse<(Moment, u32)>>,
    /// When each slot is checked next. Items of the queue with another time are outdated.
    scheduled: Vec<Moment>,
}

impl Deadlines {
    /// Ensures that `slot` is checked at `deadline` or earlier.
    ///
    /// An overwrite usually finds that it is, so only that is inlined.
    #[inline]
    pub(crate) fn schedule(&mut self, slot: u32, deadline: Moment) {
        let scheduled = self.scheduled.get(slot as usize);
        if scheduled.is_none_or(|scheduled| deadline < *scheduled) {
            self.schedule_earlier(slot, deadline);
        }
    }

    fn schedule_earlier(&mut self, slot: u32, deadline: Moment) {
        if deadline == Moment::NEVER {
            return;
        }
        let position = slot as usize;
        if position >= self.scheduled.len() {
            self.scheduled.resize(position + 1, Moment::NEVER);
        }
        self.scheduled[position] = deadline;
        self.queue.push(Reverse((deadline, slot)));
        self.discard_outdated();
    }

    /// Whether [`pop_due`](Self::pop_due) may return a slot.
    #[inline]
    pub(crate) fn may_be_due(&self, now: Moment) -> bool {
        self.queue.peek().is_some_and(|Reverse((time, _))| *time <= now)
    }

    /// Removes and returns the next slot that is due.
    pub(crate) fn pop_due(&mut self, now: Moment) -> Option<u32> {
        while let Some(&Reverse((time, slot))) = self.queue.peek()
            && time <= now
        {
            self.queue.pop();
            let scheduled = &mut self.scheduled[slot as usize];
            if *scheduled == time {
                *scheduled = Moment::NEVER;
                return Some(slot);
            }
        }
        None
    }

    /// Keeps the queue at no more than twice the number of slots.
    fn discard_outdated(&mut self) {
        if self.queue.len() > 2 * self.scheduled.len() {
            let scheduled = &self.scheduled;
            self.queue.retain(|&Reverse((time, slot))| scheduled[slot as usize] == time);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cache_core::ManualClock;

    use super::*;

    fn seconds(seconds: u64) -> Moment {
        ManualClock::new().clock().now() + Duration::from_secs(seconds)
    }

    #[test]
    fn slots_are_due_in_deadline_order() {
        let mut deadlines = Deadlines::default();
        for (slot, deadline) in [(0, 30), (1, 10), (2, 20)] {
            deadlines.schedule(slot, seconds(deadline));
        }
        assert_eq!(deadlines.pop_due(seconds(9)), None);
        assert_eq!(deadlines.pop_due(seconds(25)), Some(1));
        assert_eq!(deadlines.pop_due(seconds(25)), Some(2));
        assert_eq!(deadlines.pop_due(seconds(25)), None);
    }

    #[test]
    fn later_deadline_adds_no_queue_item() {
        let mut deadlines = Deadlines::default();
        for deadline in 10..1000 {
            deadlines.schedule(0, seconds(deadline));
        }
        assert_eq!(deadlines.queue.len(), 1);
        assert_eq!(deadlines.pop_due(seconds(10)), Some(0));
    }

    #[test]
    fn earlier_deadline_replaces_a_later_one() {
        let mut deadlines = Deadlines::default();
        deadlines.schedule(0, seconds(20));
        deadlines.schedule(0, seconds(10));
        assert_eq!(deadlines.pop_due(seconds(10)), Some(0));
        assert_eq!(deadlines.pop_due(seconds(20)), None);
    }

    #[test]
    fn outdated_items_never_outnumber_the_slots() {
        let mut deadlines = Deadlines::default();
        for deadline in (0..10_000).rev() {
            deadlines.schedule(deadline % 7, seconds(u64::from(deadline)));
        }
        assert!(deadlines.queue.len() <= 14, "{}", deadlines.queue.len());
    }
}
