use std::{
    cell::Cell,
    pin::{Pin, pin},
    task::Waker,
};

use super::*;
use crate::{ManualClock, Settings, handle::step_store::StepStore};

fn poll<T>(call: &mut Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn finish<T>(mut call: Pin<&mut impl Future<Output = T>>) -> T {
    loop {
        if let Poll::Ready(output) = poll(&mut call) {
            return output;
        }
    }
}

#[test]
fn second_leader_releases_its_lease_if_the_first_one_has_completed_the_flight() {
    let time = ManualClock::new();
    let store = Arc::new(StepStore::with_leases(time.clock()));
    let process = || {
        let cache = CacheHandle::new("default", Arc::clone(&store) as _, Settings::default());
        cache.with_clock(time.clock())
    };
    let (cache, other) = (process(), process());
    let (has_begun, has_ended) = (Cell::new(false), Cell::new(false));
    let produce = || {
        has_begun.set(true);
        poll_fn(|_| if has_ended.get() { Poll::Ready(1) } else { Poll::Pending })
    };
    let mut first = pin!(cache.get_or_set("k", Timeout::Default, produce));
    while !has_begun.get() {
        assert!(poll(&mut first).is_pending());
    }
    time.advance(HOLD);
    let mut second = pin!(cache.get_or_set("k", Timeout::Default, async || 2));
    // The store has looked the key up and granted a lease.
    for _ in 0..4 {
        assert!(poll(&mut second).is_pending());
    }
    has_ended.set(true);
    assert_eq!(finish(first).expect("produced"), 1);
    assert_eq!(finish(second).expect("the flight is completed"), 1);
    let key = ":1:k".into();
    let acquired = finish(pin!(other.acquire(&key, Wanted::Missing, HOLD)));
    assert!(acquired.expect("the store does not fail").lease.is_some());
}
