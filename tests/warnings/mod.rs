//! Collects the warnings that opening a configuration logs.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing_subscriber::fmt::MakeWriter;

/// The warnings of the current thread, one line each, until it is dropped.
pub(crate) struct Warnings {
    text: Text,
    _guard: tracing::subscriber::DefaultGuard,
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Warnings {
    pub(crate) fn collect() -> Self {
        let text = Text::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_writer(text.clone())
            .with_ansi(false)
            .finish();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The warnings since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        let text = std::mem::take(&mut *self.text.0.lock().expect("no thread panicked"));
        String::from_utf8(text).expect("UTF-8").lines().map(Into::into).collect()
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no thread panicked").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Text {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
