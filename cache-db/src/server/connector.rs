//! How a connection is opened.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{ConnectOptions as _, Connection};

use super::pool::Setup;

type Options<D> = <<D as sqlx::Database>::Connection as Connection>::Options;

/// Opens connections.
pub(crate) struct Connector<D: sqlx::Database> {
    options: Options<D>,
    fallback: Option<Fallback<D>>,
}

/// How to connect to a server that rejects start-up options: some poolers do.
struct Fallback<D: sqlx::Database> {
    /// Without start-up options.
    options: Options<D>,
    /// Runs statements that have the same effect.
    setup: Setup<D>,
    is_needed: AtomicBool,
}

impl<D: sqlx::Database> Connector<D> {
    pub(crate) fn new(options: Options<D>) -> Self {
        Self { options, fallback: None }
    }

    /// Adds what to do if the server rejects start-up options.
    pub(crate) fn with_fallback(mut self, options: Options<D>, setup: Setup<D>) -> Self {
        self.fallback = Some(Fallback { options, setup, is_needed: AtomicBool::new(false) });
        self
    }

    /// Opens a connection. The caller limits the time.
    pub(crate) async fn connect(&self) -> sqlx::Result<D::Connection> {
        let Some(fallback) = &self.fallback else { return self.options.connect().await };
        if !fallback.is_needed.load(Ordering::Relaxed) {
            match self.options.connect().await {
                Err(error) if rejects_startup_options(&error) => {}
                result => return result,
            }
        }
        let mut connection = fallback.options.connect().await?;
        (fallback.setup)(&mut connection).await?;
        fallback.is_needed.store(true, Ordering::Relaxed);
        Ok(connection)
    }
}

/// Whether a PostgreSQL pooler may have rejected the options and not the user or the database:
/// "feature not supported" or "protocol violation".
///
/// pgbouncer is the exception. If it is in transaction mode, a setting would concern other clients
/// as well, so its error names the option `pgbouncer` instead.
fn rejects_startup_options(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    matches!(error.code().as_deref(), Some("0A000" | "08P01"))
        && !error.message().contains("unsupported startup parameter")
}
