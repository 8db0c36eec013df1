//! Waiting until a [`Clock`] reaches a moment, without a runtime.
//!
//! All tasks of the process that wait for the system clock share one thread, which the first of
//! them starts and which ends when it has been idle for a while. Tokio's timers are not used: they
//! panic in a runtime that was built without them, and handles also work without any runtime. Tasks
//! that wait for a [`ManualClock`](crate::ManualClock) are woken when it is advanced.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use crate::{Clock, Moment};

/// Waits for a future for at most this real time. Needs no runtime.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let clock = Clock::system();
    let (mut future, mut sleep) = (pin!(future), pin!(Sleep::until(&clock, clock.now() + limit)));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Completes when the clock has reached a moment.
pub(crate) struct Sleep {
    clock: Clock,
    deadline: Moment,
    alarm: Option<AlarmId>,
}

type AlarmId = (Moment, u64);

/// Deadlines, and the tasks to wake when they have passed.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    wakers: BTreeMap<AlarmId, Waker>,
    last_number: u64,
}

impl Sleep {
    pub(crate) fn until(clock: &Clock, deadline: Moment) -> Self {
        Self { clock: clock.clone(), deadline, alarm: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { clock, deadline, alarm } = &mut *self;
        let waker = context.waker();
        let set = match clock.manual() {
            Some(manual) => manual.with_alarms(|alarms, now| {
                (now < *deadline).then(|| alarms.set(*alarm, *deadline, waker))
            }),
            // Not by the coarse clock: after the thread has woken the task, it may still be early.
            None if Clock::system().now() >= *deadline => None,
            None => Some(TIMER.set(*alarm, *deadline, waker)),
        };
        // The replaced waker is dropped here, after the lock is released.
        let Some((id, _replaced)) = set else { return Poll::Ready(()) };
        *alarm = Some(id);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(alarm) = self.alarm else { return };
        // The waker is dropped after the lock is released.
        drop(match self.clock.manual() {
            Some(manual) => manual.with_alarms(|alarms, _| alarms.remove(alarm)),
            None => TIMER.lock().alarms.remove(alarm),
        });
    }
}

impl Alarms {
    /// Sets an alarm, which replaces `earlier`. Returns the waker of the earlier one, which may own
    /// its task and must therefore be dropped without the lock.
    fn set(
        &mut self,
        earlier: Option<AlarmId>,
        deadline: Moment,
        waker: &Waker,
    ) -> (AlarmId, Option<Waker>) {
        let id = earlier.unwrap_or_else(|| {
            self.last_number += 1;
            (deadline, self.last_number)
        });
        let replaced = self.wakers.insert(id, waker.clone());
        (id, replaced)
    }

    fn remove(&mut self, alarm: AlarmId) -> Option<Waker> {
        self.wakers.remove(&alarm)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }

    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.wakers.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Removes and returns the alarms whose deadlines have passed.
    pub(crate) fn take_due(&mut self, now: Moment) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(first) = self.wakers.first_entry() {
            if first.key().0 > now {
                break;
            }
            due.push(first.remove());
        }
        due
    }
}

/// How long the thread waits for another alarm before it ends.
const IDLE_TIME: Duration = Duration::from_secs(10);

static TIMER: Timer = Timer { state: Mutex::new(State::new()), changed: Condvar::new() };

/// The alarms for the system clock.
struct Timer {
    state: Mutex<State>,
    /// Notified when an alarm is set that is due before the thread looks again.
    changed: Condvar,
}

struct State {
    alarms: Alarms,
    /// When the thread looks at the alarms next.
    wakes_at: Option<Moment>,
    has_thread: bool,
}

impl State {
    const fn new() -> Self {
        let alarms = Alarms { wakers: BTreeMap::new(), last_number: 0 };
        Self { alarms, wakes_at: None, has_thread: false }
    }
}

impl Timer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(
        &'static self,
        earlier: Option<AlarmId>,
        deadline: Moment,
        waker: &Waker,
    ) -> (AlarmId, Option<Waker>) {
        let mut state = self.lock();
        let is_early = state.wakes_at.is_none_or(|wakes_at| deadline < wakes_at);
        let set = state.alarms.set(earlier, deadline, waker);
        if !state.has_thread {
            let thread = thread::Builder::new().name("cachette-timer".into());
            match thread.spawn(|| self.run()) {
                Ok(_) => state.has_thread = true,
                Err(error) => {
                    tracing::error!(%error, "cannot start the timer thread; waits have no limit");
                }
            }
        } else if is_early {
            state.wakes_at = Some(deadline);
            self.changed.notify_one();
        }
        set
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Clock::system().now();
            let due = state.alarms.take_due(now);
            if !due.is_empty() {
                drop(state);
                due.into_iter().for_each(Waker::wake);
                state = self.lock();
                continue;
            }
            let next = state.alarms.next_deadline();
            let limit = next.map_or(IDLE_TIME, |deadline| deadline.since(now));
            state.wakes_at = Some(now + limit);
            let (guard, waited) =
                self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if waited.timed_out() && state.alarms.next_deadline().is_none() {
                state.has_thread = false;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        task::Wake,
        time::Instant,
    };

    use super::*;
    use crate::ManualClock;

    #[derive(Default)]
    struct CountWakes(AtomicUsize);

    impl Wake for CountWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn advancing_a_manual_clock_wakes_the_tasks_whose_deadline_has_passed() {
        let time = ManualClock::new();
        let clock = time.clock();
        let wakes = Arc::new(CountWakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let mut sleep = pin!(Sleep::until(&clock, clock.now() + Duration::from_secs(5)));
        let mut other = pin!(Sleep::until(&clock, clock.now() + Duration::from_secs(6)));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert!(other.as_mut().poll(&mut context).is_pending());
        time.advance(Duration::from_millis(4_999));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        time.advance(Duration::from_millis(1));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert!(sleep.as_mut().poll(&mut context).is_ready());
        assert!(other.as_mut().poll(&mut context).is_pending());
    }

    /// A task that waits as well and is dropped with its last waker.
    struct Task(#[expect(dead_code, reason = "it is dropped")] Sleep);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn replaced_waker_is_dropped_without_the_lock() {
        let (done, ended) = mpsc::channel();
        // In a thread, because a lock that is acquired twice is a deadlock.
        thread::spawn(move || {
            for clock in [ManualClock::new().clock(), Clock::system()] {
                let later = clock.now() + Duration::from_secs(60);
                let mut inner = Sleep::until(&clock, later);
                let mut noop = Context::from_waker(Waker::noop());
                assert!(Pin::new(&mut inner).poll(&mut noop).is_pending());
                let waker = Waker::from(Arc::new(Task(inner)));
                let mut outer = Sleep::until(&clock, later);
                let polled = Pin::new(&mut outer).poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
                drop(waker);
                assert!(Pin::new(&mut outer).poll(&mut noop).is_pending());
            }
            done.send(()).expect("the test waits");
        });
        ended.recv_timeout(Duration::from_secs(60)).expect("no deadlock");
    }

    #[test]
    fn dropped_sleep_leaves_no_alarm() {
        let time = ManualClock::new();
        let clock = time.clock();
        {
            let mut sleep = pin!(Sleep::until(&clock, clock.now() + Duration::from_secs(5)));
            assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        time.with_alarms(|alarms, _| assert!(alarms.is_empty()));
    }

    /// The deadlines are in descending order: each must interrupt the wait for the one before.
    #[tokio::test]
    async fn tasks_are_woken_in_time_on_the_system_clock() {
        let clock = Clock::system();
        let started_at = Instant::now();
        let tasks: Vec<_> = (1..=64)
            .rev()
            .map(|number| {
                let clock = clock.clone();
                tokio::spawn(async move {
                    let deadline = clock.now() + Duration::from_millis(number);
                    Sleep::until(&clock, deadline).await;
                    assert!(clock.now() >= deadline, "woken early");
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert!(started_at.elapsed() < IDLE_TIME, "woken late");
    }
}
