//! Running other programs, in sight of the user.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead as _, BufReader, IsTerminal as _, stderr},
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

/// What a command comes to; the error is a sentence for the user.
pub type Outcome<T = ()> = Result<T, String>;

/// The cargo that runs this program.
pub fn cargo<I: IntoIterator<Item: AsRef<OsStr>>>(args: I) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// Runs `command` with its output shown as it comes.
pub fn run(command: &mut Command) -> Outcome {
    let line = line(command);
    println!("$ {line}");
    judge(&line, command.status().map_err(|why| not_started(&line, &why))?)
}

/// Runs `command`, a cargo, as [`run`] does, and tells `hear` each line that it writes to its standard error.
pub fn run_heard(command: &mut Command, mut hear: impl FnMut(&str)) -> Outcome {
    if stderr().is_terminal() && env::var_os("CARGO_TERM_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let line = line(command);
    println!("$ {line}");
    let mut child =
        command.stderr(Stdio::piped()).spawn().map_err(|why| not_started(&line, &why))?;
    let pipe = child.stderr.take().map(BufReader::new);
    for said in pipe.into_iter().flat_map(|pipe| pipe.split(b'\n')).map_while(Result::ok) {
        let said = String::from_utf8_lossy(&said);
        eprintln!("{said}");
        hear(&said);
    }
    judge(&line, child.wait().map_err(|why| format!("`{line}` was lost: {why}"))?)
}

/// Runs `command` and answers what it wrote to its standard output; the error holds what it wrote to the other one.
pub fn output(command: &mut Command) -> Outcome<String> {
    let line = line(command);
    let output = command.output().map_err(|why| not_started(&line, &why))?;
    judge(&line, output.status)
        .map_err(|why| format!("{why}:\n{}", String::from_utf8_lossy(&output.stderr).trim_end()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_stem().unwrap_or_default();
    let words: Vec<_> =
        [program].into_iter().chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

fn not_started(line: &str, why: &std::io::Error) -> String {
    format!("`{line}` could not be started: {why}")
}

fn judge(line: &str, status: ExitStatus) -> Outcome {
    if status.success() { Ok(()) } else { Err(format!("`{line}` ended with {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        assert_eq!(
            line(Command::new("/opt/rust/bin/cargo").args(["fmt", "--check"])),
            "cargo fmt --check"
        );
    }

    #[test]
    fn a_failing_command_is_an_error_with_its_line_and_what_it_said() {
        let why = output(&mut cargo(["no-such-subcommand"])).expect_err("it does not exist");
        assert!(why.starts_with("`cargo no-such-subcommand` ended with"), "{why}");
        assert!(why.contains("no such command"), "{why}");
    }

    #[test]
    fn what_a_running_command_says_is_heard_line_by_line() {
        let mut heard = Vec::new();
        let outcome =
            run_heard(&mut cargo(["no-such-subcommand"]), |said| heard.push(said.to_owned()));
        assert!(outcome.is_err());
        assert!(heard[0].contains("no such command"), "{heard:?}");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_that_names_it() {
        let why = run(&mut Command::new("no-such-program")).expect_err("it does not exist");
        assert!(why.starts_with("`no-such-program` could not be started"), "{why}");
    }
}
