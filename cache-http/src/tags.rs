//! The tags of pages, from the layer and from responses.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{extensions::CacheTags, policy::Reason, settings::Settings};

/// The maximum number of tags of a page. Each has an entry in the store, which hits read.
const MAX_TAGS: usize = 64;
/// The maximum length of a tag, in bytes.
const MAX_LENGTH: usize = 1024;

/// Headers whose tags are separated by white space. In others, they are separated by commas.
const SEPARATED_BY_SPACE: [HeaderName; 2] =
    [HeaderName::from_static("surrogate-key"), HeaderName::from_static("xkey")];

/// Returns the tags of a page, sorted and without duplicates.
///
/// # Errors
///
/// Returns [`Reason::Tags`] if there are too many, or if one is too long or not UTF-8. Without all
/// of its tags, the page must not be stored: a purge would not reach it.
pub(crate) fn page_tags(
    settings: &Settings,
    headers: &HeaderMap,
    added: Option<&CacheTags>,
) -> Result<Vec<String>, Reason> {
    let added = added.map(|tags| &*tags.0).unwrap_or_default();
    let mut tags: Vec<String> = settings.tags.iter().chain(added).cloned().collect();
    for name in settings.policy.headers_with_tags() {
        for line in headers.get_all(name) {
            add_tags(&mut tags, name, line)?;
        }
    }
    tags.sort_unstable();
    tags.dedup();
    let is_too_long = |tag: &String| tag.len() > MAX_LENGTH;
    if tags.len() > MAX_TAGS || tags.iter().any(is_too_long) {
        return Err(Reason::Tags);
    }
    Ok(tags)
}

fn add_tags(tags: &mut Vec<String>, name: &HeaderName, line: &HeaderValue) -> Result<(), Reason> {
    let line = str::from_utf8(line.as_bytes()).map_err(|_| Reason::Tags)?;
    if SEPARATED_BY_SPACE.contains(name) {
        tags.extend(line.split_ascii_whitespace().map(str::to_owned));
    } else {
        let parts = line.split(',').map(str::trim_ascii).filter(|tag| !tag.is_empty());
        tags.extend(parts.map(str::to_owned));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(name: &'static str, line: &'static str) -> Vec<String> {
        let mut tags = Vec::new();
        let (name, line) = (HeaderName::from_static(name), HeaderValue::from_static(line));
        add_tags(&mut tags, &name, &line).expect("UTF-8");
        tags
    }

    #[test]
    fn surrogate_keys_are_separated_by_space_and_other_tags_by_commas() {
        assert_eq!(tags("surrogate-key", " a  b,c\td "), ["a", "b,c", "d"]);
        assert_eq!(tags("xkey", "a b"), ["a", "b"]);
        assert_eq!(tags("cache-tag", " a b ,,c, "), ["a b", "c"]);
        assert_eq!(tags("shop-tags", "a,b"), ["a", "b"]);
        assert!(tags("cache-tag", "").is_empty());
    }

    #[test]
    fn tags_that_are_not_utf_8_are_rejected() {
        let line = HeaderValue::from_bytes(b"a\xff").expect("opaque");
        let name = HeaderName::from_static("cache-tag");
        assert_eq!(add_tags(&mut Vec::new(), &name, &line), Err(Reason::Tags));
        let line = HeaderValue::from_bytes("täg".as_bytes()).expect("opaque");
        let mut tags = Vec::new();
        assert_eq!(add_tags(&mut tags, &name, &line), Ok(()));
        assert_eq!(tags, ["täg"]);
    }
}
