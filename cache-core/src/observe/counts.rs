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
    // Without a destructor and with a constant value, these are plain variables of the thread.
    static CELL: Cell<Option<u8>> = const { Cell::new(None) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

impl Counts {
    pub(super) fn increment(&self, count: Count) {
        let cell = CELL.get().unwrap_or_else(assign_cell);
        self.cells[usize::from(cell) % CELLS].0[count as usize].fetch_add(1, Relaxed);
    }

    /// Returns the sums of all threads, by [`Count`].
    pub(super) fn sums(&self) -> [u64; COUNTS] {
        array::from_fn(|count| self.cells.iter().map(|cell| cell.0[count].load(Relaxed)).sum())
    }
}

#[cold]
fn assign_cell() -> u8 {
    let number = NEXT_THREAD.fetch_add(1, Relaxed) % CELLS;
    let cell = u8::try_from(number).unwrap_or(0);
    CELL.set(Some(cell));
    cell
}

/// Whether this call is one of those that are measured: the first of each thread is.
pub(super) fn is_sampled() -> bool {
    let calls = CALLS.get();
    CALLS.set(calls.wrapping_add(1));
    calls.is_multiple_of(SAMPLING)
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
                        counts.increment(Count::Hit);
                    }
                    counts.increment(Count::SetError);
                });
            }
        });
        let threads = u64::try_from(3 * CELLS).expect("a small number");
        assert_eq!(counts.sums(), [100 * threads, 0, 0, 0, 0, 0, threads]);
    }

    #[test]
    fn one_call_in_64_is_sampled() {
        let sampled = thread::spawn(|| (0..640).filter(|_| is_sampled()).count());
        assert_eq!(sampled.join().expect("it does not panic"), 10);
    }
}
