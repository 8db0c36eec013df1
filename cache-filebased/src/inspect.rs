//! Listing keys and finding the file of an entry.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use cache_core::{Inspector, KeyPages, KeyState, ListedKey, Location, Result, async_trait};

use crate::{
    FileBasedCache,
    blocking::spawn_blocking,
    cache::in_store,
    directory::ListedFile,
    entries::Entries,
    entry_file::{HEADER, Header, Payload},
    read,
    sweep::Skipped,
};

/// The maximum number of files that are read at once.
const PAGE: usize = 1000;

/// The maximum length of a key in bytes. Longer keys are not listed: the claim of a file that is
/// damaged must not take memory.
const MAX_KEY: usize = 64 << 10;

#[async_trait]
impl Inspector for FileBasedCache {
    /// Reads the start of every file, about 10 µs each. Logs directories that cannot be listed, and
    /// leaves out files that are no valid entries.
    fn keys(&self, prefix: &str) -> Box<dyn KeyPages + '_> {
        let listing = Listing {
            entries: Arc::clone(&self.entries),
            prefix: prefix.into(),
            shards: Box::new(0..=u8::MAX),
            files: None,
            skipped: Skipped::default(),
        };
        Box::new(Pages(Some(listing)))
    }

    /// The place is the path of the file, whether it exists or not.
    async fn locate(&self, key: &str, _: &str) -> Result<Location> {
        let (entries, target) = (Arc::clone(&self.entries), self.entries.target(key));
        let located = spawn_blocking(move || {
            let size = entries.look(&target, |_, entry| match entry.payload {
                Payload::Int(number) => size_of_val(&number),
                Payload::Bytes(bytes) => bytes.len(),
            })?;
            let is_leased = entries.held_lease(&target)?.is_some();
            Ok(Location {
                place: vec![("file".into(), target.path.path.display().to_string())],
                size: size.map(|size| size as u64),
                is_leased: Some(is_leased),
            })
        });
        located.await.map_err(in_store)
    }
}

/// The pages of a listing. It is `None` after the last page.
struct Pages(Option<Listing>);

#[async_trait]
impl KeyPages for Pages {
    async fn next_page(&mut self) -> Result<Option<Vec<ListedKey>>> {
        let Some(mut listing) = self.0.take() else { return Ok(None) };
        let read = spawn_blocking(move || {
            let (keys, is_last) = listing.next_page();
            Ok((keys, (!is_last).then_some(listing)))
        });
        let (keys, rest) = read.await.map_err(in_store)?;
        self.0 = rest;
        Ok(Some(keys))
    }
}

/// The files that were not read yet.
struct Listing {
    entries: Arc<Entries>,
    prefix: String,
    shards: Box<dyn Iterator<Item = u8> + Send>,
    /// The rest of the shard that is being listed.
    files: Option<Box<dyn Iterator<Item = ListedFile> + Send>>,
    skipped: Skipped,
}

impl Listing {
    /// Reads the keys of the next files. Returns whether these are the last ones.
    fn next_page(&mut self) -> (Vec<ListedKey>, bool) {
        let mut keys = Vec::new();
        for _ in 0..PAGE {
            let Some(path) = self.next_entry() else {
                std::mem::take(&mut self.skipped).log();
                return (keys, true);
            };
            let key = key_in(&self.entries, &path);
            keys.extend(key.filter(|listed| listed.key.starts_with(&*self.prefix)));
        }
        (keys, false)
    }

    fn next_entry(&mut self) -> Option<PathBuf> {
        loop {
            match self.files.as_mut().and_then(Iterator::next) {
                Some(ListedFile::Entry(path)) => return Some(path),
                Some(ListedFile::Lease(_) | ListedFile::Temporary(_)) => {}
                None => {
                    let listed = self.entries.directory.list(self.shards.next()?);
                    let files = listed.map(|files| Some(Box::new(files) as Box<_>));
                    self.files = self.skipped.unless_ok(files);
                }
            }
        }
    }
}

/// Reads the key of a file. Returns `None` if the file is not the entry of that key.
fn key_in(entries: &Entries, path: &Path) -> Option<ListedKey> {
    let (header, key) = read_key(path).ok()??;
    let is_expired = header.expiry.has_passed(&entries.clock);
    let state = if is_expired { KeyState::Expired } else { KeyState::Live };
    (entries.directory.entry_path(&key).path == path).then_some(ListedKey { key, state })
}

fn read_key(path: &Path) -> io::Result<Option<(Header, String)>> {
    let mut file = read::open(path)?;
    let mut start = [0; HEADER];
    file.read_exact(&mut start)?;
    let Ok(header) = Header::decode(&start) else { return Ok(None) };
    if header.key > MAX_KEY {
        return Ok(None);
    }
    let mut key = vec![0; header.key];
    file.read_exact(&mut key)?;
    Ok(String::from_utf8(key).ok().map(|key| (header, key)))
}
