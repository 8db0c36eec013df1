//! Why tests fail.

use super::{
    Edition,
    results::{Kind, Results, Verdict},
};

/// A reason why tests fail.
struct Known {
    reason: &'static str,
    /// The versions of the suite in which they fail. In the other one, the tests differ.
    editions: &'static [Edition],
    tests: &'static [&'static str],
}

const BOTH: &[Edition] = &[Edition::Package, Edition::Repository];
const PACKAGE: &[Edition] = &[Edition::Package];
const REPOSITORY: &[Edition] = &[Edition::Repository];

const KNOWN: &[Known] = &[
    Known {
        reason: "the proxy forwards no interim responses: hyper's server cannot send them",
        editions: REPOSITORY,
        tests: &["interim-102", "interim-103", "interim-no-header-reuse", "interim-not-cached"],
    },
    Known {
        reason: "responses to POST are not stored, which RFC 9110, section 9.3.3, would allow",
        editions: BOTH,
        tests: &["method-POST"],
    },
    Known {
        reason: "partial responses are not stored, which RFC 9111, section 3.3, would allow",
        editions: BOTH,
        tests: &[
            "partial-store-partial-complete",
            "partial-store-partial-reuse-partial",
            "partial-store-partial-reuse-partial-absent",
            "partial-store-partial-reuse-partial-byterange",
            "partial-store-partial-reuse-partial-suffix",
        ],
    },
    Known {
        reason: "the order of languages counts: servers may prefer the first (RFC 9110, \
                 section 12.5.4)",
        editions: BOTH,
        tests: &["vary-normalise-lang-order"],
    },
    Known {
        reason: "the cache does not negotiate languages in place of the origin",
        editions: BOTH,
        tests: &["vary-normalise-lang-select"],
    },
    Known {
        reason: "the test expects a 304 although the stored response is newer than \
                 `If-Modified-Since` (RFC 9111, section 4.3.2)",
        editions: BOTH,
        tests: &["conditional-lm-fresh-no-lm"],
    },
    Known {
        reason: "an invalid `Age` is ignored (RFC 9111, section 5.1); the repository has \
                 changed the test",
        editions: PACKAGE,
        tests: &[
            "age-parse-float",
            "age-parse-negative",
            "age-parse-nonnumeric",
            "age-parse-numeric-parameter",
            "age-parse-parameter",
        ],
    },
    Known {
        reason: "the first of several values of `Age` counts (RFC 9111, section 5.1); the \
                 repository has changed the test",
        editions: PACKAGE,
        tests: &[
            "age-parse-dup-0",
            "age-parse-dup-0-twoline",
            "age-parse-dup-old",
            "age-parse-prefix-twoline",
        ],
    },
    Known {
        reason: "the test takes the 502 of the proxy for a stored response; the repository has \
                 changed the test",
        editions: PACKAGE,
        tests: &[
            "stale-close-must-revalidate",
            "stale-close-no-cache",
            "stale-close-proxy-revalidate",
            "stale-close-s-maxage=2",
        ],
    },
    Known {
        reason: "a 304 updates `Content-MD5` (RFC 9111, section 3.2); the repository has changed \
                 the test",
        editions: PACKAGE,
        tests: &["304-etag-update-response-Content-MD5"],
    },
    Known {
        reason: "a 304 does not change the `Content-Type` of the stored body; the repository has \
                 changed the test",
        editions: PACKAGE,
        tests: &["304-etag-update-response-Content-Type"],
    },
    Known {
        reason: "a 304 with another strong entity tag is not about the stored response (RFC 9111, \
                 section 4.3.4); the repository has changed the test",
        editions: PACKAGE,
        tests: &["304-etag-update-response-ETag"],
    },
    Known {
        reason: "only the `Location` of a 201 is invalidated: a redirect after a login must not \
                 remove the front page; the repository has changed the test",
        editions: PACKAGE,
        tests: &[
            "invalidate-DELETE-location",
            "invalidate-M-SEARCH-location",
            "invalidate-POST-location",
            "invalidate-PUT-location",
        ],
    },
];

/// Returns the reason why a test fails.
pub(super) fn find(edition: Edition, id: &str) -> Option<&'static str> {
    let is_known = |known: &&Known| known.editions.contains(&edition) && known.tests.contains(&id);
    KNOWN.iter().find(is_known).map(|known| known.reason)
}

/// Returns what is wrong in the table: failures without a reason, and reasons without a failure.
pub(super) fn check(edition: Edition, results: &Results) -> Vec<String> {
    let tests = results.tests().filter(|test| test.kind != Kind::Check);
    let problem = |test: &super::results::Test| match (&test.verdict, find(edition, &test.id)) {
        (Verdict::Failed(message), None) => {
            Some(format!("{} fails and has no reason in reasons.rs: {message}", test.id))
        }
        (Verdict::Passed | Verdict::NotRun, Some(_)) => {
            Some(format!("{} does not fail and has a reason in reasons.rs", test.id))
        }
        (Verdict::Failed(_), Some(_)) | (Verdict::Passed | Verdict::NotRun, None) => None,
    };
    tests.filter_map(problem).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;
    use crate::http_suite::{
        PAGES, page,
        results::{Group, Test},
    };

    fn results(kind: Kind, verdict: Verdict, id: &str) -> Results {
        let test = Test { id: id.to_owned(), name: String::new(), kind, verdict };
        Results { groups: vec![Group { name: String::new(), tests: vec![test] }] }
    }

    #[test]
    fn failure_without_a_reason_is_a_problem() {
        let failed = || Verdict::Failed("Assertion: x".to_owned());
        for (kind, problems) in [(Kind::Required, 1), (Kind::Optional, 1), (Kind::Check, 0)] {
            let found = check(Edition::Package, &results(kind, failed(), "new"));
            assert_eq!(found.len(), problems, "{found:?}");
        }
        let known = results(Kind::Optional, failed(), "method-POST");
        assert_eq!(check(Edition::Package, &known), [""; 0]);
    }

    #[test]
    fn reason_without_a_failure_is_a_problem() {
        let passed = results(Kind::Optional, Verdict::Passed, "method-POST");
        assert_eq!(check(Edition::Repository, &passed).len(), 1);
    }

    /// The failures on a committed page, with their reasons.
    fn failures(edition: Edition) -> BTreeSet<(String, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let page = fs::read_to_string(root.join(PAGES).join(edition.page())).expect("a page");
        let failure = |line: &str| {
            let (row, reason) = line.split_once(page::FAILED)?;
            let id = row.trim_start_matches("| ").split(" |").next()?;
            Some((id.to_owned(), reason.trim_end_matches(" |").replace("\\|", "|")))
        };
        page.lines().filter_map(failure).collect()
    }

    #[test]
    fn committed_pages_show_the_reasons_of_the_table() {
        for edition in [Edition::Package, Edition::Repository] {
            let of_edition = KNOWN.iter().filter(|known| known.editions.contains(&edition));
            let expected: BTreeSet<_> = of_edition
                .flat_map(|known| known.tests.iter().map(|id| (*id, known.reason)))
                .map(|(id, reason)| (id.to_owned(), reason.to_owned()))
                .collect();
            assert_eq!(failures(edition), expected);
        }
    }
}
