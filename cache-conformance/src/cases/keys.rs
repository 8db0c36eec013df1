//! Keys: each is distinct from every other one, or rejected.

use std::sync::Arc;

use cache_core::{Cache, ErrorKind, Value};

use super::{LONG, bytes};
use crate::Harness;

pub(super) async fn keys_are_case_sensitive(h: Harness) {
    assert_distinct(&h, &["key", "Key", "KEY", "straße", "STRASSE", "ǆ", "ǅ"]).await;
}

pub(super) async fn keys_are_whitespace_sensitive(h: Harness) {
    assert_distinct(
        &h,
        &["key", "key ", " key", "key  ", "k ey", "key\t", "key\u{a0}", "key\u{3000}"],
    )
    .await;
}

/// Unicode normalization and database collations treat some of these keys as equal.
pub(super) async fn keys_are_not_normalized(h: Harness) {
    assert_distinct(
        &h,
        &["\u{e9}", "e\u{301}", "e", "a\u{200d}b", "ab", "ß", "ss", "1", "①", "１", "01"],
    )
    .await;
}

pub(super) async fn keys_of_any_script_are_accepted(h: Harness) {
    let store = h.store().await;
    for key in ["κλειδί", "鍵", "مفتاح", "🔑", "naïve", "\u{10ffff}"] {
        assert!(accepts(&store, key).await, "{key:?} is rejected");
    }
}

pub(super) async fn keys_of_250_characters_are_accepted(h: Harness) {
    let store = h.store().await;
    assert!(accepts(&store, &"x".repeat(250)).await, "the key is rejected");
    assert_distinct(&h, &[&"x".repeat(250), &"x".repeat(249), &format!("{}y", "x".repeat(249))])
        .await;
}

pub(super) async fn longer_keys_are_accepted_whole_or_rejected(h: Harness) {
    for length in [251, 255, 256, 257, 1000, 70_000] {
        let head = "x".repeat(length - 1);
        assert_distinct(&h, &[&format!("{head}a"), &format!("{head}b"), &head]).await;
    }
}

pub(super) async fn ascii_characters_in_keys_are_accepted_or_rejected(h: Harness) {
    let keys: Vec<String> = (0..128_u8).map(|byte| format!("a{}b", char::from(byte))).collect();
    assert_distinct(&h, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

pub(super) async fn empty_key_is_accepted_or_rejected(h: Harness) {
    assert_distinct(&h, &["", " ", "\0"]).await;
}

pub(super) async fn keys_are_not_interpreted(h: Harness) {
    let keys = [
        "../../escape",
        "/etc/passwd",
        "a/b",
        "a\\b",
        ".",
        "..",
        "CON",
        "%2e%2e%2f",
        "%s%n",
        "'; DROP TABLE cache; --",
        "\"quoted\"",
        "`quoted`",
        "100%",
        "under_score",
        "a*b?[c]",
        "{slot}",
        "k\r\nflush_all\r\n",
        "$HOME",
    ];
    assert_distinct(&h, &keys).await;
}

pub(super) async fn rejected_key_is_rejected_by_every_operation(h: Harness) {
    let store = h.store().await;
    for key in [" ", "", "a\nb", "a\0b", &"x".repeat(251), &"ä".repeat(200), &"x".repeat(70_000)] {
        if accepts(&store, key).await {
            continue;
        }
        let results = [
            store.get(key).await.map(drop),
            store.set(key, bytes("v"), LONG).await,
            store.add(key, bytes("v"), LONG).await.map(drop),
            store.touch(key, LONG).await.map(drop),
            store.incr(key, 1).await.map(drop),
            store.incr_or_set(key, 1, 1, LONG).await.map(drop),
            store.get_and_touch(key, LONG).await.map(drop),
            store.delete(key).await.map(drop),
            store.ttl(key).await.map(drop),
            store.contains(key).await.map(drop),
            store.get_many(&["fine", key]).await.map(drop),
            store.set_many(&[("fine", bytes("v")), (key, bytes("v"))], LONG).await.map(drop),
            store.delete_many(&["fine", key]).await.map(drop),
        ];
        for (number, result) in results.into_iter().enumerate() {
            let error = result.expect_err("every operation must reject the key");
            assert_eq!(error.kind(), ErrorKind::InvalidKey, "{key:?}, operation {number}");
        }
        assert_eq!(store.get("fine").await.unwrap(), None, "rejected after a write");
    }
}

/// Returns whether the store accepts the key. If it does, the other operations must as well.
async fn accepts(store: &Arc<dyn Cache>, key: &str) -> bool {
    match store.set(key, Value::Int(1), LONG).await {
        Err(error) if error.kind() == ErrorKind::InvalidKey => return false,
        result => result.unwrap(),
    }
    assert_eq!(store.incr(key, 1).await.unwrap(), Some(2), "{key:?}");
    assert!(store.touch(key, LONG).await.unwrap(), "{key:?}");
    assert_eq!(store.get_many(&[key]).await.unwrap(), [Some(Value::Int(2))], "{key:?}");
    assert!(store.delete(key).await.unwrap(), "{key:?}");
    true
}

/// Stores a different value under each key that the store accepts, and reads them back.
async fn assert_distinct(h: &Harness, keys: &[&str]) {
    let store = h.store().await;
    let mut accepted = Vec::new();
    for key in keys {
        if accepts(&store, key).await {
            accepted.push(key);
        }
    }
    for (number, key) in accepted.iter().enumerate() {
        assert!(
            store.add(key, bytes(&format!("value {number}")), LONG).await.unwrap(),
            "{key:?} equals an earlier key"
        );
    }
    for (number, key) in accepted.iter().enumerate() {
        assert_eq!(
            store.get(key).await.unwrap(),
            Some(bytes(&format!("value {number}"))),
            "{key:?}"
        );
    }
}
