//! A lock that several processes hold in turn.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use futures_util::future::join_all;

use crate::{
    child::{PROCESSES, Setup, Task, run_all},
    open,
    stores::{Shared, on_each_store},
};

const WORKERS: u64 = 2;
const TURNS: usize = 15;
/// Longer than all turns take on a busy machine.
const LONG: Duration = Duration::from_secs(300);

fn one_process_at_a_time_holds_a_lock(shared: &Shared) {
    run_all(Task::Work, shared);
    let done = done(shared.folder.path());
    assert_eq!(done, PROCESSES * WORKERS * TURNS as u64);
}

on_each_store!(one_process_at_a_time_holds_a_lock);

/// Counts in a file, which only one worker may read and write at a time.
pub(crate) async fn work(setup: &Setup, process: u64) {
    let (cache, folder) = (open(&setup.config).await, &*setup.folder);
    let work = async |worker| {
        let mut random = fastrand::Rng::with_seed(process * WORKERS + worker);
        for _ in 0..TURNS {
            let held = cache.lock("work").wait(LONG).hold(LONG).await.expect("the store replies");
            let guard = held.expect("others release it");
            let inside = folder.join("inside");
            drop(File::create_new(&inside).expect("nobody else is inside"));
            let done = done(folder) + 1;
            tokio::time::sleep(Duration::from_millis(random.u64(..3))).await;
            fs::write(folder.join("done"), done.to_string()).expect("written");
            fs::remove_file(inside).expect("removed");
            guard.release().await.expect("the store replies");
        }
    };
    join_all((0..WORKERS).map(work)).await;
}

/// Returns how much work has been done.
fn done(folder: &Path) -> u64 {
    match fs::read_to_string(folder.join("done")) {
        Ok(done) => done.parse().expect("a number"),
        Err(_) => 0,
    }
}
