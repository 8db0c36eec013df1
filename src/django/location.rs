//! LOCATION in the formats of django-redis and django-redis-cache.

use percent_encoding::percent_decode_str;
use serde_json::Value as Json;

/// Rewrites the formats without a scheme: `host:port:db`, `unix:/path` and `unix:/path:db`.
pub(super) fn as_url(location: &str) -> String {
    if location.contains("://") {
        return location.into();
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = location.rsplit_once(':').filter(|(_, number)| is_number(number));
    if let Some(path) = location.strip_prefix("unix:") {
        return match path.rsplit_once(':').filter(|(_, db)| is_number(db)) {
            Some((path, db)) => format!("unix://{path}?db={db}"),
            None => format!("unix://{path}"),
        };
    }
    match numbered {
        Some((address, db)) if address.split_once(':').is_some_and(|(_, port)| is_number(port)) => {
            format!("redis://{address}/{db}")
        }
        _ => location.into(),
    }
}

/// A primary that sentinels know by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Primary {
    pub(super) scheme: &'static str,
    pub(super) name: String,
    pub(super) db: Option<u32>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

/// Parses `redis://user:password@name/db?db=…`, or only the name.
pub(super) fn of_primary(location: &str) -> Primary {
    let (scheme, rest) = location.split_once("://").unwrap_or(("redis", location));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (user, host_and_path) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (host, path) = host_and_path.split_once('/').unwrap_or((host_and_path, ""));
    let (username, password) = user.split_once(':').unwrap_or((user, ""));
    let from_query = query.split('&').find_map(|pair| pair.strip_prefix("db="));
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8_lossy().into_owned();
        Some(text).filter(|text| !text.is_empty())
    };
    Primary {
        scheme: if matches!(scheme, "rediss" | "valkeys") { "rediss" } else { "redis" },
        // A port has no meaning, because the sentinels know the address.
        name: host.split(':').next().unwrap_or_default().into(),
        db: from_query.unwrap_or(path.trim_end_matches('/')).parse().ok(),
        username: decoded(username),
        password: decoded(password),
    }
}

/// The URL of a sentinel that is written as a list of its host and its port.
pub(super) fn of_sentinel(scheme: &str, server: &Json) -> Option<String> {
    let [host, port] = server.as_array()?.as_slice() else { return None };
    let port = match port {
        Json::String(port) => port.clone(),
        port => port.as_u64()?.to_string(),
    };
    let host = host.as_str()?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.into() };
    Some(format!("{scheme}://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn location_without_a_scheme_becomes_a_url() {
        for (location, url) in [
            ("127.0.0.1:6379:1", "redis://127.0.0.1:6379/1"),
            ("unix:/run/redis.sock", "unix:///run/redis.sock"),
            ("unix:/run/redis.sock:2", "unix:///run/redis.sock?db=2"),
            ("127.0.0.1:6379", "127.0.0.1:6379"),
            ("/run/redis.sock", "/run/redis.sock"),
            ("redis://h:1/2", "redis://h:1/2"),
        ] {
            assert_eq!(as_url(location), url);
        }
    }

    #[test]
    fn primary_has_a_name_and_a_database() {
        for (location, name, db) in [
            ("redis://mymaster/5", "mymaster", Some(5)),
            ("redis://mymaster?db=5&is_master=1", "mymaster", Some(5)),
            ("redis://mymaster:6379/", "mymaster", None),
            ("mymaster", "mymaster", None),
        ] {
            let primary = of_primary(location);
            assert_eq!((&*primary.name, primary.db), (name, db), "{location}");
        }
        assert_eq!(of_primary("rediss://:p%40w@m/0").password.as_deref(), Some("p@w"));
        assert_eq!(of_primary("rediss://m/0").scheme, "rediss");
    }

    #[test]
    fn sentinel_is_a_host_and_a_port() {
        assert_eq!(of_sentinel("redis", &json!(["s", 7])).as_deref(), Some("redis://s:7"));
        assert_eq!(of_sentinel("redis", &json!(["::1", "7"])).as_deref(), Some("redis://[::1]:7"));
        assert_eq!(of_sentinel("redis", &json!("s:7")), None);
    }
}
