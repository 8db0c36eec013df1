//! Runs every test of every crate: unit, integration, example and documentation tests.
//!
//! Everything that tests need besides cargo is set up in [`run`].

use xtask::servers::Servers;

use crate::shell::{self, Outcome, cargo};

/// Packages with tests that need servers.
const WITH_SERVERS: [&str; 5] =
    ["cache-cli", "cache-db", "cache-memcached", "cache-redis", "cachette"];

const EVERYTHING: [&str; 3] = ["--workspace", "--all-features", "--no-fail-fast"];

/// `--tests` covers every target with tests except examples and the documentation.
const TARGETS: [&str; 2] = ["--tests", "--examples"];
const DOCUMENTATION: [&str; 1] = ["--doc"];

/// Arguments of cargo test that select packages or targets.
const PACKAGE: [&str; 2] = ["-p", "--package"];
const TARGET: [&str; 7] =
    ["--lib", "--bin", "--test", "--example", "--bench", "--all-targets", "--doc"];

/// Runs all tests, or those that the arguments of cargo test select, and lists the failures.
pub(crate) fn run(args: &[String]) -> Outcome {
    let servers = needs_servers(args).then(Servers::start).transpose()?;
    let variables: Vec<_> = servers.iter().flat_map(Servers::variables).collect();
    let failed: Vec<String> =
        plan(args).iter().flat_map(|args| failures(args, &variables)).collect();
    if !failed.is_empty() {
        return Err(format!("test: FAILED: {}", failed.join(", ")));
    }
    println!("\ntest: {} passed", if args.is_empty() { "all tests" } else { "selected tests" });
    Ok(())
}

/// Runs cargo test. Returns the failed targets, or the error if cargo lists none.
fn failures(args: &[&str], variables: &[(&str, String)]) -> Vec<String> {
    let mut targets = Vec::new();
    let mut command = cargo(["test"]);
    command.args(args).envs(variables.iter().map(|(name, value)| (name, value)));
    let outcome = shell::run_with(&mut command, |line| targets.extend(failed_target(line)));
    match outcome {
        Ok(()) => Vec::new(),
        Err(error) if targets.is_empty() => vec![error],
        Err(_) => targets,
    }
}

/// Returns `false` if only packages without servers are selected.
fn needs_servers(args: &[String]) -> bool {
    let is_selected = |name: &str| {
        cargo_args(args)
            .any(|arg| arg.trim_start_matches("--package=").trim_start_matches("-p") == name)
    };
    !selects(args, &PACKAGE) || WITH_SERVERS.iter().any(|name| is_selected(name))
}

/// Parses a line of the list at the end of `cargo test --no-fail-fast`.
fn failed_target(line: &str) -> Option<String> {
    let target = line.strip_prefix("    `")?.strip_suffix('`')?;
    target.starts_with("-p ").then(|| target.to_owned())
}

/// The arguments of each run of cargo test. Cargo does not run doc tests with other targets.
fn plan(args: &[String]) -> Vec<Vec<&str>> {
    if selects(args, &TARGET) || selects(args, &PACKAGE) {
        return vec![with(&[], args)];
    }
    vec![with(&TARGETS, args), with(&DOCUMENTATION, args)]
}

/// Adds `targets` of the whole workspace to `args`, except for flags that conflict with `args`:
/// cargo rejects a repeated flag, and `-p` together with `--workspace`.
fn with<'a>(targets: &[&'static str], args: &'a [String]) -> Vec<&'a str> {
    let conflicts = |flag: &&str| {
        args.iter().any(|arg| arg == *flag) || (*flag == "--workspace" && selects(args, &PACKAGE))
    };
    let flags = EVERYTHING.iter().chain(targets).copied().filter(|flag| !conflicts(flag));
    flags.chain(args.iter().map(String::as_str)).collect()
}

/// Returns `true` if `args` contains one of `flags`, also in the plural or with its value attached.
fn selects(args: &[String], flags: &[&str]) -> bool {
    cargo_args(args).any(|arg| flags.iter().any(|flag| arg.starts_with(flag)))
}

/// The arguments before `--`; the others are for the test binaries.
fn cargo_args(args: &[String]) -> impl Iterator<Item = &String> {
    args.iter().take_while(|arg| *arg != "--")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn plan_of(args: &str) -> Vec<String> {
        plan(&words(args)).iter().map(|args| args.join(" ")).collect()
    }

    #[test]
    fn failed_targets_are_parsed() {
        let output = "error: 2 targets failed:\n    `-p cache-core --lib`\n    \
                      `-p cache-core --doc`\nnote: `-p`";
        let failed: Vec<String> = output.lines().filter_map(failed_target).collect();
        assert_eq!(failed, ["-p cache-core --lib", "-p cache-core --doc"]);
    }

    #[test]
    fn servers_start_unless_only_packages_without_servers_are_selected() {
        for args in [
            "",
            "a_filter",
            "--lib",
            "-p cache-db",
            "-pcachette",
            "--package=cache-db -- -p",
            "-p a -p cachette",
        ] {
            assert!(needs_servers(&words(args)), "{args}");
        }
        for args in ["-p cache-core", "--package=cache-core", "-pcache-locmem -- cache-db"] {
            assert!(!needs_servers(&words(args)), "{args}");
        }
    }

    #[test]
    fn every_target_and_the_documentation_run_without_arguments() {
        let all = "--workspace --all-features --no-fail-fast";
        assert_eq!(plan_of(""), [format!("{all} --tests --examples"), format!("{all} --doc")]);
    }

    #[test]
    fn filter_applies_to_every_run() {
        assert!(
            plan_of("a_miss_is_none -- --nocapture")
                .iter()
                .all(|run| run.ends_with(" a_miss_is_none -- --nocapture"))
        );
        assert_eq!(plan_of("a_miss_is_none -- --test-threads=1").len(), 2);
    }

    #[test]
    fn selected_package_replaces_the_workspace() {
        for args in ["-p cache-core", "-pcache-core", "--package=cache-core"] {
            assert_eq!(plan_of(args), [format!("--all-features --no-fail-fast {args}")]);
        }
    }

    #[test]
    fn selected_target_applies_to_the_whole_workspace() {
        for args in ["--lib", "--doc", "--test config", "--examples", "--bins"] {
            assert_eq!(
                plan_of(args),
                [format!("--workspace --all-features --no-fail-fast {args}")]
            );
        }
    }

    #[test]
    fn given_flag_is_not_repeated() {
        assert_eq!(
            plan_of("--no-fail-fast --lib"),
            ["--workspace --all-features --no-fail-fast --lib"]
        );
    }
}
