//! The connections that read.

use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::connection::Connection;
use crate::error::Failure;

/// A bounded number of connections, opened when they are needed.
#[derive(Debug)]
pub(super) struct Readers {
    max: u32,
    state: Mutex<State>,
    /// Notified when a connection is given back or closed.
    given_back: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    /// The number of connections in `idle` and in use.
    open: u32,
    /// Incremented by [`Readers::clear`].
    generation: u64,
}

/// A connection in use.
#[derive(Debug)]
pub(super) struct Reader {
    connection: Connection,
    generation: u64,
}

impl Readers {
    pub(super) fn new(max: u32) -> Self {
        Self { max, state: Mutex::default(), given_back: Condvar::new() }
    }

    /// Takes the connection that was used last, whose page cache is the most useful one.
    pub(super) fn take_idle(&self) -> Option<Reader> {
        let mut state = self.state.lock();
        let generation = state.generation;
        state.idle.pop().map(|connection| Reader { connection, generation })
    }

    /// Takes an idle connection, opens one, or waits for one.
    pub(super) fn take(
        &self,
        deadline: Instant,
        open: impl FnOnce() -> Result<Connection, Failure>,
    ) -> Result<Reader, Failure> {
        let mut state = self.state.lock();
        loop {
            let generation = state.generation;
            if let Some(connection) = state.idle.pop() {
                return Ok(Reader { connection, generation });
            }
            if state.open < self.max {
                state.open += 1;
                drop(state);
                return open()
                    .map(|connection| Reader { connection, generation })
                    .inspect_err(|_| self.close_one(generation));
            }
            if self.given_back.wait_until(&mut state, deadline).timed_out() {
                return Err(Failure::timed_out());
            }
        }
    }

    pub(super) fn put_back(&self, reader: Reader) {
        let mut state = self.state.lock();
        if reader.generation == state.generation {
            state.idle.push(reader.connection);
            drop(state);
            self.given_back.notify_one();
        }
    }

    fn close_one(&self, generation: u64) {
        let mut state = self.state.lock();
        if generation == state.generation {
            state.open -= 1;
            drop(state);
            self.given_back.notify_one();
        }
    }

    /// Closes the idle connections now, and those in use when they are given back.
    pub(super) fn clear(&self) {
        let mut state = self.state.lock();
        state.generation += 1;
        state.open = 0;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop(idle);
        self.given_back.notify_all();
    }
}

impl std::ops::Deref for Reader {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl std::ops::DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
