//! What went wrong with a server, as the contract words it.

use std::sync::Arc;

use cache_core::{Error, ErrorKind, config::redact};
use redis::{RedisError, ServerError, ServerErrorKind};

/// What a failure says about the command that met it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There was no connection: nothing was done.
    Unreached,
    /// The connection broke: whether something was done is not known.
    Lost,
    /// No answer came in time: whether something was done is not known.
    Silent,
    /// Another server of the cluster has the key, from now on or only for this time.
    Elsewhere { address: String, once: bool },
    /// The server is not one to write to, or the cluster is not whole: nothing was done, and who leads is to be asked.
    NotLeading,
    /// The server does not know the script: nothing was done.
    NoScript,
    /// The server will be ready some time: nothing was done.
    Busy,
    /// What is stored is no integer.
    NotAnInteger,
    /// The sum does not fit.
    Overflow,
    /// What is stored is no text, but one of the server's other types.
    WrongType,
    /// The server has no memory left that it would give.
    Full,
    /// Anything else that the server refused.
    Refused,
}

/// A failure, and the server where it happened.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    server: Arc<str>,
    message: Arc<str>,
    source: Option<RedisError>,
}

impl Failure {
    pub(crate) fn new(fault: Fault, server: &Arc<str>, message: &str) -> Self {
        Self { fault, server: Arc::clone(server), message: message.into(), source: None }
    }

    /// An error of the connection.
    pub(crate) fn of(fault: Fault, server: &Arc<str>, error: RedisError) -> Self {
        let message = match error.kind() {
            // What the parser says of it goes over several lines.
            redis::ErrorKind::Parse | redis::ErrorKind::UnexpectedReturnType => {
                "it does not answer as Redis does".into()
            }
            _ => redact(&error.to_string()),
        };
        Self { fault, server: Arc::clone(server), message: message.into(), source: Some(error) }
    }

    /// What the server said instead of an answer.
    pub(crate) fn said(server: &Arc<str>, error: &ServerError) -> Self {
        let message = match error.details() {
            Some(details) => format!("it says {} {details}", error.code()),
            None => format!("it says {}", error.code()),
        };
        Self::new(fault_of(error), server, &redact(&message))
    }

    /// The error for whoever called.
    pub(crate) fn told(self) -> Error {
        let (kind, temporary) = match self.fault {
            Fault::Unreached
            | Fault::Lost
            | Fault::Silent
            | Fault::Elsewhere { .. }
            | Fault::NotLeading
            | Fault::Busy => (ErrorKind::Unavailable, true),
            Fault::Full => (ErrorKind::Backend, true),
            Fault::NotAnInteger => (ErrorKind::NotAnInteger, false),
            Fault::Overflow => (ErrorKind::Overflow, false),
            Fault::NoScript | Fault::WrongType | Fault::Refused => (ErrorKind::Backend, false),
        };
        let error =
            Error::new(kind, format!("{}: {}", self.server, self.message)).temporary(temporary);
        match self.source {
            Some(source) => error.with_source(source),
            None => error,
        }
        .in_store("redis")
    }
}

fn fault_of(error: &ServerError) -> Fault {
    let details = error.details().unwrap_or_default();
    match error.kind() {
        Some(kind @ (ServerErrorKind::Moved | ServerErrorKind::Ask)) => {
            match details.split_once(' ') {
                Some((_slot, address)) => Fault::Elsewhere {
                    address: address.trim().into(),
                    once: kind == ServerErrorKind::Ask,
                },
                None => Fault::Refused,
            }
        }
        Some(ServerErrorKind::ReadOnly | ServerErrorKind::ClusterDown) => Fault::NotLeading,
        Some(ServerErrorKind::NoScript) => Fault::NoScript,
        Some(
            ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown | ServerErrorKind::TryAgain,
        ) => Fault::Busy,
        // A script passes on what its commands met, in words of its own.
        _ if error.code() == "WRONGTYPE" || details.contains("WRONGTYPE") => Fault::WrongType,
        _ if error.code() == "OOM" || details.contains("OOM ") => Fault::Full,
        _ if details.contains("not an integer") => Fault::NotAnInteger,
        _ if details.contains("would overflow") => Fault::Overflow,
        _ if matches!(error.code(), "BUSY" | "UNKILLABLE" | "NOREPLICAS") => Fault::Busy,
        _ if details.contains("max number of clients") => Fault::Busy,
        _ => Fault::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str, details: &str) -> Failure {
        let line = format!("-{code} {details}\r\n");
        let Ok(redis::Value::ServerError(error)) = redis::parse_redis_value(line.as_bytes()) else {
            panic!("{line}")
        };
        Failure::said(&"h:1".into(), &error)
    }

    #[test]
    fn what_a_server_says_is_told_from_one_another() {
        for (code, details, fault) in [
            (
                "MOVED",
                "3999 127.0.0.1:6381",
                Fault::Elsewhere { address: "127.0.0.1:6381".into(), once: false },
            ),
            ("ASK", "3999 :6381", Fault::Elsewhere { address: ":6381".into(), once: true }),
            ("READONLY", "You can't write against a read only replica.", Fault::NotLeading),
            ("CLUSTERDOWN", "The cluster is down", Fault::NotLeading),
            ("NOSCRIPT", "No matching script.", Fault::NoScript),
            ("LOADING", "Redis is loading the dataset in memory", Fault::Busy),
            ("ERR", "value is not an integer or out of range", Fault::NotAnInteger),
            ("ERR", "increment or decrement would overflow", Fault::Overflow),
            (
                "WRONGTYPE",
                "Operation against a key holding the wrong kind of value",
                Fault::WrongType,
            ),
            ("OOM", "command not allowed when used memory > 'maxmemory'.", Fault::Full),
            ("ERR", "max number of clients reached", Fault::Busy),
            ("NOAUTH", "Authentication required.", Fault::Refused),
        ] {
            assert_eq!(said(code, details).fault, fault, "{code} {details}");
        }
    }

    #[test]
    fn a_server_that_is_none_of_redis_is_told_in_one_line() {
        let error = redis::parse_redis_value(b"ERROR\r\n").expect_err("memcached says so");
        let error = Failure::of(Fault::Unreached, &"h:1".into(), error).told();
        assert_eq!(error.to_string(), "redis: h:1: it does not answer as Redis does");
    }

    #[test]
    fn an_error_names_the_server_and_what_it_said() {
        let error = said("NOAUTH", "Authentication required.").told();
        assert_eq!(error.to_string(), "redis: h:1: it says NOAUTH Authentication required.");
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Backend, false));
        let error = said("OOM", "command not allowed").told();
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Backend, true));
    }
}
