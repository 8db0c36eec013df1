//! Composed keys in a buffer that each thread keeps, so that a look-up allocates none.

use std::{cell::Cell, ops::Deref};

use crate::key::Composer;

thread_local! {
    static SPARE: Cell<Option<Buffer>> = const { Cell::new(None) };
}

/// It moves often, and a pointer moves faster than the three words of a string.
type Buffer = Box<String>;

/// A composed key. It may travel to another thread in the middle of an operation: its buffer then stays there.
pub(super) struct KeyBuffer(Option<Buffer>);

impl KeyBuffer {
    pub(super) fn compose(composer: &Composer, key: &str) -> Self {
        let mut buffer = SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default();
        composer.compose(key, &mut buffer);
        Self(Some(buffer))
    }
}

impl Deref for KeyBuffer {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_ref().map_or("", |buffer| buffer)
    }
}

impl Drop for KeyBuffer {
    fn drop(&mut self) {
        const WORTH_KEEPING: usize = 1024;
        if let Some(mut buffer) = self.0.take()
            && buffer.capacity() <= WORTH_KEEPING
        {
            buffer.clear();
            let _ = SPARE.try_with(|spare| spare.set(Some(buffer)));
        }
    }
}
