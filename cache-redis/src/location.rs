//! LOCATION: the URLs of servers.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use cache_core::{
    Result,
    config::{invalid_setting, redact_setting},
};
use cache_net::{ipv6_host, misprinted_port, port_out_of_range, split_host_port};
use percent_encoding::percent_decode_str;

const DEFAULT_PORT: u16 = 6379;

const EXPECTED: &str = "the URL of a server: \"redis://user:password@host:6379/0\", \
                        \"rediss://…\" for TLS, or \"unix:///path/of/socket?db=0\"";

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

/// As in error messages.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A parsed URL. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    pub(crate) address: Address,
    pub(crate) db: Option<u32>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)
    }
}

/// Parses LOCATION: a list of strings, each with one or more URLs separated by `,` or `;`, as in
/// Django. Relative socket paths are resolved against `folder`.
pub(crate) fn locations<T: AsRef<str>>(
    texts: &[T],
    folder: Option<&Path>,
) -> Result<Vec<Location>> {
    let urls = texts.iter().flat_map(|text| text.as_ref().split([',', ';'])).map(str::trim);
    if let Some(server) = misprinted_port(urls.clone()) {
        let expected = format!("{:?}, with a colon", redact_setting(&server));
        return Err(invalid_setting("LOCATION", "a port without a host", &expected));
    }
    let locations: Vec<Location> = urls
        .filter(|url| !url.is_empty())
        .map(|url| location(url, folder))
        .collect::<Result<_>>()?;
    if locations.is_empty() {
        return Err(invalid_setting("LOCATION", "none", EXPECTED));
    }
    Ok(locations)
}

fn location(url: &str, folder: Option<&Path>) -> Result<Location> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    // An unescaped password may contain "@", so the last one ends it.
    let (user, host_and_path) = rest.rsplit_once('@').unwrap_or(("", rest));
    let invalid = || {
        let (found, host) = (format!("{:?}", redact_setting(url)), host_and_path.split('/').next());
        match host.and_then(port_out_of_range) {
            Some(port) => {
                let found = format!("{port} in {found}");
                invalid_setting("LOCATION", &found, "a port from 1 to 65535")
            }
            None => invalid_setting("LOCATION", &found, EXPECTED),
        }
    };
    let (address, db) = match &*scheme.to_ascii_lowercase() {
        "redis" | "valkey" => host_and_db(host_and_path, false, folder),
        "rediss" | "valkeys" => host_and_db(host_and_path, true, folder),
        "unix" => socket(host_and_path, folder).map(|address| (address, None)),
        _ => None,
    }
    .ok_or_else(invalid)?;
    let (username, password) = user.split_once(':').unwrap_or((user, ""));
    let (username, password) = (decode(username)?, decode(password)?);
    with_query(Location { address, db, username, password }, query)
}

/// Parses `host:port/db`. Without a host, a path that is not a number is that of a socket.
fn host_and_db(text: &str, tls: bool, folder: Option<&Path>) -> Option<(Address, Option<u32>)> {
    let (host, path) = text.split_once('/').unwrap_or((text, ""));
    match path.trim_end_matches('/') {
        "" if path.is_empty() => Some((tcp(host, tls)?, None)),
        number => match number.parse() {
            Ok(db) => Some((tcp(host, tls)?, Some(db))),
            Err(_) if host.is_empty() => Some((socket(text, folder)?, None)),
            Err(_) => None,
        },
    }
}

fn socket(path: &str, folder: Option<&Path>) -> Option<Address> {
    let path = percent_decode_str(path).decode_utf8().ok().filter(|path| !path.is_empty())?;
    Some(Address::Unix(folder.map_or_else(|| PathBuf::from(&*path), |folder| folder.join(&*path))))
}

fn tcp(text: &str, tls: bool) -> Option<Address> {
    let (host, port) = split_host_port(text)?;
    let host = match host {
        "" => "localhost".into(),
        host => ipv6_host(host).unwrap_or_else(|| host.into()),
    };
    Some(Address::Tcp { host, port: port.unwrap_or(DEFAULT_PORT), tls })
}

/// Applies the query of a URL, which takes precedence over the rest of the URL, as in redis-py.
fn with_query(mut location: Location, query: &str) -> Result<Location> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "db" => {
                location.db = Some(value.parse().map_err(|_| {
                    let expected = "an integer of at least 0";
                    invalid_setting("LOCATION, parameter db", &format!("{value:?}"), expected)
                })?);
            }
            "username" => location.username = decode(value)?,
            "password" => location.password = decode(value)?,
            _ => {
                let expected = "db, username or password; other options belong in OPTIONS";
                return Err(invalid_setting("LOCATION", &format!("parameter {name}"), expected));
            }
        }
    }
    Ok(location)
}

/// Decodes a user name or a password. The error does not contain it, since it may be secret.
fn decode(text: &str) -> Result<Option<String>> {
    if text.is_empty() {
        return Ok(None);
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(Some(text.into_owned())),
        Err(_) => Err(invalid_setting(
            "LOCATION",
            "a user name or password that is not UTF-8",
            "percent-encoded UTF-8",
        )),
    }
}

#[cfg(test)]
mod tests {
    use cache_core::ErrorKind;

    use super::*;

    fn parse(url: &str) -> Location {
        locations(&[url], None).expect(url).remove(0)
    }

    fn tcp(host: &str, port: u16, tls: bool) -> Address {
        Address::Tcp { host: host.into(), port, tls }
    }

    #[test]
    fn url_is_parsed_into_address_and_database() {
        for (url, address, db) in [
            ("redis://h", tcp("h", 6379, false), None),
            ("redis://h:1/2", tcp("h", 1, false), Some(2)),
            ("redis://h:1/2/", tcp("h", 1, false), Some(2)),
            ("rediss://h:1/", tcp("h", 1, true), None),
            ("valkeys://h", tcp("h", 6379, true), None),
            ("redis://[::1]:7/1", tcp("::1", 7, false), Some(1)),
            ("redis://[fe80::1%eth0]:7/1", tcp("fe80::1%eth0", 7, false), Some(1)),
            ("redis://[fe80::1%25eth0]", tcp("fe80::1%eth0", 6379, false), None),
            ("redis://", tcp("localhost", 6379, false), None),
            ("redis:///3", tcp("localhost", 6379, false), Some(3)),
            ("h:1", tcp("h", 1, false), None),
            ("redis:///run/redis.sock?db=4", Address::Unix("/run/redis.sock".into()), Some(4)),
            ("redis:///", tcp("localhost", 6379, false), None),
            ("unix:///run/a%20b.sock", Address::Unix("/run/a b.sock".into()), None),
        ] {
            let found = parse(url);
            assert_eq!((&found.address, found.db), (&address, db), "{url}");
        }
    }

    #[test]
    fn user_and_password_are_decoded_after_the_url_is_split() {
        let found = parse("redis://a%40b:p%2Fw%3A@h:1");
        assert_eq!(
            (found.username.as_deref(), found.password.as_deref()),
            (Some("a@b"), Some("p/w:"))
        );
        let found = parse("redis://:p@w/x@h:1/5");
        assert_eq!(
            (found.username, found.password.as_deref(), found.db),
            (None, Some("p@w/x"), Some(5))
        );
        let found = parse("unix://u:p@/sock?password=q");
        assert_eq!((found.username.as_deref(), found.password.as_deref()), (Some("u"), Some("q")));
    }

    #[test]
    fn list_is_split_as_in_django() {
        let found = locations(&["redis://a;redis://b:2", "redis://c , d:4"], None);
        let found: Vec<String> =
            found.expect("valid").iter().map(|location| location.address.to_string()).collect();
        assert_eq!(found, ["a:6379", "b:2", "c:6379", "d:4"]);
    }

    #[test]
    fn relative_socket_path_is_resolved_against_the_folder() {
        let found = locations(&["unix://run/s"], Some(Path::new("/etc"))).expect("valid");
        assert_eq!(found[0].address.to_string(), "unix:/etc/run/s");
    }

    #[test]
    fn invalid_url_error_hides_the_password() {
        for url in [
            "http://u:hunter2@h",
            "redis://u:hunter2@h:0",
            "redis://u:hunter2@h:port",
            "redis://u:hunter2@h/x",
            "redis://u:hunter2@h?timeout=3",
            "redis://u:hunter2@h?db=x",
        ] {
            let error = locations(&[url], None).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Config);
            let message = error.to_string();
            assert!(message.starts_with("LOCATION"), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert!(locations::<&str>(&[], None).is_err());
        let error = locations(&["localhost;6379"], None).expect_err("a misprint").to_string();
        assert!(error.contains("\"localhost:6379\", with a colon"), "{error}");
    }

    #[test]
    fn port_out_of_range_error_names_the_range() {
        for url in ["127.0.0.1:99999", "redis://u:hunter2@h:99999/0", "rediss://[::1]:99999"] {
            let error = locations(&[url], None).expect_err(url).to_string();
            assert!(error.contains("from 1 to 65535, found 99999 in \""), "{error}");
        }
    }

    #[test]
    fn unknown_url_parameter_error_names_it_and_the_known_ones() {
        let error = locations(&["redis://h?timeout=3"], None).expect_err("belongs in OPTIONS");
        let message = error.to_string();
        for fact in ["LOCATION", "timeout", "db", "username", "password", "OPTIONS"] {
            assert!(message.contains(fact), "{message}");
        }
    }
}
