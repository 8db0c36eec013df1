//! Encoding of Rust types through a handle.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use cache_core::{CacheHandle, Codec, ErrorKind, Settings, Timeout, Undecodable};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Harness;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    age: u8,
    mails: Vec<String>,
    boss: Option<Box<User>>,
}

fn ada() -> User {
    let boss = User { name: "Charles".into(), age: 44, mails: Vec::new(), boss: None };
    User {
        name: "Ada Žluťoučká".into(),
        age: 36,
        mails: vec!["ada@example.org".into()],
        boss: Some(Box::new(boss)),
    }
}

async fn round_trips<T>(cache: &CacheHandle, value: T)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static,
{
    cache.set("k", &value, Timeout::Default).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), Some(value));
}

pub(super) async fn strings_round_trip(h: Harness) {
    let cache = h.cache().await;
    for text in ["", "hello", "Žluťoučký kůň", "\0", "42", "null", "{\"a\": 1}"] {
        cache.set("k", text, Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some(text));
    }
    round_trips(&cache, 'x').await;
}

pub(super) async fn byte_types_round_trip(h: Harness) {
    let cache = h.cache().await;
    let all: Vec<u8> = (0..=255).collect();
    round_trips(&cache, all.clone()).await;
    round_trips(&cache, Bytes::from(all.clone())).await;
    round_trips(&cache, Vec::<u8>::new()).await;
    round_trips(&cache, Bytes::new()).await;
    round_trips(&cache, [7_u8, 8, 9]).await;

    cache.set("k", &all[..], Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<Bytes>("k").await.unwrap().as_deref(), Some(&all[..]));
    assert_eq!(cache.get::<Vec<u8>>("k").await.unwrap(), Some(all));
}

pub(super) async fn structs_round_trip(h: Harness) {
    round_trips(&h.cache().await, ada()).await;
}

pub(super) async fn enums_round_trip(h: Harness) {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Point,
        Circle(f64),
        Square { side: u32 },
    }
    let cache = h.cache().await;
    for shape in [Shape::Point, Shape::Circle(1.5), Shape::Square { side: 3 }] {
        round_trips(&cache, shape).await;
    }
}

pub(super) async fn collections_round_trip(h: Harness) {
    let cache = h.cache().await;
    round_trips(&cache, vec![vec![1_u32, 2], vec![], vec![3]]).await;
    round_trips(&cache, HashMap::from([(String::from("a"), 1.5), (String::from("b"), -0.0)])).await;
    round_trips(&cache, BTreeMap::from([(1_u64, Some("x".to_owned())), (2, None)])).await;
    round_trips(&cache, (1_u8, "two".to_owned(), 3.0_f32, true)).await;
    round_trips(&cache, ()).await;
    round_trips(&cache, vec![1_u8, 2]).await;
    round_trips(&cache, vec![1_i32, 300]).await;
}

pub(super) async fn stored_none_is_a_hit(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", &None::<User>, Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<Option<User>>("k").await.unwrap(), Some(None));
    assert_eq!(cache.get::<Option<User>>("missing").await.unwrap(), None);
    round_trips(&cache, Some(5_u32)).await;
    round_trips(&cache, Some(ada())).await;
    round_trips(&cache, Some("text".to_owned())).await;
    round_trips(&cache, Some(vec![1_u8])).await;
}

pub(super) async fn stored_none_exists_for_every_verb(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", &None::<User>, Timeout::Default).await.unwrap();
    assert!(cache.contains("k").await.unwrap());
    assert!(!cache.add("k", &Some(ada()), Timeout::Default).await.unwrap());
    assert_eq!(cache.get_many::<Option<User>, _>(["k"]).await.unwrap().get("k"), Some(&None));
    assert!(cache.touch("k", Timeout::Never).await.unwrap());
    assert!(cache.delete("k").await.unwrap());
}

pub(super) async fn unencodable_value_leaves_the_entry_unchanged(h: Harness) {
    struct Unencodable;
    impl Serialize for Unencodable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let cache = h.cache().await;
    cache.set("k", "old", Timeout::Default).await.unwrap();
    assert_eq!(
        cache.set("k", &Unencodable, Timeout::Default).await.unwrap_err().kind(),
        ErrorKind::Encode
    );
    assert_eq!(
        cache.add("new", &Unencodable, Timeout::Default).await.unwrap_err().kind(),
        ErrorKind::Encode
    );
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("old"));
    assert!(!cache.contains("new").await.unwrap());
}

pub(super) async fn every_handle_decodes_every_codec(h: Harness) {
    let store = h.store().await;
    for codec in [Codec::MsgPack, Codec::Json] {
        let writer =
            CacheHandle::new("writer", store.clone(), Settings { codec, ..Settings::default() });
        let reader = CacheHandle::new("reader", store.clone(), Settings::default());
        writer.set("k", &ada(), Timeout::Default).await.unwrap();
        assert_eq!(reader.get("k").await.unwrap(), Some(ada()), "{codec:?}");
    }
}

pub(super) async fn integers_of_any_width_can_be_incremented(h: Harness) {
    let cache = h.cache().await;
    macro_rules! counted {
        ($($type:ty)+) => {
            $(
                cache.set("n", &(41 as $type), Timeout::Default).await.unwrap();
                assert_eq!(cache.incr("n", 1).await.unwrap(), 42, stringify!($type));
                assert_eq!(cache.get::<$type>("n").await.unwrap(), Some(42), stringify!($type));
            )+
        };
    }
    counted! { i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize }
}

pub(super) async fn newtypes_of_integers_can_be_incremented(h: Harness) {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Visits(u32);
    let cache = h.cache().await;
    for stored in [
        cache.set("n", &Visits(41), Timeout::Default).await,
        cache.set("o", &Some(41), Timeout::Default).await,
    ] {
        stored.unwrap();
    }
    assert_eq!(cache.incr("n", 1).await.unwrap(), 42);
    assert_eq!(cache.get("n").await.unwrap(), Some(Visits(42)));
    assert_eq!(cache.incr("o", 1).await.unwrap(), 42);
    assert_eq!(cache.get::<Option<u8>>("o").await.unwrap(), Some(Some(42)));
}

pub(super) async fn integers_beyond_64_bits_round_trip_but_cannot_be_incremented(h: Harness) {
    let cache = h.cache().await;
    round_trips(&cache, u64::MAX).await;
    assert_eq!(cache.incr("k", 1).await.unwrap_err().kind(), ErrorKind::NotAnInteger);
    round_trips(&cache, i128::MIN).await;
    round_trips(&cache, u128::MAX).await;
}

pub(super) async fn bools_and_floats_cannot_be_incremented(h: Harness) {
    let cache = h.cache().await;
    round_trips(&cache, true).await;
    assert_eq!(cache.incr("k", 1).await.unwrap_err().kind(), ErrorKind::NotAnInteger);
    round_trips(&cache, 1.0_f64).await;
    assert_eq!(cache.incr("k", 1).await.unwrap_err().kind(), ErrorKind::NotAnInteger);
    assert_eq!(cache.get("k").await.unwrap(), Some(1.0_f64));
}

pub(super) async fn digit_strings_cannot_be_incremented(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "42", Timeout::Default).await.unwrap();
    assert_eq!(cache.incr("k", 1).await.unwrap_err().kind(), ErrorKind::NotAnInteger);
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("42"));
}

pub(super) async fn type_mismatch_is_a_counted_miss(h: Harness) {
    let cache = h.cache().await;
    cache.set("text", "hello", Timeout::Default).await.unwrap();
    cache.set("number", &300, Timeout::Default).await.unwrap();
    cache.set("user", &ada(), Timeout::Default).await.unwrap();

    assert_eq!(cache.get::<u32>("text").await.unwrap(), None);
    assert_eq!(cache.get::<u8>("number").await.unwrap(), None);
    assert_eq!(cache.get::<Vec<u32>>("user").await.unwrap(), None);
    assert_eq!(cache.get_many::<bool, _>(["text", "number"]).await.unwrap().len(), 0);
    assert_eq!(cache.undecodable_seen(), 5);
    assert!(cache.contains("text").await.unwrap(), "the entry is unchanged");
}

pub(super) async fn type_mismatch_is_an_error_if_configured(h: Harness) {
    let cache =
        h.cache_with(Settings { undecodable: Undecodable::Error, ..Settings::default() }).await;
    cache.set("text", "hello", Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<u32>("text").await.unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(cache.get_many::<u32, _>(["text"]).await.unwrap_err().kind(), ErrorKind::Decode);
}

pub(super) async fn struct_with_a_new_field_decodes_old_entries(h: Harness) {
    #[derive(Debug, PartialEq, Deserialize)]
    struct NewUser {
        #[serde(default)]
        admin: bool,
        age: u8,
        name: String,
    }
    let cache = h.cache().await;
    cache.set("k", &ada(), Timeout::Default).await.unwrap();
    let new = NewUser { admin: false, age: 36, name: ada().name };
    assert_eq!(cache.get("k").await.unwrap(), Some(new));
}
