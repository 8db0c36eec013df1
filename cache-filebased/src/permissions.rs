//! Directories and files that only their owner can access, regardless of the umask.
//!
//! A umask can only remove permissions, so nothing is ever accessible to others, not even for a
//! moment. If the umask removed permissions of the owner, they are added again.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    path::Path,
};

use tempfile::NamedTempFile;

/// The prefix of the names of temporary files.
pub(crate) const TEMPORARY_PREFIX: &str = ".new-";

/// Creates a directory and its missing parents with mode 0700. Existing ones keep their modes.
pub(crate) fn create_dir_all(path: &Path) -> io::Result<()> {
    match create_if_missing(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create_dir_all(path.parent().ok_or(error)?)?;
            create_if_missing(path)
        }
        result => result,
    }
}

/// Succeeds if the directory exists. If it existed and was just removed, the caller's next attempt
/// creates it.
fn create_if_missing(path: &Path) -> io::Result<()> {
    match create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => match fs::metadata(path) {
            Ok(existing) if !existing.is_dir() => Err(error),
            _ => Ok(()),
        },
        result => result,
    }
}

#[cfg(unix)]
fn create_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

    DirBuilder::new().mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().create(path)
}

/// Opens a lock file, or creates it if it is missing.
///
/// A new file is created under a temporary name, so that no other process opens it before its owner
/// has permission to.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).write(true).open(path);
    match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        result => return result,
    }
    match create_temporary_in(path.parent().unwrap_or(path))?.persist_noclobber(path) {
        Err(failure) if failure.error.kind() == ErrorKind::AlreadyExists => open(),
        result => result.map_err(|failure| failure.error),
    }
}

/// Creates a file with a unique name. It is removed on drop unless it is renamed.
pub(crate) fn create_temporary_in(directory: &Path) -> io::Result<NamedTempFile> {
    let file =
        tempfile::Builder::new().prefix(TEMPORARY_PREFIX).rand_bytes(8).tempfile_in(directory)?;
    allow_owner(file.as_file())?;
    Ok(file)
}

/// Restores the owner's permissions if the umask removed them.
#[cfg(unix)]
fn allow_owner(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    if file.metadata()?.permissions().mode() & 0o600 == 0o600 {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn allow_owner(_: &File) -> io::Result<()> {
    Ok(())
}

/// Whether `path` still names this open file.
#[cfg(unix)]
pub(crate) fn is_file_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let (open, named) = (file.metadata()?, fs::metadata(path)?);
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

/// On other systems, an open file cannot be removed.
#[cfg(not(unix))]
pub(crate) fn is_file_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}
