//! Options of the store, and servers that were started with options.

mod common;

use std::{fs, path::Path, time::Duration};

use cache_core::{Cache, ErrorKind, Value};
use cache_memcached::{MemcachedCache, MemcachedOptions};
use common::{HOUR, bytes, patient, server_with, store_at};
use xtask::servers::{Kind, Server};

fn start(arguments: impl FnOnce(&Path) -> Vec<String>) -> Server {
    Server::start_in(Kind::Memcached, arguments).unwrap_or_else(|error| panic!("{error}"))
}

async fn assert_works(store: &MemcachedCache) {
    store.set("k", bytes("v"), HOUR).await.expect("set");
    assert_eq!(store.get("k").await.expect("get"), Some(bytes("v")));
    store.clear().await.expect("clear");
    assert_eq!(store.get("k").await.expect("get"), None);
    assert!(store.stats().await.expect("stats").entries.is_some());
}

#[tokio::test]
async fn unix_socket_is_supported() {
    let server = start(|folder| vec!["-s".into(), Server::socket(folder).display().to_string()]);
    let path = Server::socket(server.folder()).display().to_string();
    for location in [format!("unix:{path}"), path] {
        let store = MemcachedCache::new(&[location], &patient()).expect("location should be valid");
        assert_works(&store).await;
    }
}

fn server_with_password() -> Server {
    start(|folder| {
        let file = folder.join("passwords");
        fs::write(&file, "ada:lovelace\n").expect("write");
        vec!["-Y".into(), file.display().to_string()]
    })
}

fn as_ada(password: &str) -> MemcachedOptions {
    patient().username("ada").password(password)
}

#[tokio::test]
async fn password_authenticates() {
    let server = server_with_password();
    assert_works(&store_at(&[server.port()], &as_ada("lovelace"))).await;
}

#[tokio::test]
async fn wrong_password_is_reported_and_hidden() {
    let server = server_with_password();
    let store = store_at(&[server.port()], &as_ada("hunter2"));
    let error = store.get("k").await.expect_err("wrong password");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("rejected the username or the password"), "{error}");
    assert!(!error.is_temporary());
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn missing_password_is_reported() {
    let server = server_with_password();
    let error = store_at(&[server.port()], &patient()).get("k").await.expect_err("no password");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("requires a username and a password"), "{error}");
}

/// The same error is returned whether the store knows the limit or the server rejects the value.
#[tokio::test]
async fn value_above_the_limit_of_the_server_is_too_large_and_removes_the_entry() {
    let server = server_with(&["-I", "2m"]);
    let store = store_at(&[server.port()], &patient());
    let value = |size: usize| Value::Bytes(vec![b'x'; size].into());
    for size in [(2 << 20) - 10, (2 << 20) + 1, 9 << 20] {
        store.set("k", value(2 << 10), HOUR).await.expect("set");
        let error = store.set("k", value(size), HOUR).await.expect_err("too large");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let message = error.to_string();
        for fact in ["\"k\"", &(size + 1).to_string(), "2097152"] {
            assert!(message.contains(fact), "{fact}: {message}");
        }
        assert_eq!(store.get("k").await.expect("get"), None, "the old value should be removed");

        let entries = [("a", value(1)), ("k", value(size)), ("b", value(1))];
        assert_eq!(store.set_many(&entries, HOUR).await.expect("set_many"), [1]);
        let error = store.add("k", value(size), HOUR).await.expect_err("too large");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
    store.set("k", value(1 << 20), HOUR).await.expect("set");
    assert!(store.get("k").await.expect("get") == Some(value(1 << 20)));
}

/// In quiet mode, the server does not say which value it rejects.
#[tokio::test]
async fn set_many_returns_values_that_the_server_rejects_and_removes_their_entries() {
    let server = server_with(&["-I", "512k"]);
    let store = store_at(&[server.port()], &patient());
    let keys: Vec<String> = (0..40).map(|number| format!("key-{number}")).collect();
    // The server stores some bytes of metadata with an entry.
    let value = |number: usize| {
        Value::Bytes(vec![b'x'; if number % 20 == 7 { 512 << 10 } else { number }].into())
    };
    let old = keys.iter().map(|key| (&**key, Value::Int(1))).collect::<Vec<_>>();
    assert!(store.set_many(&old, HOUR).await.expect("set_many").is_empty());
    let new: Vec<(&str, Value)> =
        keys.iter().enumerate().map(|(number, key)| (&**key, value(number))).collect();
    assert_eq!(store.set_many(&new, HOUR).await.expect("set_many"), [7, 27]);
    for (number, key) in keys.iter().enumerate() {
        let expected = if number % 20 == 7 { None } else { Some(value(number)) };
        assert!(store.get(key).await.expect("get") == expected, "{key}");
    }
}

#[cfg(feature = "tls")]
mod tls {
    use super::*;

    fn certificate() -> (String, String) {
        let generated = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])
            .expect("certificate should be generated");
        (generated.cert.pem(), generated.signing_key.serialize_pem())
    }

    fn server_with_tls() -> Server {
        start(|folder| {
            let (certificate, key) = certificate();
            fs::write(folder.join("cert.pem"), certificate).expect("write");
            fs::write(folder.join("key.pem"), key).expect("write");
            let folder = folder.display();
            let files = format!("ssl_chain_cert={folder}/cert.pem,ssl_key={folder}/key.pem");
            vec!["-Z".into(), "-o".into(), files]
        })
    }

    fn trusting(file: &Path) -> MemcachedOptions {
        patient().tls_ca(file)
    }

    #[tokio::test]
    async fn tls_connection_works_and_is_replaced_after_a_restart() {
        let mut server = server_with_tls();
        let options =
            trusting(&server.folder().join("cert.pem")).dead_timeout(Duration::from_millis(50));
        let store = store_at(&[server.port()], &options);
        assert_works(&store).await;
        let long = bytes(&"long ".repeat(100_000));
        store.set("long", long.clone(), HOUR).await.expect("set");
        assert_eq!(store.get("long").await.expect("get"), Some(long));
        server.kill().expect("kill");
        let error = store.get("k").await.expect_err("server is down");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        server.restart().expect("restart");
        while store.get("k").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_works(&store).await;
    }

    #[tokio::test]
    async fn untrusted_certificate_is_rejected() {
        let server = server_with_tls();
        let other = tempfile::NamedTempFile::new().expect("temporary file");
        fs::write(other.path(), certificate().0).expect("write");
        let store = store_at(&[server.port()], &trusting(other.path()));
        let error = store.get("k").await.expect_err("untrusted");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    }

    #[test]
    fn file_without_certificates_is_a_config_error() {
        for (file, reason) in [("/no/such/file", ""), ("Cargo.toml", "without any")] {
            let error =
                MemcachedCache::new(&["a:1"], &trusting(Path::new(file))).expect_err("invalid");
            assert_eq!(error.kind(), ErrorKind::Config);
            let message = error.to_string();
            assert!(message.starts_with("OPTIONS.tls_ca: "), "{message}");
            assert!(message.contains(&format!("found \"{file}\" ({reason}")), "{message}");
        }
    }
}

#[cfg(feature = "compression")]
#[tokio::test]
async fn compressed_values_are_decompressed_with_or_without_the_option() {
    let server = common::server();
    let options = patient().compress_above(1000);
    let compressing = store_at(&[server.port()], &options);
    let plain = store_at(&[server.port()], &patient());
    let long = bytes(&"all work and no play ".repeat(100_000));
    compressing.set("k", long.clone(), HOUR).await.expect("2 MB should fit when compressed");
    let used = plain.stats().await.expect("stats").bytes.expect("bytes");
    assert!(used < 100_000, "{used}");
    assert!(plain.get("k").await.expect("get") == Some(long));
    let strict = store_at(&[server.port()], &options.max_decompressed(1_000_000));
    assert_eq!(strict.get("k").await.expect("get"), None, "above the limit is a miss");
}
