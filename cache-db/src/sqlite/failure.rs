//! Conversion of rusqlite errors.

use rusqlite::{Error, ffi};

use crate::{dialect::sqlite::SQLITE, error::Failure, fault::Fault};

impl Failure {
    /// Classifies a rusqlite error. No other code inspects them.
    pub(super) fn from_rusqlite(error: &Error) -> Self {
        match error {
            Error::SqliteFailure(error, Some(message)) => from_code(*error, message),
            Error::SqliteFailure(error, None) => from_code(*error, &error.to_string()),
            Error::SqlInputError { error, msg, .. } => from_code(*error, msg),
            error => Self::new(Fault::Other, error.to_string()),
        }
    }
}

fn from_code(error: ffi::Error, message: &str) -> Failure {
    let code = error.extended_code.to_string();
    let fault = (SQLITE.classify)(&code, message);
    Failure::new(fault, format!("{message} ({} {code})", SQLITE.code_name))
}
