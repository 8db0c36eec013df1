//! The flights whose producers are being polled by this thread, to detect recursion.
//!
//! A producer that asks for its own key would wait for itself. This module does not detect
//! producers that ask through a spawned task, nor producers of two keys that ask for each other's
//! key: the patience of their callers ends that.

use std::{cell::RefCell, sync::Arc};

thread_local! {
    static LED: RefCell<Vec<Led>> = const { RefCell::new(Vec::new()) };
}

struct Led {
    /// The addresses of the flight and of the map that it is in, which live as long as its leader.
    flight: usize,
    all: usize,
    key: Arc<str>,
}

/// Removes the innermost flight when the poll ends, even if by a panic.
struct Polling;

impl Polling {
    fn start(flight: usize, all: usize, key: &Arc<str>) -> Self {
        let led = Led { flight, all, key: Arc::clone(key) };
        // Fails while the thread ends. Recursion is then not detected.
        let _ = LED.try_with(|stack| stack.borrow_mut().push(led));
        Self
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        let _ = LED.try_with(|stack| stack.borrow_mut().pop());
    }
}

/// The address of no flight, for a producer without one.
pub(super) const NO_FLIGHT: usize = 0;

/// Calls `poll`, which polls the producer of a flight in the map `all`.
pub(super) fn lead<T>(flight: usize, all: usize, key: &Arc<str>, poll: impl FnOnce() -> T) -> T {
    let _polling = Polling::start(flight, all, key);
    poll()
}

/// Whether this thread is polling a producer of the flight.
pub(super) fn is_led_here(flight: usize) -> bool {
    LED.try_with(|stack| stack.borrow().iter().any(|led| led.flight == flight)).unwrap_or(false)
}

/// Whether this thread is polling a producer of the key, of any flight in the map `all`.
pub(super) fn is_key_led_here(all: usize, key: &str) -> bool {
    let is_led = |led: &Led| led.all == all && *led.key == *key;
    LED.try_with(|stack| stack.borrow().iter().any(is_led)).unwrap_or(false)
}

/// Returns the key of the innermost flight whose producer this thread is polling.
pub(crate) fn innermost_key() -> Option<Arc<str>> {
    LED.try_with(|stack| stack.borrow().last().map(|led| Arc::clone(&led.key))).ok().flatten()
}
