//! The checks that must pass before a merge, in steps.

use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::{
    browser, deny, dependency_tree, install, neighbours, readme,
    shell::{self, Outcome, cargo},
    test,
};

/// A step. The fast ones come first because the first failure ends the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// rustfmt finds nothing to change
    Format,
    /// No crate has a dependency it must not have
    Tree,
    /// Licenses, sources, duplicates and advisories of dependencies
    Deny,
    /// No warnings in any target
    Clippy,
    /// The documentation builds without warnings
    Docs,
    /// Each feature builds alone
    Features,
    /// The README's code runs in a new crate
    Readme,
    /// Applications with other SQLite libraries build and run beside cachette
    Neighbours,
    /// The example site works in Chromium
    Browser,
    /// cargo xtask test
    Test,
}

/// Runs `steps`, or all if it is empty, until one fails.
pub(crate) fn run(steps: &[Step]) -> Outcome {
    let steps = selected(steps);
    let start = Instant::now();
    let mut warnings = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let name = format!("{step:?}").to_lowercase();
        println!("\n=== {}/{} {name}", index + 1, steps.len());
        let start = Instant::now();
        let outcome = step.run();
        let took = seconds(start.elapsed());
        let warning =
            outcome.map_err(|error| format!("{error}\nci: step `{name}` FAILED after {took}"))?;
        if let Some(warning) = warning {
            println!("!!! {warning}");
            warnings.push(format!("!!! {name}: {warning}"));
        }
        println!("=== {name} passed in {took}");
    }
    println!("\nci: {}", summary(steps.len(), &seconds(start.elapsed()), &warnings));
    Ok(())
}

fn selected(steps: &[Step]) -> &[Step] {
    if steps.is_empty() { Step::value_variants() } else { steps }
}

fn summary(steps: usize, took: &str, warnings: &[String]) -> String {
    let count =
        if steps == 1 { "1 step passed".to_owned() } else { format!("all {steps} steps passed") };
    if warnings.is_empty() {
        format!("{count} in {took}")
    } else {
        format!("{count} in {took}, BUT\n{}", warnings.join("\n"))
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

impl Step {
    /// Returns a warning if a part of the step could not be done on this machine.
    fn run(self) -> Outcome<Option<String>> {
        let outcome = match self {
            Self::Format => shell::run(&mut cargo(["fmt", "--all", "--check"])),
            Self::Tree => dependency_tree::run(),
            Self::Deny => return deny::run(),
            Self::Clippy => {
                let targets = ["--workspace", "--all-targets", "--all-features"];
                shell::run(cargo(["clippy"]).args(targets).args(["--", "-D", "warnings"]))
            }
            Self::Docs => {
                let mut doc = cargo(["doc", "--workspace", "--no-deps", "--all-features"]);
                shell::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
            }
            Self::Features => features(),
            Self::Readme => readme::run(),
            Self::Neighbours => neighbours::run(),
            Self::Browser => browser::run(&[]),
            Self::Test => test::run(&[]),
        };
        outcome.map(|()| None)
    }
}

/// Checks the published crates without dev-dependencies, which would enable more features.
fn features() -> Outcome {
    install::ensure(&install::HACK)?;
    let published = ["--workspace", "--ignore-private", "--no-dev-deps"];
    shell::run(cargo(["hack", "check", "--each-feature"]).args(published))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_steps_run_if_none_is_named() {
        assert_eq!(selected(&[]), Step::value_variants());
    }

    #[test]
    fn named_steps_run_in_the_given_order() {
        assert_eq!(selected(&[Step::Test, Step::Format]), [Step::Test, Step::Format]);
    }

    #[test]
    fn summary_ends_with_the_warnings() {
        assert_eq!(summary(8, "70.0 s", &[]), "all 8 steps passed in 70.0 s");
        assert_eq!(
            summary(1, "0.3 s", &["!!! deny: not all".to_owned()]),
            "1 step passed in 0.3 s, BUT\n!!! deny: not all"
        );
    }
}
