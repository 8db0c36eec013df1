//! createcachetable.

use cachette::stores::{CreateTables, TableCreation, TableState};
use serde_json::{Value as Json, json};

use super::Say;
use crate::{Failure, Outcome, Result, args::Createcachetable, ours::Ours, terminal};

pub(super) async fn create(ours: Ours, wanted: &Createcachetable, say: Say) -> Result<Outcome> {
    if ours.alias().is_some() {
        let failure = Failure::new(
            "createcachetable is told tables, and not a cache: --cache has no meaning here",
        );
        return Err(failure.with_remedy("name the table: `cachette createcachetable TABLE`"));
    }
    let Createcachetable { tables, database, dry_run } = wanted;
    let wanted =
        CreateTables { tables: tables.clone(), database: database.clone(), dry_run: *dry_run };
    let (caches, mut failures) = ours.all();
    let outcomes = caches.create_tables(&wanted).await?;
    // One with a mistake may be kept in a database.
    let is_nothing_to_do = outcomes.is_empty() && failures.is_empty();
    let done: Vec<TableCreation> =
        outcomes.into_iter().filter_map(|outcome| failures.note(outcome)).collect();
    if say.is_json() {
        terminal::say_json(&done.iter().map(as_json).collect())?;
    } else if is_nothing_to_do {
        terminal::say("no cache is kept in a database: there is nothing to do")?;
    } else {
        done.iter().try_for_each(tell)?;
    }
    Ok(failures.told())
}

/// What a dry run prints can be run as it is.
fn tell(creation: &TableCreation) -> Result<()> {
    if !creation.dry_run {
        return terminal::say(creation.to_string());
    }
    terminal::say(format!("-- {creation}"))?;
    creation.sql.iter().try_for_each(|sql| terminal::say(format!("{sql};")))
}

fn as_json(creation: &TableCreation) -> Json {
    let TableCreation { table, database, state, sql, dry_run, .. } = creation;
    let found = match state {
        TableState::Missing => "nothing",
        TableState::Current => "current",
        TableState::Outdated => "older",
        _ => "something else",
    };
    json!({"table": table, "database": database, "found": found, "sql": sql, "dry_run": dry_run})
}
