//! A statement, its arguments and its result, the same for every driver.

use std::{borrow::Cow, sync::Arc};

/// SQL with its arguments.
///
/// The SQL is trusted: only [`Dialect::sql`](crate::dialect::Dialect::sql) creates it, which quotes
/// the names it inserts.
#[derive(Clone, Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) sql: Arc<str>,
    pub(crate) args: Vec<Arg<'a>>,
    pub(crate) columns: Columns,
    pub(crate) scope: Scope,
}

/// What a statement works on, which decides whether it stays prepared and, in SQLite, on which
/// thread it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The entries of the keys among its arguments. Such statements are frequent and fast.
    Entries,
    /// Rows that it selects itself, or the schema. Such statements are rare and can be slow.
    Table,
}

impl Statement<'_> {
    /// Whether the statement only removes rows.
    #[cfg(feature = "sqlite")]
    pub(crate) fn removes(&self) -> bool {
        self.sql.starts_with("DELETE ")
    }

    /// Copies the arguments, for another thread.
    #[cfg(feature = "sqlite")]
    pub(crate) fn to_owned(&self) -> Statement<'static> {
        let args = self.args.iter().map(Arg::to_owned).collect();
        Statement { sql: Arc::clone(&self.sql), args, columns: self.columns, scope: self.scope }
    }

    /// The approximate number of bytes sent for the statement.
    pub(crate) fn size(&self) -> usize {
        const OVERHEAD: usize = 64;
        OVERHEAD + self.sql.len() + self.args.iter().map(Arg::size).sum::<usize>()
    }
}

/// An argument, bound to a placeholder.
#[derive(Clone, Debug)]
pub(crate) enum Arg<'a> {
    Bytes(Option<Cow<'a, [u8]>>),
    Int(Option<i64>),
    Text(Cow<'a, str>),
    /// PostgreSQL only.
    BytesArray(Vec<Option<&'a [u8]>>),
    /// PostgreSQL only.
    IntArray(Vec<Option<i64>>),
}

impl<'a> Arg<'a> {
    pub(crate) fn bytes(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(Cow::Borrowed(bytes)))
    }

    pub(crate) fn int(number: i64) -> Self {
        Self::Int(Some(number))
    }

    #[cfg(feature = "sqlite")]
    fn to_owned(&self) -> Arg<'static> {
        match self {
            Self::Bytes(bytes) => {
                Arg::Bytes(bytes.as_ref().map(|bytes| Cow::Owned(bytes.to_vec())))
            }
            Self::Int(number) => Arg::Int(*number),
            Self::Text(text) => Arg::Text(Cow::Owned(text.to_string())),
            Self::BytesArray(_) | Self::IntArray(_) => {
                unreachable!("statements for SQLite have no array arguments")
            }
        }
    }

    pub(crate) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    fn size(&self) -> usize {
        const OVERHEAD: usize = 12;
        match self {
            Self::Bytes(bytes) => OVERHEAD + bytes.as_ref().map_or(0, |bytes| bytes.len()),
            Self::Int(_) => OVERHEAD,
            Self::Text(text) => OVERHEAD + text.len(),
            Self::BytesArray(array) => {
                array.iter().map(|bytes| OVERHEAD + bytes.map_or(0, <[u8]>::len)).sum()
            }
            Self::IntArray(array) => OVERHEAD * array.len(),
        }
    }
}

/// The columns of the rows that a statement returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Columns {
    /// No rows.
    None,
    /// `value`, `number`
    Entry,
    /// `cache_key`, `value`, `number`
    KeyedEntry,
    /// `value`, `number`, `expires`; and an integer if the statement stores marks of leases
    Leasable,
    /// `cache_key`
    Key,
    /// `cache_key`, `expires`, an integer
    Listed,
    /// An integer.
    Number,
    /// Text, text, an integer: see [`Schema::inspect`](crate::dialect::Schema::inspect).
    Inspection,
}

/// A row. Only the fields that belong to the statement's [`Columns`] are set.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) number: Option<i64>,
    /// `None` if there is no row under the key, but the statement returns one.
    pub(crate) expires: Option<i64>,
    /// How many marks were stored.
    pub(crate) marks: i64,
    pub(crate) texts: [Option<String>; 2],
}

/// The result of a statement.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Row>,
    /// The number of rows changed, or returned.
    pub(crate) affected: u64,
    /// MySQL: the argument of `LAST_INSERT_ID`.
    pub(crate) last_insert_id: u64,
}

impl Outcome {
    /// The number in the first row.
    pub(crate) fn number(&self) -> Option<i64> {
        self.rows.first().and_then(|row| row.number)
    }
}
