//! The conformance suite with a manual and the system clock, on disk and in memory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use cache_conformance::Harness;
use cache_core::{Clock, ManualClock};
use cache_filebased::{FileBasedCache, FileBasedOptions};
use tempfile::TempDir;

/// Creates a directory on the disk of the build. The system's temporary directory may be in memory.
fn on_disk() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}

/// Creates each store in its own directory below `parent`, which is removed with the harness.
fn harness(parent: TempDir, clock: Clock) -> Harness {
    let number = AtomicUsize::new(0);
    let create = Arc::new(move |clients: usize| {
        let directory = parent.path().join(number.fetch_add(1, Ordering::Relaxed).to_string());
        let client = || {
            let options = FileBasedOptions::default();
            FileBasedCache::with_clock(&directory, options, clock.clone()).expect("valid options")
        };
        (0..clients).map(|_| client()).collect::<Vec<_>>()
    });
    let shared = Arc::clone(&create);
    Harness::new(move || {
        let store = create(1).pop();
        async { store.expect("one client") }
    })
    .with_clients(move || {
        let clients: Option<[_; 2]> = shared(2).try_into().ok();
        async { clients.expect("two clients").into() }
    })
}

mod manual_clock {
    use super::*;

    fn driven() -> Harness {
        let time = ManualClock::new();
        harness(on_disk(), time.clock()).driven_by(time)
    }

    cache_conformance::suite!(driven());
}

mod system_clock {
    use super::*;

    cache_conformance::suite!(harness(on_disk(), Clock::system()));
}

/// tmpfs does not support non-blocking reads.
#[cfg(target_os = "linux")]
mod in_memory {
    use super::*;

    fn driven() -> Harness {
        let time = ManualClock::new();
        let in_memory = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
        harness(in_memory, time.clock()).driven_by(time)
    }

    cache_conformance::suite!(driven());
}

mod wrapped {
    use cache_conformance::Forwarding;

    use super::*;

    fn bounded(path: std::path::PathBuf, max_entries: u64, cull_frequency: u64) -> FileBasedCache {
        let set = |mut options: FileBasedOptions| {
            options.max_entries = max_entries.try_into().expect("a small number");
            options.cull_frequency = cull_frequency.try_into().expect("a small number");
            options
        };
        FileBasedCache::new(path, set(FileBasedOptions::default())).expect("valid options")
    }

    fn wrapped() -> Harness {
        let (time, folder, number) = (ManualClock::new(), on_disk(), AtomicUsize::new(0));
        harness(on_disk(), time.clock())
            .driven_by(time)
            .with_limits(move |max_entries, cull_frequency| {
                let path = folder.path().join(number.fetch_add(1, Ordering::Relaxed).to_string());
                std::future::ready(bounded(path, max_entries, cull_frequency))
            })
            .wrapped_by(Forwarding::new)
    }

    cache_conformance::suite!(wrapped());
}
