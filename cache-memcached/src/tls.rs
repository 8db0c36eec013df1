//! The TLS client, and the relay between an encrypted stream and a plain socket.

use std::{io, pin::pin};

use cache_core::Result;
use cache_net::Tls;
use futures_util::future::select;
use tokio::{
    io::{AsyncRead, AsyncWrite, copy, split},
    net::UnixStream,
};

use crate::MemcachedOptions;

/// Builds the TLS client that the options configure. Reads the file again if it changes.
pub(crate) fn client(options: &MemcachedOptions) -> Result<Option<Tls>> {
    #[cfg(feature = "tls")]
    if let Some(file) = options.tls_ca.clone() {
        let tls = Tls::from_files(vec![file.clone()], move || {
            let mut tls = cache_net::TlsBuilder::new(cache_net::Verification::Full);
            tls.trust_file("OPTIONS.tls_ca", &file)?;
            tls.build()
        });
        return tls.map(Some);
    }
    let _ = options;
    Ok(None)
}

/// Returns the near end of a socket pair. A task copies between the far end and the encrypted
/// stream until either is closed.
///
/// The connection can therefore use the non-blocking writes of sockets, which a TLS stream does not
/// have.
pub(crate) fn relay<S>(encrypted: S) -> io::Result<UnixStream>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (near, far) = UnixStream::pair()?;
    tokio::spawn(async move {
        let (mut from_server, mut to_server) = split(encrypted);
        let (mut from_near, mut to_near) = far.into_split();
        let upstream = pin!(copy(&mut from_near, &mut to_server));
        let downstream = pin!(copy(&mut from_server, &mut to_near));
        select(upstream, downstream).await;
    });
    Ok(near)
}
