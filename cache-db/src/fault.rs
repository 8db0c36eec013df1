//! The meaning of an error that a database reports.

/// What an error says about the statement that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A lock or a deadlock: nothing was changed, and a retry may succeed.
    Busy,
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
    /// Any other error.
    Other,
}
