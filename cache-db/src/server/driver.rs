//! Statements on an sqlx connection.

use crate::statement::{Columns, Outcome, Statement};

/// Runs an expression on the variant of an enum that has one variant per database.
macro_rules! dispatch {
    ($value:expr, $enum:ident($($binding:tt)+) => $body:expr) => {
        match $value {
            #[cfg(feature = "postgres")]
            $enum::Postgres($($binding)+) => $body,
            #[cfg(feature = "mysql")]
            $enum::Mysql($($binding)+) => $body,
        }
    };
}

pub(crate) use dispatch;

/// A statement with its arguments in the format of a driver, which does not borrow them.
pub(crate) struct Bound<D: sqlx::Database> {
    query: sqlx::query::Query<'static, D, D::Arguments>,
    columns: Columns,
}

/// An sqlx database that runs statements.
pub(crate) trait Driver: sqlx::Database {
    /// Encodes the arguments of a statement.
    fn bind(statement: &Statement<'_>) -> Bound<Self>;

    /// Runs the statements: one as it is, several in a transaction.
    ///
    /// If `explicit`, one statement gets a transaction as well, and no statement stays prepared.
    fn run(
        connection: &mut Self::Connection,
        statements: Vec<Bound<Self>>,
        explicit: bool,
    ) -> impl Future<Output = sqlx::Result<Vec<Outcome>>> + Send;
}

/// Implements [`Driver`]: binds arguments, executes statements and decodes rows.
macro_rules! driver {
    (
        $module:ident, $database:ty, $connection:ty,
        begin: $begin:expr, last_insert_id: $last_insert_id:expr, bind_array: $bind_array:expr
    ) => {
        mod $module {
            use std::sync::Arc;

            use sqlx::{AssertSqlSafe, Connection as _, Row as _};

            use super::{Bound, Driver};
            use crate::statement::{Arg, Columns, Outcome, Row, Statement};

            type Query =
                sqlx::query::Query<'static, $database, <$database as sqlx::Database>::Arguments>;
            type QueryResult = <$database as sqlx::Database>::QueryResult;
            type RawRow = <$database as sqlx::Database>::Row;

            impl Driver for $database {
                fn bind(statement: &Statement<'_>) -> Bound<Self> {
                    // `Dialect::sql` has quoted the names in it.
                    let sql = AssertSqlSafe(Arc::clone(&statement.sql));
                    let query = statement.args.iter().fold(sqlx::query::<Self>(sql), bind);
                    Bound { query, columns: statement.columns }
                }

                async fn run(
                    connection: &mut $connection,
                    mut statements: Vec<Bound<Self>>,
                    explicit: bool,
                ) -> sqlx::Result<Vec<Outcome>> {
                    if statements.len() == 1
                        && !explicit
                        && let Some(statement) = statements.pop()
                    {
                        return Ok(vec![run_one(connection, statement, true).await?]);
                    }
                    let mut transaction = connection.begin_with($begin).await?;
                    let mut outcomes = Vec::with_capacity(statements.len());
                    for statement in statements {
                        outcomes.push(run_one(&mut transaction, statement, !explicit).await?);
                    }
                    transaction.commit().await?;
                    Ok(outcomes)
                }
            }

            async fn run_one(
                connection: &mut $connection,
                Bound { query, columns }: Bound<$database>,
                persistent: bool,
            ) -> sqlx::Result<Outcome> {
                let query = query.persistent(persistent);
                if columns == Columns::None {
                    let result = query.execute(connection).await?;
                    let last_insert_id: fn(&QueryResult) -> u64 = $last_insert_id;
                    return Ok(Outcome {
                        affected: result.rows_affected(),
                        last_insert_id: last_insert_id(&result),
                        ..Outcome::default()
                    });
                }
                let rows = query.fetch_all(connection).await?;
                let rows: Vec<Row> =
                    rows.iter().map(|row| decode(row, columns)).collect::<sqlx::Result<_>>()?;
                Ok(Outcome { affected: rows.len() as u64, rows, last_insert_id: 0 })
            }

            fn bind(query: Query, arg: &Arg<'_>) -> Query {
                match arg {
                    Arg::Bytes(bytes) => query.bind(bytes.as_deref()),
                    Arg::Int(number) => query.bind(*number),
                    Arg::Text(text) => query.bind(&**text),
                    Arg::BytesArray(_) | Arg::IntArray(_) => {
                        let bind_array: fn(Query, &Arg<'_>) -> Query = $bind_array;
                        bind_array(query, arg)
                    }
                }
            }

            fn decode(row: &RawRow, columns: Columns) -> sqlx::Result<Row> {
                let empty = Row::default();
                Ok(match columns {
                    Columns::None => empty,
                    Columns::Entry => {
                        Row { value: row.try_get(0)?, number: row.try_get(1)?, ..empty }
                    }
                    Columns::KeyedEntry => Row {
                        key: row.try_get(0)?,
                        value: row.try_get(1)?,
                        number: row.try_get(2)?,
                        ..empty
                    },
                    Columns::Leasable => Row {
                        value: row.try_get(0)?,
                        number: row.try_get(1)?,
                        expires: row.try_get(2)?,
                        marks: row.try_get(3)?,
                        ..empty
                    },
                    Columns::Key => Row { key: row.try_get(0)?, ..empty },
                    Columns::Listed => Row {
                        key: row.try_get(0)?,
                        expires: row.try_get(1)?,
                        number: row.try_get(2)?,
                        ..empty
                    },
                    Columns::Number => Row { number: row.try_get(0)?, ..empty },
                    Columns::Inspection => Row {
                        texts: [row.try_get(0)?, row.try_get(1)?],
                        number: row.try_get(2)?,
                        ..empty
                    },
                })
            }
        }
    };
}

#[cfg(feature = "postgres")]
driver! {
    postgres, sqlx::Postgres, sqlx::PgConnection,
    // Sessions behind pgbouncer and those of an application have their own default.
    begin: "BEGIN ISOLATION LEVEL READ COMMITTED",
    last_insert_id: |_| 0,
    bind_array: |query, arg| match arg {
        Arg::BytesArray(array) => query.bind(array),
        Arg::IntArray(array) => query.bind(array),
        _ => query,
    }
}

#[cfg(feature = "mysql")]
driver! {
    mysql, sqlx::MySql, sqlx::MySqlConnection,
    begin: "BEGIN",
    last_insert_id: |result| result.last_insert_id(),
    bind_array: |_, _| unreachable!("statements for MySQL have no array arguments")
}
