//! The header `Cache-Control`, read leniently and written strictly.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderValue, header::HeaderName};

/// The largest number of seconds that is told apart: RFC 9111, section 1.2.2, has larger ones become 2^31.
pub const MAX_SECONDS: u64 = 1 << 31;

/// The directives of a `Cache-Control`, in their order. Names are in lower case.
///
/// ```
/// use std::time::Duration;
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
    /// Without its quotes.
    value: Option<String>,
}

/// What a directive of seconds says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seconds {
    /// It is not there.
    Absent,
    /// It is there, and is no number: to be taken for zero.
    Invalid,
    /// Of several, the smallest; at most [`MAX_SECONDS`].
    Value(u64),
}

impl Seconds {
    /// The duration; zero where it is invalid, `None` where it is absent.
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
    /// No directive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All lines of `Cache-Control` together.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::from_field(headers, &http::header::CACHE_CONTROL)
    }

    /// All lines of a header that is written like `Cache-Control`.
    #[must_use]
    pub fn from_field(headers: &HeaderMap, name: &HeaderName) -> Self {
        let mut all = Self::new();
        for line in headers.get_all(name) {
            all.directives.extend(parse(line));
        }
        all
    }

    /// Whether there is no directive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.directives.is_empty()
    }

    /// Whether the directive is there, with a value or without. `name` is in lower case.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.directives.iter().any(|directive| directive.name == name)
    }

    /// Whether the directive is there without a value.
    #[must_use]
    pub fn has_bare(&self, name: &str) -> bool {
        self.directives.iter().any(|directive| directive.name == name && directive.value.is_none())
    }

    /// The seconds that a directive gives. Of several, the least; and if one of them is no number, none is believed.
    #[must_use]
    pub fn seconds(&self, name: &str) -> Seconds {
        let mut least = Seconds::Absent;
        for directive in self.directives.iter().filter(|directive| directive.name == name) {
            least = match (least, directive.seconds()) {
                (Seconds::Invalid, _) | (_, None) => Seconds::Invalid,
                (Seconds::Absent, Some(seconds)) => Seconds::Value(seconds),
                (Seconds::Value(least), Some(seconds)) => Seconds::Value(least.min(seconds)),
            };
        }
        least
    }

    /// `public`: any cache may store it. Takes the place of `private`.
    #[must_use]
    pub fn public(self) -> Self {
        self.with("public", None)
    }

    /// `private`: only the browser's cache may store it. Takes the place of `public`.
    #[must_use]
    pub fn private(self) -> Self {
        self.with("private", None)
    }

    /// `no-cache`: every use is to be validated.
    #[must_use]
    pub fn no_cache(self) -> Self {
        self.with("no-cache", None)
    }

    /// `no-store`: nobody may store it.
    #[must_use]
    pub fn no_store(self) -> Self {
        self.with("no-store", None)
    }

    /// `must-revalidate`: never to be served stale.
    #[must_use]
    pub fn must_revalidate(self) -> Self {
        self.with("must-revalidate", None)
    }

    /// `immutable`: no need to validate it while it is fresh (RFC 8246).
    #[must_use]
    pub fn immutable(self) -> Self {
        self.with("immutable", None)
    }

    /// `max-age`, in whole seconds.
    #[must_use]
    pub fn max_age(self, age: Duration) -> Self {
        self.with_seconds("max-age", age)
    }

    /// `s-maxage`, in whole seconds: the lifetime in shared caches.
    #[must_use]
    pub fn s_maxage(self, age: Duration) -> Self {
        self.with_seconds("s-maxage", age)
    }

    /// `stale-while-revalidate`, in whole seconds (RFC 5861).
    #[must_use]
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.with_seconds("stale-while-revalidate", window)
    }

    /// `stale-if-error`, in whole seconds (RFC 5861).
    #[must_use]
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.with_seconds("stale-if-error", window)
    }

    /// A directive by name, with a value or without, put in by [Django's rules](Self::patch).
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        self.put(Directive { name: directive_name(name), value: value.map(str::to_owned) });
        self
    }

    /// Puts the directives of `other` in, by the rules of
    /// [Django's `patch_cache_control`](https://docs.djangoproject.com/en/5.2/ref/utils/#django.utils.cache.patch_cache_control):
    /// the smaller `max-age` wins; `public` and `private` drive each other out; `no-cache` collects the names of fields,
    /// unless it once has none; otherwise the later value wins.
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
            "no-cache" => new.value = self.more_fields(new.value),
            _ => {}
        }
        match self.directives.iter().position(|old| old.name == new.name) {
            Some(place) => {
                self.directives[place].value = new.value;
                let name = self.directives[place].name.clone();
                let mut lookup = 0;
                self.directives.retain(|directive| {
                    lookup += usize::from(directive.name == name);
                    directive.name != name || lookup == 1
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

    fn more_fields(&self, new: Option<String>) -> Option<String> {
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

    /// The header's value; `None` where there is no directive.
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

/// A directive's name as it is compared: also Django's keyword arguments, whose underscores are hyphens.
fn directive_name(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Digits and nothing else; what is too large is the largest.
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

/// One line. Never fails: what is no directive is one that nobody asks for.
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

/// What stands between commas, those in quotes aside.
pub(crate) fn members(text: &str) -> Vec<&str> {
    split_unquoted(text, b',')
}

/// The parts between separators that are not within quotes.
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

    fn read(lines: &[&'static str]) -> CacheControl {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("cache-control", HeaderValue::from_static(line));
        }
        CacheControl::from_headers(&headers)
    }

    #[test]
    fn names_are_read_in_any_case_and_spacing() {
        let header = read(&["  NO-Store ,Max-Age = 60,,\tPUBLIC"]);
        assert!(header.has("no-store") && header.has("public"));
        assert_eq!(header.seconds("max-age"), Seconds::Value(60));
    }

    #[test]
    fn a_comma_in_quotes_separates_nothing() {
        let header = read(&[r#"no-cache="a, no-store", x="\", private", max-age="7""#]);
        assert!(!header.has("no-store") && !header.has("private"));
        assert_eq!(header.seconds("max-age"), Seconds::Value(7));
    }

    #[test]
    fn all_lines_count() {
        let header = read(&["public", "max-age=5"]);
        assert!(header.has("public"));
        assert_eq!(header.seconds("max-age"), Seconds::Value(5));
    }

    #[test]
    fn of_several_the_least_counts_and_one_that_is_no_number_spoils_all() {
        assert_eq!(
            read(&["max-age=9, max-age=5", "max-age=7"]).seconds("max-age"),
            Seconds::Value(5)
        );
        for invalid in [
            "max-age='60'",
            "max-age=-1",
            "max-age=1.5",
            "max-age",
            "max-age=",
            "max-age=+1",
            "max-age=5, max-age=x",
        ] {
            assert_eq!(read(&[invalid]).seconds("max-age"), Seconds::Invalid, "{invalid}");
        }
    }

    #[test]
    fn what_overflows_is_the_largest() {
        assert_eq!(
            read(&["max-age=99999999999999999999999"]).seconds("max-age"),
            Seconds::Value(MAX_SECONDS)
        );
        assert_eq!(read(&["max-age=2147483649"]).seconds("max-age"), Seconds::Value(MAX_SECONDS));
    }

    #[test]
    fn a_header_is_written_as_it_reads() {
        let line = r#"no-cache="a, b", max-age=60, x="q\"q", public"#;
        let header = read(&[line]);
        assert_eq!(header.to_string(), line);
    }

    #[test]
    fn the_smaller_max_age_wins() {
        let minute = |header: CacheControl| header.max_age(Duration::from_secs(60)).to_string();
        assert_eq!(minute(read(&["max-age=30"])), "max-age=30");
        assert_eq!(minute(read(&["max-age=90"])), "max-age=60");
        assert_eq!(minute(read(&["max-age=x"])), "max-age=0");
    }

    #[test]
    fn public_and_private_drive_each_other_out() {
        assert_eq!(read(&["private, max-age=1"]).public().to_string(), "max-age=1, public");
        assert_eq!(read(&["public"]).private().to_string(), "private");
    }

    #[test]
    fn no_cache_collects_fields_until_it_has_none() {
        let two = read(&[r#"no-cache="a""#]).with("no_cache", Some("B, A"));
        assert_eq!(two.to_string(), r#"no-cache="a, B""#);
        assert_eq!(two.no_cache().with("no-cache", Some("c")).to_string(), "no-cache");
    }

    #[test]
    fn a_later_value_replaces_all_earlier_ones_in_the_place_of_the_first() {
        let header = read(&["s-maxage=1, public, s-maxage=2"]).s_maxage(Duration::from_secs(3));
        assert_eq!(header.to_string(), "s-maxage=3, public");
    }
}
