//! Many keys at once: one statement for each chunk, all in one transaction.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use cache_core::{Result, Value};

use super::{Inner, check_key, entry, value};
use crate::{
    database::Effect,
    dialect::{Entry, Statements},
    statement::Statement,
};

/// So many bytes of keys and values go into one statement: MySQL takes 4 MiB at least, as it comes.
const BYTES: usize = 1 << 20;

impl Inner {
    pub(super) async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Value>>> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let (node, now) = (self.reader()?, self.now());
        let chunks = keys.chunks(node.statements.dialect.chunk());
        let plan: Vec<Statement<'_>> =
            chunks.map(|keys| node.statements.get_many(keys, now)).collect();
        let outcomes = self.run(node, &plan, Effect::Read).await?;
        let rows = outcomes.into_iter().flat_map(|outcome| outcome.rows);
        let found: HashMap<Vec<u8>, Value> =
            rows.filter_map(|mut row| Some((std::mem::take(&mut row.key), value(row)?))).collect();
        Ok(keys.iter().map(|key| found.get(key.as_bytes()).cloned()).collect())
    }

    /// Of several entries with one key, the last counts.
    pub(super) async fn set_many(
        &self,
        entries: &[(&str, Value)],
        ttl: Option<Duration>,
    ) -> Result<Vec<usize>> {
        let node = self.writer()?;
        let mut sorted = BTreeMap::new();
        for (key, value) in entries {
            sorted.insert(*key, entry(key, value)?);
        }
        let sorted: Vec<Entry<'_>> = sorted.into_values().collect();
        let plan = set_plan(&node.statements, &sorted, self.deadline(ttl));
        self.run(node, &plan, Effect::Idempotent).await?;
        Ok(Vec::new())
    }

    pub(super) async fn delete_many(&self, keys: &[&str]) -> Result<usize> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let (node, now) = (self.writer()?, self.now());
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let chunks = sorted.chunks(node.statements.dialect.chunk());
        let plan: Vec<Statement<'_>> =
            chunks.map(|keys| node.statements.delete_many(keys, now)).collect();
        let outcomes = self.run(node, &plan, Effect::Once).await?;
        Ok(outcomes
            .iter()
            .map(|outcome| usize::try_from(outcome.affected).unwrap_or(usize::MAX))
            .sum())
    }
}

fn set_plan<'a>(
    statements: &Statements,
    entries: &[Entry<'a>],
    expires: i64,
) -> Vec<Statement<'a>> {
    let mut plan = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (position, entry) in entries.iter().enumerate() {
        let weight = entry.key.len() + entry.value.map_or(0, <[u8]>::len);
        if position > start
            && (position - start == statements.dialect.chunk() || bytes + weight > BYTES)
        {
            plan.push(statements.set_many(&entries[start..position], expires));
            (start, bytes) = (position, 0);
        }
        bytes += weight;
    }
    plan.push(statements.set_many(&entries[start..], expires));
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;

    fn rows(plan: &[Statement<'_>]) -> Vec<usize> {
        plan.iter().map(|statement| statement.args.len() / 4).collect()
    }

    fn plan_of(values: &[Vec<u8>]) -> Vec<usize> {
        let statements = Statements::new(Dialect::Sqlite, "t");
        let entries: Vec<_> = values
            .iter()
            .map(|value| Entry { key: "k", value: Some(value), number: None })
            .collect();
        rows(&set_plan(&statements, &entries, 7))
    }

    #[test]
    fn a_statement_holds_so_many_entries_and_bytes_at_most() {
        assert_eq!(plan_of(&vec![vec![0; 9]; 1025]), [1024, 1]);
        assert_eq!(plan_of(&vec![vec![0; BYTES / 2]; 3]), [1, 1, 1]);
        assert_eq!(plan_of(&vec![vec![0; BYTES / 3]; 4]), [2, 2]);
    }

    #[test]
    fn an_entry_that_is_larger_than_that_goes_alone() {
        assert_eq!(plan_of(&[vec![0; 9], vec![0; 3 * BYTES], vec![0; 9]]), [1, 1, 1]);
    }
}
