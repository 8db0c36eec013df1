//! Creation of the table, and inspection of an existing one.

use std::fmt;

use cache_core::{Error, ErrorKind, Result};

use crate::{
    database::Effect,
    dialect::NameArg,
    error::Failure,
    fault::Fault,
    statement::{Arg, Columns, Row, Scope, Statement},
    table::Table,
};

/// The version of the table that this crate creates and uses. It is noted in the comment of the
/// table, for SQLite in the definition of the index.
pub const SCHEMA_VERSION: u32 = 1;

/// The text before the version in the version note.
const NOTE: &str = "cachette ";

/// How to create a missing table, for errors if no configuration file is known.
pub(crate) const CREATE_TABLE: &str = "DbCache::create_table";

/// What [`create_table`](crate::DbCache::create_table) did in a database, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableCreation {
    /// The name of the table.
    pub table: String,
    /// The location of the database, without secrets.
    pub database: String,
    /// The state of the table before the call.
    pub state: TableState,
    /// The statements that were run, or would be. Empty if the table was up to date.
    pub sql: Vec<String>,
    /// Whether nothing was run.
    pub dry_run: bool,
}

/// The state of a cache table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableState {
    /// There is no table of this name.
    Missing,
    /// The table is up to date.
    Current,
    /// The table has an older version, no version, or no index. An upgrade keeps its entries.
    Outdated,
}

impl fmt::Display for TableCreation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, database, .. } = self;
        let action = match (self.state, self.dry_run) {
            (TableState::Current, _) => {
                return write!(f, "table {table:?} in {database} is up to date");
            }
            (TableState::Missing, false) => "created",
            (TableState::Outdated, false) => "upgraded",
            (TableState::Missing, true) => "would create",
            (TableState::Outdated, true) => "would upgrade",
        };
        write!(f, "{action} table {table:?} in {database}")
    }
}

/// Creates or upgrades the table, or only returns the plan if `dry_run`.
pub(crate) async fn create(table: &Table, unlogged: bool, dry_run: bool) -> Result<TableCreation> {
    let row = inspect(table).await.map_err(|failure| into_error(table, failure))?;
    let (state, templates) = plan(table, row, unlogged)?;
    let note = format!("{NOTE}{SCHEMA_VERSION}");
    let statements = templates.into_iter().map(|template| Statement {
        sql: table.statements.sql(&template.replace("{note}", &note)),
        args: Vec::new(),
        columns: Columns::None,
        scope: Scope::Table,
    });
    let statements: Vec<_> = statements.collect();
    let creation = TableCreation {
        table: table.statements.table.clone(),
        database: table.database.location().into(),
        state,
        sql: statements.iter().map(|statement| statement.sql.to_string()).collect(),
        dry_run,
    };
    if dry_run || statements.is_empty() {
        return Ok(creation);
    }
    let result = run(table, statements).await;
    if result.as_ref().is_err_and(|failure| failure.fault == Fault::IndexExists)
        && has_index(table).await?
    {
        // Another process has created the index since the inspection. The other statements can be
        // repeated.
        return Box::pin(create(table, unlogged, dry_run)).await;
    }
    result.map_err(|failure| into_error(table, failure))?;
    Ok(creation)
}

async fn has_index(table: &Table) -> Result<bool> {
    let row = inspect(table).await.map_err(|failure| into_error(table, failure))?;
    Ok(row.and_then(|row| row.number).is_some_and(|indexes| indexes > 0))
}

/// Reads what the catalog knows about the table, see
/// [`Schema::inspect`](crate::dialect::Schema::inspect).
async fn inspect(table: &Table) -> Result<Option<Row>, Failure> {
    let schema = &table.statements.dialect.schema;
    let rows = select(table, schema.inspect, schema.inspect_args).await?;
    Ok(rows.into_iter().next())
}

/// Reads facts about the server and the table, see
/// [`Schema::facts`](crate::dialect::Schema::facts).
pub(crate) async fn facts(table: &Table) -> Result<Vec<Row>, Failure> {
    let schema = &table.statements.dialect.schema;
    select(table, schema.facts, schema.facts_args).await
}

/// Runs a query on the catalog.
async fn select(table: &Table, template: &str, args: &[NameArg]) -> Result<Vec<Row>, Failure> {
    let statements = &table.statements;
    let quoted = statements.dialect.quoted(&statements.table);
    let index = (statements.dialect.index_name)(&statements.table);
    let arg = |name: &NameArg| match name {
        NameArg::Table => Arg::text(&statements.table),
        NameArg::QuotedTable => Arg::text(&quoted),
        NameArg::Index => Arg::text(&index),
    };
    let statement = Statement {
        sql: statements.sql(template),
        args: args.iter().map(arg).collect(),
        columns: Columns::Inspection,
        scope: Scope::Table,
    };
    let outcomes = table.database.run(&[statement], Effect::Read).await?;
    Ok(outcomes.into_iter().flat_map(|outcome| outcome.rows).collect())
}

/// Runs the statements in one transaction, or one by one if the database cannot roll them back.
async fn run(table: &Table, mut statements: Vec<Statement<'_>>) -> Result<(), Failure> {
    let schema = &table.statements.dialect.schema;
    if !schema.is_transactional {
        for statement in statements {
            table.database.run(&[statement], Effect::Idempotent).await?;
        }
        return Ok(());
    }
    if let Some(lock) = schema.lock {
        let sql = table.statements.sql(lock);
        let (args, columns, scope) = (Vec::new(), Columns::None, Scope::Table);
        statements.insert(0, Statement { sql, args, columns, scope });
    }
    table.database.run(&statements, Effect::Idempotent).await.map(drop)
}

/// Determines the state of the table and the templates of the statements that bring it up to date.
fn plan(
    table: &Table,
    row: Option<Row>,
    unlogged: bool,
) -> Result<(TableState, Vec<&'static str>)> {
    let schema = &table.statements.dialect.schema;
    let Some(row) = row else {
        let create = if unlogged { schema.create_unlogged } else { schema.create };
        return Ok((TableState::Missing, create.to_vec()));
    };
    let [note, columns] = row.texts;
    check_columns(table, &columns.unwrap_or_default())?;
    let has_index = row.number.is_some_and(|indexes| indexes > 0);
    match version_in(&note.unwrap_or_default()) {
        Some(version) if version > SCHEMA_VERSION => {
            let problem = format!(
                "has version {version}, and this program supports versions up to \
                 {SCHEMA_VERSION}: use a newer release"
            );
            Err(unusable(table, &problem))
        }
        Some(SCHEMA_VERSION) if has_index => Ok((TableState::Current, Vec::new())),
        _ => {
            let add_index = if has_index { &[] } else { schema.add_index };
            Ok((TableState::Outdated, [add_index, schema.upgrade].concat()))
        }
    }
}

fn check_columns(table: &Table, columns: &str) -> Result<()> {
    let mut names: Vec<&str> = columns.split(',').collect();
    names.sort_unstable();
    match &*names {
        ["cache_key", "expires", "number", "value"] => Ok(()),
        ["cache_key", "expires", "value"] => Err(unusable(
            table,
            "is a cache table of Django, which stores pickles: choose another LOCATION",
        )),
        _ => Err(unusable(
            table,
            &format!("is not a cache table (its columns are {columns}): choose another LOCATION"),
        )),
    }
}

/// The number in the last `cachette N`.
fn version_in(note: &str) -> Option<u32> {
    let (_, rest) = note.rsplit_once(NOTE)?;
    let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

fn unusable(table: &Table, problem: &str) -> Error {
    let (name, database) = (&table.statements.table, table.database.location());
    Error::new(ErrorKind::Config, format!("the table {name:?} in {database} {problem}"))
        .in_store("db")
}

fn into_error(table: &Table, failure: Failure) -> Error {
    failure.into_error(table.database.location(), &table.statements.table, CREATE_TABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_taken_from_the_last_note() {
        assert_eq!(version_in("cachette 1"), Some(1));
        assert_eq!(
            version_in(r#"CREATE INDEX "/* cachette 9 */" ON t (expires /* cachette 12 */)"#),
            Some(12)
        );
        assert_eq!(version_in("somebody's table"), None);
        assert_eq!(version_in(""), None);
    }
}
