//! The least that a program could pay: a driver without a pool and without a hop to another thread, its statements prepared
//! once.

use std::path::Path;

use cache_core::async_trait;
use parking_lot::Mutex;
use rusqlite::params_from_iter;
use tokio_postgres::{Client, NoTls, Statement, types::ToSql};

use crate::{
    candidate::{Candidate, VALUE, deadline, now},
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
            .expect("it is set");
        connection.busy_timeout(std::time::Duration::from_secs(10)).expect("it is set");
        Self { connection: Mutex::new(connection), sql }
    }
}

#[async_trait]
impl Candidate for Rusqlite {
    async fn get(&self, key: &str) {
        let connection = self.connection.lock();
        let mut get = connection.prepare_cached(&self.sql.get).expect("it is fine");
        let value: Option<Vec<u8>> =
            get.query_row((key.as_bytes(), now()), |row| row.get(0)).expect("it is there");
        assert!(value.is_some(), "{key}");
    }

    async fn set(&self, key: &str) {
        let connection = self.connection.lock();
        let mut set = connection.prepare_cached(&self.sql.set).expect("it is fine");
        set.execute((key.as_bytes(), VALUE, deadline())).expect("it is stored");
    }

    async fn get_many(&self, keys: &[&str]) {
        let connection = self.connection.lock();
        let mut get = connection.prepare_cached(&self.sql.get_many).expect("it is fine");
        let now = now();
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let args = keys
            .iter()
            .map(|key| key as &dyn rusqlite::ToSql)
            .chain([&now as &dyn rusqlite::ToSql]);
        let rows = get
            .query_map(params_from_iter(args), |row| Ok((row.get(0)?, row.get(1)?)))
            .expect("it answers");
        let found: Vec<(Vec<u8>, Option<Vec<u8>>)> =
            rows.collect::<Result<_, _>>().expect("it answers");
        assert_eq!(found.len(), keys.len());
    }

    async fn set_many(&self, keys: &[&str]) {
        let connection = self.connection.lock();
        let mut set = connection.prepare_cached(&self.sql.set_many).expect("it is fine");
        let deadline = deadline();
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let args = keys.iter().flat_map(|key| [key as &dyn rusqlite::ToSql, &VALUE, &deadline]);
        set.execute(params_from_iter(args)).expect("they are stored");
    }
}

/// One connection to PostgreSQL.
pub(crate) struct TokioPostgres {
    client: Client,
    get: Statement,
    set: Statement,
    get_many: Statement,
    set_many: Statement,
}

impl TokioPostgres {
    pub(crate) async fn connect(url: &str, sql: &Sql) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("it answers");
        tokio::spawn(connection);
        let prepare = async |text: &str| client.prepare(text).await.expect("it is fine");
        let (get, set) = (prepare(&sql.get).await, prepare(&sql.set).await);
        let (get_many, set_many) = (prepare(&sql.get_many).await, prepare(&sql.set_many).await);
        Self { client, get, set, get_many, set_many }
    }
}

#[async_trait]
impl Candidate for TokioPostgres {
    async fn get(&self, key: &str) {
        let row = self
            .client
            .query_one(&self.get, &[&key.as_bytes(), &now()])
            .await
            .expect("it is there");
        assert!(row.get::<_, Option<Vec<u8>>>(0).is_some(), "{key}");
    }

    async fn set(&self, key: &str) {
        let args: [&(dyn ToSql + Sync); 3] = [&key.as_bytes(), &VALUE, &deadline()];
        self.client.execute(&self.set, &args).await.expect("it is stored");
    }

    async fn get_many(&self, keys: &[&str]) {
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let rows = self.client.query(&self.get_many, &[&keys, &now()]).await.expect("it answers");
        let found: Vec<(Vec<u8>, Option<Vec<u8>>)> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(found.len(), keys.len());
    }

    async fn set_many(&self, keys: &[&str]) {
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let args: [&(dyn ToSql + Sync); 3] = [&keys, &vec![VALUE; keys.len()], &deadline()];
        self.client.execute(&self.set_many, &args).await.expect("they are stored");
    }
}
