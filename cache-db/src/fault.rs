//! The meaning of an error that a database reports.

/// What an error says about the statement that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A lock or a deadlock: nothing was changed, and a retry may succeed.
    Busy,
    /// Only a new connection can help: the server became a replica, is shutting down, or had ended
    /// the connection before. Nothing was changed, and a retry on a new connection may succeed.
    Reconnect,
    /// The connection broke: whether something was changed is unknown, and a new connection may
    /// succeed.
    Disconnected,
    /// The database cannot be reached or did not respond: whether something was changed is unknown.
    Unavailable,
    /// The table does not exist.
    MissingTable,
    /// An index of this name exists.
    IndexExists,
    /// The table has other columns: it belongs to another application.
    ForeignTable,
    /// The value is larger than the database accepts.
    TooLarge,
    /// The disk, or a table with a limited size, has no room.
    Full,
    /// The file or its file system is read-only.
    ReadOnly,
    /// A connection pooler such as pgbouncer rejected what a dedicated connection allows.
    Pooler,
    /// TLS is required and missing, or the server's certificate is not trusted.
    Untrusted,
    /// The connections of a pool that the application passed in have settings that lose writes or
    /// values.
    UnsafeSession,
    /// Any other error.
    Other,
}

impl Fault {
    /// Whether other connections to the server are useless as well.
    pub(crate) fn concerns_all_connections(self) -> bool {
        matches!(self, Self::Reconnect | Self::Disconnected)
    }

    /// Whether the connection that reported the error can be used again.
    pub(crate) fn keeps_the_connection(self) -> bool {
        // MySQL closes the connection after a statement that is too large.
        !matches!(self, Self::Reconnect | Self::Disconnected | Self::Unavailable | Self::TooLarge)
    }
}
