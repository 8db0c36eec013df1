//! The header `Cookie`: whose cookies are in it, and what some of them say.

use http::{HeaderMap, header::COOKIE};

/// The cookies of a request: name and value, as bytes.
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

/// Names that sessions have, in lower case.
const USUAL: [&str; 6] =
    ["sid", "id", "connect.sid", "remember_me", "identity", "laravel_identity"];

/// Whether a cookie of this name looks like one that tells visitors apart.
pub(super) fn looks_like_a_session(name: &[u8]) -> bool {
    let bare = without(without(name, b"__host-"), b"__secure-");
    USUAL.iter().any(|usual| bare.eq_ignore_ascii_case(usual.as_bytes()))
        || [".sid", "_sid", "-sid"].iter().any(|end| ends_with(bare, end.as_bytes()))
        || (0..bare.len()).any(|start| begins_telling(&bare[start..]))
}

/// Whether a part of a name begins with what speaks of a visitor.
fn begins_telling(rest: &[u8]) -> bool {
    let part = match rest.first().map(u8::to_ascii_lowercase) {
        Some(b'a') => "auth",
        Some(b'j') => "jwt",
        Some(b'l') => "login",
        Some(b's') => "sess",
        Some(b't') => "token",
        Some(b'u') => "user",
        _ => return false,
    };
    begins_with(rest, part.as_bytes())
}

fn without<'a>(name: &'a [u8], prefix: &[u8]) -> &'a [u8] {
    if begins_with(name, prefix) { &name[prefix.len()..] } else { name }
}

fn begins_with(name: &[u8], part: &[u8]) -> bool {
    name.len() >= part.len() && name[..part.len()].eq_ignore_ascii_case(part)
}

fn ends_with(name: &[u8], part: &[u8]) -> bool {
    name.len() >= part.len() && name[name.len() - part.len()..].eq_ignore_ascii_case(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sessions_are_known_in_any_case() {
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
    fn cookies_of_all_lines_are_found_with_or_without_spaces_and_values() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=1;b = 2 ; c".parse().expect("a value"));
        headers.append(COOKIE, "d==".parse().expect("a value"));
        let found: Vec<_> = all(&headers).collect();
        let pair = |name: &'static str, value: &'static str| (name.as_bytes(), value.as_bytes());
        assert_eq!(found, [pair("a", "1"), pair("b", "2"), pair("c", ""), pair("d", "=")]);
    }
}
