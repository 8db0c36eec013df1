//! What goes wrong, and what to do about it.

use std::{error::Error as _, fmt, io};

use cachette::{Error, ErrorKind};

/// An error for whoever typed the command.
#[derive(Debug)]
pub(crate) struct Failure {
    problem: String,
    remedy: Option<String>,
    is_closed_pipe: bool,
}

impl Failure {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: None, is_closed_pipe: false }
    }

    pub(crate) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// With more to be said behind it.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.problem.push_str(more);
        self
    }

    pub(crate) fn problem(&self) -> &str {
        &self.problem
    }

    pub(crate) fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// Whether whoever read the output has had enough of it, as `head` has.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.is_closed_pipe
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(error.to_string());
        match remedy(&error) {
            Some(remedy) => failure.with_remedy(remedy),
            None => failure,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let is_closed_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self { is_closed_pipe, ..Self::new(format!("standard output: {error}")) }
    }
}

/// What to do about an error whose text does not say so already.
fn remedy(error: &Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::Unavailable => Some(
            "see that its server runs and can be reached from this machine, and that LOCATION and OPTIONS say where it is",
        ),
        ErrorKind::NotAnInteger => Some("store an integer there first: `cachette set KEY 0`"),
        ErrorKind::InvalidKey => Some(
            "use a shorter key without blanks, or have keys digested: key_function = \"hashed\"",
        ),
        ErrorKind::TooLarge => Some("store less under one key, or raise the store's limit"),
        ErrorKind::Backend => match io_error(error)?.kind() {
            io::ErrorKind::PermissionDenied => {
                Some("let the user who runs this and the service read and write there")
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some("make room on that disk: `cachette purge-expired`, or a smaller max_entries")
            }
            io::ErrorKind::ReadOnlyFilesystem => Some("name a LOCATION that can be written to"),
            _ => None,
        },
        _ => None,
    }
}

/// What the operating system reported, if it is at the bottom of this.
fn io_error(error: &Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        source = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operating_system_refuses_has_a_remedy() {
        let refused = Error::new(ErrorKind::Backend, "/var/cache/shop: cannot be made");
        let refused = refused.with_source(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(
            remedy(&refused),
            Some("let the user who runs this and the service read and write there")
        );
        assert_eq!(remedy(&Error::new(ErrorKind::Backend, "it broke")), None);
    }
}
