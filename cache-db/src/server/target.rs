//! The database that a URL names, and how to connect to it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use cache_core::{
    Result,
    config::{invalid_setting, redact},
};
use cache_net::{ipv6_host, port_out_of_range};

use super::{
    Server,
    connector::Connector,
    driver::Driver,
    pool::{AnyPool, Pool, PoolConfig, Setup},
};
use crate::{dialect::Dialect, limits::Limits};

/// A database to connect to.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) dialect: &'static Dialect,
    /// The location, without secrets.
    pub(crate) location: String,
    /// Whether the application passed the pool in.
    pub(crate) is_external: bool,
    max_statement_bytes: MaxBytes,
}

/// The maximum size of a statement, set by the first connection; 0 if it is unknown.
type MaxBytes = Arc<AtomicUsize>;

impl Target {
    /// The target of a pool that the application passed in.
    pub(crate) fn external(dialect: &'static Dialect) -> Self {
        let location = format!("the {} pool of the application", dialect.name);
        Self { is_external: true, ..Self::new(dialect, location) }
    }

    fn new(dialect: &'static Dialect, location: String) -> Self {
        Self { dialect, location, is_external: false, max_statement_bytes: MaxBytes::default() }
    }

    /// The maximum size of a statement in bytes, if a connection has reported it.
    pub(crate) fn max_statement_bytes(&self) -> Option<usize> {
        Some(self.max_statement_bytes.load(Ordering::Relaxed)).filter(|max| *max > 0)
    }
}

fn config<D: Driver>(connector: Connector<D>, limits: Limits) -> PoolConfig<D> {
    PoolConfig {
        connector,
        setup: None,
        size: limits.pool_size,
        connect_timeout: limits.connect_timeout,
    }
}

/// Returns the IPv6 address in the host of a URL as resolvers expect it: without brackets.
///
/// Also returns the URL as drivers parse it: without the zone that the address may have. Returns
/// `None` if the host is a name or an IPv4 address.
fn ipv6_address(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.find(['/', '?', '#']).map_or(rest, |end| &rest[..end]);
    let host = authority.rfind('@').map_or(authority, |at| &authority[at + 1..]);
    let (host, after) = host.strip_prefix('[')?.split_once(']')?;
    let resolvable = ipv6_host(host)?;
    let (address, _) = host.split_once('%').unwrap_or((host, ""));
    let before = &authority[..authority.len() - host.len() - after.len() - 2];
    let path = &rest[authority.len()..];
    Some((resolvable, format!("{scheme}://{before}[{address}]{after}{path}")))
}

/// The IPv6 address to connect to: that of the URL, or that in brackets in a parameter.
fn resolvable(ipv6: Option<(String, String)>, host: &str) -> Option<String> {
    let in_brackets = || ipv6_host(host.strip_prefix('[')?.strip_suffix(']')?);
    ipv6.map(|(address, _)| address).or_else(in_brackets)
}

/// Returns `host:port` of a URL.
fn host_and_port(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.find(['/', '?', '#']).map_or(rest, |end| &rest[..end]);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// The driver names the port, parameter or escape that it cannot parse.
fn rejected_by_driver(setting: &str, url: &str, error: &sqlx::Error) -> cache_core::Error {
    if let Some(port) = port_out_of_range(host_and_port(url)) {
        let found = format!("{port} in {:?}", redact(url));
        return invalid_setting(setting, &found, "a port from 1 to 65535");
    }
    let expected = format!("the URL of a database that the driver can parse ({error})");
    invalid_setting(setting, &format!("{:?}", redact(url)), &expected)
}

/// Rejects a URL that requires TLS if this build has none.
fn check_tls(setting: &str, url: &str, is_required: bool, is_available: bool) -> Result<()> {
    if is_available || !is_required {
        return Ok(());
    }
    let found = format!("{:?}, which requires TLS", redact(url));
    let expected = "a URL without TLS in this build (enable the feature \"db-tls\" of cachette)";
    Err(invalid_setting(setting, &found, expected))
}

/// Checks that the files named in the URL exist. The driver opens them when it connects, and its
/// error does not name the missing file.
fn check_files(setting: &str, url: &str, parameters: &[&str]) -> Result<()> {
    let (_, query) = url.split_once('?').unwrap_or_default();
    for (parameter, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let file = value.replace('+', " ");
        let file = percent_encoding::percent_decode_str(&file).decode_utf8_lossy();
        // The value may also be the certificate itself.
        if parameters.contains(&parameter) && !file.starts_with("-----BEGIN") {
            std::fs::File::open(&*file).map_err(|error| {
                let found = format!("{parameter}={file} ({error})");
                invalid_setting(setting, &found, "a readable PEM file")
            })?;
        }
    }
    Ok(())
}

/// A PostgreSQL server at a URL, which is the value of `setting`.
#[cfg(feature = "postgres")]
pub(crate) fn postgres(setting: &str, url: &str, limits: Limits) -> Result<Server> {
    use sqlx::{
        ConnectOptions as _,
        postgres::{PgConnectOptions, PgSslMode},
    };

    use crate::dialect::postgres::{POSTGRES, session_settings};

    let ipv6 = ipv6_address(url);
    let parsed = ipv6.as_ref().map_or(url, |(_, url)| url);
    let options: PgConnectOptions =
        parsed.parse().map_err(|error| rejected_by_driver(setting, url, &error))?;
    let requires_tls = matches!(
        options.get_ssl_mode(),
        PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull
    );
    check_tls(setting, url, requires_tls, cfg!(feature = "tls"))?;
    check_files(setting, url, &["sslrootcert", "sslcert", "sslkey"])?;
    let options = options.disable_statement_logging();
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("cachette"),
    };
    let options = match resolvable(ipv6, options.get_host()) {
        Some(address) => options.host(&address),
        None => options,
    };
    let connector = if limits.pgbouncer {
        // pgbouncer rejects settings at the start of a connection.
        Connector::new(options.statement_cache_capacity(0).extra_float_digits(None))
    } else {
        let settings = session_settings(limits.statement_timeout);
        let setup = postgres_setup(&settings);
        let fallback = options.clone().extra_float_digits(None);
        Connector::new(options.options(settings)).with_fallback(fallback, setup)
    };
    let target = Target::new(&POSTGRES, without_parameters(url));
    Ok(Server::new(target, AnyPool::Postgres(Pool::new(config(connector, limits))), limits))
}

/// Sets with a statement what is otherwise set by start-up options.
#[cfg(feature = "postgres")]
fn postgres_setup(settings: &[(&str, String)]) -> Setup<sqlx::Postgres> {
    use sqlx::Executor as _;

    let set = settings.iter().map(|(name, value)| format!("SET {name} = '{value}';"));
    let set: String = set.collect();
    Box::new(move |connection| {
        let set = sqlx::AssertSqlSafe(set.clone());
        Box::pin(async move { connection.execute(set).await.map(drop) })
    })
}

/// A MySQL or MariaDB server at a URL, which is the value of `setting`.
#[cfg(feature = "mysql")]
pub(crate) fn mysql(setting: &str, url: &str, limits: Limits) -> Result<Server> {
    use sqlx::{
        ConnectOptions as _,
        mysql::{MySqlConnectOptions, MySqlSslMode},
    };

    use crate::dialect::mysql::MYSQL;

    let ipv6 = ipv6_address(url);
    let parsed = ipv6.as_ref().map_or(url, |(_, url)| url);
    let (_, rest) = parsed.split_once(':').unwrap_or_default();
    let options: MySqlConnectOptions = format!("mysql:{rest}")
        .parse()
        .map_err(|error| rejected_by_driver(setting, url, &error))?;
    let requires_tls = matches!(
        options.get_ssl_mode(),
        MySqlSslMode::Required | MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity
    );
    check_tls(setting, url, requires_tls, cfg!(feature = "tls"))?;
    check_files(setting, url, &["ssl-ca", "ssl-cert", "ssl-key"])?;
    let options = match resolvable(ipv6, options.get_host()) {
        Some(address) => options.host(&address),
        None => options,
    };
    let options = options
        .disable_statement_logging()
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None);
    let target = Target::new(&MYSQL, without_parameters(url));
    let setup = mysql_setup(limits, &target.max_statement_bytes);
    let config = PoolConfig { setup: Some(setup), ..config(Connector::new(options), limits) };
    Ok(Server::new(target, AnyPool::Mysql(Pool::new(config)), limits))
}

/// Sets what the store relies on, and asks for the maximum size of a packet.
#[cfg(feature = "mysql")]
fn mysql_setup(limits: Limits, max_bytes: &MaxBytes) -> Setup<sqlx::MySql> {
    use sqlx::Executor as _;

    let settings = crate::dialect::mysql::session_settings(limits.statement_timeout);
    let max_bytes = Arc::clone(max_bytes);
    Box::new(move |connection| {
        let (settings, max_bytes) = (settings.clone(), Arc::clone(&max_bytes));
        Box::pin(async move {
            for set in settings {
                connection.execute(sqlx::AssertSqlSafe(set)).await?;
            }
            let select = sqlx::query_scalar("SELECT CAST(@@max_allowed_packet AS SIGNED)");
            let max: i64 = select.fetch_one(connection).await?;
            max_bytes.store(usize::try_from(max).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        })
    })
}

/// Removes the secrets and parameters of a URL.
fn without_parameters(url: &str) -> String {
    let redacted = redact(url);
    match redacted.split_once('?') {
        Some((location, _)) => location.into(),
        None => redacted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_certificate_file_is_named() {
        let url =
            "postgres://ada:lovelace@host/db?sslmode=verify-full&sslrootcert=/no/such%20ca.pem";
        let error = check_files("url", url, &["sslrootcert"]).expect_err("the file is missing");
        let message = error.to_string();
        assert!(message.contains("sslrootcert=/no/such ca.pem"), "{message}");
        assert!(message.starts_with("url: ") && !message.contains("lovelace"), "{message}");
        assert!(check_files("url", url, &["ssl-ca"]).is_ok(), "a parameter of another database");

        let existing =
            concat!("postgres://host/db?sslrootcert=", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(check_files("url", existing, &["sslrootcert"]).is_ok());
        let inline = "postgres://host/db?sslrootcert=-----BEGIN+CERTIFICATE";
        assert!(check_files("url", inline, &["sslrootcert"]).is_ok());
    }

    #[test]
    fn ipv6_address_of_a_url_is_taken_without_brackets_and_the_url_without_zone() {
        for (url, address, parsed) in [
            ("mysql://[::1]", "::1", "mysql://[::1]"),
            ("mysql://a:[p@[fe80::1%eth0]:7/db", "fe80::1%eth0", "mysql://a:[p@[fe80::1]:7/db"),
            ("mysql://[fe80::1%25eth0]?x=@[y]", "fe80::1%eth0", "mysql://[fe80::1]?x=@[y]"),
        ] {
            let expected = (address.to_owned(), parsed.to_owned());
            assert_eq!(ipv6_address(url), Some(expected), "{url}");
        }
        for url in ["mysql://host/db", "mysql:///?host=[::1]", "mysql://127.0.0.1", "mysql://[x]"] {
            assert_eq!(ipv6_address(url), None, "{url}");
        }
    }

    #[test]
    fn required_tls_without_the_feature_is_an_error_that_names_it() {
        let url = "postgres://ada:lovelace@host/db?sslmode=require";
        let error = check_tls("url", url, true, false).expect_err("this build has no TLS");
        let message = error.to_string();
        assert!(message.contains("\"db-tls\"") && !message.contains("lovelace"), "{message}");
        assert!(check_tls("url", url, true, true).is_ok());
        assert!(check_tls("url", url, false, false).is_ok());
    }
}
