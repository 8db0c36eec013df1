//! The variants of a URI, of which a limited number is stored.

use crate::{date::UnixTime, policy::Reason};

/// A stored variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    /// The digest in its key.
    pub(crate) digest: u128,
    pub(crate) expires_at: UnixTime,
}

/// Adds a variant to those of a URI, of which there are at most `max`.
///
/// If there are too many, the least requested one is replaced, provided that the new one was
/// requested more often: made-up variants must not replace those that visitors request. Returns the
/// digest of the replaced variant.
///
/// # Errors
///
/// Returns [`Reason::VariantLimit`] if the new variant was not requested more often.
pub(crate) fn add(
    variants: &mut Vec<Variant>,
    new: Variant,
    max: usize,
    now: UnixTime,
    uses: impl Fn(u128) -> u8,
) -> Result<Option<u128>, Reason> {
    variants.retain(|variant| variant.expires_at > now && variant.digest != new.digest);
    let mut replaced = None;
    if variants.len() >= max {
        let least = (0..variants.len()).min_by_key(|index| uses(variants[*index].digest));
        let least = least.ok_or(Reason::VariantLimit)?;
        if uses(variants[least].digest) >= uses(new.digest) {
            return Err(Reason::VariantLimit);
        }
        replaced = Some(variants.remove(least).digest);
    }
    variants.push(new);
    Ok(replaced)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixTime = Duration::from_secs(100);

    fn variant(digest: u128) -> Variant {
        Variant { digest, expires_at: NOW + Duration::from_secs(1) }
    }

    /// Adds a variant to 10 and 20, which were requested as often as their digests say.
    fn added(new: Variant, max: usize, now: UnixTime) -> (Result<Option<u128>, Reason>, Vec<u128>) {
        let mut variants = vec![variant(20), variant(10)];
        let uses = |digest| u8::try_from(digest).unwrap_or(u8::MAX);
        let added = add(&mut variants, new, max, now, uses);
        (added, variants.iter().map(|variant| variant.digest).collect())
    }

    #[test]
    fn variant_is_added_while_there_is_space() {
        assert_eq!(added(variant(1), 3, NOW), (Ok(None), vec![20, 10, 1]));
    }

    #[test]
    fn variant_that_is_stored_again_takes_its_own_place() {
        assert_eq!(added(variant(20), 2, NOW), (Ok(None), vec![10, 20]));
    }

    #[test]
    fn least_requested_variant_is_replaced_by_one_that_was_requested_more_often() {
        assert_eq!(added(variant(11), 2, NOW), (Ok(Some(10)), vec![20, 11]));
        assert_eq!(added(variant(9), 2, NOW), (Err(Reason::VariantLimit), vec![20, 10]));
    }

    #[test]
    fn expired_variants_need_no_space() {
        let now = NOW + Duration::from_secs(1);
        assert_eq!(added(variant(1), 1, now), (Ok(None), vec![1]));
    }

    #[test]
    fn no_variant_is_added_if_none_is_allowed() {
        let mut variants = Vec::new();
        assert_eq!(add(&mut variants, variant(1), 0, NOW, |_| 1), Err(Reason::VariantLimit));
    }
}
