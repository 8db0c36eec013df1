//! Who may look into the files: nobody but their owner, whatever the umask.
//!
//! A umask can only take rights away, so nothing is ever open to others, not even for a moment; what it took away from the
//! owner is given back explicitly.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    path::Path,
    thread,
    time::Duration,
};

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

/// Opens a file to lock, and makes it where there is none. Where the umask leaves the owner nothing, it takes whoever makes it
/// at the same time a moment to give that back.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    const ATTEMPTS: usize = 100;
    for _ in 1..ATTEMPTS {
        match open_or_make(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => thread::sleep(Duration::from_millis(1)),
            opened => return opened,
        }
    }
    open_or_make(path)
}

fn open_or_make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.create(true).truncate(false).open(path)?;
    make_usable(&file)?;
    Ok(file)
}

/// Gives the owner what the umask took away when the file was made.
#[cfg(unix)]
pub(crate) fn make_usable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    if file.metadata()?.permissions().mode() & 0o600 == 0o600 {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
pub(crate) fn make_usable(_: &File) -> io::Result<()> {
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
