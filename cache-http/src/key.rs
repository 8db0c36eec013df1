//! Where a request goes, and the keys under which its answers lie.
//!
//! Everything that a key is made of has its length in front, so that no two requests can have one key by the way their
//! parts are cut. What a digest was made of is stored with each page, and compared: two pages of one digest are in each
//! other's way, and never taken for each other.

use std::{
    borrow::Cow,
    fmt,
    hash::{BuildHasher, Hasher},
    ops::Deref,
    sync::{Arc, LazyLock},
};

use bytes::BufMut;
use foldhash::quality::RandomState;
use http::{
    HeaderMap, HeaderName, Uri,
    header::{FORWARDED, HOST},
    request::Parts,
};
use sha2::{Digest as _, Sha256};

use crate::{
    cache_control::split_unquoted,
    policy::{Reason, SecondaryKey},
    request_flags::RequestFlags,
    vary::combined,
};

/// What the application adds to a key: a language, a tenant.
pub(crate) type KeyFunction = dyn Fn(&Parts) -> String + Send + Sync;

/// What the application says a request's URI is, where a router has cut it.
pub(crate) type UriFunction = dyn Fn(&Parts) -> Uri + Send + Sync;

/// Headers by which proxies tell an application what it is called, and from which it makes links, without the `x-` before
/// them.
pub(crate) const FORWARDED_BY_PROXIES: [&str; 15] = [
    "forwarded-host",
    "forwarded-proto",
    "forwarded-prefix",
    "forwarded-scheme",
    "forwarded-port",
    "forwarded-server",
    "forwarded-ssl",
    "forwarded-protocol",
    "forwarded-path",
    "forwarded-uri",
    "script-name",
    "url-scheme",
    "host",
    "original-host",
    "http-host-override",
];

/// Source requests become keys.
#[derive(Clone, Default)]
pub(crate) struct KeyBuilder {
    pub(crate) prefix: Arc<str>,
    /// Empty: any valid host.
    pub(crate) hosts: Arc<[String]>,
    pub(crate) scheme: Option<Arc<str>>,
    pub(crate) function: Option<Arc<KeyFunction>>,
    pub(crate) uri: Option<Arc<UriFunction>>,
    pub(crate) digest: Digest,
}

/// What makes names of what a key is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Digest {
    /// For a store that other processes share: 128 bits of SHA-256.
    #[default]
    Portable,
    /// For a store of this process: 64 bits that come out otherwise in each process. Takes a tenth of the time.
    Local,
}

/// The keys of one request.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// Where the URI's generation lies.
    pub(crate) generation: Name,
    /// Where its only page lies, or what its pages vary on.
    pub(crate) root: Name,
    /// What `root` was made of.
    pub(crate) preimage: Vec<u8>,
    pub(crate) digest: Digest,
}

impl KeyBuilder {
    /// # Errors
    /// Where the host is none, or not allowed.
    pub(crate) fn keys(&self, parts: &Parts, flags: RequestFlags) -> Result<Keys, Reason> {
        let uri = &*self.uri(parts);
        let host = host(uri, &parts.headers)?;
        if !self.allows(host) {
            return Err(Reason::HostNotAllowed);
        }
        let mut preimage = Vec::with_capacity(160);
        let port = self.put_uri(&mut preimage, host, uri);
        let generation = self.digest.name(b'g', &preimage);
        put(&mut preimage, port.as_bytes());
        let scheme = uri.scheme_str().or(self.scheme.as_deref()).unwrap_or("http");
        put(&mut preimage, scheme.as_bytes());
        put_forwarded(&mut preimage, flags.forwarded.then_some(&parts.headers));
        put_option(
            &mut preimage,
            self.function.as_ref().map(|function| function(parts)).as_deref().map(str::as_bytes),
        );
        let root = self.digest.name(b'p', &preimage);
        Ok(Keys { generation, root, preimage, digest: self.digest })
    }

    /// Where the generations of a URI lie: one for each host it may be asked at.
    pub(crate) fn generations(&self, uri: &Uri) -> Option<Vec<Name>> {
        let of = |host: Option<&str>| {
            let mut preimage = Vec::new();
            self.put_uri(&mut preimage, host, uri);
            self.digest.name(b'g', &preimage)
        };
        if let Some(authority) = uri.authority() {
            return Some(vec![of(Some(authority.as_str()))]);
        }
        let exact =
            self.hosts.iter().filter(|host| !host.starts_with('.')).map(|host| of(Some(host)));
        let all: Vec<Name> = exact.collect();
        (!all.is_empty()).then_some(all)
    }

    /// Where the generation of what a request asks for lies.
    pub(crate) fn target(&self, parts: &Parts) -> Option<Name> {
        self.neighbour(parts, &self.uri(parts))
    }

    fn uri<'a>(&self, parts: &'a Parts) -> Cow<'a, Uri> {
        self.uri
            .as_ref()
            .map_or_else(|| Cow::Borrowed(whole_uri(parts)), |function| Cow::Owned(function(parts)))
    }

    /// Where the generation of what a response refers to lies, where that is at the same host (RFC 9111, section 4.4).
    pub(crate) fn neighbour(&self, parts: &Parts, reference: &Uri) -> Option<Name> {
        let uri = self.uri(parts);
        let host = host(&uri, &parts.headers).ok()?;
        if let Some(theirs) = reference.authority()
            && !host.is_some_and(|host| host.eq_ignore_ascii_case(theirs.as_str()))
        {
            return None;
        }
        let mut preimage = Vec::new();
        self.put_uri(&mut preimage, host, reference);
        Some(self.digest.name(b'g', &preimage))
    }

    pub(crate) fn generation_of_all(&self) -> Name {
        self.digest.name(b'a', &self.prefixed(b""))
    }

    pub(crate) fn generation_of_tag(&self, tag: &str) -> Name {
        self.digest.name(b't', &self.prefixed(tag.as_bytes()))
    }

    fn prefixed(&self, part: &[u8]) -> Vec<u8> {
        let mut preimage = Vec::new();
        put(&mut preimage, self.prefix.as_bytes());
        put(&mut preimage, part);
        preimage
    }

    /// What the pages of a URI have in common, at whichever port they were asked for, which is answered: `:80`, or nothing.
    fn put_uri<'a>(&self, preimage: &mut Vec<u8>, host: Option<&'a str>, uri: &Uri) -> &'a str {
        put(preimage, self.prefix.as_bytes());
        let bare = host.map(without_port);
        put_option(preimage, bare.map(str::as_bytes));
        let (end, length) = (preimage.len(), bare.map_or(0, str::len));
        preimage[end - length..].make_ascii_lowercase();
        put(preimage, uri.path().as_bytes());
        put_option(preimage, uri.query().map(str::as_bytes));
        host.map_or("", |host| &host[length..])
    }

    /// Names that begin with a dot stand for all hosts below, and for the one without the dot, as in Django's `ALLOWED_HOSTS`.
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
    /// Where the page for these values lies.
    pub(crate) fn variant(&self, secondary_key: &SecondaryKey) -> Name {
        let mut preimage = self.preimage.clone();
        put_secondary_key(&mut preimage, secondary_key);
        self.digest.name(b'v', &preimage)
    }
}

fn without_port(host: &str) -> &str {
    let digits = host.bytes().rev().take_while(u8::is_ascii_digit).count();
    host[..host.len() - digits].strip_suffix(':').unwrap_or(host)
}

/// The host, in whichever case; `None` where the request has none. Where the URI and the header both have one, it must be the
/// same.
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
    let fits = |byte| matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b':' | b'[' | b']');
    !host.is_empty() && host.len() <= 261 && host.bytes().all(fits)
}

fn put(preimage: &mut Vec<u8>, part: &[u8]) {
    put_count(preimage, part.len());
    preimage.put_slice(part);
}

/// One byte in most cases: the shorter what is digested, the better.
fn put_count(preimage: &mut Vec<u8>, count: usize) {
    match u8::try_from(count) {
        Ok(count) if count < u8::MAX => preimage.put_u8(count),
        _ => {
            preimage.put_u8(u8::MAX);
            preimage.put_u64(count as u64);
        }
    }
}

/// Absent is not empty.
fn put_option(preimage: &mut Vec<u8>, part: Option<&[u8]>) {
    match part {
        None => preimage.put_u8(0),
        Some(part) => {
            preimage.put_u8(1);
            put(preimage, part);
        }
    }
}

/// `headers` are those of a request that has any such header.
/// What it was before a router of axum cut it.
fn whole_uri(parts: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::OriginalUri(uri)) = parts.extensions.get() {
        return uri;
    }
    &parts.uri
}

fn put_forwarded(preimage: &mut Vec<u8>, headers: Option<&HeaderMap>) {
    let Some(headers) = headers else { return preimage.put_u8(0) };
    preimage.put_u8(1);
    for name in FORWARDED_BY_PROXIES {
        let name = HeaderName::try_from(format!("x-{name}")).ok();
        put_option(preimage, name.and_then(|name| combined(headers, &name)).as_deref());
    }
    let forwarded = headers.contains_key(FORWARDED).then(|| forwarded_names(headers));
    put_option(preimage, forwarded.as_deref().map(str::as_bytes));
}

/// What `Forwarded` says of the host and the protocol at each proxy, and not of the client.
fn forwarded_names(headers: &HeaderMap) -> String {
    let line = combined(headers, &FORWARDED).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
    let mut names = String::with_capacity(line.len());
    for proxy in split_unquoted(&line, b',') {
        names.push(',');
        let pairs = split_unquoted(proxy, b';').into_iter().map(str::trim);
        for pair in pairs.filter(|pair| !is_of_the_client(pair)) {
            names.push_str(pair);
            names.push(';');
        }
    }
    names
}

/// Whether it is so for everybody, also for who takes no flags of quotes.
fn is_of_the_client(pair: &str) -> bool {
    (pair.starts_with("for=") || pair.starts_with("by=")) && !pair.contains([',', ';'])
}

fn put_secondary_key(preimage: &mut Vec<u8>, secondary_key: &SecondaryKey) {
    put_count(preimage, secondary_key.0.len());
    for (name, value) in &secondary_key.0 {
        put(preimage, name.as_str().as_bytes());
        put_option(preimage, value.as_deref());
    }
}

/// A key that every store takes: some ASCII letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    text: [u8; PREFIX + 32],
    length: usize,
}

/// Source much of a name stands before the digest.
const PREFIX: usize = 7;

impl Digest {
    fn name(self, kind: u8, preimage: &[u8]) -> Name {
        match self {
            Self::Portable => Name::new(kind, &Sha256::digest(preimage)[..16]),
            Self::Local => {
                static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::default);
                let mut hasher = KEYED.build_hasher();
                hasher.write(preimage);
                Name::new(kind, &hasher.finish().to_be_bytes())
            }
        }
    }
}

impl Name {
    fn new(kind: u8, digest: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"http.?.00000000000000000000000000000000";
        text[5] = kind;
        for (pair, byte) in text[PREFIX..].chunks_exact_mut(2).zip(digest) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        Self { text, length: PREFIX + 2 * digest.len() }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        str::from_utf8(&self.text[..self.length]).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
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
        request.body(()).expect("it is a request").into_parts().0
    }

    fn keys(key_builder: &KeyBuilder, parts: &Parts) -> Result<Keys, Reason> {
        key_builder.keys(parts, RequestFlags::from_headers(&parts.headers))
    }

    fn root(uri: &str, headers: &[(&str, &str)]) -> Result<Name, Reason> {
        keys(&KeyBuilder::default(), &parts(uri, headers)).map(|keys| keys.root)
    }

    #[test]
    fn scheme_host_path_and_query_make_the_key_as_they_were_sent() {
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
    fn pages_of_two_ports_are_two_pages_of_which_one_purge_gets_rid() {
        let of = |host| {
            keys(&KeyBuilder::default(), &parts("/", &[("host", host)])).expect("it has keys")
        };
        for (one, other) in [("a", "a:80"), ("a:80", "A:81"), ("[::1]:80", "[::1]:81")] {
            let (one, other) = (of(one), of(other));
            assert!(one.generation == other.generation && one.root != other.root);
            assert_ne!(one.preimage, other.preimage);
        }
        assert!(
            of("a").generation != of("b").generation
                && of("[::1]").generation != of("[::2]").generation
        );
    }

    #[test]
    fn a_host_is_the_same_in_the_uri_and_in_the_header_in_any_case() {
        assert_eq!(root("http://a.b/", &[]), root("/", &[("host", "A.b")]));
    }

    #[test]
    fn a_host_that_is_none_or_that_there_are_two_of_is_refused() {
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
    fn what_a_proxy_says_of_the_host_is_part_of_the_key_and_what_it_says_of_the_client_is_not() {
        let of = |value| root("/", &[("forwarded", value)]);
        assert_eq!(of("for=1.2.3.4;host=a"), of("for=5.6.7.8;host=a"));
        assert_ne!(of("for=1.2.3.4;host=a"), of("for=1.2.3.4;host=b"));
        assert_ne!(of("host=a;proto=http"), of("host=a, proto=http"));
        assert_ne!(of("host=\"a;for=b\""), of("host=\"a;for=c\""));
        assert_ne!(of("for=\"a;host=b\""), of("for=\"a;host=c\""));
        assert_ne!(of("for=\"a, host=b"), of("for=\"a, host=c"));
        for name in FORWARDED_BY_PROXIES.map(|name| format!("x-{name}")) {
            let name = &*name;
            assert_ne!(root("/", &[(name, "a")]), root("/", &[(name, "b")]), "{name}");
            assert_ne!(root("/", &[(name, "")]), root("/", &[]), "{name}");
        }
    }

    #[test]
    fn a_function_of_the_application_s_own_is_part_of_the_key() {
        let language = |parts: &Parts| {
            String::from_utf8_lossy(parts.headers["accept-language"].as_bytes())[..2].to_owned()
        };
        let key_builder =
            KeyBuilder { function: Some(Arc::new(language)), ..KeyBuilder::default() };
        let key = |value| {
            keys(&key_builder, &parts("/", &[("accept-language", value)])).expect("it has one").root
        };
        assert_eq!(key("de-DE"), key("de"));
        assert_ne!(key("de"), key("en"));
    }

    proptest! {
        #[test]
        fn two_lists_of_values_never_make_one_key(
            one in proptest::collection::vec(proptest::option::of("(a|b|,|cookie\u{1}){0,3}"), 2),
            other in proptest::collection::vec(proptest::option::of("(a|b|,|cookie\u{1}){0,3}"), 2),
        ) {
            let keys = keys(&KeyBuilder::default(), &parts("/", &[])).expect("it has one");
            let variant = |values: &[Option<String>]| {
                let names = [http::header::ACCEPT, http::header::COOKIE];
                let values = values.iter().map(|value| value.clone().map(String::into_bytes));
                keys.variant(&SecondaryKey(names.into_iter().zip(values).collect()))
            };
            prop_assert_eq!(variant(&one) == variant(&other), one == other);
        }
    }
}
