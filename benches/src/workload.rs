//! Keys, values and the order they are asked for in, all made before anything is timed.

use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use rand_distr::Zipf;

/// How many different keys there are.
pub const KEYS: usize = 100_000;

/// The value of every entry, in bytes.
pub const VALUE_LENGTH: usize = 100;

/// Keys of 26 bytes, different from those under any other `kind` of five letters.
#[must_use]
pub fn keys(kind: &str, count: usize) -> Vec<Box<str>> {
    (0..count).map(|number| format!("{kind}:user:{number:015}").into()).collect()
}

/// A key of 26 bytes for each number, in an order that has nothing to do with the numbers': as a table or a folder meets
/// keys. `python/peers.py` makes the same ones.
#[must_use]
pub fn scattered_key(number: u64) -> String {
    format!("page:user:{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// One of `count` positions for each number: one after the other they lead all over the cache, in an order that has nothing
/// to do with that in which entries were stored.
#[must_use]
pub fn scattered_position(number: u64, count: u64) -> u64 {
    number * 611_953 % count
}

/// `count` positions below [`KEYS`], by Zipf's law with the exponent 0.99, the same ones in each run. Which positions are
/// asked for often has nothing to do with their order.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]
#[expect(clippy::missing_panics_doc, reason = "the exponent is valid")]
pub fn zipf(count: usize) -> Vec<usize> {
    let mut random = SmallRng::seed_from_u64(42);
    let mut by_rank: Vec<usize> = (0..KEYS).collect();
    by_rank.shuffle(&mut random);
    let law = Zipf::new(KEYS as f64, 0.99).expect("a valid exponent");
    (0..count).map(|_| by_rank[random.sample(law) as usize - 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_26_bytes() {
        assert!(keys("there", 1000).iter().all(|key| key.len() == 26));
        assert!((0..1000).all(|number| scattered_key(number).len() == 26));
    }

    #[test]
    fn a_tenth_of_the_keys_gets_most_of_the_requests() {
        let mut asked = vec![0; KEYS];
        zipf(100_000).into_iter().for_each(|position| asked[position] += 1);
        asked.sort_unstable();
        let top: u32 = asked[KEYS - KEYS / 10..].iter().sum();
        assert!(top > 70_000, "{top}");
    }
}
