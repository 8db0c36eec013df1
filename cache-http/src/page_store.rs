//! Pages in a store: looked up in two steps at most, stamped, and purged.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{CacheHandle, Result as StoreResult, Timeout};
use http::{HeaderMap, HeaderName};

use crate::{
    date::UnixTime,
    generation::{Generation, Purge, Stamp, count_purge, purges},
    key::Keys,
    policy::{Policy, Reason},
    record::{Page, Record, Stamps},
};

/// Where pages lie.
#[derive(Clone, Debug)]
pub(crate) struct PageStore {
    cache: CacheHandle,
    /// The store keeps objects, and so answers without waiting.
    pub(crate) local: bool,
    all: Arc<str>,
}

/// What a look-up saw.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    pub(crate) answer: Found,
    all: Option<Generation>,
    uri: Option<Generation>,
    /// What the pages of the URI vary on, as far as is known.
    pub(crate) vary: Vec<HeaderName>,
    /// Source many purges there had been before.
    pub(crate) purges: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// A page for this request. It may be old, or purged softly.
    Page {
        record: Arc<Record>,
        soft: bool,
    },
    Miss(Reason),
}

impl Found {
    pub(crate) fn page(&self) -> Option<(&Page, bool)> {
        match self {
            Self::Page { record, soft } => record.page().map(|page| (page, *soft)),
            Self::Miss(_) => None,
        }
    }
}

impl Record {
    pub(crate) fn page(&self) -> Option<&Page> {
        match self {
            Self::Page(page) => Some(page),
            Self::Vary(..) => None,
        }
    }
}

impl Lookup {
    /// What a look-up sees in a store that fails.
    pub(crate) fn nothing(reason: Reason) -> Self {
        Self { answer: Found::Miss(reason), all: None, uri: None, vary: Vec::new(), purges: 0 }
    }

    /// Tells apart what was asked before a purge and after it. A generation that is not there yet was never purged, no more than
    /// the one that the first page of a URI makes.
    pub(crate) fn purged(&self) -> [Duration; 2] {
        [self.all, self.uri]
            .map(|generation| generation.map_or(Duration::ZERO, |known| known.purged))
    }
}

/// Where a page is to lie, and what is known of it.
pub(crate) struct NewPage<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) lookup: &'a Lookup,
    /// When the request for it was looked up.
    pub(crate) started_at: UnixTime,
    /// The keys of its tags' generations.
    pub(crate) tags: &'a [String],
    pub(crate) vary: &'a [HeaderName],
    pub(crate) kept: Duration,
}

/// Source long a generation is kept at least, so that it outlives the pages it is stamped on.
const DAY: Duration = Duration::from_secs(86_400);

impl PageStore {
    pub(crate) fn new(cache: CacheHandle, all: &str) -> Self {
        let local = cache.store().keeps_objects();
        Self { cache, local, all: all.into() }
    }

    pub(crate) fn alias(&self) -> &str {
        self.cache.alias()
    }

    /// Looks for a page that a request with these headers may be given.
    pub(crate) async fn look(
        &self,
        keys: &Keys,
        policy: &Policy,
        headers: &HeaderMap,
    ) -> StoreResult<Lookup> {
        let purges = purges();
        let (generation, root) = (&*keys.generation, &*keys.root);
        // Where nothing takes time, there is nothing to do meanwhile.
        let (all, uri, root) = if self.local {
            (
                self.generation(&self.all).await,
                self.generation(generation).await,
                self.record(root).await,
            )
        } else {
            tokio::join!(self.generation(&self.all), self.generation(generation), self.record(root))
        };
        let (all, uri) = (all?, uri?);
        let (found, vary) = self.follow(root?, keys, policy, headers).await?;
        let lookup = |answer| Lookup { answer, all, uri, vary, purges };
        let record = match found {
            Ok(record) => record,
            Err(reason) => return Ok(lookup(Found::Miss(reason))),
        };
        let purge = match record.page() {
            Some(page) => self.purged(page, all, uri).await?,
            None => Some(Purge::Hard),
        };
        Ok(lookup(match purge {
            Some(Purge::Hard) => Found::Miss(Reason::Purged),
            soft => Found::Page { record, soft: soft.is_some() },
        }))
    }

    /// The page that is there for a request with these headers, whether it was purged or not.
    pub(crate) async fn find(
        &self,
        keys: &Keys,
        policy: &Policy,
        headers: &HeaderMap,
    ) -> StoreResult<Option<Arc<Record>>> {
        let root = self.record(&keys.root).await?;
        let (found, _vary) = self.follow(root, keys, policy, headers).await?;
        Ok(found.ok())
    }

    /// From what lies at the root of a URI to the page for a request, and what the pages there vary on.
    async fn follow(
        &self,
        root: Option<Arc<Record>>,
        keys: &Keys,
        policy: &Policy,
        headers: &HeaderMap,
    ) -> StoreResult<(Result<Arc<Record>, Reason>, Vec<HeaderName>)> {
        let Some(root) = root.filter(|root| *root.preimage() == keys.preimage) else {
            return Ok((Err(Reason::UriMiss), Vec::new()));
        };
        let (record, vary) = match &*root {
            Record::Page(_) => (Some(root), Vec::new()),
            Record::Vary(_, names) => {
                let variant = keys.variant(&policy.secondary_key(names, headers));
                (self.record(&variant).await?, names.clone())
            }
        };
        let fits = |page: &Page| {
            page.preimage == keys.preimage && policy.matches(&page.secondary_key, headers)
        };
        let record = record.filter(|record| record.page().is_some_and(fits));
        Ok((record.ok_or(Reason::VaryMiss), vary))
    }

    /// Source the page was purged, if it was.
    async fn purged(
        &self,
        page: &Page,
        all: Option<Generation>,
        uri: Option<Generation>,
    ) -> StoreResult<Option<Purge>> {
        let mut soft = false;
        let mut check = |today: Option<Generation>, stamped: Stamp| {
            let today = today.map(|today| today.stamp);
            soft |= today.is_some_and(|today| today.soft != stamped.soft);
            today.is_none_or(|today| today.hard != stamped.hard)
        };
        let mut hard = check(all, page.stamps.all) | check(uri, page.stamps.uri);
        for (tag, stamped) in &page.stamps.tags {
            hard |= check(self.generation(tag).await?, *stamped);
        }
        Ok(if hard { Some(Purge::Hard) } else { soft.then_some(Purge::Soft) })
    }

    /// Stores the page that `make` makes of its stamps and of the names that the URI's pages vary on.
    ///
    /// # Errors
    /// Where it was purged meanwhile, or the store failed.
    pub(crate) async fn keep(
        &self,
        place: &NewPage<'_>,
        make: impl FnOnce(Stamps, Vec<HeaderName>) -> Page,
    ) -> Result<Arc<Record>, Reason> {
        let NewPage { keys, lookup, started_at, .. } = *place;
        let beyond = place.kept.saturating_mul(2).max(DAY);
        let all = self.current_stamp(&self.all, lookup.all, started_at, Timeout::Never).await?;
        let uri =
            self.current_stamp(&keys.generation, lookup.uri, started_at, beyond.into()).await?;
        let mut tags = Vec::with_capacity(place.tags.len());
        for tag in place.tags {
            tags.push((
                tag.clone(),
                self.current_stamp(tag, None, started_at, beyond.saturating_mul(30).into()).await?,
            ));
        }
        let root = self.record(&keys.root).await.map_err(|error| self.failed(&error))?;
        let names =
            union([&lookup.vary, root.as_deref().map_or(&[][..], Record::names), place.vary]);
        let page = make(Stamps { all, uri, tags }, names);
        self.put(keys, page, place.kept, beyond).await.map_err(|error| self.failed(&error))
    }

    async fn put(
        &self,
        keys: &Keys,
        page: Page,
        kept: Duration,
        beyond: Duration,
    ) -> StoreResult<Arc<Record>> {
        let names: Vec<HeaderName> =
            page.secondary_key.0.iter().map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            let record = Arc::new(Record::Page(page));
            self.set(&keys.root, &record, kept).await?;
            return Ok(record);
        }
        let variant = keys.variant(&page.secondary_key);
        let record = Arc::new(Record::Page(page));
        self.set(&variant, &record, kept).await?;
        let root = Arc::new(Record::Vary(keys.preimage.clone().into(), names));
        self.set(&keys.root, &root, beyond).await?;
        Ok(record)
    }

    async fn set(&self, key: &str, record: &Arc<Record>, kept: Duration) -> StoreResult<()> {
        self.cache.set_shared_owning(key, record, record.size(), kept).await
    }

    /// The generation to stamp a page with. What changed since the request started_at was purged: then the page may be made of
    /// what the purge was for.
    async fn current_stamp(
        &self,
        key: &str,
        lookup: Option<Generation>,
        started_at: UnixTime,
        timeout: Timeout,
    ) -> Result<Stamp, Reason> {
        let today = self.cache.get_or_set_shared(key, timeout, async || Generation::new()).await;
        let today = today.map_err(|error| self.failed(&error))?;
        let purged = match lookup {
            Some(lookup) => today.stamp != lookup.stamp,
            None => today.purged > started_at,
        };
        if purged { Err(Reason::Purged) } else { Ok(today.stamp) }
    }

    /// Replaces a generation.
    pub(crate) async fn purge(&self, key: &str, purge: Purge, now: UnixTime) -> StoreResult<()> {
        let old = self.generation(key).await?;
        let new = Arc::new(Generation::purged(old, purge, now));
        let timeout = if *key == *self.all { Timeout::Never } else { Timeout::After(DAY * 60) };
        self.cache.set_shared(key, &new, timeout).await?;
        count_purge();
        Ok(())
    }

    pub(crate) fn generation_of_all(&self) -> &str {
        &self.all
    }

    async fn generation(&self, key: &str) -> StoreResult<Option<Generation>> {
        Ok(self.cache.get_shared(key).await?.map(|generation: Arc<Generation>| *generation))
    }

    async fn record(&self, key: &str) -> StoreResult<Option<Arc<Record>>> {
        if self.local {
            return self.cache.get_shared(key).await;
        }
        Ok(self.cache.get::<Bytes>(key).await?.and_then(Record::decode).map(Arc::new))
    }

    /// Logs and counts a failure of the store; the page is served all the same.
    #[cold]
    pub(crate) fn failed(&self, error: &cache_core::Error) -> Reason {
        tracing::warn!(cache = self.alias(), %error, "a page is served without its cache");
        Reason::StoreFailed
    }
}

impl Record {
    fn preimage(&self) -> &Bytes {
        match self {
            Self::Page(page) => &page.preimage,
            Self::Vary(preimage, _) => preimage,
        }
    }

    fn names(&self) -> &[HeaderName] {
        match self {
            Self::Page(_) => &[],
            Self::Vary(_, names) => names,
        }
    }
}

/// All names, in order, each once.
fn union(lists: [&[HeaderName]; 3]) -> Vec<HeaderName> {
    let mut all: Vec<HeaderName> = lists.concat();
    all.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cache_core::Settings;
    use cache_locmem::LocMemCache;
    use http::{HeaderValue, StatusCode, header::COOKIE};

    use super::*;
    use crate::{
        generation::GenerationCheck, key::KeyBuilder, policy::BodyLength,
        request_flags::RequestFlags,
    };

    fn page_store() -> PageStore {
        let cache =
            CacheHandle::new("default", Arc::new(LocMemCache::default()), Settings::default());
        PageStore::new(cache, &KeyBuilder::default().generation_of_all())
    }

    fn keys(uri: &str) -> Keys {
        let (parts, ()) = http::Request::get(uri).body(()).expect("it is a request").into_parts();
        KeyBuilder::default()
            .keys(&parts, RequestFlags::from_headers(&parts.headers))
            .expect("it has keys")
    }

    fn headers(cookie: &'static str) -> HeaderMap {
        [(COOKIE, HeaderValue::from_static(cookie))].into_iter().collect()
    }

    async fn store(page_store: &PageStore, keys: &Keys, asked: &HeaderMap, vary: &[HeaderName]) {
        let policy = Policy::site();
        let meta = policy.store(
            asked,
            StatusCode::OK,
            &HeaderMap::new(),
            BodyLength::Known(0),
            Duration::ZERO,
        );
        let meta = meta.expect("it may be stored");
        let lookup = Lookup::nothing(Reason::UriMiss);
        let place = NewPage {
            keys,
            lookup: &lookup,
            started_at: Duration::ZERO,
            tags: &[],
            vary,
            kept: meta.store_ttl(),
        };
        let make = |stamps, names: Vec<HeaderName>| Page {
            preimage: keys.preimage.clone().into(),
            stamps,
            secondary_key: policy.secondary_key(&names, asked),
            meta: meta.clone(),
            stored: Duration::ZERO,
            born: None,
            checked: GenerationCheck::default(),
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        page_store.keep(&place, make).await.expect("the store works");
    }

    async fn found(page_store: &PageStore, keys: &Keys, asked: &HeaderMap) -> bool {
        let lookup = page_store.look(keys, &Policy::site(), asked).await.expect("the store works");
        lookup.answer.page().is_some()
    }

    #[tokio::test]
    async fn a_page_of_another_uri_whose_digest_is_the_same_is_a_miss() {
        let (page_store, asked) = (page_store(), headers("a"));
        let (one, other) = (keys("http://a/1"), keys("http://a/2"));
        store(&page_store, &one, &asked, &[]).await;
        assert!(found(&page_store, &one, &asked).await);
        let collision = Keys { preimage: other.preimage, ..one };
        assert!(!found(&page_store, &collision, &asked).await);
    }

    #[tokio::test]
    async fn only_a_purge_tells_requests_apart_and_not_the_first_page() {
        let (page_store, keys, asked) = (page_store(), keys("http://a/"), HeaderMap::new());
        let look = async || {
            page_store.look(&keys, &Policy::site(), &asked).await.expect("the store works").purged()
        };
        let before = look().await;
        store(&page_store, &keys, &asked, &[]).await;
        assert_eq!(look().await, before);
        page_store
            .purge(&keys.generation, Purge::Hard, Duration::from_secs(1))
            .await
            .expect("the store works");
        assert_ne!(look().await, before);
    }

    #[tokio::test]
    async fn a_page_for_other_values_whose_digest_is_the_same_is_a_miss() {
        let (page_store, keys) = (page_store(), keys("http://a/"));
        store(&page_store, &keys, &headers("a"), &[COOKIE]).await;
        let variant =
            |cookie| keys.variant(&Policy::site().secondary_key(&[COOKIE], &headers(cookie)));
        let record =
            page_store.record(&variant("a")).await.expect("the store works").expect("it is there");
        page_store
            .cache
            .set_shared(&variant("b"), &record, Timeout::Never)
            .await
            .expect("the store works");
        assert!(found(&page_store, &keys, &headers("a")).await);
        assert!(!found(&page_store, &keys, &headers("b")).await);
    }
}
