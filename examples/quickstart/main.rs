//! Caches an expensive result in every configured cache: `cargo run --example quickstart`.
//!
//! The result is the pair of sentences in a text with the smallest Levenshtein distance. To use
//! your own configuration or text, run `cargo run --example quickstart CONFIG TEXT`.

#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::{
    env,
    error::Error,
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use cachette::{CacheHandle, Caches, ErrorKind, Result, Timeout};
use serde::{Deserialize, Serialize};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart/caches.toml");
const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart/alice.txt");

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair {
    first: String,
    second: String,
    distance: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let config = arguments.next().unwrap_or_else(|| CONFIG.into());
    let path = arguments.next().unwrap_or_else(|| TEXT.into());

    let caches = Caches::from_file(&config).await?;
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    println!("text    {path}, {} sentences\nconfig  {config}", sentences(&text).len());

    for cache in caches.iter() {
        println!("\ncache {:?} ({})", cache.alias(), cache.store().name());
        show_lookups(cache, &text).await?;
        show_counter(cache).await?;
        show_version(cache).await?;
        show_expiry(cache).await?;
    }
    caches.close_all().await?;
    Ok(())
}

async fn show_lookups(cache: &CacheHandle, text: &str) -> Result<()> {
    let first = look_up(cache, text).await?;
    let second = look_up(cache, text).await?;
    println!("  first lookup   {first}\n  second lookup  {second}");
    if second.hit {
        let factor = first.time.as_secs_f64() / second.time.as_secs_f64();
        println!("                 {factor:.0} times faster");
    }
    if let Some(Pair { first, second, distance }) = second.pair {
        println!("  result         distance {distance} between");
        println!("                   {first}\n                   {second}");
    }
    Ok(())
}

struct Lookup {
    hit: bool,
    pair: Option<Pair>,
    time: Duration,
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {:.1?}", hit_or_miss(self.hit), self.time)
    }
}

async fn look_up(cache: &CacheHandle, text: &str) -> Result<Lookup> {
    let mut hit = true;
    let key = format!("closest-pair:{:016x}", fingerprint(text));
    let start = Instant::now();
    let pair = cache.get_or_set(&key, Timeout::Default, async || {
        hit = false;
        closest_pair(text)
    });
    let pair = pair.await?;
    Ok(Lookup { hit, pair, time: start.elapsed() })
}

/// Identifies the text in the key. A cache on disk may contain the results of other texts.
fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

async fn show_counter(cache: &CacheHandle) -> Result<()> {
    cache.set("visits", &40, Timeout::Default).await?;
    match cache.incr("visits", 2).await {
        Ok(visits) => println!("  incr           40 + 2 = {visits}"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("  incr           miss: nothing is stored");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn show_version(cache: &CacheHandle) -> Result<()> {
    cache.set("price", "old", Timeout::Default).await?;
    match cache.incr_version("price", 1).await {
        Ok(version) => {
            let old = cache.contains("price").await?;
            let new = cache.version(version).contains("price").await?;
            let (old, new) = (hit_or_miss(old), hit_or_miss(new));
            println!("  incr_version   version {version}: {new}, previous version: {old}");
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("  incr_version   miss: nothing is stored");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn show_expiry(cache: &CacheHandle) -> Result<()> {
    cache.set("news", "hot", Duration::from_millis(300)).await?;
    let before = hit_or_miss(cache.contains("news").await?);
    tokio::time::sleep(Duration::from_millis(310)).await;
    let after = hit_or_miss(cache.contains("news").await?);
    println!("  timeout 0.3 s  at once: {before}, after 0.31 s: {after}");
    Ok(())
}

fn hit_or_miss(hit: bool) -> &'static str {
    if hit { "hit" } else { "miss" }
}

fn sentences(text: &str) -> Vec<String> {
    let words = |sentence: &str| sentence.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split(['.', '?', '!']).map(words).filter(|sentence| sentence.len() > 40).collect()
}

fn closest_pair(text: &str) -> Option<Pair> {
    let sentences = sentences(text);
    let pairs = sentences
        .iter()
        .enumerate()
        .flat_map(|(n, first)| sentences[n + 1..].iter().map(move |second| (first, second)));
    let pairs = pairs.map(|(first, second)| (levenshtein(first, second), first, second));
    let (distance, first, second) = pairs.min_by_key(|(distance, ..)| *distance)?;
    Some(Pair { first: first.clone(), second: second.clone(), distance })
}

/// The Levenshtein distance: the number of letters to insert, delete or replace.
fn levenshtein(first: &str, second: &str) -> usize {
    let second: Vec<char> = second.chars().collect();
    let mut row: Vec<usize> = (0..=second.len()).collect();
    for (n, letter) in first.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = n + 1;
        for (m, &other) in second.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[m + 1];
            row[m + 1] = replaced.min(row[m] + 1).min(diagonal + 1);
        }
    }
    row[second.len()]
}
