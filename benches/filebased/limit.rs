//! The least that a program could do: a file a key in 256 folders, replaced by a rename. No expiry, no lock, no checksum.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    hint::black_box,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A folder of files.
#[derive(Clone)]
pub(crate) struct Files(Arc<Path>);

impl Files {
    pub(crate) fn new(folder: &Path) -> Self {
        for shard in 0..256 {
            fs::create_dir_all(folder.join(format!("{shard:02x}"))).expect("there is room");
        }
        Self(folder.into())
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let hash = hasher.finish();
        self.0.join(format!("{:02x}/{hash:062x}.entry", hash % 256))
    }

    #[expect(clippy::unused_self, reason = "it reads as what it does")]
    pub(crate) fn write(&self, path: &Path, content: &[u8]) {
        let folder = path.parent().expect("it is in a folder");
        let mut file =
            tempfile::Builder::new().rand_bytes(8).tempfile_in(folder).expect("there is room");
        file.write_all(content).expect("there is room");
        file.persist(path).expect("there is room");
    }
}

/// Opens and reads, and asks for nothing else.
pub(crate) fn read(path: &Path) {
    let mut buffer = [0; 1024];
    let length = File::open(path).and_then(|mut file| file.read(&mut buffer)).expect("it is there");
    assert!(length > 0);
    black_box(&buffer);
}
