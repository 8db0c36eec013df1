//! The commands of those who work on cachette: `cargo xtask test`, `browser`, `ci` and `bench`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to its user by printing"
)]

mod bench;
mod browser;
mod ci;
mod deny;
mod dependency_tree;
mod install;
mod minimum_rust;
mod newcomer;
mod test;
mod workspace;

use std::{env, path::Path, process::ExitCode};

use xtask::shell::{self, Outcome};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match go_to_root().and_then(|()| dispatch(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("\n{why}");
            ExitCode::FAILURE
        }
    }
}

/// Every command means the whole workspace, whichever folder it is typed in.
fn go_to_root() -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    env::set_current_dir(&root).map_err(|why| format!("cannot enter {}: {why}", root.display()))
}

fn dispatch(args: &[String]) -> Outcome {
    let (command, rest) =
        args.split_first().map_or(("help", args), |(command, rest)| (command.as_str(), rest));
    match command {
        "help" | "--help" | "-h" => println!("{}", help()),
        "test" => test::run(after_separator(rest))?,
        "browser" => browser::run(after_separator(rest))?,
        "ci" => ci::run(rest)?,
        "bench" => bench::run(rest)?,
        other => {
            return Err(format!("there is no command `{other}`: `cargo xtask help` lists them"));
        }
    }
    Ok(())
}

fn after_separator(args: &[String]) -> &[String] {
    match args.split_first() {
        Some((first, rest)) if first == "--" => rest,
        _ => args,
    }
}

fn help() -> String {
    format!(
        "cargo xtask test [-- ARGS]     run every test of every crate; ARGS are handed to cargo test\n\
         cargo xtask browser [-- ARGS]  run the example site's tests in Chromium; ARGS are handed to cargo test\n\
         cargo xtask ci [STEP…]         run what must pass before a merge, or only the steps named\n\
         cargo xtask bench [FLAGS]      run the benchmarks and write docs/benchmarks\n\
         cargo xtask help               show this\n\n\
         The flags of bench:\n{}\n\n\
         The steps of ci:\n{}",
        bench::FLAGS,
        ci::list()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn only_the_first_separator_is_taken_away() {
        assert_eq!(
            after_separator(&words("-- -p cache-core -- --nocapture")),
            words("-p cache-core -- --nocapture")
        );
        assert_eq!(after_separator(&words("a_filter")), words("a_filter"));
    }

    #[test]
    fn an_unknown_command_is_an_error_that_names_it() {
        let why = dispatch(&words("tset")).expect_err("no such command");
        assert!(why.contains("`tset`"), "{why}");
    }
}
