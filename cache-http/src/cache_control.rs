//! The header `Cache-Control` (RFC 9111, section 5.2). It is parsed leniently and written strictly.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderValue, header::HeaderName};

/// The largest number of seconds in a directive: 2^31. Larger numbers are replaced by it (RFC 9111,
/// section 1.2.2).
pub const MAX_SECONDS: u64 = 1 << 31;

/// The directives of a `Cache-Control`, in their order. Names are in lower case.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use cache_http::CacheControl;
///
/// let header = CacheControl::new().public().max_age(Duration::from_secs(60));
/// assert_eq!(header.to_string(), "public, max-age=60");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    directives: Vec<Directive>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Directive {
    name: String,
    /// The value without its quotes.
    value: Option<String>,
}

/// The value of a directive in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seconds {
    /// The directive is absent.
    Absent,
    /// The directive is present, and its value is not a number. It counts as zero.
    Invalid,
    /// The value, at most [`MAX_SECONDS`]. If there are several, the smallest.
    Value(u64),
}

impl Seconds {
    /// Returns the duration: zero if the value is invalid, `None` if the directive is absent.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        match self {
            Self::Absent => None,
            Self::Invalid => Some(Duration::ZERO),
            Self::Value(seconds) => Some(Duration::from_secs(seconds)),
        }
    }
}

impl CacheControl {
    /// Creates a header without directives.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses all lines of `Cache-Control`.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::from_field(headers, &http::header::CACHE_CONTROL)
    }

    /// Parses all lines of a header that has the syntax of `Cache-Control`.
    #[must_use]
    pub fn from_field(headers: &HeaderMap, name: &HeaderName) -> Self {
        let mut all = Self::new();
        for line in headers.get_all(name) {
            all.directives.extend(parse(line));
        }
        all
    }

    /// Returns `true` if there are no directives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.directives.is_empty()
    }

    /// Returns `true` if the directive is present, with or without a value. `name` is in lower
    /// case.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.directives.iter().any(|directive| directive.name == name)
    }

    /// Returns `true` if the directive is present without a value. `name` is in lower case.
    #[must_use]
    pub fn has_bare(&self, name: &str) -> bool {
        self.directives.iter().any(|directive| directive.name == name && directive.value.is_none())
    }

    /// Returns the value of a directive in seconds.
    ///
    /// If there are several values, returns the smallest, or [`Seconds::Invalid`] if one of them is
    /// not a number.
    #[must_use]
    pub fn seconds(&self, name: &str) -> Seconds {
        let mut smallest = Seconds::Absent;
        for directive in self.directives.iter().filter(|directive| directive.name == name) {
            smallest = match (smallest, directive.seconds()) {
                (Seconds::Invalid, _) | (_, None) => Seconds::Invalid,
                (Seconds::Absent, Some(seconds)) => Seconds::Value(seconds),
                (Seconds::Value(least), Some(seconds)) => Seconds::Value(least.min(seconds)),
            };
        }
        smallest
    }

    /// Adds `public`, which allows every cache to store the response. Replaces `private`.
    #[must_use]
    pub fn public(self) -> Self {
        self.with("public", None)
    }

    /// Adds `private`, which allows only browsers to store the response. Replaces `public`.
    #[must_use]
    pub fn private(self) -> Self {
        self.with("private", None)
    }

    /// Adds `no-cache`: the response must be validated each time it is used.
    #[must_use]
    pub fn no_cache(self) -> Self {
        self.with("no-cache", None)
    }

    /// Adds `no-store`: the response must not be stored.
    #[must_use]
    pub fn no_store(self) -> Self {
        self.with("no-store", None)
    }

    /// Adds `must-revalidate`: the response must not be served stale.
    #[must_use]
    pub fn must_revalidate(self) -> Self {
        self.with("must-revalidate", None)
    }

    /// Adds `immutable`: the response need not be validated while it is fresh (RFC 8246).
    #[must_use]
    pub fn immutable(self) -> Self {
        self.with("immutable", None)
    }

    /// Adds `max-age`, in whole seconds.
    #[must_use]
    pub fn max_age(self, age: Duration) -> Self {
        self.with_seconds("max-age", age)
    }

    /// Adds `s-maxage`, the lifetime in shared caches, in whole seconds.
    #[must_use]
    pub fn s_maxage(self, age: Duration) -> Self {
        self.with_seconds("s-maxage", age)
    }

    /// Adds `stale-while-revalidate`, in whole seconds (RFC 5861, section 3).
    #[must_use]
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.with_seconds("stale-while-revalidate", window)
    }

    /// Adds `stale-if-error`, in whole seconds (RFC 5861, section 4).
    #[must_use]
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.with_seconds("stale-if-error", window)
    }

    /// Adds a directive by name, as [`patch`](Self::patch) does.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        self.put(Directive { name: directive_name(name), value: value.map(str::to_owned) });
        self
    }

    /// Adds the directives of `other`, as Django's [`patch_cache_control`] does.
    ///
    /// - The smaller `max-age` is kept.
    /// - `public` and `private` replace each other.
    /// - `no-cache` collects field names, until it is added without any.
    /// - Otherwise the new value replaces the old one.
    ///
    /// [`patch_cache_control`]: https://docs.djangoproject.com/en/5.2/ref/utils/
    pub fn patch(&mut self, other: &Self) {
        for directive in &other.directives {
            self.put(directive.clone());
        }
    }

    fn put(&mut self, mut new: Directive) {
        match &*new.name {
            "public" => self.remove("private"),
            "private" => self.remove("public"),
            "max-age" => new.value = self.smaller_max_age(new.value),
            "no-cache" => new.value = self.merged_no_cache(new.value),
            _ => {}
        }
        match self.directives.iter().position(|old| old.name == new.name) {
            Some(index) => {
                self.directives[index].value = new.value;
                let name = self.directives[index].name.clone();
                let mut count = 0;
                self.directives.retain(|directive| {
                    count += usize::from(directive.name == name);
                    directive.name != name || count == 1
                });
            }
            None => self.directives.push(new),
        }
    }

    fn smaller_max_age(&self, new: Option<String>) -> Option<String> {
        match self.seconds("max-age") {
            Seconds::Absent => new,
            Seconds::Invalid => Some("0".to_owned()),
            Seconds::Value(old) => match new.as_deref().and_then(seconds) {
                Some(new) => Some(old.min(new).to_string()),
                None => Some("0".to_owned()),
            },
        }
    }

    fn merged_no_cache(&self, new: Option<String>) -> Option<String> {
        let new = new?;
        let mut fields = Vec::<String>::new();
        let old = self.directives.iter().filter(|directive| directive.name == "no-cache");
        for list in old.map(|directive| directive.value.as_deref()).chain([Some(&*new)]) {
            for field in list?.split(',').map(str::trim).filter(|field| !field.is_empty()) {
                if !fields.iter().any(|known| known.eq_ignore_ascii_case(field)) {
                    fields.push(field.to_owned());
                }
            }
        }
        Some(fields.join(", "))
    }

    fn remove(&mut self, name: &str) {
        self.directives.retain(|directive| directive.name != name);
    }

    fn with_seconds(self, name: &str, duration: Duration) -> Self {
        let seconds = duration.as_secs().min(MAX_SECONDS).to_string();
        self.with(name, Some(&seconds))
    }

    /// Returns the header value, or `None` if there are no directives.
    #[must_use]
    pub fn to_value(&self) -> Option<HeaderValue> {
        if self.is_empty() {
            return None;
        }
        HeaderValue::from_str(&self.to_string()).ok()
    }
}

impl Directive {
    fn seconds(&self) -> Option<u64> {
        self.value.as_deref().and_then(seconds)
    }
}

/// Normalizes the name of a directive. Accepts Django's keyword arguments, in which hyphens are
/// underscores.
fn directive_name(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Parses seconds, which consist of digits only. Numbers that are too large become [`MAX_SECONDS`].
fn seconds(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS))
}

impl fmt::Display for CacheControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, directive) in self.directives.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{directive}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            None => f.write_str(&self.name),
            Some(value) if is_token(value) => write!(f, "{}={value}", self.name),
            Some(value) => {
                write!(f, "{}=\"", self.name)?;
                for letter in value.chars() {
                    match letter {
                        '"' | '\\' => write!(f, "\\{letter}")?,
                        letter => write!(f, "{letter}")?,
                    }
                }
                f.write_str("\"")
            }
        }
    }
}

fn is_token(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Parses one line. This never fails: malformed members become directives that match no name.
fn parse(line: &HeaderValue) -> Vec<Directive> {
    let text = String::from_utf8_lossy(line.as_bytes());
    members(&text).into_iter().filter_map(directive).collect()
}

fn directive(member: &str) -> Option<Directive> {
    let member = member.trim();
    if member.is_empty() {
        return None;
    }
    let (name, value) = match member.split_once('=') {
        Some((name, value)) => (name, Some(unquoted(value.trim()))),
        None => (member, None),
    };
    Some(Directive { name: name.trim().to_ascii_lowercase(), value })
}

/// Splits a list at its commas, except those within quotes.
pub(crate) fn members(text: &str) -> Vec<&str> {
    split_unquoted(text, b',')
}

/// Splits a text at each separator that is not within quotes.
pub(crate) fn split_unquoted(text: &str, separator: u8) -> Vec<&str> {
    let (mut members, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if byte == separator && !quoted => {
                members.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    members.push(&text[start..]);
    members
}

fn unquoted(value: &str) -> String {
    let Some(inside) = value.strip_prefix('"') else { return value.to_owned() };
    let (mut text, mut letters) = (String::with_capacity(inside.len()), inside.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => text.extend(letters.next()),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&'static str]) -> CacheControl {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("cache-control", HeaderValue::from_static(line));
        }
        CacheControl::from_headers(&headers)
    }

    #[test]
    fn directives_are_parsed_in_any_case_and_spacing() {
        let header = parse(&["  NO-Store ,Max-Age = 60,,\tPUBLIC"]);
        assert!(header.has("no-store") && header.has("public"));
        assert_eq!(header.seconds("max-age"), Seconds::Value(60));
    }

    #[test]
    fn quoted_comma_does_not_separate_directives() {
        let header = parse(&[r#"no-cache="a, no-store", x="\", private", max-age="7""#]);
        assert!(!header.has("no-store") && !header.has("private"));
        assert_eq!(header.seconds("max-age"), Seconds::Value(7));
    }

    #[test]
    fn all_lines_are_parsed() {
        let header = parse(&["public", "max-age=5"]);
        assert!(header.has("public"));
        assert_eq!(header.seconds("max-age"), Seconds::Value(5));
    }

    #[test]
    fn smallest_of_several_values_counts_unless_one_is_invalid() {
        let smallest = parse(&["max-age=9, max-age=5", "max-age=7"]).seconds("max-age");
        assert_eq!(smallest, Seconds::Value(5));
        for invalid in [
            "max-age='60'",
            "max-age=-1",
            "max-age=1.5",
            "max-age",
            "max-age=",
            "max-age=+1",
            "max-age=5, max-age=x",
        ] {
            assert_eq!(parse(&[invalid]).seconds("max-age"), Seconds::Invalid, "{invalid}");
        }
    }

    #[test]
    fn overflowing_seconds_become_the_maximum() {
        for line in ["max-age=99999999999999999999999", "max-age=2147483649"] {
            assert_eq!(parse(&[line]).seconds("max-age"), Seconds::Value(MAX_SECONDS), "{line}");
        }
    }

    #[test]
    fn parsed_header_is_written_unchanged() {
        let line = r#"no-cache="a, b", max-age=60, x="q\"q", public"#;
        let header = parse(&[line]);
        assert_eq!(header.to_string(), line);
    }

    #[test]
    fn smaller_max_age_is_kept() {
        let minute = |header: CacheControl| header.max_age(Duration::from_secs(60)).to_string();
        assert_eq!(minute(parse(&["max-age=30"])), "max-age=30");
        assert_eq!(minute(parse(&["max-age=90"])), "max-age=60");
        assert_eq!(minute(parse(&["max-age=x"])), "max-age=0");
    }

    #[test]
    fn public_and_private_replace_each_other() {
        assert_eq!(parse(&["private, max-age=1"]).public().to_string(), "max-age=1, public");
        assert_eq!(parse(&["public"]).private().to_string(), "private");
    }

    #[test]
    fn no_cache_collects_fields_until_it_has_none() {
        let two = parse(&[r#"no-cache="a""#]).with("no_cache", Some("B, A"));
        assert_eq!(two.to_string(), r#"no-cache="a, B""#);
        assert_eq!(two.no_cache().with("no-cache", Some("c")).to_string(), "no-cache");
    }

    #[test]
    fn new_value_replaces_all_old_ones_at_the_position_of_the_first() {
        let header = parse(&["s-maxage=1, public, s-maxage=2"]).s_maxage(Duration::from_secs(3));
        assert_eq!(header.to_string(), "s-maxage=3, public");
    }
}
