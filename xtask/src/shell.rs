//! Runs other programs and shows what they do.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead as _, BufReader, IsTerminal as _, stderr},
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

/// The result of a command. The error is a message for the user.
pub type Outcome<T = ()> = Result<T, String>;

/// Returns a command for the cargo that runs this program.
pub fn cargo<I: IntoIterator<Item: AsRef<OsStr>>>(args: I) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// Runs `command` and passes its output through.
pub fn run(command: &mut Command) -> Outcome {
    let line = line(command);
    println!("$ {line}");
    check(&line, command.status().map_err(|error| not_started(&line, &error))?)
}

/// Runs a cargo command like [`run`], and calls `on_line` with each line of its standard error.
pub fn run_with(command: &mut Command, mut on_line: impl FnMut(&str)) -> Outcome {
    if stderr().is_terminal() && env::var_os("CARGO_TERM_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let line = line(command);
    println!("$ {line}");
    let mut child =
        command.stderr(Stdio::piped()).spawn().map_err(|error| not_started(&line, &error))?;
    let pipe = child.stderr.take().map(BufReader::new);
    for text in pipe.into_iter().flat_map(|pipe| pipe.split(b'\n')).map_while(Result::ok) {
        let text = String::from_utf8_lossy(&text);
        eprintln!("{text}");
        on_line(&text);
    }
    check(&line, child.wait().map_err(|error| format!("cannot wait for `{line}`: {error}"))?)
}

/// Runs `command` and returns its standard output. The error includes its standard error.
pub fn output(command: &mut Command) -> Outcome<String> {
    let line = line(command);
    let output = command.output().map_err(|error| not_started(&line, &error))?;
    check(&line, output.status).map_err(|error| {
        format!("{error}:\n{}", String::from_utf8_lossy(&output.stderr).trim_end())
    })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_stem().unwrap_or_default();
    let words: Vec<_> =
        [program].into_iter().chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

fn not_started(line: &str, error: &std::io::Error) -> String {
    format!("cannot start `{line}`: {error}")
}

fn check(line: &str, status: ExitStatus) -> Outcome {
    if status.success() { Ok(()) } else { Err(format!("`{line}` failed: {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_shown_as_typed() {
        assert_eq!(
            line(Command::new("/opt/rust/bin/cargo").args(["fmt", "--check"])),
            "cargo fmt --check"
        );
    }

    #[test]
    fn failed_command_is_an_error_with_its_line_and_output() {
        let error = output(&mut cargo(["no-such-subcommand"])).expect_err("it does not exist");
        assert!(error.starts_with("`cargo no-such-subcommand` failed"), "{error}");
        assert!(error.contains("no such command"), "{error}");
    }

    #[test]
    fn lines_of_a_running_command_are_passed_on() {
        let mut lines = Vec::new();
        let outcome =
            run_with(&mut cargo(["no-such-subcommand"]), |line| lines.push(line.to_owned()));
        assert!(outcome.is_err());
        assert!(lines[0].contains("no such command"), "{lines:?}");
    }

    #[test]
    fn missing_program_is_an_error_that_names_it() {
        let error = run(&mut Command::new("no-such-program")).expect_err("it does not exist");
        assert!(error.contains("`no-such-program`"), "{error}");
    }
}
