//! Conversion of sqlx errors.

use cache_core::config::redact;

use crate::{dialect::Dialect, error::Failure, fault::Fault};

impl Failure {
    /// Classifies an sqlx error. No other code inspects them.
    pub(super) fn from_sqlx(dialect: &Dialect, error: &sqlx::Error) -> Self {
        use sqlx::Error as Sqlx;

        let (fault, message) = match error {
            Sqlx::Database(error) => {
                let (code, message) = (code(&**error), error.message());
                let fault = (dialect.classify)(&code, message);
                (fault, format!("{message} ({} {code})", dialect.code_name))
            }
            Sqlx::Tls(error) => (Fault::Untrusted, error.to_string()),
            // rustls reports a certificate that it rejects as invalid data.
            Sqlx::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                (Fault::Untrusted, error.to_string())
            }
            Sqlx::Io(error) => (Fault::Disconnected, error.to_string()),
            Sqlx::WorkerCrashed => (Fault::Disconnected, error.to_string()),
            Sqlx::PoolTimedOut => (Fault::Unavailable, "timed out waiting for a connection".into()),
            Sqlx::PoolClosed | Sqlx::Protocol(_) => (Fault::Unavailable, error.to_string()),
            error => (Fault::Other, error.to_string()),
        };
        Self::new(fault, redact(&message))
    }

    /// Notes that no statement was sent before the failure.
    pub(super) fn before_sending(self) -> Self {
        match self.fault {
            Fault::Disconnected => Self { fault: Fault::Reconnect, ..self },
            _ => self,
        }
    }
}

/// PostgreSQL's SQLSTATE or MySQL's error number, whose SQLSTATE is too coarse.
fn code(error: &dyn sqlx::error::DatabaseError) -> String {
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return error.number().to_string();
    }
    error.code().unwrap_or_default().into_owned()
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use cache_core::ErrorKind;

    use super::*;
    use crate::dialect::postgres::POSTGRES;

    #[test]
    fn lost_connection_is_unavailable_and_temporary() {
        let lost = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        let failure = Failure::from_sqlx(&POSTGRES, &lost);
        assert_eq!(failure.fault, Fault::Disconnected);
        let error = failure.into_error("postgres://***@host/db", "t", "");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_temporary());
    }
}
