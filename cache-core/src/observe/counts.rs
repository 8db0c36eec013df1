//! Counters of calls that do not wait, which many threads increment at once.

use std::{
    array,
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use super::Outcome;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Hit,
    Stale,
    Miss,
    LookupError,
    SetOk,
    SetRejected,
    SetError,
}

impl Count {
    pub(super) const fn of_lookup(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Hit => Self::Hit,
            Outcome::Stale => Self::Stale,
            Outcome::Miss => Self::Miss,
            _ => Self::LookupError,
        }
    }
}

const COUNTS: usize = 7;
const CELLS: usize = 16;

/// One of this many calls that do not wait is measured. A power of two.
const SAMPLING: u32 = 64;

/// Counters in cells, so that threads rarely write to the same cache line: with eight threads, a
/// shared one costs more than the hit that it counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    cells: Box<[CountCell; CELLS]>,
}

/// Two cache lines, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct CountCell([AtomicU64; COUNTS]);

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    // Without a destructor and with a constant value, this is a plain variable of the thread. It is
    // one, because each access costs a call.
    static THREAD: Thread = const { Thread { cell: Cell::new(None), calls: Cell::new(0) } };
}

struct Thread {
    cell: Cell<Option<ThreadCell>>,
    calls: Cell<u32>,
}

/// The cell of a thread.
#[derive(Clone, Copy)]
pub(super) struct ThreadCell(u8);

impl ThreadCell {
    /// Returns the cell of this thread, and whether its call is one of those that are measured: the
    /// first of each thread is.
    #[inline]
    pub(super) fn of_call() -> (Self, bool) {
        THREAD.with(|thread| {
            let calls = thread.calls.get();
            thread.calls.set(calls.wrapping_add(1));
            (thread.cell(), calls.is_multiple_of(SAMPLING))
        })
    }
}

impl Thread {
    #[inline]
    fn cell(&self) -> ThreadCell {
        self.cell.get().unwrap_or_else(|| self.assign_cell())
    }

    #[cold]
    fn assign_cell(&self) -> ThreadCell {
        let number = NEXT_THREAD.fetch_add(1, Relaxed) % CELLS;
        let cell = ThreadCell(u8::try_from(number).unwrap_or(0));
        self.cell.set(Some(cell));
        cell
    }
}

impl Counts {
    #[inline]
    pub(super) fn increment(&self, cell: ThreadCell, count: Count) {
        self.cells[usize::from(cell.0) % CELLS].0[count as usize].fetch_add(1, Relaxed);
    }

    /// Like [`increment`](Self::increment), for what is no call of its own.
    #[cold]
    pub(super) fn increment_later(&self, count: Count) {
        self.increment(THREAD.with(Thread::cell), count);
    }

    /// Returns the sums of all threads, by [`Count`].
    pub(super) fn sums(&self) -> [u64; COUNTS] {
        array::from_fn(|count| self.cells.iter().map(|cell| cell.0[count].load(Relaxed)).sum())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn counts_of_all_threads_are_summed() {
        let counts = Counts::default();
        thread::scope(|scope| {
            for _ in 0..3 * CELLS {
                scope.spawn(|| {
                    for _ in 0..100 {
                        counts.increment(ThreadCell::of_call().0, Count::Hit);
                    }
                    counts.increment_later(Count::SetError);
                });
            }
        });
        let threads = u64::try_from(3 * CELLS).expect("a small number");
        assert_eq!(counts.sums(), [100 * threads, 0, 0, 0, 0, 0, threads]);
    }

    #[test]
    fn one_call_in_64_is_sampled() {
        let sampled = thread::spawn(|| (0..640).filter(|_| ThreadCell::of_call().1).count());
        assert_eq!(sampled.join().expect("it does not panic"), 10);
    }
}
