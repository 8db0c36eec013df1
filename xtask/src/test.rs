//! Every test of every crate: unit, integration, those in examples and those in the documentation.
//!
//! What tests need beside cargo is set up at the start of [`run`], here and nowhere else.

use xtask::servers::Servers;

use crate::shell::{self, Outcome, cargo};

/// The packages whose tests talk to servers.
const WITH_SERVERS: [&str; 5] =
    ["cache-cli", "cache-db", "cache-memcached", "cache-redis", "cachette"];

const EVERYTHING: [&str; 3] = ["--workspace", "--all-features", "--no-fail-fast"];

/// `--tests` stands for every target with tests, libraries and binaries among them, save examples and the documentation.
const TARGETS: [&str; 2] = ["--tests", "--examples"];
const DOCUMENTATION: [&str; 1] = ["--doc"];

/// Arguments of cargo test by which the user chooses packages, or targets.
const PACKAGE: [&str; 2] = ["-p", "--package"];
const TARGET: [&str; 7] =
    ["--lib", "--bin", "--test", "--example", "--bench", "--all-targets", "--doc"];

/// Runs all tests, or what the `extra` arguments of cargo test leave of them, and says in the end how it went.
pub(crate) fn run(extra: &[String]) -> Outcome {
    let servers = needs_servers(extra).then(Servers::start).transpose()?;
    let variables: Vec<_> = servers.iter().flat_map(Servers::variables).collect();
    let failed: Vec<String> =
        plan(extra).iter().flat_map(|args| failures(args, &variables)).collect();
    if failed.is_empty() {
        println!(
            "\ntest: {} passed",
            if extra.is_empty() { "everything" } else { "what was asked for" }
        );
        return Ok(());
    }
    Err(format!("test: FAILED: {}", failed.join(", ")))
}

/// Runs cargo test and answers the targets that failed, or how it ended where it names none.
fn failures(args: &[&str], variables: &[(&str, String)]) -> Vec<String> {
    let mut targets = Vec::new();
    let mut command = cargo(["test"]);
    command.args(args).envs(variables.iter().map(|(name, value)| (name, value)));
    let outcome = shell::run_heard(&mut command, |said| targets.extend(failed_target(said)));
    match outcome {
        Ok(()) => Vec::new(),
        Err(why) if targets.is_empty() => vec![why],
        Err(_) => targets,
    }
}

/// Whether tests may be run that talk to servers: not where only other packages are chosen.
fn needs_servers(extra: &[String]) -> bool {
    let ours = || extra.iter().take_while(|given| *given != "--");
    let named = |name: &str| {
        ours().any(|given| given.trim_start_matches("--package=").trim_start_matches("-p") == name)
    };
    !chooses(extra, &PACKAGE) || WITH_SERVERS.iter().any(|name| named(name))
}

/// The target in a line of the list with which `cargo test --no-fail-fast` ends.
fn failed_target(said: &str) -> Option<String> {
    let target = said.strip_prefix("    `")?.strip_suffix('`')?;
    target.starts_with("-p ").then(|| target.to_owned())
}

/// The arguments of each run of cargo test. Several, as cargo does not mix doc tests with other targets.
fn plan(extra: &[String]) -> Vec<Vec<&str>> {
    if chooses(extra, &TARGET) || chooses(extra, &PACKAGE) {
        return vec![with(&[], extra)];
    }
    vec![with(&TARGETS, extra), with(&DOCUMENTATION, extra)]
}

/// `targets` of everything, save that `extra` comes first: a flag twice is an error, and packages exclude `--workspace`.
fn with<'a>(targets: &[&'static str], extra: &'a [String]) -> Vec<&'a str> {
    let clashes = |flag: &&str| {
        extra.iter().any(|given| given == *flag)
            || (*flag == "--workspace" && chooses(extra, &PACKAGE))
    };
    let ours = EVERYTHING.iter().chain(targets).copied().filter(|flag| !clashes(flag));
    ours.chain(extra.iter().map(String::as_str)).collect()
}

/// Whether one of `extra` is one of `flags`, be it in the plural, or with its value in the same word. What stands behind
/// a `--` is for the tests.
fn chooses(extra: &[String], flags: &[&str]) -> bool {
    extra
        .iter()
        .take_while(|given| *given != "--")
        .any(|given| flags.iter().any(|flag| given.starts_with(flag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(extra: &str) -> Vec<String> {
        let extra: Vec<String> = extra.split_whitespace().map(str::to_owned).collect();
        plan(&extra).iter().map(|args| args.join(" ")).collect()
    }

    #[test]
    fn the_targets_that_cargo_lists_as_failed_are_read() {
        let said = "error: 2 targets failed:\n    `-p cache-core --lib`\n    `-p cache-core --doc`\nnote: `-p`";
        let failed: Vec<String> = said.lines().filter_map(failed_target).collect();
        assert_eq!(failed, ["-p cache-core --lib", "-p cache-core --doc"]);
    }

    #[test]
    fn servers_are_started_unless_only_packages_are_chosen_that_need_none() {
        let needs = |extra: &str| {
            needs_servers(&extra.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        for extra in [
            "",
            "a_filter",
            "--lib",
            "-p cache-db",
            "-pcachette",
            "--package=cache-db -- -p",
            "-p a -p cachette",
        ] {
            assert!(needs(extra), "{extra}");
        }
        for extra in ["-p cache-core", "--package=cache-core", "-pcache-locmem -- cache-db"] {
            assert!(!needs(extra), "{extra}");
        }
    }

    #[test]
    fn without_arguments_every_target_and_the_documentation_are_run() {
        let all = "--workspace --all-features --no-fail-fast";
        assert_eq!(plan_of(""), [format!("{all} --tests --examples"), format!("{all} --doc")]);
    }

    #[test]
    fn a_filter_goes_to_every_run() {
        assert!(
            plan_of("a_miss_is_none -- --nocapture")
                .iter()
                .all(|r| r.ends_with(" a_miss_is_none -- --nocapture"))
        );
        assert_eq!(plan_of("a_miss_is_none -- --test-threads=1").len(), 2);
    }

    #[test]
    fn a_chosen_package_is_not_drowned_in_the_workspace() {
        for extra in ["-p cache-core", "-pcache-core", "--package=cache-core"] {
            assert_eq!(plan_of(extra), [format!("--all-features --no-fail-fast {extra}")]);
        }
    }

    #[test]
    fn a_chosen_target_is_searched_in_the_whole_workspace() {
        for extra in ["--lib", "--doc", "--test config", "--examples", "--bins"] {
            assert_eq!(
                plan_of(extra),
                [format!("--workspace --all-features --no-fail-fast {extra}")]
            );
        }
    }

    #[test]
    fn a_flag_that_is_given_already_is_not_given_twice() {
        assert_eq!(
            plan_of("--no-fail-fast --lib"),
            ["--workspace --all-features --no-fail-fast --lib"]
        );
    }
}
