//! The least work that a program needs: a driver with prepared statements, without a pool and
//! without a hop to another thread.

use std::path::Path;

use cache_core::async_trait;
use cachette_benches::{Client, workload::VALUE};
use parking_lot::Mutex;
use rusqlite::params_from_iter;
use tokio_postgres::{Client as PostgresClient, NoTls, Statement, types::ToSql};

use crate::{
    clients::{deadline, now},
    sql::Sql,
};

/// SQLite on the caller's thread.
pub(crate) struct Rusqlite {
    connection: Mutex<rusqlite::Connection>,
    sql: Sql,
}

impl Rusqlite {
    pub(crate) fn open(file: &Path, sql: Sql) -> Self {
        let connection = rusqlite::Connection::open(file).expect("it opens");
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
            .expect("no error");
        connection.busy_timeout(std::time::Duration::from_secs(10)).expect("no error");
        Self { connection: Mutex::new(connection), sql }
    }
}

#[async_trait]
impl Client for Rusqlite {
    async fn get(&self, key: &str) {
        let connection = self.connection.lock();
        let mut get = connection.prepare_cached(&self.sql.get).expect("valid SQL");
        let value: Option<Vec<u8>> =
            get.query_row((key.as_bytes(), now()), |row| row.get(0)).expect("a row");
        assert!(value.is_some(), "{key}");
    }

    async fn set(&self, key: &str) {
        let connection = self.connection.lock();
        let mut set = connection.prepare_cached(&self.sql.set).expect("valid SQL");
        set.execute((key.as_bytes(), &VALUE[..], deadline())).expect("no error");
    }

    async fn get_many(&self, keys: &[&str]) {
        let connection = self.connection.lock();
        let mut get = connection.prepare_cached(&self.sql.get_many).expect("valid SQL");
        let now = now();
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let args = keys
            .iter()
            .map(|key| key as &dyn rusqlite::ToSql)
            .chain([&now as &dyn rusqlite::ToSql]);
        let rows = get
            .query_map(params_from_iter(args), |row| Ok((row.get(0)?, row.get(1)?)))
            .expect("no error");
        let found: Vec<(Vec<u8>, Option<Vec<u8>>)> =
            rows.collect::<Result<_, _>>().expect("no error");
        assert_eq!(found.len(), keys.len());
    }

    async fn set_many(&self, keys: &[&str]) {
        let connection = self.connection.lock();
        let mut set = connection.prepare_cached(&self.sql.set_many).expect("valid SQL");
        let (value, deadline) = (&VALUE[..], deadline());
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let args = keys.iter().flat_map(|key| [key as &dyn rusqlite::ToSql, &value, &deadline]);
        set.execute(params_from_iter(args)).expect("no error");
    }
}

/// One connection to PostgreSQL.
pub(crate) struct TokioPostgres {
    client: PostgresClient,
    get: Statement,
    set: Statement,
    get_many: Statement,
    set_many: Statement,
}

impl TokioPostgres {
    pub(crate) async fn connect(url: &str, sql: &Sql) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("no error");
        tokio::spawn(connection);
        let prepare = async |text: &str| client.prepare(text).await.expect("valid SQL");
        let (get, set) = (prepare(&sql.get).await, prepare(&sql.set).await);
        let (get_many, set_many) = (prepare(&sql.get_many).await, prepare(&sql.set_many).await);
        Self { client, get, set, get_many, set_many }
    }
}

#[async_trait]
impl Client for TokioPostgres {
    async fn get(&self, key: &str) {
        let row =
            self.client.query_one(&self.get, &[&key.as_bytes(), &now()]).await.expect("a row");
        assert!(row.get::<_, Option<Vec<u8>>>(0).is_some(), "{key}");
    }

    async fn set(&self, key: &str) {
        let args: [&(dyn ToSql + Sync); 3] = [&key.as_bytes(), &&VALUE[..], &deadline()];
        self.client.execute(&self.set, &args).await.expect("no error");
    }

    async fn get_many(&self, keys: &[&str]) {
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let rows = self.client.query(&self.get_many, &[&keys, &now()]).await.expect("no error");
        let found: Vec<(Vec<u8>, Option<Vec<u8>>)> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(found.len(), keys.len());
    }

    async fn set_many(&self, keys: &[&str]) {
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let args: [&(dyn ToSql + Sync); 3] = [&keys, &vec![&VALUE[..]; keys.len()], &deadline()];
        self.client.execute(&self.set_many, &args).await.expect("no error");
    }
}
