//! The versions of the crates that the benchmarks measure and stand on.

use std::{collections::HashMap, env, process::Command};

use serde_json::Value;

/// The crates that the benchmarks name as dependencies of theirs, those of this workspace aside, as `moka 0.12.16`, in the
/// order of the alphabet.
///
/// # Errors
/// Where cargo can't tell, as a sentence.
pub(crate) fn versions() -> Result<Vec<String>, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["metadata", "--format-version=1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().map_err(|why| format!("cargo could not be started: {why}"))?;
    if !output.status.success() {
        return Err(format!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        ));
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|why| format!("cargo metadata: {why}"))?;
    read(&metadata, env!("CARGO_PKG_NAME"))
        .ok_or_else(|| "cargo metadata tells of no dependencies".to_owned())
}

fn read(metadata: &Value, package: &str) -> Option<Vec<String>> {
    let packages = metadata["packages"].as_array()?;
    let by_id: HashMap<&str, &Value> =
        packages.iter().filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let nodes = metadata["resolve"]["nodes"].as_array()?;
    let is_it = |node: &&Value| {
        node["id"].as_str().and_then(|id| by_id.get(id)).is_some_and(|it| it["name"] == package)
    };
    let dependencies = nodes.iter().find(is_it)?["dependencies"].as_array()?;
    let named = dependencies
        .iter()
        .filter_map(|id| by_id.get(id.as_str()?))
        .filter(|package| !package["source"].is_null());
    let mut versions: Vec<String> = named
        .filter_map(|package| {
            Some(format!("{} {}", package["name"].as_str()?, package["version"].as_str()?))
        })
        .collect();
    versions.sort();
    versions.dedup();
    Some(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crates_named_by_the_benchmarks_are_told_and_no_others() {
        let package = |id: &str, source| serde_json::json!({ "id": id, "name": id, "version": "1.0", "source": source });
        let metadata = serde_json::json!({
            "packages": [package("benches", None), package("peer", Some("registry")), package("ours", None), package("far", Some("registry"))],
            "resolve": { "nodes": [
                { "id": "peer", "dependencies": ["far"] },
                { "id": "benches", "dependencies": ["peer", "ours"] },
            ] },
        });
        assert_eq!(read(&metadata, "benches"), Some(vec!["peer 1.0".to_owned()]));
        assert_eq!(read(&serde_json::json!({}), "benches"), None);
    }

    #[test]
    fn cargo_tells_the_versions_of_the_peers() {
        let versions = versions().expect("cargo is here");
        assert!(versions.iter().any(|version| version.starts_with("moka 0.")), "{versions:?}");
    }
}
