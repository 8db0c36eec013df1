//! TLS on the way to a real PostgreSQL, whose certificate an authority of the test's own has signed.
#![cfg(all(feature = "postgres", feature = "mysql", feature = "tls"))]

mod common;

use std::{fs, time::Duration};

use cache_core::{Cache, Error, ErrorKind, Value};
use cache_db::{DbCache, DbOptions};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;
use xtask::servers::{Kind, Server};

/// An authority that signs certificates, in a file for those who trust it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("there is chance enough");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("it is complete");
        let folder = TempDir::new().expect("there is room");
        fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("there is room");
        Self { issuer: Issuer::new(params, key), folder }
    }

    fn file(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// A server whose certificate is for this name.
    async fn server(&self, name: &str) -> Server {
        let server = Server::start(Kind::Postgres).unwrap_or_else(|why| panic!("{why}"));
        let key = KeyPair::generate().expect("there is chance enough");
        let params = CertificateParams::new([name.to_owned()]).expect("it is a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("it is complete");
        let pool = PgPool::connect(&server.url()).await.expect("it answers");
        for statement in [
            written("server.crt", &certificate.pem()),
            written("server.key", &key.serialize_pem()),
            "ALTER SYSTEM SET ssl = on".into(),
            "SELECT pg_reload_conf()".into(),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&pool).await.expect("it is done");
        }
        while !speaks_tls(&server).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server
    }
}

/// The statement by which the server writes a file into its folder, for itself alone to read.
fn written(file: &str, content: &str) -> String {
    format!(
        "COPY (SELECT unnest(string_to_array('{content}', E'\\n'))) TO PROGRAM 'umask 077; cat > {file}'"
    )
}

async fn speaks_tls(server: &Server) -> bool {
    PgPool::connect(&format!("{}?sslmode=require", server.url())).await.is_ok()
}

fn store(url: &str) -> DbCache {
    let mut options = DbOptions::new(url);
    options.create_table = true;
    options.connect_timeout = Duration::from_secs(20);
    DbCache::new("cache", options).expect("the options are fine")
}

async fn refused(url: &str) -> Error {
    let error =
        store(url).set("k", Value::Int(1), None).await.expect_err("it is not to be trusted");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("sslrootcert"), "{error}");
    error
}

#[tokio::test]
async fn a_server_that_is_who_it_should_be_is_spoken_to_in_secret() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1").await;
    let store =
        store(&format!("{}?sslmode=verify-full&sslrootcert={}", server.url(), authority.file()));
    store.set("k", Value::Int(1), None).await.expect("it is stored");
    assert_eq!(store.get("k").await.expect("it answers"), Some(Value::Int(1)));

    let pool = PgPool::connect(&server.url()).await.expect("it answers");
    let encrypted = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'cachette'";
    let encrypted: Vec<bool> =
        sqlx::query_scalar(encrypted).fetch_all(&pool).await.expect("it answers");
    assert!(!encrypted.is_empty() && encrypted.iter().all(|&encrypted| encrypted), "{encrypted:?}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let server = Authority::new().server("127.0.0.1").await;
    let trusted = Authority::new();
    let error =
        refused(&format!("{}?sslmode=verify-full&sslrootcert={}", server.url(), trusted.file()))
            .await;
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new();
    let server = authority.server("elsewhere.example").await;
    let error =
        refused(&format!("{}?sslmode=verify-full&sslrootcert={}", server.url(), authority.file()))
            .await;
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_demanded() {
    for (url, demand) in [
        (common::url("CACHETTE_POSTGRES_URL"), "sslmode=require"),
        (common::url("CACHETTE_MYSQL_URL"), "ssl-mode=REQUIRED"),
    ] {
        let error = refused(&format!("{url}?{demand}")).await;
        assert!(error.to_string().contains("does not support TLS"), "{error}");
    }
}
