//! What can be set about the store.

use std::{fmt, time::Duration};

use cache_core::{
    Result,
    config::{self, StoreConfig, from_settings},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// The OPTIONS of a cache on memcached servers. Times are seconds, and may have fractions.
///
/// Django's options of `PyMemcacheCache` and `PyLibMCCache` are taken: `timeout`, `connect_timeout`, `dead_timeout`,
/// `ignore_exc`, `username` and `password` mean what they mean there. Others of these clients have no effect here, and a
/// warning says so.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MemcachedOptions {
    /// How long a call waits for its answer once it is connected; a call for many keys, for each 256 of them. 0.5 by
    /// default. Up to an eighth more, as time is counted in eighths of it. In a URL, where `timeout` is the entries', it
    /// is called `request_timeout`.
    #[serde(alias = "request_timeout", deserialize_with = "config::seconds")]
    pub timeout: Duration,
    /// How long a call waits for a connection to be made. 0.25 by default.
    #[serde(deserialize_with = "config::seconds")]
    pub connect_timeout: Duration,
    /// The longest time that a dead server is left alone before it is tried again: at first that is 50 ms, then twice as
    /// long each time. 2 by default.
    #[serde(deserialize_with = "config::seconds")]
    pub dead_timeout: Duration,
    /// What the keys of a dead server do. An error by default.
    pub when_dead: WhenDead,
    /// The share of the keys that each server gets, in the order of LOCATION. Equal ones by default, which is what
    /// pymemcache does; with other weights, it looks for keys elsewhere.
    pub weights: Vec<f64>,
    /// For servers that were started with an authentication file (`-Y`). SASL (`-S`) needs a protocol that is not spoken here.
    pub username: Option<String>,
    /// For servers that were started with an authentication file (`-Y`).
    pub password: Option<String>,
    /// Talk TLS, and trust only servers whose certificate is signed by one in this file (PEM). A relative path starts at the
    /// configuration's folder.
    #[cfg(feature = "tls")]
    pub tls_ca: Option<std::path::PathBuf>,
    /// Compress values that are longer than so many bytes. Not at all by default. What is compressed is read with or
    /// without this option.
    #[cfg(feature = "compression")]
    pub compress_above: Option<usize>,
    /// The longest value that is made of a compressed one, in bytes: more is taken for a broken entry. 64 MiB by default.
    #[cfg(feature = "compression")]
    pub largest_inflated: usize,
}

/// What the keys of a server do while it is dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum WhenDead {
    /// Every call for one is [`ErrorKind::Unavailable`](cache_core::ErrorKind).
    #[default]
    Error,
    /// Reads miss, and writes do nothing: `add`, `touch` and `delete` answer no, `set_many` answers what was not stored. As
    /// pymemcache's `ignore_exc`. `clear` is an error all the same.
    Miss,
    /// They go to the next server of their ranking. When the first one is back, so are its keys, and with them what they held
    /// when it went, unless it was restarted; what was written or deleted meanwhile is not known there.
    Next,
}

impl MemcachedOptions {
    pub(crate) fn of(config: &StoreConfig) -> Result<Self> {
        let mut given: Map<String, Json> = config.options()?;
        let foreign: Vec<String> = FOREIGN
            .iter()
            .filter(|name| given.remove(**name).is_some())
            .map(ToString::to_string)
            .collect();
        if !foreign.is_empty() {
            tracing::warn!(
                cache = config.alias,
                "OPTIONS without effect on memcached here: {}",
                foreign.join(", ")
            );
        }
        if let Some(ignored) = given.remove("ignore_exc") {
            let ignored: Ignored =
                from_settings("OPTIONS.", &Map::from_iter([("ignore_exc".to_owned(), ignored)]))?;
            let when_dead = if ignored.ignore_exc { "miss" } else { "error" };
            given.entry("when_dead").or_insert_with(|| when_dead.into());
        }
        from_settings("OPTIONS.", &given)
    }

    pub(crate) fn check(&self, servers: usize) -> Result<()> {
        for (name, time) in [("timeout", self.timeout), ("connect_timeout", self.connect_timeout)] {
            if time < Duration::from_millis(1) {
                let found = time.as_secs_f64().to_string();
                return Err(config::invalid_setting(
                    &option(name),
                    &found,
                    "a number of seconds, 0.001 or more",
                ));
            }
        }
        if !self.weights.is_empty() && self.weights.len() != servers {
            let found = format!("{} of them", self.weights.len());
            return Err(config::invalid_setting(
                &option("weights"),
                &found,
                &format!("one for each of {servers} servers"),
            ));
        }
        if let Some(wrong) =
            self.weights.iter().find(|weight| !(weight.is_finite() && **weight > 0.0))
        {
            return Err(config::invalid_setting(
                &option("weights"),
                &wrong.to_string(),
                "numbers above 0",
            ));
        }
        match (&self.username, &self.password) {
            (Some(username), Some(password)) => {
                // They are sent as one line, with a space between them.
                let fits = |text: &str| {
                    !text.is_empty()
                        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
                };
                if !fits(username) || !fits(password) {
                    let expected =
                        "neither empty nor with white space in them, as memcached's file has them";
                    return Err(config::invalid_setting(
                        &option("username, password"),
                        "others",
                        expected,
                    ));
                }
                Ok(())
            }
            (None, None) => Ok(()),
            _ => Err(config::invalid_setting(
                &option("username, password"),
                "one of them",
                "both or none",
            )),
        }
    }

    pub(crate) fn compress_above(&self) -> Option<usize> {
        #[cfg(feature = "compression")]
        return self.compress_above;
        #[cfg(not(feature = "compression"))]
        None
    }

    pub(crate) fn largest_inflated(&self) -> usize {
        #[cfg(feature = "compression")]
        return self.largest_inflated;
        #[cfg(not(feature = "compression"))]
        0
    }
}

/// What pymemcache, pylibmc and Django take besides.
const FOREIGN: [&str; 22] = [
    "allow_unicode_keys",
    "behaviors",
    "binary",
    "cull_frequency",
    "default_noreply",
    "deserializer",
    "encoding",
    "hasher",
    "key_prefix",
    "lock_generator",
    "max_entries",
    "max_pool_size",
    "no_delay",
    "pool_idle_timeout",
    "retry_attempts",
    "retry_timeout",
    "serde",
    "serializer",
    "socket_keepalive",
    "socket_module",
    "tls_context",
    "use_pooling",
];

#[derive(Deserialize)]
struct Ignored {
    ignore_exc: bool,
}

fn option(name: &str) -> String {
    format!("OPTIONS.{name}")
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
            largest_inflated: 64 << 20,
        }
    }
}

/// Shows no password.
impl fmt::Debug for MemcachedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MemcachedOptions");
        shown
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("dead_timeout", &self.dead_timeout)
            .field("when_dead", &self.when_dead)
            .field("weights", &self.weights)
            .field("username", &self.username.as_ref().map(|_| "***"))
            .field("password", &self.password.as_ref().map(|_| "***"));
        #[cfg(feature = "tls")]
        shown.field("tls_ca", &self.tls_ca);
        #[cfg(feature = "compression")]
        shown
            .field("compress_above", &self.compress_above)
            .field("largest_inflated", &self.largest_inflated);
        shown.finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(options: Json) -> Result<MemcachedOptions> {
        let Json::Object(options) = options else { panic!("a table") };
        let options = MemcachedOptions::of(&StoreConfig::new("default", options))?;
        options.check(2).map(|()| options)
    }

    fn mistake_in(options: Json) -> String {
        read(options).expect_err("a mistake").to_string()
    }

    #[test]
    fn the_options_of_django_s_clients_are_taken() {
        let pymemcache = json!({
            "no_delay": true, "ignore_exc": true, "max_pool_size": 4, "use_pooling": true, "connect_timeout": 1, "timeout": 1,
            "retry_attempts": 2, "retry_timeout": 1, "dead_timeout": 30, "allow_unicode_keys": true, "default_noreply": false,
        });
        let options = read(pymemcache).expect("it is fine");
        assert_eq!(options.when_dead, WhenDead::Miss);
        assert_eq!(
            (options.timeout, options.connect_timeout),
            (Duration::from_secs(1), Duration::from_secs(1))
        );
        assert_eq!(options.dead_timeout, Duration::from_secs(30));

        let pylibmc = json!({"binary": true, "username": "u", "password": "p", "behaviors": {"ketama": true}});
        assert_eq!(read(pylibmc).expect("it is fine").username.as_deref(), Some("u"));
    }

    #[test]
    fn what_is_said_here_wins_over_what_pymemcache_calls_it() {
        let dead = |options| read(options).expect("it is fine").when_dead;
        assert_eq!(dead(json!({"ignore_exc": true, "when_dead": "next"})), WhenDead::Next);
        assert_eq!(dead(json!({"IGNORE_EXC": "false"})), WhenDead::Error);
        assert_eq!(dead(json!({"WHEN_DEAD": "miss"})), WhenDead::Miss);
    }

    #[test]
    fn in_a_url_the_time_limit_of_a_request_has_a_name_of_its_own() {
        let options = read(json!({"request_timeout": "0.2"})).expect("it is fine");
        assert_eq!(options.timeout, Duration::from_millis(200));
    }

    #[test]
    fn what_cannot_be_meant_is_a_mistake_that_is_named() {
        for (options, told) in [
            (
                json!({"timeout": 0}),
                "OPTIONS.timeout: found 0, expected a number of seconds, 0.001 or more",
            ),
            (
                json!({"connect_timeout": -1}),
                "OPTIONS.connect_timeout: found -1, expected a number of seconds, 0 or more",
            ),
            (
                json!({"when_dead": "panic"}),
                "OPTIONS.when_dead: found \"panic\", expected \"error\" or \"miss\" or \"next\"",
            ),
            (json!({"ignore_exc": 3}), "OPTIONS.ignore_exc: found 3, expected true or false"),
            (
                json!({"weights": [1]}),
                "OPTIONS.weights: found 1 of them, expected one for each of 2 servers",
            ),
            (json!({"weights": [1, 0]}), "OPTIONS.weights: found 0, expected numbers above 0"),
            (
                json!({"username": "u"}),
                "OPTIONS.username, password: found one of them, expected both or none",
            ),
        ] {
            assert_eq!(mistake_in(options), told);
        }
        assert!(
            mistake_in(json!({"username": "u", "password": "with space"})).contains("white space")
        );
        assert!(
            mistake_in(json!({"username": "u", "password": "p\r\nflush_all"}))
                .contains("white space")
        );
    }

    #[test]
    fn an_unknown_option_is_told_with_the_known_ones() {
        let told = mistake_in(json!({"tiemout": 1}));
        assert!(told.starts_with("OPTIONS.tiemout: unknown, expected one of "), "{told}");
        assert!(told.contains("timeout, connect_timeout, dead_timeout, when_dead, "), "{told}");
    }

    #[test]
    fn a_password_is_not_shown() {
        let options = read(json!({"username": "ada", "password": "lovelace"})).expect("it is fine");
        assert!(!format!("{options:?}").contains("lovelace"));
    }
}
