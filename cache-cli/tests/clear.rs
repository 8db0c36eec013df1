//! Tests of `cachette clear` on stores that processes share.

mod common;

use std::time::Duration;

use cachette::{CacheHandle, ManualClock};
use common::{Project, stores};

async fn is_hit(cache: &CacheHandle, key: &str) -> bool {
    cache.get::<u8>(key).await.expect("the store works").is_some()
}

/// The command is another process.
#[tokio::test]
async fn clear_of_a_generation_is_seen_by_other_processes_a_second_later() {
    for store in stores::all("generations") {
        let (name, ttl) = (store.name, Duration::from_secs(600));
        let cleared = format!("{}clear = 'generation'\n", store.toml("generations"));
        let kept = store.toml_as("kept", "generations");
        let project = Project::new(&format!("{cleared}{kept}"));
        let time = ManualClock::new();
        let cache = stores::open(&project).await.with_clock(time.clock());
        cache.set("k", &1, ttl).await.expect(name);
        project.run(&["set", "k", "1", "--cache", "kept"]).succeeds();
        project.run(&["get", "k"]).prints("1\n");

        project.run(&["clear", "--yes"]).succeeds();
        project.run(&["get", "k"]).misses();
        project.run(&["get", "k", "--cache", "kept"]).prints("1\n");
        assert!(is_hit(&cache, "k").await, "{name}");
        time.advance(Duration::from_secs(1));
        assert!(!is_hit(&cache, "k").await, "{name}");

        cache.set("new", &2, ttl).await.expect(name);
        project.run(&["get", "new"]).prints("2\n");
        project.run(&["keys"]).prints("new\n");
        let inspected = project.run(&["--output", "json", "inspect", "new"]).json();
        assert_eq!(inspected["composed_key"], cache.composed_key("new"), "{name}");
        assert_eq!(inspected["hit"], true, "{name}");
    }
}
