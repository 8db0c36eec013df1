//! The tests of the suite and their results.

use serde_json::Value;

use crate::shell::Outcome;

/// All tests, in the order of the suite.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) groups: Vec<Group>,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) tests: Vec<Test>,
}

#[derive(Debug)]
pub(super) struct Test {
    pub(super) id: String,
    /// What the test checks, in Markdown.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) verdict: Verdict,
}

/// What a test means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A cache that fails it violates a specification.
    Required,
    /// A cache that fails it could reuse more responses.
    Optional,
    /// It shows what a cache does. Neither result is better.
    Check,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Required, Self::Optional, Self::Check];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::Check => "check",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// The message of the suite.
    Failed(String),
    /// The test is for browsers only.
    NotRun,
}

impl Results {
    /// Parses the list of tests and the results of the suite.
    pub(super) fn parse(tests: &str, results: &str) -> Outcome<Self> {
        let json = |text: &str| {
            serde_json::from_str::<Value>(text)
                .map_err(|error| format!("the suite printed no JSON: {error}"))
        };
        let (tests, results) = (json(tests)?, json(results)?);
        let groups = list(&tests)?.iter().map(|group| {
            let tests = list(&group["tests"])?.iter().map(|test| Test::parse(test, &results));
            Ok(Group { name: text(&group["name"])?, tests: tests.collect::<Outcome<_>>()? })
        });
        Ok(Self { groups: groups.collect::<Outcome<_>>()? })
    }

    pub(super) fn tests(&self) -> impl Iterator<Item = &Test> {
        self.groups.iter().flat_map(|group| &group.tests)
    }
}

impl Test {
    fn parse(test: &Value, results: &Value) -> Outcome<Self> {
        let id = text(&test["id"])?;
        let kind = match test["kind"].as_str() {
            None | Some("required") => Kind::Required,
            Some("optimal") => Kind::Optional,
            Some("check") => Kind::Check,
            Some(other) => return Err(format!("{id}: unknown kind {other:?}")),
        };
        let verdict = match &results[&id] {
            Value::Bool(true) => Verdict::Passed,
            Value::Null => Verdict::NotRun,
            failure => {
                let parts: Vec<_> = list(failure)?.iter().filter_map(Value::as_str).collect();
                Verdict::Failed(parts.join(": "))
            }
        };
        Ok(Self { name: text(&test["name"])?, id, kind, verdict })
    }
}

fn text(value: &Value) -> Outcome<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("expected a string, found {value}"))
}

fn list(value: &Value) -> Outcome<&Vec<Value>> {
    value.as_array().ok_or_else(|| format!("expected a list, found {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTS: &str = r#"[{"name": "A", "tests": [
        {"id": "a", "name": "must"},
        {"id": "b", "name": "should", "kind": "optimal"},
        {"id": "c", "name": "does", "kind": "check"}]}]"#;

    #[test]
    fn tests_get_their_results() {
        let results = r#"{"a": true, "b": ["Assertion", "no reuse"], "other": true}"#;
        let results = Results::parse(TESTS, results).expect("valid");
        let found: Vec<_> = results.tests().map(|test| (test.kind, &test.verdict)).collect();
        let failed = Verdict::Failed("Assertion: no reuse".to_owned());
        let expected = [
            (Kind::Required, &Verdict::Passed),
            (Kind::Optional, &failed),
            (Kind::Check, &Verdict::NotRun),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn output_that_is_not_understood_is_an_error() {
        for (tests, results) in [
            ("", "{}"),
            (TESTS, "Running x"),
            ("{}", "{}"),
            (r#"[{"name": "A", "tests": [{"id": "a", "name": "x", "kind": "new"}]}]"#, "{}"),
            (TESTS, r#"{"a": false}"#),
        ] {
            assert!(Results::parse(tests, results).is_err(), "{tests} {results}");
        }
    }
}
