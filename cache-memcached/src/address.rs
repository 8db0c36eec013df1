//! Where a server listens, as LOCATION says it.

use std::{fmt, net::Ipv6Addr, path::PathBuf};

use cache_core::{
    Result,
    config::{invalid_setting, redact_setting},
};
use cache_net::split_host_port;

const DEFAULT_PORT: u16 = 11211;

/// One server. Displays as it is called in messages and in placement, which is what pymemcache calls it: `host:port`, or
/// the path of a unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// Every server of a LOCATION: each of its texts may hold several, with `,` or `;` between them.
pub(crate) fn read_all<S: AsRef<str>>(location: &[S]) -> Result<Vec<Address>> {
    let parts = location.iter().flat_map(|text| text.as_ref().split([',', ';']));
    let mut addresses = Vec::new();
    for part in parts {
        let address = Address::read(part.trim())?;
        if addresses.contains(&address) {
            return Err(invalid_setting(
                "LOCATION",
                &format!("{address} twice"),
                "each server once",
            ));
        }
        addresses.push(address);
    }
    if addresses.is_empty() {
        return Err(invalid_setting("LOCATION", "none", EXPECTED));
    }
    Ok(addresses)
}

const EXPECTED: &str = "servers as \"host:port\", \"[IPv6]:port\" or \"unix:/path\", several of them as a list or with \",\" or \
                        \";\" between them";

impl Address {
    fn read(text: &str) -> Result<Self> {
        let wrong =
            || invalid_setting("LOCATION", &format!("{:?}", redact_setting(text)), EXPECTED);
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.starts_with('/') {
            return Ok(Self::Unix(path.into()));
        }
        let (host, port) = split_host_port(text).ok_or_else(wrong)?;
        if host.is_empty() || text.starts_with('[') && host.parse::<Ipv6Addr>().is_err() {
            return Err(wrong());
        }
        Ok(Self::Tcp { host: host.into(), port: port.unwrap_or(DEFAULT_PORT) })
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
    use super::*;

    fn names(location: &[&str]) -> Vec<String> {
        read_all(location).expect("it is fine").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn servers_come_in_a_list_or_in_one_text() {
        let expected = ["a:1", "b:2", "c:11211", "::1:4", "::1:11211", "/run/mc.sock", "/other"];
        let all = ["a:1", "b:2", "c", "[::1]:4", "[::1]", "unix:/run/mc.sock", "/other"];
        assert_eq!(names(&all), expected);
        assert_eq!(names(&[&all.join(",")]), expected);
        assert_eq!(names(&[&all[..3].join(" ; "), &all[3..].join(", ")]), expected);
    }

    #[test]
    fn what_is_no_server_is_told_with_what_would_be_right() {
        for (location, found) in [
            (&["a:port"][..], "found \"a:port\""),
            (&["a:1,,b:1"], "found \"\""),
            (&["::1:11211"], "found \"::1:11211\""),
            (&["[a]:1"], "found \"[a]:1\""),
            (&["a:0"], "found \"a:0\""),
            (&["[::1]:0"], "found \"[::1]:0\""),
            (&["http://a:1"], "found \"http://a:1\""),
            (&["ada:hunter2@host:1"], "found \"***@host:1\""),
            (&["a:1", "a:1"], "found a:1 twice"),
            (&[], "found none"),
        ] {
            let told = read_all(location).expect_err("a mistake").to_string();
            assert!(told.starts_with(&format!("LOCATION: {found}, expected ")), "{told}");
        }
    }
}
