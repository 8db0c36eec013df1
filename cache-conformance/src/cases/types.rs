//! Rust's types through a handle.

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

async fn comes_back<T>(cache: &CacheHandle, value: T)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static,
{
    cache.set("k", &value, Timeout::Default).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), Some(value));
}

pub(super) async fn a_text_comes_back(h: Harness) {
    let cache = h.cache().await;
    for text in ["", "hello", "Žluťoučký kůň", "\0", "42", "null", "{\"a\": 1}"] {
        cache.set("k", text, Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some(text));
    }
    comes_back(&cache, 'x').await;
}

pub(super) async fn bytes_come_back_as_whatever_holds_bytes(h: Harness) {
    let cache = h.cache().await;
    let all: Vec<u8> = (0..=255).collect();
    comes_back(&cache, all.clone()).await;
    comes_back(&cache, Bytes::from(all.clone())).await;
    comes_back(&cache, Vec::<u8>::new()).await;
    comes_back(&cache, Bytes::new()).await;
    comes_back(&cache, [7_u8, 8, 9]).await;

    cache.set("k", &all[..], Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<Bytes>("k").await.unwrap().as_deref(), Some(&all[..]));
    assert_eq!(cache.get::<Vec<u8>>("k").await.unwrap(), Some(all));
}

pub(super) async fn a_struct_comes_back(h: Harness) {
    comes_back(&h.cache().await, ada()).await;
}

pub(super) async fn an_enum_comes_back(h: Harness) {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Point,
        Circle(f64),
        Square { side: u32 },
    }
    let cache = h.cache().await;
    for shape in [Shape::Point, Shape::Circle(1.5), Shape::Square { side: 3 }] {
        comes_back(&cache, shape).await;
    }
}

pub(super) async fn collections_come_back(h: Harness) {
    let cache = h.cache().await;
    comes_back(&cache, vec![vec![1_u32, 2], vec![], vec![3]]).await;
    comes_back(&cache, HashMap::from([(String::from("a"), 1.5), (String::from("b"), -0.0)])).await;
    comes_back(&cache, BTreeMap::from([(1_u64, Some("x".to_owned())), (2, None)])).await;
    comes_back(&cache, (1_u8, "two".to_owned(), 3.0_f32, true)).await;
    comes_back(&cache, ()).await;
    comes_back(&cache, vec![1_u8, 2]).await;
    comes_back(&cache, vec![1_i32, 300]).await;
}

pub(super) async fn a_stored_none_is_a_hit(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", &None::<User>, Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<Option<User>>("k").await.unwrap(), Some(None));
    assert_eq!(cache.get::<Option<User>>("missing").await.unwrap(), None);
    comes_back(&cache, Some(5_u32)).await;
    comes_back(&cache, Some(ada())).await;
    comes_back(&cache, Some("text".to_owned())).await;
    comes_back(&cache, Some(vec![1_u8])).await;
}

pub(super) async fn a_stored_none_is_there_for_every_verb(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", &None::<User>, Timeout::Default).await.unwrap();
    assert!(cache.contains("k").await.unwrap());
    assert!(!cache.add("k", &Some(ada()), Timeout::Default).await.unwrap());
    assert_eq!(cache.get_many::<Option<User>, _>(["k"]).await.unwrap().get("k"), Some(&None));
    assert!(cache.touch("k", Timeout::Never).await.unwrap());
    assert!(cache.delete("k").await.unwrap());
}

pub(super) async fn a_value_that_cannot_be_written_leaves_the_old_entry(h: Harness) {
    struct Unwritable;
    impl Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let cache = h.cache().await;
    cache.set("k", "old", Timeout::Default).await.unwrap();
    assert_eq!(
        cache.set("k", &Unwritable, Timeout::Default).await.unwrap_err().kind(),
        ErrorKind::Encode
    );
    assert_eq!(
        cache.add("new", &Unwritable, Timeout::Default).await.unwrap_err().kind(),
        ErrorKind::Encode
    );
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("old"));
    assert!(!cache.contains("new").await.unwrap());
}

pub(super) async fn every_codec_writes_what_every_handle_reads(h: Harness) {
    let store = h.store().await;
    for codec in [Codec::MsgPack, Codec::Json] {
        let writer =
            CacheHandle::new("writer", store.clone(), Settings { codec, ..Settings::default() });
        let reader = CacheHandle::new("reader", store.clone(), Settings::default());
        writer.set("k", &ada(), Timeout::Default).await.unwrap();
        assert_eq!(reader.get("k").await.unwrap(), Some(ada()), "{codec:?}");
    }
}

pub(super) async fn an_integer_of_any_width_can_be_counted(h: Harness) {
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

pub(super) async fn a_newtype_of_an_integer_can_be_counted(h: Harness) {
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

pub(super) async fn an_integer_beyond_64_bits_comes_back_but_is_no_counter(h: Harness) {
    let cache = h.cache().await;
    comes_back(&cache, u64::MAX).await;
    assert_eq!(cache.incr("k", 1).await.unwrap_err().kind(), ErrorKind::NotAnInteger);
    comes_back(&cache, i128::MIN).await;
    comes_back(&cache, u128::MAX).await;
}

pub(super) async fn truth_values_and_floats_are_no_counters(h: Harness) {
    let cache = h.cache().await;
    comes_back(&cache, true).await;
    assert_eq!(cache.incr("k", 1).await.unwrap_err().kind(), ErrorKind::NotAnInteger);
    comes_back(&cache, 1.0_f64).await;
    assert_eq!(cache.incr("k", 1).await.unwrap_err().kind(), ErrorKind::NotAnInteger);
    assert_eq!(cache.get("k").await.unwrap(), Some(1.0_f64));
}

pub(super) async fn a_text_of_digits_is_no_counter(h: Harness) {
    let cache = h.cache().await;
    cache.set("k", "42", Timeout::Default).await.unwrap();
    assert_eq!(cache.incr("k", 1).await.unwrap_err().kind(), ErrorKind::NotAnInteger);
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("42"));
}

pub(super) async fn a_wrong_type_is_a_miss_that_is_counted(h: Harness) {
    let cache = h.cache().await;
    cache.set("text", "hello", Timeout::Default).await.unwrap();
    cache.set("number", &300, Timeout::Default).await.unwrap();
    cache.set("user", &ada(), Timeout::Default).await.unwrap();

    assert_eq!(cache.get::<u32>("text").await.unwrap(), None);
    assert_eq!(cache.get::<u8>("number").await.unwrap(), None);
    assert_eq!(cache.get::<Vec<u32>>("user").await.unwrap(), None);
    assert_eq!(cache.get_many::<bool, _>(["text", "number"]).await.unwrap().len(), 0);
    assert_eq!(cache.undecodable_seen(), 5);
    assert!(cache.contains("text").await.unwrap(), "it is left as it is");
}

pub(super) async fn a_wrong_type_is_an_error_where_that_is_asked_for(h: Harness) {
    let cache =
        h.cache_with(Settings { undecodable: Undecodable::Error, ..Settings::default() }).await;
    cache.set("text", "hello", Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<u32>("text").await.unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(cache.get_many::<u32, _>(["text"]).await.unwrap_err().kind(), ErrorKind::Decode);
}

pub(super) async fn a_struct_that_gained_a_field_reads_old_entries(h: Harness) {
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
