//! How much the services of the benchmark `http` allocate for a hit.

mod in_process;
mod sites;

use std::cell::RefCell;

use allocation_counter::measure;
use cachette_benches::{Comparison, Report};
use in_process::Warm;
use tokio::runtime::Runtime;

fn main() {
    let runtime = Runtime::new().expect("it starts");
    let _context = runtime.enter();
    let mut comparison = Comparison::new("allocations per hit").unit("allocations");
    for name in sites::ALL {
        let warm = RefCell::new(runtime.block_on(Warm::new(name)));
        // Initializes what each thread initializes once.
        (0..100).for_each(|_| warm.borrow_mut().hit());
        comparison = comparison.candidate(name, move || {
            let allocated = measure(|| warm.borrow_mut().hit());
            f64::from(u32::try_from(allocated.count_total).expect("a small number"))
        });
    }
    let mut report = Report::default();
    report.add(comparison.run(3));
    report.publish();
}
