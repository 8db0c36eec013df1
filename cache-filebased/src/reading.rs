//! How a file is read: at once where that takes no waiting, else as a whole.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, Read},
    path::Path,
};

use cache_core::Bytes;

/// Files up to this size are read without leaving the caller's thread, in bytes. To read, check and copy as much took a
/// third of what it takes to have another thread do it.
pub(crate) const AT_ONCE: usize = 64 << 10;

/// What can be seen of a file at once.
pub(crate) enum Glance<T> {
    Seen(T),
    Absent,
    /// It is large, on a disk that would have to be waited for, or broken.
    Unclear,
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Has `look` see the file's bytes, at most [`AT_ONCE`] of them, if that takes no waiting for a disk.
pub(crate) fn glance<T>(path: &Path, look: impl FnOnce(&[u8]) -> Option<T>) -> Glance<T> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(AT_ONCE, 0);
        match system::read_at_once(path, buffer) {
            Ok(Some(length)) => look(&buffer[..length]).map_or(Glance::Unclear, Glance::Seen),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Glance::Absent,
            Ok(None) | Err(_) => Glance::Unclear,
        }
    })
}

/// The bytes of a file, or nothing where there is none.
pub(crate) fn whole(path: &Path) -> io::Result<Option<Bytes>> {
    match read_whole(path) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a file to read, on whatever disk.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    system::open(path)
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length)?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a glance is sure not to wait for a disk.
pub(crate) const IS_SURE_NOT_TO_WAIT: bool = cfg!(target_os = "linux");

/// Linux tells what it would have to wait for: both the look-up of a path and the reading of a file can be asked to use
/// only what is in memory. Access times are left as they are, for to write one down may wait for a disk, too.
#[cfg(target_os = "linux")]
mod system {
    use std::{
        fs::File,
        io::{self, IoSliceMut},
        path::Path,
    };

    use rustix::{
        fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat, openat2},
        io::{Errno, ReadWriteFlags, pread, preadv2},
    };

    /// Nothing but an ordinary file is of use: a link is not followed, and the writer of a pipe not waited for.
    const FLAGS: OFlags =
        OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);

    pub(super) fn read_at_once(path: &Path, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let file = match openat2(
            CWD,
            path,
            FLAGS | OFlags::NOATIME,
            Mode::empty(),
            ResolveFlags::CACHED,
        ) {
            Err(Errno::AGAIN) => return Ok(None),
            opened => opened?,
        };
        match preadv2(&file, &mut [IoSliceMut::new(buffer)], 0, ReadWriteFlags::NOWAIT) {
            Err(Errno::AGAIN) => Ok(None),
            Err(Errno::OPNOTSUPP) if is_in_memory(&file) => Ok(Some(pread(&file, buffer, 0)?)),
            read => Ok(Some(read?)),
        }
    }

    /// A file system in memory need not be asked not to wait, and tmpfs can't be.
    #[allow(clippy::useless_conversion, reason = "the type is another one on other processors")]
    fn is_in_memory(file: impl rustix::fd::AsFd) -> bool {
        const TMPFS: i64 = 0x0102_1994;
        fstatfs(file).is_ok_and(|system| i64::from(system.f_type) == TMPFS)
    }

    pub(super) fn open(path: &Path) -> io::Result<File> {
        match openat(CWD, path, FLAGS | OFlags::NOATIME, Mode::empty()) {
            // Access times can be spared by the owner only.
            Err(Errno::PERM) => Ok(openat(CWD, path, FLAGS, Mode::empty())?.into()),
            opened => Ok(opened?.into()),
        }
    }
}

/// Elsewhere, there is no way to ask, and the disk is taken to be fast or its files to be in memory.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::{
        fs::File,
        io::{self, Read},
        path::Path,
    };

    pub(super) fn read_at_once(path: &Path, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        open(path)?.read(buffer).map(Some)
    }

    pub(super) fn open(path: &Path) -> io::Result<File> {
        File::open(path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn glance_length(path: &Path) -> Option<usize> {
        match glance(path, |bytes| Some(bytes.len())) {
            Glance::Seen(length) => Some(length),
            Glance::Absent | Glance::Unclear => None,
        }
    }

    #[test]
    fn a_file_that_was_just_written_is_seen_at_once() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("file");
        fs::write(&path, b"bytes").expect("there is room");
        assert_eq!(glance_length(&path), Some(5));
        assert_eq!(whole(&path).expect("it reads").as_deref(), Some(&b"bytes"[..]));
    }

    #[test]
    fn a_missing_file_is_absent_and_no_error() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("file");
        assert!(whole(&path).expect("no error").is_none());
        assert!(matches!(glance(&path, |_| Some(())), Glance::Absent), "it was just looked up");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_is_not_in_memory_is_not_waited_for_but_read_as_a_whole() {
        use rustix::fs::{Advice, fadvise};

        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("file");
        fs::write(&path, b"bytes").expect("there is room");
        let file = File::open(&path).expect("it is there");
        file.sync_all().expect("there is room");
        fadvise(&file, 0, None, Advice::DontNeed).expect("it is a file");
        // The kernel need not follow the advice, and in memory it can't.
        assert!(matches!(glance_length(&path), None | Some(5)));
        assert_eq!(whole(&path).expect("it reads").as_deref(), Some(&b"bytes"[..]));
        assert_eq!(glance_length(&path), Some(5), "it was just read");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("there is room");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, b"bytes").expect("there is room");
        std::os::unix::fs::symlink(&file, &link).expect("links can be made");
        assert_eq!(glance_length(&link), None);
        assert!(whole(&link).is_err());
    }
}
