//! `page FROM TO NAME…` writes the page of these benchmarks. `cargo xtask bench` calls it.
#![allow(clippy::print_stderr, reason = "errors are printed")]

use std::{env, path::Path, process::ExitCode};

use cachette_benches::write_page;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let written = match &*arguments {
        [from, to, names @ ..] => write_page(Path::new(from), Path::new(to), names).map(drop),
        _ => Err("usage: page FROM TO NAME…".to_owned()),
    };
    if let Err(error) = written {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
