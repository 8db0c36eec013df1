//! The OPTIONS of the store.

use std::{fmt, time::Duration};

use cache_core::{
    Result,
    config::{self, StoreConfig, from_settings},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// The OPTIONS of a cache on memcached servers.
///
/// In a configuration, times are seconds and may have fractions.
///
/// The options of Django's `PyMemcacheCache` and `PyLibMCCache` are accepted: `timeout`,
/// `connect_timeout`, `dead_timeout`, `ignore_exc`, `username` and `password` have the same meaning
/// as there. So have `socket_timeout` and `dead_retry` of Django's former `MemcachedCache`, which
/// are `timeout` and `dead_timeout`. The other options of these clients have no effect here, and a
/// warning is logged for them.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use cache_memcached::{MemcachedOptions, WhenDead};
///
/// let options = MemcachedOptions::default()
///     .timeout(Duration::from_secs(1))
///     .when_dead(WhenDead::Miss);
/// assert_eq!(options.timeout, Duration::from_secs(1));
/// ```
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MemcachedOptions {
    /// How long a call waits for its reply once it is connected. The default is 0.5 s.
    ///
    /// A call for many keys waits that long for each 256 of them. In a URL, where `timeout` is the
    /// default timeout of the entries, the option is named `request_timeout`.
    #[serde(
        alias = "request_timeout",
        alias = "socket_timeout",
        deserialize_with = "config::seconds"
    )]
    pub timeout: Duration,
    /// How long a call waits for a connection. The default is 0.25 s.
    #[serde(deserialize_with = "config::seconds")]
    pub connect_timeout: Duration,
    /// The longest pause between two attempts to connect to a server that is marked down. The
    /// default is 2 s.
    ///
    /// The first pause is 50 ms, and each following pause is twice as long.
    #[serde(deserialize_with = "config::seconds")]
    pub dead_timeout: Duration,
    /// What happens to the keys of a server that cannot be reached. The default is
    /// [`WhenDead::Error`].
    pub when_dead: WhenDead,
    /// The share of the keys that each server gets, in the order of LOCATION.
    ///
    /// By default all servers have the same weight, as in pymemcache. With different weights,
    /// pymemcache looks for some keys on other servers.
    pub weights: Vec<f64>,
    /// The user name for servers that were started with an authentication file (`-Y`).
    ///
    /// SASL (`-S`) is not supported, because it needs the binary protocol.
    pub username: Option<String>,
    /// The password for servers that were started with an authentication file (`-Y`).
    pub password: Option<String>,
    /// A PEM file of certificates. If it is set, connections use TLS, and only servers whose
    /// certificate is signed by one of these are trusted.
    ///
    /// A relative path is resolved against the directory of the configuration file.
    #[cfg(feature = "tls")]
    pub tls_ca: Option<std::path::PathBuf>,
    /// The length in bytes above which values are compressed. By default nothing is compressed.
    ///
    /// Compressed values are decompressed with or without this option.
    #[cfg(feature = "compression")]
    pub compress_above: Option<usize>,
    /// The largest size in bytes of a decompressed value. An entry that claims more is a miss. The
    /// default is 64 MiB.
    ///
    /// The compressed values of one `get_many` may take as much, and 16 times what was received;
    /// those beyond it are misses.
    #[cfg(feature = "compression")]
    pub max_decompressed: usize,
}

/// What happens to the keys of a server that cannot be reached.
///
/// Applies to the keys of that server only, before the setting `ON_OUTAGE` of the alias
/// ([`OnOutage`](cache_core::OnOutage)): `ON_OUTAGE` sees only the errors that remain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum WhenDead {
    /// Every call returns [`ErrorKind::Unavailable`](cache_core::ErrorKind::Unavailable).
    #[default]
    Error,
    /// Reads miss and writes do nothing, as with pymemcache's `ignore_exc`.
    ///
    /// `add`, `touch` and `delete` return `false`, and `set_many` returns the entries that were
    /// not stored. `clear` still returns an error.
    Miss,
    /// The keys move to the next server in their ranking.
    ///
    /// When the first server is back, its keys move back to it. If it was not restarted, it still
    /// has its old entries, and does not know what was written or deleted in the meantime.
    Next,
}

impl MemcachedOptions {
    /// Sets how long a call waits for its reply once it is connected.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long a call waits for a connection.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the longest pause between two attempts to connect to a server that is marked down.
    #[must_use]
    pub fn dead_timeout(mut self, timeout: Duration) -> Self {
        self.dead_timeout = timeout;
        self
    }

    /// Sets what happens to the keys of a server that cannot be reached.
    #[must_use]
    pub fn when_dead(mut self, when_dead: WhenDead) -> Self {
        self.when_dead = when_dead;
        self
    }

    /// Sets the share of the keys that each server gets, in the order of LOCATION.
    #[must_use]
    pub fn weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.weights = weights.into();
        self
    }

    /// Sets the user name for servers that were started with an authentication file.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// Sets the password for servers that were started with an authentication file.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sets the PEM file of trusted certificates, and with it the use of TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_ca(mut self, file: impl Into<std::path::PathBuf>) -> Self {
        self.tls_ca = Some(file.into());
        self
    }

    /// Sets the length in bytes above which values are compressed.
    #[cfg(feature = "compression")]
    #[must_use]
    pub fn compress_above(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.compress_above = bytes.into();
        self
    }

    /// Sets the largest size in bytes of a decompressed value.
    #[cfg(feature = "compression")]
    #[must_use]
    pub fn max_decompressed(mut self, bytes: usize) -> Self {
        self.max_decompressed = bytes;
        self
    }

    pub(crate) fn from_config(config: &StoreConfig) -> Result<Self> {
        let mut settings: Map<String, Json> = config.options()?;
        let without_effect: Vec<&str> =
            WITHOUT_EFFECT.into_iter().filter(|name| settings.remove(*name).is_some()).collect();
        if !without_effect.is_empty() {
            tracing::warn!(
                cache = config.alias,
                "these OPTIONS have no effect on memcached: {}",
                without_effect.join(", ")
            );
        }
        for (former, name) in [("socket_timeout", "timeout"), ("dead_retry", "dead_timeout")] {
            if let Some(value) = settings.remove(former) {
                settings.entry(name).or_insert(value);
            }
        }
        if let Some(value) = settings.remove("ignore_exc") {
            let parsed: IgnoreExc =
                from_settings("OPTIONS.", &Map::from_iter([("ignore_exc".to_owned(), value)]))?;
            let when_dead = if parsed.ignore_exc { "miss" } else { "error" };
            settings.entry("when_dead").or_insert_with(|| when_dead.into());
        }
        from_settings("OPTIONS.", &settings)
    }

    pub(crate) fn validate(&self, servers: usize) -> Result<()> {
        let invalid = |name: &str, found: &str, expected: &str| {
            Err(config::invalid_setting(&format!("OPTIONS.{name}"), found, expected))
        };
        for (name, time, min) in [
            ("timeout", self.timeout, Duration::from_millis(1)),
            ("connect_timeout", self.connect_timeout, Duration::from_millis(1)),
            ("dead_timeout", self.dead_timeout, Duration::ZERO),
        ] {
            config::check_time(&format!("OPTIONS.{name}"), time, min)?;
        }
        if !self.weights.is_empty() && self.weights.len() != servers {
            let found = format!("{} weights", self.weights.len());
            let expected = format!("one for each of the {servers} servers in LOCATION");
            return invalid("weights", &found, &expected);
        }
        let is_valid = |weight: &&f64| weight.is_finite() && **weight > 0.0;
        if let Some(weight) = self.weights.iter().find(|weight| !is_valid(weight)) {
            return invalid("weights", &weight.to_string(), "numbers above 0");
        }
        match (&self.username, &self.password) {
            (Some(username), Some(password)) => {
                for (name, text) in [("username", username), ("password", password)] {
                    if !is_one_word(text) {
                        let expected = "text without white space, as in memcached's file";
                        return invalid(name, "empty text or white space", expected);
                    }
                }
                Ok(())
            }
            (Some(_), None) => invalid("password", "none", "one, because a username is set"),
            (None, Some(_)) => invalid("username", "none", "one, because a password is set"),
            (None, None) => Ok(()),
        }
    }

    pub(crate) fn compression_threshold(&self) -> Option<usize> {
        #[cfg(feature = "compression")]
        return self.compress_above;
        #[cfg(not(feature = "compression"))]
        None
    }

    pub(crate) fn decompression_limit(&self) -> usize {
        #[cfg(feature = "compression")]
        return self.max_decompressed;
        #[cfg(not(feature = "compression"))]
        0
    }
}

/// The user name and the password are sent as one line, separated by a space.
fn is_one_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Options of pymemcache, pylibmc, python-memcached and Django that have no effect here.
const WITHOUT_EFFECT: [&str; 38] = [
    "allow_unicode_keys",
    "behaviors",
    "binary",
    "cache_cas",
    "check_keys",
    "cull_frequency",
    "debug",
    "default_noreply",
    "deserializer",
    "distribution",
    "encoding",
    "flush_on_reconnect",
    "hash",
    "hasher",
    "ketama",
    "key_prefix",
    "lock_generator",
    "max_entries",
    "max_pool_size",
    "no_block",
    "no_delay",
    "pickleprotocol",
    "pickler",
    "pool_idle_timeout",
    "remove_failed",
    "retry_attempts",
    "retry_timeout",
    "serde",
    "serializer",
    "server_max_key_length",
    "server_max_value_length",
    "socket_keepalive",
    "socket_module",
    "tcp_keepalive",
    "tcp_nodelay",
    "tls_context",
    "unpickler",
    "use_pooling",
];

#[derive(Deserialize)]
struct IgnoreExc {
    ignore_exc: bool,
}

impl Default for MemcachedOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_millis(250),
            dead_timeout: Duration::from_secs(2),
            when_dead: WhenDead::Error,
            weights: Vec::new(),
            username: None,
            password: None,
            #[cfg(feature = "tls")]
            tls_ca: None,
            #[cfg(feature = "compression")]
            compress_above: None,
            #[cfg(feature = "compression")]
            max_decompressed: 64 << 20,
        }
    }
}

/// Hides the user name and the password.
impl fmt::Debug for MemcachedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("MemcachedOptions");
        debug
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("dead_timeout", &self.dead_timeout)
            .field("when_dead", &self.when_dead)
            .field("weights", &self.weights)
            .field("username", &self.username.as_ref().map(|_| "***"))
            .field("password", &self.password.as_ref().map(|_| "***"));
        #[cfg(feature = "tls")]
        debug.field("tls_ca", &self.tls_ca);
        #[cfg(feature = "compression")]
        debug
            .field("compress_above", &self.compress_above)
            .field("max_decompressed", &self.max_decompressed);
        debug.finish()
    }
}

#[cfg(test)]
mod tests {
    use cache_core::ErrorKind;
    use serde_json::json;

    use super::*;

    /// Parses and validates options for two servers.
    fn parse(options: Json) -> Result<MemcachedOptions> {
        let Json::Object(options) = options else { panic!("options must be an object") };
        let options = MemcachedOptions::from_config(&StoreConfig::new("default", options))?;
        options.validate(2).map(|()| options)
    }

    fn valid(options: Json) -> MemcachedOptions {
        parse(options).expect("options should be valid")
    }

    fn error_for(options: Json) -> String {
        let error = parse(options).expect_err("options should be rejected");
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }

    #[test]
    fn options_of_django_clients_are_accepted() {
        let options = valid(json!({
            "no_delay": true, "ignore_exc": true, "max_pool_size": 4, "use_pooling": true,
            "connect_timeout": 1, "timeout": 1, "retry_attempts": 2, "retry_timeout": 1,
            "dead_timeout": 30, "allow_unicode_keys": true, "default_noreply": false,
        }));
        assert_eq!(options.when_dead, WhenDead::Miss);
        let second = Duration::from_secs(1);
        assert_eq!((options.timeout, options.connect_timeout), (second, second));
        assert_eq!(options.dead_timeout, Duration::from_secs(30));

        let options = valid(json!({
            "binary": true, "username": "u", "password": "p", "behaviors": {"ketama": true},
        }));
        assert_eq!(options.username.as_deref(), Some("u"));

        let options = valid(json!({
            "socket_timeout": 3, "dead_retry": 30, "server_max_value_length": 2_097_152,
            "pickleProtocol": 2,
        }));
        let times = [options.timeout, options.dead_timeout].map(|time| time.as_secs());
        assert_eq!(times, [3, 30]);
    }

    #[test]
    fn when_dead_takes_precedence_over_ignore_exc() {
        let when_dead = |options| valid(options).when_dead;
        assert_eq!(when_dead(json!({"ignore_exc": true, "when_dead": "next"})), WhenDead::Next);
        assert_eq!(when_dead(json!({"IGNORE_EXC": "false"})), WhenDead::Error);
        assert_eq!(when_dead(json!({"WHEN_DEAD": "miss"})), WhenDead::Miss);
    }

    #[test]
    fn request_timeout_is_an_alias_of_timeout() {
        let options = valid(json!({"request_timeout": "0.2"}));
        assert_eq!(options.timeout, Duration::from_millis(200));
    }

    #[test]
    fn setters_set_their_fields() {
        let options = MemcachedOptions::default()
            .timeout(Duration::from_secs(1))
            .connect_timeout(Duration::from_secs(2))
            .dead_timeout(Duration::from_secs(3))
            .when_dead(WhenDead::Miss)
            .weights([1.0, 2.0])
            .username("u")
            .password("p");
        let expected = valid(json!({
            "timeout": 1, "connect_timeout": 2, "dead_timeout": 3, "when_dead": "miss",
            "weights": [1, 2], "username": "u", "password": "p",
        }));
        assert_eq!(options, expected);
    }

    #[test]
    fn invalid_options_are_rejected_with_setting_and_value() {
        for (options, setting, found) in [
            (json!({"timeout": 0}), "timeout", ", found 0"),
            (json!({"timeout": 1e19}), "timeout", "2147483"),
            (json!({"dead_timeout": 1e19}), "dead_timeout", "2147483"),
            (json!({"connect_timeout": -1}), "connect_timeout", ", found -1"),
            (json!({"when_dead": "panic"}), "when_dead", ", found \"panic\""),
            (json!({"ignore_exc": 3}), "ignore_exc", ", found 3"),
            (json!({"weights": [1]}), "weights", ", found 1 weights"),
            (json!({"weights": [1, 0]}), "weights", ", found 0"),
            (json!({"username": "u"}), "password", ", found none"),
            (json!({"password": "p"}), "username", ", found none"),
            (json!({"username": "", "password": "p"}), "username", "found empty text"),
            (json!({"username": "u", "password": "with space"}), "password", "white space"),
            (json!({"username": "u", "password": "p\r\nflush_all"}), "password", "white space"),
        ] {
            let message = error_for(options);
            assert!(message.starts_with(&format!("OPTIONS.{setting}: ")), "{message}");
            assert!(message.contains(found), "{message}");
            assert!(!message.contains("with space") && !message.contains("flush_all"), "{message}");
        }
    }

    #[test]
    fn time_that_no_clock_can_count_is_rejected_when_it_is_set_in_code() {
        for options in [
            MemcachedOptions::default().timeout(Duration::MAX),
            MemcachedOptions::default().connect_timeout(Duration::MAX),
            MemcachedOptions::default().dead_timeout(Duration::MAX),
        ] {
            assert_eq!(options.validate(1).expect_err("too long").kind(), ErrorKind::Config);
        }
    }

    #[test]
    fn unknown_option_is_rejected_with_known_ones() {
        let message = error_for(json!({"tiemout": 1}));
        assert!(message.starts_with("OPTIONS.tiemout: "), "{message}");
        assert!(message.contains("timeout, connect_timeout, dead_timeout, when_dead, "));
    }

    #[test]
    fn debug_hides_password() {
        let options = valid(json!({"username": "ada", "password": "lovelace"}));
        assert!(!format!("{options:?}").contains("lovelace"));
    }
}
