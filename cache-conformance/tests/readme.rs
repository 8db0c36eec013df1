//! The README lists what runs.

use std::{fmt::Write, fs};

use cache_conformance::CASES;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const BEGIN: &str =
    "<!-- cases: made by `UPDATE_README=1 cargo test -p cache-conformance --test readme` -->\n";
const END: &str = "<!-- end of cases -->\n";

fn list() -> String {
    let mut list = String::new();
    let mut group = "";
    for case in CASES {
        if case.group != group {
            group = case.group;
            write!(list, "\n### {}\n\n", group.replace('_', " ")).expect("a string takes it");
        }
        writeln!(list, "- {}", case.sentence()).expect("a string takes it");
    }
    list
}

#[test]
fn the_readme_lists_the_cases_that_run() {
    let readme = fs::read_to_string(README).expect("there is a README");
    let (head, rest) = readme.split_once(BEGIN).expect("it has a place for the cases");
    let (_, tail) = rest.split_once(END).expect("the place has an end");
    let right = format!("{head}{BEGIN}{}\n{END}{tail}", list());
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(README, right).expect("the README can be written");
    } else {
        assert!(
            readme == right,
            "the list of cases is old: UPDATE_README=1 cargo test -p cache-conformance --test readme"
        );
    }
}
