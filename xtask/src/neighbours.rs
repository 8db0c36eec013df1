//! Builds and runs an application that uses SQLite beside cachette, through each library that the
//! documentation of cache-db names.
//!
//! Cargo allows one version of `libsqlite3-sys` in a build, so an incompatible version of any of
//! them is an error of the resolver.

use std::{fs, path::Path};

use crate::shell::{self, Outcome, cargo};

const CRATE: &str = "target/neighbours";

const MANIFEST: &str = r#"[package]
name = "neighbours"
edition = "2024"

[workspace]

[dependencies]
cachette = { path = "../..", features = ["db-sqlite"] }
diesel = { version = "2.3", default-features = false, features = ["sqlite"] }
rusqlite = "0.39"
sqlx = { version = "0.9", default-features = false, features = ["runtime-tokio", "sqlite"] }
tokio = { version = "1", features = ["macros", "rt"] }
"#;

/// Each library counts the entries of the cache while it is open.
const MAIN: &str = r#"use cachette::{Caches, Timeout};
use diesel::{Connection as _, RunQueryDsl as _, dsl::sql, sql_types::BigInt};

const COUNT: &str = "SELECT COUNT(*) FROM pages";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::current_exe()?.with_file_name("neighbours.db");
    let file = file.to_str().ok_or("not UTF-8")?;
    let url = format!("db://pages?url=sqlite:{file}&create_table=true");
    let caches = Caches::from_url(&url).await?;
    caches["default"].set("k", &1, Timeout::Default).await?;

    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{file}")).await?;
    let by_sqlx: i64 = sqlx::query_scalar(COUNT).fetch_one(&pool).await?;
    pool.close().await;
    let by_rusqlite: i64 =
        rusqlite::Connection::open(file)?.query_row(COUNT, [], |row| row.get(0))?;
    let mut connection = diesel::SqliteConnection::establish(file)?;
    let by_diesel: i64 = sql::<BigInt>(COUNT).get_result(&mut connection)?;
    drop(connection);
    assert_eq!((by_sqlx, by_rusqlite, by_diesel), (1, 1, 1));

    // The locks of the cache have outlived the other connections.
    assert_eq!(caches["default"].incr("k", 1).await?, 2);
    caches.close_all().await?;
    Ok(())
}
"#;

pub(crate) fn run() -> Outcome {
    write("Cargo.toml", MANIFEST)?;
    write("src/main.rs", MAIN)?;
    shell::run(&mut cargo(["run", "--manifest-path", &format!("{CRATE}/Cargo.toml")]))
}

fn write(name: &str, text: &str) -> Outcome {
    let path = Path::new(CRATE).join(name);
    let written =
        path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
    written.map_err(|error| format!("{}: cannot be written: {error}", path.display()))
}
