//! The page of results.

use std::fmt::Write as _;

use super::{
    Edition, reasons,
    results::{Group, Kind, Results, Test, Verdict},
};

/// Renders the page of a run.
pub(super) fn page(edition: Edition, name: &str, switches: &[&str], results: &Results) -> String {
    let (argument, switches) = (edition.argument(), switches.join(" "));
    let mut page = format!(
        "# HTTP cache suite: {name}\n\n\
         `cargo xtask http-suite{argument}` has written this page. [What it shows](README.md).\n\n\
         The proxy was started with these switches:\n\n\
         ```text\n{switches}\n```\n\n\
         {}",
        summary(results)
    );
    for group in &results.groups {
        page.push_str(&table(edition, group));
    }
    page
}

/// Renders the number of tests by kind.
pub(super) fn summary(results: &Results) -> String {
    let mut text = "| tests | passed | of | not run |\n|---|---|---|---|\n".to_owned();
    for kind in Kind::ALL {
        let of_kind = || results.tests().filter(|test| test.kind == kind);
        let passed = of_kind().filter(|test| test.verdict == Verdict::Passed).count();
        let not_run = of_kind().filter(|test| test.verdict == Verdict::NotRun).count();
        let run = of_kind().count() - not_run;
        let _ = writeln!(text, "| {} | {passed} | {run} | {not_run} |", kind.name());
    }
    text
}

fn table(edition: Edition, group: &Group) -> String {
    let mut text = format!(
        "\n## {}\n\n| test | what it checks | kind | result |\n|---|---|---|---|\n",
        group.name
    );
    for test in &group.tests {
        let (id, name) = (cell(&test.id), cell(&test.name));
        let result = result(edition, test);
        let _ = writeln!(text, "| {id} | {name} | {} | {result} |", test.kind.name());
    }
    text
}

pub(super) const FAILED: &str = "**fail**: ";

fn result(edition: Edition, test: &Test) -> String {
    match (&test.verdict, test.kind) {
        (Verdict::NotRun, _) => "not run: for browsers".to_owned(),
        (Verdict::Passed, Kind::Check) => "yes".to_owned(),
        (Verdict::Failed(_), Kind::Check) => "no".to_owned(),
        (Verdict::Passed, _) => "pass".to_owned(),
        (Verdict::Failed(message), _) => {
            let reason = reasons::find(edition, &test.id).unwrap_or(message);
            format!("{FAILED}{}", cell(reason))
        }
    }
}

/// Escapes what would end a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

impl Edition {
    /// The argument of the command that writes the page.
    fn argument(self) -> &'static str {
        match self {
            Self::Package => "",
            Self::Repository => " FOLDER",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(id: &str, kind: Kind, verdict: Verdict) -> Test {
        Test { id: id.to_owned(), name: format!("`{id}`, a | b"), kind, verdict }
    }

    fn results() -> Results {
        let failed = || Verdict::Failed("Assertion: x".to_owned());
        let tests = vec![
            test("a", Kind::Required, Verdict::Passed),
            test("b", Kind::Required, Verdict::NotRun),
            test("method-POST", Kind::Optional, failed()),
            test("c", Kind::Check, failed()),
            test("d", Kind::Check, Verdict::Passed),
        ];
        Results { groups: vec![Group { name: "Group".to_owned(), tests }] }
    }

    #[test]
    fn summary_counts_tests_by_kind() {
        assert!(summary(&results()).ends_with(
            "| required | 1 | 1 | 1 |\n| optional | 0 | 1 | 0 |\n| check | 1 | 2 | 0 |\n"
        ));
    }

    #[test]
    fn page_lists_every_test_with_its_result() {
        let page = page(Edition::Package, "x 1", &["--preset", "shared"], &results());
        let reason = reasons::find(Edition::Package, "method-POST").expect("a known failure");
        for line in [
            "# HTTP cache suite: x 1",
            "--preset shared",
            "## Group",
            "| a | `a`, a \\| b | required | pass |",
            "| b | `b`, a \\| b | required | not run: for browsers |",
            &format!("| method-POST | `method-POST`, a \\| b | optional | **fail**: {reason} |"),
            "| c | `c`, a \\| b | check | no |",
            "| d | `d`, a \\| b | check | yes |",
        ] {
            assert!(page.lines().any(|other| other == line), "{line}\n{page}");
        }
    }
}
