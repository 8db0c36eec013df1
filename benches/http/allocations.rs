//! How much the services of the benchmark `http` allocate for a hit.
#![allow(clippy::print_stdout, reason = "a benchmark prints its tables")]

mod in_process;
mod sites;

use allocation_counter::measure;
use in_process::Warm;
use tokio::runtime::Runtime;

fn main() {
    let runtime = Runtime::new().expect("it starts");
    let _within = runtime.enter();
    println!("| a hit in the process | allocations | bytes |\n|---|---|---|");
    for name in sites::ALL {
        let mut warm = runtime.block_on(Warm::new(name));
        // What is done once for each thread is done by then.
        (0..100).for_each(|_| warm.hit());
        let taken = measure(|| warm.hit());
        println!("| {name} | {} | {} |", taken.count_total, taken.bytes_total);
    }
}
