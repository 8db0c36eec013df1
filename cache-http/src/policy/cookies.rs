//! The header `Cookie`, and names that look like those of session cookies.

use http::{HeaderMap, header::COOKIE};

/// The names and values of the cookies of a request.
pub(super) fn all(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    pairs(headers).map(name_and_value)
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let pairs =
        headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

fn name_and_value(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(end) => (pair[..end].trim_ascii_end(), pair[end + 1..].trim_ascii_start()),
        None => (pair, &b""[..]),
    }
}

/// The cookies of a request after some of them are removed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remaining {
    /// Nothing is removed.
    All,
    /// The value of `Cookie` with the remaining cookies. It is empty if none remains.
    Some(Vec<u8>),
}

/// Removes the cookies whose names meet a condition.
pub(super) fn without(headers: &HeaderMap, is_removed: impl Fn(&[u8]) -> bool) -> Remaining {
    if !all(headers).any(|(name, _)| is_removed(name)) {
        return Remaining::All;
    }
    let mut line = Vec::new();
    for pair in pairs(headers).filter(|pair| !is_removed(name_and_value(pair).0)) {
        if !line.is_empty() {
            line.extend_from_slice(b"; ");
        }
        line.extend_from_slice(pair);
    }
    Remaining::Some(line)
}

/// Usual names of session cookies, in lower case.
const SESSION_NAMES: [&str; 14] = [
    "__ac",
    "_identity",
    "adminhtml",
    "cakephp",
    "cfid",
    "connect.sid",
    "dokuwiki",
    "frontend",
    "i_like_gitea",
    "id",
    "identity",
    "laravel_identity",
    "mojolicious",
    "sid",
];

/// The usual beginnings of names of session cookies, in lower case.
const SESSION_STARTS: [&str; 9] = [
    ".aspnet",
    "keycloak_",
    "mybb",
    "phpbb",
    "prestashop-",
    "remember",
    "smfcookie",
    "wordpress_",
    "wp-",
];

/// Whether a cookie of this name probably identifies a visitor.
pub(super) fn looks_like_a_session(name: &[u8]) -> bool {
    let bare = without_prefix(without_prefix(name, b"__host-"), b"__secure-");
    SESSION_NAMES.iter().any(|usual| bare.eq_ignore_ascii_case(usual.as_bytes()))
        || SESSION_STARTS.iter().any(|start| starts_with(bare, start.as_bytes()))
        || [".sid", "_sid", "-sid"].iter().any(|end| ends_with(bare, end.as_bytes()))
        // Phoenix: `_my_app_key`.
        || (starts_with(bare, b"_") && ends_with(bare, b"_key"))
        || is_hash(without_prefix(bare, b"dw"))
        || (0..bare.len()).any(|start| starts_with_session_word(&bare[start..]))
}

/// Whether a name is a hash in hexadecimal. DokuWiki and Joomla name their cookies like this.
fn is_hash(name: &[u8]) -> bool {
    name.len() >= 32 && name.iter().all(u8::is_ascii_hexdigit)
}

fn starts_with_session_word(rest: &[u8]) -> bool {
    let word = match rest.first().map(u8::to_ascii_lowercase) {
        Some(b'a') => "auth",
        Some(b'j') => "jwt",
        Some(b'l') => "login",
        Some(b's') => "sess",
        Some(b't') => "token",
        Some(b'u') => "user",
        _ => return false,
    };
    starts_with(rest, word.as_bytes())
}

fn without_prefix<'a>(name: &'a [u8], prefix: &[u8]) -> &'a [u8] {
    if starts_with(name, prefix) { &name[prefix.len()..] } else { name }
}

fn starts_with(name: &[u8], start: &[u8]) -> bool {
    name.len() >= start.len() && name[..start.len()].eq_ignore_ascii_case(start)
}

fn ends_with(name: &[u8], end: &[u8]) -> bool {
    name.len() >= end.len() && name[name.len() - end.len()..].eq_ignore_ascii_case(end)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn session_cookies_are_recognized_in_any_case() {
        for name in [
            "sessionid",
            "__Host-sessionid",
            "PHPSESSID",
            "JSESSIONID",
            "connect.sid",
            "id",
            "csrftoken",
            "X-Auth",
            "myJWT",
            "login_id",
            "for_user",
            "_my_app_key",
            "DW0123456789abcdef0123456789ABCDEF",
            "0123456789abcdef0123456789abcdef",
        ] {
            assert!(looks_like_a_session(name.as_bytes()), "{name}");
        }
        for name in
            ["_ga", "theme", "lang", "consent", "inside", "use", "a", "tooken", "my_key", "_key2"]
        {
            assert!(!looks_like_a_session(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn cookies_of_all_lines_are_parsed_with_or_without_spaces_and_values() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=1;b = 2 ; c".parse().expect("valid value"));
        headers.append(COOKIE, "d==".parse().expect("valid value"));
        let found: Vec<_> = all(&headers).collect();
        let pair = |name: &'static str, value: &'static str| (name.as_bytes(), value.as_bytes());
        assert_eq!(found, [pair("a", "1"), pair("b", "2"), pair("c", ""), pair("d", "=")]);
    }

    #[test]
    fn removal_keeps_the_other_cookies_as_they_were_sent() {
        let cookies = |lines: &[&'static str]| -> HeaderMap {
            lines.iter().map(|line| (COOKIE, HeaderValue::from_static(line))).collect()
        };
        let without_a = |lines| without(&cookies(lines), |name| name == b"a");
        let some = |line: &str| Remaining::Some(line.as_bytes().to_vec());
        assert_eq!(without_a(&["b=1;c = 2"]), Remaining::All);
        assert_eq!(without_a(&["a=1;b=1;c = 2"]), some("b=1; c = 2"));
        assert_eq!(without_a(&["b=1; a", "c==; a = 2"]), some("b=1; c=="));
        assert_eq!(without_a(&["a=1; a=2"]), some(""));
    }
}
