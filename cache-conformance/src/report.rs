//! Runs cases and reports the results.

use std::{any::Any, fmt, sync::Arc};

use tokio::{runtime::Runtime, sync::Semaphore, task::JoinSet};

use crate::{CASES, Case, Harness};

/// The results of all cases.
#[derive(Debug, Default)]
#[must_use = "a report states whether the store passed"]
pub struct Report {
    /// The cases that passed.
    pub passed: Vec<&'static str>,
    /// The cases that do not apply to the store, each with the reason.
    pub excused: Vec<(&'static str, &'static str)>,
    /// The cases that failed.
    pub failed: Vec<Failure>,
}

/// A case that failed.
#[derive(Debug)]
pub struct Failure {
    /// The name of the case.
    pub case: &'static str,
    /// The message of the panic.
    pub message: String,
}

impl Report {
    /// Asserts that every case passed or is excused.
    ///
    /// # Panics
    ///
    /// Panics with the report if a case failed.
    pub fn assert_passed(&self) {
        assert!(self.failed.is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, excused, failed) = (self.passed.len(), self.excused.len(), self.failed.len());
        writeln!(f, "{passed} passed, {excused} excused, {failed} failed")?;
        for (case, excuse) in &self.excused {
            writeln!(f, "excused: {case} ({excuse})")?;
        }
        for Failure { case, message } in &self.failed {
            writeln!(f, "FAILED: {case}: {message}")?;
        }
        Ok(())
    }
}

/// Runs all cases, one after the other.
///
/// Needs a tokio runtime with a timer. On a multi-threaded one, the concurrent operations of a case
/// also run in parallel.
pub async fn run(harness: &Harness) -> Report {
    let mut report = Report::default();
    for case in CASES {
        if let Some(excuse) = case.excuse(harness).await {
            report.excused.push((case.name, excuse));
            continue;
        }
        match attempt(case, harness).await {
            Ok(()) => report.passed.push(case.name),
            Err(message) => report.failed.push(Failure { case: case.name, message }),
        }
    }
    report
}

async fn attempt(case: &'static Case, harness: &Harness) -> Result<(), String> {
    let mut running = tokio::spawn((case.run)(harness.clone()));
    let Ok(ended) = tokio::time::timeout(harness.limit(), &mut running).await else {
        running.abort();
        return Err(format!("the case did not finish within {:?}", harness.limit()));
    };
    ended.map_err(|error| match error.try_into_panic() {
        Ok(payload) => message_of(&*payload),
        Err(error) => error.to_string(),
    })
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("the case panicked").to_owned()
}

/// Runs one case on a new runtime, for a `#[test]`.
///
/// # Panics
///
/// Panics if the case fails.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the macro passes a harness created for this test"
)]
#[expect(clippy::print_stdout, reason = "the output of a test states that it is excused")]
pub fn run_test(name: &str, harness: Harness) {
    let case = CASES
        .iter()
        .find(|case| case.name == name)
        .expect("the macro and the list contain the same cases");
    new_runtime(2).block_on(async {
        if let Some(excuse) = case.excuse(&harness).await {
            println!("excused: {excuse}");
        } else if let Err(message) = attempt(case, &harness).await {
            panic!("{message}");
        }
    });
}

/// How many cases of a group run at once. A case may start several servers.
const AT_ONCE: usize = 8;

/// Runs the cases of a group on a new runtime, for a `#[test]`. Each has its own harness.
///
/// # Panics
///
/// Panics if a case fails.
#[expect(clippy::print_stdout, reason = "the output of a test states what is excused")]
pub fn run_group(group: &str, new_harness: impl Fn() -> Harness) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    // A harness may block a thread while it starts a server.
    let report = new_runtime(AT_ONCE).block_on(async {
        let mut running = JoinSet::new();
        for case in CASES.iter().filter(|case| case.group == group) {
            let (harness, permits) = (new_harness(), Arc::clone(&permits));
            running.spawn(async move {
                let _permit = permits.acquire_owned().await;
                match case.excuse(&harness).await {
                    Some(excuse) => (case.name, Some(excuse), Ok(())),
                    None => (case.name, None, attempt(case, &harness).await),
                }
            });
        }
        let mut report = Report::default();
        while let Some(ended) = running.join_next().await {
            let (name, excuse, outcome) = ended.expect("panics of the case were caught");
            match (excuse, outcome) {
                (Some(excuse), _) => report.excused.push((name, excuse)),
                (None, Ok(())) => report.passed.push(name),
                (None, Err(message)) => report.failed.push(Failure { case: name, message }),
            }
        }
        report
    });
    println!("{report}");
    report.assert_passed();
}

fn new_runtime(threads: usize) -> Runtime {
    let builder = &mut tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all().build().expect("the runtime starts")
}
