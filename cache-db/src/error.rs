//! What the drivers report, as the contract words it.

use cache_core::{Error, ErrorKind, config::redact};

use crate::dialect::Dialect;

/// What an error says about the statement that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A lock or a deadlock: nothing was changed, and it may go well the next time.
    Busy,
    /// The database is away or fell silent: whether something was changed is not known.
    Away,
    /// The table is not there.
    NoTable,
    /// An index of this name is there.
    IndexThere,
    /// The table has other columns: another application has made it.
    NotOurs,
    /// The value is larger than the database takes.
    TooLarge,
    /// A pool in between, as pgbouncer is one, refuses what a connection of its own would allow.
    Pooler,
    /// The connection can't be encrypted as the URL demands, or whoever answers is not whom it names.
    Untrusted,
    /// Anything else.
    Other,
}

/// A failure with what it means.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    error: Option<sqlx::Error>,
    message: String,
}

impl Failure {
    pub(crate) fn of(dialect: Dialect, error: sqlx::Error) -> Self {
        let fault = fault_of(dialect, &error);
        let message = match (&error, fault) {
            (sqlx::Error::PoolTimedOut, _) => "no connection was to be had in time".to_owned(),
            // sqlx would add the line in the server's own source where it was raised.
            (sqlx::Error::Database(error), _) if dialect == Dialect::Postgres => {
                redact(&format!("error returned from database: {}", error.message()))
            }
            (error, _) => redact(&error.to_string()),
        };
        Self { fault, error: Some(error), message }
    }

    pub(crate) fn silent() -> Self {
        Self { fault: Fault::Away, error: None, message: "no answer came in time".into() }
    }

    /// What is so many bytes is not sent.
    pub(crate) fn too_large(size: usize, most: usize) -> Self {
        let message = format!("a statement with its values has {size} bytes, and it takes {most}");
        Self { fault: Fault::TooLarge, error: None, message }
    }

    /// Whether a connection broke that had been made before, as after a restart of the server: a new one may be fine.
    pub(crate) fn is_lost_connection(&self) -> bool {
        match &self.error {
            Some(sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed) => true,
            Some(sqlx::Error::Database(error)) => {
                matches!(&*code(&**error), "57P01" | "57P02" | "1053" | "1927")
            }
            _ => false,
        }
    }

    /// The error for whoever called. `database` says where it happened, without secrets; `remedy`, what makes the table.
    pub(crate) fn told(self, database: &str, table: &str, remedy: &str) -> Error {
        let message = match self.fault {
            Fault::NoTable => format!(
                "{database} has no table {table:?}: make it by `{remedy}`, or have it made with the option \
                 create_table = true"
            ),
            Fault::NotOurs => format!(
                "{database}: {}: the table {table:?} is not a cache's, or is one of Django's, which keeps pickles: choose \
                 another LOCATION",
                self.message
            ),
            Fault::Pooler => format!(
                "{database}: {}: where a pgbouncer is in between, set the option pgbouncer = true",
                self.message
            ),
            Fault::Untrusted => format!(
                "{database}: {}: the URL demands a server with TLS, and as it says, whose certificate names the host and is \
                 signed by an authority that is trusted (sslmode and sslrootcert; in MySQL's, ssl-mode and ssl-ca)",
                self.message
            ),
            _ => format!("{database}: {}", self.message),
        };
        let kind = match self.fault {
            Fault::Away => ErrorKind::Unavailable,
            Fault::TooLarge => ErrorKind::TooLarge,
            Fault::NotOurs | Fault::Pooler | Fault::Untrusted => ErrorKind::Config,
            Fault::Busy | Fault::NoTable | Fault::IndexThere | Fault::Other => ErrorKind::Backend,
        };
        let error =
            Error::new(kind, message).temporary(matches!(self.fault, Fault::Away | Fault::Busy));
        match self.error {
            Some(source) => error.with_source(source).in_store("db"),
            None => error.in_store("db"),
        }
    }
}

pub(crate) fn fault_of(dialect: Dialect, error: &sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Tls(_) => Fault::Untrusted,
        // So does rustls report what it refuses.
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Fault::Untrusted
        }
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => Fault::Away,
        sqlx::Error::Database(error) => dialect.fault(&code(&**error), error.message()),
        _ => Fault::Other,
    }
}

/// SQLite's number, PostgreSQL's SQLSTATE, MySQL's number: its SQLSTATE tells too little.
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

    #[test]
    fn a_missing_table_is_told_with_what_makes_it() {
        let failure =
            Failure { fault: Fault::NoTable, error: None, message: "no such table".into() };
        let error = failure.told("sqlite:cache.db", "it's mine", "DbCache::create_table");
        assert_eq!(
            error.to_string(),
            "db: sqlite:cache.db has no table \"it's mine\": make it by `DbCache::create_table`, or have it made with the \
             option create_table = true"
        );
    }

    #[test]
    fn a_lost_connection_is_unavailable_and_temporary() {
        let lost = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        let error = Failure::of(Dialect::Postgres, lost).told("postgres://***@host/db", "t", "");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_temporary());
    }
}
