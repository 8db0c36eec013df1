//! The header `Vary` (RFC 9110, section 12.5.5).

use http::{HeaderMap, HeaderName, header};

/// The request headers that a response depends on.
///
/// # Examples
///
/// ```
/// use cache_http::Vary;
/// use http::{HeaderMap, header};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("vary", "Cookie, Accept".parse().unwrap());
/// let names = vec![header::ACCEPT, header::COOKIE];
/// assert_eq!(Vary::from_headers(&headers), Vary::Headers(names));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// The response depends on something other than headers, or the header is invalid. The response
    /// must not be used for another request.
    Any,
    /// The response depends on these headers, which are sorted and have no duplicates. The list is
    /// often empty.
    Headers(Vec<HeaderName>),
}

impl Vary {
    /// Parses all lines of `Vary`.
    ///
    /// Returns [`Vary::Any`] if a member is `*` or an invalid name.
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

/// Returns the value of a request header for comparison: its lines, trimmed and combined. Returns
/// `None` if the header is absent, which differs from an empty header.
///
/// HTTP/2 may send each cookie in a line of its own. They are combined as in HTTP/1.1 (RFC 9113,
/// section 8.2.3).
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
    fn all_lines_count_regardless_of_order_case_and_repetition() {
        assert_eq!(vary(&["B, a", " b ,,C"]), vary(&["a,b,c"]));
        assert_eq!(vary(&[]), Vary::Headers(Vec::new()));
    }

    #[test]
    fn star_anywhere_means_any() {
        for lines in [&["*"][..], &["a, *"], &["a", " * "], &["*,a"]] {
            assert_eq!(vary(lines), Vary::Any, "{lines:?}");
        }
    }

    #[test]
    fn invalid_name_means_any() {
        assert_eq!(vary(&["a b"]), Vary::Any);
    }

    #[test]
    fn lines_are_combined_and_absent_differs_from_empty() {
        let mut headers = HeaderMap::new();
        let name = HeaderName::from_static("x-a");
        assert_eq!(combined_value(&headers, &name), None);
        headers.append(&name, HeaderValue::from_static(""));
        assert_eq!(combined_value(&headers, &name).as_deref(), Some(&b""[..]));
        headers.append(&name, HeaderValue::from_static(" b "));
        assert_eq!(combined_value(&headers, &name).as_deref(), Some(&b", b"[..]));
    }

    #[test]
    fn cookies_in_separate_lines_equal_cookies_in_one_line() {
        let cookies = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| (header::COOKIE, HeaderValue::from_static(line)));
            combined_value(&lines.collect(), &header::COOKIE)
        };
        assert_eq!(cookies(&["a=1", "b=2"]), cookies(&["a=1; b=2"]));
    }
}
