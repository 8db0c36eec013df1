//! Entries as rows of the table.

use std::borrow::Cow;

use cache_core::{Error, ErrorKind, Result, Value};

use crate::statement::{Arg, Row};

/// The maximum length of a key in bytes. Longer keys are rejected. Django's limit of 250 characters
/// is at most 1,000 bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// A row to be written, except for its `expires`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) number: Option<i64>,
}

impl<'a> Entry<'a> {
    /// The row for a value.
    pub(crate) fn new(key: &'a str, value: &'a Value) -> Result<Self> {
        check_key(key)?;
        match value {
            Value::Int(number) => Ok(Self { key, value: None, number: Some(*number) }),
            Value::Bytes(bytes) => Ok(Self { key, value: Some(bytes), number: None }),
            _ => Err(Error::new(ErrorKind::Encode, "the value is neither an integer nor bytes")
                .in_store("db")),
        }
    }

    /// The approximate number of bytes sent for the entry.
    pub(crate) fn size(&self) -> usize {
        self.key.len() + self.value.map_or(0, <[u8]>::len)
    }

    /// The arguments for `cache_key`, `value`, `number` and `expires`.
    pub(crate) fn args(self, expires: i64) -> [Arg<'a>; 4] {
        [
            Arg::bytes(self.key.as_bytes()),
            Arg::Bytes(self.value.map(Cow::Borrowed)),
            Arg::Int(self.number),
            Arg::int(expires),
        ]
    }
}

pub(crate) fn check_key(key: &str) -> Result<()> {
    if key.len() <= MAX_KEY_BYTES {
        return Ok(());
    }
    let message = format!("the key has {} bytes, the maximum is {MAX_KEY_BYTES}", key.len());
    Err(Error::new(ErrorKind::InvalidKey, message).in_store("db"))
}

/// The value in a row. A row with neither a number nor bytes was not written by this crate
/// and counts as a miss.
pub(crate) fn value(row: Row) -> Option<Value> {
    let value =
        row.number.map(Value::Int).or_else(|| row.value.map(|bytes| Value::Bytes(bytes.into())));
    if value.is_none() {
        tracing::warn!("ignored a row without a value in the cache table");
    }
    value
}
