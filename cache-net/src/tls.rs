//! TLS connections of a client.

#[cfg(not(feature = "tls"))]
pub use self::disabled::Tls;
#[cfg(feature = "tls")]
pub use self::enabled::{Tls, TlsBuilder, Verification};

#[cfg(not(feature = "tls"))]
mod disabled {
    use std::{
        io,
        time::{Duration, SystemTime},
    };

    use tokio::net::TcpStream;

    /// A TLS client. It has no values, because the feature `tls` is disabled.
    #[derive(Clone, Debug)]
    pub enum Tls {}

    impl Tls {
        /// Cannot be called, because there is no `Tls`.
        ///
        /// # Errors
        ///
        /// None.
        pub async fn connect(&self, _host: &str, _stream: TcpStream) -> io::Result<TcpStream> {
            match *self {}
        }

        /// Cannot be called, because there is no `Tls`.
        ///
        /// # Errors
        ///
        /// None.
        pub async fn expiry(
            &self,
            _host: &str,
            _stream: TcpStream,
            _period: Duration,
        ) -> io::Result<Option<SystemTime>> {
            match *self {}
        }
    }
}

#[cfg(feature = "tls")]
mod enabled {
    use std::{
        fmt, fs, io,
        path::{Path, PathBuf},
        sync::Arc,
        time::{Duration, SystemTime},
    };

    use cache_core::{Error, Result, config::invalid_setting};
    use parking_lot::Mutex;
    use tokio::net::TcpStream;
    use tokio_rustls::{
        TlsConnector,
        client::TlsStream,
        rustls::{
            self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
            SignatureScheme,
            client::{
                WebPkiServerVerifier,
                danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
            },
            crypto::{CryptoProvider, ring},
            pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
        },
    };

    /// A TLS client: the certificates it trusts and its own. Cloning it is cheap.
    #[derive(Clone)]
    pub struct Tls(Arc<Inner>);

    enum Inner {
        Fixed(Client),
        Files(Box<Files>),
    }

    /// What performs handshakes, and what verifies certificates in them.
    #[derive(Clone)]
    struct Client {
        connector: TlsConnector,
        verifier: Arc<dyn ServerCertVerifier>,
    }

    /// A client that is built again when its files change.
    struct Files {
        paths: Vec<PathBuf>,
        build: Box<dyn Fn() -> Result<Tls> + Send + Sync>,
        current: Mutex<(Vec<Version>, Client)>,
    }

    /// The time of the last change and the size of a file, or `None` if it is missing.
    type Version = Option<(SystemTime, u64)>;

    impl Files {
        fn versions(paths: &[PathBuf]) -> Vec<Version> {
            let version = |path: &PathBuf| {
                let file = fs::metadata(path).ok()?;
                Some((file.modified().ok()?, file.len()))
            };
            paths.iter().map(version).collect()
        }

        /// The client for the files as they are now. Keeps the last one that worked while they are
        /// being replaced.
        fn client(&self) -> Client {
            let mut current = self.current.lock();
            let versions = Self::versions(&self.paths);
            if versions != current.0 {
                match (self.build)() {
                    Ok(tls) => *current = (versions, tls.client()),
                    Err(error) => {
                        let error: &(dyn std::error::Error + 'static) = &error;
                        tracing::warn!(error, "cannot read changed certificates, keeping the old");
                    }
                }
            }
            current.1.clone()
        }
    }

    impl Tls {
        /// Creates a client with `build`, and creates it again before a connection if one of the
        /// files was changed: certificates expire, and are replaced while a service runs.
        ///
        /// # Errors
        ///
        /// Returns the error of `build`. A later error is logged, and the previous client is used.
        pub fn from_files(
            paths: Vec<PathBuf>,
            build: impl Fn() -> Result<Self> + Send + Sync + 'static,
        ) -> Result<Self> {
            let current = Mutex::new((Files::versions(&paths), build()?.client()));
            let files = Files { paths, build: Box::new(build), current };
            Ok(Self(Arc::new(Inner::Files(Box::new(files)))))
        }

        fn client(&self) -> Client {
            match &*self.0 {
                Inner::Fixed(client) => client.clone(),
                Inner::Files(files) => files.client(),
            }
        }

        /// Performs the handshake with the server `host`.
        ///
        /// # Errors
        ///
        /// Returns [`io::ErrorKind::InvalidInput`] if `host` cannot be the name in a certificate,
        /// and other kinds if the handshake fails.
        pub async fn connect(
            &self,
            host: &str,
            stream: TcpStream,
        ) -> io::Result<TlsStream<TcpStream>> {
            self.client().connector.connect(server_name(host)?, stream).await
        }

        /// Performs the handshake with the server `host`, and returns when the first certificate
        /// that it presents expires, if that is within the next `period`.
        ///
        /// Returns `None` if certificates are not verified.
        ///
        /// # Errors
        ///
        /// Returns the errors of [`connect`](Self::connect).
        pub async fn expiry(
            &self,
            host: &str,
            stream: TcpStream,
            period: Duration,
        ) -> io::Result<Option<SystemTime>> {
            let (client, name) = (self.client(), server_name(host)?);
            let stream = client.connector.connect(name.clone(), stream).await?;
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let Some((certificate, issuers)) = chain.split_first() else { return Ok(None) };
            let verify = |time: Duration| {
                let time = UnixTime::since_unix_epoch(time);
                client.verifier.verify_server_cert(certificate, issuers, &name, &[], time)
            };
            let now = UnixTime::now().as_secs();
            let (mut time, mut first) = (now.saturating_add(period.as_secs()), None);
            // Verification fails with the first certificate that has expired by then. Another one
            // may expire before it.
            while let Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after,
                ..
            })) = verify(Duration::from_secs(time))
                && not_after.as_secs() < time
            {
                time = not_after.as_secs();
                first = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(time));
            }
            Ok(first)
        }
    }

    /// The name of a host in a certificate, which contains no zone of an IPv6 address.
    fn server_name(host: &str) -> io::Result<ServerName<'static>> {
        let name = host.split_once('%').map_or(host, |(address, _)| address);
        ServerName::try_from(name.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }

    impl fmt::Debug for Tls {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Tls")
        }
    }

    /// How a server's certificate is verified.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Verification {
        /// A trusted authority must have signed it, and it must be valid for the host name.
        #[default]
        Full,
        /// A trusted authority must have signed it.
        SkipHostname,
        /// Nothing is verified.
        None,
    }

    /// Builds a [`Tls`]. Each method that reads a file takes the name of the setting for errors.
    pub struct TlsBuilder {
        roots: RootCertStore,
        verification: Verification,
        identity: Option<Identity>,
    }

    struct Identity {
        setting: String,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    }

    impl TlsBuilder {
        /// Creates a builder that trusts no certificate yet.
        #[must_use]
        pub fn new(verification: Verification) -> Self {
            Self { roots: RootCertStore::empty(), verification, identity: None }
        }

        /// Trusts the certificates in a PEM file.
        ///
        /// # Errors
        ///
        /// Returns [`ErrorKind::Config`](cache_core::ErrorKind::Config) if the file cannot be read,
        /// or contains no certificate or an invalid one.
        pub fn trust_file(&mut self, setting: &str, path: &Path) -> Result<()> {
            let wrong = |why: &str| invalid_file(setting, path, why, CERTIFICATES);
            self.trust(&read(path).map_err(|why| wrong(&why))?).map_err(|why| wrong(&why))
        }

        /// Trusts the certificates in PEM-encoded text.
        ///
        /// # Errors
        ///
        /// Returns [`ErrorKind::Config`](cache_core::ErrorKind::Config) if it contains no
        /// certificate or an invalid one.
        pub fn trust_pem(&mut self, setting: &str, pem: &str) -> Result<()> {
            let wrong =
                |why: String| invalid_setting(setting, &format!("text ({why})"), CERTIFICATES);
            self.trust(pem.as_bytes()).map_err(wrong)
        }

        /// Trusts the certificates of the operating system.
        ///
        /// # Errors
        ///
        /// Returns [`ErrorKind::Config`](cache_core::ErrorKind::Config) if it has none.
        #[cfg(feature = "native-certs")]
        pub fn trust_system(&mut self, setting: &str) -> Result<()> {
            self.roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if self.roots.is_empty() {
                let found = "nothing, and the system has no certificates either";
                return Err(invalid_setting(setting, found, CERTIFICATES));
            }
            Ok(())
        }

        /// Sets the certificate chain and the private key that the client presents, from PEM files.
        ///
        /// # Errors
        ///
        /// Returns [`ErrorKind::Config`](cache_core::ErrorKind::Config) if a file cannot be read or
        /// contains something else.
        pub fn identity(
            &mut self,
            (chain_setting, chain): (&str, &Path),
            (key_setting, key): (&str, &Path),
        ) -> Result<()> {
            let wrong = |why: String| invalid_file(chain_setting, chain, &why, CERTIFICATES);
            let wrong_key = |why: String| invalid_file(key_setting, key, &why, PRIVATE_KEY);
            let chain = read(chain).and_then(|pem| certificates(&pem)).map_err(wrong)?;
            let key = read(key)
                .and_then(|pem| PrivateKeyDer::from_pem_slice(&pem).map_err(|e| e.to_string()))
                .map_err(wrong_key)?;
            self.identity = Some(Identity { setting: chain_setting.to_owned(), chain, key });
            Ok(())
        }

        /// Builds the client.
        ///
        /// # Errors
        ///
        /// Returns [`ErrorKind::Config`](cache_core::ErrorKind::Config) if no certificate is
        /// trusted although they are verified, or if the private key does not fit the certificate.
        pub fn build(self) -> Result<Tls> {
            let wrong = |error: &dyn fmt::Display| {
                invalid_setting("OPTIONS", &error.to_string(), "TLS settings that rustls accepts")
            };
            let provider = Arc::new(ring::default_provider());
            let verifier: Arc<dyn ServerCertVerifier> = if self.verification == Verification::None {
                Arc::new(Lenient { inner: None, provider: Arc::clone(&provider) })
            } else {
                let (roots, provider) = (Arc::new(self.roots), Arc::clone(&provider));
                let strict =
                    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                        .build()
                        .map_err(|error| wrong(&error))?;
                match self.verification {
                    Verification::SkipHostname => {
                        Arc::new(Lenient { inner: Some(strict), provider })
                    }
                    _ => strict,
                }
            };
            let builder = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| wrong(&error))?
                .dangerous()
                .with_custom_certificate_verifier(Arc::clone(&verifier));
            let config = match self.identity {
                Some(Identity { setting, chain, key }) => {
                    builder.with_client_auth_cert(chain, key).map_err(|error| {
                        let expected = "a certificate and the private key that belongs to it";
                        invalid_setting(&setting, &error.to_string(), expected)
                    })?
                }
                None => builder.with_no_client_auth(),
            };
            let connector = TlsConnector::from(Arc::new(config));
            Ok(Tls(Arc::new(Inner::Fixed(Client { connector, verifier }))))
        }

        fn trust(&mut self, pem: &[u8]) -> Result<(), String> {
            certificates(pem)?.into_iter().try_for_each(|certificate| {
                self.roots.add(certificate).map_err(|error| error.to_string())
            })
        }
    }

    impl fmt::Debug for TlsBuilder {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("TlsBuilder")
                .field("roots", &self.roots.len())
                .field("verification", &self.verification)
                .finish_non_exhaustive()
        }
    }

    const CERTIFICATES: &str = "certificates in PEM";
    const PRIVATE_KEY: &str = "a private key in PEM";

    fn invalid_file(setting: &str, path: &Path, why: &str, expected: &str) -> Error {
        invalid_setting(setting, &format!("{:?} ({why})", path.display()), expected)
    }

    fn read(path: &Path) -> Result<Vec<u8>, String> {
        fs::read(path).map_err(|error| error.to_string())
    }

    /// Returns at least one certificate.
    fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        if certificates.is_empty() {
            return Err("without any certificate".to_owned());
        }
        Ok(certificates)
    }

    /// Accepts a certificate for another host; without `inner`, accepts any certificate.
    struct Lenient {
        inner: Option<Arc<WebPkiServerVerifier>>,
        provider: Arc<CryptoProvider>,
    }

    impl fmt::Debug for Lenient {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Lenient")
        }
    }

    impl ServerCertVerifier for Lenient {
        fn verify_server_cert(
            &self,
            certificate: &CertificateDer<'_>,
            intermediates: &[CertificateDer<'_>],
            name: &ServerName<'_>,
            ocsp: &[u8],
            now: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
            match inner.verify_server_cert(certificate, intermediates, name, ocsp, now) {
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )) => Ok(ServerCertVerified::assertion()),
                verified => verified,
            }
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    }

    #[cfg(test)]
    mod tests {
        use std::net::SocketAddr;

        use cache_core::ErrorKind;
        use tokio::net::TcpListener;
        use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

        use super::*;

        /// A self-signed certificate for `127.0.0.1` and its key, in PEM.
        fn pem() -> (String, String) {
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]);
            let made = made.expect("a certificate");
            (made.cert.pem(), made.signing_key.serialize_pem())
        }

        /// Connects as `host` to a server that presents this certificate.
        async fn connect(tls: &Tls, host: &str, pem: &(String, String)) -> io::Result<()> {
            let stream = TcpStream::connect(serve(pem).await).await.expect("a connection");
            tls.connect(host, stream).await.map(drop)
        }

        /// Starts a server that presents this certificate to one client.
        async fn serve((chain, key): &(String, String)) -> SocketAddr {
            let chain = certificates(chain.as_bytes()).expect("a certificate");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
            let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
                .expect("a server");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("an address");
            tokio::spawn(async move {
                let (stream, _) = listener.accept().await.expect("a client");
                TlsAcceptor::from(Arc::new(config)).accept(stream).await.map(drop)
            });
            address
        }

        fn trusting(verification: Verification, pem: &str) -> Tls {
            let mut builder = TlsBuilder::new(verification);
            builder.trust_pem("ca", pem).expect("a certificate");
            builder.build().expect("valid settings")
        }

        #[tokio::test]
        async fn trusted_certificate_for_the_host_is_accepted() {
            let pem = pem();
            let tls = trusting(Verification::Full, &pem.0);
            connect(&tls, "127.0.0.1", &pem).await.expect("accepted");
            connect(&tls, "127.0.0.2", &pem).await.expect_err("another host");
            let error = connect(&tls, "no host", &pem).await.expect_err("not a name");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }

        #[tokio::test]
        async fn verification_can_be_relaxed() {
            let (pem, other) = (pem(), pem());
            let tls = trusting(Verification::SkipHostname, &pem.0);
            connect(&tls, "127.0.0.2", &pem).await.expect("the host is not checked");
            connect(&tls, "127.0.0.1", &other).await.expect_err("not trusted");
            let tls = TlsBuilder::new(Verification::None).build().expect("valid settings");
            connect(&tls, "127.0.0.2", &other).await.expect("nothing is checked");
        }

        #[tokio::test]
        async fn expiry_within_the_period_is_found() {
            const DAY: Duration = Duration::from_secs(86_400);
            let soon = SystemTime::now() + 5 * DAY;
            let key = rcgen::KeyPair::generate().expect("a key");
            let mut params =
                rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a valid name");
            params.not_after = soon.into();
            let certificate = params.self_signed(&key).expect("a certificate");
            let pem = (certificate.pem(), key.serialize_pem());
            let tls = trusting(Verification::Full, &pem.0);
            let expiry = async |period| {
                let stream = TcpStream::connect(serve(&pem).await).await.expect("a connection");
                tls.expiry("127.0.0.1", stream, period).await.expect("accepted")
            };
            let found = expiry(30 * DAY).await.expect("within the period");
            let difference = soon.duration_since(found).expect("in whole seconds");
            assert!(difference <= Duration::from_secs(1), "{difference:?}");
            assert_eq!(expiry(4 * DAY).await, None);
        }

        #[tokio::test]
        async fn changed_file_is_read_again() {
            let folder = tempfile::tempdir().expect("a folder");
            let (file, minute) = (folder.path().join("ca"), Duration::from_secs(60));
            // With times that differ even if the file system keeps only seconds.
            let write = |text: &str, number: u32| {
                fs::write(&file, text).expect("written");
                let open = fs::File::options().write(true).open(&file).expect("the file");
                open.set_modified(SystemTime::now() + number * minute).expect("the own file");
            };
            let (old, new) = (pem(), pem());
            write(&old.0, 0);
            let path = file.clone();
            let tls = Tls::from_files(vec![file.clone()], move || {
                let mut builder = TlsBuilder::new(Verification::Full);
                builder.trust_file("ca", &path)?;
                builder.build()
            });
            let tls = tls.expect("a valid file");
            connect(&tls, "127.0.0.1", &old).await.expect("trusted");
            write("half of a cert", 1);
            connect(&tls, "127.0.0.1", &old).await.expect("the last valid file counts");
            write(&new.0, 2);
            connect(&tls, "127.0.0.1", &new).await.expect("trusted");
            connect(&tls, "127.0.0.1", &old).await.expect_err("no longer trusted");
        }

        #[test]
        fn invalid_file_error_names_setting_and_path() {
            let folder = tempfile::tempdir().expect("a folder");
            let at = |name: &str| folder.path().join(name);
            let (chain, key) = pem();
            fs::write(at("cert"), &chain).expect("written");
            fs::write(at("key"), key).expect("written");
            fs::write(at("other"), "text").expect("written");
            let mut builder = TlsBuilder::new(Verification::Full);
            let errors = [
                ("ca", "missing", builder.trust_file("ca", &at("missing"))),
                ("ca", "without any", builder.trust_file("ca", &at("other"))),
                ("ca", "without any", builder.trust_pem("ca", "text")),
                ("cert", "other", builder.identity(("cert", &at("other")), ("key", &at("key")))),
                ("key", "other", builder.identity(("cert", &at("cert")), ("key", &at("other")))),
            ];
            for (setting, found, outcome) in errors {
                let error = outcome.expect_err(found);
                assert_eq!(error.kind(), ErrorKind::Config);
                let message = error.to_string();
                assert!(message.starts_with(&format!("{setting}: ")), "{message}");
                assert!(message.contains(found), "{message}");
            }
            builder.identity(("cert", &at("cert")), ("key", &at("key"))).expect("valid files");
            builder.trust_file("ca", &at("cert")).expect("a valid file");
            builder.build().expect("valid settings");
        }

        #[test]
        fn empty_trust_store_is_an_error() {
            let error = TlsBuilder::new(Verification::Full).build().expect_err("no roots");
            assert_eq!(error.kind(), ErrorKind::Config);
        }
    }
}
