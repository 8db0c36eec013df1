//! Output and input. Colors and progress bars are used on a terminal only.

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value as Json, json};

use crate::{Failure, Result};

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const HEADING: Style = Style::new().bold();

/// Prints a line to standard output.
pub(crate) fn print(line: impl AsRef<str>) -> Result<()> {
    Ok(writeln!(anstream::stdout().lock(), "{}", line.as_ref())?)
}

/// Prints a JSON document to standard output, on one line.
pub(crate) fn print_json(document: &Json) -> Result<()> {
    Ok(writeln!(io::stdout().lock(), "{document}")?)
}

/// Writes bytes to standard output, unchanged.
pub(crate) fn print_raw(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// The text in a style, which is removed if standard output is not a terminal.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Whether standard error has JSON documents, one on a line, as `--output json` asks.
static JSON: AtomicBool = AtomicBool::new(false);

/// Prints failures and notes as JSON documents from now on.
pub(crate) fn use_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// The text with the characters escaped that would control a terminal, or change the order in which
/// it shows other characters.
///
/// Names in a cache can come from anybody, such as visitors of a site.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut visible = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_invisible(character) {
            visible.extend(character.escape_default());
        } else {
            visible.push(character);
        }
    }
    Cow::Owned(visible)
}

fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Marks of direction, joiners and separators of lines.
            '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// Prints a failure to standard error.
pub(crate) fn print_failure(failure: &Failure) {
    let mut err = anstream::stderr().lock();
    // Errors are ignored: there is no other place to report them.
    if JSON.load(Ordering::Relaxed) {
        let _ = writeln!(err, "{}", failure.to_json());
        return;
    }
    let _ = writeln!(err, "{} {failure}", styled(BAD, "error:"));
    for detail in failure.details() {
        let _ = writeln!(err, "{detail}");
    }
}

/// Prints a note to standard error.
pub(crate) fn print_note(text: &str) {
    let mut err = anstream::stderr().lock();
    let _ = match JSON.load(Ordering::Relaxed) {
        true => writeln!(err, "{}", json!({"note": text})),
        false => writeln!(err, "{} {text}", styled(HEADING, "note:")),
    };
}

/// Prints a note for a person, who could not tell silence from a hang. Scripts have the exit code.
pub(crate) fn print_note_on_terminal(text: &str) {
    if io::stderr().is_terminal() && !JSON.load(Ordering::Relaxed) {
        print_note(text);
    }
}

/// Prints the warnings of the stores to standard error from now on.
pub(crate) fn show_warnings() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .init();
}

/// Asks for confirmation on the terminal. Fails if there is none.
pub(crate) fn confirm(question: &str) -> Result<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        let message = format!("cannot ask for confirmation without a terminal: {question}");
        return Err(Failure::new(message).with_help("confirm with --yes"));
    }
    let mut err = anstream::stderr().lock();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut reply = String::new();
    io::stdin()
        .read_line(&mut reply)
        .map_err(|error| Failure::new("cannot read standard input").with_cause(&error))?;
    Ok(matches!(reply.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// A progress bar on standard error. It appears after half a second, and only on a terminal.
pub(crate) struct Progress {
    name: String,
    total: Option<u64>,
    start: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(name: &str, total: Option<u64>) -> Self {
        Self { name: name.into(), total, start: Instant::now(), bar: None }
    }

    pub(crate) fn show(&mut self, done: u64) {
        const DELAY: Duration = Duration::from_millis(500);
        if self.bar.is_none() && self.start.elapsed() > DELAY {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_control_a_terminal_are_escaped() {
        for plain in ["user:42", "žluťoučký", "日本語", "a b", "\\n", "\"'"] {
            assert_eq!(visible(plain), plain);
        }
        assert_eq!(visible("a\x1b[31m\r\nb"), "a\\u{1b}[31m\\r\\nb");
        assert_eq!(visible("\u{9b}2J\u{7f}"), "\\u{9b}2J\\u{7f}");
        assert_eq!(visible("\u{202E}txt.exe"), "\\u{202e}txt.exe");
    }
}
