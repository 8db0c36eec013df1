//! The errors that the command prints.

use std::{error, fmt, io};

use cachette::{Error, config::redact};
use serde_json::{Value as Json, json};

use crate::{
    remedy::remedy,
    terminal::{HEADING, styled},
};

/// An error as the command prints it: a message, its causes, and how to solve the problem.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    causes: Vec<String>,
    help: Option<String>,
    is_closed_pipe: bool,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), help: None, is_closed_pipe: false }
    }

    /// Creates the failure for arguments that clap rejects. Its help is in the message.
    pub(crate) fn from_arguments(error: &clap::Error) -> Self {
        let message = error.render().to_string();
        Self::new(message.trim_start_matches("error: ").trim_end())
    }

    /// Sets the text of the `help:` line.
    pub(crate) fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Appends `cause` and its sources as `caused by:` lines.
    pub(crate) fn with_cause(mut self, cause: &(dyn error::Error + 'static)) -> Self {
        self.causes.extend(messages(&self.message, Some(cause)));
        self
    }

    /// Appends `more` to the message.
    pub(crate) fn with_more(mut self, more: &str) -> Self {
        self.message.push_str(more);
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The messages of the error's sources, outermost first.
    pub(crate) fn causes(&self) -> &[String] {
        &self.causes
    }

    pub(crate) fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The lines that follow the message: `caused by:` for each cause, then `help:`.
    pub(crate) fn details(&self) -> impl Iterator<Item = String> {
        let causes = self.causes.iter().map(|cause| ("caused by:", cause));
        let help = self.help.iter().map(|help| ("help:", help));
        causes.chain(help).map(|(title, text)| format!("{} {text}", styled(HEADING, title)))
    }

    /// The document that `--output json` prints.
    pub(crate) fn to_json(&self) -> Json {
        json!({"error": self.message, "causes": self.causes, "help": self.help})
    }

    /// Returns `true` if the reader of standard output has closed it, as `head` does.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.is_closed_pipe
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let causes = messages(&message, error::Error::source(&error));
        let help = remedy(&error).map(Into::into);
        Self { message, causes, help, is_closed_pipe: false }
    }
}

/// An error of standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let is_closed_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self { is_closed_pipe, ..Self::new("cannot write to standard output").with_cause(&error) }
    }
}

/// The messages of `cause` and its sources.
///
/// Some libraries repeat a source in their own message; such a source is left out.
fn messages(outer: &str, cause: Option<&(dyn error::Error + 'static)>) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for cause in sources(cause) {
        let message = redact(&cause.to_string());
        if !messages.last().map_or(outer, String::as_str).contains(&message) {
            messages.push(message);
        }
    }
    messages
}

/// Returns `error` and its sources, outermost first.
fn sources<'a>(
    error: Option<&'a (dyn error::Error + 'static)>,
) -> impl Iterator<Item = &'a (dyn error::Error + 'static)> {
    std::iter::successors(error, |error| error.source())
}

#[cfg(test)]
mod tests {
    use cachette::ErrorKind;

    use super::*;

    #[test]
    fn sources_become_causes_without_secrets_and_repetitions() {
        #[derive(Debug)]
        struct Wrapper(io::Error);
        impl fmt::Display for Wrapper {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "while talking to redis://ada:lovelace@host: {}", self.0)
            }
        }
        impl error::Error for Wrapper {
            fn source(&self) -> Option<&(dyn error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = Error::new(ErrorKind::Backend, "cannot get the entry")
            .with_source(Wrapper(io::Error::other("disk on fire")));
        let failure = Failure::from(error);
        assert_eq!(failure.message(), "cannot get the entry");
        assert_eq!(failure.causes().len(), 1, "{:?}", failure.causes());
        assert!(failure.causes()[0].contains("disk on fire"), "{:?}", failure.causes());
        assert!(!failure.causes()[0].contains("lovelace"), "{:?}", failure.causes());
    }
}
