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

/// What of the value of a request header has no meaning (RFC 9111, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// A list: white space around commas.
    List,
    /// A list of names with parameters: white space around commas and semicolons, and the case of
    /// names.
    NamesWithParameters,
}

/// Removes from a value what has no meaning. What is quoted stays as it is, and so does the order
/// of members, which a server may interpret as a preference (RFC 9110, section 12.5.4).
pub(crate) fn normalize(value: &mut Vec<u8>, syntax: Syntax) {
    let has_names = syntax == Syntax::NamesWithParameters;
    let (mut length, mut after_separator, mut in_parameters) = (0, true, false);
    let (mut quoted, mut escaped) = (false, false);
    for index in 0..value.len() {
        let byte = value[index];
        let is_separator = !quoted && (byte == b',' || has_names && byte == b';');
        let is_space = !quoted && (byte == b' ' || byte == b'\t');
        if is_space && after_separator {
            continue;
        }
        (quoted, escaped) = match byte {
            _ if escaped => (quoted, false),
            b'\\' if quoted => (quoted, true),
            b'"' => (!quoted, false),
            _ => (quoted, false),
        };
        if is_separator {
            length = value[..length].trim_ascii_end().len();
            in_parameters = byte == b';';
        }
        after_separator = is_separator;
        let is_name = has_names && !quoted && !in_parameters;
        value[length] = if is_name { byte.to_ascii_lowercase() } else { byte };
        length += 1;
    }
    value.truncate(length);
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

    fn normalized(value: &str, syntax: Syntax) -> String {
        let mut value = value.as_bytes().to_vec();
        normalize(&mut value, syntax);
        String::from_utf8(value).expect("UTF-8")
    }

    #[test]
    fn white_space_around_separators_is_removed() {
        for (value, list, names) in [
            ("", "", ""),
            ("1, 2", "1,2", "1,2"),
            ("1 ,\t2 ,, 3", "1,2,,3", "1,2,,3"),
            ("a b ; c , d", "a b ; c,d", "a b;c,d"),
            ("\"a , b\" , c", "\"a , b\",c", "\"a , b\",c"),
            ("\"a\\\" , b\" , c", "\"a\\\" , b\",c", "\"a\\\" , b\",c"),
            ("\"a , b", "\"a , b", "\"a , b"),
        ] {
            assert_eq!(normalized(value, Syntax::List), list);
            assert_eq!(normalized(value, Syntax::NamesWithParameters), names);
        }
    }

    #[test]
    fn only_names_are_written_in_lower_case() {
        let value = "Text/HTML;Level=A, \"Q\", EN-us;q=0.5,De";
        assert_eq!(
            normalized(value, Syntax::NamesWithParameters),
            "text/html;Level=A,\"Q\",en-us;q=0.5,de"
        );
        assert_eq!(normalized("A, B", Syntax::List), "A,B");
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
