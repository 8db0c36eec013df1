//! The header `Cookie`, and names that look like those of session cookies.

use http::{HeaderMap, header::COOKIE};

/// The names and values of the cookies of a request.
pub(super) fn all(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs =
        headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()).map(|pair| {
        match pair.iter().position(|byte| *byte == b'=') {
            Some(end) => (pair[..end].trim_ascii_end(), pair[end + 1..].trim_ascii_start()),
            None => (pair, &b""[..]),
        }
    })
}

/// Usual names of session cookies, in lower case.
const SESSION_NAMES: [&str; 6] =
    ["sid", "id", "connect.sid", "remember_me", "identity", "laravel_identity"];

/// Whether a cookie of this name probably identifies a visitor.
pub(super) fn looks_like_a_session(name: &[u8]) -> bool {
    let bare = without_prefix(without_prefix(name, b"__host-"), b"__secure-");
    SESSION_NAMES.iter().any(|usual| bare.eq_ignore_ascii_case(usual.as_bytes()))
        || [".sid", "_sid", "-sid"].iter().any(|end| ends_with(bare, end.as_bytes()))
        || (0..bare.len()).any(|start| starts_with_session_word(&bare[start..]))
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
        ] {
            assert!(looks_like_a_session(name.as_bytes()), "{name}");
        }
        for name in ["_ga", "theme", "lang", "consent", "inside", "use", "a", "tooken"] {
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
}
