//! Checks that crates do not depend on what they must not: an unused store costs nothing.

use std::collections::BTreeSet;

use crate::shell::{self, Outcome, cargo};

/// A package, the cargo arguments that select its features, and the crates it must not depend on.
type Rule = (&'static str, &'static [&'static str], &'static str);

const RULES: &[Rule] = &[
    ("cache-core", &["--no-default-features"], "postcard sqlx tokio"),
    ("cache-http", &[], "axum hyper roxmltree similar tower"),
    ("cache-memcached", &[], "lz4_flex rustls sqlx"),
    ("cache-testing", &[], "cache-conformance proptest"),
    ("cachette", &["--features=db-postgres"], "libsqlite3-sys ring rustls"),
    ("cachette", &["--features=db-sqlite"], "sqlx sqlx-core"),
    (
        "cachette",
        &[],
        "cache-http cache-memcached cache-net cache-redis cache-testing http redis sqlx tempfile \
         tokio",
    ),
    (
        "cachette",
        &["--no-default-features", "--features=locmem"],
        "cache-http cache-memcached cache-net cache-redis cache-testing http redis sqlx tempfile \
         tokio toml",
    ),
    // The peers are dev-dependencies: only benchmarks build them.
    (
        "cachette-benches",
        &[],
        "async-memcached axum cacache cached dashmap foyer-memory fred memcache moka quick_cache \
         redis rusqlite sqlx",
    ),
];

pub(crate) fn run() -> Outcome {
    RULES.iter().try_for_each(check)
}

fn check(&(package, features, forbidden): &Rule) -> Outcome {
    let selection = [&[package], features].concat().join(" ");
    let found = find(&tree(package, features)?, forbidden);
    if found.is_empty() {
        println!("{selection}: no {forbidden}");
        return Ok(());
    }
    Err(format!(
        "{selection} must not depend on {0}: see `cargo tree --package {selection} --invert {1}`",
        found.join(", "),
        found[0]
    ))
}

/// Lists the dependencies on every platform, without those of tests.
fn tree(package: &str, features: &[&str]) -> Outcome<String> {
    let format = ["--edges=normal,build", "--target=all", "--prefix=none", "--format={p}"];
    shell::output(cargo(["tree", "--package", package]).args(features).args(format))
}

fn find<'a>(tree: &str, forbidden: &'a str) -> Vec<&'a str> {
    let crates: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    forbidden.split_whitespace().filter(|name| crates.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "\
cache-core v0.1.0 (/home/me/cachette/cache-core)
serde v1.0.228
serde_derive v1.0.228 (proc-macro)
tokio-util v0.7.0
serde v1.0.228 (*)
";

    #[test]
    fn crate_in_the_tree_is_found_by_its_name() {
        assert_eq!(find(TREE, "sqlx serde_derive"), ["serde_derive"]);
    }

    #[test]
    fn crate_with_the_same_prefix_is_another_crate() {
        assert!(find(TREE, "tokio cache").is_empty());
    }
}
