//! What goes in comes out.

use bytes::Bytes;
use cache_core::{ErrorKind, Value};

use super::{LONG, bytes};
use crate::Harness;

pub(super) async fn integers_come_back_as_integers(h: Harness) {
    come_back(h, &[0, 1, 9, 10, i64::from(u32::MAX) + 1, i64::MAX]).await;
}

pub(super) async fn negative_integers_come_back_as_integers(h: Harness) {
    come_back(h, &[-1, -10, i64::MIN]).await;
}

async fn come_back(h: Harness, numbers: &[i64]) {
    let store = h.store().await;
    for &number in numbers {
        store.set("k", Value::Int(number), LONG).await.unwrap();
        assert_eq!(store.get("k").await.unwrap(), Some(Value::Int(number)));
    }
}

pub(super) async fn bytes_come_back_byte_for_byte(h: Harness) {
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

pub(super) async fn bytes_that_spell_a_number_stay_bytes(h: Harness) {
    let store = h.store().await;
    for text in ["42", "-1", "0", "+7", " 5", "1e3", "0x10"] {
        store.set("k", bytes(text), LONG).await.unwrap();
        assert_eq!(store.get("k").await.unwrap(), Some(bytes(text)));
        let error = store.incr("k", 1).await.expect_err(text);
        assert_eq!(error.kind(), ErrorKind::NotAnInteger, "{text}");
    }
}

pub(super) async fn an_empty_value_is_a_value(h: Harness) {
    let store = h.store().await;
    store.set("k", bytes(""), LONG).await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("")));
    assert!(!store.add("k", bytes("v"), LONG).await.unwrap());
}

pub(super) async fn a_value_of_one_mebibyte_comes_back(h: Harness) {
    let store = h.store().await;
    let mebibyte: Vec<u8> = (0_u32..1 << 20).map(|position| (position % 251) as u8).collect();
    let value = Value::Bytes(mebibyte.into());
    store.set("k", value.clone(), LONG).await.unwrap();
    assert!(store.get("k").await.unwrap() == Some(value), "it came back as something else");
}

pub(super) async fn a_value_that_is_too_large_is_refused_and_leaves_nothing(h: Harness) {
    let Some(largest) = h.profile().largest_value else { return };
    let store = h.store().await;
    store.set("k", bytes("small"), LONG).await.unwrap();
    let too_large = Value::Bytes(vec![7; 2 * largest].into());
    let error = store.set("k", too_large.clone(), LONG).await.expect_err("it is too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(store.get("k").await.unwrap(), None, "the value that was to be replaced");
    store.set("k", bytes("small"), LONG).await.unwrap();
    if let Ok(stored) = store.set_now("k", too_large, LONG) {
        assert_eq!(stored.expect_err("it is too large").kind(), ErrorKind::TooLarge);
        assert_eq!(
            store.get("k").await.unwrap(),
            None,
            "the value that was to be replaced without waiting"
        );
    }
    store.set("k", Value::Bytes(vec![7; largest].into()), LONG).await.unwrap();
}

/// Whether there is an entry decides, or the size: an error is as good as a no.
pub(super) async fn adding_a_value_that_is_too_large_leaves_what_is_there(h: Harness) {
    let Some(largest) = h.profile().largest_value else { return };
    let giant = || Value::Bytes(vec![7; 2 * largest].into());
    let store = h.store().await;
    let error = store.add("k", giant(), LONG).await.expect_err("it is too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(store.get("k").await.unwrap(), None);
    store.set("k", bytes("small"), LONG).await.unwrap();
    match store.add("k", giant(), LONG).await {
        Ok(added) => assert!(!added, "it was there"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::TooLarge),
    }
    assert_eq!(store.get("k").await.unwrap(), Some(bytes("small")));
}

pub(super) async fn a_value_may_change_its_kind(h: Harness) {
    let store = h.store().await;
    for value in [Value::Int(7), bytes("seven"), Value::Int(8)] {
        store.set("k", value.clone(), LONG).await.unwrap();
        assert_eq!(store.get("k").await.unwrap(), Some(value));
    }
}
