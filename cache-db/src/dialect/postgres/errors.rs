//! What the errors of PostgreSQL mean.

use super::super::error_code::{ErrorCode, code, code_with, look_up};
use crate::fault::Fault::{self, *};

/// Classifies a SQLSTATE.
pub(super) fn classify(code: &str, message: &str) -> Fault {
    let class = code.get(..2).unwrap_or_default();
    look_up(ERRORS, code, message).or_else(|| look_up(ERRORS, class, message)).unwrap_or(Other)
}

/// The errors of [PostgreSQL], and of poolers in front of it. A code of two characters is a class.
/// All others are errors of the statement or of the configuration, which neither time nor a new
/// connection mends.
///
/// [PostgreSQL]: https://www.postgresql.org/docs/current/errcodes-appendix.html
pub(in crate::dialect) const ERRORS: &[ErrorCode] = &[
    // A conflict with another transaction.
    code("40001", Busy), // serialization_failure; on a replica: a conflict with recovery
    code("40P01", Busy), // deadlock_detected
    code("55P03", Busy), // lock_not_available: lock_timeout
    // The server does not execute writes, or not for this connection: it became a replica, shuts
    // down, or had ended the connection. It has rolled the transaction back.
    code_with("0A000", "cached plan", Reconnect), // feature_not_supported: the table was recreated
    code("08001", Reconnect), // sqlclient_unable_to_establish_sqlconnection, from a pooler
    code("08003", Reconnect), // connection_does_not_exist, from a pooler
    code("08004", Reconnect), // sqlserver_rejected_establishment_of_sqlconnection, from a pooler
    code("25006", Reconnect), // read_only_sql_transaction: a replica
    code("25P03", Reconnect), // idle_in_transaction_session_timeout
    code("25P04", Reconnect), // transaction_timeout
    code("57P01", Reconnect), // admin_shutdown, pg_terminate_backend
    code("57P03", Reconnect), // cannot_connect_now: starting, shutting down or recovering
    code("57P04", Reconnect), // database_dropped; on a replica: a conflict with recovery
    code("57P05", Reconnect), // idle_session_timeout
    // A pooler that does not have the option `pgbouncer`: a prepared statement is missing or is
    // another client's, because the pooler shares connections between clients.
    code_with("08P01", "unsupported startup parameter", Pooler), // protocol_violation
    code("26000", Pooler),                                       // invalid_sql_statement_name
    code("42P05", Pooler),                                       // duplicate_prepared_statement
    // The connection broke, or a pooler lost its server.
    code("08", Disconnected),    // connection_exception
    code("40003", Disconnected), // statement_completion_unknown
    code("57P02", Disconnected), // crash_shutdown: another process of the server crashed
    // The server has no connection, no memory or no time for the call now. Another connection
    // would add to its load.
    code("53000", Unavailable), // insufficient_resources
    code("53200", Unavailable), // out_of_memory
    code("53300", Unavailable), // too_many_connections
    code("57014", Unavailable), // query_canceled: statement_timeout, pg_cancel_backend
    // No room.
    code("53100", Full), // disk_full
    // A value of more than 1 GB.
    code("54000", TooLarge), // program_limit_exceeded
    // The table.
    code("42703", ForeignTable), // undefined_column
    code("42P01", MissingTable), // undefined_table
];
