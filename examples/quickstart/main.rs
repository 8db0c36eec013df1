//! What a cache is good for, shown on a text of your own: `cargo run --example quickstart [CONFIG [TEXT]]`.
//!
//! The job is to find the two sentences of the text that are most alike, by comparing each with each, letter by letter.
//! It is done once for each cache of the configuration, and looked up from then on.

#![allow(clippy::print_stdout, reason = "an example shows what it does by printing")]

use std::{
    env,
    error::Error,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use cachette::{CacheHandle, Caches, ErrorKind, Result, Timeout};
use serde::{Deserialize, Serialize};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart/caches.toml");
const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart/alice.txt");

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Alike {
    one: String,
    other: String,
    changes: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let config = arguments.next().unwrap_or_else(|| CONFIG.into());
    let path = arguments.next().unwrap_or_else(|| TEXT.into());

    let caches = Caches::from_file(&config).await?;
    let text =
        fs::read_to_string(&path).map_err(|error| format!("{path}: cannot be read: {error}"))?;
    println!("text    {path}, {} sentences\nconfig  {config}", sentences(&text).len());

    for cache in caches.iter() {
        println!("\ncache {:?}, a {} store", cache.alias(), cache.store().name());
        show_look_ups(cache, &text).await?;
        show_counter(cache).await?;
        show_version(cache).await?;
        show_expiry(cache).await?;
    }
    caches.close_all().await?;
    Ok(())
}

async fn show_look_ups(cache: &CacheHandle, text: &str) -> Result<()> {
    let (first, took) = look_up(cache, text).await?;
    let (again, took_again) = look_up(cache, text).await?;
    println!("  first   {}", outcome(&first, took));
    println!("  again   {}", outcome(&again, took_again));
    if again.hit {
        println!("          {:.0} times faster", took.as_secs_f64() / took_again.as_secs_f64());
    }
    if let Some(Alike { one, other, changes }) = again.alike {
        println!("  answer  {changes} letters lie between\n            {one}\n            {other}");
    }
    Ok(())
}

struct LookUp {
    hit: bool,
    alike: Option<Alike>,
}

async fn look_up(cache: &CacheHandle, text: &str) -> Result<(LookUp, Duration)> {
    let mut hit = true;
    let key = format!("most-alike:{:016x}", fingerprint(text));
    let start = Instant::now();
    let alike = cache.get_or_set(&key, Timeout::Default, async || {
        hit = false;
        most_alike(text)
    });
    let alike = alike.await?;
    Ok((LookUp { hit, alike }, start.elapsed()))
}

/// A key tells everything that the value depends on: a cache on disk has seen other texts before.
fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn outcome(look_up: &LookUp, took: Duration) -> String {
    format!("{} in {took:.1?}", if look_up.hit { "a hit" } else { "a miss, made" })
}

async fn show_counter(cache: &CacheHandle) -> Result<()> {
    cache.set("visits", &40, Timeout::Default).await?;
    match cache.incr("visits", 2).await {
        Ok(visits) => println!("  counter 40 and 2 are {visits}"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("  counter none: nothing is kept")
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn show_version(cache: &CacheHandle) -> Result<()> {
    cache.set("price", "old", Timeout::Default).await?;
    match cache.incr_version("price", 1).await {
        Ok(version) => {
            let (here, there) =
                (cache.contains("price").await?, cache.version(version).contains("price").await?);
            println!(
                "  version bumped to {version}: there it is a {}, here a {}",
                hit(there),
                hit(here)
            );
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("  version not bumped: nothing is kept")
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn show_expiry(cache: &CacheHandle) -> Result<()> {
    cache.set("news", "hot", Duration::from_millis(300)).await?;
    let at_once = cache.contains("news").await?;
    tokio::time::sleep(Duration::from_millis(310)).await;
    let later = cache.contains("news").await?;
    println!("  expiry  after 0.3 s: at once it is a {}, then a {}", hit(at_once), hit(later));
    Ok(())
}

fn hit(hit: bool) -> &'static str {
    if hit { "hit" } else { "miss" }
}

fn sentences(text: &str) -> Vec<String> {
    let words = |sentence: &str| sentence.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split(['.', '?', '!']).map(words).filter(|sentence| sentence.len() > 40).collect()
}

fn most_alike(text: &str) -> Option<Alike> {
    let sentences = sentences(text);
    let pairs = sentences
        .iter()
        .enumerate()
        .flat_map(|(n, one)| sentences[n + 1..].iter().map(move |other| (one, other)));
    let pairs = pairs.map(|(one, other)| (changes_between(one, other), one, other));
    let (changes, one, other) = pairs.min_by_key(|(changes, ..)| *changes)?;
    Some(Alike { one: one.clone(), other: other.clone(), changes })
}

/// The letters to insert, delete or replace to get from one to the other (the Levenshtein distance).
fn changes_between(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = n + 1;
        for (m, &other_letter) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != other_letter);
            diagonal = row[m + 1];
            row[m + 1] = replaced.min(row[m] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
