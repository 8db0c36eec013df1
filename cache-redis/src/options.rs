//! What can be set about the store.

use std::{fmt, path::PathBuf, time::Duration};

use cache_core::{Result, config};
use serde::{Deserialize, Deserializer, de};

/// The OPTIONS of a cache in Redis. Times are seconds, and may have fractions. The names are those of redis-py, as far as
/// it has them; see the [crate's page](crate) for its others.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "Written")]
#[non_exhaustive]
pub struct RedisOptions {
    /// The number of the database; 0 by default. What a URL in LOCATION says goes before.
    pub db: Option<u32>,
    /// Who the cache is to the server, where it has users. What a URL in LOCATION says goes before.
    pub username: Option<String>,
    /// The password. What a URL in LOCATION says goes before.
    pub password: Option<String>,
    /// How long a call waits for its answer once it is connected. 0.5 by default.
    pub socket_timeout: Duration,
    /// How long a call waits for a connection: to be made, encrypted and let in. 0.5 by default.
    pub socket_connect_timeout: Duration,
    /// Whether the kernel asks after a connection that is idle. It does, by default.
    pub socket_keepalive: bool,
    /// What the server calls the connections, in `CLIENT LIST`.
    pub client_name: Option<String>,
    /// A text that stands before every key, in front of KEY_PREFIX. What begins with it is this cache's: `clear` removes it,
    /// whatever the prefix, the version and the key function.
    pub namespace: String,
    /// Whether the whole database is this cache's, so that `clear` may empty it (`FLUSHDB`), as Django does.
    pub clear_database: bool,
    /// Whether LOCATION names servers of a cluster. Some of them will do.
    pub cluster: bool,
    /// What sentinels call the leader, where LOCATION names sentinels.
    pub sentinel: Option<String>,
    /// Who the cache is to the sentinels.
    pub sentinel_username: Option<String>,
    /// The password for the sentinels.
    pub sentinel_password: Option<String>,
    /// A file with the certificates, in PEM, of those who may vouch for a server. By default, the system's.
    pub ssl_ca_certs: Option<PathBuf>,
    /// The same, as the text itself.
    pub ssl_ca_data: Option<String>,
    /// A file with the cache's own certificate, in PEM.
    pub ssl_certfile: Option<PathBuf>,
    /// A file with its key.
    pub ssl_keyfile: Option<PathBuf>,
    /// Whether the server has to show a certificate that somebody vouches for: `"required"`, or `"none"`, and then
    /// anybody may pose as the server.
    pub ssl_cert_reqs: CertReqs,
    /// Whether the certificate has to be for the host that is asked. It has, by default.
    pub ssl_check_hostname: bool,
    /// Those of Django's options that mean nothing here.
    pub(crate) without_effect: Vec<&'static str>,
}

/// What is asked of a server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CertReqs {
    /// Somebody vouches for it.
    #[default]
    #[serde(alias = "optional")]
    Required,
    /// Nothing.
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
            namespace: String::new(),
            clear_database: false,
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
    pub(crate) fn check(&self) -> Result<()> {
        let positive = [
            ("socket_timeout", self.socket_timeout),
            ("socket_connect_timeout", self.socket_connect_timeout),
        ];
        for (name, time) in positive {
            if time.is_zero() {
                return Err(config::invalid_setting(
                    &option(name),
                    "0",
                    "a number of seconds above 0",
                ));
            }
        }
        if self.cluster && self.sentinel.is_some() {
            return Err(config::invalid_setting(
                &option("sentinel"),
                "it beside cluster",
                "one of them",
            ));
        }
        if self.ssl_certfile.is_some() != self.ssl_keyfile.is_some() {
            return Err(config::invalid_setting(
                &option("ssl_certfile"),
                "one of two",
                "it and ssl_keyfile, or neither",
            ));
        }
        Ok(())
    }

    /// Says which options have no effect here.
    pub(crate) fn warn(&self, alias: &str) {
        for name in &self.without_effect {
            tracing::warn!(
                alias,
                "OPTIONS.{name} has no effect on this store: see the page of cache-redis"
            );
        }
    }
}

pub(crate) fn option(name: &str) -> String {
    format!("OPTIONS.{name}")
}

/// Shows no password.
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
            .field("namespace", &self.namespace)
            .field("clear_database", &self.clear_database)
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

#[derive(Deserialize)]
struct Seconds(#[serde(deserialize_with = "config::seconds")] Duration);

/// Anything.
struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// The options as they are written: the ones above, and those that redis-py, its pools and Django take besides.
macro_rules! written {
    ({ $($name:ident: $type:ty,)+ } { $($seconds:ident,)+ } and { $($ignored:ident,)+ }) => {
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Written {
            $($name: Option<$type>,)+
            $($seconds: Option<Seconds>,)+
            $($ignored: Option<Ignored>,)+
        }

        impl From<Written> for RedisOptions {
            fn from(written: Written) -> Self {
                let mut options = Self::default();
                $(if let Some(value) = written.$name {
                    options.$name = value.into();
                })+
                $(if let Some(Seconds(time)) = written.$seconds {
                    options.$seconds = time;
                })+
                $(if written.$ignored.is_some() {
                    options.without_effect.push(stringify!($ignored));
                })+
                options
            }
        }
    };
}

written! {
    {
        db: u32,
        username: String,
        password: String,
        socket_keepalive: bool,
        client_name: String,
        namespace: String,
        clear_database: bool,
        cluster: bool,
        sentinel: String,
        sentinel_username: String,
        sentinel_password: String,
        ssl_ca_certs: PathBuf,
        ssl_ca_data: String,
        ssl_certfile: PathBuf,
        ssl_keyfile: PathBuf,
        ssl_cert_reqs: CertReqs,
        ssl_check_hostname: bool,
    }
    {
        socket_timeout,
        socket_connect_timeout,
    }
    and {
        command_packer,
        connection_class,
        credential_provider,
        cull_frequency,
        decode_responses,
        encoding,
        encoding_errors,
        health_check_interval,
        lib_name,
        lib_version,
        max_connections,
        max_entries,
        parser_class,
        pool_class,
        protocol,
        queue_class,
        redis_connect_func,
        retry,
        retry_on_error,
        retry_on_timeout,
        serializer,
        socket_keepalive_options,
        socket_read_size,
        socket_type,
        ssl_ca_path,
        ssl_ciphers,
        ssl_include_verify_flags,
        ssl_exclude_verify_flags,
        ssl_min_version,
        ssl_ocsp_context,
        ssl_ocsp_expected_cert,
        ssl_password,
        ssl_validate_ocsp,
        ssl_validate_ocsp_stapled,
        timeout,
    }
}

#[cfg(test)]
mod tests {
    use cache_core::config::StoreConfig;
    use serde_json::json;

    use super::*;

    fn read(options: serde_json::Value) -> Result<RedisOptions> {
        let serde_json::Value::Object(options) = options else { panic!("a table") };
        let options: RedisOptions = StoreConfig::new("default", options).options()?;
        options.check().map(|()| options)
    }

    #[test]
    fn the_options_of_redis_py_are_taken_and_those_without_effect_are_known() {
        let options = read(json!({
            "db": "10", "socket_timeout": 1, "SOCKET_CONNECT_TIMEOUT": "0.25", "ssl_cert_reqs": "none",
            "parser_class": "redis.connection.PythonParser", "pool_class": "redis.BlockingConnectionPool",
            "retry_on_error": [1, 2], "socket_read_size": null,
        }));
        let options = options.expect("it is fine");
        assert_eq!(options.db, Some(10));
        assert_eq!(options.socket_timeout, Duration::from_secs(1));
        assert_eq!(options.socket_connect_timeout, Duration::from_millis(250));
        assert_eq!(options.ssl_cert_reqs, CertReqs::None);
        assert_eq!(options.without_effect, ["parser_class", "pool_class", "retry_on_error"]);
    }

    #[test]
    fn what_cannot_be_meant_is_a_mistake_that_is_named() {
        for (options, told) in [
            (json!({"db": -1}), "OPTIONS.db: found -1, expected a whole number of at least 0"),
            (
                json!({"socket_timeout": 0}),
                "OPTIONS.socket_timeout: found 0, expected a number of seconds above 0",
            ),
            (
                json!({"socket_timeout": -1}),
                "OPTIONS.socket_timeout: found -1, expected a number of seconds, 0 or more",
            ),
            (
                json!({"cluster": true, "sentinel": "m"}),
                "OPTIONS.sentinel: found it beside cluster, expected one of them",
            ),
            (
                json!({"ssl_cert_reqs": "maybe"}),
                "OPTIONS.ssl_cert_reqs: found \"maybe\", expected \"optional\" or \"required\" or \"none\"",
            ),
            (
                json!({"ssl_certfile": "x"}),
                "OPTIONS.ssl_certfile: found one of two, expected it and ssl_keyfile, or neither",
            ),
        ] {
            assert_eq!(read(options).expect_err("a mistake").to_string(), told);
        }
        let unknown = read(json!({"socket_timeuot": 1})).expect_err("a typing mistake").to_string();
        assert!(
            unknown.starts_with("OPTIONS.socket_timeuot: unknown, expected one of db, username, "),
            "{unknown}"
        );
    }

    #[test]
    fn a_password_is_not_shown() {
        let options = read(json!({"password": "lovelace", "sentinel_password": "lovelace"}))
            .expect("it is fine");
        assert!(!format!("{options:?}").contains("lovelace"));
    }
}
