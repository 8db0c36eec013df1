//! Keys, values and the order of requests, all created before anything is timed.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use rand_distr::Zipf;

/// The number of different keys.
pub const KEYS: usize = 100_000;

/// The length of every value in bytes.
pub const VALUE_LENGTH: usize = 100;

/// The value of an entry.
pub const VALUE: [u8; VALUE_LENGTH] = [b'v'; VALUE_LENGTH];

/// The time to live of every entry: longer than any run.
pub const HOUR: Duration = Duration::from_secs(3600);

/// Returns keys of 26 bytes. Another `kind` of five letters results in other keys.
#[must_use]
pub fn keys(kind: &str, count: usize) -> Vec<Box<str>> {
    (0..count).map(|number| format!("{kind}:user:{number:015}").into()).collect()
}

/// Returns a key of 26 bytes for each number. The order of the keys is unrelated to that of the
/// numbers, as it is for the keys of an application. `python/peers.py` has the same function.
#[must_use]
pub fn scattered_key(number: u64) -> String {
    format!("page:user:{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Returns one of `count` positions for each number. Consecutive numbers have distant positions, in
/// an order unrelated to that in which entries were stored.
#[must_use]
pub fn scattered_position(number: u64, count: u64) -> u64 {
    number * 611_953 % count
}

/// Returns `count` positions below `keys`, distributed by Zipf's law with the exponent 0.99. They
/// are the same in each run. The rank of a position is unrelated to its order.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]
#[expect(clippy::missing_panics_doc, reason = "the exponent is valid")]
pub fn zipf(keys: usize, count: usize) -> Vec<usize> {
    let mut random = SmallRng::seed_from_u64(42);
    let mut by_rank: Vec<usize> = (0..keys).collect();
    by_rank.shuffle(&mut random);
    let law = Zipf::new(keys as f64, 0.99).expect("a valid exponent");
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
    fn a_tenth_of_the_keys_has_most_of_the_requests() {
        let mut requests = vec![0; KEYS];
        zipf(KEYS, 100_000).into_iter().for_each(|position| requests[position] += 1);
        requests.sort_unstable();
        let top: u32 = requests[KEYS - KEYS / 10..].iter().sum();
        assert!(top > 70_000, "{top}");
    }
}
