//! Pages in a store: lookup, insertion and purging.
//!
//! The root entry of a URI is either its only page, or the list of headers that its pages vary on.
//! A lookup therefore reads at most two entries, and the generations that the page is stamped with.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{
    CacheHandle, Purge, Result as StoreResult,
    tags::{DAY, Fill, Generation, GenerationCheck, PurgeCounter, Record as TagRecord, last_purge},
};
use futures_util::future::try_join_all;
use http::{HeaderMap, HeaderName};

use crate::{
    admission::Admission,
    date::UnixTime,
    generation_store::{Before, GenerationStore, Kind, Production, PurgeRecord, Wanted},
    key::{Keys, StoreKey, purge_record},
    policy::{Policy, Reason},
    record::{Page, Record, Stamps},
    variants::{self, Variant},
};

/// The pages in a cache.
#[derive(Clone, Debug)]
pub(crate) struct PageStore {
    cache: CacheHandle,
    generations: GenerationStore,
    /// Whether the store keeps objects. Such a store is in this process and never waits.
    pub(crate) local: bool,
    generation_of_all: Arc<str>,
}

/// The result of a lookup.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    pub(crate) found: Found,
    /// The generation of the whole cache.
    all: Option<Generation>,
    /// The generation of the URI.
    uri: Option<Generation>,
    /// The purge record of the URI, in a store that processes share.
    purge_record: Option<Generation>,
    /// The generations of the tags of the page that was found, by their keys.
    tags: Vec<(String, Option<Generation>)>,
    /// The headers that the pages of the URI vary on, as far as they are known.
    pub(crate) vary: Vec<HeaderName>,
    /// The number of purges in this process of the generations of the page before they were read.
    pub(crate) purges: u64,
    /// The last purge in this process of a generation that does not exist.
    unstored_purge: u64,
    /// What all keys contain, if the cache is cleared by replacing that.
    key_generation: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// A page for this request. It may be stale, or soft-purged.
    Page {
        record: Arc<Record>,
        soft_purged: bool,
    },
    Miss(Reason),
}

impl Found {
    /// The page, and whether it is soft-purged.
    pub(crate) fn page(&self) -> Option<(&Page, bool)> {
        match self {
            Self::Page { record, soft_purged } => record.page().map(|page| (page, *soft_purged)),
            Self::Miss(_) => None,
        }
    }
}

/// The key of requests that can share one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey {
    variant: StoreKey,
    /// The times of the last purge of the whole cache and of the URI: a request does not share a
    /// page with requests from before a purge.
    purged_at: [UnixTime; 2],
    unstored_purge: u64,
    key_generation: Option<u64>,
}

impl Lookup {
    /// Creates the result of a lookup that found nothing, in a store that may have failed.
    pub(crate) fn miss(reason: Reason) -> Self {
        Self {
            found: Found::Miss(reason),
            all: None,
            uri: None,
            purge_record: None,
            tags: Vec::new(),
            vary: Vec::new(),
            purges: 0,
            unstored_purge: 0,
            key_generation: None,
        }
    }

    /// The key of the page that was found or missed.
    pub(crate) fn page_key(&self, keys: &Keys, policy: &Policy, headers: &HeaderMap) -> StoreKey {
        if self.vary.is_empty() {
            return keys.root;
        }
        keys.variant(&policy.secondary_key(&self.vary, headers))
    }

    /// Whether the page would be a new entry in the store.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self.found, Found::Miss(Reason::UriMiss | Reason::VaryMiss))
    }

    pub(crate) fn flight_key(
        &self,
        keys: &Keys,
        policy: &Policy,
        headers: &HeaderMap,
    ) -> FlightKey {
        let variant = keys.variant(&policy.secondary_key(&self.vary, headers));
        let Self { unstored_purge, key_generation, .. } = *self;
        FlightKey { variant, purged_at: self.purged_at(), unstored_purge, key_generation }
    }

    /// What was read of the generation of a tag.
    fn tag(&self, key: &str) -> Before {
        let read = self.tags.iter().find(|(tag, _)| tag == key);
        read.map_or(Before::Unknown, |(_, generation)| Before::Read(*generation))
    }

    /// A generation that does not exist yet was never purged, like the one that the first page of a
    /// URI creates.
    fn purged_at(&self) -> [UnixTime; 2] {
        [self.all, self.uri]
            .map(|generation| generation.map_or(UnixTime::ZERO, |known| known.purged_at))
    }
}

/// A page that is inserted.
pub(crate) struct NewPage<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) lookup: &'a Lookup,
    /// When the request for it was looked up.
    pub(crate) looked_up_at: UnixTime,
    /// The production of the page.
    pub(crate) fill: Option<&'a Fill>,
    /// The composed keys of the generations of its tags.
    pub(crate) tags: &'a [String],
    pub(crate) vary: &'a [HeaderName],
    pub(crate) ttl: Duration,
    pub(crate) policy: &'a Policy,
    pub(crate) admission: &'a Admission,
}

impl PageStore {
    pub(crate) fn new(cache: CacheHandle, generation_of_all: &str) -> Self {
        let local = cache.store().keeps_objects();
        let generations = GenerationStore::new(cache.clone(), local);
        Self { cache, generations, local, generation_of_all: generation_of_all.into() }
    }

    pub(crate) fn cache(&self) -> &CacheHandle {
        &self.cache
    }

    /// Looks up the page for a request, and whether it has been purged.
    pub(crate) async fn lookup(
        &self,
        keys: &Keys,
        policy: &Policy,
        headers: &HeaderMap,
    ) -> StoreResult<Lookup> {
        let generation = keys.generation();
        let counters = [&*self.generation_of_all, &*generation].map(PurgeCounter::of);
        let mut purges = counters.map(PurgeCounter::read).iter().sum();
        let record = purge_record(&generation);
        let wanted = [&*self.generation_of_all, &*generation, &*record];
        let wanted = if self.local { &wanted[..2] } else { &wanted };
        let (root, generations) = self.read(&keys.root, wanted).await?;
        let mut generations = generations.into_iter();
        let mut next = || generations.next().flatten();
        let (all, uri, purge_record) = (next(), next(), next());
        let (found, vary) = self.resolve(root, keys, policy, headers).await?;
        let unstored_purge = [(all, &*self.generation_of_all), (uri, &*generation)]
            .into_iter()
            .filter(|(generation, _)| generation.is_none())
            .map(|(_, key)| last_purge(self.generations.id(key)))
            .max()
            .unwrap_or_default();
        let mut tags = Vec::new();
        let found = match found {
            Ok(record) => {
                let purge = match record.page() {
                    Some(page) => {
                        let keys: Vec<&str> =
                            page.stamps.tags.iter().map(|(tag, _)| &**tag).collect();
                        purges += keys.iter().map(|tag| PurgeCounter::of(tag).read()).sum::<u64>();
                        let current = self.generations.read(&keys).await?;
                        tags = keys.into_iter().map(str::to_owned).zip(current).collect();
                        purge_of(page, all, uri, &tags)
                    }
                    None => Some(Purge::Hard),
                };
                match purge {
                    Some(Purge::Hard) => Found::Miss(Reason::Purged),
                    soft => Found::Page { record, soft_purged: soft.is_some() },
                }
            }
            Err(reason) => Found::Miss(reason),
        };
        let key_generation = self.cache.key_generation();
        Ok(Lookup {
            found,
            all,
            uri,
            purge_record,
            tags,
            vary,
            purges,
            unstored_purge,
            key_generation,
        })
    }

    /// Whether one of the tags of a page, or a prefix of its path, was purged since it was stored.
    pub(crate) async fn is_purged_by_tag(&self, page: &Page) -> StoreResult<bool> {
        let tags = &page.stamps.tags;
        if tags.is_empty() {
            return Ok(false);
        }
        let keys: Vec<&str> = tags.iter().map(|(tag, _)| &**tag).collect();
        let current = self.generations.read(&keys).await?;
        let mut stamps = tags.iter().map(|(_, stamp)| *stamp).zip(current);
        Ok(stamps.any(|(stamp, current)| current.is_none_or(|current| current.stamp != stamp)))
    }

    /// Finds the page for a request without checking whether it has been purged.
    pub(crate) async fn find(
        &self,
        keys: &Keys,
        policy: &Policy,
        headers: &HeaderMap,
    ) -> StoreResult<Option<Arc<Record>>> {
        let root = self.record(&keys.root).await?;
        let (found, _vary) = self.resolve(root, keys, policy, headers).await?;
        Ok(found.ok())
    }

    /// Goes from the root entry of a URI to the page for a request. Also returns the headers that
    /// the pages of the URI vary on.
    async fn resolve(
        &self,
        root: Option<Arc<Record>>,
        keys: &Keys,
        policy: &Policy,
        headers: &HeaderMap,
    ) -> StoreResult<(Result<Arc<Record>, Reason>, Vec<HeaderName>)> {
        let Some(root) = root.filter(|root| **root.preimage() == *keys.preimage) else {
            return Ok((Err(Reason::UriMiss), Vec::new()));
        };
        let (record, vary) = match &*root {
            Record::Page(_) => (Some(root), Vec::new()),
            Record::Vary(_, names, _) => {
                let variant = keys.variant(&policy.secondary_key(names, headers));
                (self.record(&variant).await?, names.clone())
            }
        };
        let matches = |page: &Page| {
            *page.preimage == *keys.preimage && policy.matches(&page.secondary_key, headers)
        };
        let record = record.filter(|record| record.page().is_some_and(matches));
        Ok((record.ok_or(Reason::VaryMiss), vary))
    }

    /// Inserts a page. `make` receives its stamps and the headers that the pages of its URI vary
    /// on.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::Purged`] if the page was purged since its request was looked up,
    /// [`Reason::Vary`] or [`Reason::VariantLimit`] if the URI has too many variants, and
    /// [`Reason::StoreFailed`] if the store failed.
    pub(crate) async fn insert(
        &self,
        new: &NewPage<'_>,
        make: impl FnOnce(Stamps, Vec<HeaderName>) -> Page,
    ) -> Result<Arc<Record>, Reason> {
        let NewPage { keys, lookup, .. } = *new;
        // Generations must outlive the pages that are stamped with them.
        let ttl = new.ttl.saturating_mul(2).max(DAY);
        let failed = |error| self.failed(&error);
        // A page that was looked up before a clear must not be found after it.
        let key_generation = self.cache.current_key_generation().await.map_err(failed)?;
        if key_generation != lookup.key_generation {
            return Err(Reason::Purged);
        }
        let generation = keys.generation();
        let own = [&*self.generation_of_all, &*generation];
        let composed = own.map(|name| self.cache.composed_key(name));
        let wanted = self.wanted(new, &composed, ttl);
        let current = self.generations.read_or_create(&wanted, new.looked_up_at).await;
        let current = current.map_err(failed)?;
        let records = self.generations.purge_records(&wanted);
        let record_keys: Vec<&str> = records.iter().map(|record| &**record).collect();
        // The headers that a URI varies on are never removed: pages of different clients stay
        // separate even if a later response omits `Vary`.
        let read = self.read(&keys.root, &record_keys);
        let read = self.generations.keep_tags(&wanted, &current, new.ttl, read).await;
        let (root, recorded) = read.map_err(failed)?;
        let records: Vec<PurgeRecord> = records.into_iter().zip(recorded).collect();
        let production = new.production(&records);
        let is_purged = |(wanted, current): (&Wanted<'_>, &TagRecord)| {
            self.generations.is_purged(wanted, current.generation, production)
        };
        if wanted.iter().zip(&current).any(is_purged) {
            return Err(Reason::Purged);
        }
        let stamps = stamps(&current, new.tags).ok_or(Reason::StoreFailed)?;
        let known = root.as_deref().map_or(&[][..], Record::vary);
        let names = sorted_union([&lookup.vary, known, new.vary]);
        if names.len() > new.policy.vary_header_limit() {
            return Err(Reason::Vary);
        }
        let mut page = make(stamps, names);
        if self.local {
            let tags = page.stamps.tags.iter().map(|(tag, _)| &**tag);
            let generations = own.into_iter().chain(tags);
            page.check = GenerationCheck::new(generations.map(PurgeCounter::of));
        }
        if page.secondary_key.0.is_empty() {
            return self
                .write(&keys.root, page, new.ttl)
                .await
                .map_err(|error| self.failed(&error));
        }
        let root = root.filter(|root| **root.preimage() == *keys.preimage);
        let variants = root.as_deref().map_or(&[][..], Record::variants).to_vec();
        self.insert_variant(new, page, variants, ttl).await
    }

    /// Writes a page that varies, and the root entry of its URI.
    async fn insert_variant(
        &self,
        new: &NewPage<'_>,
        page: Page,
        mut variants: Vec<Variant>,
        root_ttl: Duration,
    ) -> Result<Arc<Record>, Reason> {
        let NewPage { keys, admission, looked_up_at: now, .. } = *new;
        let names = page.secondary_key.0.iter().map(|(name, _)| name.clone()).collect();
        let key = keys.variant(&page.secondary_key);
        let variant =
            Variant { digest: key.digest(), expires_at: page.stored_at.saturating_add(new.ttl) };
        let uses = |digest| admission.uses(admission.page_id(&keys.variant_of_digest(digest)));
        let limit = new.policy.variant_limit();
        let replaced = variants::add(&mut variants, variant, limit, now, uses)?;
        let write = async {
            let record = self.write(&key, page, new.ttl).await?;
            let preimage = Bytes::copy_from_slice(&keys.preimage);
            let root = Arc::new(Record::Vary(preimage, names, variants));
            self.set(&keys.root, &root, root_ttl).await?;
            if let Some(digest) = replaced {
                self.cache.delete(&keys.variant_of_digest(digest)).await?;
            }
            Ok(record)
        };
        write.await.map_err(|error| self.failed(&error))
    }

    /// Removes a page.
    pub(crate) async fn remove(&self, keys: &Keys, page: &Page) -> StoreResult<()> {
        let is_only = page.secondary_key.0.is_empty();
        let key = if is_only { keys.root } else { keys.variant(&page.secondary_key) };
        self.cache.delete(&key).await.map(drop)
    }

    async fn write(&self, key: &str, page: Page, ttl: Duration) -> StoreResult<Arc<Record>> {
        let record = Arc::new(Record::Page(page));
        self.set(key, &record, ttl).await?;
        Ok(record)
    }

    async fn set(&self, key: &str, record: &Arc<Record>, ttl: Duration) -> StoreResult<()> {
        self.cache.set_shared_owning(key, record, record.size(), ttl).await
    }

    /// The generations that a new page is stamped with: of the whole cache, of its URI and of its
    /// tags.
    fn wanted<'a>(
        &'a self,
        new: &NewPage<'a>,
        composed: &'a [String; 2],
        ttl: Duration,
    ) -> Vec<Wanted<'a>> {
        let NewPage { keys, lookup, .. } = *new;
        let all = Wanted {
            key: &composed[0],
            before: Before::Read(lookup.all),
            kind: Kind::Recorded(purge_record(&self.generation_of_all)),
            ttl: None,
        };
        let uri = Wanted {
            key: &composed[1],
            before: Before::Read(lookup.uri),
            kind: Kind::Recorded(purge_record(&keys.generation())),
            ttl: Some(ttl),
        };
        let tags = new.tags.iter().map(|tag| Wanted {
            key: tag,
            before: lookup.tag(tag),
            kind: Kind::Tag,
            ttl: Some(ttl),
        });
        [all, uri].into_iter().chain(tags).collect()
    }

    /// Replaces the generation of a URI or of the whole cache. The key is not composed.
    pub(crate) async fn purge(&self, name: &str, purge: Purge, now: UnixTime) -> StoreResult<()> {
        // Another process may have cleared the cache and stored pages with another generation.
        self.cache.learn().await?;
        let keep_forever = *name == *self.generation_of_all;
        self.generations.purge(name, purge, keep_forever, now).await
    }

    /// Replaces the generation of a tag or of a prefix. The key is composed.
    pub(crate) async fn purge_tag(
        &self,
        key: &str,
        purge: Purge,
        now: UnixTime,
    ) -> StoreResult<()> {
        self.generations.purge_tag(key, purge, now).await
    }

    /// The composed key of the generation of a tag, which values have as well.
    pub(crate) fn generation_of_tag(&self, tag: &str) -> String {
        self.cache.tag_record(tag)
    }

    pub(crate) fn generation_of_all(&self) -> &str {
        &self.generation_of_all
    }

    /// Reads an entry and generations: in one round trip, unless the store is in this process.
    async fn read(
        &self,
        entry: &str,
        generations: &[&str],
    ) -> StoreResult<(Option<Arc<Record>>, Vec<Option<Generation>>)> {
        if self.local {
            let generations = generations.iter().map(|name| self.generations.read_named(name));
            let generations = try_join_all(generations).await?;
            return Ok((self.record(entry).await?, generations));
        }
        let keys = [entry].into_iter().chain(generations.iter().copied());
        let mut found = self.cache.get_many::<Bytes, _>(keys).await?;
        let record = found.remove(entry).and_then(Record::decode).map(Arc::new);
        let generation = |key: &&str| Generation::from_bytes(found.get(key)?);
        Ok((record, generations.iter().map(generation).collect()))
    }

    async fn record(&self, key: &str) -> StoreResult<Option<Arc<Record>>> {
        if self.local {
            return self.cache.get_shared(key).await;
        }
        Ok(self.cache.get::<Bytes>(key).await?.and_then(Record::decode).map(Arc::new))
    }

    /// Logs a failure of the store.
    #[cold]
    pub(crate) fn failed(&self, error: &cache_core::Error) -> Reason {
        let cache = self.cache.alias();
        let error = format_args!("{error:#}");
        tracing::warn!(cache, %error, "store failed, serving without cache");
        Reason::StoreFailed
    }
}

impl<'a> NewPage<'a> {
    fn production<'b>(&self, records: &'b [PurgeRecord]) -> Production<'b>
    where
        'a: 'b,
    {
        Production {
            looked_up_at: self.looked_up_at,
            record_before: (purge_record(&self.keys.generation()), self.lookup.purge_record),
            records,
            fill: self.fill,
        }
    }
}

/// Checks the stamps of a page against the current generations. The result is `None` if it has not
/// been purged.
fn purge_of(
    page: &Page,
    all: Option<Generation>,
    uri: Option<Generation>,
    tags: &[(String, Option<Generation>)],
) -> Option<Purge> {
    let stamps = [page.stamps.all, page.stamps.uri];
    let stamps = stamps.into_iter().chain(page.stamps.tags.iter().map(|(_, stamp)| *stamp));
    let current = [all, uri].into_iter().chain(tags.iter().map(|(_, current)| *current));
    let mut soft = false;
    for (stamp, current) in stamps.zip(current) {
        match current {
            Some(current) if current.stamp.hard == stamp.hard => {
                soft |= current.stamp.soft != stamp.soft;
            }
            _ => return Some(Purge::Hard),
        }
    }
    soft.then_some(Purge::Soft)
}

/// The stamps of a new page, from its generations in the order of [`PageStore::wanted`].
fn stamps(current: &[TagRecord], tags: &[String]) -> Option<Stamps> {
    let [all, uri, of_tags @ ..] = current else { return None };
    let tags = tags.iter().cloned().zip(of_tags.iter().map(|tag| tag.generation.stamp)).collect();
    Some(Stamps { all: all.generation.stamp, uri: uri.generation.stamp, tags })
}

/// All names, sorted and without duplicates.
fn sorted_union(lists: [&[HeaderName]; 3]) -> Vec<HeaderName> {
    let mut all: Vec<HeaderName> = lists.concat();
    all.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cache_core::{Settings, Timeout};
    use cache_locmem::LocMemCache;
    use http::{HeaderValue, StatusCode, header::COOKIE};

    use super::*;
    use crate::{
        generation_store::FILL_TIME, key::KeyBuilder, policy::BodyLength,
        request_flags::RequestFlags,
    };

    fn page_store() -> PageStore {
        let cache =
            CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
        PageStore::new(cache, &KeyBuilder::default().generation_of_all())
    }

    fn keys(uri: &str) -> Keys {
        let (parts, ()) = http::Request::get(uri).body(()).expect("valid request").into_parts();
        let flags = RequestFlags::from_headers(&parts.headers);
        KeyBuilder::default().keys(&parts, flags).expect("valid host")
    }

    fn headers(cookie: &'static str) -> HeaderMap {
        [(COOKIE, HeaderValue::from_static(cookie))].into_iter().collect()
    }

    async fn insert(store: &PageStore, keys: &Keys, request: &HeaderMap, vary: &[HeaderName]) {
        let policy = Policy::site().session_cookies(["sessionid"]);
        let meta = policy.check_response(
            request,
            StatusCode::OK,
            &HeaderMap::new(),
            BodyLength::Known(0),
            Duration::ZERO,
        );
        let meta = meta.expect("storable response");
        let lookup = Lookup::miss(Reason::UriMiss);
        let new = NewPage {
            keys,
            lookup: &lookup,
            looked_up_at: Duration::ZERO,
            fill: None,
            tags: &[],
            vary,
            ttl: meta.store_ttl(),
            policy: &policy,
            admission: &Admission::new(None),
        };
        let make = |stamps, names: Vec<HeaderName>| Page {
            preimage: Bytes::copy_from_slice(&keys.preimage),
            stamps,
            secondary_key: policy.secondary_key(&names, request),
            meta: meta.clone(),
            stored_at: Duration::ZERO,
            received_at: None,
            check: GenerationCheck::default(),
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        store.insert(&new, make).await.expect("insert");
    }

    async fn is_found(store: &PageStore, keys: &Keys, request: &HeaderMap) -> bool {
        let lookup = store.lookup(keys, &Policy::site(), request).await.expect("lookup");
        lookup.found.page().is_some()
    }

    #[tokio::test]
    async fn page_of_another_uri_with_the_same_digest_is_a_miss() {
        let (store, request) = (page_store(), headers("a"));
        let (one, other) = (keys("http://a/1"), keys("http://a/2"));
        insert(&store, &one, &request, &[]).await;
        assert!(is_found(&store, &one, &request).await);
        let collision = Keys { preimage: other.preimage, ..one };
        assert!(!is_found(&store, &collision, &request).await);
    }

    #[tokio::test]
    async fn purge_changes_the_flight_key_and_the_first_page_does_not() {
        let (store, keys, request) = (page_store(), keys("http://a/"), HeaderMap::new());
        let policy = Policy::site();
        let flight_key = async || {
            let lookup = store.lookup(&keys, &policy, &request).await.expect("lookup");
            lookup.flight_key(&keys, &policy, &request)
        };
        let before = flight_key().await;
        insert(&store, &keys, &request, &[]).await;
        assert_eq!(flight_key().await, before);
        store.purge(&keys.generation(), Purge::Hard, Duration::from_secs(1)).await.expect("purge");
        assert_ne!(flight_key().await, before);
    }

    #[tokio::test]
    async fn purge_of_an_unknown_uri_stores_nothing_and_concerns_pages_in_production() {
        let (store, keys, request) = (page_store(), keys("http://a/"), HeaderMap::new());
        let lookup = async || store.lookup(&keys, &Policy::site(), &request).await.expect("lookup");
        let flight_key =
            |lookup: &Lookup| lookup.flight_key(&keys, &Policy::site(), &HeaderMap::new());
        let (before, fill) = (lookup().await, Fill::start());
        store.purge(&keys.generation(), Purge::Hard, Duration::ZERO).await.expect("purge");
        assert_eq!(store.generations.read_named(&keys.generation()).await.expect("get"), None);
        assert!(fill.is_purged(store.generations.id(&keys.generation())));
        assert!(!Fill::start().is_purged(store.generations.id(&keys.generation())));
        assert_ne!(flight_key(&lookup().await), flight_key(&before));
    }

    /// A store that is treated as one that other processes share.
    fn shared_page_store() -> PageStore {
        let page_store = page_store();
        let generations = GenerationStore::new(page_store.cache.clone(), false);
        PageStore { local: false, generations, ..page_store }
    }

    #[tokio::test]
    async fn purge_of_an_unknown_uri_of_a_shared_store_leaves_only_its_record() {
        let (store, keys) = (shared_page_store(), keys("http://a/"));
        for purge in [Purge::Hard, Purge::Soft] {
            store.purge(&keys.generation(), purge, Duration::ZERO).await.expect("purge");
            let read = store.generations.read_named(&keys.generation()).await.expect("get");
            assert_eq!(read, None);
        }
        let record = store.cache.ttl(&purge_record(&keys.generation())).await.expect("ttl");
        let Some(cache_core::Ttl::Left(ttl)) = record else { panic!("{record:?}") };
        assert!(ttl <= FILL_TIME);
        assert_eq!(store.cache.stats().await.expect("stats").entries, Some(1));
    }

    #[tokio::test]
    async fn generation_that_a_purge_has_left_lives_longer_if_a_page_is_stored() {
        let (store, keys, now) = (shared_page_store(), keys("http://a/"), Duration::from_secs(1));
        let key = store.cache.composed_key(&keys.generation());
        let wanted = |before| Wanted {
            key: &key,
            before: Before::Read(before),
            kind: Kind::Recorded(purge_record(&keys.generation())),
            ttl: Some(DAY),
        };
        let create = async |before| {
            let created = store.generations.read_or_create(&[wanted(before)], now).await;
            created.expect("store works")[0].generation
        };
        let ttl = async || match store.cache.ttl(&keys.generation()).await.expect("ttl") {
            Some(cache_core::Ttl::Left(ttl)) => ttl,
            other => panic!("{other:?}"),
        };
        let old = create(None).await;
        store.purge(&keys.generation(), Purge::Hard, now).await.expect("purge");
        assert!(ttl().await <= FILL_TIME);
        let new = create(Some(old)).await;
        assert!(new.stamp.hard != old.stamp.hard && ttl().await > FILL_TIME);
    }

    #[tokio::test]
    async fn page_of_another_variant_with_the_same_digest_is_a_miss() {
        let (store, keys) = (page_store(), keys("http://a/"));
        insert(&store, &keys, &headers("a"), &[COOKIE]).await;
        let variant =
            |cookie| keys.variant(&Policy::site().secondary_key(&[COOKIE], &headers(cookie)));
        let record = store.record(&variant("a")).await.expect("get").expect("hit");
        store.cache.set_shared(&variant("b"), &record, Timeout::Never).await.expect("set");
        assert!(is_found(&store, &keys, &headers("a")).await);
        assert!(!is_found(&store, &keys, &headers("b")).await);
    }
}
