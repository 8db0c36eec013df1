//! Entries in the store: a page, or what the pages of a URI vary on.
//!
//! A store in this process keeps these objects. Other stores keep them as bytes: a format version,
//! then the parts, each preceded by its length. The body comes last and is not copied when it is
//! decoded.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use cache_core::{
    Clock, Moment,
    tags::{GenerationCheck, Stamp},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    date::UnixTime,
    policy::{CacheMeta, SecondaryKey},
    variants::Variant,
};

/// A stored response, with everything that decides whether it may be served.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// The input of the digest in its key.
    pub(crate) preimage: Bytes,
    pub(crate) stamps: Stamps,
    /// What the request that it was produced for has in the headers that it varies on.
    pub(crate) secondary_key: SecondaryKey,
    pub(crate) meta: CacheMeta,
    /// When it was received, by the system clock.
    pub(crate) stored_at: UnixTime,
    /// When it was received, by the monotonic clock, if this process has produced it.
    pub(crate) received_at: Option<Moment>,
    pub(crate) check: GenerationCheck,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The stamps of the generations that a page belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamps {
    pub(crate) all: Stamp,
    pub(crate) uri: Stamp,
    /// By the keys of the generations of its tags.
    pub(crate) tags: Vec<(String, Stamp)>,
}

/// An entry in the store.
#[expect(clippy::large_enum_variant, reason = "nearly all are pages, and all are behind an Arc")]
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Page(Page),
    /// The preimage of the key, the headers that the pages of the URI vary on, and these pages.
    Vary(Bytes, Vec<HeaderName>, Vec<Variant>),
}

/// The difference between the clocks of machines that is not taken for a clock that was set back.
const MAX_SKEW: Duration = Duration::from_secs(1);

const FORMAT: u8 = 2;
const PAGE: u8 = 0;
const VARY: u8 = 1;

impl Record {
    pub(crate) fn page(&self) -> Option<&Page> {
        match self {
            Self::Page(page) => Some(page),
            Self::Vary(..) => None,
        }
    }

    pub(crate) fn preimage(&self) -> &Bytes {
        match self {
            Self::Page(page) => &page.preimage,
            Self::Vary(preimage, ..) => preimage,
        }
    }

    /// The headers that the pages of the URI vary on, if this is not a page.
    pub(crate) fn vary(&self) -> &[HeaderName] {
        match self {
            Self::Page(_) => &[],
            Self::Vary(_, names, _) => names,
        }
    }

    /// The variants of the URI, if this is not a page.
    pub(crate) fn variants(&self) -> &[Variant] {
        match self {
            Self::Page(_) => &[],
            Self::Vary(_, _, variants) => variants,
        }
    }

    /// The approximate size in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Page(page) => {
                let header = |(name, value): (&HeaderName, &HeaderValue)| {
                    64 + name.as_str().len() + value.len()
                };
                512 + page.preimage.len()
                    + page.headers.iter().map(header).sum::<usize>()
                    + page.body.len()
            }
            Self::Vary(preimage, names, variants) => {
                56 + preimage.len() + names.len() * 32 + size_of_val(&**variants)
            }
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.size());
        out.put_u8(FORMAT);
        match self {
            Self::Page(page) => {
                out.put_u8(PAGE);
                page.encode(&mut out);
            }
            Self::Vary(preimage, names, variants) => {
                out.put_u8(VARY);
                put(&mut out, preimage);
                put_names(&mut out, names);
                put_count(&mut out, variants.len());
                for variant in variants {
                    out.put_u128(variant.digest);
                    put_time(&mut out, variant.expires_at);
                }
            }
        }
        out.freeze()
    }

    /// Decodes a record. Returns `None` if the bytes are not a record of this format, or if there
    /// are too few or too many.
    pub(crate) fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.try_get_u8().ok()? != FORMAT {
            return None;
        }
        match bytes.try_get_u8().ok()? {
            PAGE => Page::decode(bytes).map(Self::Page),
            VARY => {
                let (preimage, names) = (take(&mut bytes)?, take_names(&mut bytes)?);
                let variants = take_list(&mut bytes, |bytes| {
                    let digest = bytes.try_get_u128().ok()?;
                    Some(Variant { digest, expires_at: take_time(bytes)? })
                })?;
                bytes.is_empty().then_some(Self::Vary(preimage, names, variants))
            }
            _ => None,
        }
    }
}

impl Page {
    /// The age of the page: its age when it was received, and the time since then.
    ///
    /// If the page was received in the future, the clock was set back, and its age is unknown. It
    /// is then [`Duration::MAX`], so that the page is stale. Clocks of machines that share a store
    /// may differ by [`MAX_SKEW`].
    pub(crate) fn age(&self, clock: &Clock) -> Duration {
        let resident = match self.received_at {
            Some(received_at) => clock.now().since(received_at),
            None => {
                let now = clock.unix_time();
                if self.stored_at > now.saturating_add(MAX_SKEW) {
                    return Duration::MAX;
                }
                now.saturating_sub(self.stored_at)
            }
        };
        self.meta.initial_age.saturating_add(resident)
    }

    fn encode(&self, out: &mut BytesMut) {
        put(out, &self.preimage);
        put_stamp(out, self.stamps.all);
        put_stamp(out, self.stamps.uri);
        put_count(out, self.stamps.tags.len());
        for (tag, stamp) in &self.stamps.tags {
            put(out, tag.as_bytes());
            put_stamp(out, *stamp);
        }
        put_count(out, self.secondary_key.0.len());
        for (name, value) in &self.secondary_key.0 {
            put(out, name.as_str().as_bytes());
            out.put_u8(u8::from(value.is_some()));
            put(out, value.as_deref().unwrap_or_default());
        }
        let meta = &self.meta;
        let times = [
            meta.lifetime,
            meta.initial_age,
            meta.date,
            meta.stale_while_revalidate,
            meta.stale_if_error,
            meta.validation_window,
        ];
        times.into_iter().chain([self.stored_at]).for_each(|time| put_time(out, time));
        out.put_u8(u8::from(meta.public));
        put_names(out, &meta.vary);
        out.put_u16(self.status.as_u16());
        put_count(out, self.headers.len());
        for (name, value) in &self.headers {
            put(out, name.as_str().as_bytes());
            put(out, value.as_bytes());
        }
        put(out, &self.body);
    }

    fn decode(mut bytes: Bytes) -> Option<Self> {
        let bytes = &mut bytes;
        let preimage = take(bytes)?;
        let (all, uri) = (take_stamp(bytes)?, take_stamp(bytes)?);
        let tags = take_list(bytes, |bytes| Some((take_text(bytes)?, take_stamp(bytes)?)))?;
        let secondary_key = take_list(bytes, |bytes| {
            let name = take_name(bytes)?;
            let (present, value) = (bytes.try_get_u8().ok()?, take(bytes)?);
            Some((name, (present == 1).then(|| value.to_vec())))
        })?;
        let mut time = || take_time(bytes);
        let (lifetime, initial_age, date) = (time()?, time()?, time()?);
        let (stale_while_revalidate, stale_if_error, validation_window, stored_at) =
            (time()?, time()?, time()?, time()?);
        let public = bytes.try_get_u8().ok()? == 1;
        let vary = take_names(bytes)?;
        let status = StatusCode::from_u16(bytes.try_get_u16().ok()?).ok()?;
        let pairs = take_list(bytes, |bytes| {
            Some((take_name(bytes)?, HeaderValue::from_maybe_shared(take(bytes)?).ok()?))
        })?;
        let mut headers = HeaderMap::with_capacity(pairs.len());
        for (name, value) in pairs {
            headers.append(name, value);
        }
        let body = take(bytes)?;
        let meta = CacheMeta {
            lifetime,
            initial_age,
            date,
            vary,
            stale_while_revalidate,
            stale_if_error,
            validation_window,
            public,
        };
        let page = Self {
            preimage,
            stamps: Stamps { all, uri, tags },
            secondary_key: SecondaryKey(secondary_key),
            meta,
            stored_at,
            received_at: None,
            check: GenerationCheck::default(),
            status,
            headers,
            body,
        };
        bytes.is_empty().then_some(page)
    }
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u64(count as u64);
}

fn put(out: &mut BytesMut, part: &[u8]) {
    put_count(out, part.len());
    out.put_slice(part);
}

fn put_stamp(out: &mut BytesMut, stamp: Stamp) {
    out.put_u64(stamp.hard);
    out.put_u64(stamp.soft);
}

fn put_time(out: &mut BytesMut, time: Duration) {
    out.put_u64(time.as_secs());
    out.put_u32(time.subsec_nanos());
}

fn put_names(out: &mut BytesMut, names: &[HeaderName]) {
    put_count(out, names.len());
    for name in names {
        put(out, name.as_str().as_bytes());
    }
}

fn take(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(bytes.try_get_u64().ok()?).ok()?;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

fn take_text(bytes: &mut Bytes) -> Option<String> {
    String::from_utf8(take(bytes)?.to_vec()).ok()
}

fn take_name(bytes: &mut Bytes) -> Option<HeaderName> {
    HeaderName::from_bytes(&take(bytes)?).ok()
}

fn take_names(bytes: &mut Bytes) -> Option<Vec<HeaderName>> {
    take_list(bytes, take_name)
}

fn take_stamp(bytes: &mut Bytes) -> Option<Stamp> {
    Some(Stamp { hard: bytes.try_get_u64().ok()?, soft: bytes.try_get_u64().ok()? })
}

fn take_time(bytes: &mut Bytes) -> Option<Duration> {
    let (seconds, nanos) = (bytes.try_get_u64().ok()?, bytes.try_get_u32().ok()?);
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

/// Decodes a list. It allocates nothing in advance, because the count may be wrong: each item
/// consumes at least one byte.
fn take_list<T>(
    bytes: &mut Bytes,
    mut item: impl FnMut(&mut Bytes) -> Option<T>,
) -> Option<Vec<T>> {
    let count = bytes.try_get_u64().ok()?;
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(item(bytes)?);
    }
    Some(items)
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Record;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "a page in format {FORMAT}")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Record, E> {
                Record::decode(Bytes::copy_from_slice(bytes))
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Bytes(bytes), &self))
            }
        }

        deserializer.deserialize_bytes(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use cache_core::ManualClock;
    use proptest::prelude::*;

    use super::*;

    fn page() -> Page {
        let mut headers = HeaderMap::new();
        headers.append("link", HeaderValue::from_static("a"));
        headers.append("link", HeaderValue::from_static("b"));
        headers.append("x-bytes", HeaderValue::from_bytes(b"\xff").expect("opaque"));
        let time = Duration::new(7, 9);
        Page {
            preimage: Bytes::from_static(b"preimage"),
            stamps: Stamps {
                all: Stamp { hard: 1, soft: 2 },
                uri: Stamp { hard: 3, soft: u64::MAX },
                tags: vec![("täg".to_owned(), Stamp { hard: 5, soft: 6 })],
            },
            secondary_key: SecondaryKey(vec![
                (http::header::ACCEPT, None),
                (http::header::COOKIE, Some(Vec::new())),
            ]),
            meta: CacheMeta {
                lifetime: time,
                initial_age: time * 2,
                date: time * 3,
                vary: vec![http::header::ACCEPT],
                stale_while_revalidate: time * 4,
                stale_if_error: time * 5,
                validation_window: time * 6,
                public: true,
            },
            stored_at: time * 7,
            received_at: None,
            check: GenerationCheck::default(),
            status: StatusCode::NOT_FOUND,
            headers,
            body: Bytes::from_static(b"body\0"),
        }
    }

    #[test]
    fn page_from_the_future_is_stale_unless_clocks_differ_slightly() {
        let time = ManualClock::new();
        time.advance(Duration::from_secs(60));
        let clock = time.clock();
        let age = |stored_at| Page { stored_at, ..page() }.age(&clock);
        let (now, initial) = (clock.unix_time(), page().meta.initial_age);
        assert_eq!(age(now - Duration::from_secs(5)), initial + Duration::from_secs(5));
        assert_eq!(age(now + MAX_SKEW), initial);
        assert_eq!(age(now + MAX_SKEW + Duration::from_millis(1)), Duration::MAX);
    }

    #[test]
    fn decode_reverses_encode() {
        for record in [
            Record::Page(page()),
            Record::Vary(
                Bytes::from_static(b"m"),
                vec![http::header::ACCEPT],
                vec![Variant { digest: u128::MAX - 1, expires_at: Duration::new(7, 9) }],
            ),
        ] {
            let decoded = Record::decode(record.encode()).expect("decodable");
            assert_eq!(format!("{decoded:?}"), format!("{record:?}"));
        }
    }

    #[test]
    fn decoded_body_is_a_slice_of_the_input() {
        let bytes = Record::Page(page()).encode();
        let decoded = Record::decode(bytes.clone()).expect("decodable");
        let body = &decoded.page().expect("page").body;
        assert!(bytes.as_ptr_range().contains(&body.as_ptr()));
    }

    #[test]
    fn truncated_or_extended_record_is_rejected() {
        let bytes = Record::Page(page()).encode();
        for length in 0..bytes.len() {
            assert!(Record::decode(bytes.slice(..length)).is_none(), "{length}");
        }
        assert!(Record::decode([&bytes[..], b"x"].concat().into()).is_none());
    }

    #[test]
    fn record_of_another_format_is_rejected() {
        let mut bytes = Record::Page(page()).encode().to_vec();
        bytes[0] += 1;
        assert!(Record::decode(bytes.into()).is_none());
    }

    proptest! {
        #[test]
        fn decoding_any_bytes_does_not_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            index: prop::sample::Index,
            byte: u8,
        ) {
            let _ = Record::decode(bytes.into());
            let mut bytes = Record::Page(page()).encode().to_vec();
            let index = index.index(bytes.len());
            bytes[index] = byte;
            let _ = Record::decode(bytes.into());
        }
    }
}
