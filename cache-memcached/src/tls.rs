//! Encryption between a server and what talks to it in plain text.

use std::{fmt, path::Path, pin::pin, sync::Arc};

use cache_core::{Result, config::invalid_setting};
use futures_util::future::select;
use tokio::{
    io::{copy, split},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use crate::dial::Refusal;

#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl Tls {
    /// Trusts what is signed by a certificate in this file.
    pub(crate) fn trusting(file: &Path) -> Result<Self> {
        let wrong = |why: &dyn fmt::Display| {
            invalid_setting(
                "OPTIONS.tls_ca",
                &format!("{:?} ({why})", file.display()),
                "a file of certificates, in PEM",
            )
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
            let added = certificate.map(|certificate| roots.add(certificate));
            added.map_err(|error| wrong(&error))?.map_err(|error| wrong(&error))?;
        }
        if roots.is_empty() {
            return Err(wrong(&"without any certificate"));
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self(Arc::new(config).into()))
    }

    /// Shakes hands, and answers the near end of a pair of sockets. What goes between them is carried by a task of its own: so
    /// all else reads and writes sockets, with or without encryption. It ends with either side.
    pub(crate) async fn wrap(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> std::result::Result<UnixStream, Refusal> {
        let no_name = |error| Refusal {
            why: format!("no name for a certificate: {error}"),
            temporary: false,
        };
        let name =
            ServerName::try_from(host.to_owned()).map_err(|error| no_name(error.to_string()))?;
        let failed = |error| Refusal { why: format!("no TLS with it: {error}"), temporary: true };
        let far = self.0.connect(name, stream).await.map_err(failed)?;
        let (near, relay) = UnixStream::pair()?;
        tokio::spawn(async move {
            let (mut from_far, mut to_far) = split(far);
            let (mut from_near, mut to_near) = relay.into_split();
            select(pin!(copy(&mut from_near, &mut to_far)), pin!(copy(&mut from_far, &mut to_near)))
                .await
                .factor_first()
                .0
        });
        Ok(near)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
