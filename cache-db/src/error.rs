//! Conversion of driver errors into cache errors.

use cache_core::{Error, ErrorKind};

use crate::fault::Fault;

/// A failed call, classified.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(fault: Fault, message: String) -> Self {
        Self { fault, message }
    }

    /// No thread could be started for the statement, or it panicked.
    #[cfg(feature = "sqlite")]
    pub(crate) fn no_thread() -> Self {
        Self::new(Fault::Unavailable, "no thread could run the statement".into())
    }

    /// The tokio runtime ended before the statement was run.
    #[cfg(feature = "sqlite")]
    pub(crate) fn runtime_ended() -> Self {
        Self::new(Fault::Unavailable, "the runtime is shutting down".into())
    }

    /// No connection was free or could be opened in time. The statement was not sent.
    pub(crate) fn no_connection() -> Self {
        Self::new(Fault::Unavailable, "timed out waiting for a connection".into())
    }

    /// The database did not respond in time.
    pub(crate) fn timed_out() -> Self {
        Self::new(Fault::Unavailable, "timed out waiting for a response".into())
    }

    /// The statement was not sent because it is too large.
    pub(crate) fn too_large(size: usize, max: usize) -> Self {
        let message = format!("the statement takes {size} bytes, the maximum is {max}");
        Self::new(Fault::TooLarge, message)
    }

    /// A session of the application's pool violates a requirement.
    pub(crate) fn unsafe_session(requirement: &str, found: &str) -> Self {
        let message = format!(
            "the sessions of the pool must have {requirement}, found {found:?}: set it in the \
             pool's after_connect, or give the store a URL instead of the pool"
        );
        Self::new(Fault::UnsafeSession, message)
    }

    /// Converts the failure into the error that the caller gets.
    ///
    /// `database` is the location without secrets. `create_command` creates a missing table.
    pub(crate) fn into_error(self, database: &str, table: &str, create_command: &str) -> Error {
        let Self { fault, message } = self;
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
            Fault::Unavailable | Fault::Reconnect | Fault::Disconnected => {
                (ErrorKind::Unavailable, String::new())
            }
            Fault::UnsafeSession => (ErrorKind::Config, String::new()),
            Fault::TooLarge => (ErrorKind::TooLarge, String::new()),
            Fault::ReadOnly => (
                ErrorKind::Backend,
                ": the file or its file system is read-only, so the cache can only be read".into(),
            ),
            Fault::Full => {
                return Error::storage_full(format_args!("{database}: {message}")).in_store("db");
            }
            Fault::Busy | Fault::IndexExists | Fault::Other => (ErrorKind::Backend, String::new()),
        };
        Error::new(kind, format!("{database}: {message}{advice}"))
            .temporary(kind == ErrorKind::Unavailable || fault == Fault::Busy)
            .in_store("db")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_database_is_a_full_store() {
        use crate::dialect::{Dialect, mysql::MYSQL, postgres::POSTGRES, sqlite::SQLITE};

        let codes: [(&Dialect, &str); 4] =
            [(&SQLITE, "13"), (&POSTGRES, "53100"), (&MYSQL, "1021"), (&MYSQL, "1114")];
        for (dialect, code) in codes {
            let failure = Failure::new((dialect.classify)(code, "no room"), "no room".into());
            let error = failure.into_error("db:1", "cache", "DbCache::create_table");
            cache_conformance::assert_storage_full(&error);
            assert!(error.to_string().contains("db:1: no room"), "{code}: {error}");
        }
    }

    #[test]
    fn missing_table_error_names_the_table_and_the_command() {
        let failure = Failure::new(Fault::MissingTable, "no such table".into());
        let error = failure.into_error("sqlite:cache.db", "it's mine", "DbCache::create_table");
        assert_eq!((error.kind(), error.store()), (ErrorKind::Backend, Some("db")));
        let message = error.to_string();
        for fact in
            ["sqlite:cache.db", "\"it's mine\"", "`DbCache::create_table`", "create_table = true"]
        {
            assert!(message.contains(fact), "{message}");
        }
    }
}
