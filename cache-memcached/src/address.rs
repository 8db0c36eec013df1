//! Parsing of LOCATION.

use std::{fmt, path::PathBuf};

use cache_core::{
    Result,
    config::{invalid_setting, redact_setting},
};
use cache_net::{ipv6_host, misprinted_port, port_out_of_range, split_host_port};

const DEFAULT_PORT: u16 = 11211;

/// The address of one server.
///
/// `Display` writes the name that pymemcache uses for the server, `host:port` or the path of a Unix
/// socket. It is used in messages and for the placement of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// Parses all servers of a LOCATION. Each string may contain several, separated by `,` or `;`.
pub(crate) fn parse_all<S: AsRef<str>>(location: &[S]) -> Result<Vec<Address>> {
    let parts = location.iter().flat_map(|text| text.as_ref().split([',', ';'])).map(str::trim);
    if let Some(server) = misprinted_port(parts.clone()) {
        let expected = format!("{server:?}, with a colon");
        return Err(invalid_setting("LOCATION", "a port without a host", &expected));
    }
    let mut addresses = Vec::new();
    for part in parts {
        let address = Address::parse(part)?;
        if addresses.contains(&address) {
            let found = format!("{address} twice");
            return Err(invalid_setting("LOCATION", &found, "each server once"));
        }
        addresses.push(address);
    }
    if addresses.is_empty() {
        return Err(invalid_setting("LOCATION", "none", EXPECTED));
    }
    Ok(addresses)
}

const EXPECTED: &str = "servers as \"host:port\", \"[IPv6]:port\" or \"unix:/path\", as a list or \
                        separated by \",\" or \";\"";

impl Address {
    fn parse(text: &str) -> Result<Self> {
        let invalid = || {
            let found = format!("{:?}", redact_setting(text));
            match port_out_of_range(text) {
                Some(_) => invalid_setting("LOCATION", &found, "a port from 1 to 65535"),
                None => invalid_setting("LOCATION", &found, EXPECTED),
            }
        };
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.starts_with('/') {
            return Ok(Self::Unix(path.into()));
        }
        let (host, port) = split_host_port(text).ok_or_else(invalid)?;
        if host.is_empty() {
            return Err(invalid());
        }
        let host = ipv6_host(host).unwrap_or_else(|| host.into());
        Ok(Self::Tcp { host, port: port.unwrap_or(DEFAULT_PORT) })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use cache_core::ErrorKind;

    use super::*;

    fn names(location: &[&str]) -> Vec<String> {
        let addresses = parse_all(location).expect("location should be valid");
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn location_is_a_list_or_a_separated_string() {
        let expected =
            ["a:1", "b:2", "c:11211", "::1:4", "fe80::1%eth0:11211", "/run/mc.sock", "/other"];
        let all = ["a:1", "b:2", "c", "[::1]:4", "[fe80::1%eth0]", "unix:/run/mc.sock", "/other"];
        assert_eq!(names(&all), expected);
        assert_eq!(names(&[&all.join(",")]), expected);
        assert_eq!(names(&[&all[..3].join(" ; "), &all[3..].join(", ")]), expected);
    }

    #[test]
    fn invalid_location_is_rejected_and_redacted() {
        for (location, found) in [
            (&["a:port"][..], "found \"a:port\""),
            (&["a:1,,b:1"], "found \"\""),
            (&["::1:11211"], "found \"::1:11211\""),
            (&["[a]:1"], "found \"[a]:1\""),
            (&["a:0"], "found \"a:0\""),
            (&["127.0.0.1:99999"], "a port from 1 to 65535, found \"127.0.0.1:99999\""),
            (&["[::1]:0"], "found \"[::1]:0\""),
            (&["http://a:1"], "found \"http://a:1\""),
            (&["ada:hunter2@host:1"], "found \"***@host:1\""),
            (&["a:1", "a:1"], "found a:1 twice"),
            (&["127.0.0.1;11211"], "expected \"127.0.0.1:11211\", with a colon"),
            (&[], "found none"),
        ] {
            let error = parse_all(location).expect_err("location should be rejected");
            assert_eq!(error.kind(), ErrorKind::Config);
            let message = error.to_string();
            assert!(message.starts_with("LOCATION: ") && message.contains(found), "{message}");
        }
    }
}
