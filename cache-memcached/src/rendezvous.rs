//! Placement of keys on servers: rendezvous hashing (highest random weight), compatible with
//! pymemcache.
//!
//! Each server has a score for a key, `murmur3_32("<server>-<key>")`, and the server with the
//! highest score holds the key. If scores are equal, the server whose name is greater wins. A new
//! server, the n-th, therefore takes 1/n of the keys, in equal parts from all others, and no other
//! key moves.
//!
//! Like pymemcache, this module hashes the lowest eight bits of each character instead of its UTF-8
//! bytes. With weights, a score `h` becomes `-weight / ln((h + 0.5) / 2^32)`: equal weights
//! place keys as no weights do, and a server's share of the keys is its share of the weights.

use std::cmp::Ordering;

/// Maps keys to servers. Servers are identified by their position in LOCATION.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    nodes: Vec<Node>,
    weighted: bool,
}

#[derive(Debug)]
struct Node {
    name: String,
    /// The hash state after `"<name>-"`, which is the same for every key.
    prefix: Murmur3,
    weight: f64,
}

impl Rendezvous {
    /// Creates the mapping. `weights` has one weight for each name, or is empty.
    pub(crate) fn new(names: impl IntoIterator<Item = String>, weights: &[f64]) -> Self {
        let weights = weights.iter().copied().chain(std::iter::repeat(1.0));
        let node = |(name, weight): (String, f64)| {
            let mut prefix = Murmur3::default();
            prefix.update(&name);
            prefix.update("-");
            Node { name, prefix, weight }
        };
        let nodes: Vec<Node> = names.into_iter().zip(weights).map(node).collect();
        #[expect(clippy::float_cmp, reason = "weights are compared as they were configured")]
        let weighted = nodes.iter().any(|node| node.weight != nodes[0].weight);
        Self { nodes, weighted }
    }

    /// Returns the position of the server that holds the key.
    pub(crate) fn pick(&self, key: &str) -> usize {
        if self.nodes.len() == 1 {
            return 0;
        }
        self.pick_among(key, |_| true).unwrap_or(0)
    }

    /// Like [`pick`](Self::pick), but considers only eligible servers. Returns `None` if there is
    /// none.
    pub(crate) fn pick_among(&self, key: &str, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let candidates = (0..self.nodes.len()).filter(|position| eligible(*position));
        if self.weighted {
            let scored = candidates.map(|position| (self.weighted_score(position, key), position));
            let best = scored.max_by(|(score, a), (other, b)| {
                score.total_cmp(other).then_with(|| self.compare_names(*a, *b))
            });
            return best.map(|(_, position)| position);
        }
        let scored = candidates.map(|position| (self.nodes[position].score(key), position));
        let best = scored.max_by(|(score, a), (other, b)| {
            score.cmp(other).then_with(|| self.compare_names(*a, *b))
        });
        best.map(|(_, position)| position)
    }

    fn weighted_score(&self, position: usize, key: &str) -> f64 {
        let node = &self.nodes[position];
        let fraction = (f64::from(node.score(key)) + 0.5) / (2.0_f64).powi(32);
        -node.weight / fraction.ln()
    }

    fn compare_names(&self, a: usize, b: usize) -> Ordering {
        self.nodes[a].name.cmp(&self.nodes[b].name)
    }
}

impl Node {
    fn score(&self, key: &str) -> u32 {
        let mut hash = self.prefix.clone();
        hash.update(key);
        hash.finish()
    }
}

/// Incremental 32-bit `MurmurHash3` with the seed 0.
#[derive(Clone, Debug, Default)]
struct Murmur3 {
    hash: u32,
    /// Up to three bytes that do not fill a block of four yet.
    tail: u32,
    len: u32,
}

impl Murmur3 {
    fn update(&mut self, text: &str) {
        if text.is_ascii() {
            text.bytes().for_each(|byte| self.push_byte(byte));
        } else {
            // Like pymemcache, hash the lowest eight bits of each character.
            text.chars().for_each(|character| self.push_byte(character as u8));
        }
    }

    fn push_byte(&mut self, byte: u8) {
        self.tail |= u32::from(byte) << (self.len % 4 * 8);
        self.len += 1;
        if self.len.is_multiple_of(4) {
            self.hash = (self.hash ^ mix(self.tail))
                .rotate_left(13)
                .wrapping_mul(5)
                .wrapping_add(0xE654_6B64);
            self.tail = 0;
        }
    }

    fn finish(&self) -> u32 {
        // An empty tail adds nothing, because `mix(0)` is 0.
        let mut hash = self.hash ^ mix(self.tail) ^ self.len;
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85EB_CA6B);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xC2B2_AE35);
        hash ^ (hash >> 16)
    }
}

fn mix(word: u32) -> u32 {
    word.wrapping_mul(0xCC9E_2D51).rotate_left(15).wrapping_mul(0x1B87_3593)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendezvous(servers: usize) -> Rendezvous {
        let name = |number| format!("10.0.{}.{}:11211", number / 256, number % 256);
        Rendezvous::new((0..servers).map(name), &[])
    }

    fn keys() -> Vec<String> {
        (0..20_000).map(|number| format!(":1:user:{number}")).collect()
    }

    /// The file holds the placement of pymemcache itself. `tests/placement/make.py` writes it.
    #[test]
    fn placement_matches_pymemcache() {
        let lines: Vec<&str> = include_str!("../tests/placement/placement.tsv").lines().collect();
        assert!(lines.len() > 300, "the file should be complete");
        for line in lines {
            let [location, key, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line:?}")
            };
            let servers = crate::address::parse_all(&[location]).expect("location should be valid");
            let names = servers.iter().map(ToString::to_string);
            let picked = Rendezvous::new(names, &[]).pick(key);
            assert_eq!(servers[picked].to_string(), expected, "{key:?} among {location}");
        }
    }

    fn hash(text: &str) -> u32 {
        let mut hash = Murmur3::default();
        hash.update(text);
        hash.finish()
    }

    #[test]
    fn hash_matches_published_murmur3_test_vectors() {
        for (text, expected) in [("", 0), ("test", 0xBA6B_D213), ("Hello, world!", 0xC036_3E43)] {
            assert_eq!(hash(text), expected, "{text:?}");
        }
    }

    #[test]
    fn hash_does_not_depend_on_how_text_is_split() {
        let text = "the quick brown fox";
        for cut in 0..=text.len() {
            let mut parts = Murmur3::default();
            parts.update(&text[..cut]);
            parts.update(&text[cut..]);
            assert_eq!(parts.finish(), hash(text), "cut at {cut}");
        }
    }

    /// The n-th server takes 1/n of the keys, an equal part from each of the others.
    #[test]
    fn new_server_takes_its_share_and_moves_no_other_key() {
        let keys = &keys()[..5000];
        for servers in [1, 2, 3, 5, 10, 30, 100, 300, 1000] {
            let (before, after) = (rendezvous(servers), rendezvous(servers + 1));
            let mut moved = 0.0;
            for key in keys {
                let (old, new) = (before.pick(key), after.pick(key));
                assert!(new == old || new == servers, "{key} moved from {old} to {new}");
                moved += f64::from(u8::from(new != old));
            }
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let expected = keys.len() as f64 / (servers + 1) as f64;
            // Five standard deviations.
            assert!(
                f64::abs(moved - expected) < 5.0 * expected.sqrt(),
                "{moved} of {expected} with {servers}"
            );
        }
    }

    #[test]
    fn keys_are_distributed_evenly() {
        let rendezvous = rendezvous(10);
        let mut counts = [0_i32; 10];
        keys().iter().for_each(|key| counts[rendezvous.pick(key)] += 1);
        assert!(counts.iter().all(|count| (count - 2000).abs() < 220), "{counts:?}");
    }

    #[test]
    fn order_of_location_does_not_matter() {
        let names = ["a:1", "b:1", "c:1"].map(String::from);
        let forward = Rendezvous::new(names.clone(), &[]);
        let reversed = Rendezvous::new(names.into_iter().rev(), &[]);
        assert!(keys().iter().all(|key| forward.pick(key) == 2 - reversed.pick(key)));
    }

    #[test]
    fn weights_set_shares_and_equal_weights_change_nothing() {
        let names = || ["a:1", "b:1", "c:1"].map(String::from);
        let unweighted = Rendezvous::new(names(), &[]);
        let equal = Rendezvous::new(names(), &[3.0; 3]);
        let weighted = Rendezvous::new(names(), &[1.0, 1.0, 2.0]);
        let mut heavy = 0;
        for key in keys() {
            assert_eq!(unweighted.pick(&key), equal.pick(&key));
            let (old, new) = (unweighted.pick(&key), weighted.pick(&key));
            assert!(new == old || new == 2, "keys should move only to the heavier server");
            heavy += i32::from(new == 2);
        }
        assert!((heavy - 10_000).abs() < 350, "{heavy}");
    }

    #[test]
    fn keys_of_a_missing_server_are_spread_over_the_others() {
        let rendezvous = rendezvous(4);
        let mut taken = [0; 4];
        for key in keys() {
            let first = rendezvous.pick(&key);
            let second = rendezvous.pick_among(&key, |position| position != 0);
            let second = second.expect("three servers are eligible");
            assert!(first == 0 || first == second);
            taken[second] += i32::from(first == 0);
        }
        assert!(
            taken[0] == 0 && taken[1..].iter().all(|count| (count - 1667).abs() < 250),
            "{taken:?}"
        );
        assert_eq!(rendezvous.pick_among("k", |_| false), None);
    }
}
