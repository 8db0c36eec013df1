//! Licences, sources, duplicates and known vulnerabilities of the dependencies; the rules are in `deny.toml`.

use std::{env, process::Command};

use crate::{
    ci::Passed,
    install,
    shell::{self, Outcome, cargo},
};

/// Set where an unreachable database of advisories must fail the step.
const REQUIRE_ADVISORIES: &str = "CACHETTE_REQUIRE_ADVISORIES";

pub(crate) fn run() -> Outcome<Passed> {
    install::ensure(&install::DENY)?;
    shell::run(&mut deny(&["check", "bans", "licenses", "sources"]))?;
    match shell::output(&mut deny(&["fetch", "db"])) {
        Ok(_) => shell::run(&mut deny(&["check", "advisories"])).map(|()| Passed::Fully),
        Err(why) => without_database(&why, is_set(env::var(REQUIRE_ADVISORIES).ok().as_deref())),
    }
}

fn deny(args: &[&str]) -> Command {
    let mut command = cargo(["deny", "--workspace"]);
    // Without a terminal git gives up, where it would else wait for a password.
    command.args(args).env("GIT_TERMINAL_PROMPT", "0");
    command
}

fn is_set(variable: Option<&str>) -> bool {
    variable.is_some_and(|value| !matches!(value, "" | "0"))
}

fn without_database(why: &str, required: bool) -> Outcome<Passed> {
    let notice = format!(
        "the advisories were NOT checked, as the RustSec database could not be fetched:\n{why}"
    );
    if required { Err(notice) } else { Ok(Passed::Except(notice)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_database_is_told_with_its_reason() {
        let Ok(Passed::Except(notice)) = without_database("no such host", false) else {
            panic!("it is tolerated")
        };
        assert!(notice.contains("NOT checked") && notice.contains("no such host"), "{notice}");
    }

    #[test]
    fn an_unreachable_database_fails_where_advisories_are_required() {
        assert!(without_database("no such host", true).is_err());
    }

    #[test]
    fn a_variable_that_is_empty_or_zero_is_not_set() {
        assert!(is_set(Some("1")));
        assert!(![None, Some(""), Some("0")].into_iter().any(is_set));
    }
}
