//! Composed keys in a buffer that each thread reuses, so that a lookup does not allocate.

use std::{cell::Cell, mem, ops::Deref};

use crate::key::Composer;

thread_local! {
    static SPARE: Cell<String> = const { Cell::new(String::new()) };
}

/// A composed key.
///
/// It may move to another thread during an operation. Its buffer then becomes that thread's.
pub(super) struct KeyBuffer(String);

impl KeyBuffer {
    /// Always inlined, because a call costs a quarter of it.
    #[inline(always)]
    pub(super) fn compose(composer: &Composer, key: &str) -> Self {
        let mut buffer = SPARE.try_with(Cell::take).unwrap_or_default();
        composer.compose(key, &mut buffer);
        Self(buffer)
    }
}

impl Deref for KeyBuffer {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for KeyBuffer {
    #[inline]
    fn drop(&mut self) {
        const MAX_KEPT_CAPACITY: usize = 1024;
        let mut buffer = mem::take(&mut self.0);
        if buffer.capacity() <= MAX_KEPT_CAPACITY {
            buffer.clear();
            let _ = SPARE.try_with(|spare| spare.set(buffer));
        }
    }
}
