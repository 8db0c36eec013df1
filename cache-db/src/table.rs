//! The cache's table in one database.

use cache_core::{Result, config};

use crate::{
    database::{Database, Engine},
    options::DbOptions,
    statements::Statements,
};

/// A table: the engine of its database and the statements on it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) database: Engine,
    pub(crate) statements: Statements,
}

impl Table {
    /// Checks the name of the table against the rules of the database.
    pub(crate) fn new(name: &str, database: Database, options: &DbOptions) -> Result<Self> {
        let mut database = database.into_engine()?;
        let dialect = database.dialect();
        if let Some(expected) = dialect.violated_name_rule(name) {
            return Err(config::invalid_setting("LOCATION", &format!("{name:?}"), expected));
        }
        database.apply(options);
        Ok(Self { database, statements: Statements::new(dialect, name) })
    }
}
