//! Tests of the rights of database users, as `docs/production/db.md` lists them.

mod common;

use common::Project;
use sqlx::{AssertSqlSafe, Executor, MySqlPool, PgPool, raw_sql};

/// The SQL statements of the documentation in the `index`th example, for this table.
fn documented(index: usize, table: &str) -> Vec<String> {
    const DOCUMENTATION: &str = include_str!("../../docs/production/db.md");
    let example = DOCUMENTATION.split("```sql\n").nth(index + 1).expect("an example");
    let example = example.split("```").next().unwrap_or_default();
    let user = format!("user_of_{table}");
    example
        .lines()
        .map(|line| line.replace("ON shop.cache", "ON cache").replace("shop", &user))
        .map(|line| line.replace("'…'", "'password'").replace("ON cache", &format!("ON {table}")))
        .collect()
}

/// Checks a cache with a user that has the documented rights, and without each of them.
async fn check_rights<D: sqlx::Database>(url: &str, pool: &sqlx::Pool<D>, index: usize)
where
    for<'pool> &'pool sqlx::Pool<D>: Executor<'pool, Database = D>,
{
    let table = format!("rights_{index}_{}", std::process::id());
    let patient = "connect_timeout=20&statement_timeout=20";
    let cache = |url: &str| Project::new(&format!("default = 'db://{table}?{patient}&url={url}'"));
    cache(url).run(&["createcachetable"]).succeeds();
    let execute = async |sql: &str| {
        pool.execute(raw_sql(AssertSqlSafe(sql.to_owned()))).await.expect(sql);
    };
    for statement in documented(index, &table) {
        execute(&statement).await;
    }
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let project = cache(&format!("{scheme}://user_of_{table}:password@{host}"));
    project.run(&["check"]).succeeds();
    for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
        execute(&format!("REVOKE {right} ON {table} FROM user_of_{table}")).await;
        let finished = project.run(&["check"]).exits_with(1);
        assert!(finished.text().contains("docs/production/db.md"), "{right}: {}", finished.text());
        execute(&format!("GRANT {right} ON {table} TO user_of_{table}")).await;
    }
    execute(&format!("DROP TABLE {table}")).await;
    execute(&format!("DROP USER user_of_{table}")).await;
}

fn url(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run `cargo xtask test`"))
}

#[tokio::test]
async fn postgresql_user_needs_the_documented_rights() {
    let url = url("CACHETTE_POSTGRES_URL");
    check_rights(&url, &PgPool::connect(&url).await.expect("connect"), 0).await;
}

#[tokio::test]
async fn mysql_user_needs_the_documented_rights() {
    let url = url("CACHETTE_MYSQL_URL");
    check_rights(&url, &MySqlPool::connect(&url).await.expect("connect"), 1).await;
}
