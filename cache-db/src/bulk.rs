//! Operations on several keys: one statement per chunk, all in one transaction.

use std::{collections::HashMap, time::Duration};

use cache_core::{Result, Value};

use crate::{
    database::Effect,
    entry::{self, Entry, check_key},
    shared::Shared,
    statement::Statement,
    statements::Statements,
};

/// The maximum size of the keys and values in one statement. MySQL accepts at least 4 MiB by
/// default.
const MAX_CHUNK_BYTES: usize = 1 << 20;

impl Shared {
    pub(crate) async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let (table, now) = (self.reader()?, self.now());
        let chunks = keys.chunks(table.statements.dialect.max_rows);
        let statements: Vec<Statement<'_>> =
            chunks.map(|keys| table.statements.get_many(keys, now)).collect();
        let outcomes = self.run(table, &statements, Effect::Read).await?;
        let mut values = vec![None; keys.len()];
        let mut positions = HashMap::with_capacity(keys.len());
        let firsts: Vec<usize> = (keys.iter().enumerate())
            .map(|(position, key)| *positions.entry(key.as_bytes()).or_insert(position))
            .collect();
        for row in outcomes.into_iter().flat_map(|outcome| outcome.rows) {
            if let Some(&position) = positions.get(&*row.key) {
                values[position] = entry::value(row);
            }
        }
        for (position, &first) in firsts.iter().enumerate().filter(|(own, first)| own != *first) {
            values[position] = values[first].clone();
        }
        Ok(values)
    }

    /// Stores the entries. If a key is repeated, its last value is stored.
    pub(crate) async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<()> {
        let table = self.writer()?;
        let entries = entries.iter().rev().map(|(key, value)| Entry::new(key, value));
        let mut sorted = entries.collect::<Result<Vec<Entry<'_>>>>()?;
        // Stable, so that the last value of each key comes first and is kept.
        sorted.sort_by_key(|entry| entry.key);
        sorted.dedup_by_key(|entry| entry.key);
        let statements = in_chunks(&table.statements, &sorted, self.deadline(ttl));
        self.run(table, &statements, Effect::Idempotent).await.map(drop)
    }

    pub(crate) async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let (table, now) = (self.writer()?, self.now());
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let chunks = sorted.chunks(table.statements.dialect.max_rows);
        let statements: Vec<Statement<'_>> =
            chunks.map(|keys| table.statements.delete_many(keys, now)).collect();
        let outcomes = self.run(table, &statements, Effect::NotIdempotent).await?;
        let affected = outcomes.iter().map(|outcome| outcome.affected);
        Ok(affected.map(|rows| usize::try_from(rows).unwrap_or(usize::MAX)).sum())
    }
}

/// Builds statements that store the entries, each with a limited number of rows and bytes.
fn in_chunks<'a>(
    statements: &Statements,
    entries: &[Entry<'a>],
    expires: i64,
) -> Vec<Statement<'a>> {
    let mut chunks = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let (chunk, others) =
            rest.split_at(statements.rows_at_once(rows_that_fit(statements, rest)));
        chunks.push(statements.set_many(chunk, expires));
        rest = others;
    }
    chunks
}

/// The number of entries that one statement may store, at least 1.
fn rows_that_fit(statements: &Statements, entries: &[Entry<'_>]) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&Entry<'_>| {
        bytes += entry.size();
        bytes <= MAX_CHUNK_BYTES
    };
    entries.iter().take(statements.dialect.max_rows).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::sqlite::SQLITE;

    /// The numbers of rows in the chunks of entries with these values.
    fn chunks_of(values: &[Vec<u8>]) -> Vec<usize> {
        let statements = Statements::new(&SQLITE, "t");
        let entries: Vec<_> = values
            .iter()
            .map(|value| Entry { key: "k", value: Some(value), number: None })
            .collect();
        let chunks = in_chunks(&statements, &entries, 7);
        chunks.iter().map(|statement| statement.args.len() / 4).collect()
    }

    #[test]
    fn chunk_is_limited_in_rows_and_bytes() {
        assert_eq!(chunks_of(&vec![vec![0; 9]; 1025]), [1024, 1]);
        assert_eq!(chunks_of(&vec![vec![0; MAX_CHUNK_BYTES / 2]; 3]), [1, 1, 1]);
        assert_eq!(chunks_of(&vec![vec![0; MAX_CHUNK_BYTES / 3]; 4]), [2, 2]);
        assert_eq!(chunks_of(&vec![vec![0; 9]; 100]), [64, 32, 4]);
    }

    #[test]
    fn oversized_entry_gets_its_own_chunk() {
        assert_eq!(chunks_of(&[vec![0; 9], vec![0; 3 * MAX_CHUNK_BYTES], vec![0; 9]]), [1, 1, 1]);
    }
}
