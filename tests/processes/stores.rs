//! The stores that processes share, each empty.

use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use xtask::servers::{Kind, Server};

/// A store and a folder for the test. Both end with this value.
pub(crate) struct Shared {
    /// The section of the cache in a configuration.
    pub(crate) config: String,
    pub(crate) folder: TempDir,
    pub(crate) server: Option<Server>,
}

/// Runs functions as tests on each store.
macro_rules! on_each_store {
    ($($test:ident)+) => {
        crate::stores::on_each_store!(@filebased $($test)+);
        crate::stores::on_each_store!(@sqlite $($test)+);
        #[cfg(feature = "db-postgres")]
        crate::stores::on_each_store!(@postgres $($test)+);
        #[cfg(feature = "db-mysql")]
        crate::stores::on_each_store!(@mysql $($test)+);
        crate::stores::on_each_store!(@memcached $($test)+);
        crate::stores::on_each_store!(@redis $($test)+);
    };
    (@$store:ident $($test:ident)+) => {
        mod $store {
            $(#[test]
            fn $test() {
                super::$test(&crate::stores::$store());
            })+
        }
    };
}

pub(crate) use on_each_store;

/// Timeouts are long because the machine may be busy.
pub(crate) fn filebased() -> Shared {
    in_folder(|folder| {
        format!(
            "backend = 'filebased'\nlocation = '{folder}/files'\noptions = {{ lock_timeout = 60 }}"
        )
    })
}

pub(crate) fn sqlite() -> Shared {
    in_folder(|folder| {
        let url = format!("sqlite:{folder}/cache.db");
        database(&url, "busy_timeout = 60")
    })
}

#[cfg(feature = "db-postgres")]
pub(crate) fn postgres() -> Shared {
    in_folder(|_| database(&url("CACHETTE_POSTGRES_URL"), "pool_size = 4"))
}

#[cfg(feature = "db-mysql")]
pub(crate) fn mysql() -> Shared {
    in_folder(|_| database(&url("CACHETTE_MYSQL_URL"), "pool_size = 4"))
}

pub(crate) fn memcached() -> Shared {
    on_server(Kind::Memcached, |server| {
        let location = format!("127.0.0.1:{}", server.port());
        format!(
            "backend = 'memcached'\nlocation = '{location}'\n\
             options = {{ timeout = 20, connect_timeout = 20 }}"
        )
    })
}

pub(crate) fn redis() -> Shared {
    on_server(Kind::Redis, |server| {
        format!(
            "backend = 'redis'\nlocation = '{}'\n\
             options = {{ socket_timeout = 20, socket_connect_timeout = 20 }}",
            server.url()
        )
    })
}

fn in_folder(config: impl FnOnce(&str) -> String) -> Shared {
    // On the disk of the build. The system's temporary folder may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let config = config(folder.path().to_str().expect("valid UTF-8"));
    Shared { config, folder, server: None }
}

fn on_server(kind: Kind, config: impl FnOnce(&Server) -> String) -> Shared {
    let server = Server::start(kind).unwrap_or_else(|error| panic!("{error}"));
    let config = config(&server);
    Shared { server: Some(server), ..in_folder(|_| config) }
}

/// A table that no other test uses.
fn database(url: &str, options: &str) -> String {
    static TABLES: AtomicUsize = AtomicUsize::new(0);
    let number = TABLES.fetch_add(1, Ordering::Relaxed);
    format!(
        "backend = 'db'\nlocation = 'processes {} {number}'\n\
         options = {{ url = '{url}', create_table = true, connect_timeout = 20, \
         statement_timeout = 20, {options} }}",
        std::process::id()
    )
}

#[cfg(any(feature = "db-postgres", feature = "db-mysql"))]
fn url(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: use cargo xtask test"))
}
