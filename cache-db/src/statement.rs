//! A statement, what is bound to it and what it answers, the same for every driver.

use sqlx::SqlStr;

/// SQL with its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) sql: SqlStr,
    pub(crate) args: Vec<Arg<'a>>,
    pub(crate) answers: Answers,
}

impl Statement<'_> {
    /// About how many bytes are sent for it.
    pub(crate) fn size(&self) -> usize {
        const HEAD: usize = 64;
        HEAD + self.sql.as_str().len() + self.args.iter().map(Arg::size).sum::<usize>()
    }
}

/// What is bound to a placeholder.
#[derive(Clone, Debug)]
pub(crate) enum Arg<'a> {
    Bytes(Option<&'a [u8]>),
    Int(Option<i64>),
    Text(&'a str),
    /// An array, which only PostgreSQL has.
    AllBytes(Vec<Option<&'a [u8]>>),
    AllInts(Vec<Option<i64>>),
}

impl<'a> Arg<'a> {
    pub(crate) fn bytes(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(bytes))
    }

    pub(crate) fn int(number: i64) -> Self {
        Self::Int(Some(number))
    }

    fn size(&self) -> usize {
        const HEAD: usize = 12;
        match self {
            Self::Bytes(bytes) => HEAD + bytes.map_or(0, <[u8]>::len),
            Self::Int(_) => HEAD,
            Self::Text(text) => HEAD + text.len(),
            Self::AllBytes(all) => {
                all.iter().map(|bytes| HEAD + bytes.map_or(0, <[u8]>::len)).sum()
            }
            Self::AllInts(all) => HEAD * all.len(),
        }
    }
}

/// The columns of the rows that a statement answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// No rows.
    Nothing,
    /// `value`, `number`
    Entries,
    /// `cache_key`, `value`, `number`
    KeyedEntries,
    /// `cache_key`
    Keys,
    /// an integer
    Number,
    /// text, text, an integer
    Texts,
}

/// A row, as far as the statement answers it.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) number: Option<i64>,
    pub(crate) texts: [Option<String>; 2],
}

/// What came of a statement.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Row>,
    pub(crate) affected: u64,
    /// MySQL: what `LAST_INSERT_ID` was given.
    pub(crate) last_id: u64,
}

/// Makes the module of a driver: how it binds, executes and reads.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
macro_rules! driver {
    ($module:ident, $database:ty, $connection:ty, last_id: $last_id:expr, bind_array: $bind_array:expr) => {
        pub(crate) mod $module {
            use sqlx::Row as _;

            use super::{Answers, Arg, Outcome, Row, Statement};

            type Query<'q> =
                sqlx::query::Query<'q, $database, <$database as sqlx::Database>::Arguments>;
            type RawRow = <$database as sqlx::Database>::Row;

            pub(crate) async fn perform(
                connection: &mut $connection,
                statement: &Statement<'_>,
                persistent: bool,
            ) -> sqlx::Result<Outcome> {
                let query = sqlx::query::<$database>(statement.sql.clone()).persistent(persistent);
                let query = statement.args.iter().fold(query, bind);
                if statement.answers == Answers::Nothing {
                    let done = query.execute(connection).await?;
                    let last_id: fn(&<$database as sqlx::Database>::QueryResult) -> u64 = $last_id;
                    return Ok(Outcome {
                        affected: done.rows_affected(),
                        last_id: last_id(&done),
                        ..Outcome::default()
                    });
                }
                let rows = query.fetch_all(connection).await?;
                let rows: Vec<Row> = rows
                    .iter()
                    .map(|row| read(row, statement.answers))
                    .collect::<sqlx::Result<_>>()?;
                Ok(Outcome { affected: rows.len() as u64, rows, last_id: 0 })
            }

            fn bind<'q>(query: Query<'q>, arg: &Arg<'_>) -> Query<'q> {
                match arg {
                    Arg::Bytes(bytes) => query.bind(*bytes),
                    Arg::Int(number) => query.bind(*number),
                    Arg::Text(text) => query.bind(*text),
                    Arg::AllBytes(_) | Arg::AllInts(_) => {
                        let bind_array: fn(Query<'q>, &Arg<'_>) -> Query<'q> = $bind_array;
                        bind_array(query, arg)
                    }
                }
            }

            fn read(row: &RawRow, answers: Answers) -> sqlx::Result<Row> {
                let nothing = Row::default();
                Ok(match answers {
                    Answers::Nothing => nothing,
                    Answers::Entries => {
                        Row { value: row.try_get(0)?, number: row.try_get(1)?, ..nothing }
                    }
                    Answers::KeyedEntries => Row {
                        key: row.try_get(0)?,
                        value: row.try_get(1)?,
                        number: row.try_get(2)?,
                        ..nothing
                    },
                    Answers::Keys => Row { key: row.try_get(0)?, ..nothing },
                    Answers::Number => Row { number: row.try_get(0)?, ..nothing },
                    Answers::Texts => Row {
                        texts: [row.try_get(0)?, row.try_get(1)?],
                        number: row.try_get(2)?,
                        ..nothing
                    },
                })
            }
        }
    };
}

#[cfg(feature = "sqlite")]
driver! {
    sqlite, sqlx::Sqlite, sqlx::SqliteConnection, last_id: |_| 0,
    bind_array: |_, _| unreachable!("SQLite is given one argument for each key")
}

#[cfg(feature = "postgres")]
driver! {
    postgres, sqlx::Postgres, sqlx::PgConnection, last_id: |_| 0,
    bind_array: |query, arg| match arg {
        Arg::AllBytes(all) => query.bind(all),
        Arg::AllInts(all) => query.bind(all),
        _ => query,
    }
}

#[cfg(feature = "mysql")]
driver! {
    mysql, sqlx::MySql, sqlx::MySqlConnection, last_id: |done| done.last_insert_id(),
    bind_array: |_, _| unreachable!("MySQL is given one argument for each key")
}
