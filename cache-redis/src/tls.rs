//! The TLS client that the options configure.

use std::path::Path;

use cache_core::Result;
use cache_net::Tls;

use crate::RedisOptions;

#[cfg(not(feature = "tls"))]
pub(crate) fn client(_: &RedisOptions, _: Option<&Path>) -> Result<Tls> {
    let expected = "redis://, or a build of cachette with the feature \"redis-tls\"";
    Err(cache_core::config::invalid_setting("LOCATION", "rediss:// (TLS)", expected))
}

/// Reads the files that the options name, and reads them again if they change. Relative paths are
/// resolved against `folder`.
#[cfg(feature = "tls")]
pub(crate) fn client(options: &RedisOptions, folder: Option<&Path>) -> Result<Tls> {
    let files = [&options.ssl_ca_certs, &options.ssl_certfile, &options.ssl_keyfile];
    let path =
        |file: &std::path::PathBuf| folder.map_or_else(|| file.clone(), |folder| folder.join(file));
    let files = files.into_iter().flatten().map(path).collect();
    let (options, folder) = (options.clone(), folder.map(Path::to_owned));
    Tls::from_files(files, move || build(&options, folder.as_deref()))
}

#[cfg(feature = "tls")]
fn build(options: &RedisOptions, folder: Option<&Path>) -> Result<Tls> {
    use cache_net::{TlsBuilder, Verification};

    use crate::options::{CertReqs, option};

    let path = |file: &Path| folder.map_or_else(|| file.into(), |folder| folder.join(file));
    let mut tls = TlsBuilder::new(match options.ssl_cert_reqs {
        CertReqs::None => Verification::None,
        CertReqs::Required if !options.ssl_check_hostname => Verification::SkipHostname,
        CertReqs::Required => Verification::Full,
    });
    if options.ssl_cert_reqs == CertReqs::Required {
        let ca = option("ssl_ca_certs");
        if let Some(file) = &options.ssl_ca_certs {
            tls.trust_file(&ca, &path(file))?;
        }
        if let Some(pem) = &options.ssl_ca_data {
            tls.trust_pem(&option("ssl_ca_data"), pem)?;
        }
        if options.ssl_ca_certs.is_none() && options.ssl_ca_data.is_none() {
            tls.trust_system(&ca)?;
        }
    }
    if let (Some(certificate), Some(key)) = (&options.ssl_certfile, &options.ssl_keyfile) {
        let (certificate, key) = (path(certificate), path(key));
        tls.identity((&option("ssl_certfile"), &certificate), (&option("ssl_keyfile"), &key))?;
    }
    tls.build()
}
