//! What the tests of files share: folders, a look at what lies in them, and child processes.
#![allow(dead_code, reason = "no test file needs all of it")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::{Duration, SystemTime},
};

use cache_core::{Bytes, Value};
use cache_filebased::{FileBasedCache, FileBasedOptions};
use tempfile::TempDir;

pub(crate) const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// A folder on the disk of the build; the temporary folder may be in memory.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is room")
}

/// Room for everything, so that nothing is culled.
pub(crate) fn store(folder: &Path) -> FileBasedCache {
    store_of(folder, 1_000_000)
}

/// With patience for a disk that is busy with others.
pub(crate) fn store_of(folder: &Path, max_entries: usize) -> FileBasedCache {
    let options =
        FileBasedOptions::default().max_entries(max_entries).lock_timeout(Duration::from_secs(60));
    FileBasedCache::new(folder, options).expect("the options are fine")
}

pub(crate) fn bytes(byte: u8, length: usize) -> Value {
    Value::Bytes(Bytes::from(vec![byte; length]))
}

/// Whether a value is one that [`bytes`] makes.
pub(crate) fn is_whole(value: &Value, length: usize) -> bool {
    matches!(value, Value::Bytes(bytes) if bytes.len() == length && bytes.iter().all(|byte| *byte == bytes[0]))
}

/// All files in the subfolders, save the locks.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let shards =
        fs::read_dir(folder).into_iter().flatten().filter_map(|shard| Some(shard.ok()?.path()));
    let files = shards.filter_map(|shard| fs::read_dir(shard).ok()).flatten();
    let mut files: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    files.retain(|file| !file.ends_with("lock"));
    files.sort_unstable();
    files
}

pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    files(folder)
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "entry"))
        .collect()
}

pub(crate) fn temporary_files(folder: &Path) -> Vec<PathBuf> {
    let is_new = |file: &PathBuf| {
        file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".new-"))
    };
    files(folder).into_iter().filter(is_new).collect()
}

/// Makes a file look as if it had been written so long ago.
pub(crate) fn age(file: &Path, age: Duration) {
    let file = fs::File::options().write(true).open(file).expect("it is there");
    file.set_modified(SystemTime::now() - age).expect("it is ours");
}

const TASK: &str = "CACHETTE_TEST_TASK";
const FOLDER: &str = "CACHETTE_TEST_FOLDER";

/// What a child process is to do, and in which folder; nothing in a test process that is no child.
pub(crate) fn task() -> Option<(String, PathBuf)> {
    Some((env::var(TASK).ok()?, env::var_os(FOLDER)?.into()))
}

/// Makes `command`, which runs what its last arguments say, run this test binary: its test `a_child_does_its_task`.
pub(crate) fn child(mut command: Command, task: &str, folder: &Path) -> Command {
    command.args(["a_child_does_its_task", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(TASK, task).env(FOLDER, folder).env("RUST_BACKTRACE", "0");
    command
}

pub(crate) fn this_binary() -> PathBuf {
    env::current_exe().expect("it runs")
}

/// A child whose task is told by a line of shell, in which `"$@"` runs this binary.
pub(crate) fn shell_child(line: &str, binary: &Path, task: &str, folder: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", line, "sh"]).arg(binary);
    child(shell, task, folder)
}

/// Runs a child to its end, with what it says in the message if it fails.
pub(crate) fn succeeds(mut child: Command) -> ExitStatus {
    let output = child.output().expect("it starts");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        said(&output.stdout),
        said(&output.stderr)
    );
    assert!(said(&output.stdout).contains("1 passed"), "no such test: {}", said(&output.stdout));
    output.status
}
