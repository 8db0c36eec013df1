//! Reading files: without blocking if possible, or else on a blocking thread.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, Read},
    path::Path,
};

use cache_core::Bytes;

/// The size of the largest file that is read on the caller's thread, in bytes. Reading, checking
/// and copying this much took a third of the time that another thread took.
pub(crate) const MAX_NONBLOCKING_READ: usize = 64 << 10;

/// The result of a read that must not block.
pub(crate) enum TryRead<T> {
    Done(T),
    NotFound,
    /// The file is large, is not in memory, or is damaged: read it on a blocking thread.
    WouldBlock,
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Passes the first [`MAX_NONBLOCKING_READ`] bytes of a file to `decode` if reading them does not
/// block.
pub(crate) fn try_read<T>(path: &Path, decode: impl FnOnce(&[u8]) -> Option<T>) -> TryRead<T> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(MAX_NONBLOCKING_READ, 0);
        match system::read_nonblocking(path, buffer) {
            Ok(Some(length)) => {
                decode(&buffer[..length]).map_or(TryRead::WouldBlock, TryRead::Done)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => TryRead::NotFound,
            Ok(None) | Err(_) => TryRead::WouldBlock,
        }
    })
}

/// Reads a whole file, or returns `None` if it does not exist.
///
/// Passes the first `start` bytes and the length of the file to `check` before it reads the rest,
/// so that a huge file which is not an entry takes no memory.
pub(crate) fn read<E>(
    path: &Path,
    start: usize,
    check: impl FnOnce(&[u8], u64) -> Result<(), E>,
) -> io::Result<Option<Result<Bytes, E>>> {
    match read_to_vec(path, start, check) {
        Ok(bytes) => Ok(Some(bytes.map(Into::into))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a file for reading, which may block.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    system::open(path)
}

fn read_to_vec<E>(
    path: &Path,
    start: usize,
    check: impl FnOnce(&[u8], u64) -> Result<(), E>,
) -> io::Result<Result<Vec<u8>, E>> {
    let mut file = open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::with_capacity(start);
    (&file).take(start as u64).read_to_end(&mut bytes)?;
    if let Err(error) = check(&bytes, length) {
        return Ok(Err(error));
    }
    bytes.try_reserve_exact(usize::try_from(length).unwrap_or(0).saturating_sub(bytes.len()))?;
    file.read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
}

/// Whether [`try_read`] never waits for a disk.
pub(crate) const TRY_READ_NEVER_BLOCKS: bool = cfg!(target_os = "linux");

/// On Linux, both the lookup of a path and the read of a file can be limited to what is in memory.
/// Access times are not updated, because that can wait for a disk as well.
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

    /// Only regular files are useful: symbolic links are not followed, and opening a pipe does not
    /// wait for its writer.
    const FLAGS: OFlags =
        OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);

    pub(super) fn read_nonblocking(path: &Path, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let file = match openat2(
            CWD,
            path,
            FLAGS | OFlags::NOATIME,
            Mode::empty(),
            ResolveFlags::CACHED,
        ) {
            Err(Errno::AGAIN) => return Ok(None),
            result => result?,
        };
        match preadv2(&file, &mut [IoSliceMut::new(buffer)], 0, ReadWriteFlags::NOWAIT) {
            Err(Errno::AGAIN) => Ok(None),
            Err(Errno::OPNOTSUPP) if is_in_memory(&file) => Ok(Some(pread(&file, buffer, 0)?)),
            result => Ok(Some(result?)),
        }
    }

    /// tmpfs does not support non-blocking reads and does not need them.
    #[allow(clippy::useless_conversion, reason = "the type depends on the architecture")]
    fn is_in_memory(file: impl rustix::fd::AsFd) -> bool {
        const TMPFS: i64 = 0x0102_1994;
        fstatfs(file).is_ok_and(|system| i64::from(system.f_type) == TMPFS)
    }

    pub(super) fn open(path: &Path) -> io::Result<File> {
        match openat(CWD, path, FLAGS | OFlags::NOATIME, Mode::empty()) {
            // Only the owner of a file may skip the update of its access time.
            Err(Errno::PERM) => Ok(openat(CWD, path, FLAGS, Mode::empty())?.into()),
            result => Ok(result?.into()),
        }
    }
}

/// Other systems cannot report that a read would block. The read is done on the assumption that the
/// file is in memory or the disk is fast.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::{
        fs::File,
        io::{self, Read},
        path::Path,
    };

    pub(super) fn read_nonblocking(path: &Path, buffer: &mut [u8]) -> io::Result<Option<usize>> {
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

    fn nonblocking_length(path: &Path) -> Option<usize> {
        match try_read(path, |bytes| Some(bytes.len())) {
            TryRead::Done(length) => Some(length),
            TryRead::NotFound | TryRead::WouldBlock => None,
        }
    }

    fn read_all(path: &Path) -> Option<Bytes> {
        let bytes = read(path, 2, |_, _| Ok::<(), ()>(())).expect("the file is readable");
        bytes.map(|bytes| bytes.expect("the check succeeds"))
    }

    #[test]
    fn just_written_file_is_read_without_blocking() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        fs::write(&path, b"bytes").expect("the file is written");
        assert_eq!(nonblocking_length(&path), Some(5));
        assert_eq!(read_all(&path), Some(b"bytes"[..].into()));
    }

    #[test]
    fn file_that_fails_the_check_is_not_read() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        fs::write(&path, b"bytes").expect("the file is written");
        let checked = read(&path, 2, |start, length| Err::<(), _>((start.to_vec(), length)));
        assert_eq!(checked.expect("the file is readable"), Some(Err((b"by".to_vec(), 5))));
    }

    #[test]
    fn missing_file_is_not_found_and_not_an_error() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        assert!(read_all(&path).is_none());
        let result = try_read(&path, |_| Some(()));
        assert!(matches!(result, TryRead::NotFound), "the lookup is in memory now");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn file_that_is_not_in_memory_is_read_only_by_a_blocking_read() {
        use rustix::fs::{Advice, fadvise};

        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        fs::write(&path, b"bytes").expect("the file is written");
        let file = File::open(&path).expect("the file exists");
        file.sync_all().expect("the file is synced");
        fadvise(&file, 0, None, Advice::DontNeed).expect("a regular file");
        // The kernel may ignore the advice, and a file system in memory always does.
        assert!(matches!(nonblocking_length(&path), None | Some(5)));
        assert_eq!(read_all(&path), Some(b"bytes"[..].into()));
        assert_eq!(nonblocking_length(&path), Some(5), "the file is in memory now");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn symbolic_link_is_not_followed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, b"bytes").expect("the file is written");
        std::os::unix::fs::symlink(&file, &link).expect("the link is created");
        assert_eq!(nonblocking_length(&link), None);
        assert!(read(&link, 2, |_, _| Ok::<(), ()>(())).is_err());
    }
}
