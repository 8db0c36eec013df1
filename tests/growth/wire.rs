//! A proxy that counts what a client sends and receives.

use std::{
    io::{self, Read, Write},
    mem,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use tokio::runtime::Runtime;

use crate::Counts;

/// Forwards connections from a free port to a server on this machine.
pub(crate) struct Wire {
    port: u16,
    traffic: Arc<Traffic>,
}

#[derive(Default)]
struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    /// Two threads for each connection.
    pumps: Mutex<Vec<JoinHandle<()>>>,
}

impl Wire {
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let traffic = Arc::new(Traffic::default());
        let accepting = Arc::clone(&traffic);
        // Ends with the process.
        thread::spawn(move || {
            for near in listener.incoming() {
                let far = TcpStream::connect(("127.0.0.1", server)).expect("the server listens");
                accepting.forward(&near.expect("a connection"), &far).expect("sockets");
            }
        });
        Self { port, traffic }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until all connections are closed at both ends. The runtime runs, because its tasks
    /// close them.
    pub(crate) fn wait_until_closed(&self, runtime: &Runtime) {
        let pumps = mem::take(&mut *self.traffic.lock_pumps());
        let joined = move || pumps.into_iter().for_each(|pump| pump.join().expect("it forwards"));
        let joined = runtime.spawn_blocking(joined);
        runtime.block_on(joined).expect("they end");
    }

    /// Returns the bytes since the last call.
    pub(crate) fn take(&self) -> Counts {
        let (sent, received) = (&self.traffic.sent, &self.traffic.received);
        vec![("bytes sent", sent.swap(0, Relaxed)), ("bytes received", received.swap(0, Relaxed))]
    }
}

impl Traffic {
    fn lock_pumps(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.pumps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forward(self: &Arc<Self>, near: &TcpStream, far: &TcpStream) -> io::Result<()> {
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let (request, reply) = (Arc::clone(self), Arc::clone(self));
        // Locked first, so that `wait_until_closed` does not miss a connection that has begun.
        let mut pumps = self.lock_pumps();
        let (from, to) = (near.try_clone()?, far.try_clone()?);
        let requests = thread::spawn(move || pump(from, to, &request.sent));
        let (from, to) = (far.try_clone()?, near.try_clone()?);
        let replies = thread::spawn(move || pump(from, to, &reply.received));
        pumps.extend([requests, replies]);
        Ok(())
    }
}

/// Forwards one direction of a connection. Data is counted before the peer can react to it.
fn pump(mut from: TcpStream, mut to: TcpStream, bytes: &AtomicU64) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        bytes.fetch_add(length as u64, Relaxed);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Fails if the peer has closed the connection.
    let _ = to.shutdown(Shutdown::Write);
}
