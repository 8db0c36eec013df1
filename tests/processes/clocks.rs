//! Processes whose clocks differ by an hour.
//!
//! Files and databases keep the end of a lease by the clocks of their clients; other stores have a
//! clock of their own. Wherever the clocks are wrong, a late value is not stored, and a process
//! that was killed keeps nobody out for longer than it said.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cachette::{Clock, testing::ManualClock};

use crate::{
    HOLD,
    child::{Holder, Setup, Task, wait_to_be_killed},
    killed::LOCKED,
    open, open_with_clock, race, runtime,
    stores::{Shared, on_each_store},
};

const HOUR: Duration = Duration::from_secs(3600);

/// Returns a clock that differs from the system's, by a few milliseconds more or less.
fn clock(differs: fn(Duration) -> Duration) -> Clock {
    let time = ManualClock::new();
    let tick = move |time: &ManualClock| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        time.advance(differs(now).saturating_sub(time.clock().unix_time()));
    };
    tick(&time);
    let clock = time.clock();
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(1));
            tick(&time);
        }
    });
    clock
}

fn an_hour_ahead() -> Clock {
    clock(|now| now + HOUR)
}

fn an_hour_back() -> Clock {
    clock(|now| now - HOUR)
}

/// Each step of a process uses another clock, as if its clock jumped.
pub(crate) async fn race(setup: &Setup, process: u64) {
    let config = &setup.config;
    let caches = [
        open(config).await,
        open_with_clock(config, an_hour_ahead()).await,
        open_with_clock(config, an_hour_back()).await,
    ];
    race::race(&caches, &setup.folder, process).await;
}

pub(crate) async fn hold(setup: &Setup) {
    let cache = open_with_clock(&setup.config, an_hour_ahead()).await;
    let held = cache.lock("k").hold(LOCKED).await.expect("the store replies");
    let _guard = held.expect("it is free");
    wait_to_be_killed::<()>().await;
}

fn late_value_is_never_stored_if_clocks_jump_by_an_hour(shared: &Shared) {
    race::run_race(Task::RaceOfClocks, shared);
}

fn lock_of_a_killed_process_whose_clock_was_ahead_ends(shared: &Shared) {
    Holder::start(Task::HoldInAnHour, shared).kill();
    runtime().block_on(async {
        let lock = open(&shared.config).await.lock("k").wait(HOLD);
        let held = lock.hold(HOLD).await.expect("the store replies");
        held.expect("nobody holds it for an hour").release().await.expect("the store replies");
    });
}

on_each_store!(
    late_value_is_never_stored_if_clocks_jump_by_an_hour
    lock_of_a_killed_process_whose_clock_was_ahead_ends
);
