//! The spans of observed caches.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use cache_core::{
    CacheHandle, Settings, Timeout,
    observe::{ObserveOptions, Observed},
};
use cache_locmem::LocMemCache;
use cache_testing::Remote;
use tokio::runtime;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// A subscriber that keeps the spans of the target `cachette`.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    spans: Vec<Span>,
    entered: Vec<Id>,
}

struct Span {
    name: &'static str,
    parent: Option<&'static str>,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Span {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}").replace('"', ""));
    }
}

impl State {
    fn get(&mut self, id: &Id) -> &mut Span {
        let index = usize::try_from(id.into_u64()).expect("a small number") - 1;
        &mut self.spans[index]
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "cachette"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut state = self.0.lock().expect("no panic");
        let parent = state.entered.last().cloned().map(|parent| state.get(&parent).name);
        let name = attributes.metadata().name();
        let mut span = Span { name, parent, fields: BTreeMap::new() };
        attributes.record(&mut span);
        state.spans.push(span);
        Id::from_u64(state.spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(self.0.lock().expect("no panic").get(id));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        self.0.lock().expect("no panic").entered.push(id.clone());
    }

    fn exit(&self, _: &Id) {
        self.0.lock().expect("no panic").entered.pop();
    }
}

/// Returns the spans of `test` on a store that waits for I/O, and on one that does not.
fn spans<F: Future<Output = ()>>(keys: bool, test: impl Fn(CacheHandle) -> F) -> [Vec<Span>; 2] {
    let remote = Arc::new(Remote::new(Arc::new(LocMemCache::default())));
    let stores: [Arc<dyn cache_core::Cache>; 2] = [remote, Arc::new(LocMemCache::default())];
    stores.map(|store| {
        let mut options = ObserveOptions::default();
        options.keys = keys;
        let observed = Arc::new(Observed::new("pages", store, options));
        let cache = CacheHandle::new("pages", observed, Settings::default());
        let spans = Spans::default();
        tracing::subscriber::with_default(spans.clone(), || {
            let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(test(cache));
        });
        std::mem::take(&mut spans.0.lock().expect("no panic").spans)
    })
}

async fn set_and_get(cache: CacheHandle) {
    cache.set("key", "value", Timeout::Default).await.expect("it is stored");
    cache.get::<String>("key").await.expect("a hit");
    cache.get::<String>("absent").await.expect("a miss");
    cache.delete("key").await.expect("it is removed");
    cache.clear().await.expect("it is cleared");
}

#[test]
fn operations_have_the_spans_of_sentry() {
    for spans in spans(false, set_and_get) {
        let names: Vec<_> = spans.iter().map(|span| span.name).collect();
        assert_eq!(names, ["cache.put", "cache.get", "cache.get", "cache.remove", "cache.flush"]);
        let [put, hit, miss, ..] = &spans[..] else { unreachable!("there are five") };
        assert_eq!([&put.fields["cache"], &put.fields["store"]], ["pages", "locmem"]);
        assert_eq!([&put.fields["op"], &put.fields["outcome"]], ["set", "ok"]);
        assert_eq!([&hit.fields["cache.hit"], &hit.fields["outcome"]], ["true", "hit"]);
        assert_eq!([&miss.fields["cache.hit"], &miss.fields["outcome"]], ["false", "miss"]);
        assert_eq!(put.fields["cache.item_size"], hit.fields["cache.item_size"]);
        assert!(!miss.fields.contains_key("cache.item_size"));
    }
}

#[test]
fn keys_are_a_field_only_if_they_are_asked_for() {
    for spans in spans(false, set_and_get) {
        assert!(spans.iter().all(|span| !span.fields.contains_key("cache.key")));
    }
    for spans in spans(true, set_and_get) {
        assert_eq!(spans[0].fields["cache.key"], "[:1:key]");
    }
}

#[test]
fn spans_of_a_producer_are_inside_that_of_its_fill() {
    let produce = async |cache: CacheHandle| {
        let inner = cache.clone();
        let produced = cache.get_or_set("page", Timeout::Default, async || {
            inner.get::<u8>("source").await.expect("a miss");
            7
        });
        assert_eq!(produced.await.expect("a value"), 7);
    };
    for spans in spans(false, produce) {
        let nested: Vec<_> = spans.iter().map(|span| (span.name, span.parent)).collect();
        let expected = [
            ("cache.get", None),
            ("cache.get", None),
            ("cache.produce", None),
            ("cache.get", Some("cache.produce")),
            ("cache.put", None),
        ];
        assert_eq!(nested, expected);
        assert_eq!(spans[2].fields["outcome"], "stored");
    }
}
