//! What `cargo xtask bench` does when the benchmarks have run: the program `page` on what they left.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use cachette_benches::{Contest, Figure, Report};

/// A folder of this test's own.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("there is room");
    folder
}

fn page(from: &Path, to: &Path, names: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_page"))
        .arg(from)
        .arg(to)
        .args(names)
        .output()
        .expect("it starts")
}

/// What a run left that was asked for by `--quick --only tiny`.
fn tiny() -> Report {
    let mut report = Report { quick: true, ..Report::default() };
    let contest = Contest::new("get").candidate("ours", || 30.0).candidate("theirs", || 20.0);
    report.add(contest.at_most(1.2, "theirs").because("it is tiny.").run(1));
    report.draw_bars("A tiny get", "get");
    report.draw(
        Figure::lines("Tiny hits", "entries", "hits")
            .line("ours", [(1.0, 2.0), (2.0, 3.0)])
            .with_table(),
    );
    report
}

#[test]
fn what_one_benchmark_left_becomes_a_page_that_names_the_others() {
    let (from, to) = (folder("tiny results"), folder("tiny page").join("new"));
    tiny().write(&from.join("tiny.json")).expect("there is room");
    let output = page(&from, &to, &["absent", "tiny"]);
    assert!(output.status.success(), "{output:?}");
    let page = fs::read_to_string(to.join("README.md")).expect("it is written");
    for told in [
        "0 of 1 targets are met.",
        "against theirs: **no**, by 25 %; it is tiny.",
        "## absent\n\nNot measured in this run.",
        "![A tiny get](tiny-a-tiny-get.svg)",
        "| entries | ours |\n|---|---|\n| 1 | 2 |\n| 2 | 3 |\n",
        "This was a quick run",
    ] {
        assert!(page.contains(told), "no {told:?} in {page}");
    }
    assert!(to.join("tiny-tiny-hits.svg").exists());
}

#[test]
fn what_is_no_result_is_an_error_that_names_the_file() {
    let (from, to) = (folder("broken results"), folder("broken page"));
    fs::write(from.join("tiny.json"), "{}").expect("there is room");
    let output = page(&from, &to, &["tiny"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("tiny.json: is no report"), "{said}");
}
