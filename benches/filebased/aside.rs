//! Where the files of a pass go when its time is taken: they are moved, and removed with all the rest at the end.
//!
//! For ext4 gives a new file no inode that was freed less than a minute ago, or five while the disk does not know of it, and
//! looks at all of these before it takes another one. Passes that removed what they wrote made each other ten times as slow.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

/// A folder on the same disk.
pub(crate) struct Aside {
    folder: PathBuf,
    next: AtomicUsize,
}

impl Aside {
    pub(crate) fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).expect("there is room");
        Self { folder, next: AtomicUsize::new(0) }
    }

    pub(crate) fn take(&self, file: &Path) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        fs::rename(file, self.folder.join(number.to_string())).expect("it is there");
    }
}
