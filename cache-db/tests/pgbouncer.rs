//! PostgreSQL behind pgbouncer in its transaction mode. That the option `pgbouncer` makes all work there is in
//! `conformance.rs`.
#![cfg(feature = "postgres")]

mod common;

use cache_core::{Cache, ErrorKind};
use cache_db::DbCache;

#[tokio::test]
async fn without_the_option_the_error_names_it() {
    let mut options = common::pgbouncer();
    options.pgbouncer = false;
    let store = DbCache::new("cache", options).expect("the options are fine");
    let error = store.get("k").await.expect_err("pgbouncer takes no settings");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().ends_with("set the option pgbouncer = true"), "{error}");
}
