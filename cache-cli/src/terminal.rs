//! What people see, and what scripts read. Colours and bars are for terminals alone.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value as Json;

use crate::{Failure, Result};

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const HEADING: Style = Style::new().bold();

/// Writes a line to standard output.
pub(crate) fn say(line: impl AsRef<str>) -> Result<()> {
    Ok(writeln!(anstream::stdout().lock(), "{}", line.as_ref())?)
}

/// Writes a document of JSON, in one line.
pub(crate) fn say_json(document: &Json) -> Result<()> {
    Ok(writeln!(io::stdout().lock(), "{document}")?)
}

/// Writes bytes as they are.
pub(crate) fn say_raw(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// The text in a style, which is left out where standard output is no terminal.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes a failure to standard error.
pub(crate) fn tell_failure(failure: &Failure) {
    let mut err = anstream::stderr().lock();
    // If standard error is closed, nobody can be notified.
    let _ = writeln!(err, "{} {failure}", styled(BAD, "error:"));
    for cause in failure.causes() {
        let _ = writeln!(err, "{} {cause}", styled(HEADING, "caused by:"));
    }
    if let Some(remedy) = failure.remedy() {
        let _ = writeln!(err, "{} {remedy}", styled(HEADING, "help:"));
    }
}

/// Writes a note to standard error.
pub(crate) fn note(text: &str) {
    // A closed standard error does not make the command fail.
    let _ = writeln!(anstream::stderr().lock(), "{} {text}", styled(HEADING, "note:"));
}

/// Writes what the stores warn of to standard error.
pub(crate) fn show_warnings() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .init();
}

/// Asks for a yes, where there is somebody to be asked.
pub(crate) fn confirm(question: &str) -> Result<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        let problem = format!("there is no terminal to ask: {question}");
        return Err(Failure::new(problem).with_remedy("say --yes if that is meant"));
    }
    let mut err = anstream::stderr().lock();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// A bar on standard error that shows up once the work takes long, if that is a terminal.
pub(crate) struct Progress {
    name: String,
    total: Option<u64>,
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(name: &str, total: Option<u64>) -> Self {
        Self { name: name.into(), total, begun: Instant::now(), bar: None }
    }

    pub(crate) fn show(&mut self, done: u64) {
        const PATIENCE: Duration = Duration::from_millis(500);
        if self.bar.is_none() && self.begun.elapsed() > PATIENCE {
            self.bar = Some(self.bar());
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    fn bar(&self) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(self.total, ProgressDrawTarget::stderr());
        let template = match self.total {
            Some(_) => "{msg} {wide_bar} {human_pos} of {human_len}, {eta} left",
            None => "{msg} {spinner} {human_pos}",
        };
        let style = ProgressStyle::with_template(template);
        bar.with_message(self.name.clone())
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
