//! When which slot has to be looked at for an expired entry.

use std::{cmp::Reverse, collections::BinaryHeap};

use cache_core::Moment;

/// A reminder for each slot whose entry expires.
///
/// A reminder comes at the entry's deadline or before it: when an entry is overwritten or touched, its slot's reminder
/// stays, and is set again only once it has come. So an entry that is overwritten all the time costs no work here.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    queue: BinaryHeap<Reverse<(Moment, u32)>>,
    /// The moment of each slot's one valid reminder; others in the queue are left over.
    reminders: Vec<Moment>,
}

impl Deadlines {
    /// Makes sure that `slot` is looked at once `deadline` has come.
    pub(crate) fn remind(&mut self, slot: u32, deadline: Moment) {
        if deadline == Moment::NEVER {
            return;
        }
        let position = slot as usize;
        if position >= self.reminders.len() {
            self.reminders.resize(position + 1, Moment::NEVER);
        }
        if deadline < self.reminders[position] {
            self.reminders[position] = deadline;
            self.queue.push(Reverse((deadline, slot)));
            self.drop_leftovers();
        }
    }

    /// The next slot whose reminder has come, and with it the reminder.
    pub(crate) fn next_due(&mut self, now: Moment) -> Option<u32> {
        while let Some(&Reverse((moment, slot))) = self.queue.peek()
            && moment <= now
        {
            self.queue.pop();
            let reminder = &mut self.reminders[slot as usize];
            if *reminder == moment {
                *reminder = Moment::NEVER;
                return Some(slot);
            }
        }
        None
    }

    /// Keeps the queue below twice the number of slots.
    fn drop_leftovers(&mut self) {
        if self.queue.len() > 2 * self.reminders.len() {
            let reminders = &self.reminders;
            self.queue.retain(|&Reverse((moment, slot))| reminders[slot as usize] == moment);
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
    fn slots_are_due_in_the_order_of_their_deadlines() {
        let mut deadlines = Deadlines::default();
        for (slot, deadline) in [(0, 30), (1, 10), (2, 20)] {
            deadlines.remind(slot, seconds(deadline));
        }
        assert_eq!(deadlines.next_due(seconds(9)), None);
        assert_eq!(deadlines.next_due(seconds(25)), Some(1));
        assert_eq!(deadlines.next_due(seconds(25)), Some(2));
        assert_eq!(deadlines.next_due(seconds(25)), None);
    }

    #[test]
    fn a_later_deadline_needs_no_reminder_while_an_earlier_one_waits() {
        let mut deadlines = Deadlines::default();
        for deadline in 10..1000 {
            deadlines.remind(0, seconds(deadline));
        }
        assert_eq!(deadlines.queue.len(), 1);
        assert_eq!(deadlines.next_due(seconds(10)), Some(0));
    }

    #[test]
    fn an_earlier_deadline_replaces_the_reminder() {
        let mut deadlines = Deadlines::default();
        deadlines.remind(0, seconds(20));
        deadlines.remind(0, seconds(10));
        assert_eq!(deadlines.next_due(seconds(10)), Some(0));
        assert_eq!(deadlines.next_due(seconds(20)), None);
    }

    #[test]
    fn leftovers_never_outnumber_the_slots() {
        let mut deadlines = Deadlines::default();
        for deadline in (0..10_000).rev() {
            deadlines.remind(deadline % 7, seconds(u64::from(deadline)));
        }
        assert!(deadlines.queue.len() <= 14, "{}", deadlines.queue.len());
    }
}
