//! Tests of `cachette inspect`.

mod common;

use std::time::{Duration, SystemTime};

use cachette::{Ask, Bytes, CacheHandle, Purge, Tags, Timeout, Value};
use common::{Project, stores};
use serde_json::{Value as Json, json};

const FILES: &str = "default = 'filebased://files?version=3'";
const HOLD: Duration = Duration::from_secs(60);

/// The value of a line of the report.
fn line<'a>(report: &'a str, name: &str) -> &'a str {
    let found = report.lines().find_map(|line| line.strip_prefix(&format!("{name:14}")));
    found.unwrap_or_else(|| panic!("no line {name:?} in {report}"))
}

fn inspect(project: &Project, arguments: &[&str]) -> Json {
    project.run(&[&["--output", "json", "inspect"], arguments].concat()).json()
}

/// Stores bytes under a composed key, as another program would.
async fn store_bytes(cache: &CacheHandle, key: &str, bytes: Vec<u8>) {
    let value = Value::Bytes(Bytes::from(bytes));
    cache.store().set(&cache.composed_key(key), value, None).await.expect("it is stored");
}

#[tokio::test]
async fn entry_of_every_store_is_shown_with_its_place() {
    for store in stores::all("inspect") {
        let project = Project::new(&store.toml("inspect"));
        let cache = stores::open(&project).await;
        cache.set("k", &json!({"a": [1, "ž"]}), HOLD).await.expect(store.name);
        let finished = project.run(&["inspect", "k"]).succeeds();
        let report = finished.text();
        assert_eq!(line(report, "composed key"), "inspect:3:k", "{}", store.name);
        for part in store.place {
            assert_ne!(line(report, part), "", "{}", store.name);
        }
        assert_eq!(line(report, "type"), "map", "{}", store.name);
        assert_eq!(line(report, "codec"), "msgpack (entry format 1)", "{}", store.name);
        assert!(line(report, "size").ends_with(" bytes"), "{report}");
        assert!(line(report, "expires").starts_with("in "), "{report}");
        assert_eq!(line(report, "lease"), "none", "{}", store.name);
        assert!(report.contains("\"ž\""), "{report}");

        let json = inspect(&project, &["k"]);
        assert_eq!(json["hit"], true);
        assert_eq!(json["entry"]["value"], json!({"a": [1, "ž"]}), "{}", store.name);
        assert_eq!(json["entry"]["codec"], "msgpack");
        let ttl = json["entry"]["ttl"].as_f64().expect("it expires");
        assert!((30.0..=61.0).contains(&ttl), "{}: {ttl}", store.name);
        assert_eq!(json["leased"], false, "{}", store.name);
    }
}

#[tokio::test]
async fn missing_key_is_said_and_its_lease_shown() {
    for store in stores::all("missing") {
        let project = Project::new(&store.toml("missing"));
        let cache = stores::open(&project).await;
        let finished = project.run(&["inspect", "k"]).exits_with(1);
        assert!(line(finished.text(), "entry").contains("absent"), "{finished:?}");
        assert_eq!(line(finished.text(), "lease"), "none", "{}", store.name);
        let json = inspect(&project, &["k"]);
        assert_eq!((&json["hit"], &json["entry"]), (&json!(false), &Json::Null));

        let leases = cache.store().leases().expect("a store with leases");
        let composed = cache.composed_key("k");
        let lease = leases.acquire(&composed, Ask::Missing, HOLD).await.expect(store.name);
        assert!(lease.lease.is_some(), "{}", store.name);
        let finished = project.run(&["inspect", "k"]).exits_with(1);
        assert!(line(finished.text(), "lease").starts_with("held"), "{finished:?}");
        assert!(line(finished.text(), "entry").contains("absent"), "{finished:?}");
    }
}

#[test]
fn type_and_codec_depend_on_the_value() {
    let project = Project::new(FILES);
    for (value, kind, codec, format) in [
        ("7", "integer", "integer", json!(null)),
        ("\"hi\"", "text", "text", json!(1)),
        ("[1.5]", "list", "msgpack", json!(1)),
        ("1.5", "float", "msgpack", json!(1)),
        ("null", "null", "msgpack", json!(1)),
        ("true", "boolean", "msgpack", json!(1)),
    ] {
        project.run(&["set", "k", value]).succeeds();
        let entry = &inspect(&project, &["k"])["entry"];
        assert_eq!((&entry["type"], &entry["codec"]), (&json!(kind), &json!(codec)), "{value}");
        assert_eq!(entry["format"], format, "{value}");
        assert_eq!(entry["value"].to_string(), value);
    }
}

#[test]
fn bytes_are_text_or_hexadecimal_digits() {
    let project = Project::new(FILES);
    project.run_with(&["set", "--raw", "k", "-"], "<p>ž</p>".as_bytes()).succeeds();
    let entry = &inspect(&project, &["k"])["entry"];
    assert_eq!((&entry["type"], &entry["value"]), (&json!("bytes"), &json!("<p>ž</p>")));
    project.run_with(&["set", "--raw", "k", "-"], b"\xff\x00\x1b").succeeds();
    let entry = &inspect(&project, &["k"])["entry"];
    assert_eq!((&entry["type"], &entry["hex"]), (&json!("bytes"), &json!("ff001b")));
    let finished = project.run(&["inspect", "k"]).succeeds();
    assert_eq!(line(finished.text(), "hex"), "ff001b");
}

#[test]
fn long_value_is_shortened_unless_all_of_it_is_requested() {
    let project = Project::new(FILES);
    let long = json!("x".repeat(10_000)).to_string();
    project.run_with(&["set", "k", "-"], long.as_bytes()).succeeds();
    let finished = project.run(&["inspect", "k"]).succeeds();
    assert!(finished.text().len() < 5000 && finished.text().contains("--full"));
    let json = inspect(&project, &["k"]);
    assert_eq!(json["entry"]["omitted"], 6002);
    assert!(json["entry"]["value"].is_null());
    let finished = project.run(&["inspect", "--full", "k"]).succeeds();
    assert!(finished.text().contains(&long));
    assert_eq!(inspect(&project, &["k", "--full"])["entry"]["value"].to_string(), long);
}

#[tokio::test]
async fn entry_that_cannot_be_decoded_is_shown_as_it_is() {
    let project = Project::new(FILES);
    let cache = stores::open(&project).await;
    store_bytes(&cache, "k", b"theirs".to_vec()).await;
    project.run(&["get", "k"]).fails();
    let finished = project.run(&["inspect", "k"]).succeeds();
    assert_eq!(line(finished.text(), "codec"), "foreign");
    assert!(line(finished.text(), "problem").contains("another program"), "{finished:?}");
    assert_eq!(line(finished.text(), "hex"), "74686569 7273");
    // The header of format 2 ends too early.
    store_bytes(&cache, "k", b"\xC1\x23\x01".to_vec()).await;
    assert_eq!(inspect(&project, &["k"])["entry"]["codec"], "damaged");
}

/// An entry of format 2 that was stored this long ago and is fresh for ten minutes.
fn entry_of_format_2(age: Duration) -> Vec<u8> {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    let born = u64::try_from((now - age).as_millis()).expect("before the year 10000");
    let fresh: u64 = 600_000;
    let times = [&born.to_be_bytes()[2..], &fresh.to_be_bytes()[3..]].concat();
    [&b"\xC1\x23\x01"[..], &times, b"{\"a\":1}"].concat()
}

#[tokio::test]
async fn fresh_and_stale_entries_are_told_apart() {
    let project = Project::new(FILES);
    let cache = stores::open(&project).await;
    store_bytes(&cache, "k", entry_of_format_2(Duration::from_secs(60))).await;
    let finished = project.run(&["inspect", "k"]).succeeds();
    assert_eq!(line(finished.text(), "codec"), "json (entry format 2)");
    assert!(line(finished.text(), "fresh").starts_with("for 8 min"), "{finished:?}");
    assert_eq!(inspect(&project, &["k"])["entry"]["stale"], false);

    store_bytes(&cache, "k", entry_of_format_2(Duration::from_secs(720))).await;
    project.run(&["get", "k"]).misses();
    let finished = project.run(&["inspect", "k"]).succeeds();
    assert!(line(finished.text(), "fresh").starts_with("no: stale for 2 min"), "{finished:?}");
    let entry = &inspect(&project, &["k"])["entry"];
    assert_eq!((&entry["stale"], &entry["value"]), (&json!(true), &json!({"a": 1})));
    assert_eq!(entry["fresh"], 600.0);
}

#[tokio::test]
async fn tags_of_every_store_are_shown_with_their_state() {
    for store in stores::all("tags") {
        let project = Project::new(&store.toml("tags"));
        let cache = stores::open(&project).await;
        let tags = Tags::of(["current", "hard", "lost", "soft"]);
        cache.set_with("k", "v", HOLD, &tags).await.expect(store.name);
        cache.purge_tags(["soft"], Purge::Soft).await.expect(store.name);
        cache.purge_tags(["hard"], Purge::Hard).await.expect(store.name);
        cache.store().delete("tags:~:tag:lost").await.expect(store.name);
        let finished = project.run(&["inspect", "k"]).succeeds();
        let report = finished.text();
        assert_eq!(line(report, "tags"), "current (current)", "{}", store.name);
        for other in [
            "hard (purged: the entry is missing)",
            "lost (its record was lost: the entry is missing)",
            "soft (purged softly: the entry is stale)",
        ] {
            assert!(report.lines().any(|line| line.trim() == other), "{other}: {report}");
        }
        let expected = json!([
            {"name": "current", "state": "current"},
            {"name": "hard", "state": "purged_hard"},
            {"name": "lost", "state": "lost"},
            {"name": "soft", "state": "purged_soft"},
        ]);
        assert_eq!(inspect(&project, &["k"])["entry"]["tags"], expected, "{}", store.name);
    }
}

#[tokio::test]
async fn tags_are_safe_for_a_terminal() {
    let project = Project::new(FILES);
    let cache = stores::open(&project).await;
    let tag = |name: &str| [&[name.len() as u8][..], name.as_bytes(), &[7; 16]].concat();
    let tags = [tag("user:42"), tag("te\x1bam")].concat();
    store_bytes(&cache, "k", [&b"\xC1\x23\x02\x02"[..], &tags, b"1"].concat()).await;
    let finished = project.run(&["inspect", "k"]).succeeds();
    let lost = "(its record was lost: the entry is missing)";
    assert_eq!(line(finished.text(), "tags"), format!("user:42 {lost}"));
    assert!(finished.text().contains(&format!("te\\u{{1b}}am {lost}")), "{}", finished.text());
    let tags = &inspect(&project, &["k"])["entry"]["tags"];
    assert_eq!(tags[1], json!({"name": "te\x1bam", "state": "lost"}));
    // The records of another prefix are not known.
    let foreign = cache.store().get(&cache.composed_key("k")).await.expect("the store works");
    let foreign = foreign.expect("it was stored");
    cache.store().set("shop:1:k", foreign, None).await.expect("it is stored");
    let tags = &inspect(&project, &["--composed", "shop:1:k"])["entry"]["tags"];
    assert_eq!(tags[0], json!({"name": "user:42", "state": null}));
}

#[tokio::test]
async fn composed_key_is_taken_as_it_is() {
    let project = Project::new(FILES);
    let cache = stores::open(&project).await;
    cache.version(9).set("k", "other", Timeout::Never).await.expect("it is stored");
    project.run(&["inspect", "k"]).exits_with(1);
    assert_eq!(inspect(&project, &[":9:k", "--composed"])["entry"]["value"], "other");
}

#[test]
fn store_without_a_place_is_inspected_as_well() {
    let project = Project::new("default = 'locmem://'");
    let finished = project.run(&["inspect", "k"]).exits_with(1);
    assert_eq!(line(finished.text(), "lease"), "unknown");
    assert!(finished.stderr.contains("one process"), "{finished:?}");
}
