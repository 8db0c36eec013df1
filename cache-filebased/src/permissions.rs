//! Directories and files that only their owner can access, regardless of the umask.
//!
//! A umask can only remove permissions, so nothing is ever accessible to others, not even for a
//! moment. If the umask removed permissions of the owner, they are added again. Otherwise the mode
//! is not changed, because some file systems (SMB, FUSE) have fixed modes and refuse every change.
//!
//! What root creates belongs to the owner and the group of the directory in which it is created:
//! otherwise the service could not use what an operator created as root.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    path::Path,
};

use tempfile::{NamedTempFile, TempDir};

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
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};

    DirBuilder::new().mode(0o700).create(path)?;
    let created = fs::symlink_metadata(path)?;
    if created.permissions().mode() & 0o700 != 0o700 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    let parent = path.parent().unwrap_or(path);
    let given = give_to_owner_of(parent, &created, |owner, group| chown(path, owner, group));
    // A directory that the service cannot use must not stay.
    given.inspect_err(|_| drop(fs::remove_dir(path)))
}

/// If root created a file or a directory, gives it to the owner and the group of `parent`.
#[cfg(unix)]
fn give_to_owner_of(
    parent: &Path,
    created: &fs::Metadata,
    chown: impl FnOnce(Option<u32>, Option<u32>) -> io::Result<()>,
) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    if created.uid() != 0 {
        return Ok(());
    }
    let parent = fs::metadata(parent)?;
    let (owner, group) = (parent.uid(), parent.gid());
    if (owner, group) == (created.uid(), created.gid()) {
        return Ok(());
    }
    chown(Some(owner), Some(group)).map_err(|error| {
        let message = format!("cannot give what root created to user {owner}: {error}");
        io::Error::new(error.kind(), message)
    })
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
    // Unlike those of `tempfile_in`, errors of `make_in` do not repeat the path.
    let mut builder = tempfile::Builder::new();
    let file = builder.prefix(TEMPORARY_PREFIX).rand_bytes(8).make_in(directory, create_file)?;
    allow_owner(file.as_file(), directory)?;
    Ok(file)
}

/// Creates a directory with a unique name. It is removed on drop.
pub(crate) fn create_temporary_dir_in(directory: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempdir_in(directory)
}

fn create_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Restores the owner's permissions if the umask removed them, and gives a file that root created
/// to the owner of its directory.
#[cfg(unix)]
fn allow_owner(file: &File, directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::{PermissionsExt, fchown};

    let created = file.metadata()?;
    if created.permissions().mode() & 0o600 != 0o600 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    give_to_owner_of(directory, &created, |owner, group| fchown(file, owner, group))
}

#[cfg(not(unix))]
fn allow_owner(_: &File, _: &Path) -> io::Result<()> {
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
