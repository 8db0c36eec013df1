//! The section `databases`, which names the databases of caches.

use std::collections::BTreeMap;

use cache_core::{
    Result,
    config::{from_settings, invalid_setting, shown_value},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// A table with the URL of a database.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UrlEntry {
    url: String,
}

/// The supported settings of an
/// [entry of Django's `DATABASES`](https://docs.djangoproject.com/en/5.2/ref/settings/#databases).
#[derive(Default, Deserialize)]
#[serde(default)]
struct DjangoEntry {
    engine: String,
    name: String,
    user: String,
    password: String,
    host: String,
    port: String,
}

/// The URLs of the databases by name.
pub(crate) fn read(section: &Map<String, Json>) -> Result<BTreeMap<String, String>> {
    section.iter().map(|(name, entry)| Ok((name.clone(), url(name, entry)?))).collect()
}

fn url(name: &str, entry: &Json) -> Result<String> {
    let prefix = format!("databases.{name}.");
    match entry {
        Json::String(url) => Ok(url.clone()),
        Json::Object(settings)
            if settings.keys().any(|name| name.eq_ignore_ascii_case("engine")) =>
        {
            from_django(&prefix, settings)
        }
        Json::Object(settings) => {
            from_settings::<UrlEntry>(&prefix, settings).map(|entry| entry.url)
        }
        other => {
            Err(invalid_setting(&format!("databases.{name}"), &shown_value("", other), EXPECTED))
        }
    }
}

const EXPECTED: &str = "the URL of a database, such as \"postgres://user:password@host/database\"";

fn from_django(prefix: &str, settings: &Map<String, Json>) -> Result<String> {
    const NAMES: [&str; 6] = ["engine", "name", "user", "password", "host", "port"];
    let is_supported = |name: &str| NAMES.iter().any(|other| other.eq_ignore_ascii_case(name));
    let text = |value: &Json| match value {
        Json::Number(number) => number.to_string().into(),
        other => other.clone(),
    };
    let supported = settings.iter().filter(|(name, value)| is_supported(name) && !value.is_null());
    let supported = supported.map(|(name, value)| (name.clone(), text(value))).collect();
    let django: DjangoEntry = from_settings(prefix, &supported)?;
    match django.engine.rsplit('.').next() {
        Some("sqlite3") => Ok(format!("sqlite:{}", django.name)),
        Some("postgresql" | "postgresql_psycopg2") => Ok(django.postgres()),
        Some("mysql") => Ok(django.mysql()),
        _ => {
            let expected = "\"django.db.backends.postgresql\", \"django.db.backends.mysql\" or \
                            \"django.db.backends.sqlite3\"";
            Err(invalid_setting(
                &format!("{prefix}ENGINE"),
                &format!("{:?}", django.engine),
                expected,
            ))
        }
    }
}

impl DjangoEntry {
    /// Without a HOST, the driver uses its default, usually a Unix socket. A HOST that starts with
    /// a slash is the directory of a socket.
    fn postgres(&self) -> String {
        match &*self.host {
            "" => format!(
                "postgres:///{}?user={}&password={}{}",
                escaped(&self.name),
                escaped(&self.user),
                escaped(&self.password),
                if self.port.is_empty() { String::new() } else { format!("&port={}", self.port) },
            ),
            folder if folder.starts_with('/') => self.address("postgres", &escaped(folder)),
            host => self.address("postgres", host),
        }
    }

    /// A HOST that starts with a slash is a Unix socket.
    fn mysql(&self) -> String {
        match &*self.host {
            "" => self.address("mysql", "localhost"),
            socket if socket.starts_with('/') => {
                format!("{}?socket={}", self.address("mysql", "localhost"), escaped(socket))
            }
            host => self.address("mysql", host),
        }
    }

    fn address(&self, scheme: &str, host: &str) -> String {
        let host = match host.contains(':') && !host.starts_with('[') {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        let port = if self.port.is_empty() { String::new() } else { format!(":{}", self.port) };
        let (user, password, name) =
            (escaped(&self.user), escaped(&self.password), escaped(&self.name));
        format!("{scheme}://{user}:{password}@{host}{port}/{name}")
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_one(entry: &Json) -> Result<String> {
        url("main", entry)
    }

    #[test]
    fn database_is_a_url_or_a_table_with_a_url() {
        for entry in
            [json!("sqlite:a.db"), json!({"url": "sqlite:a.db"}), json!({"URL": "sqlite:a.db"})]
        {
            assert_eq!(read_one(&entry).expect("valid"), "sqlite:a.db");
        }
    }

    #[test]
    fn django_entry_is_converted_to_a_url() {
        let django = |settings: Json| read_one(&settings).expect("valid");
        assert_eq!(
            django(json!({
                "ENGINE": "django.db.backends.postgresql", "NAME": "shop", "USER": "ada",
                "PASSWORD": "p@w/d", "HOST": "db.example.org", "PORT": 5433, "CONN_MAX_AGE": 60,
                "OPTIONS": {"pool": true},
            })),
            "postgres://ada:p%40w%2Fd@db.example.org:5433/shop"
        );
        assert_eq!(
            django(json!({
                "ENGINE": "django.db.backends.postgresql", "NAME": "shop", "USER": "ada",
                "PORT": "5433",
            })),
            "postgres:///shop?user=ada&password=&port=5433"
        );
        assert_eq!(
            django(json!({
                "ENGINE": "django.db.backends.sqlite3", "NAME": "/srv/db.sqlite3", "PASSWORD": null,
            })),
            "sqlite:/srv/db.sqlite3"
        );
        assert_eq!(
            django(json!({
                "ENGINE": "django.db.backends.mysql", "NAME": "shop", "USER": "ada",
                "HOST": "/run/mysqld.sock",
            })),
            "mysql://ada:@localhost/shop?socket=%2Frun%2Fmysqld%2Esock"
        );
    }

    #[test]
    fn ipv6_host_has_brackets_in_the_url() {
        for host in ["2001:db8::1", "[2001:db8::1]"] {
            for (engine, scheme) in [("postgresql", "postgres"), ("mysql", "mysql")] {
                let engine = format!("django.db.backends.{engine}");
                let entry = json!({"ENGINE": engine, "NAME": "shop", "HOST": host, "PORT": 7000});
                let url = read_one(&entry).expect("valid");
                assert_eq!(url, format!("{scheme}://:@[2001:db8::1]:7000/shop"));
            }
        }
    }

    #[test]
    fn error_names_the_setting_and_no_secret() {
        let error = |entry: Json| read_one(&entry).expect_err("invalid").to_string();
        for (entry, setting) in [
            (json!(7), "databases.main: "),
            (json!({"ENGINE": "django.db.backends.oracle"}), "databases.main.ENGINE: "),
            (json!({"url": "sqlite:x", "tabel": 1}), "databases.main.tabel: "),
        ] {
            let error = error(entry);
            assert!(error.starts_with(setting), "{error}");
        }
        let secret = error(json!({"ENGINE": "django.db.backends.mysql", "PASSWORD": ["hunter2"]}));
        assert!(!secret.contains("hunter2"), "{secret}");
    }
}
