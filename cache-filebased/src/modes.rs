//! Who may look into the files: nobody but their owner, whatever the umask.
//!
//! A umask can only take rights away, so nothing is ever open to others, not even for a moment; what it took away from the
//! owner is given back explicitly.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    path::Path,
};

use tempfile::NamedTempFile;

/// How the names of files begin that are not at their place yet.
pub(crate) const NEW: &str = ".new-";

/// Makes a folder with every level that is missing, each 0700. Those that exist keep their modes.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    match make_unless_there(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_folder(path.parent().ok_or(error)?)?;
            make_unless_there(path)
        }
        made => made,
    }
}

/// What was there and vanished again is left to the caller's next attempt.
fn make_unless_there(path: &Path) -> io::Result<()> {
    match make_level(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => match fs::metadata(path) {
            Ok(there) if !there.is_dir() => Err(error),
            _ => Ok(()),
        },
        made => made,
    }
}

#[cfg(unix)]
fn make_level(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

    DirBuilder::new().mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn make_level(path: &Path) -> io::Result<()> {
    DirBuilder::new().create(path)
}

/// Opens a file to lock, and makes it where there is none: under another name at first, lest anybody meet it before its owner
/// may open it.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).write(true).open(path);
    match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    match new_file_in(path.parent().unwrap_or(path))?.persist_noclobber(path) {
        Err(failure) if failure.error.kind() == ErrorKind::AlreadyExists => open(),
        made => made.map_err(|failure| failure.error),
    }
}

/// A file of a name that nobody has, which is removed when it is dropped before it gets another one.
pub(crate) fn new_file_in(folder: &Path) -> io::Result<NamedTempFile> {
    let new = tempfile::Builder::new().prefix(NEW).rand_bytes(8).tempfile_in(folder)?;
    make_usable(new.as_file())?;
    Ok(new)
}

/// Gives the owner what the umask took away when the file was made.
#[cfg(unix)]
fn make_usable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    if file.metadata()?.permissions().mode() & 0o600 == 0o600 {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn make_usable(_: &File) -> io::Result<()> {
    Ok(())
}

/// Whether an open file is the one that the path names now.
#[cfg(unix)]
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let (open, named) = (file.metadata()?, fs::metadata(path)?);
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

/// Elsewhere, a file that is open can't be removed.
#[cfg(not(unix))]
pub(crate) fn is_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}
