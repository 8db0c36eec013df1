//! What servers can be started with, and what can be set about the store.

mod common;

use std::{fs, path::Path, time::Duration};

use cache_core::{Cache, ErrorKind, Value};
use cache_memcached::{MemcachedCache, MemcachedOptions};
use common::{HOUR, bytes, patient, server_with, store_at};
use xtask::servers::{Kind, Server};

fn start(arguments: impl FnOnce(&Path) -> Vec<String>) -> Server {
    Server::start_in(Kind::Memcached, arguments).unwrap_or_else(|why| panic!("{why}"))
}

async fn works(store: &MemcachedCache) {
    store.set("k", bytes("v"), HOUR).await.expect("it is stored");
    assert_eq!(store.get("k").await.expect("it answers"), Some(bytes("v")));
    store.clear().await.expect("it is emptied");
    assert_eq!(store.get("k").await.expect("it answers"), None);
    assert!(store.stats().await.expect("it tells").entries.is_some());
}

#[tokio::test]
async fn a_server_can_be_behind_a_unix_socket() {
    let server = start(|folder| vec!["-s".into(), Server::socket(folder).display().to_string()]);
    let path = Server::socket(server.folder()).display().to_string();
    works(&MemcachedCache::new(&[format!("unix:{path}")], &patient()).expect("it is fine")).await;
    works(&MemcachedCache::new(&[path], &patient()).expect("it is fine")).await;
}

fn with_a_password() -> Server {
    start(|folder| {
        let file = folder.join("passwords");
        fs::write(&file, "ada:lovelace\n").expect("there is room");
        vec!["-Y".into(), file.display().to_string()]
    })
}

fn as_ada(password: &str) -> MemcachedOptions {
    patient().username("ada".to_owned()).password(password.to_owned())
}

#[tokio::test]
async fn a_server_can_ask_for_a_password() {
    let server = with_a_password();
    works(&store_at(&[server.port()], &as_ada("lovelace"))).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let server = with_a_password();
    let error =
        store_at(&[server.port()], &as_ada("hunter2")).get("k").await.expect_err("it is wrong");
    assert!(
        error.to_string().contains(": it refuses the username or the password: it answers "),
        "{error}"
    );
    assert!(!error.is_temporary() && !format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_missing_password_is_told() {
    let server = with_a_password();
    let error = store_at(&[server.port()], &patient()).get("k").await.expect_err("it is missing");
    assert!(error.to_string().contains("or it asks for a username and a password"), "{error}");
}

/// Bytes above the limit are never sent where the limit is known, and the server's own refusal is told alike.
#[tokio::test]
async fn a_value_above_the_servers_limit_is_told_with_the_sizes_and_leaves_nothing() {
    let server = server_with(&["-I", "2m"]);
    let store = store_at(&[server.port()], &patient());
    let value = |size: usize| Value::Bytes(vec![b'x'; size].into());
    for size in [(2 << 20) - 10, (2 << 20) + 1, 9 << 20] {
        store.set("k", value(2 << 10), HOUR).await.expect("it is stored");
        let error = store.set("k", value(size), HOUR).await.expect_err("it is too large");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let told = format!(
            "the entry \"k\" takes {} bytes, and 2097152 is the most for one entry",
            size + 1
        );
        assert_eq!(error.to_string(), format!("memcached: {told}"));
        assert_eq!(store.get("k").await.expect("it answers"), None, "the old value is gone");

        let entries = [("a", value(1)), ("k", value(size)), ("b", value(1))];
        assert_eq!(store.set_many(&entries, HOUR).await.expect("one is refused"), [1]);
        assert_eq!(
            store.add("k", value(size), HOUR).await.expect_err("it is too large").kind(),
            ErrorKind::TooLarge
        );
    }
    store.set("k", value(1 << 20), HOUR).await.expect("it is stored");
    assert!(store.get("k").await.expect("it answers") == Some(value(1 << 20)));
}

/// The server does not say which of many it refuses.
#[tokio::test]
async fn of_many_values_those_that_the_server_refuses_are_told_and_leave_nothing() {
    let server = server_with(&["-I", "512k"]);
    let store = store_at(&[server.port()], &patient());
    let keys: Vec<String> = (0..40).map(|number| format!("key-{number}")).collect();
    // The server needs some bytes of its own for an entry.
    let value = |number: usize| {
        Value::Bytes(vec![b'x'; if number % 20 == 7 { 512 << 10 } else { number }].into())
    };
    let old = keys.iter().map(|key| (&**key, Value::Int(1))).collect::<Vec<_>>();
    assert!(store.set_many(&old, HOUR).await.expect("it is stored").is_empty());
    let new: Vec<(&str, Value)> =
        keys.iter().enumerate().map(|(number, key)| (&**key, value(number))).collect();
    assert_eq!(store.set_many(&new, HOUR).await.expect("some are refused"), [7, 27]);
    for (number, key) in keys.iter().enumerate() {
        let expected = if number % 20 == 7 { None } else { Some(value(number)) };
        assert!(store.get(key).await.expect("it answers") == expected, "{key}");
    }
}

#[cfg(feature = "tls")]
mod tls {
    use super::*;

    fn certificate() -> (String, String) {
        let made =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("it is made");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn encrypted() -> Server {
        start(|folder| {
            let (certificate, key) = certificate();
            fs::write(folder.join("cert.pem"), certificate).expect("there is room");
            fs::write(folder.join("key.pem"), key).expect("there is room");
            let folder = folder.display();
            let files = format!("ssl_chain_cert={folder}/cert.pem,ssl_key={folder}/key.pem");
            vec!["-Z".into(), "-o".into(), files]
        })
    }

    fn trusting(file: &Path) -> MemcachedOptions {
        patient().tls_ca(file.to_owned())
    }

    #[tokio::test]
    async fn a_connection_can_be_encrypted() {
        let mut server = encrypted();
        let options =
            trusting(&server.folder().join("cert.pem")).dead_timeout(Duration::from_millis(50));
        let store = store_at(&[server.port()], &options);
        works(&store).await;
        let long = bytes(&"long ".repeat(100_000));
        store.set("long", long.clone(), HOUR).await.expect("it is stored");
        assert_eq!(store.get("long").await.expect("it answers"), Some(long));
        server.kill().expect("it is killed");
        assert_eq!(store.get("k").await.expect_err("it is dead").kind(), ErrorKind::Unavailable);
        server.restart().expect("it starts again");
        while store.get("k").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        works(&store).await;
    }

    #[tokio::test]
    async fn a_certificate_that_is_not_trusted_is_told() {
        let server = encrypted();
        let other = tempfile::NamedTempFile::new().expect("there is room");
        fs::write(other.path(), certificate().0).expect("there is room");
        let error = store_at(&[server.port()], &trusting(other.path()))
            .get("k")
            .await
            .expect_err("not trusted");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("no TLS with it: invalid peer certificate"), "{error}");
    }

    #[test]
    fn a_file_without_certificates_is_a_mistake() {
        for (file, found) in [
            ("/no/such/file", "found \"/no/such/file\" ("),
            ("Cargo.toml", "(without any certificate)"),
        ] {
            let error = MemcachedCache::new(&["a:1"], &trusting(Path::new(file)))
                .expect_err("a mistake")
                .to_string();
            assert!(error.starts_with("OPTIONS.tls_ca: ") && error.contains(found), "{error}");
        }
    }
}

#[cfg(feature = "compression")]
#[tokio::test]
async fn long_values_can_be_compressed_and_are_read_without_that_option() {
    let server = common::server();
    let options = patient().compress_above(1000);
    let (squeezing, plain) =
        (store_at(&[server.port()], &options), store_at(&[server.port()], &patient()));
    let long = bytes(&"all work and no play ".repeat(100_000));
    squeezing.set("k", long.clone(), HOUR).await.expect("two megabytes fit");
    let taken = plain.stats().await.expect("it tells").bytes.expect("it is told");
    assert!(taken < 100_000, "{taken}");
    assert!(plain.get("k").await.expect("it answers") == Some(long));
    let strict = store_at(&[server.port()], &options.max_decompressed(1_000_000));
    assert_eq!(strict.get("k").await.expect("a miss"), None, "it would be too much");
}
