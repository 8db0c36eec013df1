//! Does everything build with the oldest Rust that the crates promise to support?

use std::process::Command;

use crate::{
    shell::{self, Outcome, cargo},
    workspace::{self, Package},
};

/// The `rust-version` in the root's Cargo.toml, which this package inherits.
const STATED: &str = env!("CARGO_PKG_RUST_VERSION");

const CHECK: [&str; 3] = ["check", "--workspace", "--all-features"];

#[derive(Debug, PartialEq, Eq)]
enum Toolchain<'a> {
    /// One that rustup has, by its name there.
    Rustup(&'a str),
    /// The one that runs this program.
    Current,
}

pub(crate) fn run() -> Outcome {
    all_state_it(&workspace::packages()?)?;
    // A machine without rustup has no toolchains to list.
    let toolchains =
        shell::output(Command::new("rustup").args(["toolchain", "list"])).unwrap_or_default();
    let rustc = shell::output(Command::new("rustc").arg("--version"))?;
    match choose(STATED, &toolchains, &rustc).ok_or_else(|| missing(STATED, &rustc))? {
        Toolchain::Rustup(name) => {
            shell::run(Command::new("rustup").args(["run", name, "cargo"]).args(CHECK))
        }
        Toolchain::Current => shell::run(&mut cargo(CHECK)),
    }
}

fn all_state_it(packages: &[Package]) -> Outcome {
    let others: Vec<&str> = packages
        .iter()
        .filter(|package| package.rust_version.as_deref() != Some(STATED))
        .map(|p| &*p.name)
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(format!("without `rust-version.workspace = true` in its Cargo.toml: {}", others.join(", ")))
}

fn choose<'a>(stated: &str, toolchains: &'a str, rustc: &str) -> Option<Toolchain<'a>> {
    let named = toolchains.lines().filter_map(|line| line.split_whitespace().next());
    let current = rustc.split_whitespace().nth(1).unwrap_or_default();
    named
        .filter_map(|name| is(stated, name.split('-').next()?).then_some(Toolchain::Rustup(name)))
        .next()
        .or_else(|| is(stated, current).then_some(Toolchain::Current))
}

/// Whether `version` is the one stated, where `1.95` leaves the patch level open.
fn is(stated: &str, version: &str) -> bool {
    version.strip_prefix(stated).is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix('.').is_some_and(|patch| patch.bytes().all(|b| b.is_ascii_digit()))
    })
}

fn missing(stated: &str, rustc: &str) -> String {
    let full =
        if stated.matches('.').count() == 1 { format!("{stated}.0") } else { stated.to_owned() };
    format!(
        "the crates promise to build with Rust {stated}, which is not here to try it ({}): \
         install it with `rustup toolchain install {full}`",
        rustc.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE: &str = "rustc 1.97.1 (0a1b2c3d4 2026-07-01)";

    fn package(name: &str, rust_version: Option<&str>) -> Package {
        Package { name: name.to_owned(), rust_version: rust_version.map(str::to_owned) }
    }

    #[test]
    fn a_toolchain_of_rustup_is_taken_by_its_full_name() {
        let toolchains =
            "stable-x86_64-unknown-linux-gnu (active, default)\n1.95.0-x86_64-unknown-linux-gnu\n";
        let name = "1.95.0-x86_64-unknown-linux-gnu";
        assert_eq!(choose("1.95", toolchains, STABLE), Some(Toolchain::Rustup(name)));
    }

    #[test]
    fn a_toolchain_installed_without_its_patch_level_serves_too() {
        let toolchains = "1.95-aarch64-apple-darwin";
        assert_eq!(choose("1.95", toolchains, STABLE), Some(Toolchain::Rustup(toolchains)));
    }

    #[test]
    fn the_current_rustc_serves_if_it_is_the_stated_one() {
        assert_eq!(
            choose("1.95", "", "rustc 1.95.1 (59807616e 2026-04-14)"),
            Some(Toolchain::Current)
        );
    }

    #[test]
    fn a_newer_or_an_unfinished_rustc_does_not_serve() {
        assert_eq!(choose("1.95", "stable-x86_64-unknown-linux-gnu", STABLE), None);
        assert_eq!(choose("1.95", "", "rustc 1.95.0-nightly (0a1b2c3d4 2026-02-01)"), None);
        assert_eq!(choose("1.9", "1.95.0-x86_64-unknown-linux-gnu", STABLE), None);
    }

    #[test]
    fn the_sentence_about_a_missing_toolchain_says_what_to_type() {
        assert!(missing("1.95", STABLE).ends_with("`rustup toolchain install 1.95.0`"));
        assert!(missing("1.95.2", STABLE).ends_with("`rustup toolchain install 1.95.2`"));
    }

    #[test]
    fn a_package_that_states_another_version_or_none_is_named() {
        let packages =
            [package("good", Some(STATED)), package("silent", None), package("other", Some("1.0"))];
        let why = all_state_it(&packages).expect_err("two of three");
        assert!(why.ends_with(": silent, other"), "{why}");
        assert_eq!(all_state_it(&packages[..1]), Ok(()));
    }
}
