//! `get_shared` and `set_shared`, which work on every store.

use std::sync::Arc;

use cache_core::Timeout;
use serde::{Deserialize, Serialize};

use crate::Harness;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    title: String,
    words: Vec<String>,
}

fn page() -> Arc<Page> {
    Arc::new(Page { title: "Home".into(), words: vec!["hello".into(), "world".into()] })
}

pub(super) async fn get_shared_returns_the_stored_object(h: Harness) {
    let cache = h.cache().await;
    let page = page();
    cache.set_shared("k", &page, Timeout::Default).await.unwrap();
    let (one, other) = (
        cache.get_shared::<Page>("k").await.unwrap(),
        cache.get_shared::<Page>("k").await.unwrap(),
    );
    assert_eq!(one.as_ref(), Some(&page));
    assert_eq!(other.as_ref(), Some(&page));
    if cache.store().keeps_objects() {
        assert!(
            one.is_some_and(|one| Arc::ptr_eq(&one, &page)),
            "the store keeps objects, but returned a copy"
        );
    }
}

pub(super) async fn get_returns_a_shared_object_by_value(h: Harness) {
    let cache = h.cache().await;
    cache.set_shared("k", &page(), Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<Page>("k").await.unwrap().as_ref(), Some(&*page()));
    assert_eq!(cache.get_many::<Page, _>(["k"]).await.unwrap().get("k"), Some(&*page()));
}

pub(super) async fn get_shared_returns_a_plain_value(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", &*page(), Timeout::Default).await.unwrap();
    assert_eq!(cache.get_shared::<Page>("k").await.unwrap(), Some(page()));
    cache.set("n", &7, Timeout::Default).await.unwrap();
    assert_eq!(cache.get_shared::<u8>("n").await.unwrap(), Some(Arc::new(7)));
    assert_eq!(cache.get_shared::<u8>("missing").await.unwrap(), None);
}

pub(super) async fn object_of_another_type_is_a_miss(h: Harness) {
    let cache = h.cache().await;
    cache.set_shared("k", &page(), Timeout::Default).await.unwrap();
    assert_eq!(cache.get_shared::<u32>("k").await.unwrap(), None);
    assert_eq!(cache.get::<bool>("k").await.unwrap(), None);
    assert_eq!(cache.undecodable_seen(), 2);
    assert_eq!(
        cache.get_shared::<Page>("k").await.unwrap(),
        Some(page()),
        "the entry is unchanged"
    );
}

pub(super) async fn object_decodes_as_another_type_of_the_same_shape(h: Harness) {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Headline {
        title: String,
    }
    let cache = h.cache().await;
    cache.set_shared("k", &page(), Timeout::Default).await.unwrap();
    let headline = Headline { title: "Home".into() };
    assert_eq!(cache.get_shared::<Headline>("k").await.unwrap(), Some(Arc::new(headline)));
}

pub(super) async fn shared_integer_can_be_incremented(h: Harness) {
    let cache = h.cache().await;
    cache.set_shared("n", &Arc::new(41_u16), Timeout::Default).await.unwrap();
    assert_eq!(cache.incr("n", 1).await.unwrap(), 42);
    assert_eq!(cache.get_shared::<u16>("n").await.unwrap(), Some(Arc::new(42)));
}

pub(super) async fn shared_object_expires(h: Harness) {
    let cache = h.cache().await;
    cache.set_shared("k", &page(), h.moment()).await.unwrap();
    h.outlive(h.moment()).await;
    assert_eq!(cache.get_shared::<Page>("k").await.unwrap(), None);
}

pub(super) async fn objects_and_values_overwrite_each_other(h: Harness) {
    let cache = h.cache().await;
    cache.set_shared("k", &page(), Timeout::Default).await.unwrap();
    cache.set("k", "text", Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("text"));
    cache.set_shared("k", &page(), Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<Page>("k").await.unwrap().as_ref(), Some(&*page()));
    assert!(cache.delete("k").await.unwrap());
}
