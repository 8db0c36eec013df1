//! A proxy that fails in many ways between a store and its server.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;

use crate::shell::Outcome;

/// Listens on a free port of 127.0.0.1 until it is dropped, and carries what comes there to a server, as well as it is
/// told to.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

/// How well the proxy works, for the connections that there are and those to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything goes through.
    Pass,
    /// Each piece of a reply waits for so long.
    Delay(Duration),
    /// Connections are accepted and kept, and nothing goes through. What came meanwhile is carried later.
    Blackhole,
    /// After so many more bytes of replies, each connection is closed.
    Truncate(usize),
    /// After so many more bytes of replies, each connection is reset.
    Reset(usize),
    /// Each piece of a reply is replaced by these bytes.
    Garbage(Vec<u8>),
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// How often the mode was switched.
    switches: u64,
    /// Connections, both ends of each.
    accepted: Vec<[Weak<TcpStream>; 2]>,
    /// So many of the first connections are in silence for ever.
    stranded: usize,
    ended: bool,
}

impl Proxy {
    /// A proxy before the server on this port of 127.0.0.1, in [`Mode::Pass`].
    pub fn before(server: u16) -> Outcome<Self> {
        let listening = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) =
            listening.map_err(|why| format!("there is no free port: {why}"))?;
        let state = State {
            mode: Mode::Pass,
            switches: 0,
            accepted: Vec::new(),
            stranded: 0,
            ended: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener, server));
        Ok(Self { port: address.port(), shared })
    }

    /// Where it listens, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes it work as well as this from now on.
    pub fn switch(&self, mode: Mode) {
        let mut state = self.shared.lock();
        state.mode = mode;
        state.switches += 1;
        self.shared.changed.notify_all();
    }

    /// Leaves the connections that there are in silence for ever, and those to come alone: as when a machine behind an
    /// address is replaced by another.
    pub fn strand(&self) {
        let mut state = self.shared.lock();
        state.stranded = state.accepted.len();
    }

    /// How many connections were made to it so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.lock().accepted.len()
    }

    /// How many of them are open.
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
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Reply,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Self>, listener: &TcpListener, server: u16) {
        while let Ok((near, _)) = listener.accept() {
            if self.lock().ended {
                return;
            }
            // Where the server is away, the connection ends as soon as it is made.
            let Ok(far) = TcpStream::connect(("127.0.0.1", server)) else { continue };
            let _ = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
            let (near, far) = (Arc::new(near), Arc::new(far));
            let mut state = self.lock();
            let number = state.accepted.len();
            state.accepted.push([Arc::downgrade(&near), Arc::downgrade(&far)]);
            drop(state);
            for (from, to, way) in [(&near, &far, Way::Request), (&far, &near, Way::Reply)] {
                let (shared, from, to) = (Arc::clone(&self), Arc::clone(from), Arc::clone(to));
                thread::spawn(move || shared.carry(number, &from, &to, way));
            }
        }
    }

    /// Carries one way until the connection ends, and ends the other end; that wakes the thread of the other way.
    fn carry(&self, number: usize, from: &TcpStream, to: &TcpStream, way: Way) {
        let ended = self.carry_all(number, from, to, way);
        if matches!(ended, Ok(Some(Mode::Reset(_))))
            && set_socket_linger(to, Some(Duration::ZERO)).is_ok()
        {
            // A connection that lingers for no time is reset when the other thread has closed it, too.
            let _ = to.shutdown(Shutdown::Read);
        } else {
            let _ = to.shutdown(Shutdown::Both);
        }
    }

    /// Carries one way until the connection ends by itself, or by the mode that is answered.
    fn carry_all(
        &self,
        number: usize,
        mut from: &TcpStream,
        mut to: &TcpStream,
        way: Way,
    ) -> io::Result<Option<Mode>> {
        let mut piece = vec![0; 64 << 10];
        let (mut carried, mut since) = (0, 0);
        loop {
            let length = from.read(&mut piece)?;
            let (mode, switches) = self.mode_once_open(number);
            if switches != since {
                (carried, since) = (0, switches);
            }
            let mut piece = &piece[..length];
            match &mode {
                _ if length == 0 => return Ok(None),
                Mode::Garbage(garbage) if way == Way::Reply => piece = garbage,
                Mode::Delay(time) if way == Way::Reply => thread::sleep(*time),
                Mode::Truncate(after) | Mode::Reset(after) if way == Way::Reply => {
                    piece = &piece[..length.min(after - carried)];
                    carried += piece.len();
                    if carried == *after {
                        to.write_all(piece)?;
                        return Ok(Some(mode));
                    }
                }
                _ => {}
            }
            to.write_all(piece)?;
        }
    }

    /// The mode, and how often it was switched, once it is one in which anything goes through.
    fn mode_once_open(&self, number: usize) -> (Mode, u64) {
        let shut = |state: &mut State| {
            !state.ended && (state.mode == Mode::Blackhole || number < state.stranded)
        };
        let state =
            self.changed.wait_while(self.lock(), shut).unwrap_or_else(PoisonError::into_inner);
        (state.mode.clone(), state.switches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection, by a proxy, to a server that answers with what it is asked.
    fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let proxy = Proxy::before(listener.local_addr().expect("it is bound").port())
            .expect("there is a port");
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it is a time");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            io::copy(&mut stream.try_clone()?, &mut stream)
        });
        (proxy, stream)
    }

    fn ask(stream: &mut TcpStream, length: usize) -> io::Result<Vec<u8>> {
        stream.write_all(b"hello")?;
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).map(|()| answer)
    }

    #[test]
    fn a_proxy_carries_both_ways() {
        let (proxy, mut stream) = echo();
        assert_eq!(ask(&mut stream, 5).expect("it answers"), b"hello");
        assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    }

    #[test]
    fn what_is_held_back_is_carried_later_unless_it_is_stranded() {
        let (proxy, mut stream) = echo();
        proxy.switch(Mode::Blackhole);
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("it is a time");
        assert_eq!(
            ask(&mut stream, 5).expect_err("nothing comes").kind(),
            io::ErrorKind::WouldBlock
        );
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it is a time");
        proxy.switch(Mode::Pass);
        assert_eq!(ask(&mut stream, 10).expect("it answers"), b"hellohello");
        proxy.strand();
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("it is a time");
        assert_eq!(
            ask(&mut stream, 5).expect_err("nothing comes").kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn a_reply_is_cut_where_it_is_told_to() {
        let (proxy, mut stream) = echo();
        proxy.switch(Mode::Truncate(3));
        assert_eq!(ask(&mut stream, 3).expect("that much comes"), b"hel");
        assert_eq!(stream.read(&mut [0; 9]).expect("it was closed"), 0);

        let (proxy, mut stream) = echo();
        assert_eq!(ask(&mut stream, 5).expect("it answers"), b"hello");
        proxy.switch(Mode::Reset(7));
        assert_eq!(ask(&mut stream, 5).expect("it answers"), b"hello");
        let error = ask(&mut stream, 5).expect_err("it was reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn garbage_takes_the_place_of_a_reply() {
        let (proxy, mut stream) = echo();
        proxy.switch(Mode::Garbage(b"rubbish".into()));
        assert_eq!(ask(&mut stream, 7).expect("it answers"), b"rubbish");
    }

    #[test]
    fn a_reply_is_delayed_by_as_much_as_was_said() {
        let (proxy, mut stream) = echo();
        proxy.switch(Mode::Delay(Duration::from_millis(200)));
        let start = std::time::Instant::now();
        assert_eq!(ask(&mut stream, 5).expect("it answers"), b"hello");
        assert!(start.elapsed() >= Duration::from_millis(200));
    }
}
