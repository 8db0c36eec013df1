//! What `cargo metadata` tells of the packages of the workspace.

use serde_json::Value;

use crate::shell::{self, Outcome, cargo};

/// A package of the workspace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) rust_version: Option<String>,
}

/// All packages of the workspace.
pub(crate) fn packages() -> Outcome<Vec<Package>> {
    read(&shell::output(&mut cargo(["metadata", "--no-deps", "--format-version=1"]))?)
}

/// The benchmarks of a package of the workspace.
pub(crate) fn benches(package: &str) -> Outcome<Vec<String>> {
    benches_of(
        &shell::output(&mut cargo(["metadata", "--no-deps", "--format-version=1"]))?,
        package,
    )
}

fn read(metadata: &str) -> Outcome<Vec<Package>> {
    Ok(packages_in(metadata)?.iter().map(package).collect())
}

fn packages_in(metadata: &str) -> Outcome<Vec<Value>> {
    let metadata: Value =
        serde_json::from_str(metadata).map_err(|why| format!("cargo metadata: {why}"))?;
    metadata["packages"]
        .as_array()
        .cloned()
        .ok_or_else(|| "cargo metadata lists no packages".to_owned())
}

fn benches_of(metadata: &str, package: &str) -> Outcome<Vec<String>> {
    let packages = packages_in(metadata)?;
    let missing = || format!("cargo metadata lists no package {package}");
    let package = packages.iter().find(|listed| listed["name"] == package).ok_or_else(missing)?;
    let is_bench = |target: &&Value| {
        target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "bench"))
    };
    let benches = package["targets"].as_array().into_iter().flatten().filter(is_bench);
    Ok(benches.filter_map(|target| target["name"].as_str().map(str::to_owned)).collect())
}

fn package(package: &Value) -> Package {
    let text = |field: &str| package[field].as_str().map(str::to_owned);
    Package { name: text("name").unwrap_or_default(), rust_version: text("rust_version") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_read_with_the_rust_version_it_states_or_without_one() {
        let metadata = r#"{"packages": [
            {"name": "with", "rust_version": "1.95", "metadata": {"rust_version": "9.9"}},
            {"name": "without", "rust_version": null}
        ]}"#;
        let package = |name: &str, rust_version| Package { name: name.to_owned(), rust_version };
        assert_eq!(
            read(metadata),
            Ok(vec![package("with", Some("1.95".to_owned())), package("without", None)])
        );
    }

    #[test]
    fn only_the_benchmarks_of_the_package_are_listed() {
        let metadata = r#"{"packages": [
            {"name": "other", "targets": [{"name": "no", "kind": ["bench"]}]},
            {"name": "ours", "targets": [
                {"name": "ours", "kind": ["lib"]}, {"name": "b", "kind": ["bench"]}, {"name": "a", "kind": ["bench"]}
            ]}
        ]}"#;
        assert_eq!(benches_of(metadata, "ours"), Ok(vec!["b".to_owned(), "a".to_owned()]));
        assert!(benches_of(metadata, "theirs").is_err());
    }

    #[test]
    fn what_is_not_metadata_is_an_error() {
        assert!(read("error: no Cargo.toml").is_err());
        assert!(read("{}").is_err());
    }
}
