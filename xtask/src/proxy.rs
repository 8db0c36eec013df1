//! A proxy between a store and its server that injects faults.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;

use crate::shell::Outcome;

/// Forwards connections from a free port of 127.0.0.1 to a server until it is dropped. The [`Mode`]
/// decides which faults it injects.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

/// What the proxy does with present and future connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards everything.
    Pass,
    /// Delays each chunk of a reply.
    Delay(Duration),
    /// Accepts and keeps connections but forwards nothing. What arrives meanwhile is forwarded
    /// later.
    Blackhole,
    /// Closes each connection after this many more bytes of replies.
    Truncate(usize),
    /// Resets each connection after this many more bytes of replies.
    Reset(usize),
    /// Replaces each chunk of a reply by these bytes.
    Garbage(Vec<u8>),
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The port of the server to which new connections lead.
    server: u16,
    mode: Mode,
    /// How often the mode changed.
    switches: u64,
    /// Both sockets of each connection.
    accepted: Vec<[Weak<TcpStream>; 2]>,
    /// This many of the first connections never forward anything again.
    stranded: usize,
    ended: bool,
}

impl Proxy {
    /// Starts a proxy in front of the server on this port of 127.0.0.1, in [`Mode::Pass`].
    pub fn before(server: u16) -> Outcome<Self> {
        let listening = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = listening.map_err(|error| format!("no free port: {error}"))?;
        let state = State {
            server,
            mode: Mode::Pass,
            switches: 0,
            accepted: Vec::new(),
            stranded: 0,
            ended: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Ok(Self { port: address.port(), shared })
    }

    /// Returns its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the mode.
    pub fn switch(&self, mode: Mode) {
        let mut state = self.shared.lock();
        state.mode = mode;
        state.switches += 1;
        self.shared.changed.notify_all();
    }

    /// Leads new connections to another server; present ones stay. This is what happens if the
    /// address of a managed server leads to its replica after a failover.
    pub fn lead_to(&self, server: u16) {
        self.shared.lock().server = server;
    }

    /// Silences all present connections for ever; new ones work. This is what happens if the
    /// machine behind an address is replaced.
    pub fn strand(&self) {
        let mut state = self.shared.lock();
        state.stranded = state.accepted.len();
    }

    /// Returns how many connections it has accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.lock().accepted.len()
    }

    /// Returns how many of them are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.lock().accepted.iter().filter(|[near, _]| near.strong_count() > 0).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ended = true;
        for end in state.accepted.iter().flatten().filter_map(Weak::upgrade) {
            let _ = end.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the accepting thread.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Reply,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        while let Ok((near, _)) = listener.accept() {
            let server = {
                let state = self.lock();
                if state.ended {
                    return;
                }
                state.server
            };
            // Without a server, the client's connection is closed immediately.
            let Ok(far) = TcpStream::connect(("127.0.0.1", server)) else { continue };
            let _ = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
            let (near, far) = (Arc::new(near), Arc::new(far));
            let mut state = self.lock();
            let number = state.accepted.len();
            state.accepted.push([Arc::downgrade(&near), Arc::downgrade(&far)]);
            drop(state);
            for (from, to, direction) in
                [(&near, &far, Direction::Request), (&far, &near, Direction::Reply)]
            {
                let (shared, from, to) = (Arc::clone(&self), Arc::clone(from), Arc::clone(to));
                thread::spawn(move || shared.forward(number, &from, &to, direction));
            }
        }
    }

    /// Forwards one direction until the connection ends, then closes the other socket, which wakes
    /// the thread of the other direction.
    fn forward(&self, number: usize, from: &TcpStream, to: &TcpStream, direction: Direction) {
        let ended = self.forward_all(number, from, to, direction);
        if matches!(ended, Ok(Some(Mode::Reset(_))))
            && set_socket_linger(to, Some(Duration::ZERO)).is_ok()
        {
            // With a linger time of zero, the connection is reset once both threads have closed it.
            let _ = to.shutdown(Shutdown::Read);
        } else {
            let _ = to.shutdown(Shutdown::Both);
        }
    }

    /// Forwards one direction until the connection ends, or until the returned mode ends it.
    fn forward_all(
        &self,
        number: usize,
        mut from: &TcpStream,
        mut to: &TcpStream,
        direction: Direction,
    ) -> io::Result<Option<Mode>> {
        let mut buffer = vec![0; 64 << 10];
        let (mut forwarded, mut since) = (0, 0);
        loop {
            let length = from.read(&mut buffer)?;
            let (mode, switches) = self.wait_until_open(number);
            if switches != since {
                (forwarded, since) = (0, switches);
            }
            let mut chunk = &buffer[..length];
            match &mode {
                _ if length == 0 => return Ok(None),
                Mode::Garbage(garbage) if direction == Direction::Reply => chunk = garbage,
                Mode::Delay(time) if direction == Direction::Reply => thread::sleep(*time),
                Mode::Truncate(after) | Mode::Reset(after) if direction == Direction::Reply => {
                    chunk = &chunk[..length.min(after - forwarded)];
                    forwarded += chunk.len();
                    if forwarded == *after {
                        to.write_all(chunk)?;
                        return Ok(Some(mode));
                    }
                }
                _ => {}
            }
            to.write_all(chunk)?;
        }
    }

    /// Waits until the connection may forward. Returns the mode and how often it changed.
    fn wait_until_open(&self, number: usize) -> (Mode, u64) {
        let blocked = |state: &mut State| {
            !state.ended && (state.mode == Mode::Blackhole || number < state.stranded)
        };
        let state =
            self.changed.wait_while(self.lock(), blocked).unwrap_or_else(PoisonError::into_inner);
        (state.mode.clone(), state.switches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection through a proxy to a server that echoes.
    fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let proxy =
            Proxy::before(listener.local_addr().expect("it is bound").port()).expect("a free port");
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a valid timeout");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            io::copy(&mut stream.try_clone()?, &mut stream)
        });
        (proxy, stream)
    }

    fn echoed(stream: &mut TcpStream, length: usize) -> io::Result<Vec<u8>> {
        stream.write_all(b"hello")?;
        let mut reply = vec![0; length];
        stream.read_exact(&mut reply).map(|()| reply)
    }

    #[test]
    fn proxy_forwards_both_directions() {
        let (proxy, mut stream) = echo();
        assert_eq!(echoed(&mut stream, 5).expect("a reply"), b"hello");
        assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    }

    #[test]
    fn blackholed_data_is_forwarded_later_unless_stranded() {
        let (proxy, mut stream) = echo();
        proxy.switch(Mode::Blackhole);
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a valid timeout");
        assert_eq!(echoed(&mut stream, 5).expect_err("no reply").kind(), io::ErrorKind::WouldBlock);
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a valid timeout");
        proxy.switch(Mode::Pass);
        assert_eq!(echoed(&mut stream, 10).expect("a reply"), b"hellohello");
        proxy.strand();
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a valid timeout");
        assert_eq!(echoed(&mut stream, 5).expect_err("no reply").kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn reply_is_truncated_or_reset_at_the_given_byte() {
        let (proxy, mut stream) = echo();
        proxy.switch(Mode::Truncate(3));
        assert_eq!(echoed(&mut stream, 3).expect("three bytes"), b"hel");
        assert_eq!(stream.read(&mut [0; 9]).expect("it was closed"), 0);

        let (proxy, mut stream) = echo();
        assert_eq!(echoed(&mut stream, 5).expect("a reply"), b"hello");
        proxy.switch(Mode::Reset(7));
        assert_eq!(echoed(&mut stream, 5).expect("a reply"), b"hello");
        let error = echoed(&mut stream, 5).expect_err("it was reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn garbage_replaces_a_reply() {
        let (proxy, mut stream) = echo();
        proxy.switch(Mode::Garbage(b"rubbish".into()));
        assert_eq!(echoed(&mut stream, 7).expect("a reply"), b"rubbish");
    }

    #[test]
    fn reply_is_delayed() {
        let (proxy, mut stream) = echo();
        proxy.switch(Mode::Delay(Duration::from_millis(200)));
        let start = std::time::Instant::now();
        assert_eq!(echoed(&mut stream, 5).expect("a reply"), b"hello");
        assert!(start.elapsed() >= Duration::from_millis(200));
    }
}
