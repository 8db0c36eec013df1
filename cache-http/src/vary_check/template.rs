//! What several renderings of one page have in common.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    mem,
    time::{Duration, Instant},
};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

/// A body of which some parts are known to change by themselves, such as nonces and times.
///
/// These parts are found by comparing renderings word by word. Words are kept as hashes.
#[derive(Debug)]
pub(super) struct Template {
    words: Vec<u64>,
    /// Whether anything may stand before each of the words, and at the end.
    gaps: Vec<bool>,
}

/// The time after which a comparison becomes less precise, but faster.
const MAX_DIFF_TIME: Duration = Duration::from_secs(1);

impl Template {
    pub(super) fn new(body: &[u8]) -> Self {
        let words = words(body);
        Self { gaps: vec![false; words.len() + 1], words }
    }

    /// Adds another rendering: what differs in it changes by itself.
    pub(super) fn learn(&mut self, body: &[u8]) {
        let (old, new) = (&*self.words, &*words(body));
        let deadline = Instant::now() + MAX_DIFF_TIME;
        let (mut words, mut gaps, mut gap) = (Vec::with_capacity(old.len()), Vec::new(), false);
        for operation in capture_diff_slices_deadline(Algorithm::Myers, old, new, Some(deadline)) {
            let DiffOp::Equal { old_index, len, .. } = operation else {
                gap = true;
                continue;
            };
            let equal = old[old_index..old_index + len].iter().zip(&self.gaps[old_index..]);
            for (word, had_gap) in equal {
                words.push(*word);
                gaps.push(mem::take(&mut gap) || *had_gap);
            }
        }
        gaps.push(gap || self.gaps[old.len()]);
        *self = Self { words, gaps };
    }

    /// Whether a body is the template, with anything in its gaps.
    pub(super) fn matches(&self, body: &[u8]) -> bool {
        let words = words(body);
        let mut rest = &*words;
        let mut runs = self.runs().peekable();
        // Without a gap at the beginning, the first run is the beginning of the body.
        let mut is_anchored = true;
        while let Some(run) = runs.next() {
            let is_last = runs.peek().is_none();
            let found = match (is_anchored, is_last) {
                (true, true) => (rest == run).then_some(0),
                (true, false) => rest.starts_with(run).then_some(0),
                (false, true) => rest.ends_with(run).then(|| rest.len() - run.len()),
                (false, false) => find(rest, run),
            };
            let Some(start) = found else { return false };
            rest = &rest[start + run.len()..];
            is_anchored = false;
        }
        true
    }

    /// The words between the gaps. The first and the last run may be empty.
    fn runs(&self) -> impl Iterator<Item = &[u64]> {
        let mut cuts: Vec<usize> = (0..self.gaps.len()).filter(|index| self.gaps[*index]).collect();
        cuts.push(self.words.len());
        let mut start = 0;
        cuts.into_iter().map(move |end| {
            let run = &self.words[start..end];
            start = end;
            run
        })
    }
}

fn find(words: &[u64], run: &[u64]) -> Option<usize> {
    if run.is_empty() {
        return Some(0);
    }
    words.windows(run.len()).position(|window| window == run)
}

/// Splits a body into words and the characters between them.
fn words(body: &[u8]) -> Vec<u64> {
    let is_separator = |byte: u8| byte.is_ascii_whitespace() || b"\"'<>&;,(){}[]=:".contains(&byte);
    let same_word = |one: &u8, other: &u8| !is_separator(*one) && !is_separator(*other);
    let hash = |word: &[u8]| {
        let mut hasher = DefaultHasher::new();
        word.hash(&mut hasher);
        hasher.finish()
    };
    body.chunk_by(same_word).map(hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(bodies: &[&str]) -> Template {
        let mut template = Template::new(bodies[0].as_bytes());
        bodies[1..].iter().for_each(|body| template.learn(body.as_bytes()));
        template
    }

    fn matches(bodies: &[&str], body: &str) -> bool {
        template(bodies).matches(body.as_bytes())
    }

    #[test]
    fn without_unstable_parts_only_the_same_body_matches() {
        let bodies = ["<p>one two</p>", "<p>one two</p>"];
        assert!(matches(&bodies, "<p>one two</p>"));
        for other in
            ["", "<p>one</p>", "<p>one two</p> ", "<p>one two three</p>", "x<p>one two</p>"]
        {
            assert!(!matches(&bodies, other), "{other}");
        }
        assert!(matches(&["", ""], "") && !matches(&["", ""], "x"));
    }

    #[test]
    fn unstable_parts_match_anything_of_any_length() {
        let bodies = [
            "<script nonce='a1/+'>x</script><b>12:00</b> <script nonce='a1/+'>y</script>",
            "<script nonce='b2'>x</script><b>12:01</b> <script nonce='b2'>y</script>",
        ];
        let page = |nonce, text: &str| {
            format!(
                "<script nonce='{nonce}'>x</script><b>{text}</b> <script nonce='{nonce}'>y</script>"
            )
        };
        assert!(matches(&bodies, &page("c3", "12:02")));
        assert!(matches(&bodies, &page("", "12:02:30 h")));
        assert!(!matches(&bodies, &page("c3", "12:02").replace(">y<", ">z<")));
        assert!(!matches(&bodies, &page("c3", "12:02").replace(">x<", ">z<")));
        assert!(!matches(&bodies, &(page("c3", "12:02") + "<p>Hello</p>")));
    }

    #[test]
    fn unstable_beginning_and_end_are_learned() {
        assert!(matches(&["1 a b 1", "2 a b 2"], "3 4 a b 5 6"));
        assert!(!matches(&["1 a b 1", "2 a b 2"], "3 a c b 3"));
        assert!(matches(&["a b", "b"], "c b") && !matches(&["a b", "b"], "b c"));
    }

    #[test]
    fn every_rendering_adds_to_what_is_unstable() {
        let bodies = ["a 1 b 1 c", "a 1 b 2 c", "a 3 b 2 c"];
        assert!(!matches(&bodies[..2], "a 4 b 5 c"));
        assert!(matches(&bodies, "a 4 b 5 c"));
    }
}
