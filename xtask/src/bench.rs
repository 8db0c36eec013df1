//! `cargo xtask bench`: runs the benchmarks one after the other and writes the page of results.
//!
//! Each benchmark starts the servers it needs and writes its results as JSON below `target`. The
//! page is made from these files, so one benchmark can be repeated without the others.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::builder::PossibleValuesParser;
use xtask::servers::{self, Kind};

use crate::shell::{self, Outcome, cargo};

const PACKAGE: &str = "cachette-benches";

/// The benchmarks in the order of the page, and the servers each needs.
const BENCHMARKS: [(&str, &[Kind]); 12] = [
    ("http", &[]),
    ("http_allocations", &[]),
    ("locmem", &[]),
    ("counts", &[]),
    ("misses", &[]),
    ("hit_ratio", &[]),
    ("memory", &[]),
    ("dummy", &[]),
    ("filebased", &[]),
    ("db", &[Kind::Postgres, Kind::Mariadb]),
    ("memcached", &[Kind::Memcached]),
    ("redis", &[Kind::Redis]),
];

/// Where a full run writes its results and the page. A quick run is less precise and writes both to
/// a folder of its own.
const RESULTS: &str = "target/bench";
const QUICK: &str = "target/bench/quick";
const PAGE: &str = "docs/benchmarks";

#[derive(Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Options {
    /// Finish within some minutes: less precise, and written to target/bench/quick
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure Python's caches as well, from the Python package index
    #[arg(long)]
    pub(crate) peers: bool,
    /// Measure only these, and take the other results from the last run
    #[arg(long, value_name = "NAME", num_args = 1..)]
    #[arg(value_parser = PossibleValuesParser::new(BENCHMARKS.map(|(name, _)| name)))]
    pub(crate) only: Vec<String>,
    /// A folder of recorded traces for `hit_ratio`
    #[arg(long, value_name = "FOLDER")]
    pub(crate) traces: Option<PathBuf>,
    /// How long a comparison may be repeated until its medians are stable
    #[arg(long, value_name = "SECONDS")]
    pub(crate) patience: Option<u64>,
    /// Write the page to this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Outcome {
    let selected = options.selected();
    let results = options.results()?;
    for (name, kinds) in BENCHMARKS {
        if selected.contains(&name) {
            servers::install(kinds)?;
        }
    }
    shell::run(
        cargo(["bench", "--no-run", "--package", PACKAGE])
            .args(selected.iter().flat_map(|name| ["--bench", name])),
    )?;
    let start = Instant::now();
    let failed: Vec<String> =
        selected.iter().filter_map(|name| options.measure(name, &results).err()).collect();
    let took = start.elapsed().as_secs_f64();
    let names = BENCHMARKS.map(|(name, _)| name);
    let missing: Vec<&str> =
        names.into_iter().filter(|name| !results.join(format!("{name}.json")).exists()).collect();
    if !missing.is_empty() {
        println!("\n!!! not measured yet: {}; {PAGE} is left unchanged", missing.join(", "));
    }
    let page = options.page(missing.is_empty());
    let mut write = cargo(["run", "--quiet", "--package", PACKAGE, "--bin", "page", "--"]);
    shell::output(write.arg(&results).arg(page).args(names))?;
    let page = page.join("README.md");
    println!("\nbench: measured {} in {took:.0} s: {}", selected.join(", "), page.display());
    if failed.is_empty() { Ok(()) } else { Err(format!("bench: FAILED:\n{}", failed.join("\n"))) }
}

impl Options {
    fn selected(&self) -> Vec<&'static str> {
        let is_selected =
            |name: &&str| self.only.is_empty() || self.only.iter().any(|only| only == name);
        BENCHMARKS.map(|(name, _)| name).into_iter().filter(is_selected).collect()
    }

    /// Creates the folder for results. Its path is absolute because benchmarks run in the folder of
    /// their crate.
    fn results(&self) -> Outcome<PathBuf> {
        let folder = Path::new(if self.quick { QUICK } else { RESULTS });
        let created = fs::create_dir_all(folder).and_then(|()| folder.canonicalize());
        created.map_err(|error| format!("{}: cannot be created: {error}", folder.display()))
    }

    fn measure(&self, name: &str, results: &Path) -> Outcome {
        let file = results.join(format!("{name}.json"));
        let arguments = self.arguments(&file)?;
        // A failed run must not leave older results behind.
        if file.exists() {
            fs::remove_file(&file)
                .map_err(|error| format!("{}: cannot be removed: {error}", file.display()))?;
        }
        println!("\n=== {name}");
        let mut bench = cargo(["bench", "--quiet", "--package", PACKAGE, "--bench", name, "--"]);
        shell::run(bench.args(arguments))
    }

    /// The arguments for one benchmark.
    fn arguments(&self, file: &Path) -> Outcome<Vec<String>> {
        let mut arguments = vec!["--json".to_owned(), file.display().to_string()];
        arguments.extend(self.quick.then(|| "--quick".to_owned()));
        arguments.extend(self.peers.then(|| "--peers".to_owned()));
        if let Some(seconds) = self.patience {
            arguments.extend(["--patience".to_owned(), seconds.to_string()]);
        }
        if let Some(folder) = &self.traces {
            let folder = folder
                .canonicalize()
                .map_err(|error| format!("--traces {}: {error}", folder.display()))?;
            arguments.extend(["--traces".to_owned(), folder.display().to_string()]);
        }
        Ok(arguments)
    }

    /// The folder for the page. Without `--out`, only a complete full run replaces the committed
    /// one.
    fn page(&self, complete: bool) -> &Path {
        let default = match (self.quick, complete) {
            (true, _) => QUICK,
            (false, true) => PAGE,
            (false, false) => RESULTS,
        };
        self.out.as_deref().unwrap_or(Path::new(default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn benchmarks_are_those_of_the_manifest() {
        let manifest = include_str!("../../benches/Cargo.toml");
        let name = |section: &'static str| section.split('"').nth(1).expect("a name");
        let mut listed: Vec<&str> = manifest.split("[[bench]]").skip(1).map(name).collect();
        let mut known = BENCHMARKS.map(|(name, _)| name);
        listed.sort_unstable();
        known.sort_unstable();
        assert_eq!(listed, known);
    }

    #[test]
    fn selected_benchmarks_run_in_the_order_of_the_page() {
        let only = ["redis", "locmem"].map(String::from).into();
        assert_eq!(Options { only, ..Options::default() }.selected(), ["locmem", "redis"]);
        assert_eq!(Options::default().selected().len(), BENCHMARKS.len());
    }

    #[test]
    fn only_a_complete_full_run_replaces_the_committed_page() {
        let full = Options::default();
        assert_eq!(full.page(true), Path::new("docs/benchmarks"));
        assert_eq!(full.page(false), Path::new("target/bench"));
        let quick = Options { quick: true, ..Options::default() };
        assert_eq!(quick.page(true), Path::new("target/bench/quick"));
        let out = Options { out: Some("docs/benchmarks".into()), ..quick };
        assert_eq!(out.page(false), Path::new("docs/benchmarks"));
    }

    #[test]
    fn benchmarks_receive_the_options() {
        let traces = |folder: &str| Options {
            quick: true,
            peers: true,
            patience: Some(5),
            traces: Some(folder.into()),
            ..Options::default()
        };
        let arguments =
            traces(".").arguments(Path::new("/r/db.json")).expect("the folder exists").join(" ");
        assert!(arguments.starts_with("--json /r/db.json --quick --peers --patience 5 --traces /"));
        let error = traces("no-such-folder").arguments(Path::new("x")).expect_err("it is missing");
        assert!(error.contains("no-such-folder"), "{error}");
    }
}
