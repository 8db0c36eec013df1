//! Where and when something was measured.

use std::{fs, process::Command, thread, time::SystemTime};

use serde::{Deserialize, Serialize};

/// The machine, the compiler and the state of the code that a run measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model.
    pub processor: String,
    /// How many processors there are for this process.
    pub processors: usize,
    /// The operating system and its version.
    pub system: String,
    /// The version of Rust.
    pub rust: String,
    /// The commit, with `+` where the code differs from it.
    pub commit: String,
    /// The day, as `2026-11-25`, in UTC.
    pub day: String,
}

impl Machine {
    /// This one, now. What can't be found out is `unknown`.
    #[must_use]
    pub fn here() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        Self {
            processor: processor().unwrap_or_else(unknown),
            processors: thread::available_parallelism().map_or(1, usize::from),
            system: kernel.map_or_else(
                || std::env::consts::OS.to_owned(),
                |kernel| format!("Linux {}", kernel.trim()),
            ),
            rust: said("rustc", &["--version"]).unwrap_or_else(unknown),
            commit: commit().unwrap_or_else(unknown),
            day: day(SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs() / 86_400)),
        }
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What is not committed under `docs` is what a run writes.
fn commit() -> Option<String> {
    let commit = said("git", &["rev-parse", "--short=10", "HEAD"])?;
    let changed = said("git", &["status", "--porcelain", "--", ":/", ":!/docs"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}+") })
}

/// What a program says, if it can be asked.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The date, so many days after the first of January 1970.
fn day(mut days: u64) -> String {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_through_leap_years() {
        let days = [0, 59, 11_016, 19_782, 19_783, 20_782].map(day);
        assert_eq!(
            days,
            ["1970-01-01", "1970-03-01", "2000-02-29", "2024-02-29", "2024-03-01", "2026-11-25"]
        );
    }
}
