//! Helpers for tests: directories, the files in them, and child processes.
#![allow(dead_code, reason = "no test file uses all of it")]

use std::{
    env, error, fs, iter,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::{Duration, SystemTime},
};

use cache_core::{Bytes, Error, Value};
use cache_filebased::{FileBasedCache, FileBasedOptions};
use tempfile::TempDir;

pub(crate) const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// Creates a directory on the disk of the build. The system's temporary directory may be in memory.
pub(crate) fn temp_dir() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}

/// Creates a store that never culls.
pub(crate) fn store(directory: &Path) -> FileBasedCache {
    store_with_max_entries(directory, 1_000_000)
}

/// Creates a store with a lock timeout that is long enough for a busy disk.
pub(crate) fn store_with_max_entries(directory: &Path, max_entries: usize) -> FileBasedCache {
    let options =
        FileBasedOptions::default().max_entries(max_entries).lock_timeout(Duration::from_secs(60));
    FileBasedCache::new(directory, options).expect("valid options")
}

pub(crate) fn bytes(byte: u8, length: usize) -> Value {
    Value::Bytes(Bytes::from(vec![byte; length]))
}

/// Joins the messages of an error and its sources.
pub(crate) fn chain(error: &Error) -> String {
    let first: &dyn error::Error = error;
    let errors = iter::successors(Some(first), |error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Whether a value was created by [`bytes`] with this length.
pub(crate) fn is_intact(value: &Value, length: usize) -> bool {
    let Value::Bytes(bytes) = value else { return false };
    bytes.len() == length && bytes.iter().all(|byte| *byte == bytes[0])
}

/// Lists all files in the shards except the lock files.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let shards =
        fs::read_dir(directory).into_iter().flatten().filter_map(|shard| Some(shard.ok()?.path()));
    let files = shards.filter_map(|shard| fs::read_dir(shard).ok()).flatten();
    let mut files: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    files.retain(|file| !file.ends_with("lock"));
    files.sort_unstable();
    files
}

pub(crate) fn entries(directory: &Path) -> Vec<PathBuf> {
    files(directory)
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "entry"))
        .collect()
}

pub(crate) fn temporary_files(directory: &Path) -> Vec<PathBuf> {
    let is_new = |file: &PathBuf| {
        file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".new-"))
    };
    files(directory).into_iter().filter(is_new).collect()
}

/// Sets the modification time of a file to this long ago.
pub(crate) fn age(file: &Path, age: Duration) {
    let file = fs::File::options().write(true).open(file).expect("the file exists");
    file.set_modified(SystemTime::now() - age).expect("the test owns the file");
}

const TASK: &str = "CACHETTE_TEST_TASK";
const DIRECTORY: &str = "CACHETTE_TEST_DIRECTORY";

/// Returns the task and the directory of a child process, or `None` in the parent.
pub(crate) fn task() -> Option<(String, PathBuf)> {
    Some((env::var(TASK).ok()?, env::var_os(DIRECTORY)?.into()))
}

/// Completes a `command` that ends with the path of this test binary, so that it runs the test
/// `child_process_runs_its_task`.
pub(crate) fn child(mut command: Command, task: &str, directory: &Path) -> Command {
    command.args(["child_process_runs_its_task", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(TASK, task).env(DIRECTORY, directory).env("RUST_BACKTRACE", "0");
    command
}

pub(crate) fn this_binary() -> PathBuf {
    env::current_exe().expect("the path is known")
}

/// Creates a child that is started by a shell script, in which `"$@"` runs the test binary.
pub(crate) fn shell_child(script: &str, binary: &Path, task: &str, directory: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(binary);
    child(shell, task, directory)
}

/// Runs a child and panics with its output if it fails.
pub(crate) fn run_child(mut child: Command) -> ExitStatus {
    let output = child.output().expect("the child starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    assert!(
        text(&output.stdout).contains("1 passed"),
        "the test was not found: {}",
        text(&output.stdout)
    );
    output.status
}
