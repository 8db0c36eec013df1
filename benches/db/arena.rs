//! A table of so many rows, and all who do their jobs in it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use cache_core::Cache as _;
use cache_db::DbCache;
use cachette_benches::{
    Contest, Peer, Report, task_time,
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
    Bench, DISKCACHE, DJANGO, OURS, RUSQLITE, SQLX, SQLX_NO_PING, SQLX_ONE, TOKIO_POSTGRES,
    bare_sqlx::BareSqlx,
    candidate::{Candidate, HOUR, store, value},
    job::Job,
    limit::{Rusqlite, TokioPostgres},
    sql::Sql,
};

const TABLE: &str = "cache";

/// A table, and who works in it.
pub(crate) struct Arena<'a> {
    bench: &'a Bench,
    pub(crate) database: &'static str,
    pub(crate) rows: u64,
    url: String,
    store: Arc<DbCache>,
    others: Vec<(&'static str, Arc<dyn Candidate>)>,
    peers: Vec<(&'static str, Mutex<Peer>)>,
    /// Of the peers.
    pub(crate) versions: Vec<String>,
    /// How many keys were asked for, and what is the number of the next new one.
    asked: AtomicU64,
    new: AtomicU64,
}

impl<'a> Arena<'a> {
    pub(crate) fn sqlite(bench: &'a Bench, folder: &Path, rows: u64) -> Result<Self, String> {
        let place = |kind: &str| folder.join(format!("{kind} {rows}")).display().to_string();
        let peers =
            [(DJANGO, "django-sqlite", place(DJANGO)), (DISKCACHE, "diskcache", place(DISKCACHE))];
        let file = place("rows");
        let mut arena = Self::new(bench, "SQLite", format!("sqlite:{file}"), rows, &peers)?;
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        let rusqlite = Rusqlite::open(Path::new(&file), Sql::sqlite(TABLE));
        arena.others = vec![(RUSQLITE, Arc::new(rusqlite))];
        let pool = SqlitePoolOptions::new;
        arena
            .add_sqlx(&options, [pool(), pool().test_before_acquire(false)], || Sql::sqlite(TABLE));
        Ok(arena)
    }

    pub(crate) fn postgres(bench: &'a Bench, server: &Server, rows: u64) -> Result<Self, String> {
        let url = bench.runtime.block_on(postgres_database(&server.url(), &format!("rows_{rows}")));
        let peers = [(DJANGO, "django-postgres", url.clone())];
        let mut arena = Self::new(bench, "PostgreSQL", url.clone(), rows, &peers)?;
        let limit = bench.runtime.block_on(TokioPostgres::connect(&url, &Sql::postgres(TABLE)));
        arena.others = vec![(TOKIO_POSTGRES, Arc::new(limit))];
        let options = url.parse().expect("it is a URL");
        let pool = PgPoolOptions::new;
        arena.add_sqlx(&options, [pool(), pool().test_before_acquire(false)], || {
            Sql::postgres(TABLE)
        });
        Ok(arena)
    }

    pub(crate) fn mariadb(bench: &'a Bench, server: &Server, rows: u64) -> Result<Self, String> {
        let mut arena = Self::new(bench, "MariaDB", server.url(), rows, &[])?;
        let options = server.url().parse().expect("it is a URL");
        let pool = MySqlPoolOptions::new;
        arena.add_sqlx(&options, [pool(), pool().test_before_acquire(false)], || {
            Sql::mariadb(TABLE)
        });
        Ok(arena)
    }

    /// The table with its rows, and peers with as many.
    fn new(
        bench: &'a Bench,
        database: &'static str,
        url: String,
        rows: u64,
        peers: &[(&'static str, &str, String)],
    ) -> Result<Self, String> {
        let start = |(name, kind, place): &(&'static str, &str, String)| {
            let peers = bench.peers.as_ref()?;
            Some(peers.start(kind, place, rows).map(|peer| (*name, Mutex::new(peer))))
        };
        let peers: Vec<_> = peers.iter().filter_map(start).collect::<Result<_, _>>()?;
        let store = bench.runtime.block_on(async {
            let store = store(&url, TABLE, false).await;
            fill(&store, rows).await;
            store
        });
        let versions = peers.iter().map(|(_, peer)| peer.lock().ready()).collect();
        let (asked, new) = (AtomicU64::new(0), AtomicU64::new(rows));
        Ok(Self {
            bench,
            database,
            rows,
            url,
            store,
            others: Vec::new(),
            peers,
            versions,
            asked,
            new,
        })
    }

    /// The driver's pool, as it comes and without asking connections whether they are alive, and a connection alone.
    fn add_sqlx<D: sqlx::Database>(
        &mut self,
        options: &<D::Connection as Connection>::Options,
        [as_it_comes, no_ping]: [PoolOptions<D>; 2],
        sql: impl Fn() -> Sql,
    ) where
        BareSqlx<D>: Candidate,
    {
        let one = self.bench.runtime.block_on(BareSqlx::one(options, sql()));
        let _inside = self.bench.runtime.enter();
        let pool =
            |pool: PoolOptions<D>| BareSqlx::pool(pool.connect_lazy_with(options.clone()), sql());
        self.others.push((SQLX, Arc::new(pool(as_it_comes))));
        self.others.push((SQLX_NO_PING, Arc::new(pool(no_ping))));
        self.others.push((SQLX_ONE, Arc::new(one)));
    }

    pub(crate) fn contests(&self, report: &mut Report) {
        for job in Job::ALL {
            let mut contest =
                self.contest(job.name()).candidate(OURS, || self.our_pass(job, &self.store));
            for (name, candidate) in &self.others {
                contest = contest.candidate(name, || self.pass(job, candidate));
            }
            for (name, peer) in &self.peers {
                contest = contest
                    .candidate(name, || peer.lock().time(job.in_python(), self.operations(job)));
            }
            for &(ratio, peer) in job.targets() {
                contest = contest.at_most(ratio, peer);
                if let Some(why) = job.why(peer) {
                    contest = contest.because(why);
                }
            }
            report.add(contest.run(self.bench.rounds));
        }
    }

    /// A set here against one among few rows.
    pub(crate) fn growth(&self, few: &Self, report: &mut Report) {
        const DEEPER: &str = "a million rows are a deeper tree, and pages that are not at hand: where a set in SQLite took 26 µs \
                              more, bare sqlx without a ping took 29 more. In PostgreSQL, rounds differ by half.";
        const FEW: &str = "itself among few rows";
        let set = |arena: &Self| arena.our_pass(Job::Set, &arena.store);
        let contest = self
            .contest("growth of a set")
            .candidate(OURS, || set(self))
            .candidate(FEW, || set(few));
        report.add(contest.at_most(1.25, FEW).because(DEEPER).run(self.bench.rounds));
        for ((name, many), (_, few_rows)) in self.others.iter().zip(&few.others) {
            let contest = self
                .contest(format!("growth of a set by {name}"))
                .candidate(name, || self.pass(Job::Set, many))
                .candidate(FEW, || few.pass(Job::Set, few_rows));
            report.add(contest.run(self.bench.rounds));
        }
        for ((name, many), (_, few)) in self.peers.iter().zip(&few.peers) {
            let time = |peer: &Mutex<Peer>| {
                peer.lock().time(Job::Set.in_python(), self.operations(Job::Set))
            };
            let contest = self.contest(format!("growth of a set by {name}"));
            report.add(
                contest
                    .candidate(name, || time(many))
                    .candidate(FEW, || time(few))
                    .run(self.bench.rounds),
            );
        }
    }

    /// A set in a table that a crash may empty against one in a table that lasts, on a server that waits for its disk.
    pub(crate) fn unlogged(&self, report: &mut Report) {
        const LOGGED: &str = "a table that is logged";
        let unlogged = self.bench.runtime.block_on(async {
            durable(&self.url).await;
            store(&self.url, "unlogged", true).await
        });
        let contest = self
            .contest("set in an UNLOGGED table")
            .candidate(OURS, || self.our_pass(Job::Set, &unlogged))
            .candidate(LOGGED, || self.our_pass(Job::Set, &self.store));
        report.add(contest.run(self.bench.rounds));
    }

    fn contest<'c>(&self, what: impl std::fmt::Display) -> Contest<'c> {
        Contest::new(self.name(what))
    }

    /// What a contest here is called.
    pub(crate) fn name(&self, what: impl std::fmt::Display) -> String {
        format!("{}, {} rows: {what}", self.database, self.rows)
    }

    fn operations(&self, job: Job) -> usize {
        job.operations() / self.bench.parts
    }

    fn our_pass(&self, job: Job, store: &Arc<DbCache>) -> f64 {
        let store: Arc<dyn Candidate> = Arc::<DbCache>::clone(store);
        self.pass(job, &store)
    }

    /// Nanoseconds an operation of a pass. A tenth of its operations goes before, untimed, as others may have changed the
    /// table meanwhile. What it writes is removed.
    fn pass(&self, job: Job, candidate: &Arc<dyn Candidate>) -> f64 {
        let (operations, keys) = (self.operations(job), job.keys());
        let warmup = operations / 10;
        let keys = self.keys(job, (warmup + operations) * keys);
        let batches: Arc<[Vec<String>]> = keys.chunks(job.keys()).map(<[String]>::to_vec).collect();
        let work = |skipped: usize, count: usize| {
            let (candidate, batches) = (Arc::clone(candidate), Arc::clone(&batches));
            task_time(&self.bench.runtime, count, move |number| {
                let (candidate, batches) = (Arc::clone(&candidate), Arc::clone(&batches));
                async move { job.run(candidate, &batches[skipped + number]).await }
            })
        };
        work(0, warmup);
        let time = work(warmup, operations);
        if job.writes() {
            self.bench.runtime.block_on(self.remove(&keys));
        }
        time
    }

    /// So many keys that are there, or new ones.
    fn keys(&self, job: Job, count: usize) -> Vec<String> {
        let count = count as u64;
        if job.writes() {
            let first = self.new.fetch_add(count, Ordering::Relaxed);
            return (first..first + count).map(scattered_key).collect();
        }
        let first = self.asked.fetch_add(count, Ordering::Relaxed);
        (first..first + count)
            .map(|number| scattered_key(scattered_position(number, self.rows)))
            .collect()
    }

    async fn remove(&self, keys: &[String]) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.store.delete_many(&keys).await.expect("they are removed");
    }
}

/// Stores so many rows, and waits for what the store then does in the background.
async fn fill(store: &DbCache, rows: u64) {
    let keys: Vec<String> = (0..rows).map(scattered_key).collect();
    for keys in keys.chunks(10_000) {
        let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), value())).collect();
        cache_core::Cache::set_many(store, &entries, Some(HOUR)).await.expect("there is room");
    }
    store.close().await.expect("nothing is under way");
}

/// Has the server force what it commits to the disk, which those for tests do not.
async fn durable(url: &str) {
    let pool = PgPool::connect(url).await.expect("it answers");
    for statement in ["ALTER SYSTEM SET fsync = on", "SELECT pg_reload_conf()"] {
        sqlx::query(statement).execute(&pool).await.expect("it is changed");
    }
}

/// Makes a database on the server, and answers its URL.
async fn postgres_database(server: &str, name: &str) -> String {
    let pool = PgPool::connect(server).await.expect("it answers");
    let make = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(make).execute(&pool).await.expect("it is made");
    let (place, _) = server.rsplit_once('/').expect("it names a database");
    format!("{place}/{name}")
}
