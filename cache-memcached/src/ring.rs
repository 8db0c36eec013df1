//! Which server has a key: rendezvous hashing, as pymemcache does it.
//!
//! Each server has a score for a key, `murmur3_32("<server>-<key>")`, and the one with the highest has it. So a new
//! server takes keys from all others in equal parts, about one of n in all, and no other key moves. Of servers with the
//! same score, the one whose name is greater has the key.
//!
//! pymemcache hashes characters and not bytes, and of each the lowest eight bits: so does this. With weights, a score `h` counts as
//! `-weight / ln((h + 0.5) / 2^32)`: equal weights place keys as none do, and a server's part of the keys is its part of the weights.

/// The servers, by name and in the order of LOCATION.
#[derive(Debug)]
pub(crate) struct Ring {
    nodes: Vec<Node>,
    weighted: bool,
}

#[derive(Debug)]
struct Node {
    name: String,
    /// The hash of `"<name>-"` so far, which is the same for every key.
    head: Murmur,
    weight: f64,
}

impl Ring {
    /// `weights` are as many as names, or none.
    pub(crate) fn new(names: impl IntoIterator<Item = String>, weights: &[f64]) -> Self {
        let weights = weights.iter().copied().chain(std::iter::repeat(1.0));
        let node = |(name, weight): (String, f64)| {
            let mut head = Murmur::default();
            head.push(&name);
            head.push("-");
            Node { name, head, weight }
        };
        let nodes: Vec<Node> = names.into_iter().zip(weights).map(node).collect();
        #[expect(clippy::float_cmp, reason = "equal is equal as it was written")]
        let weighted = nodes.iter().any(|node| node.weight != nodes[0].weight);
        Self { nodes, weighted }
    }

    /// The position of the server that has this key.
    pub(crate) fn pick(&self, key: &str) -> usize {
        if self.nodes.len() == 1 {
            return 0;
        }
        self.pick_among(key, |_| true).unwrap_or(0)
    }

    /// The same among some of the servers only; none where there is none.
    pub(crate) fn pick_among(&self, key: &str, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let candidates = (0..self.nodes.len()).filter(|position| eligible(*position));
        if self.weighted {
            let scored = candidates.map(|position| (self.weighted_score(position, key), position));
            let best = scored.max_by(|(one, a), (other, b)| {
                one.total_cmp(other).then_with(|| self.by_name(*a, *b))
            });
            return best.map(|(_, position)| position);
        }
        let scored = candidates.map(|position| (self.nodes[position].score(key), position));
        let best =
            scored.max_by(|(one, a), (other, b)| one.cmp(other).then_with(|| self.by_name(*a, *b)));
        best.map(|(_, position)| position)
    }

    fn weighted_score(&self, position: usize, key: &str) -> f64 {
        let node = &self.nodes[position];
        let part = (f64::from(node.score(key)) + 0.5) / (2.0_f64).powi(32);
        -node.weight / part.ln()
    }

    fn by_name(&self, one: usize, other: usize) -> std::cmp::Ordering {
        self.nodes[one].name.cmp(&self.nodes[other].name)
    }
}

impl Node {
    fn score(&self, key: &str) -> u32 {
        let mut hash = self.head.clone();
        hash.push(key);
        hash.finish()
    }
}

/// `MurmurHash3`, 32 bits, with the seed 0, of a text that comes in parts.
#[derive(Clone, Debug, Default)]
struct Murmur {
    hash: u32,
    /// The last characters, of which there are no four yet.
    tail: u32,
    length: u32,
}

impl Murmur {
    fn push(&mut self, text: &str) {
        if text.is_ascii() {
            text.bytes().for_each(|byte| self.push_byte(byte));
        } else {
            // That is how pymemcache hashes a character.
            text.chars().for_each(|character| self.push_byte(character as u8));
        }
    }

    fn push_byte(&mut self, byte: u8) {
        self.tail |= u32::from(byte) << (self.length % 4 * 8);
        self.length += 1;
        if self.length.is_multiple_of(4) {
            self.hash = (self.hash ^ scrambled(self.tail))
                .rotate_left(13)
                .wrapping_mul(5)
                .wrapping_add(0xE654_6B64);
            self.tail = 0;
        }
    }

    fn finish(&self) -> u32 {
        // Of an empty tail, nothing is added: a zero is scrambled to a zero.
        let mut hash = self.hash ^ scrambled(self.tail) ^ self.length;
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85EB_CA6B);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xC2B2_AE35);
        hash ^ (hash >> 16)
    }
}

fn scrambled(word: u32) -> u32 {
    word.wrapping_mul(0xCC9E_2D51).rotate_left(15).wrapping_mul(0x1B87_3593)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(servers: usize) -> Ring {
        Ring::new(
            (0..servers).map(|number| format!("10.0.{}.{}:11211", number / 256, number % 256)),
            &[],
        )
    }

    fn keys() -> Vec<String> {
        (0..20_000).map(|number| format!(":1:user:{number}")).collect()
    }

    /// What pymemcache itself answered: `tests/placement/make.py` makes the file.
    #[test]
    fn keys_are_where_pymemcache_puts_them() {
        let lines: Vec<&str> = include_str!("../tests/placement/placement.tsv").lines().collect();
        assert!(lines.len() > 300, "the file is there as a whole");
        for line in lines {
            let [location, key, server] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line:?}")
            };
            let servers = crate::address::read_all(&[location]).expect("it is fine");
            let picked = Ring::new(servers.iter().map(ToString::to_string), &[]).pick(key);
            assert_eq!(servers[picked].to_string(), server, "{key:?} among {location}");
        }
    }

    fn hash(text: &str) -> u32 {
        let mut hash = Murmur::default();
        hash.push(text);
        hash.finish()
    }

    /// The test vectors that are published with the algorithm's ports.
    #[test]
    fn the_hash_is_murmur3() {
        for (text, expected) in [("", 0), ("test", 0xBA6B_D213), ("Hello, world!", 0xC036_3E43)] {
            assert_eq!(hash(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_text_hashes_the_same_in_parts() {
        let text = "the quick brown fox";
        for cut in 0..=text.len() {
            let mut parts = Murmur::default();
            parts.push(&text[..cut]);
            parts.push(&text[cut..]);
            assert_eq!(parts.finish(), hash(text), "cut at {cut}");
        }
    }

    /// The n-th server takes one of n keys, and from nobody more than its part; no key moves between the others.
    #[test]
    fn another_server_takes_its_part_of_the_keys_and_moves_no_other() {
        let keys = &keys()[..5000];
        for servers in [1, 2, 3, 5, 10, 30, 100, 300, 1000] {
            let (before, after) = (ring(servers), ring(servers + 1));
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
    fn every_server_has_its_part_of_the_keys() {
        let ring = ring(10);
        let mut counts = [0_i32; 10];
        keys().iter().for_each(|key| counts[ring.pick(key)] += 1);
        assert!(counts.iter().all(|count| (count - 2000).abs() < 220), "{counts:?}");
    }

    #[test]
    fn the_order_of_location_does_not_matter() {
        let names = ["a:1", "b:1", "c:1"].map(String::from);
        let (forth, back) =
            (Ring::new(names.clone(), &[]), Ring::new(names.into_iter().rev(), &[]));
        assert!(keys().iter().all(|key| forth.pick(key) == 2 - back.pick(key)));
    }

    #[test]
    fn weights_share_out_the_keys_and_equal_ones_change_nothing() {
        let names = || ["a:1", "b:1", "c:1"].map(String::from);
        let (plain, equal) = (Ring::new(names(), &[]), Ring::new(names(), &[3.0; 3]));
        let weighted = Ring::new(names(), &[1.0, 1.0, 2.0]);
        let mut heavy = 0;
        for key in keys() {
            assert_eq!(plain.pick(&key), equal.pick(&key));
            let (old, new) = (plain.pick(&key), weighted.pick(&key));
            assert!(new == old || new == 2, "keys only move to the one that gained");
            heavy += i32::from(new == 2);
        }
        assert!((heavy - 10_000).abs() < 350, "{heavy}");
    }

    #[test]
    fn without_a_server_its_keys_go_to_all_others() {
        let ring = ring(4);
        let mut taken = [0; 4];
        for key in keys() {
            let second = ring.pick_among(&key, |position| position != 0).expect("there are others");
            assert!(ring.pick(&key) == 0 || ring.pick(&key) == second);
            taken[second] += i32::from(ring.pick(&key) == 0);
        }
        assert!(
            taken[0] == 0 && taken[1..].iter().all(|count| (count - 1667).abs() < 250),
            "{taken:?}"
        );
        assert_eq!(ring.pick_among("k", |_| false), None);
    }
}
