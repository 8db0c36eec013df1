//! Tests that need a process of their own.

use std::{env, process::Command, thread};

/// Runs the test that calls it in a process of its own.
///
/// Tests that look at what is logged begin with it:
///
/// ```no_run
/// # fn setting_that_is_ignored_is_logged() {
/// xtask::run_alone!();
/// # }
/// ```
///
/// tracing remembers for each event whether a subscriber wants it, and asks them when it first
/// occurs. If that is in another test, while this one sets its subscriber, this one may not be
/// asked, and the event is never logged.
///
/// # Panics
///
/// Panics if the test fails in that process.
#[macro_export]
macro_rules! run_alone {
    () => {
        if !$crate::__is_alone() {
            return;
        }
    };
}

/// Set to the name of the test in the process of a test that runs alone.
const VARIABLE: &str = "CACHETTE_TEST_ALONE";

/// Returns whether the test has its process for itself. If not, runs it in one.
#[doc(hidden)]
#[must_use]
pub fn __is_alone() -> bool {
    if env::var_os(VARIABLE).is_some() {
        return true;
    }
    let thread = thread::current();
    let test = thread.name().expect("the harness names the thread of a test after it");
    let mut command = Command::new(env::current_exe().expect("the path of this program"));
    command.args(["--exact", test]).env(VARIABLE, test);
    let output = command.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_runs_again_in_a_process_of_its_own() {
        run_alone!();
        let alone = env::var(VARIABLE).expect("another process has set it");
        assert!(alone.ends_with("test_runs_again_in_a_process_of_its_own"));
    }
}
