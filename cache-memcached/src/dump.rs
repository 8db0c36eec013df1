//! The list of a server's keys, as `lru_crawler metadump` sends it.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio::time::{Instant, sleep, timeout};

use crate::connect::{ConnectError, Lines, is_error};

/// The maximum number of keys that are read at once.
const PAGE: usize = 1000;

/// For how long a list is requested again from a server that writes another one, or looks for
/// expired items. It goes on for a moment after a client has closed the connection.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// A connection on which a server sends its keys.
///
/// The server walks its hash table in steps. It waits if it is not read from, and stops if the
/// connection is closed.
pub(crate) struct Dump {
    lines: Lines,
    retry_until: Instant,
    /// Whether the last key was read.
    is_complete: bool,
}

/// A key in the list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DumpedKey {
    pub(crate) key: String,
    /// The size of the item in the memory of the server, in bytes.
    size: usize,
}

/// Why the list cannot be read.
#[derive(Debug)]
pub(crate) enum DumpError {
    Connection(ConnectError),
    /// The reply of a server that does not send a list.
    Rejected(String),
}

impl From<ConnectError> for DumpError {
    fn from(error: ConnectError) -> Self {
        Self::Connection(error)
    }
}

impl Dump {
    /// Requests the list on a new connection.
    pub(crate) async fn start(lines: Lines) -> Result<Self, ConnectError> {
        let retry_until = Instant::now() + PATIENCE;
        let mut dump = Self { lines, retry_until, is_complete: false };
        dump.request().await?;
        Ok(dump)
    }

    async fn request(&mut self) -> Result<(), ConnectError> {
        self.lines.write("lru_crawler metadump hash\r\n").await
    }

    /// Returns the next keys, or `None` at the end. The server may be silent for `limit` at most.
    pub(crate) async fn next(
        &mut self,
        limit: Duration,
    ) -> Result<Option<Vec<DumpedKey>>, DumpError> {
        if self.is_complete {
            return Ok(None);
        }
        let mut keys = Vec::new();
        while keys.len() < PAGE {
            let line = timeout(limit, self.lines.read()).await;
            let line = line.map_err(|_| {
                ConnectError::temporary(format!("no part of the list of keys within {limit:?}"))
            })??;
            match &*line {
                "END" => {
                    self.is_complete = true;
                    break;
                }
                // The first line, in place of the list.
                line if line.starts_with("BUSY") && Instant::now() < self.retry_until => {
                    sleep(PAUSE).await;
                    self.request().await?;
                }
                line if is_error(line)
                    || line.starts_with("BUSY")
                    || line.starts_with("BADCLASS") =>
                {
                    return Err(DumpError::Rejected(line.into()));
                }
                line => keys.extend(DumpedKey::parse(line)),
            }
        }
        Ok(Some(keys))
    }
}

impl DumpedKey {
    /// Parses a line: `key=%3A1%3Ak exp=-1 la=1795789480 cas=1 fetch=no cls=1 size=69`. Ignores
    /// other lines.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let key = fields.next()?.strip_prefix("key=")?;
        let size = fields.find_map(|field| field.strip_prefix("size=")?.parse().ok())?;
        Some(Self { key: percent_decode_str(key).decode_utf8_lossy().into_owned(), size })
    }

    /// Whether the item is so small that it may be a stub: besides the key, one has a header of 48
    /// bytes, a CAS token of 8 and three bytes in memcached 1.6 on 64 bits.
    pub(crate) fn may_be_stub(&self) -> bool {
        const LARGEST_STUB: usize = 80;
        self.size <= LARGEST_STUB + self.key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_the_encoded_key_and_the_size() {
        let line =
            "key=%3A1%3A%C5%BElu%C5%A5%2541 exp=1795789541 la=1 cas=2 fetch=no cls=1 size=77";
        let expected = DumpedKey { key: ":1:žluť%41".into(), size: 77 };
        assert_eq!(DumpedKey::parse(line), Some(expected));
        for line in ["", "STAT x", "key=a exp=-1"] {
            assert_eq!(DumpedKey::parse(line), None, "{line}");
        }
    }
}
