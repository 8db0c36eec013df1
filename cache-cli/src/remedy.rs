//! What to do about an error, by its cause.

use std::{error, io};

use cachette::{Error, ErrorKind};

/// Returns the text of the `help:` line for an error whose message has no remedy.
pub(crate) fn remedy(error: &Error) -> Option<&'static str> {
    let message = error.to_string();
    let message = message.to_lowercase();
    let by_answer = |answer: &&Answer| {
        answer.stores.contains(&error.store().unwrap_or_default())
            && answer.phrases.iter().any(|phrase| message.contains(phrase))
    };
    match error.kind() {
        ErrorKind::NotAnInteger => Some("store an integer first: `cachette set KEY 0`"),
        ErrorKind::InvalidKey => {
            Some("use a shorter key without spaces, or set key_function = \"hashed\"")
        }
        ErrorKind::TooLarge => Some("store a smaller value, or raise the store's limit"),
        ErrorKind::Backend | ErrorKind::StorageFull | ErrorKind::Unavailable => ANSWERS
            .iter()
            .find(by_answer)
            .map(|answer| answer.remedy)
            .or_else(|| by_io_error(io_error_kind(error)?))
            .or_else(|| by_kind(error.kind())),
        _ => None,
    }
}

/// The remedy if nothing more is known about the cause.
fn by_kind(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::StorageFull => Some(
            "free space: run `cachette purge-expired`, set a lower max_entries, or let the server \
             evict entries",
        ),
        ErrorKind::Unavailable => {
            Some("check that the server is running, and that LOCATION and OPTIONS are right")
        }
        _ => None,
    }
}

/// What servers and drivers say about a cause. The first entry that matches counts.
struct Answer {
    stores: &'static [&'static str],
    /// In lower case. One of them is in the message.
    phrases: &'static [&'static str],
    remedy: &'static str,
}

const SERVERS: &[&str] = &["db", "memcached", "redis"];

/// Codes and phrases of
/// [SQLite](https://www.sqlite.org/rescode.html),
/// [PostgreSQL](https://www.postgresql.org/docs/current/errcodes-appendix.html),
/// [MySQL](https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html), Redis and
/// the operating system.
const ANSWERS: &[Answer] = &[
    Answer {
        stores: &["db"],
        phrases: &["unable to open database file"],
        remedy: "create the directory of the SQLite file, and let the users that run this command \
                 and the service write to it",
    },
    Answer {
        stores: &["db"],
        phrases: &["attempt to write a readonly database"],
        remedy: "let the users that run this command and the service write to the SQLite file and \
                 its directory, which must not be mounted read-only",
    },
    Answer {
        stores: &["db"],
        phrases: &["database or disk is full", "sqlstate 53100", "error 1114)", "error 1021)"],
        remedy: "free disk space: run `cachette purge-expired`, or set a lower max_entries",
    },
    Answer {
        stores: &["db"],
        phrases: &["file is not a database"],
        remedy: "set another file: this one was not written by SQLite, or is damaged",
    },
    Answer {
        stores: &["db"],
        phrases: &["sqlstate 28", "error 1045)", "error 1698)"],
        remedy: "check the user name and the password in the URL, and that the server accepts this \
                 user from this machine",
    },
    Answer {
        stores: &["db"],
        phrases: &["sqlstate 42501", "error 1142)", "error 1143)", "error 1044)", "error 1227)"],
        remedy: "grant the user SELECT, INSERT, UPDATE and DELETE on the table, and what \
                 docs/production/db.md lists for other commands",
    },
    Answer {
        stores: &["db"],
        phrases: &["sqlstate 3d000", "error 1049)"],
        remedy: "create the database, or correct its name in the URL",
    },
    Answer {
        stores: &["db"],
        phrases: &["sqlstate 53300", "error 1040)", "error 1203)", "error 1226)"],
        remedy: "set a lower pool_size, or raise the server's limit of connections",
    },
    Answer {
        stores: &["db", "redis"],
        phrases: &[
            "sqlstate 25006",
            "error 1290)",
            "error 1792)",
            "error 1836)",
            "error 1874)",
            "readonly ",
            "it is a replica",
        ],
        remedy: "name the primary: this server is a replica or read-only",
    },
    Answer {
        stores: &["db"],
        phrases: &["error 1129)"],
        remedy: "run FLUSH HOSTS on the server: it blocks this machine after failed connections",
    },
    Answer {
        stores: &["db"],
        phrases: &["sqlstate 57p03", "error 1047)", "error 3032)", "error 3100)"],
        remedy: "wait until the server has started or joined its cluster, or read its log",
    },
    Answer {
        stores: &["redis"],
        phrases: &["noauth", "wrongpass", "invalid password", "without any password configured"],
        remedy: "check the user name and the password in LOCATION or OPTIONS",
    },
    Answer {
        stores: &["redis"],
        phrases: &["noperm", "can't run this command"],
        remedy: "grant the user the commands and keys that docs/production/redis.md lists",
    },
    Answer {
        stores: &["redis"],
        phrases: &["protected mode"],
        remedy: "set a password on the server, or the address on which it listens: it accepts no \
                 other machine yet",
    },
    Answer {
        stores: &["redis"],
        phrases: &["max number of clients"],
        remedy: "raise maxclients on the server, and look for clients that do not close \
                 connections",
    },
    Answer {
        stores: &["redis"],
        phrases: &["oom ", "misconf"],
        remedy: "raise maxmemory or set a maxmemory-policy that evicts; for MISCONF, free disk \
                 space on the server",
    },
    Answer {
        stores: &["redis"],
        phrases: &["moved "],
        remedy: "set cluster = true: the server belongs to a cluster",
    },
    Answer {
        stores: SERVERS,
        phrases: &["does not speak", "unexpected reply", "protocol"],
        remedy: "check the port in LOCATION: another service or a proxy answers there",
    },
    Answer {
        stores: SERVERS,
        phrases: &["certificate", "tls", "unknownissuer"],
        remedy: "check that the server uses TLS at this port, and that its certificate names the \
                 host and is signed by an authority that OPTIONS trust",
    },
    Answer {
        stores: SERVERS,
        phrases: &["lookup address", "name or service not known", "no such host"],
        remedy: "check the host name in LOCATION, and that this machine can resolve it",
    },
    Answer {
        stores: SERVERS,
        phrases: &["connection refused"],
        remedy: "start the server, or correct the address: nothing listens there",
    },
    Answer {
        stores: SERVERS,
        phrases: &["no such file"],
        remedy: "start the server, or correct the path: there is no socket",
    },
    Answer {
        stores: SERVERS,
        phrases: &["permission denied"],
        remedy: "let the users that run this command and the service open the socket",
    },
    Answer {
        stores: SERVERS,
        phrases: &["timed out", "no reply within", "no connection within", "unreachable"],
        remedy: "check that the network and its firewalls let this machine reach the server, and \
                 that the server is not overloaded",
    },
    Answer {
        stores: SERVERS,
        phrases: &["broken pipe", "connection reset", "closed", "unexpected end of file"],
        remedy: "read the log of the server: it closed the connection, as at its limit of \
                 connections, or because it expects TLS",
    },
];

fn by_io_error(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::PermissionDenied => Some(
            "grant read and write permission to the users that run this command and the service",
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free disk space: run `cachette purge-expired`, or set a lower max_entries")
        }
        io::ErrorKind::ReadOnlyFilesystem => Some("set LOCATION to a writable directory"),
        io::ErrorKind::NotADirectory => {
            Some("set LOCATION to a directory: a part of its path is a file")
        }
        _ => None,
    }
}

/// The kind of the first I/O error among the sources of `error`.
fn io_error_kind(error: &Error) -> Option<io::ErrorKind> {
    let first = error::Error::source(error);
    let mut sources = std::iter::successors(first, |source| source.source());
    sources.find_map(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedy_depends_on_the_cause() {
        for (store, message, fact) in [
            ("db", "sqlite:x/a.db: unable to open database file (code 14)", "directory"),
            ("db", "sqlite:a.db: attempt to write a readonly database (code 8)", "read-only"),
            ("db", "sqlite:a.db: database or disk is full (code 13)", "disk space"),
            ("db", "postgres://h/d: role \"x\" does not exist (SQLSTATE 28000)", "password"),
            ("db", "postgres://h/d: permission denied for table t (SQLSTATE 42501)", "grant"),
            ("db", "postgres://h/d: database \"d\" does not exist (SQLSTATE 3D000)", "create"),
            ("db", "postgres://h/d: too many clients already (SQLSTATE 53300)", "pool_size"),
            ("db", "mysql://h/d: Access denied for user (error 1045)", "password"),
            ("db", "mysql://h/d: --read-only option (error 1290)", "primary"),
            ("db", "mysql://h/d: Running in read-only mode (error 1836)", "primary"),
            ("db", "mysql://h/d: Host 'h' is blocked (error 1129)", "FLUSH HOSTS"),
            ("db", "postgres://h/d: the database is starting up (SQLSTATE 57P03)", "started"),
            ("db", "postgres://h/d: Connection refused (os error 111)", "start the server"),
            ("redis", "h:1: server returned NOPERM User x has no permissions", "redis.md"),
            ("redis", "h:1: server returned WRONGPASS invalid username-password pair", "password"),
            ("redis", "h:1: server returned ERR max number of clients reached", "maxclients"),
            ("redis", "h:1: server returned DENIED Redis is running in protected mode", "password"),
            ("redis", "h:1: server returned MOVED 3999 127.0.0.1:6381", "cluster = true"),
            ("redis", "h:1: the server does not speak the protocol of Redis", "port"),
            ("redis", "h:1: no connection within 500ms", "firewalls"),
            ("memcached", "h:1: failed to lookup address information", "resolve"),
            ("memcached", "/run/x.sock: No such file or directory (os error 2)", "socket"),
        ] {
            let error = Error::new(ErrorKind::Unavailable, message).in_store(store);
            let help = remedy(&error).expect(message);
            assert!(help.contains(fact), "{message}: {help}");
        }
    }

    #[test]
    fn unknown_cause_of_an_outage_has_a_general_remedy() {
        let error = Error::new(ErrorKind::Unavailable, "away").in_store("custom");
        assert_eq!(remedy(&error), by_kind(ErrorKind::Unavailable));
        assert_eq!(remedy(&Error::new(ErrorKind::Backend, "broken")), None);
    }

    #[test]
    fn io_error_among_the_sources_has_a_remedy() {
        for (kind, fact) in [
            (io::ErrorKind::PermissionDenied, "permission"),
            (io::ErrorKind::StorageFull, "disk space"),
            (io::ErrorKind::ReadOnlyFilesystem, "writable"),
            (io::ErrorKind::NotADirectory, "directory"),
        ] {
            let error = Error::new(ErrorKind::Backend, "cannot create /var/cache/shop");
            let error = error.with_source(io::Error::from(kind)).in_store("filebased");
            assert!(remedy(&error).is_some_and(|help| help.contains(fact)), "{kind:?}");
        }
    }
}
