//! Composing the key that a store receives from the key of a caller.

use std::{fmt, sync::Arc};

use arrayvec::ArrayString;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};
use sha2::{Digest, Sha256};

use crate::{Error, ErrorKind, Result};

/// The maximum length of a key in Django's rule and in memcached, in characters.
pub const MAX_KEY_CHARS: usize = 250;

/// The VERSION part of a composed key: a number or a name.
///
/// The version `~` is reserved for cachette's own records, such as locks. A name that begins with
/// `~` is therefore written with one more `~` in keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// A number, which [`incr_version`](crate::CacheHandle::incr_version) can increment.
    Number(i64),
    /// A name, such as that of a release.
    Name(Arc<str>),
}

impl Default for Version {
    fn default() -> Self {
        Self::Number(1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VersionVisitor;

        impl Visitor<'_> for VersionVisitor {
            type Value = Version;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or a string")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Version, E> {
                Ok(Version::Number(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Version, E> {
                let too_large = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
                number.try_into().map(Version::Number).map_err(too_large)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Version, E> {
                Ok(text.into())
            }
        }

        deserializer.deserialize_any(VersionVisitor)
    }
}

impl From<i64> for Version {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Version {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Version {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// Converts a string that is a number to that number, which composes the same key.
impl From<&str> for Version {
    fn from(text: &str) -> Self {
        match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Self::Number(number),
            _ => Self::Name(text.into()),
        }
    }
}

impl From<String> for Version {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

/// Composes the key that a store receives from the caller's key, the KEY_PREFIX and the VERSION.
///
/// See [Django's
/// page](https://docs.djangoproject.com/en/5.2/topics/cache/#cache-key-transformation).
///
/// # Examples
///
/// ```
/// use cache_core::{KeyFunction, Version};
///
/// let shout = KeyFunction::custom(|key, prefix, version| {
///     format!("{prefix}/{version}/{}", key.to_uppercase())
/// });
/// assert_eq!(shout.compose("greeting", "shop", &Version::from(2)), "shop/2/GREETING");
///
/// assert_eq!(KeyFunction::Default.compose("greeting", "", &Version::from(1)), ":1:greeting");
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum KeyFunction {
    /// `prefix:version:key`, as in Django.
    #[default]
    Default,
    /// Like [`Default`](Self::Default), but replaces keys that some stores reject by a digest:
    /// `prefix:version:sha256-<64 hex digits>`.
    ///
    /// These are keys longer than 250 bytes and keys with characters other than visible ASCII. An
    /// application can then move from any store to any other.
    Hashed,
    /// A custom function. See [`custom`](Self::custom).
    Custom(Arc<CustomFunction>),
}

type CustomFunction = dyn Fn(&str, &str, &Version) -> String + Send + Sync;

impl KeyFunction {
    /// Creates a custom key function.
    ///
    /// The function receives the key, the prefix and the version, in Django's order. It must return
    /// different keys for different arguments.
    pub fn custom(
        function: impl Fn(&str, &str, &Version) -> String + Send + Sync + 'static,
    ) -> Self {
        Self::Custom(Arc::new(function))
    }

    /// Returns the common start of all composed keys with this prefix, or `None` for a custom
    /// function.
    ///
    /// # Examples
    ///
    /// ```
    /// use cache_core::KeyFunction;
    ///
    /// assert_eq!(KeyFunction::Default.common_prefix("shop").as_deref(), Some("shop:"));
    /// assert_eq!(KeyFunction::custom(|key, _, _| key.into()).common_prefix("shop"), None);
    /// ```
    #[must_use]
    pub fn common_prefix(&self, prefix: &str) -> Option<String> {
        match self {
            Self::Default | Self::Hashed => Some(format!("{prefix}:")),
            Self::Custom(_) => None,
        }
    }

    /// Composes a key.
    #[must_use]
    pub fn compose(&self, key: &str, prefix: &str, version: &Version) -> String {
        let mut composed = String::new();
        Composer::new(self.clone(), prefix, version.clone()).compose(key, &mut composed);
        composed
    }
}

impl fmt::Debug for KeyFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "Default",
            Self::Hashed => "Hashed",
            Self::Custom(_) => "Custom",
        })
    }
}

/// What to do with a composed key that breaks Django's rule for portable keys.
///
/// A key breaks [the rule](https://docs.djangoproject.com/en/5.2/topics/cache/#cache-key-warnings)
/// if it has more than 250 characters, or if it contains a control character or a space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyCheck {
    /// Log a `tracing` warning and continue.
    #[default]
    Warn,
    /// Return [`ErrorKind::InvalidKey`] before anything is read or written.
    Error,
    /// Do not check keys.
    Off,
}

impl KeyCheck {
    #[inline]
    pub(crate) fn apply(self, composed: &str) -> Result<()> {
        if self == Self::Off {
            return Ok(());
        }
        problem_of(composed).map_or(Ok(()), |problem| self.report(composed, problem))
    }

    #[cold]
    fn report(self, composed: &str, problem: &str) -> Result<()> {
        if self == Self::Error {
            let message = format!("the key {} {problem}", shown(composed));
            return Err(Error::new(ErrorKind::InvalidKey, message));
        }
        tracing::warn!(key = %shown(composed), "the cache key {problem}: some stores reject it");
        Ok(())
    }
}

/// Formats a key for a message: quoted, and truncated to 250 characters.
pub(crate) fn shown(key: &str) -> String {
    match key.char_indices().nth(MAX_KEY_CHARS) {
        Some((end, _)) => format!("{:?}… of {} bytes", &key[..end], key.len()),
        None => format!("{key:?}"),
    }
}

fn problem_of(composed: &str) -> Option<&'static str> {
    if has_control_or_space(composed.as_bytes()) {
        return Some("contains a control character or a space");
    }
    let too_long = composed.len() > MAX_KEY_CHARS && composed.chars().count() > MAX_KEY_CHARS;
    too_long.then_some("is longer than 250 characters")
}

/// Checks eight bytes at a time. The last eight overlap with the ones before.
#[inline]
fn has_control_or_space(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk() else {
        return text.iter().any(|&byte| byte <= b' ' || byte == 0x7F);
    };
    let (words, _) = text.as_chunks();
    words.iter().fold(marks_of_others(*last), |marks, word| marks & marks_of_others(*word)) != MARKS
}

/// The highest bit of each byte.
const MARKS: u64 = u64::from_ne_bytes([1 << 7; 8]);

/// Marks the bytes that are neither a control character nor a space by their highest bit.
///
/// Without it, the bytes that are follow each other if one is added modulo 2^7: 0 is DELETE, and 1
/// to 0x21 are NUL to space. No sum carries into the next byte.
#[inline]
fn marks_of_others(word: [u8; 8]) -> u64 {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let word = u64::from_ne_bytes(word);
    let next = ((word & !MARKS) + EACH) & !MARKS;
    ((next + EACH * (0x80 - 0x22)) | word) & MARKS
}

/// The VERSION of cachette's own records, such as locks. No entry of an application has it.
const RESERVED: &str = "~";

/// Returns the version as it is written in keys: a name that begins with `~` has one more, so that
/// it differs from [`RESERVED`].
fn written(version: &Version) -> Version {
    match version {
        Version::Name(name) if name.starts_with(RESERVED) => {
            Version::Name(format!("{RESERVED}{name}").into())
        }
        _ => version.clone(),
    }
}

/// A composed key on the stack. Longer ones need a buffer.
pub(crate) type ShortKey = ArrayString<128>;

/// A key function with its prefix and version, and the head of all keys, composed once.
#[derive(Clone, Debug)]
pub(crate) struct Composer {
    function: KeyFunction,
    prefix: Box<str>,
    version: Version,
    /// The version in keys.
    written: Version,
    head: Box<str>,
    /// Whether the head followed by a short and valid key keeps Django's rule.
    joins_cleanly: bool,
}

impl Composer {
    pub(crate) fn new(function: KeyFunction, prefix: &str, version: Version) -> Self {
        let written = written(&version);
        let head: Box<str> = format!("{prefix}:{written}:").into();
        let joins_cleanly =
            matches!(function, KeyFunction::Default) && !has_control_or_space(head.as_bytes());
        Self { function, prefix: prefix.into(), version, written, head, joins_cleanly }
    }

    pub(crate) fn with_version(&self, version: Version) -> Self {
        Self::new(self.function.clone(), &self.prefix, version)
    }

    /// Returns a composer of entries of a generation, which [`Clear::Generation`] replaces.
    ///
    /// It only composes entries. Records of cachette itself belong to no generation.
    ///
    /// [`Clear::Generation`]: crate::Clear::Generation
    pub(crate) fn in_generation(&self, generation: u64) -> Self {
        let prefix = format!("{}:g{generation:016x}", self.prefix);
        Self::new(self.function.clone(), &prefix, self.version.clone())
    }

    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns what all composed keys begin with, or `None` if that does not distinguish them from
    /// other keys.
    ///
    /// Keys that were replaced by a digest are among them, unless the digest covers the head.
    pub(crate) fn listed_head(&self) -> Option<String> {
        match self.function {
            KeyFunction::Default => Some(self.head.to_string()),
            KeyFunction::Hashed => is_visible_ascii(&self.head).then(|| self.head.to_string()),
            KeyFunction::Custom(_) => None,
        }
    }

    /// Returns whether a composed key may have this prefix, in whatever version and generation.
    pub(crate) fn may_have_composed(&self, composed: &str) -> bool {
        match self.function {
            KeyFunction::Default | KeyFunction::Hashed => {
                let rest = composed.strip_prefix(&*self.prefix);
                rest.is_some_and(|rest| rest.starts_with(':'))
            }
            KeyFunction::Custom(_) => true,
        }
    }

    /// Returns `true` if the composed key is known to keep Django's rule. `false` means unknown.
    ///
    /// Cheaper than checking the composed key.
    #[inline]
    pub(crate) fn surely_keeps_the_rule(&self, key: &str) -> bool {
        self.joins_cleanly
            && self.joined_length(key) <= MAX_KEY_CHARS
            && !has_control_or_space(key.as_bytes())
    }

    /// Composes a key that is short and surely keeps Django's rule. Returns `false` for others.
    #[inline]
    pub(crate) fn compose_short(&self, key: &str, out: &mut ShortKey) -> bool {
        self.surely_keeps_the_rule(key)
            && out.try_push_str(&self.head).is_ok()
            && out.try_push_str(key).is_ok()
    }

    /// The length of the composed key, unless the key function changes the key.
    pub(crate) fn joined_length(&self, key: &str) -> usize {
        self.head.len() + key.len()
    }

    /// Appends the composed key to `out`.
    #[inline]
    pub(crate) fn compose(&self, key: &str, out: &mut String) {
        match &self.function {
            KeyFunction::Default => self.join(key, out),
            _ => self.compose_otherwise(key, out),
        }
    }

    /// Appends a key that is composed by another function than the default one.
    fn compose_otherwise(&self, key: &str, out: &mut String) {
        match &self.function {
            KeyFunction::Custom(function) => {
                out.push_str(&function(key, &self.prefix, &self.written));
            }
            KeyFunction::Hashed if !is_portable(&self.head, key) => self.join_digest(key, out),
            KeyFunction::Hashed | KeyFunction::Default => self.join(key, out),
        }
    }

    /// Composes the key of a record of cachette itself, such as `shop:~:lock:report`.
    ///
    /// It differs from the key of every entry, whatever the key function, and every store accepts
    /// it if it accepts short keys with this prefix.
    pub(crate) fn record(&self, name: &str) -> String {
        let reserved = Version::Name(RESERVED.into());
        if let KeyFunction::Custom(function) = &self.function {
            let composed = function(name, &self.prefix, &reserved);
            if is_portable("", &composed) {
                return composed;
            }
            let mut digest = String::with_capacity(DIGEST_LENGTH);
            push_digest("", name, &mut digest);
            return function(&digest, &self.prefix, &reserved);
        }
        let head = format!("{}:{RESERVED}:", self.prefix).into();
        let mut composed = String::new();
        Self { function: KeyFunction::Hashed, head, ..self.clone() }.compose(name, &mut composed);
        composed
    }

    /// Composes the `side` of a lease of a composed key: see [`Ask::Any`](crate::Ask::Any).
    ///
    /// The prefix is not repeated, unless a custom function may put it elsewhere.
    pub(crate) fn lease_side(&self, composed: &str) -> String {
        let without_prefix = match &self.function {
            KeyFunction::Custom(_) => None,
            KeyFunction::Default | KeyFunction::Hashed => {
                composed.strip_prefix(&*self.prefix).and_then(|rest| rest.strip_prefix(':'))
            }
        };
        self.record(&format!("lease:{}", without_prefix.unwrap_or(composed)))
    }

    #[inline]
    fn join(&self, key: &str, out: &mut String) {
        out.reserve(self.joined_length(key));
        out.push_str(&self.head);
        out.push_str(key);
    }

    /// Keeps the head readable if every store accepts it. Otherwise the digest covers it as well,
    /// and the result has no ":", so that it differs from every joined key.
    fn join_digest(&self, key: &str, out: &mut String) {
        if is_visible_ascii(&self.head) && self.head.len() + DIGEST_LENGTH <= MAX_KEY_CHARS {
            out.push_str(&self.head);
            push_digest("", key, out);
        } else {
            push_digest(&self.head, key, out);
        }
    }
}

const DIGEST_MARK: &str = "sha256-";
const DIGEST_LENGTH: usize = DIGEST_MARK.len() + 64;

/// Returns whether every store accepts the key.
///
/// A key that looks like a digest counts as not portable, so that it cannot equal the digest of
/// another key.
fn is_portable(head: &str, key: &str) -> bool {
    head.len() + key.len() <= MAX_KEY_CHARS
        && is_visible_ascii(head)
        && is_visible_ascii(key)
        && !key.starts_with(DIGEST_MARK)
}

fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn push_digest(head: &str, key: &str, out: &mut String) {
    let digest = Sha256::new().chain_update(head).chain_update(key).finalize();
    out.push_str(DIGEST_MARK);
    for byte in digest {
        out.extend(
            [byte >> 4, byte & 15].map(|half| char::from(b"0123456789abcdef"[usize::from(half)])),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(key: &str) -> String {
        KeyFunction::Hashed.compose(key, "shop", &Version::from(1))
    }

    #[test]
    fn default_function_composes_like_django() {
        let compose = |prefix, version| KeyFunction::Default.compose("k", prefix, &version);
        assert_eq!(compose("", Version::default()), ":1:k");
        assert_eq!(compose("shop", Version::from("v2")), "shop:v2:k");
    }

    #[test]
    fn short_key_is_composed_like_any_other() {
        let composer = Composer::new(KeyFunction::Default, "shop", Version::default());
        let longest = 128 - "shop:1:".len();
        for length in [0, 1, longest] {
            let (key, mut short, mut composed) =
                ("k".repeat(length), ShortKey::new(), String::new());
            composer.compose(&key, &mut composed);
            assert!(composer.compose_short(&key, &mut short));
            assert_eq!(&*short, composed);
        }
        let is_short =
            |composer: &Composer, key: &str| composer.compose_short(key, &mut ShortKey::new());
        assert!(!is_short(&composer, &"k".repeat(longest + 1)));
        assert!(!is_short(&composer, "two words"));
        let hashed = Composer::new(KeyFunction::Hashed, "shop", Version::default());
        assert!(!is_short(&hashed, "k"));
    }

    #[test]
    fn head_of_listed_keys_is_known_unless_a_function_hides_it() {
        let head = |function: KeyFunction, prefix| {
            Composer::new(function, prefix, Version::from(2)).listed_head()
        };
        assert_eq!(head(KeyFunction::Default, "two words").as_deref(), Some("two words:2:"));
        assert_eq!(head(KeyFunction::Hashed, "shop").as_deref(), Some("shop:2:"));
        assert_eq!(head(KeyFunction::Hashed, "two words"), None, "the digest covers it");
        assert_eq!(head(KeyFunction::custom(|key, _, _| key.into()), "shop"), None);
    }

    #[test]
    fn hashed_function_keeps_portable_keys() {
        assert_eq!(hashed("user:42"), "shop:1:user:42");
    }

    #[test]
    fn hashed_function_digests_keys_that_some_stores_reject() {
        for key in ["two words", "new\nline", "naïve", &"x".repeat(244)] {
            let composed = hashed(key);
            assert!(composed.starts_with("shop:1:sha256-"), "{composed}");
            assert_eq!(composed.len(), "shop:1:".len() + DIGEST_LENGTH);
        }
    }

    #[test]
    fn digest_is_sha256_in_hexadecimal() {
        let of_a_space = "36a9e7f1c95b82ffb99743e0c5c4ce95d83c9a430aac59f84ef3cbfab6145068";
        assert_eq!(hashed(" "), format!("shop:1:sha256-{of_a_space}"));
    }

    #[test]
    fn forged_digest_does_not_equal_the_digest_of_another_key() {
        let victim = hashed("two words");
        let forged = hashed(victim.strip_prefix("shop:1:").expect("the head is portable"));
        assert_ne!(victim, forged);
    }

    #[test]
    fn hashed_function_digests_unportable_prefixes() {
        let compose = |prefix| KeyFunction::Hashed.compose("k", prefix, &Version::default());
        let (one, other) = (compose("my shop"), compose("your shop"));
        assert_eq!(one.len(), DIGEST_LENGTH);
        assert_ne!(one, other);
    }

    #[test]
    fn numeric_string_is_a_numbered_version() {
        assert_eq!(Version::from("2"), Version::from(2));
        assert_eq!(Version::from("02").to_string(), "02");
        assert_eq!(Version::from(String::from("v2")), Version::Name("v2".into()));
    }

    #[test]
    fn records_have_the_reserved_version() {
        let composer = Composer::new(KeyFunction::Default, "shop", Version::from(1));
        assert_eq!(composer.record("lock:report"), "shop:~:lock:report");
    }

    #[test]
    fn side_of_a_lease_is_composed_from_the_composed_key() {
        for (function, side) in [
            (KeyFunction::Default, "shop:~:lease:1:user:42"),
            (KeyFunction::Hashed, "shop:~:lease:1:user:42"),
            (joined(), "shop:~:lease:shop:1:user:42"),
        ] {
            let composer = Composer::new(function, "shop", Version::from(1));
            assert_eq!(composer.lease_side("shop:1:user:42"), side);
        }
        let composer = Composer::new(KeyFunction::Default, "shop", Version::from(1));
        let of_a_record = composer.lease_side(&composer.record("lock:report"));
        assert_eq!(of_a_record, "shop:~:lease:~:lock:report");
    }

    #[test]
    fn version_name_that_begins_with_a_tilde_differs_from_the_reserved_one() {
        let names = ["~", "~~", "~x"];
        for function in [KeyFunction::Default, KeyFunction::Hashed, joined()] {
            let compose = |name| function.compose("lock:report", "shop", &Version::from(name));
            let composer = Composer::new(function.clone(), "shop", Version::from("~"));
            assert_eq!(composer.version(), &Version::from("~"));
            let mut keys = names.map(compose).to_vec();
            keys.push(composer.record("lock:report"));
            assert_eq!(keys[0], "shop:~~:lock:report", "{function:?}");
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), names.len() + 1, "{function:?}: {keys:?}");
        }
    }

    #[test]
    fn records_are_portable_for_every_key_function() {
        for function in [KeyFunction::Default, KeyFunction::Hashed, joined()] {
            let composer = Composer::new(function.clone(), "shop", Version::from(1));
            for name in ["lock:two words", "lock:naïve", &"x".repeat(250)] {
                let record = composer.record(name);
                assert!(record.starts_with("shop:~:sha256-"), "{function:?}: {record}");
                assert!(is_portable("", &record), "{function:?}: {record}");
            }
        }
    }

    #[test]
    fn records_of_the_longest_prefix_are_portable() {
        let prefix = "p".repeat(240);
        let composer = Composer::new(KeyFunction::Default, &prefix, Version::from(1));
        assert_eq!(composer.record("lock:report").len(), DIGEST_LENGTH);
        assert_ne!(composer.record("lock:report"), composer.record("lock:other"));
    }

    fn joined() -> KeyFunction {
        KeyFunction::custom(|key, prefix, version| format!("{prefix}:{version}:{key}"))
    }

    #[test]
    fn long_keys_are_truncated_in_messages() {
        assert_eq!(shown("k"), r#""k""#);
        assert!(shown(&"ä".repeat(1000)).ends_with("ä\"… of 2000 bytes"));
    }

    #[test]
    fn key_of_250_characters_is_valid_whatever_its_bytes() {
        assert_eq!(problem_of(&"ä".repeat(250)), None);
        assert_eq!(problem_of(&"ä".repeat(251)), Some("is longer than 250 characters"));
    }

    #[test]
    fn invalid_byte_is_found_at_every_position() {
        for length in 1..40 {
            for position in 0..length {
                for byte in [0, b' ', 0x7F] {
                    let mut text = vec![b'!'; length];
                    assert!(!has_control_or_space(&text));
                    text[position] = byte;
                    assert!(has_control_or_space(&text), "{byte:#04x} at {position} of {length}");
                }
            }
        }
    }

    #[test]
    fn surely_keeps_the_rule_agrees_with_the_check() {
        let (short, longest, too_long) =
            ("k", "k".repeat(MAX_KEY_CHARS - 7), "k".repeat(MAX_KEY_CHARS - 6));
        for (prefix, key, sure) in [
            ("shop", short, true),
            ("shop", &longest, true),
            ("shop", &too_long, false),
            ("shop", "two words", false),
            ("my shop", short, false),
        ] {
            let composer = Composer::new(KeyFunction::Default, prefix, Version::from(1));
            assert_eq!(composer.surely_keeps_the_rule(key), sure, "{prefix}, {key}");
            assert_eq!(
                problem_of(&KeyFunction::Default.compose(key, prefix, &Version::from(1))).is_none(),
                sure
            );
        }
    }

    #[test]
    fn key_of_a_custom_function_is_always_checked() {
        let spaced = KeyFunction::custom(|key, _, _| format!("{key} "));
        assert!(!Composer::new(spaced, "shop", Version::from(1)).surely_keeps_the_rule("k"));
    }

    #[test]
    fn control_characters_and_spaces_break_the_rule() {
        for byte in (0..=b' ').chain([0x7F]) {
            assert!(problem_of(&format!("a{}b", char::from(byte))).is_some(), "{byte:#04x}");
        }
        assert_eq!(problem_of("!~\u{80}\u{a0}"), None);
    }

    #[test]
    fn check_is_an_error_only_if_configured() {
        assert!(KeyCheck::Warn.apply("two words").is_ok());
        assert!(KeyCheck::Off.apply("two words").is_ok());
        let error = KeyCheck::Error.apply("two words").expect_err("a space is not allowed");
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
        assert!(error.to_string().contains(r#""two words""#), "{error}");
    }
}
