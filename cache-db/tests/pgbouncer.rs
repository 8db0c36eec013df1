//! PostgreSQL behind pgbouncer in transaction mode. `conformance.rs` runs the suite with the option
//! `pgbouncer` there.
#![cfg(feature = "postgres")]

mod common;

use cache_core::{Cache, ErrorKind};
use cache_db::DbCache;

#[tokio::test]
async fn error_without_the_option_pgbouncer_names_it() {
    let options = common::pgbouncer().pgbouncer(false);
    let store = DbCache::new("cache", options).expect("valid options");
    let error = store.get("k").await.expect_err("pgbouncer rejects the startup settings");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("option pgbouncer = true"), "{error}");
}
