//! The epochs of keys, which end when the keys are written.
//!
//! A caller that misses after a write must not get a value whose production began before it. So
//! callers wait for each other only if they missed in the same epoch of their key. A write ends the
//! epoch and leaves those who wait in it alone: they began before it.

use std::{
    collections::HashMap,
    fmt,
    hash::{Hash, Hasher},
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// The current epochs of the keys whose values a handle, its clones and the handles derived from it
/// are producing.
#[derive(Default)]
pub(super) struct Epochs {
    /// Whether there are any: the only thing that a write looks at.
    ///
    /// Relaxed is enough. A leader looks its key up after its epoch was recorded. If a write does
    /// not see the epoch, the store has executed the write before that lookup, as it orders both,
    /// so the producer begins after the write.
    has_any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: HashMap<Arc<str>, Current>,
    last_number: u64,
}

struct Current {
    number: u64,
    epoch: Weak<Epoch>,
}

/// An epoch of one key. It is forgotten when nobody produces or waits in it.
pub(super) struct Epoch {
    all: Arc<Epochs>,
    key: Arc<str>,
    /// Unique among the epochs of all keys.
    number: u64,
}

impl Epochs {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_count(&self, state: &State) {
        self.has_any.store(!state.current.is_empty(), Relaxed);
    }

    /// Whether a write may have to end an epoch. If not, the methods that do need not be called.
    #[inline]
    pub(super) fn has_any(&self) -> bool {
        self.has_any.load(Relaxed)
    }

    /// Returns the current epoch of a composed key.
    pub(super) fn current(self: &Arc<Self>, key: &Arc<str>) -> Arc<Epoch> {
        let mut state = self.lock();
        if let Some(epoch) = state.current.get(key).and_then(|current| current.epoch.upgrade()) {
            return epoch;
        }
        state.last_number += 1;
        let number = state.last_number;
        let epoch = Arc::new(Epoch { all: Arc::clone(self), key: Arc::clone(key), number });
        let current = Current { number, epoch: Arc::downgrade(&epoch) };
        state.current.insert(Arc::clone(key), current);
        self.record_count(&state);
        epoch
    }

    /// Returns the number of the current epoch of a composed key, unless nobody produces its value.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.lock().current.get(key).map(|current| current.number)
    }

    /// Ends the current epochs of composed keys.
    pub(super) fn end<'a>(&self, keys: impl IntoIterator<Item = &'a str>) {
        let mut state = self.lock();
        for key in keys {
            state.current.remove(key);
        }
        self.record_count(&state);
    }

    /// Ends the current epochs of all keys.
    pub(super) fn end_all(&self) {
        let mut state = self.lock();
        state.current.clear();
        self.record_count(&state);
    }
}

impl Epoch {
    /// Returns the composed key.
    pub(super) fn key(&self) -> &Arc<str> {
        &self.key
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        let mut state = self.all.lock();
        let current = state.current.get(&self.key);
        if current.is_some_and(|current| ptr::eq(current.epoch.as_ptr(), self)) {
            state.current.remove(&self.key);
            self.all.record_count(&state);
        }
    }
}

impl PartialEq for Epoch {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Epoch {}

impl Hash for Epoch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl fmt::Debug for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epochs").finish_non_exhaustive()
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoch")
            .field("key", &self.key)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_lasts_until_its_key_is_written_or_nobody_uses_it() {
        let (epochs, key, other) = (Arc::<Epochs>::default(), "k".into(), "other".into());
        let first = epochs.current(&key);
        assert!(epochs.has_any());
        epochs.end(["other"]);
        assert_eq!(epochs.current(&key), first);
        epochs.end(["k"]);
        assert!(!epochs.has_any());
        let second = epochs.current(&key);
        assert_ne!(first, second);
        drop(first);
        assert_eq!(epochs.current(&key), second);
        let unrelated = epochs.current(&other);
        epochs.end_all();
        assert_ne!(epochs.current(&key), second);
        assert_ne!(epochs.current(&other), unrelated);
        assert!(!epochs.has_any(), "the last ones were dropped");
    }
}
