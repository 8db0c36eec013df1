//! Listing keys and finding the place of an entry.

use cache_core::{Inspector, KeyPages, KeyState, ListedKey, Location, Result, async_trait};

use crate::{cache::DbCache, entry::check_key, shared::Shared, statement::Row};

/// The maximum number of rows that one statement selects.
const PAGE: usize = 1000;

#[async_trait]
impl Inspector for DbCache {
    /// Lists the keys in their order in the table, by ranges of its primary key, from the database
    /// that is read from.
    fn keys(&self, prefix: &str) -> Box<dyn KeyPages + '_> {
        let first = prefix.as_bytes().to_vec();
        Box::new(Pages { shared: &self.shared, next: Some(first), end: end_of_range(prefix) })
    }

    /// The place is the table and the database that is written to.
    async fn locate(&self, key: &str, side: &str) -> Result<Location> {
        check_key(key)?;
        let (shared, table, now) = (&self.shared, self.shared.writer()?, self.shared.now());
        let rows = shared.select(table, table.statements.sizes(&[key, side])).await?;
        let row = |key: &str| rows.iter().find(|row| row.key == key.as_bytes());
        let is_held = |key| row(key).and_then(|row| row.expires).is_some_and(|at| at < -now);
        Ok(Location {
            place: vec![
                ("table".into(), shared.table_name.clone()),
                ("database".into(), table.database.location().into()),
            ],
            size: row(key)
                .filter(|row| row.expires > Some(now))
                .and_then(|row| u64::try_from(row.number?).ok()),
            is_leased: Some(is_held(key) || is_held(side)),
        })
    }
}

/// The first key after all those that begin with the prefix.
fn end_of_range(prefix: &str) -> Vec<u8> {
    // No UTF-8 text has a byte of 0xFF, so the last byte can be incremented.
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0xFF),
    }
    end
}

/// The rows in a range of keys.
struct Pages<'a> {
    shared: &'a Shared,
    /// The first key of the next page. `None` after the last page.
    next: Option<Vec<u8>>,
    end: Vec<u8>,
}

#[async_trait]
impl KeyPages for Pages<'_> {
    async fn next_page(&mut self) -> Result<Option<Vec<ListedKey>>> {
        let Some(first) = self.next.take() else { return Ok(None) };
        let (table, now) = (self.shared.reader()?, self.shared.now());
        let range = table.statements.range(&first, &self.end, PAGE as i64);
        let rows = self.shared.select(table, range).await?;
        if let Some(last) = rows.get(PAGE - 1) {
            // The smallest key after it.
            self.next = Some([&*last.key, &[0]].concat());
        }
        Ok(Some(rows.iter().map(|row| listed(row, now)).collect()))
    }
}

fn listed(row: &Row, now: i64) -> ListedKey {
    ListedKey {
        key: String::from_utf8_lossy(&row.key).into_owned(),
        state: match row.expires.unwrap_or_default() {
            // The mark of a lease.
            ..0 => KeyState::Lease,
            expires if expires > now => KeyState::Live,
            _ => KeyState::Expired,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_ends_after_all_keys_with_the_prefix() {
        for (prefix, inside, outside) in [
            ("a", "a\u{10FFFF}", "b"),
            ("ž", "žz", "\u{17F}"),
            ("\u{7F}", "\u{7F}\u{10FFFF}", "\u{80}"),
        ] {
            let end = end_of_range(prefix);
            assert!(inside.as_bytes() < &*end && outside.as_bytes() >= &*end, "{prefix:?}");
        }
        assert!("\u{10FFFF}".as_bytes() < &*end_of_range(""));
    }
}
