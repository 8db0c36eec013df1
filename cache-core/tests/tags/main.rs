//! Tags of values.

use cache_core::tags::GenerationId;
use cache_locmem::LocMemCache;

#[test]
fn generations_of_different_stores_are_different() {
    let (one, other) = (LocMemCache::default(), LocMemCache::default());
    assert_eq!(GenerationId::new(&one, "k"), GenerationId::new(&one, "k"));
    assert_ne!(GenerationId::new(&one, "k"), GenerationId::new(&one, "l"));
    assert_ne!(GenerationId::new(&one, "k"), GenerationId::new(&other, "k"));
}
