//! A runtime that stalls.

use std::{fmt, sync::mpsc, thread};

/// A runtime with one thread, which is blocked until this is dropped.
pub struct Stalled {
    release: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Stalled {
    /// Runs `before` on a new runtime and then blocks its thread: its tasks and its timers stand
    /// still, and its connections stay open.
    ///
    /// # Panics
    ///
    /// Panics if `before` panics.
    pub fn after(before: impl AsyncFnOnce() + Send + 'static) -> Self {
        let (release, released) = mpsc::channel::<()>();
        let (stalls, stalled) = mpsc::channel();
        let thread = thread::spawn(move || {
            let builder = &mut tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build().expect("the runtime starts");
            runtime.block_on(async move {
                before().await;
                stalls.send(()).expect("the test waits");
                // Until the sender is dropped.
                let _ = released.recv();
            });
        });
        stalled.recv().expect("the runtime stalls");
        Self { release: Some(release), thread: Some(thread) }
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stalled").finish_non_exhaustive()
    }
}
