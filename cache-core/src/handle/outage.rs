//! Outages of the store that a handle turns into misses.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{Error, ErrorKind, observe::OUTAGE_ERRORS};

const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Counts the errors that a handle does not return, and logs one of them every ten seconds.
#[derive(Debug, Default)]
pub(super) struct OutageLog(Mutex<Unlogged>);

#[derive(Debug, Default)]
struct Unlogged {
    last_logged: Option<Instant>,
    errors: u64,
}

/// Returns whether the store failed in a way that may pass.
pub(super) fn is_outage(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable || error.is_temporary()
}

impl OutageLog {
    pub(super) fn record(&self, alias: &str, error: &Error) {
        metrics::counter!(OUTAGE_ERRORS, "cache" => alias.to_owned()).increment(1);
        let mut unlogged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unlogged.errors += 1;
        if unlogged.last_logged.is_none_or(|last| last.elapsed() >= LOG_INTERVAL) {
            tracing::warn!(
                cache = alias,
                errors = unlogged.errors,
                error = format_args!("{error:#}"),
                "outage of the store treated as misses"
            );
            *unlogged = Unlogged { last_logged: Some(Instant::now()), errors: 0 };
        }
    }
}
