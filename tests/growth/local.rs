//! Stores without a server.

use std::{
    collections::HashMap,
    fs,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use allocation_counter::measure;
use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{Counts, Subject};

pub(crate) struct Memory;

impl Subject for Memory {
    const NAME: &'static str = "memory";

    fn config(&self) -> String {
        "backend = 'locmem'\noptions = { max_entries = 100000 }".to_owned()
    }

    fn count(&mut self, _runtime: &Runtime, calls: impl FnOnce()) -> Counts {
        // Not their bytes: now and then, a new entry doubles the size of its shard.
        vec![("allocations", measure(calls).count_total)]
    }
}

/// A folder in memory. The counts are those of a disk, which would take longer to sync.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a temporary folder")
}

/// Reads a number of the system calls of this process, without those on sockets.
fn io(name: &str) -> u64 {
    let all = fs::read_to_string("/proc/self/io").expect("Linux");
    let line = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.and_then(|number| number.parse().ok()).expect("a number")
}

pub(crate) struct Sqlite {
    folder: TempDir,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self { folder: folder() }
    }
}

impl Subject for Sqlite {
    const NAME: &'static str = "SQLite";
    const COLD: bool = true;

    fn config(&self) -> String {
        let folder = self.folder.path().display();
        format!(
            "backend = 'db'\nlocation = 'growth'\n\
             options = {{ url = 'sqlite:{folder}/cache.db', create_table = true, \
             max_entries = 1000000 }}"
        )
    }

    fn count(&mut self, _runtime: &Runtime, calls: impl FnOnce()) -> Counts {
        let names = ["rchar", "wchar"];
        let before = names.map(io);
        calls();
        let after = names.map(io);
        vec![("bytes read", after[0] - before[0]), ("bytes written", after[1] - before[1])]
    }
}

pub(crate) struct Files {
    folder: TempDir,
    watch: Watch,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { folder: folder(), watch: Watch::new() }
    }
}

impl Subject for Files {
    const NAME: &'static str = "files";

    fn config(&self) -> String {
        let folder = self.folder.path().display();
        format!(
            "backend = 'filebased'\nlocation = '{folder}/cache'\n\
             options = {{ max_entries = 1000000 }}"
        )
    }

    fn prepare(&mut self, _runtime: &Runtime) {
        // Not before: the events of filling the store would not fit in the queue.
        self.watch = Watch::new();
        self.watch.add(&self.folder.path().join("cache"));
    }

    fn count(&mut self, _runtime: &Runtime, calls: impl FnOnce()) -> Counts {
        self.watch.take();
        calls();
        let [events, listed] = self.watch.take();
        vec![("file system events", events), ("names listed", listed)]
    }
}

/// What happens in directories and to their files: opening, reading, writing, renaming, listing.
struct Watch {
    events: OwnedFd,
    directories: HashMap<i32, PathBuf>,
}

impl Watch {
    fn new() -> Self {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        Self { events: events.expect("an inotify object"), directories: HashMap::new() }
    }

    /// Watches a directory and those in it.
    fn add(&mut self, directory: &Path) {
        let watch = inotify::add_watch(&self.events, directory, WatchFlags::ALL_EVENTS);
        self.directories.insert(watch.expect("a directory"), directory.to_owned());
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                self.add(&path);
            }
        }
    }

    /// Returns the number of events since the last call, and how many names were listed.
    fn take(&self) -> [u64; 2] {
        let (events, lists) = self.events();
        let names = lists.iter().map(|directory| {
            fs::read_dir(&self.directories[directory]).expect("a directory").count() as u64
        });
        let names = names.sum();
        // Those of counting the names.
        self.events();
        [events, names]
    }

    /// Returns the number of events since the last call, and the directories that were listed.
    fn events(&self) -> (u64, Vec<i32>) {
        let mut buffer = [MaybeUninit::uninit(); 1 << 16];
        let mut reader = inotify::Reader::new(&self.events, &mut buffer);
        let (mut events, mut lists) = (0, Vec::new());
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return (events, lists),
                Err(error) => panic!("inotify: {error}"),
            };
            assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW), "events were lost");
            events += 1;
            let is_list = event.events().contains(ReadFlags::ACCESS | ReadFlags::ISDIR);
            // The directory that contains it is watched as well, and names it.
            if is_list && event.file_name().is_none() {
                lists.push(event.wd());
            }
        }
    }
}
