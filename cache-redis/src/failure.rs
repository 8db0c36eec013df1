//! Failures of a server, and the errors that callers receive.

use std::sync::Arc;

use cache_core::{Error, ErrorKind, config::redact};
use redis::{RedisError, ServerError, ServerErrorKind};

use crate::bounded_replies::Violation;

/// The kind of a failure, and whether the command may have been executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There was no connection, or the command was not sent. It was not executed.
    Unreachable,
    /// The connection broke. The command may have been executed.
    ConnectionLost,
    /// No reply arrived in time. The command may have been executed.
    TimedOut,
    /// Another server of the cluster has the key: from now on (MOVED), or with `ask` for this
    /// command only (ASK).
    Redirected { address: String, ask: bool },
    /// The server is one of several servers of a cluster, and the options do not say so.
    InCluster,
    /// The server is not a primary, or no server covers the slot. The command was not executed, and
    /// the primary must be looked up again.
    NotPrimary,
    /// The server no longer knows who the client is. The command was not executed.
    NotAuthenticated,
    /// The server does not know the script. The command was not executed.
    NoScript,
    /// The server is temporarily not ready. The command was not executed.
    Busy,
    /// A proxy has lost its connection to the server. The command may have been executed.
    BehindProxy,
    /// The stored value is not an integer.
    NotAnInteger,
    /// The sum does not fit an `i64`.
    Overflow,
    /// The key holds another type than a string.
    WrongType,
    /// The server has no memory or no disk space for the entry.
    NoRoom,
    /// The server does not accept clients from other machines.
    Denied,
    /// The reply is longer than the largest one that is expected. The command may have been
    /// executed.
    ReplyTooLong,
    /// The server returned any other error.
    Rejected,
}

/// What the errors of servers and proxies mean: the code, a part of the text, and the fault. The
/// first row that matches counts. Errors that are not in the table are [`Fault::Rejected`].
///
/// MOVED and ASK are not in it, because they name a server.
const ERRORS: &[(&str, &str, Fault)] = &[
    // Only a new connection helps: the address may lead to another server by now, as after the
    // failover of a managed primary, or the server has forgotten the login.
    ("READONLY", "", Fault::NotPrimary),
    ("MASTERDOWN", "", Fault::NotPrimary),
    ("NOREPLICAS", "", Fault::NotPrimary),
    ("CLUSTERDOWN", "", Fault::NotPrimary),
    ("NOAUTH", "", Fault::NotAuthenticated),
    // The server closes the connection after it.
    ("ERR", "Protocol error", Fault::ConnectionLost),
    ("ERR", "max number of clients", Fault::Busy),
    ("DENIED", "", Fault::Denied),
    // Waiting helps.
    ("LOADING", "", Fault::Busy),
    ("TRYAGAIN", "", Fault::Busy),
    ("BUSY", "", Fault::Busy),
    ("UNKILLABLE", "", Fault::Busy),
    // twemproxy reports the error of the operating system, Envoy its own.
    ("ERR", "Connection refused", Fault::BehindProxy),
    ("ERR", "Connection timed out", Fault::BehindProxy),
    ("ERR", "Connection reset by peer", Fault::BehindProxy),
    ("upstream", "failure", Fault::BehindProxy),
    ("no", "upstream host", Fault::BehindProxy),
    // There is no room. MISCONF: a snapshot could not be written to disk.
    ("OOM", "", Fault::NoRoom),
    ("MISCONF", "", Fault::NoRoom),
    // The command or the entry is at fault.
    ("CROSSSLOT", "", Fault::InCluster),
    ("NOSCRIPT", "", Fault::NoScript),
    ("WRONGTYPE", "", Fault::WrongType),
    ("ERR", "not an integer", Fault::NotAnInteger),
    ("ERR", "would overflow", Fault::Overflow),
];

impl Fault {
    /// Whether only a new connection helps, so that this one must be closed.
    pub(crate) fn needs_new_connection(&self) -> bool {
        self.was_rejected_by_connection() || *self == Self::ConnectionLost
    }

    /// Whether the command was rejected because of the connection and not executed: it succeeds on
    /// a new connection that leads to the right server.
    pub(crate) fn was_rejected_by_connection(&self) -> bool {
        matches!(self, Self::NotPrimary | Self::NotAuthenticated)
    }
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
                Self::not_redis(fault, server)
            }
            _ if Violation::cause_of(error) == Some(Violation::NotRedis) => {
                Self::not_redis(fault, server)
            }
            _ => Self::new(fault, server, &redact(&error.to_string())),
        }
    }

    /// The server on which it happened.
    pub(crate) fn server(&self) -> &Arc<str> {
        &self.server
    }

    /// Creates the failure of a server that sent something else than replies of Redis.
    pub(crate) fn not_redis(fault: Fault, server: &Arc<str>) -> Self {
        Self::new(fault, server, "the server does not speak the protocol of Redis")
    }

    /// Creates a failure from an error that the server replied with.
    pub(crate) fn from_server(server: &Arc<str>, error: &ServerError) -> Self {
        let message = match error.details() {
            Some(details) => format!("server returned {} {details}", error.code()),
            None => format!("server returned {}", error.code()),
        };
        Self::new(fault_of(error), server, &redact(&message))
    }

    /// Creates the failure of a server that is one of several servers of a cluster.
    pub(crate) fn in_cluster(server: &Arc<str>) -> Self {
        let message = "the server is one of several servers of a cluster: set OPTIONS.cluster to \
                       true";
        Self::new(Fault::InCluster, server, message)
    }

    /// Converts the failure into the error that the caller receives.
    pub(crate) fn into_error(self) -> Error {
        let (kind, temporary) = match self.fault {
            Fault::Unreachable
            | Fault::ConnectionLost
            | Fault::TimedOut
            | Fault::Redirected { .. }
            | Fault::NotPrimary
            | Fault::Busy
            | Fault::BehindProxy => (ErrorKind::Unavailable, true),
            Fault::NoRoom => {
                let reason = format!("{}: {}", self.server, self.message);
                return Error::storage_full(reason).in_store("redis");
            }
            Fault::InCluster => (ErrorKind::Config, false),
            Fault::NotAnInteger => (ErrorKind::NotAnInteger, false),
            Fault::Overflow => (ErrorKind::Overflow, false),
            Fault::NotAuthenticated
            | Fault::NoScript
            | Fault::WrongType
            | Fault::Denied
            | Fault::ReplyTooLong
            | Fault::Rejected => (ErrorKind::Backend, false),
        };
        // The message names the reason, because most callers print only `Display`. It is therefore
        // not attached as a source as well.
        Error::new(kind, format!("{}: {}", self.server, self.message))
            .temporary(temporary)
            .in_store("redis")
    }
}

pub(crate) fn fault_of(error: &ServerError) -> Fault {
    let details = error.details().unwrap_or_default();
    if let Some(kind @ (ServerErrorKind::Moved | ServerErrorKind::Ask)) = error.kind() {
        return match details.split_once(' ') {
            Some((_slot, address)) => Fault::Redirected {
                address: address.trim().into(),
                ask: kind == ServerErrorKind::Ask,
            },
            None => Fault::Rejected,
        };
    }
    let row = ERRORS.iter().find(|(code, text, _)| {
        (error.code() == *code || is_code_in_script(details, code)) && details.contains(text)
    });
    row.map_or(Fault::Rejected, |(_, _, fault)| fault.clone())
}

/// Whether the error concerns one key and not the whole request, so that the caller handles it.
pub(crate) fn concerns_one_key(error: &ServerError) -> bool {
    matches!(fault_of(error), Fault::WrongType | Fault::NoRoom)
}

/// Whether a script failed because a command in it failed with this code. Before Redis 7, the error
/// of the script contains that of the command.
fn is_code_in_script(details: &str, code: &str) -> bool {
    details.starts_with("Error running script")
        && details.split_whitespace().any(|word| word.trim_start_matches('-') == code)
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
            ("MASTERDOWN", "Link with MASTER is down", Fault::NotPrimary),
            ("NOREPLICAS", "Not enough good replicas to write.", Fault::NotPrimary),
            ("LOADING", "Redis is loading the dataset in memory", Fault::Busy),
            ("ERR", "Protocol error: invalid bulk length", Fault::ConnectionLost),
            ("ERR", "Connection refused", Fault::BehindProxy),
            ("upstream", "failure", Fault::BehindProxy),
            ("CROSSSLOT", "Keys in request don't hash to the same slot", Fault::InCluster),
            ("ERR", "value is not an integer or out of range", Fault::NotAnInteger),
            ("ERR", "increment or decrement would overflow", Fault::Overflow),
            (
                "WRONGTYPE",
                "Operation against a key holding the wrong kind of value",
                Fault::WrongType,
            ),
            ("OOM", "command not allowed when used memory > 'maxmemory'.", Fault::NoRoom),
            ("MISCONF", "Redis is configured to save RDB snapshots", Fault::NoRoom),
            (
                "ERR",
                "Error running script (call to f_1): @user_script:2: -READONLY You can't write",
                Fault::NotPrimary,
            ),
            (
                "ERR",
                "Error running script (call to f_1): @user_script:2: ERR value is not an integer",
                Fault::NotAnInteger,
            ),
            ("ERR", "unknown command 'READONLY'", Fault::Rejected),
            ("ERR", "max number of clients reached", Fault::Busy),
            ("NOAUTH", "Authentication required.", Fault::NotAuthenticated),
            ("NOPERM", "this user has no permissions", Fault::Rejected),
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
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::StorageFull, true));
        assert!(error.to_string().contains("h:1: server returned OOM command"), "{error}");
    }
}
