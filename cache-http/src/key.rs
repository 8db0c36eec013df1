//! Cache keys of requests.
//!
//! Every part of a key is preceded by its length, so that different parts never form the same key.
//! Each page is stored with the input of its digest, the *preimage*, which is compared on lookup:
//! two pages with the same digest replace each other and are never confused.

use std::{
    borrow::Cow,
    fmt,
    hash::{BuildHasher, Hasher},
    ops::Deref,
    sync::{Arc, LazyLock},
};

use foldhash::quality::RandomState;
use http::{
    HeaderMap, HeaderName, Uri,
    header::{FORWARDED, HOST},
    request::Parts,
};
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use crate::{
    cache_control::split_unquoted,
    policy::{Reason, SecondaryKey},
    query::QueryRules,
    request_flags::{FORWARDED_BY_PROXIES, RequestFlags},
    vary::combined_value,
};

/// A function of the application that adds a part to the key.
pub(crate) type KeyFunction = dyn Fn(&Parts) -> String + Send + Sync;

/// A function of the application that returns the full URI of a request.
pub(crate) type UriFunction = dyn Fn(&Parts) -> Uri + Send + Sync;

/// Builds the keys of requests.
#[derive(Clone, Default)]
pub(crate) struct KeyBuilder {
    pub(crate) prefix: Arc<str>,
    /// The allowed hosts. If empty, every valid host is allowed.
    pub(crate) hosts: Arc<[String]>,
    pub(crate) scheme: Option<Arc<str>>,
    pub(crate) function: Option<Arc<KeyFunction>>,
    pub(crate) uri: Option<Arc<UriFunction>>,
    pub(crate) query: QueryRules,
    pub(crate) hash: KeyHash,
}

/// The hash function of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeyHash {
    /// 128 bits of SHA-256, for a store that processes share.
    #[default]
    Portable,
    /// 64 bits that differ between processes, for a store in this process. It takes a tenth of the
    /// time.
    Local,
}

/// The input of a digest. That of most requests is short, and a hit does not allocate it.
pub(crate) type Preimage = SmallVec<[u8; 160]>;

/// The keys of a request.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// The key of the root entry: the only page of the URI, or what its pages vary on.
    pub(crate) root: StoreKey,
    /// The input of the digest in `root`.
    pub(crate) preimage: Preimage,
    /// How much of `preimage` is the input of the digest in the key of the URI's generation.
    pub(crate) generation_length: usize,
    pub(crate) hash: KeyHash,
}

impl KeyBuilder {
    /// Creates the keys of a request.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::Host`] if the host is invalid, and [`Reason::HostNotAllowed`] if it is not
    /// allowed.
    pub(crate) fn keys(&self, parts: &Parts, flags: RequestFlags) -> Result<Keys, Reason> {
        let uri = &*self.uri(parts);
        let host = host(uri, &parts.headers)?;
        if !self.allows(host) {
            return Err(Reason::HostNotAllowed);
        }
        let mut preimage = Preimage::new();
        let (generation_length, port) = self.put_uri(&mut preimage, host, uri);
        put(&mut preimage, port.as_bytes());
        let scheme = uri.scheme_str().or(self.scheme.as_deref()).unwrap_or("http");
        put(&mut preimage, scheme.as_bytes());
        put_forwarded(&mut preimage, flags.forwarded.then_some(&parts.headers));
        put_option(
            &mut preimage,
            self.function.as_ref().map(|function| function(parts)).as_deref().map(str::as_bytes),
        );
        let root = self.hash.key(b'p', &preimage);
        Ok(Keys { root, preimage, generation_length, hash: self.hash })
    }

    /// Creates the keys of the generations of a URI: one for each host that it may be requested at.
    pub(crate) fn generations(&self, uri: &Uri) -> Vec<StoreKey> {
        let generation = |host: Option<&str>| self.generation(host, uri);
        match uri.authority() {
            Some(authority) => vec![generation(Some(authority.as_str()))],
            None if self.has_generations_by_host() => {
                self.hosts.iter().map(|host| generation(Some(host))).collect()
            }
            None => vec![generation(None)],
        }
    }

    /// The key of the generation of the URI of a request.
    pub(crate) fn generation_of_target(&self, parts: &Parts) -> Option<StoreKey> {
        self.generation_of_reference(parts, &self.uri(parts))
    }

    /// The key of the generation of a URI that a response refers to, if it has the host of the
    /// request (RFC 9111, section 4.4).
    pub(crate) fn generation_of_reference(
        &self,
        parts: &Parts,
        reference: &Uri,
    ) -> Option<StoreKey> {
        let uri = self.uri(parts);
        let host = host(&uri, &parts.headers).ok()?;
        if let Some(authority) = reference.authority()
            && !host.is_some_and(|host| host.eq_ignore_ascii_case(authority.as_str()))
        {
            return None;
        }
        Some(self.generation(host, reference))
    }

    /// The key of the generation of a URI at a host.
    fn generation(&self, host: Option<&str>, uri: &Uri) -> StoreKey {
        let mut preimage = Preimage::new();
        let (length, _port) = self.put_uri(&mut preimage, host, uri);
        self.hash.key(b'g', &preimage[..length])
    }

    pub(crate) fn generation_of_all(&self) -> StoreKey {
        self.hash.key(b'a', &self.prefixed(b""))
    }

    /// Removes the parameters that the key ignores from a request. The inner service must not see
    /// them, or a page could depend on them.
    pub(crate) fn remove_ignored_parameters(&self, parts: &mut Parts) {
        if let Some(uri) = self.query.rewrite(&parts.uri) {
            parts.uri = uri;
        }
        #[cfg(feature = "axum")]
        if let Some(axum::extract::OriginalUri(original)) = parts.extensions.get_mut()
            && let Some(uri) = self.query.rewrite(original)
        {
            *original = uri;
        }
    }

    /// The keys of the generations of the prefixes of a request's path, the shortest first.
    pub(crate) fn generations_of_prefixes(&self, parts: &Parts) -> Vec<StoreKey> {
        let uri = self.uri(parts);
        path_prefixes(uri.path()).map(|prefix| self.generation_of_prefix(prefix)).collect()
    }

    /// The key of the generation of a prefix, which has no slash at its end.
    pub(crate) fn generation_of_prefix(&self, prefix: &str) -> StoreKey {
        self.hash.key(b'd', &self.prefixed(prefix.as_bytes()))
    }

    fn prefixed(&self, part: &[u8]) -> Preimage {
        let mut preimage = Preimage::new();
        put(&mut preimage, self.prefix.as_bytes());
        put(&mut preimage, part);
        preimage
    }

    fn uri<'a>(&self, parts: &'a Parts) -> Cow<'a, Uri> {
        self.uri.as_ref().map_or_else(
            || Cow::Borrowed(original_uri(parts)),
            |function| Cow::Owned(function(parts)),
        )
    }

    /// Writes what all pages of a URI have in common, which excludes the port. Returns how much of
    /// that determines the generation of the URI, and the port with its colon, or an empty text.
    fn put_uri<'a>(
        &self,
        preimage: &mut Preimage,
        host: Option<&'a str>,
        uri: &Uri,
    ) -> (usize, &'a str) {
        put(preimage, self.prefix.as_bytes());
        put(preimage, uri.path().as_bytes());
        put_option(preimage, self.query.apply(uri.query()).as_deref().map(str::as_bytes));
        // The host comes last, so that the generation can do without it.
        let length_without_host = preimage.len();
        let bare = host.map(without_port);
        put_option(preimage, bare.map(str::as_bytes));
        let (end, host_length) = (preimage.len(), bare.map_or(0, str::len));
        preimage[end - host_length..].make_ascii_lowercase();
        let length = if self.has_generations_by_host() { end } else { length_without_host };
        (length, host.map_or("", |host| &host[host_length..]))
    }

    /// Whether a URI has a generation for each host.
    ///
    /// If not all hosts are known, it has one for all of them, so that a path can be purged.
    fn has_generations_by_host(&self) -> bool {
        !self.hosts.is_empty() && self.hosts.iter().all(|host| !host.starts_with('.'))
    }

    /// Names that begin with a dot allow that domain and its subdomains, as in Django's
    /// `ALLOWED_HOSTS`.
    fn allows(&self, host: Option<&str>) -> bool {
        if self.hosts.is_empty() {
            return true;
        }
        let Some(host) = host else { return false };
        let bare = without_port(host);
        let ends_with = |end: &str| {
            let start = bare.len().checked_sub(end.len());
            start
                .and_then(|start| bare.get(start..))
                .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
        };
        self.hosts.iter().any(|allowed| match allowed.strip_prefix('.') {
            Some(domain) => bare.eq_ignore_ascii_case(domain) || ends_with(allowed),
            None => host.eq_ignore_ascii_case(allowed) || bare.eq_ignore_ascii_case(allowed),
        })
    }
}

impl Keys {
    /// Creates the key of the generation of the URI, which most hits do not need.
    pub(crate) fn generation(&self) -> StoreKey {
        self.hash.key(b'g', &self.preimage[..self.generation_length])
    }

    /// Creates the key of the page for these values.
    pub(crate) fn variant(&self, secondary_key: &SecondaryKey) -> StoreKey {
        let mut preimage = Preimage::from_slice(&self.preimage);
        put_secondary_key(&mut preimage, secondary_key);
        self.hash.key(b'v', &preimage)
    }

    /// Creates the key of the page whose key has this digest.
    pub(crate) fn variant_of_digest(&self, digest: u128) -> StoreKey {
        let digest = digest.to_be_bytes();
        match self.hash {
            KeyHash::Portable => StoreKey::new(b'v', &digest),
            KeyHash::Local => StoreKey::new(b'v', &digest[8..]),
        }
    }
}

/// The maximum number of segments of a path that form prefixes.
pub(crate) const MAX_PREFIX_SEGMENTS: usize = 8;

/// The prefixes of a path that consist of whole segments, the shortest first, without a slash at
/// their ends. `/` itself has none.
fn path_prefixes(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    ends.filter(|end| *end > 0).map(|end| &path[..end]).take(MAX_PREFIX_SEGMENTS)
}

/// The URI as it was before a router of axum shortened it.
fn original_uri(parts: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::OriginalUri(uri)) = parts.extensions.get() {
        return uri;
    }
    &parts.uri
}

fn without_port(host: &str) -> &str {
    let digits = host.bytes().rev().take_while(u8::is_ascii_digit).count();
    host[..host.len() - digits].strip_suffix(':').unwrap_or(host)
}

/// Finds the host, in its original case. It is `None` if the request has none. If both the URI and
/// the header have a host, they must be equal.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a str>, Reason> {
    let mut lines = headers.get_all(HOST).iter();
    let header = match (lines.next(), lines.next()) {
        (None, _) => None,
        (Some(line), None) => Some(line.to_str().map_err(|_| Reason::Host)?),
        (Some(_), Some(_)) => return Err(Reason::Host),
    };
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let host = match (authority, header) {
        (Some(one), Some(other)) if !one.eq_ignore_ascii_case(other) => return Err(Reason::Host),
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => return Ok(None),
    };
    if is_host(host) { Ok(Some(host)) } else { Err(Reason::Host) }
}

fn is_host(host: &str) -> bool {
    let valid = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
    };
    !host.is_empty() && host.len() <= 261 && host.bytes().all(valid)
}

fn put(preimage: &mut Preimage, part: &[u8]) {
    put_count(preimage, part.len());
    preimage.extend_from_slice(part);
}

/// Writes a count, usually as one byte: the time of hashing grows with the length of its input.
fn put_count(preimage: &mut Preimage, count: usize) {
    match u8::try_from(count) {
        Ok(count) if count < u8::MAX => preimage.push(count),
        _ => {
            preimage.push(u8::MAX);
            preimage.extend_from_slice(&(count as u64).to_be_bytes());
        }
    }
}

/// Writes an optional part. An absent part differs from an empty one.
fn put_option(preimage: &mut Preimage, part: Option<&[u8]>) {
    match part {
        None => preimage.push(0),
        Some(part) => {
            preimage.push(1);
            put(preimage, part);
        }
    }
}

/// Writes the headers by which proxies tell an application its own address. `headers` is `None` if
/// the request has no such header.
fn put_forwarded(preimage: &mut Preimage, headers: Option<&HeaderMap>) {
    let Some(headers) = headers else { return preimage.push(0) };
    preimage.push(1);
    for name in FORWARDED_BY_PROXIES {
        let name = HeaderName::try_from(format!("x-{name}")).ok();
        put_option(preimage, name.and_then(|name| combined_value(headers, &name)).as_deref());
    }
    let forwarded = headers.contains_key(FORWARDED).then(|| forwarded_address(headers));
    put_option(preimage, forwarded.as_deref().map(str::as_bytes));
}

/// The parameters of `Forwarded` (RFC 7239) without those that identify the client and the
/// proxies.
fn forwarded_address(headers: &HeaderMap) -> String {
    let line = combined_value(headers, &FORWARDED).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
    let mut address = String::with_capacity(line.len());
    for proxy in split_unquoted(&line, b',') {
        address.push(',');
        let pairs = split_unquoted(proxy, b';').into_iter().map(str::trim);
        for pair in pairs.filter(|pair| !identifies_client(pair)) {
            address.push_str(pair);
            address.push(';');
        }
    }
    address
}

/// Whether a parameter identifies the client or a proxy. A separator within quotes must not hide
/// another parameter from an application that ignores quotes.
fn identifies_client(pair: &str) -> bool {
    (pair.starts_with("for=") || pair.starts_with("by=")) && !pair.contains([',', ';'])
}

fn put_secondary_key(preimage: &mut Preimage, secondary_key: &SecondaryKey) {
    put_count(preimage, secondary_key.0.len());
    for (name, value) in &secondary_key.0 {
        put(preimage, name.as_str().as_bytes());
        put_option(preimage, value.as_deref());
    }
}

/// A key in the store: up to 39 ASCII characters, which every store accepts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StoreKey {
    text: [u8; PREFIX + 32],
    length: usize,
}

/// The length of the text before the digest.
const PREFIX: usize = 7;

impl KeyHash {
    fn key(self, kind: u8, preimage: &[u8]) -> StoreKey {
        match self {
            Self::Portable => StoreKey::new(kind, &Sha256::digest(preimage)[..16]),
            Self::Local => {
                static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::default);
                let mut hasher = KEYED.build_hasher();
                hasher.write(preimage);
                StoreKey::new(kind, &hasher.finish().to_be_bytes())
            }
        }
    }
}

impl StoreKey {
    fn new(kind: u8, digest: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"http.?.00000000000000000000000000000000";
        text[5] = kind;
        for (pair, byte) in text[PREFIX..].chunks_exact_mut(2).zip(digest) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        Self { text, length: PREFIX + 2 * digest.len() }
    }

    pub(crate) fn digest(&self) -> u128 {
        u128::from_str_radix(&self[PREFIX..], 16).unwrap_or_default()
    }
}

/// The number of purge records.
const PURGE_RECORDS: u8 = 64;

/// The key of the record of purges of a generation with this key. Other generations share it.
pub(crate) fn purge_record(generation: &str) -> StoreKey {
    let digits = generation.get(generation.len().saturating_sub(2)..).unwrap_or_default();
    let last = u8::from_str_radix(digits, 16).unwrap_or_default();
    StoreKey::new(b'r', &[last % PURGE_RECORDS])
}

impl Deref for StoreKey {
    type Target = str;

    fn deref(&self) -> &str {
        str::from_utf8(&self.text[..self.length]).unwrap_or_default()
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("valid request").into_parts().0
    }

    fn keys(key_builder: &KeyBuilder, parts: &Parts) -> Result<Keys, Reason> {
        key_builder.keys(parts, RequestFlags::from_headers(&parts.headers))
    }

    fn root(uri: &str, headers: &[(&str, &str)]) -> Result<StoreKey, Reason> {
        keys(&KeyBuilder::default(), &parts(uri, headers)).map(|keys| keys.root)
    }

    #[test]
    fn key_contains_scheme_host_path_and_query_as_sent() {
        let uris = [
            "http://a/",
            "https://a/",
            "http://b/",
            "http://a/x",
            "http://a/%78",
            "http://a/?",
            "http://a/?x=1&y=2",
            "http://a/?y=2&x=1",
        ];
        let keys: Vec<_> = uris.iter().map(|uri| root(uri, &[])).collect();
        for (index, key) in keys.iter().enumerate() {
            assert!(key.is_ok() && !keys[..index].contains(key), "{}", uris[index]);
        }
    }

    #[test]
    fn ports_have_separate_pages_and_one_generation() {
        let keys = |host| {
            keys(&KeyBuilder::default(), &parts("/", &[("host", host)])).expect("valid host")
        };
        for (one, other) in [("a", "a:80"), ("a:80", "A:81"), ("[::1]:80", "[::1]:81")] {
            let (one, other) = (keys(one), keys(other));
            assert!(one.generation() == other.generation() && one.root != other.root);
            assert_ne!(one.preimage, other.preimage);
        }
    }

    #[test]
    fn prefixes_of_a_path_end_with_whole_segments() {
        let prefixes = |path| path_prefixes(path).collect::<Vec<_>>();
        assert_eq!(prefixes("/"), [""; 0]);
        assert_eq!(prefixes("/news"), ["/news"]);
        assert_eq!(prefixes("/news/"), ["/news"]);
        assert_eq!(prefixes("/news/2026/x"), ["/news", "/news/2026", "/news/2026/x"]);
        assert_eq!(prefixes("/a//b"), ["/a", "/a/", "/a//b"]);
        assert_eq!(prefixes(&"/a".repeat(9)).len(), MAX_PREFIX_SEGMENTS);
    }

    #[test]
    fn purge_records_are_few_and_evenly_used() {
        let key_builder = KeyBuilder::default();
        let records = (0..6400).map(|number| {
            purge_record(&key_builder.generation_of_prefix(&number.to_string())).to_string()
        });
        let mut uses = std::collections::HashMap::new();
        records.for_each(|record| *uses.entry(record).or_insert(0) += 1);
        assert_eq!(uses.len(), usize::from(PURGE_RECORDS));
        assert!(uses.values().all(|uses| (50..200).contains(uses)), "{uses:?}");
    }

    #[test]
    fn hosts_have_generations_of_their_own_only_if_all_hosts_are_known() {
        for (hosts, separate) in [
            (&[][..], false),
            (&[".b.org"], false),
            (&["a.b.org", ".b.org"], false),
            (&["a.b.org", "c.b.org", "[::1]"], true),
        ] {
            let hosts: Vec<_> = hosts.iter().copied().map(str::to_owned).collect();
            let key_builder = KeyBuilder { hosts: hosts.into(), ..KeyBuilder::default() };
            let keys =
                |host| keys(&key_builder, &parts("/", &[("host", host)])).expect("allowed host");
            let (one, other) = (keys("a.b.org"), keys("c.b.org"));
            assert_eq!(one.generation() != other.generation(), separate);
            assert_ne!(one.root, other.root);
        }
    }

    #[test]
    fn key_of_a_variant_is_created_from_its_digest() {
        for hash in [KeyHash::Portable, KeyHash::Local] {
            let key_builder = KeyBuilder { hash, ..KeyBuilder::default() };
            let keys = keys(&key_builder, &parts("/", &[])).expect("valid host");
            let variant = keys.variant(&SecondaryKey::default());
            assert_eq!(keys.variant_of_digest(variant.digest()), variant);
        }
    }

    #[test]
    fn host_is_case_insensitive_and_may_be_in_the_uri_or_the_header() {
        assert_eq!(root("http://a.b/", &[]), root("/", &[("host", "A.b")]));
    }

    #[test]
    fn invalid_or_ambiguous_host_is_rejected() {
        assert_eq!(root("/", &[("host", "a/b")]), Err(Reason::Host));
        assert_eq!(root("/", &[("host", "a"), ("host", "a")]), Err(Reason::Host));
        assert_eq!(root("http://a/", &[("host", "b")]), Err(Reason::Host));
        assert_eq!(root("http://u@a/", &[]), Err(Reason::Host));
        assert_ne!(root("/", &[]), root("/", &[("host", "a")]));
    }

    #[test]
    fn hosts_are_allowed_by_name_or_by_domain() {
        let key_builder = KeyBuilder {
            hosts: vec!["a.org".to_owned(), ".b.org".to_owned()].into(),
            ..KeyBuilder::default()
        };
        let allowed = |host| keys(&key_builder, &parts("/", &[("host", host)])).is_ok();
        assert!(
            allowed("a.org") && allowed("A.org:8000") && allowed("b.org") && allowed("x.b.org")
        );
        assert!(!allowed("x.a.org") && !allowed("xb.org") && !allowed("a.org.evil"));
        assert_eq!(keys(&key_builder, &parts("/", &[])).err(), Some(Reason::HostNotAllowed));
    }

    #[test]
    fn key_contains_the_forwarded_host_and_not_the_forwarded_client() {
        let forwarded = |value| root("/", &[("forwarded", value)]);
        assert_eq!(forwarded("for=1.2.3.4;host=a"), forwarded("for=5.6.7.8;host=a"));
        assert_ne!(forwarded("for=1.2.3.4;host=a"), forwarded("for=1.2.3.4;host=b"));
        assert_ne!(forwarded("host=a;proto=http"), forwarded("host=a, proto=http"));
        assert_ne!(forwarded("host=\"a;for=b\""), forwarded("host=\"a;for=c\""));
        assert_ne!(forwarded("for=\"a;host=b\""), forwarded("for=\"a;host=c\""));
        assert_ne!(forwarded("for=\"a, host=b"), forwarded("for=\"a, host=c"));
        for name in FORWARDED_BY_PROXIES.map(|name| format!("x-{name}")) {
            let name = &*name;
            assert_ne!(root("/", &[(name, "a")]), root("/", &[(name, "b")]), "{name}");
            assert_ne!(root("/", &[(name, "")]), root("/", &[]), "{name}");
        }
    }

    #[test]
    fn key_contains_the_result_of_the_key_function() {
        let language = |parts: &Parts| {
            String::from_utf8_lossy(parts.headers["accept-language"].as_bytes())[..2].to_owned()
        };
        let key_builder =
            KeyBuilder { function: Some(Arc::new(language)), ..KeyBuilder::default() };
        let key = |value| {
            let parts = parts("/", &[("accept-language", value)]);
            keys(&key_builder, &parts).expect("valid host").root
        };
        assert_eq!(key("de-DE"), key("de"));
        assert_ne!(key("de"), key("en"));
    }

    proptest! {
        #[test]
        fn different_values_never_have_the_same_key(
            one in proptest::collection::vec(proptest::option::of("(a|b|,|cookie\u{1}){0,3}"), 2),
            other in proptest::collection::vec(proptest::option::of("(a|b|,|cookie\u{1}){0,3}"), 2),
        ) {
            let keys = keys(&KeyBuilder::default(), &parts("/", &[])).expect("valid host");
            let variant = |values: &[Option<String>]| {
                let names = [http::header::ACCEPT, http::header::COOKIE];
                let values = values.iter().map(|value| value.clone().map(String::into_bytes));
                keys.variant(&SecondaryKey(names.into_iter().zip(values).collect()))
            };
            prop_assert_eq!(variant(&one) == variant(&other), one == other);
        }
    }
}
