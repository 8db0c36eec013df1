//! Conversion of driver errors into cache errors.

use cache_core::{Error, ErrorKind, config::redact};

use crate::{dialect::Dialect, fault::Fault};

/// A failed call, classified.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    /// Whether an established connection broke, for example because the server was restarted. A new
    /// connection may succeed.
    pub(crate) is_lost_connection: bool,
    message: String,
}

impl Failure {
    /// Classifies an sqlx error. No other code inspects them.
    pub(crate) fn new(dialect: &Dialect, error: &sqlx::Error) -> Self {
        use sqlx::Error as Sqlx;

        let (fault, is_lost_connection, message) = match error {
            Sqlx::Database(error) => {
                let (code, message) = (code(&**error), error.message());
                let is_lost = dialect.disconnect_codes.contains(&&*code);
                let fault = (dialect.classify)(&code, message);
                (fault, is_lost, format!("{message} ({} {code})", dialect.code_name))
            }
            Sqlx::Tls(error) => (Fault::Untrusted, false, error.to_string()),
            // rustls reports a certificate that it rejects as invalid data.
            Sqlx::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                (Fault::Untrusted, true, error.to_string())
            }
            Sqlx::Io(error) => (Fault::Unavailable, true, error.to_string()),
            Sqlx::WorkerCrashed => (Fault::Unavailable, true, error.to_string()),
            Sqlx::PoolTimedOut => {
                (Fault::Unavailable, false, "timed out waiting for a connection".into())
            }
            Sqlx::PoolClosed | Sqlx::Protocol(_) => (Fault::Unavailable, false, error.to_string()),
            error => (Fault::Other, false, error.to_string()),
        };
        Self { fault, is_lost_connection, message: redact(&message) }
    }

    /// The database did not respond in time.
    pub(crate) fn timed_out() -> Self {
        Self {
            fault: Fault::Unavailable,
            is_lost_connection: false,
            message: "timed out waiting for a response".into(),
        }
    }

    /// The statement was not sent because it is too large.
    pub(crate) fn too_large(size: usize, max: usize) -> Self {
        Self {
            fault: Fault::TooLarge,
            is_lost_connection: false,
            message: format!("the statement takes {size} bytes, the maximum is {max}"),
        }
    }

    /// Converts the failure into the error that the caller gets.
    ///
    /// `database` is the location without secrets. `create_command` creates a missing table.
    pub(crate) fn into_error(self, database: &str, table: &str, create_command: &str) -> Error {
        let Self { fault, message, .. } = self;
        let (kind, advice) = match fault {
            Fault::MissingTable => {
                let message = format!(
                    "{database} has no table {table:?}: create it with `{create_command}`, or set \
                     the option create_table = true"
                );
                return Error::new(ErrorKind::Backend, message).in_store("db");
            }
            Fault::ForeignTable => (
                ErrorKind::Config,
                format!(
                    ": the table {table:?} belongs to another application, or to Django, which \
                     stores pickles: choose another LOCATION"
                ),
            ),
            Fault::Pooler => (
                ErrorKind::Config,
                ": if connected to pgbouncer, set the option pgbouncer = true".into(),
            ),
            Fault::Untrusted => (
                ErrorKind::Config,
                ": the URL requires TLS; depending on its mode, the server's certificate must name \
                 the host and be signed by a trusted authority (sslmode and sslrootcert, for MySQL \
                 ssl-mode and ssl-ca)"
                    .into(),
            ),
            Fault::Unavailable => (ErrorKind::Unavailable, String::new()),
            Fault::TooLarge => (ErrorKind::TooLarge, String::new()),
            Fault::Busy | Fault::IndexExists | Fault::Other => (ErrorKind::Backend, String::new()),
        };
        Error::new(kind, format!("{database}: {message}{advice}"))
            .temporary(matches!(fault, Fault::Unavailable | Fault::Busy))
            .in_store("db")
    }
}

/// SQLite's result code, PostgreSQL's SQLSTATE or MySQL's error number, whose SQLSTATE is too
/// coarse.
fn code(error: &dyn sqlx::error::DatabaseError) -> String {
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return error.number().to_string();
    }
    error.code().unwrap_or_default().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::postgres::POSTGRES;

    #[test]
    fn missing_table_error_names_the_table_and_the_command() {
        let failure = Failure {
            fault: Fault::MissingTable,
            is_lost_connection: false,
            message: "no such table".into(),
        };
        let error = failure.into_error("sqlite:cache.db", "it's mine", "DbCache::create_table");
        assert_eq!((error.kind(), error.store()), (ErrorKind::Backend, Some("db")));
        let message = error.to_string();
        for fact in
            ["sqlite:cache.db", "\"it's mine\"", "`DbCache::create_table`", "create_table = true"]
        {
            assert!(message.contains(fact), "{message}");
        }
    }

    #[test]
    fn lost_connection_is_unavailable_and_temporary() {
        let lost = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        let failure = Failure::new(&POSTGRES, &lost);
        assert!(failure.is_lost_connection);
        let error = failure.into_error("postgres://***@host/db", "t", "");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_temporary());
    }
}
