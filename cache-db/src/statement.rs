//! A statement, its arguments and its result, the same for every driver.

use std::sync::Arc;

/// SQL with its arguments.
///
/// The SQL is trusted: only [`Dialect::sql`](crate::dialect::Dialect::sql) creates it, which quotes
/// the names it inserts.
#[derive(Clone, Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) sql: Arc<str>,
    pub(crate) args: Vec<Arg<'a>>,
    pub(crate) columns: Columns,
}

impl Statement<'_> {
    /// The approximate number of bytes sent for the statement.
    pub(crate) fn size(&self) -> usize {
        const OVERHEAD: usize = 64;
        OVERHEAD + self.sql.len() + self.args.iter().map(Arg::size).sum::<usize>()
    }
}

/// An argument, bound to a placeholder.
#[derive(Clone, Debug)]
pub(crate) enum Arg<'a> {
    Bytes(Option<&'a [u8]>),
    Int(Option<i64>),
    Text(&'a str),
    /// PostgreSQL only.
    BytesArray(Vec<Option<&'a [u8]>>),
    /// PostgreSQL only.
    IntArray(Vec<Option<i64>>),
}

impl<'a> Arg<'a> {
    pub(crate) fn bytes(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(bytes))
    }

    pub(crate) fn int(number: i64) -> Self {
        Self::Int(Some(number))
    }

    fn size(&self) -> usize {
        const OVERHEAD: usize = 12;
        match self {
            Self::Bytes(bytes) => OVERHEAD + bytes.map_or(0, <[u8]>::len),
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
    /// `cache_key`
    Key,
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
