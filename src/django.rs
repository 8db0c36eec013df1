//! Translates the settings of Django's classes for Redis, and of the packages that replace them, to
//! those of the store `redis`.

mod location;

use std::collections::BTreeSet;

use cache_core::{
    OnOutage, Result,
    config::{from_settings, invalid_setting, shown_value},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// A class whose settings differ from those of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// `django.core.cache.backends.redis.RedisCache`.
    Django,
    /// The class of django-redis, or of its fork django-valkey.
    DjangoRedis,
    /// The class of django-redis-cache.
    DjangoRedisCache,
}

/// The settings of a store, translated in place.
#[derive(Debug, Default)]
pub(crate) struct Translation {
    pub(crate) location: Vec<String>,
    pub(crate) options: Map<String, Json>,
    pub(crate) on_outage: Option<OnOutage>,
    pub(crate) warnings: Vec<String>,
    /// The options that have no effect, as they were written.
    without_effect: BTreeSet<String>,
}

/// Options of the packages, and of the connection pools of redis-py, that have no effect here.
const WITHOUT_EFFECT: [&str; 24] = [
    "cache_herd_timeout",
    "close_connection",
    "connection_factory",
    "connection_pool_class",
    "connection_pool_class_kwargs",
    "cull_frequency",
    "decode_responses",
    "health_check_interval",
    "log_ignored_exceptions",
    "logger",
    "max_connections",
    "max_entries",
    "parser_class",
    "pickle_version",
    "protocol",
    "redis_client_class",
    "redis_client_kwargs",
    "replica_read_only",
    "retry_on_error",
    "retry_on_timeout",
    "reverse_key_function",
    "ssl",
    "ssl_min_version",
    "timeout",
];

/// Options that change the bytes of values.
const VALUE_OPTIONS: [&str; 7] = [
    "compressor",
    "compressor_class",
    "compressor_class_kwargs",
    "serializer",
    "serializer_class",
    "serializer_class_kwargs",
    "compress_min_length",
];

impl Class {
    pub(crate) fn of(backend: &str) -> Option<Self> {
        match backend {
            "django.core.cache.backends.redis.RedisCache"
            | "django_prometheus.cache.backends.redis.NativeRedisCache" => Some(Self::Django),
            "django_redis.cache.RedisCache"
            | "django_valkey.cache.ValkeyCache"
            | "django_prometheus.cache.backends.redis.RedisCache" => Some(Self::DjangoRedis),
            "redis_cache.RedisCache" | "redis_cache.cache.RedisCache" => {
                Some(Self::DjangoRedisCache)
            }
            _ => None,
        }
    }

    /// Translates LOCATION and OPTIONS.
    pub(crate) fn translate(
        self,
        location: Vec<String>,
        options: Map<String, Json>,
    ) -> Result<Translation> {
        let mut translation = Translation { location, options, ..Translation::default() };
        match self {
            Self::Django => {}
            Self::DjangoRedis => translation.django_redis()?,
            Self::DjangoRedisCache => translation.django_redis_cache(),
        }
        translation.certificate_verification();
        translation.warn();
        Ok(translation)
    }
}

impl Translation {
    fn django_redis(&mut self) -> Result<()> {
        // A number of a database is read from LOCATION only.
        self.drop_option("db");
        self.pool_options()?;
        let client = self.take("client_class").map(|(name, class)| client(&name, &class));
        let client = client.transpose()?.unwrap_or(Client::Default);
        self.ignore_exceptions()?;
        self.value_options();
        self.drop_options();
        match (self.take("sentinels"), client) {
            (Some((name, sentinels)), _) if sentinels != Json::Array(Vec::new()) => {
                self.sentinels(&name, &sentinels)?;
            }
            (_, Client::Sentinel) => {
                return Err(invalid_setting("OPTIONS.SENTINELS", "none", SENTINELS));
            }
            (_, Client::Cluster) => drop(self.options.insert("cluster".into(), true.into())),
            (_, Client::Default) => {}
        }
        if self.take("sentinel_kwargs").is_some() {
            self.without_effect.insert("SENTINEL_KWARGS".into());
        }
        self.locations();
        Ok(())
    }

    fn django_redis_cache(&mut self) {
        self.value_options();
        self.drop_options();
        if let Some((_, Json::String(primary))) = self.take("master_cache") {
            self.location.retain(|location| *location != primary);
            self.location.insert(0, primary);
        }
        // Its default is the database 1, unless LOCATION has one.
        if let Some((name, db)) = self.take("db") {
            self.options.insert(name, db);
        } else {
            self.options.insert("db".into(), 1.into());
        }
        self.locations();
    }

    /// The formats of LOCATION that only these packages have. An absent LOCATION is a server on
    /// this machine.
    fn locations(&mut self) {
        for location in &mut self.location {
            *location = location::as_url(location);
        }
        if self.location.is_empty() {
            self.location.push("redis://localhost:6379".into());
        }
    }

    /// `CONNECTION_POOL_KWARGS` are options of redis-py and take precedence over others.
    fn pool_options(&mut self) -> Result<()> {
        let Some((pool, kwargs)) = self.take("connection_pool_kwargs") else { return Ok(()) };
        let Json::Object(kwargs) = kwargs else {
            let found = shown_value(&pool, &kwargs);
            return Err(invalid_setting(&format!("OPTIONS.{pool}"), &found, "a table"));
        };
        for (name, value) in kwargs {
            if is_one_of(&name, &WITHOUT_EFFECT) {
                self.without_effect.insert(format!("{pool}.{name}"));
            } else {
                self.options.retain(|other, _| !other.eq_ignore_ascii_case(&name));
                self.options.insert(name, value);
            }
        }
        Ok(())
    }

    fn ignore_exceptions(&mut self) -> Result<()> {
        #[derive(Deserialize)]
        struct IgnoreExceptions {
            ignore_exceptions: bool,
        }
        if let Some((name, value)) = self.take("ignore_exceptions") {
            let parsed: IgnoreExceptions =
                from_settings("OPTIONS.", &Map::from_iter([(name, value)]))?;
            let policy = if parsed.ignore_exceptions { OnOutage::Miss } else { OnOutage::Error };
            self.on_outage = Some(policy);
        }
        Ok(())
    }

    /// SENTINELS is a list of hosts and ports, and LOCATION has the name of the primary.
    fn sentinels(&mut self, name: &str, sentinels: &Json) -> Result<()> {
        let invalid = || {
            invalid_setting(&format!("OPTIONS.{name}"), &shown_value(name, sentinels), SENTINELS)
        };
        let primary = self.location.first().map(|location| location::of_primary(location));
        let Some(primary) = primary.filter(|primary| !primary.name.is_empty()) else {
            let expected = "the name of the primary, such as \"redis://mymaster/0\"";
            return Err(invalid_setting("LOCATION", "none", expected));
        };
        let servers = sentinels.as_array().ok_or_else(invalid)?.iter();
        self.location = servers
            .map(|server| location::of_sentinel(primary.scheme, server).ok_or_else(invalid))
            .collect::<Result<_>>()?;
        let kwargs = self.take("sentinel_kwargs");
        let mut kwargs = match kwargs {
            Some((_, Json::Object(kwargs))) => kwargs,
            _ => Map::new(),
        };
        let mut kwarg = |name: &str| kwargs.remove(name).filter(|value| !value.is_null());
        for (name, value) in [
            ("sentinel", Some(primary.name.into())),
            ("db", primary.db.map(Into::into)),
            ("username", primary.username.map(Into::into)),
            ("password", primary.password.map(Into::into)),
            ("sentinel_username", kwarg("username")),
            ("sentinel_password", kwarg("password")),
        ] {
            if let Some(value) = value {
                self.options.retain(|other, _| !other.eq_ignore_ascii_case(name));
                self.options.insert(name.into(), value);
            }
        }
        self.without_effect.extend(kwargs.keys().map(|name| format!("SENTINEL_KWARGS.{name}")));
        Ok(())
    }

    /// In Python, `ssl_cert_reqs = None` disables verification, which a null option would not.
    fn certificate_verification(&mut self) {
        for (name, value) in &mut self.options {
            if name.eq_ignore_ascii_case("ssl_cert_reqs") {
                match value {
                    Json::Null | Json::Bool(false) => *value = "none".into(),
                    Json::String(text) => *text = text.trim_start_matches("CERT_").to_lowercase(),
                    _ => {}
                }
            }
        }
    }

    fn value_options(&mut self) {
        let names: Vec<String> =
            VALUE_OPTIONS.iter().filter_map(|name| self.take(name)).map(|(name, _)| name).collect();
        if !names.is_empty() {
            self.warnings.push(format!(
                "these OPTIONS are not applied: {}; keys are those of Django, but of the values \
                 only integers can be read by both: a value of Django is a miss here, and Django \
                 raises an error if it reads another value of this cache; if a Django site uses \
                 the same database, set another KEY_PREFIX",
                names.join(", ")
            ));
        }
    }

    fn drop_options(&mut self) {
        WITHOUT_EFFECT.iter().for_each(|name| self.drop_option(name));
    }

    fn drop_option(&mut self, name: &str) {
        if let Some((name, _)) = self.take(name) {
            self.without_effect.insert(name);
        }
    }

    /// Removes an option and returns its name as it was written, and its value, unless it is null.
    fn take(&mut self, name: &str) -> Option<(String, Json)> {
        let written = self.options.keys().find(|other| other.eq_ignore_ascii_case(name))?.clone();
        self.options.remove_entry(&written).filter(|(_, value)| !value.is_null())
    }

    fn warn(&mut self) {
        if !self.without_effect.is_empty() {
            let names: Vec<&str> = self.without_effect.iter().map(String::as_str).collect();
            let warning = format!("these OPTIONS have no effect: {}", names.join(", "));
            self.warnings.push(warning);
        }
    }
}

const SENTINELS: &str = "a list of hosts and ports, such as [[\"sentinel-1\", 26379]]";

/// What `CLIENT_CLASS` of django-redis stands for.
#[derive(Clone, Copy)]
enum Client {
    Default,
    Sentinel,
    Cluster,
}

fn client(name: &str, class: &Json) -> Result<Client> {
    let path = class.as_str().unwrap_or_default();
    let is_known = ["django_redis.client.", "django_valkey.client.", "redis_cache.client."]
        .iter()
        .any(|package| path.starts_with(package));
    let class_name = path.rsplit('.').next().filter(|_| is_known);
    let expected = match class_name {
        Some("DefaultClient") => return Ok(Client::Default),
        Some("SentinelClient") => return Ok(Client::Sentinel),
        Some("ClusterClient") => return Ok(Client::Cluster),
        Some("ShardClient") => {
            "\"django_redis.client.DefaultClient\", because keys are not distributed by the \
             client; use a Redis cluster with the option cluster = true, or an alias for each \
             server"
        }
        Some("HerdClient") => {
            "\"django_redis.client.DefaultClient\", because HerdClient stores values in a form of \
             its own"
        }
        _ => "\"django_redis.client.DefaultClient\" or \"django_redis.client.SentinelClient\"",
    };
    Err(invalid_setting(&format!("OPTIONS.{name}"), &shown_value(name, class), expected))
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn translate(class: Class, location: &[&str], options: Json) -> Translation {
        try_translate(class, location, options).expect("valid settings")
    }

    fn try_translate(class: Class, location: &[&str], options: Json) -> Result<Translation> {
        let Json::Object(options) = options else { panic!("a table") };
        class.translate(location.iter().map(ToString::to_string).collect(), options)
    }

    #[test]
    fn pool_options_become_options_of_the_store() {
        let found = translate(
            Class::DjangoRedis,
            &["redis://h:6379/1"],
            json!({
                "CLIENT_CLASS": "django_redis.client.DefaultClient",
                "SOCKET_TIMEOUT": 5,
                "CONNECTION_POOL_KWARGS": {
                    "max_connections": 50, "socket_timeout": 2, "ssl_cert_reqs": null,
                    "retry_on_timeout": true, "health_check_interval": 30,
                },
            }),
        );
        let options = json!({"socket_timeout": 2, "ssl_cert_reqs": "none"});
        assert_eq!(Json::Object(found.options), options);
        assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
        for name in ["max_connections", "retry_on_timeout", "health_check_interval"] {
            let name = format!("CONNECTION_POOL_KWARGS.{name}");
            assert!(found.warnings[0].contains(&name), "{:?}", found.warnings);
        }
    }

    #[test]
    fn ignored_exceptions_are_misses() {
        for (written, policy) in [
            (json!({"IGNORE_EXCEPTIONS": true}), Some(OnOutage::Miss)),
            (json!({"IGNORE_EXCEPTIONS": "False"}), Some(OnOutage::Error)),
            (json!({"LOG_IGNORED_EXCEPTIONS": true}), None),
        ] {
            assert_eq!(translate(Class::DjangoRedis, &[], written).on_outage, policy);
        }
        let error = try_translate(Class::DjangoRedis, &[], json!({"IGNORE_EXCEPTIONS": 3}));
        let error = error.expect_err("not a boolean").to_string();
        assert!(error.starts_with("OPTIONS.IGNORE_EXCEPTIONS: "), "{error}");
    }

    #[test]
    fn database_is_the_one_that_django_uses() {
        let redis = translate(Class::DjangoRedis, &["redis://h"], json!({"DB": 3}));
        assert!(redis.options.is_empty() && redis.warnings[0].contains("DB"), "{redis:?}");
        for (written, db) in [(json!({}), 1), (json!({"DB": 3}), 3)] {
            let found = translate(Class::DjangoRedisCache, &["h:6379"], written);
            assert_eq!(found.options.values().collect::<Vec<_>>(), [&json!(db)]);
        }
    }

    #[test]
    fn sentinels_become_the_location_and_location_the_name_of_the_primary() {
        let found = translate(
            Class::DjangoRedis,
            &["redis://ada:love%40lace@mymaster/5?is_master=1"],
            json!({
                "CLIENT_CLASS": "django_redis.client.SentinelClient",
                "SENTINELS": [["s1", 26379], ["s2", "26380"]],
                "SENTINEL_KWARGS": {"password": "p", "socket_timeout": 1},
                "DB": 3, "PASSWORD": "ignored",
            }),
        );
        assert_eq!(found.location, ["redis://s1:26379", "redis://s2:26380"]);
        let options = json!({
            "sentinel": "mymaster", "db": 5, "username": "ada", "password": "love@lace",
            "sentinel_password": "p",
        });
        assert_eq!(Json::Object(found.options), options);
    }

    #[test]
    fn client_that_has_no_counterpart_is_an_error() {
        for (options, setting) in [
            (json!({"CLIENT_CLASS": "django_redis.client.ShardClient"}), "CLIENT_CLASS"),
            (json!({"CLIENT_CLASS": "django_redis.client.HerdClient"}), "CLIENT_CLASS"),
            (json!({"CLIENT_CLASS": "shop.cache.DefaultClient"}), "CLIENT_CLASS"),
            (json!({"CLIENT_CLASS": "django_redis.client.SentinelClient"}), "SENTINELS"),
            (json!({"SENTINELS": ["s1:26379"]}), "SENTINELS"),
            (json!({"CONNECTION_POOL_KWARGS": 3}), "CONNECTION_POOL_KWARGS"),
        ] {
            let error = try_translate(Class::DjangoRedis, &["redis://mymaster"], options);
            let error = error.expect_err(setting).to_string();
            assert!(error.starts_with(&format!("OPTIONS.{setting}: ")), "{error}");
        }
    }

    #[test]
    fn options_that_change_values_are_named_with_the_way_apart() {
        let found = translate(
            Class::DjangoRedis,
            &[],
            json!({
                "COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor",
                "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            }),
        );
        assert!(found.options.is_empty());
        assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
        for fact in ["COMPRESSOR, SERIALIZER", "integers", "KEY_PREFIX"] {
            assert!(found.warnings[0].contains(fact), "{:?}", found.warnings);
        }
    }

    #[test]
    fn verification_of_certificates_is_disabled_as_in_python() {
        for (written, reqs) in [
            (json!(null), "none"),
            (json!(false), "none"),
            (json!("CERT_NONE"), "none"),
            (json!("CERT_REQUIRED"), "required"),
        ] {
            let found = translate(Class::Django, &[], json!({"ssl_cert_reqs": written}));
            assert_eq!(found.options["ssl_cert_reqs"], reqs);
        }
    }
}
