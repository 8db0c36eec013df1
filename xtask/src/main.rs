//! Developer commands: `cargo xtask test`, `browser`, `ci`, `bench` and `http-suite`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "commands report on the terminal")]

mod bench;
mod browser;
mod ci;
mod deny;
mod dependency_tree;
mod http_suite;
mod install;
mod neighbours;
mod readme;
mod test;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use xtask::shell::{self, Outcome};

/// Developer commands of cachette.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    /// Run every test of every crate
    Test {
        /// Arguments of cargo test
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the example site's tests in Chromium
    Browser {
        /// Arguments of cargo test
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the checks that must pass before a merge
    Ci {
        /// Run only these steps
        steps: Vec<ci::Step>,
    },
    /// Run the benchmarks and write docs/benchmarks
    Bench(bench::Options),
    /// Run the public test suite for HTTP caches against the example proxy and write docs/http
    HttpSuite {
        /// The folder of a suite, instead of the npm package
        folder: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let command = Command::parse();
    match change_to_root().and_then(|()| run(&command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{error}");
            ExitCode::FAILURE
        }
    }
}

/// Commands apply to the whole workspace, whatever the current directory is.
fn change_to_root() -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    env::set_current_dir(&root).map_err(|error| format!("cannot enter {}: {error}", root.display()))
}

fn run(command: &Command) -> Outcome {
    match command {
        Command::Test { args } => test::run(args),
        Command::Browser { args } => browser::run(args),
        Command::Ci { steps } => ci::run(steps),
        Command::Bench(options) => bench::run(options),
        Command::HttpSuite { folder } => http_suite::run(folder.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Command::try_parse_from(["xtask"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn only_the_first_separator_is_removed() {
        for (line, expected) in [
            ("test -- -p cache-core -- --nocapture", "-p cache-core -- --nocapture"),
            ("test -p cache-core", "-p cache-core"),
            ("test a_filter", "a_filter"),
            ("test", ""),
        ] {
            let Ok(Command::Test { args }) = parse(line) else { panic!("{line}") };
            assert_eq!(args.join(" "), expected);
        }
    }

    #[test]
    fn unknown_command_is_an_error_that_names_it() {
        let error = parse("tset").expect_err("no such command").to_string();
        assert!(error.contains("tset"), "{error}");
    }

    #[test]
    fn unknown_step_is_an_error_that_suggests_a_known_one() {
        let error = parse("ci format clipy").expect_err("a typing mistake").to_string();
        assert!(error.contains("clipy") && error.contains("clippy"), "{error}");
    }

    #[test]
    fn bench_names_end_at_the_next_flag() {
        let line = "bench --only locmem redis --quick --traces /t --patience 5 --out o";
        let Ok(Command::Bench(options)) = parse(line) else { panic!("{line}") };
        let expected = bench::Options {
            quick: true,
            peers: false,
            only: ["locmem", "redis"].map(String::from).into(),
            traces: Some("/t".into()),
            patience: Some(5),
            out: Some("o".into()),
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn invalid_bench_arguments_are_errors() {
        for line in ["--fast", "--only", "--only --quick", "--out", "--patience x", "locmem"] {
            assert!(parse(&format!("bench {line}")).is_err(), "{line}");
        }
    }

    #[test]
    fn unknown_benchmark_is_an_error_that_lists_the_known_ones() {
        let error = parse("bench --only locmen").expect_err("a typing mistake").to_string();
        assert!(["locmen", "locmem", "redis"].iter().all(|name| error.contains(name)), "{error}");
    }
}
