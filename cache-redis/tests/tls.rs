//! Encrypted connections, to a server with a certificate that is made for the test.
#![cfg(feature = "tls")]

mod common;

use std::{fs, net::TcpListener, path::PathBuf};

use cache_core::{Cache, ErrorKind, Value};
use cache_redis::{CertReqs, RedisCache, RedisOptions};
use common::{HOUR, fresh, patient, server_with};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use xtask::servers::Server;

/// A server that only talks in secret, and the files of those who vouch for it.
struct Secretive {
    _server: Server,
    port: u16,
    folder: TempDir,
}

/// A certificate for these names and its key, signed by the one that vouches.
fn signed(names: &[&str], issuer: &Issuer<'_, KeyPair>) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().expect("there is chance");
    let names: Vec<String> = names.iter().copied().map(Into::into).collect();
    let mut params = CertificateParams::new(names).expect("they are names");
    params.distinguished_name.push(DnType::CommonName, "one of us");
    (params.signed_by(&key, issuer).expect("it is signed"), key)
}

impl Secretive {
    /// With a certificate for these names; `asks` says whether clients must have one, too.
    fn start(names: &[&str], asks: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
        params.distinguished_name.push(DnType::CommonName, "who vouches");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("there is chance");
        let root = params.self_signed(&key).expect("it is signed");
        let issuer = Issuer::new(params, key);
        let write = |name: &str, text: String| {
            fs::write(folder.path().join(name), text).expect("there is room")
        };
        write("ca.pem", root.pem());
        for (name, (certificate, key)) in
            [("server", signed(names, &issuer)), ("client", signed(&["ada"], &issuer))]
        {
            write(&format!("{name}.pem"), certificate.pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
        let at = |name: &str| folder.path().join(name).display().to_string();
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .expect("there is a port")
            .port();
        let server = server_with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &at("server.pem"),
            "--tls-key-file",
            &at("server.key"),
            "--tls-ca-cert-file",
            &at("ca.pem"),
            "--tls-auth-clients",
            asks,
        ]);
        Self { _server: server, port, folder }
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.path().join(name))
    }

    fn store(&self, set: impl FnOnce(&mut RedisOptions)) -> RedisCache {
        let mut options = patient();
        set(&mut options);
        fresh(&[format!("rediss://127.0.0.1:{}", self.port)], options)
    }
}

async fn works(store: &RedisCache) -> Result<(), cache_core::Error> {
    store.set("k", Value::Int(1), HOUR).await?;
    assert_eq!(store.get("k").await?, Some(Value::Int(1)));
    Ok(())
}

#[tokio::test]
async fn a_server_that_somebody_vouches_for_is_believed() {
    let server = Secretive::start(&["127.0.0.1"], "no");
    works(&server.store(|options| options.ssl_ca_certs = server.file("ca.pem")))
        .await
        .expect("it is believed");
    let text =
        fs::read_to_string(server.file("ca.pem").expect("it is there")).expect("it is there");
    works(&server.store(|options| options.ssl_ca_data = Some(text))).await.expect("it is believed");
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_not_believed_unless_nothing_is_asked() {
    let server = Secretive::start(&["127.0.0.1"], "no");
    let error = works(&server.store(|_| ())).await.expect_err("nobody vouches for it");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    works(&server.store(|options| options.ssl_cert_reqs = CertReqs::None))
        .await
        .expect("nothing is asked");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_believed_unless_that_is_not_asked() {
    let server = Secretive::start(&["redis.example.org"], "no");
    let error = works(&server.store(|options| options.ssl_ca_certs = server.file("ca.pem"))).await;
    assert!(error.expect_err("it is another host's").to_string().contains("redis.example.org"));
    let lenient = server.store(|options| {
        options.ssl_ca_certs = server.file("ca.pem");
        options.ssl_check_hostname = false;
    });
    works(&lenient).await.expect("the name is not asked");
    let stranger = server.store(|options| options.ssl_check_hostname = false);
    assert!(works(&stranger).await.is_err(), "somebody must vouch for it all the same");
}

#[tokio::test]
async fn a_server_that_asks_who_comes_is_shown_a_certificate() {
    let server = Secretive::start(&["127.0.0.1"], "yes");
    let anonymous = server.store(|options| options.ssl_ca_certs = server.file("ca.pem"));
    assert!(works(&anonymous).await.is_err());
    let known = server.store(|options| {
        options.ssl_ca_certs = server.file("ca.pem");
        options.ssl_certfile = server.file("client.pem");
        options.ssl_keyfile = server.file("client.key");
    });
    works(&known).await.expect("it is let in");
}

#[test]
fn files_that_are_none_are_told_by_name() {
    let mut options = patient();
    options.ssl_ca_certs = Some("/no/such/file".into());
    let error =
        RedisCache::new(&["rediss://localhost"], options.clone()).expect_err("it is not there");
    assert!(
        error.to_string().starts_with("OPTIONS.ssl_ca_certs: found \"/no/such/file\" ("),
        "{error}"
    );
    options.ssl_ca_certs = Some("Cargo.toml".into());
    let error =
        RedisCache::new(&["rediss://localhost"], options).expect_err("it is something else");
    let error = error.to_string();
    assert!(error.starts_with("OPTIONS.ssl_ca_certs: found \"Cargo.toml\" ("), "{error}");
    assert!(error.ends_with("expected certificates in PEM"), "{error}");
}
