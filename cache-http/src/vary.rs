//! The header `Vary`: which of the request's headers a response depends on (RFC 9110, section 12.5.5).

use http::{HeaderMap, HeaderName, header};

/// What a response varies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// On something that is in no header, or on what cannot be read: no other request can be answered with it.
    Any,
    /// On these headers: in order, each once. Often none.
    Headers(Vec<HeaderName>),
}

impl Vary {
    /// All lines of `Vary` together. A `*` anywhere, or a name that is none, means [`Anything`](Self::Any).
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for line in headers.get_all(header::VARY) {
            for member in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                if member.is_empty() {
                    continue;
                }
                match HeaderName::from_bytes(member) {
                    Ok(name) if name.as_str() != "*" => names.push(name),
                    _ => return Self::Any,
                }
            }
        }
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        Self::Headers(names)
    }
}

/// What a request has under a name, for comparison: its lines trimmed and combined; `None` where the header is absent,
/// which is not the same as empty. Cookies, which HTTP/2 sends one by one, are those of one line of HTTP/1.1.
pub(crate) fn combined_value(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(name).iter().map(|line| line.as_bytes().trim_ascii());
    let mut all = lines.next()?.to_vec();
    let separator = if name == header::COOKIE { b"; " } else { b", " };
    for line in lines {
        all.extend_from_slice(separator);
        all.extend_from_slice(line);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn vary(lines: &[&'static str]) -> Vary {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::VARY, HeaderValue::from_static(line));
        }
        Vary::from_headers(&headers)
    }

    #[test]
    fn all_lines_count_and_order_case_and_repetition_do_not() {
        assert_eq!(vary(&["B, a", " b ,,C"]), vary(&["a,b,c"]));
        assert_eq!(vary(&[]), Vary::Headers(Vec::new()));
    }

    #[test]
    fn a_star_anywhere_means_anything() {
        for lines in [&["*"][..], &["a, *"], &["a", " * "], &["*,a"]] {
            assert_eq!(vary(lines), Vary::Any, "{lines:?}");
        }
    }

    #[test]
    fn a_name_that_is_none_means_anything() {
        assert_eq!(vary(&["a b"]), Vary::Any);
    }

    #[test]
    fn lines_are_combined_and_absent_is_not_empty() {
        let mut headers = HeaderMap::new();
        let name = HeaderName::from_static("x-a");
        assert_eq!(combined_value(&headers, &name), None);
        headers.append(&name, HeaderValue::from_static(""));
        assert_eq!(combined_value(&headers, &name).as_deref(), Some(&b""[..]));
        headers.append(&name, HeaderValue::from_static(" b "));
        assert_eq!(combined_value(&headers, &name).as_deref(), Some(&b", b"[..]));
    }

    #[test]
    fn cookies_are_the_same_one_by_one_and_all_in_a_line() {
        let of = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| (header::COOKIE, HeaderValue::from_static(line)));
            combined_value(&lines.collect(), &header::COOKIE)
        };
        assert_eq!(of(&["a=1", "b=2"]), of(&["a=1; b=2"]));
    }
}
