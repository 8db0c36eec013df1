//! The program `page`, which `cargo xtask bench` runs after the benchmarks.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use cachette_benches::{Comparison, Figure, Report};

/// Creates a folder for this test.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("it can be created");
    folder
}

fn page(from: &Path, to: &Path, names: &[&str]) -> Output {
    let mut page = Command::new(env!("CARGO_BIN_EXE_page"));
    page.arg(from).arg(to).args(names).output().expect("it starts")
}

/// The report of a quick run.
fn tiny() -> Report {
    let mut report = Report { quick: true, ..Report::default() };
    let comparison =
        Comparison::new("get").candidate("cachette", || 30.0).candidate("peer", || 20.0);
    report.add(comparison.at_most(1.2, "peer").because("it is tiny.").run(1));
    report.draw_bars("A tiny get", "get");
    report.draw(
        Figure::lines("Tiny hits", "entries", "hits")
            .line("cachette", [(1.0, 2.0), (2.0, 3.0)])
            .with_table(),
    );
    report
}

#[test]
fn page_of_one_benchmark_names_the_others() {
    let (from, to) = (folder("tiny results"), folder("tiny page").join("new"));
    tiny().write(&from.join("tiny.json")).expect("it can be written");
    let output = page(&from, &to, &["absent", "tiny"]);
    assert!(output.status.success(), "{output:?}");
    let page = fs::read_to_string(to.join("README.md")).expect("it is written");
    for part in [
        "0 of 1 targets are met.",
        "against peer: **no**, by 25 %; it is tiny.",
        "## absent\n\nNot measured in this run.",
        "![A tiny get](tiny-a-tiny-get.svg)",
        "| entries | cachette |\n|---|---|\n| 1 | 2 |\n| 2 | 3 |\n",
        "Quick run",
    ] {
        assert!(page.contains(part), "no {part:?} in {page}");
    }
    assert!(to.join("tiny-tiny-hits.svg").exists());
}

#[test]
fn invalid_report_is_an_error_that_names_the_file() {
    let (from, to) = (folder("broken results"), folder("broken page"));
    fs::write(from.join("tiny.json"), "{}").expect("it can be written");
    let output = page(&from, &to, &["tiny"]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("tiny.json"), "{error}");
}
