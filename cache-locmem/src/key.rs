//! Keys as entries keep them.

use std::fmt;

/// The longest key that is kept inside its entry, in bytes.
const SHORT: usize = 38;

/// A key. A short one stands inside its entry, so that to compare it and to drop it costs no further trip to memory.
pub(crate) enum Key {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

impl Key {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }

    /// The bytes that it takes outside its entry.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Short { .. } => 0,
            Self::Long(bytes) => bytes.len(),
        }
    }

    /// The [`size`](Self::size) of what `key` becomes.
    pub(crate) fn size_of(key: &str) -> usize {
        if key.len() <= SHORT { 0 } else { key.len() }
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        match u8::try_from(key.len()) {
            Ok(length) if key.len() <= SHORT => {
                let mut bytes = [0; SHORT];
                bytes[..key.len()].copy_from_slice(key.as_bytes());
                Self::Short { length, bytes }
            }
            _ => Self::Long(key.as_bytes().into()),
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
    fn a_key_of_any_length_comes_back_byte_for_byte() {
        for length in [0, 1, SHORT - 1, SHORT, SHORT + 1, 300] {
            let key = "k".repeat(length);
            assert_eq!(Key::from(&*key).as_bytes(), key.as_bytes());
        }
    }

    #[test]
    fn a_short_key_takes_no_more_room_than_its_bytes_and_two() {
        assert_eq!(size_of::<Key>(), SHORT + 2);
    }
}
