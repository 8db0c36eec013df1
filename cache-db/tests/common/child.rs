//! Child processes of a test: its own binary, which runs one task.

use std::{
    env,
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

pub(crate) const FOLDER: &str = "CACHETTE_TEST_FOLDER";
const TASK: &str = "CACHETTE_TEST_TASK";

/// Returns the task and the folder of this process if it is a child.
pub(crate) fn task() -> Option<(String, PathBuf)> {
    Some((env::var(TASK).ok()?, env::var_os(FOLDER)?.into()))
}

pub(crate) fn binary() -> PathBuf {
    env::current_exe().expect("the path is known")
}

/// Completes a command that ends with the path of this test binary. The child runs the test
/// `child_process_runs_its_task`.
pub(crate) fn child(mut command: Command, task: &str, folder: &Path) -> Command {
    command.args(["child_process_runs_its_task", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(TASK, task).env(FOLDER, folder).env("RUST_BACKTRACE", "0");
    command
}

/// Runs a child to its end.
pub(crate) fn run(mut child: Command) {
    let output = child.output().expect("the child starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{}\n{out}{err}", output.status);
}

/// A child that has reported that it has started.
pub(crate) struct Started {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

/// Starts a child and waits until it reports that it has started.
pub(crate) fn start(mut child: Command) -> Started {
    let child = child.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().expect("the child starts");
    let output = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let mut started = Started { child, output };
    assert!(started.prints("started"), "it did not start");
    started
}

impl Started {
    /// Reads until the child prints a text. Returns `false` if it does not.
    fn prints(&mut self, text: &str) -> bool {
        self.output.any(|line| line.is_ok_and(|line| line.contains(text)))
    }

    /// Lets a child continue that [waits](wait_for_parent).
    pub(crate) fn resume(&mut self) {
        let input = self.child.stdin.as_mut().expect("stdin is piped");
        input.write_all(b"continue\n").expect("the child is running");
    }

    /// Waits until the task has succeeded.
    pub(crate) fn finish(mut self) {
        assert!(self.prints("1 passed"), "the task failed");
        assert!(self.child.wait().expect("the child ends").success(), "the child failed");
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the child is running");
        self.child.wait().expect("the child ends");
    }
}

impl Drop for Started {
    /// Ends a child whose parent has failed.
    fn drop(&mut self) {
        // Fails if the child has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reports to the parent that this child has started.
#[expect(clippy::print_stdout, reason = "the parent waits for the output")]
pub(crate) fn report_start() {
    println!("started");
}

/// Waits until the parent lets this child continue.
pub(crate) fn wait_for_parent() {
    let line = std::io::stdin().lines().next();
    line.expect("the parent is running").expect("it writes text");
}
