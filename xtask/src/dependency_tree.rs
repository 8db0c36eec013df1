//! What the crates must not pull in: a store that is not asked for costs nothing.

use std::collections::BTreeSet;

use crate::shell::{self, Outcome, cargo};

/// A package, the features it is built with, and the crates that must then not be among its dependencies.
struct Rule {
    package: &'static str,
    /// Arguments of cargo; none are the default features.
    features: &'static [&'static str],
    never: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        package: "cache-core",
        features: &["--no-default-features"],
        never: &["postcard", "sqlx", "tokio"],
    },
    Rule { package: "cachette", features: &["--features=db-postgres"], never: &["ring", "rustls"] },
    Rule {
        package: "cachette",
        features: &["--no-default-features", "--features=locmem"],
        never: &[
            "cache-http",
            "cache-memcached",
            "cache-net",
            "cache-redis",
            "http",
            "redis",
            "sqlx",
            "tempfile",
            "tokio",
            "toml",
        ],
    },
    Rule { package: "cache-http", features: &[], never: &["axum", "hyper", "tower"] },
    Rule { package: "cache-memcached", features: &[], never: &["lz4_flex", "rustls", "sqlx"] },
    // The peers are for measurements alone.
    Rule {
        package: "cachette-benches",
        features: &[],
        never: &[
            "async-memcached",
            "axum",
            "cacache",
            "cached",
            "dashmap",
            "foyer-memory",
            "fred",
            "memcache",
            "moka",
            "quick_cache",
            "redis",
            "rusqlite",
            "sqlx",
        ],
    },
    Rule {
        package: "cachette",
        features: &[],
        never: &[
            "cache-http",
            "cache-memcached",
            "cache-net",
            "cache-redis",
            "http",
            "redis",
            "sqlx",
            "tempfile",
            "tokio",
        ],
    },
];

pub(crate) fn run() -> Outcome {
    RULES.iter().try_for_each(check)
}

fn check(rule: &Rule) -> Outcome {
    let selection = [&[rule.package], rule.features].concat().join(" ");
    let found = forbidden(&tree(rule)?, rule.never);
    if found.is_empty() {
        println!("{selection}: no {}", rule.never.join(", no "));
        return Ok(());
    }
    Err(format!(
        "{selection} must not depend on {0}: `cargo tree --package {selection} --invert {1}` shows the way",
        found.join(", "),
        found[0]
    ))
}

/// The dependencies on every platform, those of tests aside.
fn tree(rule: &Rule) -> Outcome<String> {
    let shape = ["--edges=normal,build", "--target=all", "--prefix=none", "--format={p}"];
    shell::output(cargo(["tree", "--package", rule.package]).args(rule.features).args(shape))
}

fn forbidden(tree: &str, never: &[&'static str]) -> Vec<&'static str> {
    let crates: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    never.iter().copied().filter(|name| crates.contains(name)).collect()
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
    fn a_crate_in_the_tree_is_found_by_its_name() {
        assert_eq!(forbidden(TREE, &["sqlx", "serde_derive"]), ["serde_derive"]);
    }

    #[test]
    fn a_crate_whose_name_only_begins_the_same_is_another_one() {
        assert!(forbidden(TREE, &["tokio", "cache"]).is_empty());
    }
}
