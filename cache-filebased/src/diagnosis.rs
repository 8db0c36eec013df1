//! What operators should know about the directory.

use std::path::Path;

use cache_core::Finding;

use crate::{check, entries::Entries};

/// Examines the directory and its file system. Leaves nothing behind.
pub(crate) fn run(entries: &Entries) -> Vec<Finding> {
    let path = entries.directory.path();
    let mut findings = Vec::new();
    if let Err(error) = check::run(entries) {
        let remedy = "let the users that run this command and the service write to it";
        findings.push(Finding::error("directory", format!("{error:#}")).with_remedy(remedy));
    }
    findings.extend(permissions(path));
    findings.extend(disk(path));
    findings
}

/// The finding if other users can read or replace entries.
#[cfg(unix)]
fn permissions(path: &Path) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    let others = match (mode & 0o022 != 0, mode & 0o055 != 0) {
        (true, _) => "other users can replace its entries",
        (false, true) => "other users can list its entries",
        (false, false) => return None,
    };
    let path = path.display();
    let finding = Finding::warning("permissions", format!("{path}: mode {mode:04o}: {others}"));
    Some(finding.with_remedy(format!("run `chmod go-rwx {path}`, unless they share the cache")))
}

#[cfg(not(unix))]
fn permissions(_: &Path) -> Option<Finding> {
    None
}

/// The findings about the file system of the directory, or of the parent that exists.
#[cfg(target_os = "linux")]
fn disk(path: &Path) -> Vec<Finding> {
    let existing = path.ancestors().find(|path| path.exists());
    let Some(system) = existing.and_then(|path| rustix::fs::statvfs(path).ok()) else {
        return Vec::new();
    };
    let place = path.display().to_string();
    let mut findings = Vec::new();
    // Some file systems, such as a tmpfs without a limit, have no size or no number of files.
    if system.f_blocks > 0 {
        let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
        findings.push(Finding::of_disk(&place, bytes(system.f_bavail), bytes(system.f_blocks)));
    }
    findings.extend(files(&place, system.f_favail, system.f_files));
    findings
}

#[cfg(not(target_os = "linux"))]
fn disk(_: &Path) -> Vec<Finding> {
    Vec::new()
}

/// The finding if few files can be created, of which each entry is one.
#[cfg(target_os = "linux")]
fn files(place: &str, free: u64, total: u64) -> Option<Finding> {
    if total == 0 || free >= total / 10 {
        return None;
    }
    let message = format!("{place}: {free} of {total} files (inodes) free");
    let remedy = "run `cachette purge-expired`, or set a lower max_entries";
    Some(Finding::warning("files", message).with_remedy(remedy))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn few_free_files_are_a_warning() {
        assert_eq!(files("/cache", 10, 100), None);
        assert_eq!(files("/cache", 0, 0), None);
        let finding = files("/cache", 9, 100).expect("a finding");
        assert!(finding.message.contains("9 of 100"), "{finding:?}");
    }
}
