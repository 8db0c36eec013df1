//! A proxy that holds back the requests of one connection.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// A TCP proxy in front of a server on this machine. It forwards everything, until it is set to
/// hold back the requests of the next connection that sends one.
pub(crate) struct Gate {
    port: u16,
    phase: Phases,
}

type Phases = Arc<watch::Sender<Phase>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Everything is forwarded.
    Open,
    /// This many more pieces of requests are forwarded; the next one is held back.
    Armed(usize),
    /// A connection's requests are held back.
    Holding,
    /// They are forwarded again.
    Released,
    /// The connection that was held is closed at both ends.
    Closed,
}

impl Gate {
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("the listener is bound").port();
        let phase: Phases = Arc::new(watch::Sender::new(Phase::Open));
        let accepting = Arc::clone(&phase);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(proxy(client, server, Arc::clone(&accepting)));
            }
        });
        Self { port, phase }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Forwards `pieces` more pieces of requests, and holds back what follows on the connection of
    /// the next one.
    pub(crate) fn hold_after(&self, pieces: usize) {
        self.phase.send_replace(Phase::Armed(pieces));
    }

    /// Waits until a request is held back.
    pub(crate) async fn is_holding(&self) {
        self.wait_for(Phase::Holding).await;
    }

    /// Forwards what was held back.
    pub(crate) fn release(&self) {
        self.phase.send_replace(Phase::Released);
    }

    /// Waits until both ends have closed the connection that was held: by then, the server has run
    /// all of it.
    pub(crate) async fn is_closed(&self) {
        self.wait_for(Phase::Closed).await;
    }

    async fn wait_for(&self, phase: Phase) {
        self.phase.subscribe().wait_for(|now| *now == phase).await.expect("the gate is alive");
    }
}

/// Connects a client to the server until both have closed the connection.
async fn proxy(client: TcpStream, server: u16, phase: Phases) {
    let server = TcpStream::connect(("127.0.0.1", server)).await.expect("the server listens");
    client.set_nodelay(true).and(server.set_nodelay(true)).expect("the sockets are open");
    let (mut replies, to_server) = server.into_split();
    let (requests, mut to_client) = client.into_split();
    let (held, _) = tokio::join!(forward(requests, to_server, &phase), async {
        let copied = tokio::io::copy(&mut replies, &mut to_client).await;
        // The client may be gone. Let the server finish.
        let drained = tokio::io::copy(&mut replies, &mut tokio::io::sink()).await;
        copied.and(drained).and(to_client.shutdown().await)
    });
    if held {
        phase.send_replace(Phase::Closed);
    }
}

/// Forwards requests until the client closes its end. Returns whether some were held back.
async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, phase: &Phases) -> bool {
    let mut held = false;
    let mut piece = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if holds_next(phase) {
            held = true;
            let mut phase = phase.subscribe();
            phase.wait_for(|now| *now == Phase::Released).await.expect("the gate is alive");
        }
        if to.write_all(&piece[..length]).await.is_err() {
            break;
        }
    }
    // Fails if the server has closed the connection first.
    let _ = to.shutdown().await;
    held
}

/// Counts a piece of a request. Returns whether it is the one to hold back.
fn holds_next(phase: &Phases) -> bool {
    let mut holds = false;
    phase.send_if_modified(|phase| {
        let Phase::Armed(pieces) = *phase else { return false };
        holds = pieces == 0;
        *phase = if holds { Phase::Holding } else { Phase::Armed(pieces - 1) };
        true
    });
    holds
}
