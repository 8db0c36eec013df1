//! The command `createcachetable`.

use cachette::stores::{CreateTables, TableCreation, TableState};
use serde_json::{Value as Json, json};

use super::Printer;
use crate::{Failure, Outcome, Result, args::Createcachetable, selection::Selection, terminal};

pub(super) async fn create(
    selection: Selection,
    args: &Createcachetable,
    printer: Printer,
) -> Result<Outcome> {
    if selection.alias().is_some() {
        let failure = Failure::new("createcachetable selects tables and does not support --cache");
        return Err(failure.with_help("name the table: `cachette createcachetable TABLE`"));
    }
    let mut selected = CreateTables::default().dry_run(args.dry_run);
    selected.tables.clone_from(&args.tables);
    selected.database.clone_from(&args.database);
    let (caches, mut failures) = selection.into_all();
    let results = caches.create_tables(&selected).await?;
    // A cache that could not be opened may have a table.
    let is_nothing_to_do = results.is_empty() && failures.is_empty();
    let created: Vec<TableCreation> =
        results.into_iter().filter_map(|result| failures.ok(result)).collect();
    if printer.is_json() {
        terminal::print_json(&created.iter().map(as_json).collect())?;
    } else if is_nothing_to_do {
        terminal::print("no cache is stored in a database: nothing to do")?;
    } else {
        created.iter().try_for_each(print)?;
    }
    Ok(failures.report())
}

/// Prints what was done. The output of a dry run is valid SQL.
fn print(creation: &TableCreation) -> Result<()> {
    if !creation.dry_run {
        return terminal::print(creation.to_string());
    }
    terminal::print(format!("-- {creation}"))?;
    creation.sql.iter().try_for_each(|sql| terminal::print(format!("{sql};")))
}

fn as_json(creation: &TableCreation) -> Json {
    let TableCreation { table, database, state, sql, dry_run, .. } = creation;
    let state = match state {
        TableState::Missing => "missing",
        TableState::Current => "current",
        TableState::Outdated => "outdated",
        _ => "unknown",
    };
    json!({"table": table, "database": database, "state": state, "sql": sql, "dry_run": dry_run})
}
