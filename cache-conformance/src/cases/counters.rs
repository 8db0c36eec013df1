//! `incr`.

use cache_core::{ErrorKind, Ttl, Value};

use super::{LONG, bytes};
use crate::Harness;

pub(super) async fn incr_adds_and_answers_the_sum(h: Harness) {
    let store = h.store().await;
    store.set("k", Value::Int(40), LONG).await.unwrap();
    assert_eq!(store.incr("k", 1).await.unwrap(), Some(41));
    assert_eq!(store.incr("k", 59).await.unwrap(), Some(100));
    assert_eq!(store.get("k").await.unwrap(), Some(Value::Int(100)));
}

pub(super) async fn incr_takes_negative_numbers(h: Harness) {
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

pub(super) async fn incr_by_zero_reads_the_counter(h: Harness) {
    let store = h.store().await;
    store.set("k", Value::Int(7), LONG).await.unwrap();
    assert_eq!(store.incr("k", 0).await.unwrap(), Some(7));
}

pub(super) async fn incr_of_a_missing_key_creates_nothing(h: Harness) {
    let store = h.store().await;
    assert_eq!(store.incr("k", 1).await.unwrap(), None);
    assert_eq!(store.get("k").await.unwrap(), None);
}

pub(super) async fn incr_keeps_the_time_to_live(h: Harness) {
    let store = h.store().await;
    store.set("k", Value::Int(1), Some(h.moment())).await.unwrap();
    store.set("never", Value::Int(1), None).await.unwrap();
    store.incr("k", 1).await.unwrap();
    store.incr("never", 1).await.unwrap();
    assert_eq!(store.ttl("never").await.unwrap(), Some(Ttl::Never));
    h.outlive(h.moment()).await;
    assert_eq!(store.get("k").await.unwrap(), None);
}

pub(super) async fn incr_of_bytes_is_an_error_and_changes_nothing(h: Harness) {
    let store = h.store().await;
    for value in [bytes("many"), bytes("")] {
        store.set("k", value.clone(), LONG).await.unwrap();
        assert_eq!(
            store.incr("k", 1).await.expect_err("no number").kind(),
            ErrorKind::NotAnInteger
        );
        assert_eq!(store.get("k").await.unwrap(), Some(value));
    }
}

/// What a server reads for a number may not begin behind the value, where an integer was that is gone.
pub(super) async fn incr_of_blanks_finds_no_integer_that_was_there_before(h: Harness) {
    let store = h.store().await;
    for blanks in ["", " ", "      ", "\r\n", "\x0b\t"] {
        store.set("k", Value::Int(i64::MAX - 3), LONG).await.unwrap();
        store.delete("k").await.unwrap();
        store.set("k", bytes(blanks), LONG).await.unwrap();
        let answer = store.incr("k", 1).await;
        assert_eq!(
            answer.expect_err("blanks are no number").kind(),
            ErrorKind::NotAnInteger,
            "{blanks:?}"
        );
        assert_eq!(store.get("k").await.unwrap(), Some(bytes(blanks)));
    }
}

/// Neither in what the sum is nor in what lay there before may a server find a reason to keep it.
pub(super) async fn incr_beyond_the_largest_integer_changes_nothing_whatever_was_there_before(
    h: Harness,
) {
    let store = h.store().await;
    for length in 20..60 {
        let former = "-".repeat(length);
        store.set("k", bytes(&former), LONG).await.unwrap();
        store.delete("k").await.unwrap();
        store.set("k", Value::Int(i64::MAX - 3), LONG).await.unwrap();
        let error = store.incr("k", 10).await.expect_err("the sum does not fit");
        assert_eq!(error.kind(), ErrorKind::Overflow, "after {former:?}");
        assert_eq!(
            store.get("k").await.unwrap(),
            Some(Value::Int(i64::MAX - 3)),
            "after {former:?}"
        );
        assert!(
            store.ttl("k").await.unwrap().is_some_and(|left| left < Ttl::Never),
            "it keeps its time to live"
        );
    }
}

pub(super) async fn incr_beyond_the_largest_integer_is_an_error_and_changes_nothing(h: Harness) {
    overflows(&h, i64::MAX, 1).await;
    overflows(&h, i64::MAX - 5, 6).await;
    overflows(&h, 1, i64::MAX).await;
}

pub(super) async fn incr_beyond_the_smallest_integer_is_an_error_and_changes_nothing(h: Harness) {
    overflows(&h, i64::MIN, -1).await;
    overflows(&h, -2, i64::MIN + 1).await;
}

async fn overflows(h: &Harness, number: i64, delta: i64) {
    let store = h.store().await;
    store.set("k", Value::Int(number), LONG).await.unwrap();
    let error = store.incr("k", delta).await.expect_err("the sum does not fit");
    assert_eq!(error.kind(), ErrorKind::Overflow);
    assert_eq!(store.get("k").await.unwrap(), Some(Value::Int(number)));
}

pub(super) async fn an_added_integer_can_be_counted(h: Harness) {
    let store = h.store().await;
    assert!(store.add("k", Value::Int(0), LONG).await.unwrap());
    assert_eq!(store.incr("k", 1).await.unwrap(), Some(1));
    assert!(!store.add("k", Value::Int(0), LONG).await.unwrap());
    assert_eq!(store.incr("k", 1).await.unwrap(), Some(2));
}
