//! TLS connections to PostgreSQL, with certificates of a test authority.
#![cfg(all(feature = "postgres", feature = "mysql", feature = "tls"))]

mod common;

use std::{fs, time::Duration};

use cache_core::{Cache, Error, ErrorKind, Value};
use cache_db::{DbCache, DbOptions};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;
use xtask::servers::{Kind, Server};

/// An authority that signs certificates. Its own certificate is in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("the key is generated");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("the parameters are complete");
        let folder = TempDir::new().expect("the directory is created");
        fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("the file is written");
        Self { issuer: Issuer::new(params, key), folder }
    }

    fn file(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// Starts a server whose certificate names this host.
    async fn server(&self, host: &str) -> Server {
        let server = Server::start(Kind::Postgres).unwrap_or_else(|error| panic!("{error}"));
        let key = KeyPair::generate().expect("the key is generated");
        let params = CertificateParams::new([host.to_owned()]).expect("the host name is valid");
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are valid");
        let pool = PgPool::connect(&server.url()).await.expect("the server accepts connections");
        for statement in [
            write_file("server.crt", &certificate.pem()),
            write_file("server.key", &key.serialize_pem()),
            "ALTER SYSTEM SET ssl = on".into(),
            "SELECT pg_reload_conf()".into(),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&pool).await.expect("valid SQL");
        }
        while !accepts_tls(&server).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server
    }
}

/// The statement with which the server writes a file to its directory, readable only to itself.
fn write_file(file: &str, content: &str) -> String {
    format!(
        "COPY (SELECT unnest(string_to_array('{content}', E'\\n'))) \
         TO PROGRAM 'umask 077; cat > {file}'"
    )
}

async fn accepts_tls(server: &Server) -> bool {
    PgPool::connect(&format!("{}?sslmode=require", server.url())).await.is_ok()
}

fn store_on(url: &str) -> DbCache {
    let options = DbOptions::new(url).create_table(true).connect_timeout(Duration::from_secs(20));
    DbCache::new("cache", options).expect("valid options")
}

/// The error of a connection that TLS does not allow.
async fn rejection(url: &str) -> Error {
    let result = store_on(url).set("k", Value::Int(1), None).await;
    let error = result.expect_err("the server is not trusted");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("sslrootcert"), "{error}");
    error
}

#[tokio::test]
async fn connection_to_a_trusted_server_is_encrypted() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1").await;
    let (url, file) = (server.url(), authority.file());
    let store = store_on(&format!("{url}?sslmode=verify-full&sslrootcert={file}"));
    store.set("k", Value::Int(1), None).await.expect("set succeeds");
    assert_eq!(store.get("k").await.expect("get succeeds"), Some(Value::Int(1)));

    let pool = PgPool::connect(&url).await.expect("the server accepts connections");
    let encrypted = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = 'cachette'";
    let encrypted: Vec<bool> =
        sqlx::query_scalar(encrypted).fetch_all(&pool).await.expect("valid SQL");
    assert!(!encrypted.is_empty() && encrypted.iter().all(|&encrypted| encrypted), "{encrypted:?}");
}

#[tokio::test]
async fn certificate_of_an_untrusted_authority_is_rejected() {
    let server = Authority::new().server("127.0.0.1").await;
    let (url, trusted) = (server.url(), Authority::new());
    let error =
        rejection(&format!("{url}?sslmode=verify-full&sslrootcert={}", trusted.file())).await;
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn certificate_for_another_host_is_rejected() {
    let authority = Authority::new();
    let server = authority.server("elsewhere.example").await;
    let (url, file) = (server.url(), authority.file());
    let error = rejection(&format!("{url}?sslmode=verify-full&sslrootcert={file}")).await;
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn server_without_tls_is_rejected_if_tls_is_required() {
    for (url, requirement) in [
        (common::url("CACHETTE_POSTGRES_URL"), "sslmode=require"),
        (common::url("CACHETTE_MYSQL_URL"), "ssl-mode=REQUIRED"),
    ] {
        let error = rejection(&format!("{url}?{requirement}")).await;
        assert!(error.to_string().contains("does not support TLS"), "{error}");
    }
}
