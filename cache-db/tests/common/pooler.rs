//! A PostgreSQL pooler that rejects start-up options.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// The request to encrypt the connection, which replaces the version in the first packet.
const SSL_REQUEST: u32 = 80_877_103;

/// Starts a pooler in front of a server on this machine, which reports the same error as Amazon's
/// RDS Proxy if a client sends start-up options. Returns its port.
pub(crate) async fn start(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("the listener is bound").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, server));
        }
    });
    port
}

async fn serve(mut client: TcpStream, server: u16) -> std::io::Result<()> {
    let mut packet = startup_packet(&mut client).await?;
    if packet[4..8] == SSL_REQUEST.to_be_bytes() {
        client.write_all(b"N").await?;
        packet = startup_packet(&mut client).await?;
    }
    if packet.windows(8).any(|name| name == b"options\0") {
        return client.write_all(&rejection()).await;
    }
    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
    server.write_all(&packet).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// Reads a packet that starts with its length.
async fn startup_packet(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = client.read_u32().await?;
    let mut packet = length.to_be_bytes().to_vec();
    packet.resize(length as usize, 0);
    client.read_exact(&mut packet[4..]).await?;
    Ok(packet)
}

fn rejection() -> Vec<u8> {
    const FIELDS: &[u8] = b"SFATAL\0VFATAL\0C0A000\0MFeature not supported: RDS Proxy currently \
        doesn't support command-line options.\0\0";
    let length = u32::try_from(4 + FIELDS.len()).expect("a short message");
    [b"E", &length.to_be_bytes()[..], FIELDS].concat()
}
