//! Sequences of requests: generated or recorded.

use std::{
    collections::HashMap,
    fs::{self, File},
    hash::Hash,
    io::{BufRead as _, BufReader},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use rand_distr::Zipf;

/// Requests for keys. Keys have numbers in the order of their first request.
pub(crate) struct Trace {
    pub(crate) name: String,
    pub(crate) requests: Vec<u32>,
    /// The keys as text.
    pub(crate) keys: Vec<Box<str>>,
}

impl Trace {
    fn new<K: Eq + Hash>(name: impl Into<String>, requests: impl IntoIterator<Item = K>) -> Self {
        let mut numbers = HashMap::new();
        let mut number = |key| {
            let next = u32::try_from(numbers.len()).expect("fewer than 2^32 keys");
            *numbers.entry(key).or_insert(next)
        };
        let requests = requests.into_iter().map(&mut number).collect();
        let keys = (0..numbers.len()).map(|key| key.to_string().into()).collect();
        Self { name: name.into(), requests, keys }
    }

    /// Returns this share of the number of keys.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small numbers"
    )]
    pub(crate) fn entries(&self, share: f64) -> usize {
        (self.keys.len() as f64 * share) as usize
    }
}

/// Returns `some` as a share of `all`.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub(crate) fn share(some: usize, all: usize) -> f64 {
    some as f64 / all as f64
}

const KEYS: u64 = 100_000;

/// Generates traces of this length. They are the same in each run.
pub(crate) fn generated(requests: usize) -> Vec<Trace> {
    let skews = [0.7, 0.9, 0.99, 1.2];
    let mut traces: Vec<Trace> =
        skews.map(|skew| Trace::new(format!("Zipf {skew}"), zipf(skew).take(requests))).into();
    let mixes = [
        ("Zipf 0.9 and scans", with_scans as fn(usize, u64) -> Option<u64>),
        ("Zipf 0.9 and a loop", with_a_loop),
    ];
    for (name, other) in mixes {
        let mixed =
            (0..requests).zip(zipf(0.9)).map(|(number, key)| other(number, key).unwrap_or(key));
        traces.push(Trace::new(name, mixed));
    }
    let drifting = (0..requests as u64).zip(zipf(0.9)).map(|(number, key)| key + number / 100);
    traces.push(Trace::new("Zipf 0.9 whose keys grow old", drifting));
    traces
}

fn zipf(skew: f64) -> impl Iterator<Item = u64> {
    let mut random = SmallRng::seed_from_u64(42);
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let law = Zipf::new(KEYS as f64, skew).expect("a valid exponent");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
    std::iter::repeat_with(move || random.sample(law) as u64)
}

/// After 20,000 requests, 5,000 requests for keys that occur once.
fn with_scans(number: usize, _: u64) -> Option<u64> {
    (number % 25_000 >= 20_000).then_some(KEYS + 1 + number as u64)
}

/// Every second request is for the next of 20,000 keys in a loop.
fn with_a_loop(number: usize, _: u64) -> Option<u64> {
    number.is_multiple_of(2).then_some(KEYS + 1 + number as u64 / 2 % 20_000)
}

/// Reads the traces in a folder. Each file `NAME.txt.gz` has one key per line.
pub(crate) fn recorded(folder: &Path) -> Result<Vec<Trace>, String> {
    let failed = |error| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut files =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    files.retain(|file| file.to_string_lossy().ends_with(".txt.gz"));
    if files.is_empty() {
        return Err(format!(
            "{}: no trace found; a trace is a file NAME.txt.gz with one key per line",
            folder.display()
        ));
    }
    files.sort();
    files
        .iter()
        .map(|file| read(file).map_err(|error| format!("{}: {error}", file.display())))
        .collect()
}

fn read(file: &Path) -> std::io::Result<Trace> {
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .replace(".txt.gz", "")
        .replace('_', " ");
    let lines = BufReader::new(MultiGzDecoder::new(File::open(file)?))
        .lines()
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Trace::new(name, lines))
}
