//! The machine, the code and the versions that were measured.

use std::{env::consts::OS, fs, panic::resume_unwind, process::Command, thread};

use serde::{Deserialize, Serialize};

/// The machine, the compiler and the state of the code that a run measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model.
    pub processor: String,
    /// The number of processors available to this process.
    pub processors: usize,
    /// The operating system and its version.
    pub system: String,
    /// The version of Rust.
    pub rust: String,
    /// The commit, with `+` if there were uncommitted changes.
    pub commit: String,
    /// The date in UTC, as `2026-11-25`.
    pub day: String,
}

impl Machine {
    /// Returns this machine, now. What cannot be determined is `unknown`.
    #[must_use]
    pub fn here() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        let known = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
        Self {
            processor: known(processor()),
            processors: thread::available_parallelism().map_or(1, usize::from),
            system: kernel
                .map_or_else(|| OS.to_owned(), |kernel| format!("Linux {}", kernel.trim())),
            rust: known(output("rustc", &["--version"]).ok()),
            commit: known(commit()),
            day: known(output("date", &["-u", "+%F"]).ok()),
        }
    }
}

/// Runs `work` in a new thread that uses only the processor with this number, like all threads and
/// processes that it starts. On systems other than Linux, they use all processors.
///
/// # Panics
///
/// If `work` does, or if this process may not use the processor.
pub fn on_processor<T: Send>(number: usize, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let pinned = scope.spawn(move || {
            pin(number);
            work()
        });
        pinned.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[cfg(target_os = "linux")]
fn pin(processor: usize) {
    let mut processors = rustix::thread::CpuSet::new();
    processors.set(processor);
    rustix::thread::sched_setaffinity(None, &processors)
        .unwrap_or_else(|error| panic!("processor {processor}: {error}"));
}

#[cfg(not(target_os = "linux"))]
fn pin(_processor: usize) {}

/// Lets the calling thread use only one of its processors, which threads with other numbers share
/// equally.
#[cfg(target_os = "linux")]
pub(crate) fn spread(thread: usize) {
    let allowed = rustix::thread::sched_getaffinity(None).expect("a thread has processors");
    let processors: Vec<usize> =
        (0..rustix::thread::CpuSet::MAX_CPU).filter(|&number| allowed.is_set(number)).collect();
    pin(processors[thread % processors.len()]);
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn spread(_thread: usize) {}

fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Ignores changes in `docs`: a run writes its page there.
fn commit() -> Option<String> {
    let commit = output("git", &["rev-parse", "--short=10", "HEAD"]).ok()?;
    let changed = output("git", &["status", "--porcelain", "--", ":/", ":!/docs"]).ok()?;
    Some(if changed.is_empty() { commit } else { format!("{commit}+") })
}

/// Returns the versions of the crates that the benchmarks depend on directly, as `moka 0.12.16`,
/// except those of this workspace.
///
/// # Errors
///
/// Returns a message if cargo fails.
pub(crate) fn crate_versions() -> Result<Vec<String>, String> {
    let direct = ["--depth=1", "--edges=normal,dev", "--prefix=none", "--format={p}", "--locked"];
    Ok(parse_tree(&output("cargo", &[&["tree"], &direct[..]].concat())?))
}

fn parse_tree(tree: &str) -> Vec<String> {
    let mut versions: Vec<String> = tree
        .lines()
        // Crates of the workspace have a path.
        .filter(|line| !line.contains("(/"))
        .filter_map(|line| {
            let (name, rest) = line.split_once(" v")?;
            Some(format!("{name} {}", rest.split_whitespace().next()?))
        })
        .collect();
    versions.sort();
    versions.dedup();
    versions
}

/// Returns the output of a program.
fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.map_err(|error| format!("cannot start {program}: {error}"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {}: {}", arguments.join(" "), error.trim_end()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_of_the_workspace_are_not_listed() {
        let tree = "benches v0.1.0 (/c/benches)\npeer v1.0.0\ncore v0.1.0 (/c/core)\n\
                    derive v2.1.0+a (proc-macro)\npeer v1.0.0 (*)\n";
        assert_eq!(parse_tree(tree), ["derive 2.1.0+a", "peer 1.0.0"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn thread_on_one_processor_sees_only_that_one() {
        let processors = || thread::available_parallelism().expect("it is known").get();
        // Perhaps this process may not use the first one.
        let allowed = rustix::thread::sched_getaffinity(None).expect("Linux");
        let number = (0..rustix::thread::CpuSet::MAX_CPU).find(|&number| allowed.is_set(number));
        let work = || (processors(), thread::spawn(processors).join().ok());
        assert_eq!(on_processor(number.expect("one at least"), work), (1, Some(1)));
    }

    #[test]
    fn cargo_lists_the_versions_of_the_peers() {
        let versions = crate_versions().expect("cargo is installed");
        assert!(versions.iter().any(|version| version.starts_with("moka 0.")), "{versions:?}");
        assert!(!versions.iter().any(|version| version.starts_with("cache-")), "{versions:?}");
    }

    #[test]
    fn day_is_an_iso_date() {
        let day = Machine::here().day;
        assert!(day.len() == 10 && day.starts_with("20") && day.matches('-').count() == 2, "{day}");
    }
}
