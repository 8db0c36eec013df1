//! PostgreSQL and MariaDB.

use sqlx::{Connection as _, MySqlConnection, PgConnection};
use tokio::runtime::Runtime;
use xtask::servers::{Kind, Server};

use crate::{Counts, Subject, servers::start, wire::Wire};

/// A table whose rows are not counted in the background again after the first write. With one
/// connection, that never opens another one while the store is being closed.
fn config(server: &Server, wire: &Wire) -> String {
    let url = server.url().replace(&server.port().to_string(), &wire.port().to_string());
    format!(
        "backend = 'db'\nlocation = 'growth'\n\
         options = {{ url = '{url}', create_table = true, max_entries = 1000000, \
         pool_size = 1, connect_timeout = 20, statement_timeout = 20 }}"
    )
}

pub(crate) struct Postgres {
    wire: Wire,
    server: Server,
}

pub(crate) fn postgres() -> Postgres {
    let server = start(Kind::Postgres);
    Postgres { wire: Wire::before(server.port()), server }
}

impl Postgres {
    /// The blocks and rows that were read so far. A process of the server publishes its numbers
    /// when its connection is closed.
    fn reads(&self, runtime: &Runtime) -> [u64; 2] {
        let blocks =
            "SELECT (heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)::bigint
            FROM pg_statio_user_tables WHERE relname = 'growth'";
        let rows = "SELECT (seq_tup_read + idx_tup_fetch)::bigint
            FROM pg_stat_user_tables WHERE relname = 'growth'";
        runtime.block_on(async {
            let mut server = PgConnection::connect(&self.server.url()).await.expect("it listens");
            let blocks: i64 =
                sqlx::query_scalar(blocks).fetch_one(&mut server).await.expect("a row");
            let rows: i64 = sqlx::query_scalar(rows).fetch_one(&mut server).await.expect("a row");
            [blocks, rows].map(i64::cast_unsigned)
        })
    }
}

impl Subject for Postgres {
    const NAME: &'static str = "PostgreSQL";

    fn config(&self) -> String {
        config(&self.server, &self.wire)
    }

    fn prepare(&mut self, runtime: &Runtime) {
        let quiet = "ALTER TABLE growth SET (autovacuum_enabled = false)";
        runtime.block_on(async {
            let mut server = PgConnection::connect(&self.server.url()).await.expect("it listens");
            sqlx::query(quiet).execute(&mut server).await.expect("it is altered");
        });
    }

    fn count(&mut self, runtime: &Runtime, calls: impl FnOnce()) -> Counts {
        self.wire.wait_until_closed(runtime);
        self.wire.take();
        let before = self.reads(runtime);
        calls();
        self.wire.wait_until_closed(runtime);
        let mut counts = self.wire.take();
        let after = self.reads(runtime);
        counts.push(("blocks", after[0] - before[0]));
        counts.push(("rows read", after[1] - before[1]));
        counts
    }
}

pub(crate) struct Mariadb {
    wire: Wire,
    server: Server,
}

pub(crate) fn mariadb() -> Mariadb {
    let server = start(Kind::Mariadb);
    Mariadb { wire: Wire::before(server.port()), server }
}

impl Mariadb {
    /// The statements that were executed and the rows that were read so far.
    fn work(&self, runtime: &Runtime) -> [u64; 2] {
        let statements = "SELECT CAST(SUM(variable_value) AS UNSIGNED)
            FROM information_schema.global_status WHERE variable_name = 'questions'";
        let rows = "SELECT CAST(SUM(variable_value) AS UNSIGNED)
            FROM information_schema.global_status WHERE variable_name LIKE 'handler_read%'";
        runtime.block_on(async {
            let mut server =
                MySqlConnection::connect(&self.server.url()).await.expect("it listens");
            let statements = sqlx::query_scalar(statements).fetch_one(&mut server).await;
            let rows = sqlx::query_scalar(rows).fetch_one(&mut server).await;
            [statements, rows].map(|number| number.expect("a row"))
        })
    }
}

impl Subject for Mariadb {
    const NAME: &'static str = "MariaDB";

    fn config(&self) -> String {
        config(&self.server, &self.wire)
    }

    fn count(&mut self, runtime: &Runtime, calls: impl FnOnce()) -> Counts {
        self.wire.wait_until_closed(runtime);
        self.wire.take();
        // Reading the numbers changes them, each time by as much.
        let earlier = self.work(runtime);
        let before = self.work(runtime);
        calls();
        self.wire.wait_until_closed(runtime);
        let mut counts = self.wire.take();
        let after = self.work(runtime);
        let work = |index: usize| after[index] + earlier[index] - 2 * before[index];
        counts.push(("statements", work(0)));
        counts.push(("rows read", work(1)));
        counts
    }
}
