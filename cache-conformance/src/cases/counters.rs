//! `incr` and `incr_or_set` of a store.

use cache_core::{ErrorKind, Ttl, Value};

use super::{LONG, bytes};
use crate::Harness;

pub(super) async fn incr_returns_the_sum(h: Harness) {
    let store = h.store().await;
    store.set("k", Value::Int(40), LONG).await.unwrap();
    assert_eq!(store.incr("k", 1).await.unwrap(), Some(41));
    assert_eq!(store.incr("k", 59).await.unwrap(), Some(100));
    assert_eq!(store.get("k").await.unwrap(), Some(Value::Int(100)));
}

pub(super) async fn incr_accepts_negative_deltas(h: Harness) {
    let store = h.store().await;
    store.set("k", Value::Int(100), LONG).await.unwrap();
    assert_eq!(store.incr("k", -1).await.unwrap(), Some(99));
    assert_eq!(store.incr("k", -90).await.unwrap(), Some(9), "with fewer digits");
    assert_eq!(store.get("k").await.unwrap(), Some(Value::Int(9)));
}

pub(super) async fn incr_goes_below_zero(h: Harness) {
    let store = h.store().await;
    store.set("k", Value::Int(1), LONG).await.unwrap();
    assert_eq!(store.incr("k", -3).await.unwrap(), Some(-2));
    assert_eq!(store.incr("k", 3).await.unwrap(), Some(1));
}

pub(super) async fn incr_below_zero_stops_at_zero(h: Harness) {
    let store = h.store().await;
    store.set("k", Value::Int(1), LONG).await.unwrap();
    assert_eq!(store.incr("k", -3).await.unwrap(), Some(0));
    assert_eq!(store.get("k").await.unwrap(), Some(Value::Int(0)));
}

pub(super) async fn incr_by_zero_returns_the_value(h: Harness) {
    let store = h.store().await;
    store.set("k", Value::Int(7), LONG).await.unwrap();
    assert_eq!(store.incr("k", 0).await.unwrap(), Some(7));
}

pub(super) async fn incr_of_an_absent_key_creates_no_entry(h: Harness) {
    let store = h.store().await;
    assert_eq!(store.incr("k", 1).await.unwrap(), None);
    assert_eq!(store.get("k").await.unwrap(), None);
}

pub(super) async fn incr_keeps_the_ttl(h: Harness) {
    let store = h.store().await;
    store.set("k", Value::Int(1), Some(h.moment())).await.unwrap();
    store.set("never", Value::Int(1), None).await.unwrap();
    store.incr("k", 1).await.unwrap();
    store.incr("never", 1).await.unwrap();
    assert_eq!(store.ttl("never").await.unwrap(), Some(Ttl::Never));
    h.outlive(h.moment()).await;
    assert_eq!(store.get("k").await.unwrap(), None);
}

pub(super) async fn incr_of_bytes_fails_and_changes_nothing(h: Harness) {
    let store = h.store().await;
    for value in [bytes("many"), bytes("")] {
        store.set("k", value.clone(), LONG).await.unwrap();
        assert_eq!(
            store.incr("k", 1).await.expect_err("the bytes are not an integer").kind(),
            ErrorKind::NotAnInteger
        );
        assert_eq!(store.get("k").await.unwrap(), Some(value));
    }
}

/// A server may parse past the end of a value, into the digits of an integer stored there before.
pub(super) async fn incr_of_whitespace_does_not_find_an_earlier_integer(h: Harness) {
    let store = h.store().await;
    for whitespace in ["", " ", "      ", "\r\n", "\x0b\t"] {
        store.set("k", Value::Int(i64::MAX - 3), LONG).await.unwrap();
        store.delete("k").await.unwrap();
        store.set("k", bytes(whitespace), LONG).await.unwrap();
        let result = store.incr("k", 1).await;
        assert_eq!(
            result.expect_err("whitespace is not an integer").kind(),
            ErrorKind::NotAnInteger,
            "{whitespace:?}"
        );
        assert_eq!(store.get("k").await.unwrap(), Some(bytes(whitespace)));
    }
}

/// A server that adds in place may leave digits of the sum, or of an earlier value, behind.
pub(super) async fn incr_overflow_does_not_depend_on_an_earlier_value(h: Harness) {
    let store = h.store().await;
    for length in 20..60 {
        let earlier = "-".repeat(length);
        store.set("k", bytes(&earlier), LONG).await.unwrap();
        store.delete("k").await.unwrap();
        store.set("k", Value::Int(i64::MAX - 3), LONG).await.unwrap();
        let error = store.incr("k", 10).await.expect_err("the sum overflows");
        assert_eq!(error.kind(), ErrorKind::Overflow, "after {earlier:?}");
        assert_eq!(
            store.get("k").await.unwrap(),
            Some(Value::Int(i64::MAX - 3)),
            "after {earlier:?}"
        );
        assert!(
            store.ttl("k").await.unwrap().is_some_and(|left| left < Ttl::Never),
            "the time to live is unchanged"
        );
    }
}

pub(super) async fn incr_overflow_fails_and_changes_nothing(h: Harness) {
    overflows(&h, i64::MAX, 1).await;
    overflows(&h, i64::MAX - 5, 6).await;
    overflows(&h, 1, i64::MAX).await;
}

pub(super) async fn incr_underflow_fails_and_changes_nothing(h: Harness) {
    overflows(&h, i64::MIN, -1).await;
    overflows(&h, -2, i64::MIN + 1).await;
}

async fn overflows(h: &Harness, number: i64, delta: i64) {
    let store = h.store().await;
    store.set("k", Value::Int(number), LONG).await.unwrap();
    let error = store.incr("k", delta).await.expect_err("the sum overflows");
    assert_eq!(error.kind(), ErrorKind::Overflow);
    assert_eq!(store.get("k").await.unwrap(), Some(Value::Int(number)));
}

pub(super) async fn added_integer_can_be_incremented(h: Harness) {
    let store = h.store().await;
    assert!(store.add("k", Value::Int(0), LONG).await.unwrap());
    assert_eq!(store.incr("k", 1).await.unwrap(), Some(1));
    assert!(!store.add("k", Value::Int(0), LONG).await.unwrap());
    assert_eq!(store.incr("k", 1).await.unwrap(), Some(2));
}

pub(super) async fn incr_or_set_of_an_absent_key_stores_the_initial_value(h: Harness) {
    let store = h.store().await;
    for (key, delta, initial) in [("a", 1, 1), ("b", 5, 0), ("c", -1, 10), ("d", 1, i64::MAX)] {
        assert_eq!(store.incr_or_set(key, delta, initial, LONG).await.unwrap(), initial, "{key}");
        assert_eq!(store.get(key).await.unwrap(), Some(Value::Int(initial)), "{key}");
        assert!(matches!(store.ttl(key).await.unwrap(), Some(Ttl::Left(_))), "{key}");
    }
    assert_eq!(store.incr_or_set("never", 1, 1, None).await.unwrap(), 1);
    assert_eq!(store.ttl("never").await.unwrap(), Some(Ttl::Never));
}

pub(super) async fn incr_or_set_adds_to_an_existing_integer(h: Harness) {
    let store = h.store().await;
    store.set("k", Value::Int(40), LONG).await.unwrap();
    assert_eq!(store.incr_or_set("k", 2, 1, LONG).await.unwrap(), 42);
    assert_eq!(store.incr_or_set("k", -40, 1, LONG).await.unwrap(), 2);
    assert_eq!(store.incr_or_set("k", 0, 1, LONG).await.unwrap(), 2);
    assert_eq!(store.incr_or_set("k", i64::MAX - 2, 1, LONG).await.unwrap(), i64::MAX);
    assert_eq!(store.get("k").await.unwrap(), Some(Value::Int(i64::MAX)));
}

/// A server that creates the counter itself may store it differently from `set`.
pub(super) async fn counter_of_incr_or_set_is_an_integer_for_every_operation(h: Harness) {
    let store = h.store().await;
    assert_eq!(store.incr_or_set("k", 1, 7, LONG).await.unwrap(), 7);
    assert_eq!(store.incr("k", 1).await.unwrap(), Some(8));
    assert_eq!(store.incr_or_set("k", 1, 7, LONG).await.unwrap(), 9);
    assert!(!store.add("k", Value::Int(1), LONG).await.unwrap());
    assert!(store.contains("k").await.unwrap());
    assert_eq!(store.get_and_touch("k", LONG).await.unwrap(), Some(Value::Int(9)));
    assert!(store.touch("k", LONG).await.unwrap());
    assert_eq!(store.get_many(&["k"]).await.unwrap(), [Some(Value::Int(9))]);
    assert!(store.delete("k").await.unwrap());
    assert_eq!(store.incr_or_set("k", 1, 7, LONG).await.unwrap(), 7);
}

pub(super) async fn incr_or_set_goes_below_zero(h: Harness) {
    let store = h.store().await;
    assert_eq!(store.incr_or_set("k", 1, -3, LONG).await.unwrap(), -3);
    assert_eq!(store.incr_or_set("k", -2, -3, LONG).await.unwrap(), -5);
    assert_eq!(store.get("k").await.unwrap(), Some(Value::Int(-5)));
}

pub(super) async fn incr_or_set_does_not_extend_the_ttl(h: Harness) {
    let store = h.store().await;
    assert_eq!(store.incr_or_set("k", 1, 1, Some(h.moment())).await.unwrap(), 1);
    store.incr_or_set("k", 1, 1, LONG).await.unwrap();
    store.incr_or_set("k", 1, 1, None).await.unwrap();
    h.outlive(h.moment()).await;
    assert_eq!(store.get("k").await.unwrap(), None);

    store.set("never", Value::Int(1), None).await.unwrap();
    assert_eq!(store.incr_or_set("never", 1, 1, LONG).await.unwrap(), 2);
    assert_eq!(store.ttl("never").await.unwrap(), Some(Ttl::Never));
}

pub(super) async fn incr_or_set_replaces_an_expired_entry(h: Harness) {
    let store = h.store().await;
    for (key, old) in [("number", Value::Int(40)), ("bytes", bytes("old"))] {
        store.set(key, old, Some(h.moment())).await.unwrap();
    }
    h.outlive(h.moment()).await;
    for key in ["number", "bytes"] {
        assert_eq!(store.incr_or_set(key, 1, 5, LONG).await.unwrap(), 5, "{key}");
        assert_eq!(store.get(key).await.unwrap(), Some(Value::Int(5)), "{key}");
        assert!(matches!(store.ttl(key).await.unwrap(), Some(Ttl::Left(_))), "{key}");
    }
}

pub(super) async fn incr_or_set_of_bytes_fails_and_changes_nothing(h: Harness) {
    let store = h.store().await;
    for value in [bytes("many"), bytes(""), bytes("42")] {
        store.set("k", value.clone(), LONG).await.unwrap();
        for delta in [1, i64::MAX] {
            let error = store.incr_or_set("k", delta, 1, None).await;
            let error = error.expect_err("the bytes are not an integer");
            assert_eq!(error.kind(), ErrorKind::NotAnInteger, "{value:?}, {delta}");
        }
        assert_eq!(store.get("k").await.unwrap(), Some(value));
        assert!(matches!(store.ttl("k").await.unwrap(), Some(Ttl::Left(_))));
    }
}

pub(super) async fn incr_or_set_overflow_fails_and_changes_nothing(h: Harness) {
    let store = h.store().await;
    for (number, delta) in [(i64::MAX, 1), (i64::MAX - 5, 6), (1, i64::MAX)] {
        store.set("k", Value::Int(number), LONG).await.unwrap();
        let error = store.incr_or_set("k", delta, 1, None).await.expect_err("the sum overflows");
        assert_eq!(error.kind(), ErrorKind::Overflow, "{number}, {delta}");
        assert_eq!(store.get("k").await.unwrap(), Some(Value::Int(number)));
        assert!(matches!(store.ttl("k").await.unwrap(), Some(Ttl::Left(_))));
    }
}
