//! The section `databases`: names for the databases that caches are kept in.

use std::collections::BTreeMap;

use cache_core::{
    Result,
    config::{from_settings, invalid_setting},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// A database as it is written: its URL, a table with its URL, or an entry of Django's `DATABASES`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByUrl {
    url: String,
}

/// What is of use here of an
/// [entry of Django's `DATABASES`](https://docs.djangoproject.com/en/5.2/ref/settings/#databases).
#[derive(Default, Deserialize)]
#[serde(default)]
struct ByDjango {
    engine: String,
    name: String,
    user: String,
    password: String,
    host: String,
    port: String,
}

/// The URLs of the databases, by their names.
pub(crate) fn read(section: &Map<String, Json>) -> Result<BTreeMap<String, String>> {
    section.iter().map(|(name, entry)| Ok((name.clone(), url(name, entry)?))).collect()
}

fn url(name: &str, entry: &Json) -> Result<String> {
    let place = format!("databases.{name}.");
    match entry {
        Json::String(url) => Ok(url.clone()),
        Json::Object(settings)
            if settings.keys().any(|name| name.eq_ignore_ascii_case("engine")) =>
        {
            from_django(&place, settings)
        }
        Json::Object(settings) => from_settings::<ByUrl>(&place, settings).map(|by| by.url),
        _ => Err(invalid_setting(
            &format!("databases.{name}"),
            "neither a text nor a table",
            EXPECTED,
        )),
    }
}

const EXPECTED: &str = "the URL of a database, such as \"postgres://user:password@host/database\"";

fn from_django(place: &str, settings: &Map<String, Json>) -> Result<String> {
    const OURS: [&str; 6] = ["engine", "name", "user", "password", "host", "port"];
    let is_ours = |name: &str| OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name));
    let text = |value: &Json| match value {
        Json::Number(number) => number.to_string().into(),
        other => other.clone(),
    };
    let ours = settings.iter().filter(|(name, value)| is_ours(name) && !value.is_null());
    let ours = ours.map(|(name, value)| (name.clone(), text(value))).collect();
    let django: ByDjango = from_settings(place, &ours)?;
    match django.engine.rsplit('.').next() {
        Some("sqlite3") => Ok(format!("sqlite:{}", django.name)),
        Some("postgresql" | "postgresql_psycopg2") => Ok(django.postgres()),
        Some("mysql") => Ok(django.mysql()),
        _ => {
            let expected = "\"django.db.backends.postgresql\", \"django.db.backends.mysql\" or \
                            \"django.db.backends.sqlite3\"";
            Err(invalid_setting(
                &format!("{place}ENGINE"),
                &format!("{:?}", django.engine),
                expected,
            ))
        }
    }
}

impl ByDjango {
    /// Without a HOST, the driver's default: its socket where there is one. A HOST may be the folder of one.
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

    /// A HOST may be a socket.
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
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
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
    fn a_database_is_its_url_or_a_table_with_its_url() {
        for entry in
            [json!("sqlite:a.db"), json!({"url": "sqlite:a.db"}), json!({"URL": "sqlite:a.db"})]
        {
            assert_eq!(read_one(&entry).expect("it is fine"), "sqlite:a.db");
        }
    }

    #[test]
    fn django_s_entries_become_urls() {
        let django = |settings: Json| read_one(&settings).expect("it is fine");
        assert_eq!(
            django(json!({
                "ENGINE": "django.db.backends.postgresql", "NAME": "shop", "USER": "ada", "PASSWORD": "p@w/d",
                "HOST": "db.example.org", "PORT": 5433, "CONN_MAX_AGE": 60, "OPTIONS": {"pool": true},
            })),
            "postgres://ada:p%40w%2Fd@db.example.org:5433/shop"
        );
        assert_eq!(
            django(
                json!({"ENGINE": "django.db.backends.postgresql", "NAME": "shop", "USER": "ada", "PORT": "5433"})
            ),
            "postgres:///shop?user=ada&password=&port=5433"
        );
        assert_eq!(
            django(
                json!({"ENGINE": "django.db.backends.sqlite3", "NAME": "/srv/db.sqlite3", "PASSWORD": null})
            ),
            "sqlite:/srv/db.sqlite3"
        );
        assert_eq!(
            django(json!({
                "ENGINE": "django.db.backends.mysql", "NAME": "shop", "USER": "ada", "HOST": "/run/mysqld.sock",
            })),
            "mysql://ada:@localhost/shop?socket=%2Frun%2Fmysqld%2Esock"
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_without_secrets() {
        let told = |entry: Json| read_one(&entry).expect_err("it is a mistake").to_string();
        assert!(
            told(json!(7))
                .starts_with("databases.main: found neither a text nor a table, expected the URL")
        );
        assert!(
            told(json!({"ENGINE": "django.db.backends.oracle"}))
                .starts_with("databases.main.ENGINE: found")
        );
        assert!(told(json!({"url": "sqlite:x", "tabel": 1})).starts_with("databases.main.tabel: "));
        let secret = told(json!({"ENGINE": "django.db.backends.mysql", "PASSWORD": ["hunter2"]}));
        assert!(!secret.contains("hunter2"), "{secret}");
    }
}
