//! Failures of a server, and the errors that callers receive.

use std::sync::Arc;

use cache_core::{Error, ErrorKind, config::redact};
use redis::{RedisError, ServerError, ServerErrorKind};

/// The kind of a failure, and whether the command may have been executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There was no connection. The command was not executed.
    Unreachable,
    /// The connection broke. The command may have been executed.
    ConnectionLost,
    /// No reply arrived in time. The command may have been executed.
    TimedOut,
    /// Another server of the cluster has the key: from now on (MOVED), or with `ask` for this
    /// command only (ASK).
    Redirected { address: String, ask: bool },
    /// The server is not a primary, or no server covers the slot. The command was not executed, and
    /// the primary must be looked up again.
    NotPrimary,
    /// The server does not know the script. The command was not executed.
    NoScript,
    /// The server is temporarily not ready. The command was not executed.
    Busy,
    /// The stored value is not an integer.
    NotAnInteger,
    /// The sum does not fit an `i64`.
    Overflow,
    /// The key holds another type than a string.
    WrongType,
    /// The server is out of memory.
    OutOfMemory,
    /// The server returned any other error.
    Rejected,
}

/// A failure and the server on which it happened.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    server: Arc<str>,
    message: Arc<str>,
}

impl Failure {
    pub(crate) fn new(fault: Fault, server: &Arc<str>, message: &str) -> Self {
        Self { fault, server: Arc::clone(server), message: message.into() }
    }

    /// Creates a failure from an error of the connection.
    pub(crate) fn from_redis(fault: Fault, server: &Arc<str>, error: &RedisError) -> Self {
        match error.kind() {
            // The parser's message has several lines.
            redis::ErrorKind::Parse | redis::ErrorKind::UnexpectedReturnType => {
                Self::new(fault, server, "the server does not speak the protocol of Redis")
            }
            _ => Self::new(fault, server, &redact(&error.to_string())),
        }
    }

    /// Creates a failure from an error that the server replied with.
    pub(crate) fn from_server(server: &Arc<str>, error: &ServerError) -> Self {
        let message = match error.details() {
            Some(details) => format!("server returned {} {details}", error.code()),
            None => format!("server returned {}", error.code()),
        };
        Self::new(fault_of(error), server, &redact(&message))
    }

    /// Converts the failure into the error that the caller receives.
    pub(crate) fn into_error(self) -> Error {
        let (kind, temporary) = match self.fault {
            Fault::Unreachable
            | Fault::ConnectionLost
            | Fault::TimedOut
            | Fault::Redirected { .. }
            | Fault::NotPrimary
            | Fault::Busy => (ErrorKind::Unavailable, true),
            Fault::OutOfMemory => (ErrorKind::Backend, true),
            Fault::NotAnInteger => (ErrorKind::NotAnInteger, false),
            Fault::Overflow => (ErrorKind::Overflow, false),
            Fault::NoScript | Fault::WrongType | Fault::Rejected => (ErrorKind::Backend, false),
        };
        // The message names the reason, because most callers print only `Display`. It is therefore
        // not attached as a source as well.
        Error::new(kind, format!("{}: {}", self.server, self.message))
            .temporary(temporary)
            .in_store("redis")
    }
}

fn fault_of(error: &ServerError) -> Fault {
    let details = error.details().unwrap_or_default();
    match error.kind() {
        Some(kind @ (ServerErrorKind::Moved | ServerErrorKind::Ask)) => {
            match details.split_once(' ') {
                Some((_slot, address)) => Fault::Redirected {
                    address: address.trim().into(),
                    ask: kind == ServerErrorKind::Ask,
                },
                None => Fault::Rejected,
            }
        }
        Some(ServerErrorKind::ReadOnly | ServerErrorKind::ClusterDown) => Fault::NotPrimary,
        Some(ServerErrorKind::NoScript) => Fault::NoScript,
        Some(
            ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown | ServerErrorKind::TryAgain,
        ) => Fault::Busy,
        // A script reports the errors of its commands inside its own error.
        _ if error.code() == "WRONGTYPE" || details.contains("WRONGTYPE") => Fault::WrongType,
        _ if error.code() == "OOM" || details.contains("OOM ") => Fault::OutOfMemory,
        _ if details.contains("not an integer") => Fault::NotAnInteger,
        _ if details.contains("would overflow") => Fault::Overflow,
        _ if matches!(error.code(), "BUSY" | "UNKILLABLE" | "NOREPLICAS") => Fault::Busy,
        _ if details.contains("max number of clients") => Fault::Busy,
        _ => Fault::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn returned(code: &str, details: &str) -> Failure {
        let line = format!("-{code} {details}\r\n");
        let Ok(redis::Value::ServerError(error)) = redis::parse_redis_value(line.as_bytes()) else {
            panic!("{line}")
        };
        Failure::from_server(&"h:1".into(), &error)
    }

    #[test]
    fn server_errors_are_classified() {
        for (code, details, fault) in [
            (
                "MOVED",
                "3999 127.0.0.1:6381",
                Fault::Redirected { address: "127.0.0.1:6381".into(), ask: false },
            ),
            ("ASK", "3999 :6381", Fault::Redirected { address: ":6381".into(), ask: true }),
            ("READONLY", "You can't write against a read only replica.", Fault::NotPrimary),
            ("CLUSTERDOWN", "The cluster is down", Fault::NotPrimary),
            ("NOSCRIPT", "No matching script.", Fault::NoScript),
            ("LOADING", "Redis is loading the dataset in memory", Fault::Busy),
            ("ERR", "value is not an integer or out of range", Fault::NotAnInteger),
            ("ERR", "increment or decrement would overflow", Fault::Overflow),
            (
                "WRONGTYPE",
                "Operation against a key holding the wrong kind of value",
                Fault::WrongType,
            ),
            ("OOM", "command not allowed when used memory > 'maxmemory'.", Fault::OutOfMemory),
            ("ERR", "max number of clients reached", Fault::Busy),
            ("NOAUTH", "Authentication required.", Fault::Rejected),
        ] {
            assert_eq!(returned(code, details).fault, fault, "{code} {details}");
        }
    }

    #[test]
    fn foreign_protocol_is_reported_in_one_line() {
        let error = redis::parse_redis_value(b"ERROR\r\n").expect_err("memcached's reply");
        let error = Failure::from_redis(Fault::Unreachable, &"h:1".into(), &error).into_error();
        let message = error.to_string();
        assert!(message.contains("h:1: ") && !message.contains('\n'), "{message}");
    }

    #[test]
    fn error_names_the_server_and_the_code_it_returned() {
        let error = returned("NOAUTH", "Authentication required.").into_error();
        let message = error.to_string();
        assert!(message.contains("h:1: "), "{message}");
        assert!(message.contains("NOAUTH Authentication required."), "{message}");
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Backend, false));
        let error = returned("OOM", "command not allowed").into_error();
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Backend, true));
    }
}
