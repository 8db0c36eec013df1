//! A table with rows, and the clients that use it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::Cache as _;
use cache_db::{DbCache, DbOptions};
use cachette_benches::{
    Client, Comparison, HandleClient, Job, Peer, Report, StoreClient, task_time,
    workload::{scattered_key, scattered_position},
};
use parking_lot::Mutex;
use sqlx::{
    Connection, PgPool,
    mysql::MySqlPoolOptions,
    pool::PoolOptions,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use xtask::servers::Server;

use crate::{
    Bench, DISKCACHE, DJANGO, HANDLE, RUSQLITE, SQLX, SQLX_NO_PING, SQLX_ONE, STORE,
    TOKIO_POSTGRES,
    clients::Sqlx,
    limit::{Rusqlite, TokioPostgres},
    sql::Sql,
};

const TABLE: &str = "cache";
const SQLITE: &str = "SQLite";
const FEW: &str = "the same with few rows";

/// Why a set in SQLite misses its target.
const SQLITE_ITSELF: &str = "\
SQLite itself takes longer than the target: see how far the store is from rusqlite.";

/// Why jobs miss their targets against a single connection.
const POOL: &str = "\
the pool, the time limits and what all statements share take 5,000 instructions, and a get on one \
connection takes 20,000. The timer of a limit also often wakes the thread that waits for the \
runtime's events. Passes of the same candidate differ by a fifth.";

/// Why a set among many rows misses its target.
const DEEPER: &str = "\
a million rows have a deeper tree and pages that are not in memory. Rounds differ by half.";

/// A table and its clients.
pub(crate) struct Fixture<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) database: &'static str,
    pub(crate) rows: u64,
    url: String,
    pub(crate) store: Arc<DbCache>,
    clients: Vec<(&'static str, Arc<dyn Client>)>,
    peers: Vec<(&'static str, Mutex<Peer>)>,
    /// The versions of the peers.
    pub(crate) versions: Vec<String>,
    /// The numbers of the next keys to read and to create.
    next_read: AtomicU64,
    next_new: AtomicU64,
}

impl<'a> Fixture<'a> {
    pub(crate) fn sqlite(bench: &'a Bench, folder: &Path, rows: u64) -> Result<Self, String> {
        let path = |kind: &str| folder.join(format!("{kind} {rows}")).display().to_string();
        let peers =
            [(DJANGO, "django-sqlite", path(DJANGO)), (DISKCACHE, "diskcache", path(DISKCACHE))];
        let file = path("rows");
        let mut fixture = Self::new(bench, SQLITE, format!("sqlite:{file}"), rows, &peers)?;
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        let handle = HandleClient::new(Arc::<DbCache>::clone(&fixture.store));
        fixture.clients.insert(0, (HANDLE, Arc::new(handle)));
        let rusqlite = Rusqlite::open(Path::new(&file), Sql::sqlite(TABLE));
        fixture.clients.push((RUSQLITE, Arc::new(rusqlite)));
        fixture.add_sqlx(&options, SqlitePoolOptions::new, || Sql::sqlite(TABLE));
        Ok(fixture)
    }

    pub(crate) fn postgres(bench: &'a Bench, server: &Server, rows: u64) -> Result<Self, String> {
        let url = bench.runtime.block_on(create_database(&server.url(), &format!("rows_{rows}")));
        let peers = [(DJANGO, "django-postgres", url.clone())];
        let mut fixture = Self::new(bench, "PostgreSQL", url.clone(), rows, &peers)?;
        let limit = bench.runtime.block_on(TokioPostgres::connect(&url, &Sql::postgres(TABLE)));
        fixture.clients.push((TOKIO_POSTGRES, Arc::new(limit)));
        let options = url.parse().expect("a URL");
        fixture.add_sqlx(&options, PgPoolOptions::new, || Sql::postgres(TABLE));
        Ok(fixture)
    }

    pub(crate) fn mariadb(bench: &'a Bench, server: &Server, rows: u64) -> Result<Self, String> {
        let mut fixture = Self::new(bench, "MariaDB", server.url(), rows, &[])?;
        let options = server.url().parse().expect("a URL");
        fixture.add_sqlx(&options, MySqlPoolOptions::new, || Sql::mariadb(TABLE));
        Ok(fixture)
    }

    /// Creates the table with its rows, and peers with as many entries.
    fn new(
        bench: &'a Bench,
        database: &'static str,
        url: String,
        rows: u64,
        peers: &[(&'static str, &str, String)],
    ) -> Result<Self, String> {
        let start = |(name, kind, location): &(&'static str, &str, String)| {
            let peers = bench.peers.as_ref()?;
            Some(peers.start(kind, location, rows).map(|peer| (*name, Mutex::new(peer))))
        };
        let peers: Vec<_> = peers.iter().filter_map(start).collect::<Result<_, _>>()?;
        let store = bench.runtime.block_on(async {
            let store = store(&url, TABLE, false).await;
            fill(&store, rows).await;
            store
        });
        let versions = peers.iter().map(|(_, peer)| peer.lock().ready()).collect();
        let (next_read, next_new) = (AtomicU64::new(0), AtomicU64::new(rows));
        let clients = vec![(STORE, client(&store))];
        Ok(Self {
            bench,
            database,
            rows,
            url,
            store,
            clients,
            peers,
            versions,
            next_read,
            next_new,
        })
    }

    /// Adds the driver's pool with its defaults, without pings, and a single connection.
    fn add_sqlx<D: sqlx::Database>(
        &mut self,
        options: &<D::Connection as Connection>::Options,
        pool_options: impl Fn() -> PoolOptions<D>,
        sql: impl Fn() -> Sql,
    ) where
        Sqlx<D>: Client + 'static,
    {
        let one = self.bench.runtime.block_on(Sqlx::one(options, sql()));
        let _context = self.bench.runtime.enter();
        let pool =
            |pool: PoolOptions<D>| Sqlx::pool(pool.connect_lazy_with(options.clone()), sql());
        self.clients.push((SQLX, Arc::new(pool(pool_options()))));
        self.clients
            .push((SQLX_NO_PING, Arc::new(pool(pool_options().test_before_acquire(false)))));
        self.clients.push((SQLX_ONE, Arc::new(one)));
    }

    /// Compares all clients in each job.
    pub(crate) fn jobs(&self, report: &mut Report) {
        for job in Job::ALL {
            let mut comparison = self.comparison(job_name(job));
            for (name, client) in &self.clients {
                comparison = comparison.candidate(name, || self.pass(job, client));
            }
            for (name, peer) in &self.peers {
                comparison = comparison.candidate(name, || self.peer_pass(job, peer));
            }
            for &(ratio, peer, reason) in targets(self.database, job) {
                comparison = comparison.at_most(ratio, peer);
                if let Some(reason) = reason {
                    comparison = comparison.because(reason);
                }
            }
            report.add(comparison.run(self.bench.rounds));
        }
    }

    /// Compares a job in this table with the same in a table with few rows.
    pub(crate) fn growth(&self, few: &Self, job: Job, report: &mut Report) {
        let growth = |name: &str| match name {
            STORE => format!("growth of a {}", job.name()),
            name => format!("growth of a {} by {name}", job.name()),
        };
        for ((name, many), (_, client)) in self.clients.iter().zip(&few.clients) {
            let mut comparison = self
                .comparison(growth(name))
                .candidate(name, || self.pass(job, many))
                .candidate(FEW, || few.pass(job, client));
            if *name == STORE {
                comparison = match self.database {
                    SQLITE => comparison.at_most(2.5, FEW),
                    _ => comparison.at_most(1.25, FEW).because(DEEPER),
                };
            }
            report.add(comparison.run(self.bench.rounds));
        }
        for ((name, many), (_, few)) in self.peers.iter().zip(&few.peers) {
            let comparison = self
                .comparison(growth(name))
                .candidate(name, || self.peer_pass(job, many))
                .candidate(FEW, || self.peer_pass(job, few));
            report.add(comparison.run(self.bench.rounds));
        }
    }

    /// Compares a set in an unlogged table, which a crash empties, with one in a logged table. The
    /// server waits for its disk.
    pub(crate) fn unlogged(&self, report: &mut Report) {
        let (unlogged, logged) = self.bench.runtime.block_on(async {
            enable_fsync(&self.url).await;
            (client(&store(&self.url, "unlogged", true).await), client(&self.store))
        });
        let comparison = self
            .comparison("set in an UNLOGGED table")
            .candidate(STORE, || self.pass(Job::Set, &unlogged))
            .candidate("a logged table", || self.pass(Job::Set, &logged));
        report.add(comparison.run(self.bench.rounds));
    }

    pub(crate) fn comparison<'c>(&self, job: impl std::fmt::Display) -> Comparison<'c> {
        Comparison::new(self.name(job))
    }

    /// The name of a comparison.
    pub(crate) fn name(&self, job: impl std::fmt::Display) -> String {
        format!("{}, {} rows: {job}", self.database, self.rows)
    }

    fn operations(&self, job: Job) -> usize {
        let operations = match job {
            Job::Get => 1000,
            Job::Set => 500,
            Job::GetMany => 200,
            Job::SetMany => 40,
        };
        operations / self.bench.divisor
    }

    fn peer_pass(&self, job: Job, peer: &Mutex<Peer>) -> f64 {
        peer.lock().time(job.name(), self.operations(job))
    }

    /// Returns nanoseconds per operation. A tenth as many operations run untimed before, because
    /// other candidates may have changed the table. Removes what it wrote.
    fn pass(&self, job: Job, client: &Arc<dyn Client>) -> f64 {
        let operations = self.operations(job);
        let warm_up = operations / 10;
        let keys: Arc<[String]> = self.keys(job, (warm_up + operations) * job.keys()).into();
        let work = |first: usize, count: usize| {
            let (client, keys) = (Arc::clone(client), Arc::clone(&keys));
            task_time(&self.bench.runtime, count, move |number| {
                let (client, keys) = (Arc::clone(&client), Arc::clone(&keys));
                async move {
                    let first = (first + number) * job.keys();
                    let keys = &keys[first..first + job.keys()];
                    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                    job.run(&*client, &keys).await;
                }
            })
        };
        work(0, warm_up);
        let time = work(warm_up, operations);
        if writes(job) {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            self.bench.runtime.block_on(self.store.delete_many(&keys)).expect("no error");
        }
        time
    }

    /// Returns stored or new keys.
    fn keys(&self, job: Job, count: usize) -> Vec<String> {
        let count = count as u64;
        if writes(job) {
            let first = self.next_new.fetch_add(count, Ordering::Relaxed);
            return (first..first + count).map(scattered_key).collect();
        }
        let first = self.next_read.fetch_add(count, Ordering::Relaxed);
        (first..first + count)
            .map(|number| scattered_key(scattered_position(number, self.rows)))
            .collect()
    }
}

pub(crate) fn job_name(job: Job) -> &'static str {
    match job {
        Job::Get => "get",
        Job::Set => "set of a new key",
        Job::GetMany => "get_many of 100",
        Job::SetMany => "set_many of 100 new keys",
    }
}

fn writes(job: Job) -> bool {
    matches!(job, Job::Set | Job::SetMany)
}

/// The highest allowed ratio to each candidate, and the reason if it is missed.
fn targets(database: &str, job: Job) -> &'static [(f64, &'static str, Option<&'static str>)] {
    match (database, job) {
        (SQLITE, Job::Get) => &[(1.6, RUSQLITE, None), (0.7, DISKCACHE, None)],
        (SQLITE, Job::Set) => &[(2.5, RUSQLITE, None), (0.2, DISKCACHE, Some(SQLITE_ITSELF))],
        (SQLITE, Job::GetMany) => &[(1.5, RUSQLITE, None)],
        (SQLITE, Job::SetMany) => {
            &[(1.5, RUSQLITE, None), (0.12, DISKCACHE, None), (0.02, DJANGO, None)]
        }
        (_, Job::Get | Job::Set) => &[(1.15, SQLX_NO_PING, None), (1.15, SQLX_ONE, Some(POOL))],
        (_, Job::GetMany | Job::SetMany) => {
            &[(1.2, SQLX_NO_PING, None), (1.2, SQLX_ONE, Some(POOL))]
        }
    }
}

fn client(store: &Arc<DbCache>) -> Arc<dyn Client> {
    let store: Arc<DbCache> = Arc::clone(store);
    Arc::new(StoreClient(store))
}

/// Opens the store in `table`, which it creates if it is missing.
async fn store(url: &str, table: &str, unlogged: bool) -> Arc<DbCache> {
    let mut options = DbOptions::new(url);
    options.max_entries = 10_000_000;
    options.unlogged = unlogged;
    options.statement_timeout = Duration::from_secs(60);
    let store = DbCache::new(table, options).expect("valid options");
    store.create_table(false).await.expect("it is created");
    Arc::new(store)
}

/// Stores the rows, and waits for the background work of the store.
async fn fill(store: &Arc<DbCache>, rows: u64) {
    let keys: Vec<String> = (0..rows).map(scattered_key).collect();
    let client = HandleClient::new(Arc::<DbCache>::clone(store));
    for keys in keys.chunks(10_000) {
        client.set_many(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    store.close().await.expect("no error");
}

/// Makes the server wait for its disk on commit, which test servers do not.
async fn enable_fsync(url: &str) {
    let pool = PgPool::connect(url).await.expect("it connects");
    for statement in ["ALTER SYSTEM SET fsync = on", "SELECT pg_reload_conf()"] {
        sqlx::query(statement).execute(&pool).await.expect("no error");
    }
}

/// Creates a database on the server. Returns its URL.
async fn create_database(server: &str, name: &str) -> String {
    let pool = PgPool::connect(server).await.expect("it connects");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&pool).await.expect("no error");
    let (address, _) = server.rsplit_once('/').expect("it names a database");
    format!("{address}/{name}")
}
