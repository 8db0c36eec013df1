//! Patterns of the names of cookies and of query parameters.

/// A name in which one `*` stands for any characters.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    start: Box<[u8]>,
    /// What follows the `*`. `None` if the pattern is the whole name.
    end: Option<Box<[u8]>>,
}

impl Pattern {
    pub(crate) fn new(pattern: &str) -> Self {
        match pattern.split_once('*') {
            Some((start, end)) => {
                Self { start: start.as_bytes().into(), end: Some(end.as_bytes().into()) }
            }
            None => Self { start: pattern.as_bytes().into(), end: None },
        }
    }

    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        match (&self.end, name.strip_prefix(&*self.start)) {
            (None, Some(rest)) => rest.is_empty(),
            (Some(end), Some(rest)) => rest.ends_with(end),
            (_, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_in_a_pattern_stands_for_any_characters() {
        let matches = |pattern, name: &str| Pattern::new(pattern).matches(name.as_bytes());
        assert!(matches("ab", "ab") && !matches("ab", "abc") && !matches("ab", "AB"));
        assert!(matches("ab*", "ab") && matches("ab*", "abc") && !matches("ab*", "a"));
        assert!(matches("a*c", "abbc") && matches("a*c", "ac") && !matches("a*c", "ab"));
        assert!(!matches("ab*ba", "aba"), "the parts do not overlap");
        assert!(matches("*", "") && matches("*", "a"));
    }
}
