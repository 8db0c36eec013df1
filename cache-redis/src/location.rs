//! LOCATION: the URLs of servers.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use cache_core::{
    Error, Result,
    config::{invalid_setting, redact_setting},
};
use cache_net::split_host_port;
use percent_encoding::percent_decode_str;

const PORT: u16 = 6379;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

/// As it is told in errors.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a URL says of a server. It does not show its password.
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

/// The servers of LOCATION: a list, each of whose texts may be one as well, with `,` or `;` between, as in Django.
/// Relative paths of sockets start at `folder`.
pub(crate) fn locations<T: AsRef<str>>(
    texts: &[T],
    folder: Option<&Path>,
) -> Result<Vec<Location>> {
    let urls = texts.iter().flat_map(|text| text.as_ref().split([',', ';'])).map(str::trim);
    let found: Vec<Location> = urls
        .filter(|url| !url.is_empty())
        .map(|url| location(url, folder))
        .collect::<Result<_>>()?;
    if found.is_empty() {
        return Err(invalid_setting("LOCATION", "none", EXPECTED));
    }
    Ok(found)
}

const EXPECTED: &str = "the URL of a server: \"redis://user:password@host:6379/0\", \"rediss://…\" for an encrypted \
                        connection, or \"unix:///path/of/socket?db=0\"";

fn location(url: &str, folder: Option<&Path>) -> Result<Location> {
    let wrong = || invalid_setting("LOCATION", &format!("{:?}", redact_setting(url)), EXPECTED);
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A password may hold anything, so it ends at the last one.
    let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (username, password) = user.split_once(':').unwrap_or((user, ""));
    let tls = match &*scheme.to_ascii_lowercase() {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        "unix" => {
            let found = Location {
                address: socket(place, folder).ok_or_else(wrong)?,
                ..no_one(username, password)?
            };
            return with_query(found, query);
        }
        _ => return Err(wrong()),
    };
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let db = match path.trim_end_matches('/') {
        "" => None,
        number => number.parse().ok(),
    };
    let is_socket = host.is_empty() && db.is_none() && !path.is_empty();
    if !is_socket && db.is_none() && !path.is_empty() {
        return Err(wrong());
    }
    let address = if is_socket { socket(place, folder) } else { tcp(host, tls) };
    with_query(
        Location { address: address.ok_or_else(wrong)?, db, ..no_one(username, password)? },
        query,
    )
}

/// A location that is nowhere yet.
fn no_one(username: &str, password: &str) -> Result<Location> {
    Ok(Location {
        address: Address::Unix(PathBuf::new()),
        db: None,
        username: decoded(username)?,
        password: decoded(password)?,
    })
}

fn socket(path: &str, folder: Option<&Path>) -> Option<Address> {
    let path = percent_decode_str(path).decode_utf8().ok().filter(|path| !path.is_empty())?;
    Some(Address::Unix(folder.map_or_else(|| PathBuf::from(&*path), |folder| folder.join(&*path))))
}

fn tcp(place: &str, tls: bool) -> Option<Address> {
    let (host, port) = split_host_port(place)?;
    let host = if host.is_empty() { "localhost" } else { host };
    Some(Address::Tcp { host: host.into(), port: port.unwrap_or(PORT), tls })
}

/// What stands behind the `?` goes before what stands before it, as in redis-py.
fn with_query(mut location: Location, query: &str) -> Result<Location> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong = |found: &str, expected| {
            Err(invalid_setting(&format!("LOCATION, its ?{name}"), found, expected))
        };
        match name {
            "db" => match value.parse() {
                Ok(db) => location.db = Some(db),
                Err(_) => return wrong(&format!("{value:?}"), "a whole number of at least 0"),
            },
            "username" => location.username = decoded(value)?,
            "password" => location.password = decoded(value)?,
            _ => return wrong("it", "db, username or password here, and all else in OPTIONS"),
        }
    }
    Ok(location)
}

/// It may be a secret, so an error does not show it.
fn decoded(text: &str) -> Result<Option<String>> {
    if text.is_empty() {
        return Ok(None);
    }
    let no_text = |_| -> Error {
        invalid_setting("LOCATION", "no UTF-8 in the user or password", "UTF-8, percent-encoded")
    };
    percent_decode_str(text).decode_utf8().map(|text| Some(text.into_owned())).map_err(no_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(url: &str) -> Location {
        locations(&[url], None).expect(url).remove(0)
    }

    fn tcp(host: &str, port: u16, tls: bool) -> Address {
        Address::Tcp { host: host.into(), port, tls }
    }

    #[test]
    fn a_url_tells_host_port_and_database() {
        for (url, address, db) in [
            ("redis://h", tcp("h", 6379, false), None),
            ("redis://h:1/2", tcp("h", 1, false), Some(2)),
            ("rediss://h:1/", tcp("h", 1, true), None),
            ("valkeys://h", tcp("h", 6379, true), None),
            ("redis://[::1]:7/1", tcp("::1", 7, false), Some(1)),
            ("redis://", tcp("localhost", 6379, false), None),
            ("redis:///3", tcp("localhost", 6379, false), Some(3)),
            ("h:1", tcp("h", 1, false), None),
            ("redis:///run/redis.sock?db=4", Address::Unix("/run/redis.sock".into()), Some(4)),
            ("unix:///run/a%20b.sock", Address::Unix("/run/a b.sock".into()), None),
        ] {
            let found = one(url);
            assert_eq!((&found.address, found.db), (&address, db), "{url}");
        }
    }

    #[test]
    fn user_and_password_are_decoded_after_they_were_taken_apart() {
        let found = one("redis://a%40b:p%2Fw%3A@h:1");
        assert_eq!(
            (found.username.as_deref(), found.password.as_deref()),
            (Some("a@b"), Some("p/w:"))
        );
        let found = one("redis://:p@w/x@h:1/5");
        assert_eq!(
            (found.username, found.password.as_deref(), found.db),
            (None, Some("p@w/x"), Some(5))
        );
        let found = one("unix://u:p@/sock?password=q");
        assert_eq!((found.username.as_deref(), found.password.as_deref()), (Some("u"), Some("q")));
    }

    #[test]
    fn a_list_is_split_as_in_django() {
        let found =
            locations(&["redis://a;redis://b:2", "redis://c , d:4"], None).expect("it is fine");
        let found: Vec<String> =
            found.iter().map(|location| location.address.to_string()).collect();
        assert_eq!(found, ["a:6379", "b:2", "c:6379", "d:4"]);
    }

    #[test]
    fn a_relative_socket_starts_at_the_folder() {
        let found = locations(&["unix://run/s"], Some(Path::new("/etc"))).expect("it is fine");
        assert_eq!(found[0].address.to_string(), "unix:/etc/run/s");
    }

    #[test]
    fn what_is_no_server_is_told_without_its_password() {
        for url in [
            "http://u:hunter2@h",
            "redis://u:hunter2@h:0",
            "redis://u:hunter2@h:port",
            "redis://u:hunter2@h/x",
        ] {
            let told = locations(&[url], None).expect_err(url).to_string();
            assert!(told.starts_with("LOCATION: found ") && !told.contains("hunter2"), "{told}");
        }
        assert!(locations::<&str>(&[], None).is_err());
        let told =
            locations(&["redis://h?timeout=3"], None).expect_err("it is an option").to_string();
        assert_eq!(
            told,
            "LOCATION, its ?timeout: found it, expected db, username or password here, and all else in OPTIONS"
        );
    }
}
