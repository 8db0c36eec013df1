//! `cargo xtask bench`: runs the benchmarks one after the other, and writes the page that tells what they came to.
//!
//! Which benchmarks there are, the manifest of their crate says. Each starts the servers it needs, and leaves what it came to
//! as JSON below target; the page is made of what lies there, so that one can be measured again without the others.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use xtask::servers::{self, Kind};

use crate::{
    shell::{self, Outcome, cargo},
    workspace,
};

const PACKAGE: &str = "cachette-benches";

/// The servers that benchmarks start: they are installed before anything is measured.
const SERVERS: [(&str, &[Kind]); 3] = [
    ("db", &[Kind::Postgres, Kind::Mariadb]),
    ("memcached", &[Kind::Memcached]),
    ("redis", &[Kind::Redis]),
];

/// In which order they are told; others follow.
const ORDER: [&str; 10] = [
    "http",
    "http_allocations",
    "locmem",
    "hit_ratio",
    "memory",
    "dummy",
    "filebased",
    "db",
    "memcached",
    "redis",
];

/// Where a full run leaves what it came to, and where it writes the page; a quick one has a folder of its own for both, as it
/// says less.
const RESULTS: &str = "target/bench";
const QUICK: &str = "target/bench/quick";
const PAGE: &str = "docs/benchmarks";

const USAGE: &str = "bench knows --quick, --peers, --only NAME…, --traces FOLDER, --patience SECONDS and --out FOLDER";

/// The flags, a line each.
pub(crate) const FLAGS: &str = "  \
  --quick          within two minutes; rougher, and written to target/bench/quick
  --peers          with Python's caches, from the Python package index
  --only NAME…     measure only these again, and take the others from the last run
  --traces FOLDER  where traces of real requests lie
  --patience SECS  how long one comparison may be repeated until its medians are steady
  --out FOLDER     where the page is written instead";

/// What the user asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    quick: bool,
    peers: bool,
    only: Vec<String>,
    traces: Option<PathBuf>,
    patience: Option<u64>,
    out: Option<PathBuf>,
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let asked = parse(arguments)?;
    let all = in_order(workspace::benches(PACKAGE)?);
    let chosen = choose(&all, &asked.only)?;
    let results = results(&asked)?;
    let mut needed = SERVERS.iter().filter(|(name, _)| chosen.contains(name));
    needed.try_for_each(|(_, kinds)| servers::install(kinds))?;
    shell::run(
        cargo(["bench", "--no-run", "--package", PACKAGE])
            .args(chosen.iter().flat_map(|name| ["--bench", name])),
    )?;
    let start = Instant::now();
    let failed = measure(&asked, &chosen, &results);
    let took = start.elapsed();
    let measured = |name: &str| results.join(format!("{name}.json")).exists();
    let missing: Vec<&str> =
        all.iter().map(String::as_str).filter(|name| !measured(name)).collect();
    if !missing.is_empty() {
        println!(
            "\n!!! not measured yet: {}; so the page in {PAGE} is left alone",
            missing.join(", ")
        );
    }
    let page = write(&results, asked.page(missing.is_empty()), &all)?;
    println!(
        "\nbench: measured {} in {:.0} s: {}",
        chosen.join(", "),
        took.as_secs_f64(),
        page.display()
    );
    if failed.is_empty() { Ok(()) } else { Err(format!("bench: FAILED:\n{}", failed.join("\n"))) }
}

fn parse(arguments: &[String]) -> Outcome<Asked> {
    let mut asked = Asked::default();
    let mut arguments = arguments.iter().peekable();
    while let Some(argument) = arguments.next() {
        let folder = |given: Option<&String>| {
            given.map(PathBuf::from).ok_or(format!("{argument} wants a folder: {USAGE}"))
        };
        match argument.as_str() {
            "--quick" => asked.quick = true,
            "--peers" => asked.peers = true,
            "--only" => {
                while let Some(name) = arguments.next_if(|name| !name.starts_with("--")) {
                    asked.only.push(name.clone());
                }
                if asked.only.is_empty() {
                    return Err(format!("--only wants the names of benchmarks: {USAGE}"));
                }
            }
            "--traces" => asked.traces = Some(folder(arguments.next())?),
            "--patience" => {
                let seconds = arguments.next().and_then(|seconds| seconds.parse().ok());
                asked.patience =
                    Some(seconds.ok_or(format!("--patience wants whole seconds: {USAGE}"))?);
            }
            "--out" => asked.out = Some(folder(arguments.next())?),
            other => return Err(format!("`{other}` means nothing here: {USAGE}")),
        }
    }
    Ok(asked)
}

fn in_order(mut all: Vec<String>) -> Vec<String> {
    all.sort_by_key(|name| ORDER.iter().position(|told| told == name).unwrap_or(ORDER.len()));
    all
}

fn choose<'a>(all: &'a [String], only: &'a [String]) -> Outcome<Vec<&'a str>> {
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        return Err(format!("there is no benchmark `{unknown}`, but these: {}", all.join(", ")));
    }
    Ok(all
        .iter()
        .filter(|name| only.is_empty() || only.contains(name))
        .map(String::as_str)
        .collect())
}

/// The folder of what the benchmarks came to, as seen from everywhere: they run in the folder of their crate.
fn results(asked: &Asked) -> Outcome<PathBuf> {
    let folder = Path::new(if asked.quick { QUICK } else { RESULTS });
    let made = fs::create_dir_all(folder).and_then(|()| folder.canonicalize());
    made.map_err(|why| format!("{}: cannot be made: {why}", folder.display()))
}

/// Answers why some failed. The others are measured nevertheless.
fn measure(asked: &Asked, names: &[&str], results: &Path) -> Vec<String> {
    let measure = |name: &&str| -> Outcome {
        let file = results.join(format!("{name}.json"));
        let arguments = asked.for_benchmark(&file)?;
        // What it came to before must not pass for what it comes to now.
        if file.exists() {
            fs::remove_file(&file)
                .map_err(|why| format!("{}: cannot be removed: {why}", file.display()))?;
        }
        println!("\n=== {name}");
        shell::run(
            cargo(["bench", "--quiet", "--package", PACKAGE, "--bench", name, "--"])
                .args(arguments),
        )
    };
    names.iter().filter_map(|name| measure(name).err()).collect()
}

impl Asked {
    fn for_benchmark(&self, file: &Path) -> Outcome<Vec<String>> {
        let mut arguments = vec!["--json".to_owned(), file.display().to_string()];
        arguments.extend(self.quick.then(|| "--quick".to_owned()));
        arguments.extend(self.peers.then(|| "--peers".to_owned()));
        if let Some(seconds) = self.patience {
            arguments.extend(["--patience".to_owned(), seconds.to_string()]);
        }
        if let Some(folder) = &self.traces {
            let folder = folder
                .canonicalize()
                .map_err(|why| format!("--traces {}: {why}", folder.display()))?;
            arguments.extend(["--traces".to_owned(), folder.display().to_string()]);
        }
        Ok(arguments)
    }

    /// Where the page goes: one that is not complete must not replace the committed one unasked.
    fn page(&self, complete: bool) -> &Path {
        let usual = match (self.quick, complete) {
            (true, _) => QUICK,
            (false, true) => PAGE,
            (false, false) => RESULTS,
        };
        self.out.as_deref().unwrap_or(Path::new(usual))
    }
}

/// Has the crate of the benchmarks write the page: it knows what they left, and cargo builds for that none of the peers.
fn write(results: &Path, page: &Path, all: &[String]) -> Outcome<PathBuf> {
    let mut command = cargo(["run", "--quiet", "--package", PACKAGE, "--bin", "page", "--"]);
    shell::output(command.arg(results).arg(page).args(all))?;
    Ok(page.join("README.md"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn names_follow_only_up_to_the_next_flag() {
        let asked = parse(&words("--only locmem redis --quick --traces /t --patience 5 --out o"))
            .expect("it is understood");
        let expected = Asked {
            quick: true,
            peers: false,
            only: words("locmem redis"),
            traces: Some("/t".into()),
            patience: Some(5),
            out: Some("o".into()),
        };
        assert_eq!(asked, expected);
    }

    #[test]
    fn what_is_not_understood_is_an_error_that_says_what_would_be() {
        for line in ["--fast", "--only", "--only --quick", "--out", "--patience x", "locmem"] {
            let why = parse(&words(line)).expect_err(line);
            assert!(why.ends_with(USAGE), "{why}");
        }
    }

    #[test]
    fn what_is_not_in_the_order_comes_last() {
        assert_eq!(in_order(words("another db locmem")), words("locmem db another"));
    }

    #[test]
    fn an_unknown_benchmark_is_an_error_that_lists_the_known_ones() {
        let all = words("locmem db redis");
        assert_eq!(choose(&all, &words("redis locmem")), Ok(vec!["locmem", "redis"]));
        assert_eq!(choose(&all, &[]), Ok(vec!["locmem", "db", "redis"]));
        let why = choose(&all, &words("locmen")).expect_err("it is misspelled");
        assert_eq!(why, "there is no benchmark `locmen`, but these: locmem, db, redis");
    }

    #[test]
    fn a_quick_or_an_incomplete_run_leaves_the_committed_page_alone_unless_it_is_told_otherwise() {
        let page = |line: &str, complete| {
            parse(&words(line)).expect("it is understood").page(complete).to_owned()
        };
        assert_eq!(page("", true), Path::new("docs/benchmarks"));
        assert_eq!(page("--only redis", false), Path::new("target/bench"));
        assert_eq!(page("--quick", true), Path::new("target/bench/quick"));
        assert_eq!(page("--quick --out docs/benchmarks", false), Path::new("docs/benchmarks"));
    }

    #[test]
    fn every_benchmark_is_told_where_to_write_and_what_was_asked_for() {
        let asked =
            parse(&words("--quick --peers --patience 5 --traces .")).expect("it is understood");
        let told = asked.for_benchmark(Path::new("/r/db.json")).expect("the folder is there");
        assert_eq!(told[..7], words("--json /r/db.json --quick --peers --patience 5 --traces"));
        let gone = parse(&words("--traces no-such-folder")).expect("it is understood");
        assert!(
            gone.for_benchmark(Path::new("x"))
                .expect_err("it is not there")
                .starts_with("--traces no-such-folder")
        );
    }

    #[test]
    fn the_benchmarks_are_those_of_the_manifest() {
        let all = workspace::benches(PACKAGE).expect("the crate is in the workspace");
        assert!(
            all.iter().any(|name| name == "locmem") && all.iter().any(|name| name == "redis"),
            "{all:?}"
        );
    }
}
