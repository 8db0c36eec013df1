//! Every key is a key of its own, or refused.

use std::sync::Arc;

use cache_core::{Cache, ErrorKind, Value};

use super::{LONG, bytes};
use crate::Harness;

pub(super) async fn keys_that_differ_in_case_are_different(h: Harness) {
    are_different(&h, &["key", "Key", "KEY", "straße", "STRASSE", "ǆ", "ǅ"]).await;
}

pub(super) async fn keys_that_differ_in_blanks_are_different(h: Harness) {
    are_different(
        &h,
        &["key", "key ", " key", "key  ", "k ey", "key\t", "key\u{a0}", "key\u{3000}"],
    )
    .await;
}

/// The letter é is one character or two; a zero-width joiner cannot be seen; collations take some of these for equal.
pub(super) async fn keys_that_look_alike_are_different(h: Harness) {
    are_different(
        &h,
        &["\u{e9}", "e\u{301}", "e", "a\u{200d}b", "ab", "ß", "ss", "1", "①", "１", "01"],
    )
    .await;
}

pub(super) async fn keys_of_any_script_work(h: Harness) {
    let store = h.store().await;
    for key in ["κλειδί", "鍵", "مفتاح", "🔑", "naïve", "\u{10ffff}"] {
        assert!(try_key(&store, key).await, "{key:?} is refused");
    }
}

pub(super) async fn keys_of_250_characters_work(h: Harness) {
    let store = h.store().await;
    assert!(try_key(&store, &"x".repeat(250)).await, "it is refused");
    are_different(&h, &[&"x".repeat(250), &"x".repeat(249), &format!("{}y", "x".repeat(249))])
        .await;
}

pub(super) async fn a_longer_key_works_whole_or_is_refused(h: Harness) {
    for length in [251, 255, 256, 257, 1000, 70_000] {
        let head = "x".repeat(length - 1);
        are_different(&h, &[&format!("{head}a"), &format!("{head}b"), &head]).await;
    }
}

pub(super) async fn any_ascii_character_in_a_key_works_or_is_refused(h: Harness) {
    let keys: Vec<String> = (0..128_u8).map(|byte| format!("a{}b", char::from(byte))).collect();
    are_different(&h, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

pub(super) async fn the_empty_key_works_or_is_refused(h: Harness) {
    are_different(&h, &["", " ", "\0"]).await;
}

pub(super) async fn a_key_that_could_mean_something_elsewhere_is_just_a_key(h: Harness) {
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
    are_different(&h, &keys).await;
}

pub(super) async fn a_refused_key_is_refused_by_every_operation(h: Harness) {
    let store = h.store().await;
    for key in [" ", "", "a\nb", "a\0b", &"x".repeat(251), &"ä".repeat(200), &"x".repeat(70_000)] {
        if try_key(&store, key).await {
            continue;
        }
        let refusals = [
            store.get(key).await.map(drop),
            store.set(key, bytes("v"), LONG).await,
            store.add(key, bytes("v"), LONG).await.map(drop),
            store.touch(key, LONG).await.map(drop),
            store.incr(key, 1).await.map(drop),
            store.delete(key).await.map(drop),
            store.ttl(key).await.map(drop),
            store.contains(key).await.map(drop),
            store.get_many(&["fine", key]).await.map(drop),
            store.set_many(&[("fine", bytes("v")), (key, bytes("v"))], LONG).await.map(drop),
            store.delete_many(&["fine", key]).await.map(drop),
        ];
        for (number, refusal) in refusals.into_iter().enumerate() {
            let error = refusal.expect_err("refused by some operations and not by others");
            assert_eq!(error.kind(), ErrorKind::InvalidKey, "{key:?}, operation {number}");
        }
        assert_eq!(store.get("fine").await.unwrap(), None, "refused after something was written");
    }
}

/// Whether the store takes the key; if so, all operations work on it.
async fn try_key(store: &Arc<dyn Cache>, key: &str) -> bool {
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

/// Sets all keys that the store takes to different values, and looks for each.
async fn are_different(h: &Harness, keys: &[&str]) {
    let store = h.store().await;
    let mut taken = Vec::new();
    for key in keys {
        if try_key(&store, key).await {
            taken.push(key);
        }
    }
    for (number, key) in taken.iter().enumerate() {
        assert!(
            store.add(key, bytes(&format!("value {number}")), LONG).await.unwrap(),
            "{key:?} is taken already"
        );
    }
    for (number, key) in taken.iter().enumerate() {
        assert_eq!(
            store.get(key).await.unwrap(),
            Some(bytes(&format!("value {number}"))),
            "{key:?}"
        );
    }
}
