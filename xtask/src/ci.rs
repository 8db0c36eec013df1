//! What must pass before a merge, step by step.

use std::time::{Duration, Instant};

use crate::{
    browser, deny, dependency_tree, install, minimum_rust, newcomer,
    shell::{self, Outcome, cargo},
    test,
};

/// How a step passed.
#[derive(Debug)]
pub(crate) enum Passed {
    Fully,
    /// With a part that could not be done here, which the user must hear of.
    Except(String),
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Outcome<Passed>,
}

/// The quick ones first, as the first failure ends the run.
const STEPS: [Step; 10] = [
    Step { name: "format", about: "the code is as rustfmt lays it out", run: || fully(format()) },
    Step {
        name: "tree",
        about: "no crate pulls in what it must not",
        run: || fully(dependency_tree::run()),
    },
    Step {
        name: "deny",
        about: "licences, sources, duplicates and advisories of dependencies",
        run: deny::run,
    },
    Step { name: "clippy", about: "no warnings, in any target", run: || fully(clippy()) },
    Step {
        name: "docs",
        about: "the documentation builds without warnings",
        run: || fully(docs()),
    },
    Step { name: "features", about: "each feature builds alone", run: || fully(features()) },
    Step {
        name: "minimum-rust",
        about: "the oldest supported Rust builds it",
        run: || fully(minimum_rust::run()),
    },
    Step {
        name: "newcomer",
        about: "the README's code runs in a new crate",
        run: || fully(newcomer::run()),
    },
    Step {
        name: "browser",
        about: "the example site, in Chromium",
        run: || fully(browser::run(&[])),
    },
    Step { name: "test", about: "cargo xtask test", run: || fully(test::run(&[])) },
];

/// The steps, a line each.
pub(crate) fn list() -> String {
    let lines: Vec<String> =
        STEPS.iter().map(|step| format!("  {:13} {}", step.name, step.about)).collect();
    lines.join("\n")
}

/// Runs the steps named, or all, up to the first that fails.
pub(crate) fn run(names: &[String]) -> Outcome {
    let steps = select(names)?;
    let start = Instant::now();
    let mut notices = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        println!("\n=== {}/{} {}: {}", index + 1, steps.len(), step.name, step.about);
        if let Passed::Except(notice) = timed(step)? {
            notices.push(format!("!!! {}: {notice}", step.name));
        }
    }
    println!("\nci: {}", conclusion(steps.len(), &seconds(start.elapsed()), &notices));
    Ok(())
}

fn select(names: &[String]) -> Outcome<Vec<&'static Step>> {
    if names.is_empty() {
        return Ok(STEPS.iter().collect());
    }
    let find = |name: &String| {
        STEPS
            .iter()
            .find(|step| step.name == name)
            .ok_or_else(|| format!("ci has no step `{name}`, but these:\n{}", list()))
    };
    names.iter().map(find).collect()
}

fn timed(step: &Step) -> Outcome<Passed> {
    let start = Instant::now();
    let outcome = (step.run)();
    let took = seconds(start.elapsed());
    match &outcome {
        Ok(Passed::Fully) => println!("=== {} passed in {took}", step.name),
        Ok(Passed::Except(notice)) => {
            println!("!!! {notice}\n=== {} passed in {took}, but for the above", step.name)
        }
        Err(_) => {}
    }
    outcome.map_err(|why| format!("{why}\nci: FAILED at step `{}`, after {took}", step.name))
}

fn conclusion(steps: usize, took: &str, notices: &[String]) -> String {
    let count =
        if steps == 1 { "1 step passed".to_owned() } else { format!("all {steps} steps passed") };
    if notices.is_empty() {
        format!("{count} in {took}")
    } else {
        format!("{count} in {took}, BUT\n{}", notices.join("\n"))
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn fully(outcome: Outcome) -> Outcome<Passed> {
    outcome.map(|()| Passed::Fully)
}

fn format() -> Outcome {
    shell::run(&mut cargo(["fmt", "--all", "--check"]))
}

fn clippy() -> Outcome {
    shell::run(&mut cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ]))
}

fn docs() -> Outcome {
    shell::run(
        cargo(["doc", "--workspace", "--no-deps", "--all-features"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// Of the crates that are published; a test's dependencies must not lend them features.
fn features() -> Outcome {
    install::ensure(&install::HACK)?;
    shell::run(&mut cargo([
        "hack",
        "check",
        "--workspace",
        "--ignore-private",
        "--each-feature",
        "--no-dev-deps",
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(steps: &[&Step]) -> Vec<&'static str> {
        steps.iter().map(|step| step.name).collect()
    }

    #[test]
    fn without_names_all_steps_are_run() {
        let steps = select(&[]).expect("all");
        assert_eq!(steps.len(), STEPS.len());
    }

    #[test]
    fn named_steps_are_run_in_the_order_named() {
        let steps = select(&["test".to_owned(), "format".to_owned()]).expect("both exist");
        assert_eq!(names(&steps), ["test", "format"]);
    }

    #[test]
    fn an_unknown_step_is_an_error_before_any_step_runs() {
        let why = select(&["format".to_owned(), "clipy".to_owned()])
            .map(|_| ())
            .expect_err("a typing mistake");
        assert!(why.contains("`clipy`") && why.contains("clippy"), "{why}");
    }

    #[test]
    fn what_was_left_out_is_the_last_thing_said() {
        assert_eq!(conclusion(8, "70.0 s", &[]), "all 8 steps passed in 70.0 s");
        assert_eq!(
            conclusion(1, "0.3 s", &["!!! deny: not all".to_owned()]),
            "1 step passed in 0.3 s, BUT\n!!! deny: not all"
        );
    }
}
