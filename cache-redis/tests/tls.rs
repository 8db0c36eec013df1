//! TLS connections to a server with a generated certificate.
#![cfg(feature = "tls")]

mod common;

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use cache_core::{Cache, ErrorKind, Severity, Value};
use cache_redis::{CertReqs, RedisCache, RedisOptions};
use common::{HOUR, fresh, patient, server_with};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use xtask::servers::Server;

/// A server with a TLS port, and the files of its certificates.
struct TlsServer {
    _server: Server,
    port: u16,
    folder: TempDir,
}

/// Creates a certificate for these names and its key. It expires after this time, if there is one.
fn signed(
    names: &[&str],
    issuer: &Issuer<'_, KeyPair>,
    valid_for: Option<Duration>,
) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().copied().map(Into::into).collect();
    let mut params = CertificateParams::new(names).expect("valid names");
    params.distinguished_name.push(DnType::CommonName, "test server");
    if let Some(valid_for) = valid_for {
        params.not_after = (SystemTime::now() + valid_for).into();
    }
    (params.signed_by(&key, issuer).expect("signed"), key)
}

impl TlsServer {
    /// Starts a server with a certificate for these names. `auth_clients` is "yes" if clients must
    /// present a certificate, too.
    fn start(names: &[&str], auth_clients: &str) -> Self {
        Self::start_valid_for(None, names, auth_clients)
    }

    fn start_valid_for(valid_for: Option<Duration>, names: &[&str], auth_clients: &str) -> Self {
        let folder = tempfile::tempdir().expect("written");
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("signed");
        let issuer = Issuer::new(params, key);
        let write =
            |name: &str, text: String| fs::write(folder.path().join(name), text).expect("written");
        write("ca.pem", root.pem());
        for (name, (certificate, key)) in [
            ("server", signed(names, &issuer, valid_for)),
            ("client", signed(&["ada"], &issuer, None)),
        ] {
            write(&format!("{name}.pem"), certificate.pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
        let at = |name: &str| folder.path().join(name).display().to_string();
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .expect("a free port")
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
            auth_clients,
        ]);
        Self { _server: server, port, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self, options: RedisOptions) -> RedisCache {
        fresh(&[format!("rediss://127.0.0.1:{}", self.port)], options)
    }

    /// Options that trust the authority of the certificates.
    fn trusting(&self) -> RedisOptions {
        patient().ssl_ca_certs(self.file("ca.pem"))
    }
}

async fn round_trip(store: &RedisCache) -> Result<(), cache_core::Error> {
    store.set("k", Value::Int(1), HOUR).await?;
    assert_eq!(store.get("k").await?, Some(Value::Int(1)));
    Ok(())
}

#[tokio::test]
async fn trusted_certificate_is_accepted() {
    let server = TlsServer::start(&["127.0.0.1"], "no");
    round_trip(&server.store(server.trusting())).await.expect("trusted by a file");
    let pem = fs::read_to_string(server.file("ca.pem")).expect("a file");
    round_trip(&server.store(patient().ssl_ca_data(pem))).await.expect("trusted by text");
}

#[tokio::test]
async fn certificate_that_expires_soon_is_a_finding() {
    const DAY: Duration = Duration::from_secs(86_400);
    for (valid_for, severity) in [
        (None, None),
        (Some(40 * DAY), None),
        (Some(20 * DAY), Some(Severity::Warning)),
        (Some(3 * DAY), Some(Severity::Error)),
    ] {
        let server = TlsServer::start_valid_for(valid_for, &["127.0.0.1"], "no");
        let findings = server.store(server.trusting()).diagnose().await.expect("examined");
        let found = findings.iter().find(|finding| finding.code == "certificate");
        assert_eq!(found.map(|finding| finding.severity), severity, "{findings:?}");
    }
}

#[tokio::test]
async fn untrusted_certificate_is_rejected_unless_verification_is_disabled() {
    let server = TlsServer::start(&["127.0.0.1"], "no");
    let error = round_trip(&server.store(patient())).await.expect_err("not trusted");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let unverified = server.store(patient().ssl_cert_reqs(CertReqs::None));
    round_trip(&unverified).await.expect("not verified");
}

#[tokio::test]
async fn certificate_for_another_host_is_rejected_unless_the_host_is_not_checked() {
    let server = TlsServer::start(&["redis.example.org"], "no");
    let error = round_trip(&server.store(server.trusting())).await.expect_err("another host");
    assert!(error.to_string().contains("redis.example.org"), "{error}");
    let any_host = server.store(server.trusting().ssl_check_hostname(false));
    round_trip(&any_host).await.expect("the host is not checked");
    let untrusted = server.store(patient().ssl_check_hostname(false));
    assert!(round_trip(&untrusted).await.is_err(), "it must still be trusted");
}

#[tokio::test]
async fn client_certificate_is_presented() {
    let server = TlsServer::start(&["127.0.0.1"], "yes");
    assert!(round_trip(&server.store(server.trusting())).await.is_err());
    let identified = server
        .trusting()
        .ssl_certfile(server.file("client.pem"))
        .ssl_keyfile(server.file("client.key"));
    round_trip(&server.store(identified)).await.expect("accepted");
}

#[test]
fn invalid_certificate_file_error_names_option_and_path() {
    for path in ["/no/such/file", "Cargo.toml"] {
        let options = patient().ssl_ca_certs(path);
        let error = RedisCache::new(&["rediss://localhost"], options).expect_err(path);
        assert_eq!(error.kind(), ErrorKind::Config);
        let message = error.to_string();
        assert!(message.contains("OPTIONS.ssl_ca_certs"), "{message}");
        assert!(message.contains(path), "{message}");
    }
}
