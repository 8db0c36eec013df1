//! Time limits and sizes of a database.

use std::time::Duration;

use crate::options::DbOptions;

/// The options that concern connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) pool_size: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) busy_timeout: Duration,
    pub(crate) pgbouncer: bool,
    pub(crate) blocking_threads: bool,
}

impl From<&DbOptions> for Limits {
    fn from(options: &DbOptions) -> Self {
        Self {
            pool_size: options.pool_size,
            connect_timeout: options.connect_timeout,
            statement_timeout: options.statement_timeout,
            busy_timeout: options.busy_timeout,
            pgbouncer: options.pgbouncer,
            blocking_threads: options.blocking_threads,
        }
    }
}
