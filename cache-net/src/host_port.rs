//! The `host:port` part of an address.

use std::net::Ipv6Addr;

/// Splits `host`, `host:port`, `[IPv6]` or `[IPv6]:port` into the host, without brackets, and the
/// port.
///
/// An IPv6 address may have a zone, as in `[fe80::1%eth0]`: see [`ipv6_host`].
///
/// Returns `None` if the port is not a number from 1 to 65535, if the host contains a slash, an at
/// sign, a space, a bracket, or a colon outside brackets, or if the text between brackets is not an
/// IPv6 address. The host may be empty, which is for the caller to judge.
#[must_use]
pub fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']')? {
            (host, _) if ipv6_host(host).is_none() => return None,
            (host, "") => (host, None),
            (host, port) => (host, Some(port.strip_prefix(':')?)),
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.contains(['/', '@', ' ', '[', ']']) {
        return None;
    }
    match port {
        Some(port) => Some((host, Some(port.parse().ok().filter(|port| *port > 0)?))),
        None => Some((host, None)),
    }
}

/// Returns an IPv6 address as resolvers expect it, or `None` if the host is something else.
///
/// A zone, the network interface of a link-local address, follows after a percent sign, or after
/// `%25` as in a URL (RFC 6874, section 2).
#[must_use]
pub fn ipv6_host(host: &str) -> Option<String> {
    let (address, zone) = match host.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (host, None),
    };
    address.parse::<Ipv6Addr>().ok()?;
    let Some(zone) = zone else { return Some(address.to_owned()) };
    let zone = zone.strip_prefix("25").filter(|zone| !zone.is_empty()).unwrap_or(zone);
    let is_name = |byte: u8| byte.is_ascii_graphic() && !b"%/[]@".contains(&byte);
    (!zone.is_empty() && zone.bytes().all(is_name)).then(|| format!("{address}%{zone}"))
}

/// Returns the port of `host:port` if it is a number, but not one from 1 to 65535.
///
/// For the error of an address that [`split_host_port`] rejects.
#[must_use]
pub fn port_out_of_range(text: &str) -> Option<&str> {
    let (host, port) = text.rsplit_once(':')?;
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    let is_in_range = port.parse::<u16>().is_ok_and(|port| port > 0);
    (is_number && is_host && !is_in_range).then_some(port)
}

/// Returns `host:port` if a list of servers contains a port without a host, which is probably a
/// misprint of a colon: `127.0.0.1;11211`.
#[must_use]
pub fn misprinted_port<'a>(servers: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut previous = None;
    for server in servers {
        let is_number = !server.is_empty() && server.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && let Some(host) = previous {
            return Some(format!("{host}:{server}"));
        }
        previous = Some(server).filter(|server| !server.is_empty());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_without_a_host_is_a_misprint() {
        for (servers, expected) in [
            (&["127.0.0.1", "11211"][..], Some("127.0.0.1:11211")),
            (&["a:1", "b", "2"], Some("b:2")),
            (&["a:1", "b:2"], None),
            (&["11211"], None),
            (&["10.0.0.1", "10.0.0.2"], None),
        ] {
            let found = misprinted_port(servers.iter().copied());
            assert_eq!(found.as_deref(), expected, "{servers:?}");
        }
    }

    #[test]
    fn host_and_port_are_split() {
        for (text, expected) in [
            ("h", ("h", None)),
            ("h:1", ("h", Some(1))),
            ("[::1]", ("::1", None)),
            ("[::1]:7", ("::1", Some(7))),
            ("[fe80::1%eth0]:7", ("fe80::1%eth0", Some(7))),
            ("", ("", None)),
            (":7", ("", Some(7))),
        ] {
            assert_eq!(split_host_port(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn zone_may_be_escaped() {
        for (host, expected) in [
            ("::1", Some("::1")),
            ("fe80::1%eth0", Some("fe80::1%eth0")),
            ("fe80::1%25eth0", Some("fe80::1%eth0")),
            ("fe80::1%25", Some("fe80::1%25")),
            ("fe80::1%", None),
            ("127.0.0.1%eth0", None),
            ("h", None),
        ] {
            assert_eq!(ipv6_host(host).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn port_out_of_range_is_found() {
        for (text, expected) in [
            ("h:65536", Some("65536")),
            ("[::1]:99999999999999999999", Some("99999999999999999999")),
            (":0", Some("0")),
            ("h:65535", None),
            ("h:x", None),
            ("h:", None),
            ("h", None),
            ("::1:99999", None),
        ] {
            assert_eq!(port_out_of_range(text), expected, "{text}");
        }
    }

    #[test]
    fn malformed_address_is_rejected() {
        for text in [
            "h:",
            "[h]:1",
            "[]",
            "[::1%]:7",
            "[::1%a%b]:7",
            "[::1%a/b]:7",
            "h:0",
            "h:x",
            "h:65536",
            "::1:7",
            "[::1",
            "[::1]7",
            "[::1]:",
            "a/b:1",
            "a b",
            "a]:1",
            "u@h",
        ] {
            assert_eq!(split_host_port(text), None, "{text}");
        }
    }
}
