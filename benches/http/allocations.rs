//! How much the services of the benchmark `http` allocate for a hit.

mod in_process;
mod sites;

use std::cell::RefCell;

use allocation_counter::measure;
use cachette_benches::{Contest, Report};
use in_process::Warm;
use tokio::runtime::Runtime;

fn main() {
    let runtime = Runtime::new().expect("it starts");
    let _within = runtime.enter();
    let mut contest = Contest::new("what a hit allocates").unit("allocations");
    for name in sites::ALL {
        let warm = RefCell::new(runtime.block_on(Warm::new(name)));
        // What is done once for each thread is done by then.
        (0..100).for_each(|_| warm.borrow_mut().hit());
        contest = contest.candidate(name, move || {
            let taken = measure(|| warm.borrow_mut().hit());
            f64::from(u32::try_from(taken.count_total).expect("there are few"))
        });
    }
    let mut report = Report::default();
    report.add(contest.run(3));
    report.publish();
}
