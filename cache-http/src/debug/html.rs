//! Inserting into HTML pages.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
        CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, EXPIRES, LAST_MODIFIED,
        TRANSFER_ENCODING,
    },
    response,
};

use crate::cache_control::CacheControl;

/// Headers that describe the bytes of a page, or how long it may be kept.
const REMOVED: [HeaderName; 5] = [ACCEPT_RANGES, ETAG, EXPIRES, LAST_MODIFIED, TRANSFER_ENCODING];
/// Headers that proxies and content delivery networks follow instead of `Cache-Control`: [RFC 9213]
/// with the names of its targets, and those that are older.
///
/// [RFC 9213]: https://www.rfc-editor.org/rfc/rfc9213
const REMOVED_TARGETED: [&str; 4] =
    ["edge-control", "surrogate-control", "x-accel-expires", "x-litespeed-cache-control"];
const REMOVED_DIGESTS: [&str; 4] = ["content-digest", "content-md5", "digest", "repr-digest"];

/// Whether a response is a whole HTML page that may be changed.
pub(super) fn is_page(head: &response::Parts) -> bool {
    let headers = &head.headers;
    let text = |name: HeaderName| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_ascii_lowercase()
    };
    let media_type = text(CONTENT_TYPE);
    let media_type = media_type.split(';').next().unwrap_or_default();
    media_type.trim() == "text/html"
        && head.status != StatusCode::PARTIAL_CONTENT
        && !headers.contains_key(CONTENT_RANGE)
        && matches!(text(CONTENT_ENCODING).trim(), "" | "identity")
        && !text(CONTENT_DISPOSITION).trim_start().starts_with("attachment")
        && !CacheControl::from_headers(headers).has("no-transform")
}

/// Changes the headers of a page that something was inserted into. The page is for one request.
pub(super) fn change_headers(headers: &mut HeaderMap, length: usize) {
    REMOVED.iter().for_each(|name| drop(headers.remove(name)));
    REMOVED_DIGESTS.iter().for_each(|name| drop(headers.remove(*name)));
    REMOVED_TARGETED.iter().for_each(|name| drop(headers.remove(*name)));
    let is_targeted = |name: &&HeaderName| name.as_str().ends_with("cdn-cache-control");
    let targeted: Vec<_> = headers.keys().filter(is_targeted).cloned().collect();
    targeted.iter().for_each(|name| drop(headers.remove(name)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
}

/// Returns the nonce that the policy of a page has for `<style>`.
pub(super) fn style_nonce(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(CONTENT_SECURITY_POLICY).iter();
    let lines: Vec<_> = lines.filter_map(|line| line.to_str().ok()).collect();
    let directives = || lines.iter().flat_map(|line| line.split([';', ',']));
    ["style-src-elem", "style-src", "default-src"].into_iter().find_map(|wanted| {
        let mut found = directives().filter_map(|directive| {
            let mut words = directive.split_ascii_whitespace();
            words.next().filter(|name| name.eq_ignore_ascii_case(wanted)).map(|_| words)
        });
        found.find_map(|mut words| words.find_map(nonce))
    })
}

fn nonce(source: &str) -> Option<String> {
    let nonce = source.strip_prefix("'nonce-")?.strip_suffix('\'')?;
    let is_valid =
        nonce.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte));
    is_valid.then(|| nonce.to_owned())
}

/// The place of `</body>` in a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InsertionPoint(usize);

impl InsertionPoint {
    /// Finds the last `</body>`, unless it is inside of a script.
    pub(super) fn find(page: &[u8]) -> Option<Self> {
        const END_TAG: &[u8] = b"</body";
        let at = page.windows(END_TAG.len() + 1).rposition(|window| {
            let (name, next) = window.split_at(END_TAG.len());
            name.eq_ignore_ascii_case(END_TAG) && b"> \t\r\n\x0c/".contains(&next[0])
        })?;
        let rest = page[at..].to_ascii_lowercase();
        let position = |text: &[u8]| rest.windows(text.len()).position(|window| window == text);
        let is_in_script = match (position(b"<script"), position(b"</script")) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(start), Some(end)) => end < start,
        };
        (!is_in_script).then_some(Self(at))
    }

    pub(super) fn insert(&self, mut page: Vec<u8>, text: &str) -> Vec<u8> {
        page.splice(self.0..self.0, text.bytes());
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(page: &str) -> Option<usize> {
        InsertionPoint::find(page.as_bytes()).map(|point| point.0)
    }

    #[test]
    fn last_end_tag_of_the_body_is_found() {
        assert_eq!(find("<p></body></html>"), Some(3));
        assert_eq!(find("<script>'</body>'</script></BODY\n>"), Some(26));
        assert_eq!(find("</body><script>1</script>"), Some(0));
    }

    #[test]
    fn page_without_an_end_tag_of_the_body_has_no_insertion_point() {
        for page in ["", "<p>", "</bod", "</body", "</bodyguard>", "<script>'</body>'</script>"] {
            assert_eq!(find(page), None, "{page}");
        }
    }

    fn head(headers: &[(&'static str, &'static str)]) -> response::Parts {
        let mut response = http::Response::builder();
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).expect("valid headers").into_parts().0
    }

    #[test]
    fn only_whole_html_pages_that_may_be_changed_are_pages() {
        assert!(is_page(&head(&[("content-type", "Text/HTML; charset=utf-8")])));
        assert!(is_page(&head(&[("content-type", "text/html"), ("content-encoding", "identity")])));
        assert!(!is_page(&head(&[])));
        assert!(!is_page(&head(&[("content-type", "application/json")])));
        for header in [
            ("content-encoding", "gzip"),
            ("content-range", "bytes 0-1/9"),
            ("content-disposition", "attachment; filename=a.html"),
            ("cache-control", "no-transform"),
        ] {
            assert!(!is_page(&head(&[("content-type", "text/html"), header])), "{header:?}");
        }
        let mut partial = head(&[("content-type", "text/html")]);
        partial.status = StatusCode::PARTIAL_CONTENT;
        assert!(!is_page(&partial));
    }

    #[test]
    fn nonce_of_the_most_specific_directive_is_used() {
        let nonce = |policy| style_nonce(&head(&[("content-security-policy", policy)]).headers);
        assert_eq!(
            nonce("default-src 'nonce-a'; style-src 'self' 'nonce-b+/='"),
            Some("b+/=".into())
        );
        assert_eq!(nonce("default-src 'nonce-a'"), Some("a".into()));
        assert_eq!(nonce("script-src 'nonce-a'"), None);
        assert_eq!(nonce("style-src 'nonce-\">'"), None);
    }
}
