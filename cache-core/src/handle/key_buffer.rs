//! Composed keys in a buffer that each thread keeps, so that a look-up allocates none.

use std::{cell::Cell, mem, ops::Deref};

use crate::key::Composer;

thread_local! {
    static SPARE: Cell<String> = const { Cell::new(String::new()) };
}

/// A composed key. It may travel to another thread in the middle of an operation: its buffer then stays there.
pub(super) struct KeyBuffer(String);

impl KeyBuffer {
    pub(super) fn compose(composer: &Composer, key: &str) -> Self {
        let mut buffer = SPARE.try_with(Cell::take).unwrap_or_default();
        composer.compose(key, &mut buffer);
        Self(buffer)
    }
}

impl Deref for KeyBuffer {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for KeyBuffer {
    fn drop(&mut self) {
        const WORTH_KEEPING: usize = 1024;
        let mut buffer = mem::take(&mut self.0);
        if buffer.capacity() <= WORTH_KEEPING {
            buffer.clear();
            let _ = SPARE.try_with(|spare| spare.set(buffer));
        }
    }
}
