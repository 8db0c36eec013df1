//! Encrypted connections: whom to believe, and who we are.

#[cfg(feature = "tls")]
pub(crate) use self::encrypted::Tls;
#[cfg(not(feature = "tls"))]
pub(crate) use self::plain::Tls;

#[cfg(not(feature = "tls"))]
mod plain {
    use std::{io, path::Path};

    use cache_core::{Result, config::invalid_setting};
    use tokio::net::TcpStream;

    use crate::RedisOptions;

    /// What a build without TLS has in its place.
    #[derive(Clone)]
    pub(crate) struct Tls;

    impl Tls {
        pub(crate) fn new(
            options: &RedisOptions,
            needed: bool,
            folder: Option<&Path>,
        ) -> Result<Self> {
            let _ = (options, folder);
            if needed {
                let expected = "redis://, or the feature \"redis-tls\" of cachette, which this build does not have";
                return Err(invalid_setting(
                    "LOCATION",
                    "an encrypted connection, rediss://",
                    expected,
                ));
            }
            Ok(Self)
        }

        pub(crate) async fn connect(&self, _: &str, _: TcpStream) -> io::Result<TcpStream> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

#[cfg(feature = "tls")]
mod encrypted {
    use std::{
        fmt, fs, io,
        path::{Path, PathBuf},
        sync::Arc,
    };

    use cache_core::{Result, config::invalid_setting};
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
            pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
        },
    };

    use crate::{
        RedisOptions,
        options::{CertReqs, option},
    };

    /// Encrypts connections, where any are to be.
    #[derive(Clone)]
    pub(crate) struct Tls(Option<TlsConnector>);

    impl Tls {
        /// Reads the files that the options name; relative paths start at `folder`.
        pub(crate) fn new(
            options: &RedisOptions,
            needed: bool,
            folder: Option<&Path>,
        ) -> Result<Self> {
            if !needed {
                return Ok(Self(None));
            }
            let provider = Arc::new(ring::default_provider());
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| {
                    invalid_setting("OPTIONS", &error.to_string(), "what rustls can do")
                })?;
            let verifier: Arc<dyn ServerCertVerifier> = match options.ssl_cert_reqs {
                CertReqs::None => Arc::new(Lenient { inner: None, provider }),
                CertReqs::Required => {
                    let roots = Arc::new(roots(options, folder)?);
                    let strict =
                        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                            .build();
                    let strict = strict
                        .map_err(|error| no_certificates("ssl_ca_certs", &error.to_string()))?;
                    if options.ssl_check_hostname {
                        strict
                    } else {
                        Arc::new(Lenient { inner: Some(strict), provider })
                    }
                }
            };
            let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
            let config = match (&options.ssl_certfile, &options.ssl_keyfile) {
                (Some(certificate), Some(key)) => {
                    let chain = read("ssl_certfile", certificate, folder, certificates)?;
                    let key = read("ssl_keyfile", key, folder, |text| {
                        PrivateKeyDer::from_pem_slice(text).ok()
                    })?;
                    let wrong =
                        |error: rustls::Error| no_certificates("ssl_certfile", &error.to_string());
                    builder.with_client_auth_cert(chain, key).map_err(wrong)?
                }
                _ => builder.with_no_client_auth(),
            };
            Ok(Self(Some(TlsConnector::from(Arc::new(config)))))
        }

        pub(crate) async fn connect(
            &self,
            host: &str,
            stream: TcpStream,
        ) -> io::Result<TlsStream<TcpStream>> {
            let Self(Some(connector)) = self else { return Err(io::ErrorKind::Unsupported.into()) };
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            connector.connect(name, stream).await
        }
    }

    fn roots(options: &RedisOptions, folder: Option<&Path>) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &options.ssl_ca_certs {
            read("ssl_ca_certs", file, folder, |text| add(&mut roots, text))?;
        }
        if let Some(text) = &options.ssl_ca_data {
            let missing = || no_certificates("ssl_ca_data", "a text without certificates");
            add(&mut roots, text.as_bytes()).ok_or_else(missing)?;
        }
        if options.ssl_ca_certs.is_none() && options.ssl_ca_data.is_none() {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Ok(roots)
    }

    /// At least one certificate.
    fn certificates(text: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().ok()?;
        (!certificates.is_empty()).then_some(certificates)
    }

    fn add(roots: &mut RootCertStore, text: &[u8]) -> Option<()> {
        certificates(text)?.into_iter().try_for_each(|certificate| roots.add(certificate).ok())
    }

    fn read<T>(
        name: &str,
        file: &PathBuf,
        folder: Option<&Path>,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let path = folder.map_or_else(|| file.clone(), |folder| folder.join(file));
        let text = fs::read(&path)
            .map_err(|error| no_certificates(name, &format!("{}: {error}", path.display())))?;
        parse(&text).ok_or_else(|| {
            no_certificates(name, &format!("{}, which is something else", path.display()))
        })
    }

    fn no_certificates(name: &str, found: &str) -> cache_core::Error {
        let expected = match name {
            "ssl_keyfile" => "a private key in PEM",
            _ => "certificates in PEM",
        };
        invalid_setting(&option(name), found, expected)
    }

    /// Does not ask whom a certificate is for; without `inner`, asks nothing at all.
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
            between: &[CertificateDer<'_>],
            name: &ServerName<'_>,
            ocsp: &[u8],
            now: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
            match inner.verify_server_cert(certificate, between, name, ocsp, now) {
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
}
