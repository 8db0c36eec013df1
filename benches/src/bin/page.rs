//! `page FROM TO NAME…` writes the page of the benchmarks of these names: `cargo xtask bench` calls it.
#![allow(clippy::print_stderr, reason = "a command talks to its user by printing")]

use std::{env, path::Path, process::ExitCode};

use cachette_benches::write_page;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let written = match &*arguments {
        [from, to, names @ ..] => write_page(Path::new(from), Path::new(to), names).map(drop),
        _ => Err("page FROM TO NAME…: two folders and the benchmarks' names are needed".to_owned()),
    };
    written.map_or_else(
        |why| {
            eprintln!("{why}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}
