//! Checks licenses, sources, duplicates and known vulnerabilities of the dependencies. The rules
//! are in `deny.toml`.

use std::{env, process::Command};

use crate::{
    install,
    shell::{self, Outcome, cargo},
};

/// If set, an unreachable advisory database fails the step.
const REQUIRE_ADVISORIES: &str = "CACHETTE_REQUIRE_ADVISORIES";

/// Returns a warning if the advisories could not be checked.
pub(crate) fn run() -> Outcome<Option<String>> {
    install::ensure(&install::DENY)?;
    shell::run(&mut deny(&["check", "bans", "licenses", "sources"]))?;
    match shell::output(&mut deny(&["fetch", "db"])) {
        Ok(_) => shell::run(&mut deny(&["check", "advisories"])).map(|()| None),
        Err(error) => {
            without_database(&error, is_set(env::var(REQUIRE_ADVISORIES).ok().as_deref()))
        }
    }
}

fn deny(args: &[&str]) -> Command {
    let mut command = cargo(["deny", "--workspace"]);
    // Makes git fail instead of waiting for a password.
    command.args(args).env("GIT_TERMINAL_PROMPT", "0");
    command
}

fn is_set(variable: Option<&str>) -> bool {
    variable.is_some_and(|value| !matches!(value, "" | "0"))
}

fn without_database(error: &str, required: bool) -> Outcome<Option<String>> {
    let warning =
        format!("advisories were NOT checked: cannot fetch the RustSec database:\n{error}");
    if required { Err(warning) } else { Ok(Some(warning)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_database_is_a_warning_with_its_reason() {
        let warning = without_database("no such host", false).expect("it is tolerated");
        let warning = warning.expect("a warning");
        assert!(warning.contains("NOT checked") && warning.contains("no such host"), "{warning}");
    }

    #[test]
    fn unreachable_database_is_an_error_if_advisories_are_required() {
        assert!(without_database("no such host", true).is_err());
    }

    #[test]
    fn empty_or_zero_variable_is_not_set() {
        assert!(is_set(Some("1")));
        assert!(![None, Some(""), Some("0")].into_iter().any(is_set));
    }
}
