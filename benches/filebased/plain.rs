//! The least work with files: one file per key in 256 folders, replaced by a rename. No expiry,
//! lock or checksum.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    hint::black_box,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use cachette_benches::workload::VALUE;

/// A folder of files.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new(folder: &Path) -> Self {
        for shard in 0..256 {
            fs::create_dir_all(folder.join(format!("{shard:02x}"))).expect("it can be created");
        }
        Self(folder.into())
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let hash = hasher.finish();
        self.0.join(format!("{:02x}/{hash:062x}.entry", hash % 256))
    }

    pub(crate) fn write(&self, key: &str) {
        let path = self.path(key);
        let folder = path.parent().expect("a folder");
        let mut file = tempfile::Builder::new().rand_bytes(8).tempfile_in(folder).expect("a file");
        file.write_all(&VALUE).expect("it can be written");
        file.persist(&path).expect("it can be renamed");
    }

    pub(crate) fn read(&self, key: &str) {
        let mut buffer = [0; 1024];
        let file = File::open(self.path(key));
        let length = file.and_then(|mut file| file.read(&mut buffer)).expect("the file exists");
        assert!(length > 0);
        black_box(&buffer);
    }
}
