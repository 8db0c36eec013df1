//! Values of a store.

use bytes::Bytes;
use cache_core::{ErrorKind, Value};

use super::{LONG, bytes};
use crate::Harness;

pub(super) async fn integers_round_trip(h: Harness) {
    round_trip(h, &[0, 1, 9, 10, i64::from(u32::MAX) + 1, i64::MAX]).await;
}

pub(super) async fn negative_integers_round_trip(h: Harness) {
    round_trip(h, &[-1, -10, i64::MIN]).await;
}

async fn round_trip(h: Harness, numbers: &[i64]) {
    let store = h.store().await;
    for &number in numbers {
        store.set("k", Value::Int(number), LONG).await.unwrap();
        assert_eq!(store.get("k").await.unwrap(), Some(Value::Int(number)));
    }
}

pub(super) async fn bytes_round_trip(h: Harness) {
    let store = h.store().await;
    let all: Vec<u8> = (0..=255).collect();
    for value in [
        &all[..],
        b"\0",
        b"\xff\xfe",
        b"'); DROP TABLE cache; --",
        b"\r\nEND\r\n",
        "Žluťoučký kůň".as_bytes(),
    ] {
        let value = Value::Bytes(Bytes::copy_from_slice(value));
        store.set("k", value.clone(), LONG).await.unwrap();
        assert_eq!(store.get("k").await.unwrap(), Some(value));
    }
}

pub(super) async fn numeric_bytes_stay_bytes(h: Harness) {
    let store = h.store().await;
    for text in ["42", "-1", "0", "+7", " 5", "1e3", "0x10"] {
        store.set("k", bytes(text), LONG).await.unwrap();
        assert_eq!(store.get("k").await.unwrap(), Some(bytes(text)));
        let error = store.incr("k", 1).await.expect_err(text);
        assert_eq!(error.kind(), ErrorKind::NotAnInteger, "{text}");
    }
}

pub(super) async fn empty_value_is_a_hit(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes(""), LONG).await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("")));
    assert!(!store.add("k", bytes("v"), LONG).await.unwrap());
}

pub(super) async fn value_of_one_mebibyte_round_trips(h: Harness) {
    let store = h.store().await;
    let mebibyte: Vec<u8> = (0_u32..1 << 20).map(|position| (position % 251) as u8).collect();
    let value = Value::Bytes(mebibyte.into());
    store.set("k", value.clone(), LONG).await.unwrap();
    assert!(store.get("k").await.unwrap() == Some(value), "the store returned another value");
}

pub(super) async fn set_of_a_too_large_value_fails_and_removes_the_entry(h: Harness) {
    let Some(largest) = h.profile().largest_value else { return };
    let store = h.store().await;
    store.set("k", bytes("small"), LONG).await.unwrap();
    let too_large = Value::Bytes(vec![7; 2 * largest].into());
    let error = store.set("k", too_large.clone(), LONG).await.expect_err("the value is too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(store.get("k").await.unwrap(), None, "the previous entry is removed");
    store.set("k", bytes("small"), LONG).await.unwrap();
    if let Ok(stored) = store.set_now("k", too_large, LONG) {
        assert_eq!(stored.expect_err("the value is too large").kind(), ErrorKind::TooLarge);
        assert_eq!(store.get("k").await.unwrap(), None, "the previous entry is removed");
    }
    store.set("k", Value::Bytes(vec![7; largest].into()), LONG).await.unwrap();
}

/// A store may check the key or the size first: both `Ok(false)` and an error are correct.
pub(super) async fn add_of_a_too_large_value_leaves_the_entry_unchanged(h: Harness) {
    let Some(largest) = h.profile().largest_value else { return };
    let giant = || Value::Bytes(vec![7; 2 * largest].into());
    let store = h.store().await;
    let error = store.add("k", giant(), LONG).await.expect_err("the value is too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(store.get("k").await.unwrap(), None);
    store.set("k", bytes("small"), LONG).await.unwrap();
    match store.add("k", giant(), LONG).await {
        Ok(added) => assert!(!added, "the key exists"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::TooLarge),
    }
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("small")));
}

pub(super) async fn value_kind_can_change(h: Harness) {
    let store = h.store().await;
    for value in [Value::Int(7), bytes("seven"), Value::Int(8)] {
        store.set("k", value.clone(), LONG).await.unwrap();
        assert_eq!(store.get("k").await.unwrap(), Some(value));
    }
}
