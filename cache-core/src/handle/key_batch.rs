//! Composed keys of a batch in one buffer, so that a batch does not allocate for each key.

use crate::key::Composer;

/// Composed keys, one after the other.
pub(super) struct KeyBatch {
    text: String,
    /// Where each key ends in the text.
    ends: Vec<usize>,
}

impl KeyBatch {
    /// Creates an empty batch with space for these keys.
    pub(super) fn for_keys<K: AsRef<str>>(keys: &[K], composer: &Composer) -> Self {
        let length = keys.iter().map(|key| composer.joined_length(key.as_ref())).sum();
        Self { text: String::with_capacity(length), ends: Vec::with_capacity(keys.len()) }
    }

    /// Adds a key and returns it as composed.
    pub(super) fn compose(&mut self, composer: &Composer, key: &str) -> &str {
        let start = self.text.len();
        composer.compose(key, &mut self.text);
        self.ends.push(self.text.len());
        &self.text[start..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.text[start..end])
    }
}
