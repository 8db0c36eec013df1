//! The options of the store.

mod settings;

use std::{fmt, path::PathBuf, time::Duration};

use cache_core::{
    Result,
    config::{check_time, invalid_setting},
};
use serde::Deserialize;

use crate::MAX_VALUE_BYTES;

/// The OPTIONS of a cache in Redis or Valkey.
///
/// In a configuration, times are seconds and may have fractions. Options that redis-py also has use
/// the same names. Its other options have no effect: see the [crate documentation](crate).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use cache_redis::RedisOptions;
///
/// let options = RedisOptions::default()
///     .namespace("shop|")
///     .socket_timeout(Duration::from_millis(200))
///     .client_name("shop-web");
/// assert_eq!(options.namespace, "shop|");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "settings::RawOptions")]
#[non_exhaustive]
pub struct RedisOptions {
    /// The number of the database. The default is 0. A database in a URL of LOCATION takes
    /// precedence.
    pub db: Option<u32>,
    /// The user name. A user name in a URL of LOCATION takes precedence.
    pub username: Option<String>,
    /// The password. A password in a URL of LOCATION takes precedence.
    pub password: Option<String>,
    /// How long a call waits for the reply once it is connected. The default is 0.5 s.
    pub socket_timeout: Duration,
    /// How long a call waits for a connection, including TLS and authentication. The default is
    /// 0.5 s.
    pub socket_connect_timeout: Duration,
    /// Whether the kernel probes idle connections. The default is `true`.
    pub socket_keepalive: bool,
    /// The name of the connections in `CLIENT LIST`.
    pub client_name: Option<String>,
    /// The name of the library in `CLIENT LIST`. The default is `cachette`; an empty name is not
    /// sent.
    pub lib_name: String,
    /// The version of the library in `CLIENT LIST`. The default is that of this crate; an empty
    /// version is not sent.
    pub lib_version: String,
    /// A prefix of every key, in front of KEY_PREFIX.
    ///
    /// All keys with this prefix belong to this cache: `clear` removes them, regardless of the key
    /// prefix, the version and the key function.
    pub namespace: String,
    /// Whether the whole database belongs to this cache. If so, `clear` empties it with `FLUSHDB`,
    /// as Django does. The default is `false`.
    pub clear_database: bool,
    /// The maximum size of a value in bytes, to store and to receive. The default is
    /// [`MAX_VALUE_BYTES`].
    ///
    /// If all clients of the servers use the same maximum, it bounds the memory that a server can
    /// occupy in this process.
    pub max_value_bytes: usize,
    /// Whether LOCATION lists servers of a cluster. It need not list all of them.
    pub cluster: bool,
    /// The name by which the sentinels in LOCATION know the primary.
    pub sentinel: Option<String>,
    /// The user name for the sentinels.
    pub sentinel_username: Option<String>,
    /// The password for the sentinels.
    pub sentinel_password: Option<String>,
    /// A PEM file with the certificate authorities to trust. The default is those of the operating
    /// system.
    pub ssl_ca_certs: Option<PathBuf>,
    /// Certificate authorities to trust, as PEM text.
    pub ssl_ca_data: Option<String>,
    /// A PEM file with the client's certificate.
    pub ssl_certfile: Option<PathBuf>,
    /// A PEM file with the private key of the client's certificate.
    pub ssl_keyfile: Option<PathBuf>,
    /// Whether the server's certificate is verified. The default is [`CertReqs::Required`].
    pub ssl_cert_reqs: CertReqs,
    /// Whether the server's certificate must be valid for the server's host name. The default is
    /// `true`.
    pub ssl_check_hostname: bool,
    /// The options of Django and redis-py that were given and have no effect.
    pub(crate) without_effect: Vec<&'static str>,
}

/// Whether a server's certificate is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CertReqs {
    /// A trusted certificate authority must have signed it.
    #[default]
    #[serde(alias = "optional")]
    Required,
    /// It is not verified. Anyone between the client and the server can impersonate the server.
    None,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            db: None,
            username: None,
            password: None,
            socket_timeout: Duration::from_millis(500),
            socket_connect_timeout: Duration::from_millis(500),
            socket_keepalive: true,
            client_name: None,
            lib_name: "cachette".into(),
            lib_version: env!("CARGO_PKG_VERSION").into(),
            namespace: String::new(),
            clear_database: false,
            max_value_bytes: MAX_VALUE_BYTES,
            cluster: false,
            sentinel: None,
            sentinel_username: None,
            sentinel_password: None,
            ssl_ca_certs: None,
            ssl_ca_data: None,
            ssl_certfile: None,
            ssl_keyfile: None,
            ssl_cert_reqs: CertReqs::Required,
            ssl_check_hostname: true,
            without_effect: Vec::new(),
        }
    }
}

impl RedisOptions {
    /// Sets the number of the database.
    #[must_use]
    pub fn db(mut self, db: impl Into<Option<u32>>) -> Self {
        self.db = db.into();
        self
    }

    /// Sets the user name.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// Sets the password.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sets how long a call waits for the reply once it is connected.
    #[must_use]
    pub fn socket_timeout(mut self, timeout: Duration) -> Self {
        self.socket_timeout = timeout;
        self
    }

    /// Sets how long a call waits for a connection, including TLS and authentication.
    #[must_use]
    pub fn socket_connect_timeout(mut self, timeout: Duration) -> Self {
        self.socket_connect_timeout = timeout;
        self
    }

    /// Sets whether the kernel probes idle connections.
    #[must_use]
    pub fn socket_keepalive(mut self, keepalive: bool) -> Self {
        self.socket_keepalive = keepalive;
        self
    }

    /// Sets the name of the connections in `CLIENT LIST`.
    #[must_use]
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = Some(name.into());
        self
    }

    /// Sets the name of the library in `CLIENT LIST`.
    #[must_use]
    pub fn lib_name(mut self, name: impl Into<String>) -> Self {
        self.lib_name = name.into();
        self
    }

    /// Sets the version of the library in `CLIENT LIST`.
    #[must_use]
    pub fn lib_version(mut self, version: impl Into<String>) -> Self {
        self.lib_version = version.into();
        self
    }

    /// Sets the prefix of every key, in front of KEY_PREFIX.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets whether the whole database belongs to this cache, so that `clear` empties it.
    #[must_use]
    pub fn clear_database(mut self, clear_database: bool) -> Self {
        self.clear_database = clear_database;
        self
    }

    /// Sets the maximum size of a value in bytes.
    #[must_use]
    pub fn max_value_bytes(mut self, max: usize) -> Self {
        self.max_value_bytes = max;
        self
    }

    /// Sets whether LOCATION lists servers of a cluster.
    #[must_use]
    pub fn cluster(mut self, cluster: bool) -> Self {
        self.cluster = cluster;
        self
    }

    /// Sets the name by which the sentinels in LOCATION know the primary.
    #[must_use]
    pub fn sentinel(mut self, name: impl Into<String>) -> Self {
        self.sentinel = Some(name.into());
        self
    }

    /// Sets the user name for the sentinels.
    #[must_use]
    pub fn sentinel_username(mut self, username: impl Into<String>) -> Self {
        self.sentinel_username = Some(username.into());
        self
    }

    /// Sets the password for the sentinels.
    #[must_use]
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(password.into());
        self
    }

    /// Sets the PEM file with the certificate authorities to trust.
    #[must_use]
    pub fn ssl_ca_certs(mut self, file: impl Into<PathBuf>) -> Self {
        self.ssl_ca_certs = Some(file.into());
        self
    }

    /// Sets certificate authorities to trust, as PEM text.
    #[must_use]
    pub fn ssl_ca_data(mut self, pem: impl Into<String>) -> Self {
        self.ssl_ca_data = Some(pem.into());
        self
    }

    /// Sets the PEM file with the client's certificate.
    #[must_use]
    pub fn ssl_certfile(mut self, file: impl Into<PathBuf>) -> Self {
        self.ssl_certfile = Some(file.into());
        self
    }

    /// Sets the PEM file with the private key of the client's certificate.
    #[must_use]
    pub fn ssl_keyfile(mut self, file: impl Into<PathBuf>) -> Self {
        self.ssl_keyfile = Some(file.into());
        self
    }

    /// Sets whether the server's certificate is verified.
    #[must_use]
    pub fn ssl_cert_reqs(mut self, reqs: CertReqs) -> Self {
        self.ssl_cert_reqs = reqs;
        self
    }

    /// Sets whether the server's certificate must be valid for the server's host name.
    #[must_use]
    pub fn ssl_check_hostname(mut self, check: bool) -> Self {
        self.ssl_check_hostname = check;
        self
    }

    /// Checks that values are in range and options do not contradict each other.
    pub(crate) fn check(&self) -> Result<()> {
        let timeouts = [
            ("socket_timeout", self.socket_timeout),
            ("socket_connect_timeout", self.socket_connect_timeout),
        ];
        for (name, timeout) in timeouts {
            check_time(&option(name), timeout, Duration::from_millis(1))?;
        }
        if !(1..=MAX_VALUE_BYTES).contains(&self.max_value_bytes) {
            let expected = format!("an integer from 1 to {MAX_VALUE_BYTES}");
            let found = self.max_value_bytes.to_string();
            return Err(invalid_setting(&option("max_value_bytes"), &found, &expected));
        }
        if self.cluster && self.sentinel.is_some() {
            return Err(invalid_setting(
                &option("sentinel"),
                "cluster = true as well",
                "either sentinel or cluster",
            ));
        }
        let missing = match (&self.ssl_certfile, &self.ssl_keyfile) {
            (Some(_), None) => Some(("ssl_keyfile", "ssl_certfile")),
            (None, Some(_)) => Some(("ssl_certfile", "ssl_keyfile")),
            _ => None,
        };
        match missing {
            Some((missing, given)) => Err(invalid_setting(
                &option(missing),
                "nothing",
                &format!("a PEM file, because {given} is set"),
            )),
            None => Ok(()),
        }
    }

    /// Logs a warning that names the options without an effect.
    pub(crate) fn warn_without_effect(&self, alias: &str) {
        if !self.without_effect.is_empty() {
            let names = self.without_effect.join(", ");
            tracing::warn!(cache = alias, "these OPTIONS have no effect on redis: {names}");
        }
    }
}

/// The name of an option in error messages.
pub(crate) fn option(name: &str) -> String {
    format!("OPTIONS.{name}")
}

/// Hides the passwords.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "***");
        f.debug_struct("RedisOptions")
            .field("db", &self.db)
            .field("username", &self.username)
            .field("password", &hidden(&self.password))
            .field("socket_timeout", &self.socket_timeout)
            .field("socket_connect_timeout", &self.socket_connect_timeout)
            .field("socket_keepalive", &self.socket_keepalive)
            .field("client_name", &self.client_name)
            .field("lib_name", &self.lib_name)
            .field("lib_version", &self.lib_version)
            .field("namespace", &self.namespace)
            .field("clear_database", &self.clear_database)
            .field("max_value_bytes", &self.max_value_bytes)
            .field("cluster", &self.cluster)
            .field("sentinel", &self.sentinel)
            .field("sentinel_username", &self.sentinel_username)
            .field("sentinel_password", &hidden(&self.sentinel_password))
            .field("ssl_ca_certs", &self.ssl_ca_certs)
            .field("ssl_certfile", &self.ssl_certfile)
            .field("ssl_cert_reqs", &self.ssl_cert_reqs)
            .field("ssl_check_hostname", &self.ssl_check_hostname)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use cache_core::{ErrorKind, config::StoreConfig};
    use serde_json::json;

    use super::*;

    fn parse(options: serde_json::Value) -> Result<RedisOptions> {
        let serde_json::Value::Object(options) = options else { panic!("not a table") };
        let options: RedisOptions = StoreConfig::new("default", options).options()?;
        options.check().map(|()| options)
    }

    #[test]
    fn redis_py_options_are_accepted_and_those_without_effect_are_recorded() {
        let options = parse(json!({
            "db": "10",
            "socket_timeout": 1,
            "SOCKET_CONNECT_TIMEOUT": "0.25",
            "ssl_cert_reqs": "none",
            "parser_class": "redis.connection.PythonParser",
            "pool_class": "redis.BlockingConnectionPool",
            "retry_on_error": [1, 2],
            "socket_read_size": null,
        }));
        let options = options.expect("valid options");
        assert_eq!(options.db, Some(10));
        assert_eq!(options.socket_timeout, Duration::from_secs(1));
        assert_eq!(options.socket_connect_timeout, Duration::from_millis(250));
        assert_eq!(options.ssl_cert_reqs, CertReqs::None);
        assert_eq!(options.without_effect, ["parser_class", "pool_class", "retry_on_error"]);
    }

    #[test]
    fn setters_set_the_fields_that_a_configuration_sets() {
        let parsed = parse(json!({
            "db": 1, "username": "u", "password": "p", "socket_timeout": 1,
            "socket_connect_timeout": 2, "socket_keepalive": false, "client_name": "c",
            "lib_name": "l", "lib_version": "1", "namespace": "n",
            "clear_database": true, "max_value_bytes": 9, "cluster": false, "sentinel": "s",
            "sentinel_username": "su", "sentinel_password": "sp", "ssl_ca_certs": "ca",
            "ssl_ca_data": "data", "ssl_certfile": "cert", "ssl_keyfile": "key",
            "ssl_cert_reqs": "none", "ssl_check_hostname": false,
        }));
        let set = RedisOptions::default()
            .db(1)
            .username("u")
            .password("p")
            .socket_timeout(Duration::from_secs(1))
            .socket_connect_timeout(Duration::from_secs(2))
            .socket_keepalive(false)
            .client_name("c")
            .lib_name("l")
            .lib_version("1")
            .namespace("n")
            .clear_database(true)
            .max_value_bytes(9)
            .cluster(false)
            .sentinel("s")
            .sentinel_username("su")
            .sentinel_password("sp")
            .ssl_ca_certs("ca")
            .ssl_ca_data("data")
            .ssl_certfile("cert")
            .ssl_keyfile("key")
            .ssl_cert_reqs(CertReqs::None)
            .ssl_check_hostname(false);
        assert!(parsed.expect("valid options") == set);
    }

    #[test]
    fn invalid_option_error_names_option_and_value() {
        for (options, name, found) in [
            (json!({"db": -1}), "db", "-1"),
            (json!({"socket_timeout": 0}), "socket_timeout", "found 0"),
            (json!({"max_value_bytes": 0}), "max_value_bytes", "found 0"),
            (json!({"max_value_bytes": 536_870_913}), "max_value_bytes", "536870912"),
            (json!({"socket_timeout": 1e19}), "socket_timeout", "2147483"),
            (json!({"socket_connect_timeout": 1e19}), "socket_connect_timeout", "2147483"),
            (json!({"socket_timeout": -1}), "socket_timeout", "-1"),
            (json!({"cluster": true, "sentinel": "m"}), "sentinel", "cluster"),
            (json!({"ssl_cert_reqs": "maybe"}), "ssl_cert_reqs", "\"maybe\""),
            (json!({"ssl_certfile": "x"}), "ssl_keyfile", "ssl_certfile"),
            (json!({"ssl_keyfile": "x"}), "ssl_certfile", "ssl_keyfile"),
            (json!({"socket_timeuot": 1}), "socket_timeuot", "socket_timeout"),
        ] {
            let error = parse(options).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Config);
            let message = error.to_string();
            assert!(message.starts_with(&format!("OPTIONS.{name}: ")), "{message}");
            assert!(message.contains(found), "{message}");
        }
    }

    #[test]
    fn time_that_no_clock_can_count_is_rejected_when_it_is_set_in_code() {
        for options in [
            RedisOptions::default().socket_timeout(Duration::MAX),
            RedisOptions::default().socket_connect_timeout(Duration::MAX),
        ] {
            assert_eq!(options.check().expect_err("too long").kind(), ErrorKind::Config);
        }
    }

    #[test]
    fn debug_output_hides_passwords() {
        let options = parse(json!({"password": "lovelace", "sentinel_password": "lovelace"}));
        assert!(!format!("{:?}", options.expect("valid options")).contains("lovelace"));
    }
}
