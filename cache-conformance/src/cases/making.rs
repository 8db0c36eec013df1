//! `get_or_set`.

use cache_core::{Error, Timeout, Ttl};

use crate::Harness;

pub(super) async fn get_or_set_stores_what_was_missing(h: Harness) {
    let cache = h.cache().await;
    let made: String = cache.get_or_set("k", Timeout::secs(1000), async || "made".into()).await.unwrap();
    assert_eq!(made, "made");
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("made"));
    let Some(Ttl::Left(left)) = cache.ttl("k").await.unwrap() else { panic!("it expires") };
    assert!((900..=1000).contains(&left.as_secs()), "{left:?}");
}

pub(super) async fn get_or_set_of_a_hit_produces_nothing(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "stored", Timeout::Default).await.unwrap();
    let found: String = cache.get_or_set("k", Timeout::Default, async || panic!("not asked for")).await.unwrap();
    assert_eq!(found, "stored");
}

pub(super) async fn get_or_set_takes_a_stored_none_for_a_hit(h: Harness) {
    let cache = h.cache().await;
    let made: Option<u32> = cache.get_or_set("k", Timeout::Default, async || None).await.unwrap();
    assert_eq!(made, None);
    let found: Option<u32> = cache.get_or_set("k", Timeout::Default, async || panic!("not asked for")).await.unwrap();
    assert_eq!(found, None);
}

pub(super) async fn what_somebody_else_stored_meanwhile_wins(h: Harness) {
    let cache = h.cache().await;
    let made: String = cache
        .get_or_set("k", Timeout::Default, async || {
            cache.set("k", "theirs", Timeout::Default).await.unwrap();
            "mine".into()
        })
        .await
        .unwrap();
    assert_eq!(made, "theirs");
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("theirs"));
}

pub(super) async fn a_producer_that_fails_stores_nothing(h: Harness) {
    #[derive(Debug)]
    enum Failure {
        Ours(u32),
        #[expect(dead_code, reason = "shown by a test that fails")]
        Cache(Error),
    }
    impl From<Error> for Failure {
        fn from(error: Error) -> Self {
            Self::Cache(error)
        }
    }
    let cache = h.cache().await;
    let failed = cache.try_get_or_set("k", Timeout::Default, async || Err::<String, _>(Failure::Ours(7))).await;
    assert!(matches!(failed, Err(Failure::Ours(7))), "{failed:?}");
    assert!(!cache.contains("k").await.unwrap());

    let made = cache.try_get_or_set("k", Timeout::Default, async || Ok::<_, Failure>("made".to_owned())).await;
    assert_eq!(made.unwrap(), "made");
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("made"));
}

pub(super) async fn get_or_set_with_timeout_zero_answers_and_stores_nothing(h: Harness) {
    let cache = h.cache().await;
    let made: u32 = cache.get_or_set("k", Timeout::EXPIRED, async || 7).await.unwrap();
    assert_eq!(made, 7);
    assert!(!cache.contains("k").await.unwrap());
}

pub(super) async fn get_or_set_replaces_an_entry_of_another_type(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "no number", Timeout::Default).await.unwrap();
    let made: u32 = cache.get_or_set("k", Timeout::Default, async || 7).await.unwrap();
    assert_eq!(made, 7);
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(7));
}
