//! `cargo xtask http-suite`: runs the public test suite for HTTP caches (cache-tests.fyi) against
//! the example proxy and writes a page of the results.
//!
//! A failure needs a reason in [`reasons`]. The command fails, and leaves the page unchanged, if a
//! test fails without one or passes in spite of one.

mod page;
mod reasons;
mod results;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use xtask::servers::HttpSuite;

use self::results::Results;
use crate::shell::{self, Outcome, cargo};

/// The npm package, and the folder that it is installed in.
const PACKAGE: &str = "http-cache-tests";
const VERSION: &str = "0.4.5";
const INSTALLED: &str = "target/http-suite";

/// The switches of the proxy. The defaults are stricter: see `Policy` of `cache-http`.
const SWITCHES: [&str; 13] = [
    "--preset",
    "shared",
    "--targeted",
    "cdn-cache-control",
    "--forward-targeted",
    "--set-cookies",
    "store",
    "--list-headers",
    "foo",
    "--authorization-by-response",
    "--ignore-content-range",
    "--obey-must-understand",
    "--validate-no-cache",
];

const PAGES: &str = "docs/http";

/// A version of the suite. The released package is older than the repository, and some tests
/// differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edition {
    Package,
    Repository,
}

impl Edition {
    /// The name of the page.
    fn page(self) -> &'static str {
        match self {
            Self::Package => "package.md",
            Self::Repository => "repository.md",
        }
    }
}

pub(crate) fn run(folder: Option<&Path>) -> Outcome {
    HttpSuite::install()?;
    let (edition, name, folder) = match folder {
        Some(folder) => (Edition::Repository, commit(folder)?, absolute(folder)?),
        None => (Edition::Package, format!("`{PACKAGE}` {VERSION}"), install_package()?),
    };
    shell::run(&mut cargo(["build", "--example", "proxy"]))?;
    println!("running the suite, which takes a minute");
    let suite = HttpSuite::start(&folder, &proxy()?, &SWITCHES)?;
    let results = Results::parse(&HttpSuite::tests(&folder)?, &suite.run()?)?;
    print!("{}", page::summary(&results));
    let problems = reasons::check(edition, &results);
    if !problems.is_empty() {
        return Err(format!("http-suite: {}", problems.join("\n")));
    }
    let file = Path::new(PAGES).join(edition.page());
    fs::write(&file, page::page(edition, &name, &SWITCHES, &results))
        .map_err(|error| format!("{}: cannot be written: {error}", file.display()))?;
    println!("http-suite: {}", file.display());
    Ok(())
}

/// Installs the package and returns its folder.
fn install_package() -> Outcome<PathBuf> {
    fs::create_dir_all(INSTALLED)
        .map_err(|error| format!("{INSTALLED}: cannot be created: {error}"))?;
    let package = format!("{PACKAGE}@{VERSION}");
    let mut npm = Command::new("npm");
    npm.args(["install", "--prefix", INSTALLED, "--no-audit", "--no-fund", "--ignore-scripts"]);
    shell::run(npm.arg(package))?;
    absolute(&Path::new(INSTALLED).join("node_modules").join(PACKAGE))
}

/// The commit of a work tree of the suite's repository.
fn commit(folder: &Path) -> Outcome<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["log", "-1", "--abbrev=12", "--format=commit %h of %cs"]);
    shell::output(&mut git).map(|commit| commit.trim().to_owned())
}

/// The proxy, which is built beside this program.
fn proxy() -> Outcome<PathBuf> {
    let program = env::current_exe().map_err(|error| format!("own path is unknown: {error}"))?;
    Ok(program.with_file_name("examples").join("proxy"))
}

/// The suite runs in a folder of its own.
fn absolute(folder: &Path) -> Outcome<PathBuf> {
    folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_switch_is_explained() {
        let readme = include_str!("../../docs/http/README.md");
        for switch in SWITCHES.iter().filter(|switch| switch.starts_with("--")) {
            let is_explained = readme.contains(&format!("| `{switch}"));
            assert!(is_explained || *switch == "--preset", "{switch}");
        }
    }
}
