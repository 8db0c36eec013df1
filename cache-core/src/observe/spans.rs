//! Spans of operations, with the names and fields of Sentry's module for caches.

use tracing::{Level, Span, field, span_enabled};

use super::{Operation, operation::Tally};

/// Whether spans are recorded. If not, this costs the comparison of a level.
pub(super) fn are_enabled() -> bool {
    span_enabled!(target: "cachette", Level::DEBUG)
}

/// Creates the span of an operation. The name of a span is part of its callsite.
pub(super) fn of(operation: Operation, alias: &str, store: &str, keys: Option<&[&str]>) -> Span {
    macro_rules! span {
        ($name:literal) => {
            tracing::debug_span!(
                target: "cachette",
                $name,
                cache = alias,
                store,
                op = operation.name(),
                cache.key = keys.map(field::debug),
                cache.hit = field::Empty,
                cache.item_size = field::Empty,
                outcome = field::Empty,
            )
        };
    }
    match operation {
        Operation::Get
        | Operation::GetMany
        | Operation::GetAndTouch
        | Operation::Contains
        | Operation::Ttl
        | Operation::ReadTags
        | Operation::Acquire => span!("cache.get"),
        Operation::Set
        | Operation::SetMany
        | Operation::Add
        | Operation::Touch
        | Operation::Incr
        | Operation::IncrOrSet
        | Operation::Fill => span!("cache.put"),
        Operation::Delete | Operation::DeleteMany | Operation::Release | Operation::Revoke => {
            span!("cache.remove")
        }
        Operation::Clear | Operation::PurgeExpired => span!("cache.flush"),
        Operation::Produce => span!("cache.produce"),
        Operation::Wait => span!("cache.wait"),
    }
}

pub(super) fn record(span: &Span, operation: Operation, tally: &Tally) {
    if operation.is_lookup() {
        span.record("cache.hit", tally.hits > 0);
    }
    if let Some(size) = tally.size {
        span.record("cache.item_size", size);
    }
    span.record("outcome", tally.outcome().name());
}

/// Creates the span of a task, which may end after that of its caller.
#[cfg(feature = "fetch")]
pub(super) fn of_task() -> Span {
    let span = tracing::debug_span!(target: "cachette", parent: None, "cache.task");
    span.follows_from(Span::current());
    span
}
