//! Making the table, and recognising one that is there.

mod ddl;

use std::fmt;

use cache_core::{Error, ErrorKind, Result};

use crate::{
    cache::{CREATE_TABLE, Node},
    database::Effect,
    dialect::Dialect,
    error::{Failure, Fault},
    statement::{Answers, Arg, Row, Statement},
};

/// The version of the table that this crate makes, and works with. It is noted in the table's comment, in SQLite in the
/// index's definition.
pub const SCHEMA_VERSION: u32 = 1;

/// What [`create_table`](crate::DbCache::create_table) did in a database, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Creation {
    /// The table's name.
    pub table: String,
    /// Where it is, without secrets.
    pub database: String,
    /// What there was before.
    pub found: Found,
    /// The statements that were run, or would be: none where all is well.
    pub sql: Vec<String>,
    /// Whether they were only to be shown.
    pub dry_run: bool,
}

/// A table as it was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// None of this name.
    Nothing,
    /// One of this version, with nothing left to do.
    Current,
    /// One of an older version, or of none, or without its index. Its entries stay.
    Older,
}

impl fmt::Display for Creation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, database, .. } = self;
        match (self.found, self.dry_run) {
            (Found::Current, _) => write!(f, "the table {table:?} is there already, in {database}"),
            (Found::Nothing, false) => write!(f, "made the table {table:?} in {database}"),
            (Found::Older, false) => {
                write!(f, "brought the table {table:?} up to date in {database}")
            }
            (Found::Nothing, true) => write!(f, "would make the table {table:?} in {database}"),
            (Found::Older, true) => {
                write!(f, "would bring the table {table:?} up to date in {database}")
            }
        }
    }
}

/// Makes the table or brings it up to date, or finds out what that would take.
pub(crate) async fn create(node: &Node, unlogged: bool, dry_run: bool) -> Result<Creation> {
    let found = look(node).await.map_err(|failure| told(node, failure))?;
    let (found, templates) = plan(node, found, unlogged)?;
    let sql: Vec<_> = templates.iter().map(|template| node.statements.sql(template)).collect();
    let creation = Creation {
        table: node.statements.table.clone(),
        database: node.database.shown().into(),
        found,
        sql: sql.iter().map(|sql| sql.as_str().to_owned()).collect(),
        dry_run,
    };
    if !dry_run && !sql.is_empty() {
        let statements = sql.into_iter().map(|sql| Statement {
            sql,
            args: Vec::new(),
            answers: Answers::Nothing,
        });
        let done = run(node, statements.collect()).await;
        if done.as_ref().is_err_and(|failure| failure.fault == Fault::IndexThere)
            && has_index(node).await?
        {
            // Another one has made it since it was looked for. What is left to do does no harm twice.
            return Box::pin(create(node, unlogged, dry_run)).await;
        }
        done.map_err(|failure| told(node, failure))?;
    }
    Ok(creation)
}

async fn has_index(node: &Node) -> Result<bool> {
    let found = look(node).await.map_err(|failure| told(node, failure))?;
    Ok(found.and_then(|row| row.number).is_some_and(|indexes| indexes > 0))
}

/// What there is, as the catalogue has it: the note of the version, the columns, and whether `expires` has an index.
async fn look(node: &Node) -> Result<Option<Row>, Failure> {
    let statements = &node.statements;
    let (quoted, index) =
        (statements.dialect.quoted(&statements.table), statements.dialect.index(&statements.table));
    let (template, args) = match statements.dialect {
        Dialect::Sqlite => (
            ddl::SQLITE_LOOK,
            vec![Arg::Text(&index), Arg::Text(&index), Arg::Text(&statements.table)],
        ),
        Dialect::Postgres => (ddl::POSTGRES_LOOK, vec![Arg::Text(&quoted)]),
        Dialect::Mysql => (ddl::MYSQL_LOOK, vec![Arg::Text(&statements.table)]),
    };
    let statement = Statement { sql: statements.sql(template), args, answers: Answers::Texts };
    let outcomes = node.database.run(&[statement], Effect::Read).await?;
    Ok(outcomes.into_iter().next().and_then(|outcome| outcome.rows.into_iter().next()))
}

/// In one transaction where the database can undo such statements, and one after the other where it can't.
async fn run(node: &Node, mut statements: Vec<Statement<'_>>) -> Result<(), Failure> {
    match node.statements.dialect {
        Dialect::Sqlite => {}
        Dialect::Postgres => {
            let lock = Statement {
                sql: node.statements.sql(ddl::POSTGRES_LOCK),
                args: Vec::new(),
                answers: Answers::Nothing,
            };
            statements.insert(0, lock);
        }
        Dialect::Mysql => {
            for statement in statements {
                node.database.run(&[statement], Effect::Idempotent).await?;
            }
            return Ok(());
        }
    }
    node.database.run(&statements, Effect::Idempotent).await.map(drop)
}

/// What is to be done about what there is.
fn plan(node: &Node, found: Option<Row>, unlogged: bool) -> Result<(Found, Vec<String>)> {
    let dialect = node.statements.dialect;
    let Some(row) = found else { return Ok((Found::Nothing, ddl::create(dialect, unlogged))) };
    let [note, columns] = row.texts;
    check_columns(node, &columns.unwrap_or_default())?;
    let has_index = row.number.is_some_and(|indexes| indexes > 0);
    match version_in(&note.unwrap_or_default()) {
        Some(version) if version > SCHEMA_VERSION => Err(wrong(
            node,
            &format!(
                "is of version {version}, and this program knows up to {SCHEMA_VERSION}: use a newer one"
            ),
        )),
        Some(SCHEMA_VERSION) if has_index => Ok((Found::Current, Vec::new())),
        _ => Ok((Found::Older, ddl::upgrade(dialect, has_index))),
    }
}

fn check_columns(node: &Node, columns: &str) -> Result<()> {
    let mut names: Vec<&str> = columns.split(',').collect();
    names.sort_unstable();
    match &*names {
        ["cache_key", "expires", "number", "value"] => Ok(()),
        ["cache_key", "expires", "value"] => Err(wrong(
            node,
            "is a cache table of Django's, which keeps pickles: choose another LOCATION",
        )),
        _ => Err(wrong(
            node,
            &format!("is not a cache's, as its columns are {columns}: choose another LOCATION"),
        )),
    }
}

/// The number in the last `cachette N`.
fn version_in(note: &str) -> Option<u32> {
    let (_, rest) = note.rsplit_once(ddl::NOTE)?;
    let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

fn wrong(node: &Node, why: &str) -> Error {
    let message =
        format!("the table {:?} in {} {why}", node.statements.table, node.database.shown());
    Error::new(ErrorKind::Config, message).in_store("db")
}

fn told(node: &Node, failure: Failure) -> Error {
    failure.told(node.database.shown(), &node.statements.table, CREATE_TABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_last_note_s() {
        assert_eq!(version_in("cachette 1"), Some(1));
        assert_eq!(
            version_in(r#"CREATE INDEX "/* cachette 9 */" ON t (expires /* cachette 12 */)"#),
            Some(12)
        );
        assert_eq!(version_in("somebody's table"), None);
        assert_eq!(version_in(""), None);
    }
}
