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

fn read(metadata: &str) -> Outcome<Vec<Package>> {
    let metadata: Value = serde_json::from_str(metadata).map_err(|why| format!("cargo metadata: {why}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    Ok(packages.iter().map(package).collect())
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
        assert_eq!(read(metadata), Ok(vec![package("with", Some("1.95".to_owned())), package("without", None)]));
    }

    #[test]
    fn what_is_not_metadata_is_an_error() {
        assert!(read("error: no Cargo.toml").is_err());
        assert!(read("{}").is_err());
    }
}
