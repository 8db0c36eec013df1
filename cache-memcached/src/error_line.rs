//! What the error lines of memcached and of its proxies mean.

use cache_core::{Error, ErrorKind};

use crate::wire::Status;

/// The meaning of an error line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The item is larger than the server accepts.
    TooLarge,
    /// The server has no memory for the item.
    NoRoom,
    /// The item is not a number that the server can count.
    NotANumber,
    /// The server does not know who the client is, or does not understand what it received. Nothing
    /// was executed, and only a new connection helps.
    NewConnection,
    /// A proxy has lost its connection to the server. The command may have been executed.
    BehindProxy,
    Other,
}

/// A part of the line and its meaning. The first row that matches counts; a line that none matches
/// is [`Meaning::Other`].
const MEANINGS: &[(&str, Meaning)] = &[
    ("object too large", Meaning::TooLarge),
    // While storing, but also while reading the command or writing the reply.
    ("out of memory", Meaning::NoRoom),
    ("non-numeric", Meaning::NotANumber),
    ("unauthenticated", Meaning::NewConnection),
    ("bad data chunk", Meaning::NewConnection),
    ("line too long", Meaning::NewConnection),
    // memcached's own proxy, and twemproxy, which reports the error of the operating system.
    ("backend failure", Meaning::BehindProxy),
    ("Connection refused", Meaning::BehindProxy),
    ("Connection timed out", Meaning::BehindProxy),
    ("Connection reset by peer", Meaning::BehindProxy),
];

impl Meaning {
    pub(crate) fn of_line(line: &str) -> Self {
        let row = MEANINGS.iter().find(|(part, _)| line.contains(part));
        row.map_or(Self::Other, |(_, meaning)| *meaning)
    }

    /// The meaning of a reply, if it is an error line.
    pub(crate) fn of(status: &Status) -> Option<Self> {
        match status {
            Status::Error(line) => Some(Self::of_line(line)),
            _ => None,
        }
    }
}

/// Creates the error that the caller receives. The line names the server.
pub(crate) fn into_error(line: &str) -> Error {
    match Meaning::of_line(line) {
        Meaning::NoRoom => Error::storage_full(line),
        Meaning::NewConnection | Meaning::BehindProxy => {
            Error::new(ErrorKind::Unavailable, line.to_owned())
        }
        Meaning::TooLarge | Meaning::NotANumber | Meaning::Other => {
            Error::new(ErrorKind::Backend, line.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_lines_are_classified() {
        for (line, kind, temporary) in [
            ("h:1: SERVER_ERROR out of memory storing object", ErrorKind::StorageFull, true),
            ("h:1: CLIENT_ERROR unauthenticated", ErrorKind::Unavailable, true),
            ("h:1: CLIENT_ERROR bad data chunk", ErrorKind::Unavailable, true),
            ("h:1: SERVER_ERROR backend failure", ErrorKind::Unavailable, true),
            ("h:1: SERVER_ERROR Connection refused", ErrorKind::Unavailable, true),
            ("h:1: ERROR", ErrorKind::Backend, false),
        ] {
            let error = into_error(line);
            assert_eq!((error.kind(), error.is_temporary()), (kind, temporary), "{line}");
            assert!(error.to_string().contains(line), "{error}");
        }
        assert_eq!(Meaning::of_line("SERVER_ERROR object too large for cache"), Meaning::TooLarge);
    }
}
