//! The command `doctor`: examines the configuration, the stores and their servers.

use std::time::{Duration, Instant};

use cachette::{CacheHandle, Finding, Severity};
use serde_json::{Value as Json, json};

use super::{Printer, check, own_keys};
use crate::{
    Failure, Outcome, Result,
    selection::Selection,
    terminal::{self, BAD, GOOD, HEADING, WARNING, styled},
};

/// What was found out about one alias, or about the whole configuration.
struct Report {
    alias: Option<String>,
    store: Option<String>,
    findings: Vec<Finding>,
}

pub(super) async fn run(selection: Selection, printer: Printer) -> Result<Outcome> {
    let mut reports = Vec::new();
    if let Some(finding) = missing_default(&selection) {
        reports.push(Report { alias: None, store: None, findings: vec![finding] });
    }
    for (alias, cache) in selection.into_each_with_mistakes() {
        reports.push(match cache {
            Ok(cache) => {
                let store = Some(cache.store().name().to_owned());
                Report { alias: Some(alias), store, findings: examine(&cache).await }
            }
            Err(mistakes) => {
                let findings = mistakes.into_iter().map(|mistake| of_failure("config", &mistake));
                Report { alias: Some(alias), store: None, findings: findings.collect() }
            }
        });
    }
    if printer.is_json() {
        terminal::print_json(&reports.iter().map(as_json).collect())?;
    } else {
        print(&mut reports)?;
    }
    let worst = reports.iter().flat_map(|report| &report.findings).map(|finding| finding.severity);
    Ok(match worst.max() {
        Some(Severity::Error) => Outcome::Failed,
        Some(Severity::Warning) => Outcome::Miss,
        _ => Outcome::Done,
    })
}

/// A service requires the alias `default` unless its code says otherwise.
fn missing_default(selection: &Selection) -> Option<Finding> {
    if selection.alias().is_some() || selection.has("default") {
        return None;
    }
    let message = "there is no cache \"default\": a service does not start with this configuration";
    let remedy = "add it, or build the caches in the service with CachesBuilder::without_default";
    Some(Finding::warning("no-default", message).with_remedy(remedy))
}

/// Errors of `diagnose` after which the verbs fail for the same reason.
const CAUSES: [&str; 3] = ["unreachable", "table", "directory"];

async fn examine(cache: &CacheHandle) -> Vec<Finding> {
    let mut findings = match cache.diagnose().await {
        Ok(findings) => findings,
        Err(error) => return vec![of_failure("unreachable", &error.into())],
    };
    let has_cause =
        |finding: &Finding| finding.severity == Severity::Error && CAUSES.contains(&&*finding.code);
    if findings.iter().any(has_cause) {
        return findings;
    }
    match try_cache(cache).await {
        Ok(finding) => findings.push(finding),
        Err(failure) => findings.push(of_failure("verb", &failure)),
    }
    findings
}

/// Calls every verb, and measures how long one takes.
async fn try_cache(cache: &CacheHandle) -> Result<Finding> {
    check::try_verbs(cache).await?;
    round_trip(cache).await
}

async fn round_trip(cache: &CacheHandle) -> Result<Finding> {
    const TIMES: usize = 20;
    /// A miss that produces its value often takes less.
    const SLOW: Duration = Duration::from_millis(10);
    let [key] = own_keys("doctor", ["round-trip"]);
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let start = Instant::now();
        cache.get::<i64>(&key).await?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let (median, longest) = (times[TIMES / 2], times[TIMES - 1]);
    let message = format!("a get takes {median:.1?}, and at most {longest:.1?} ({TIMES} gets)");
    if median < SLOW {
        return Ok(Finding::info("round-trip", message));
    }
    Ok(Finding::warning("round-trip", message).with_remedy(
        "look for load on the server and on the network, and place the server near the service",
    ))
}

fn of_failure(code: &'static str, failure: &Failure) -> Finding {
    let causes: String = failure.causes().iter().map(|cause| format!(": {cause}")).collect();
    let finding = Finding::error(code, format!("{failure}{causes}"));
    match failure.help() {
        Some(help) => finding.with_remedy(help),
        None => finding,
    }
}

/// Prints the findings of each alias, the worst first.
fn print(reports: &mut [Report]) -> Result<()> {
    for report in reports.iter_mut() {
        report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        terminal::print(styled(HEADING, &name(report)))?;
        for Finding { severity, code, message, remedy, .. } in &report.findings {
            let style = match severity {
                Severity::Info => GOOD,
                Severity::Warning => WARNING,
                _ => BAD,
            };
            terminal::print(format!(
                "  {} {message} [{code}]",
                styled(style, &format!("{severity:7}"))
            ))?;
            if let Some(remedy) = remedy {
                terminal::print(format!("          {} {remedy}", styled(HEADING, "help:")))?;
            }
        }
    }
    let count = |severity| {
        let all = reports.iter().flat_map(|report| &report.findings);
        all.filter(|finding| finding.severity == severity).count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    terminal::print(format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")))
}

fn name(report: &Report) -> String {
    match (&report.alias, &report.store) {
        (None, _) => "configuration".into(),
        (Some(alias), None) => alias.clone(),
        (Some(alias), Some(store)) => format!("{alias} ({store})"),
    }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn as_json(report: &Report) -> Json {
    let findings = report.findings.iter().map(|finding| {
        let Finding { severity, code, message, remedy, .. } = finding;
        json!({"severity": severity.name(), "code": code, "message": message, "remedy": remedy})
    });
    let findings: Json = findings.collect();
    json!({"cache": report.alias, "store": report.store, "findings": findings})
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cachette::{Cache, Caches, async_trait, forward_cache};

    use super::*;

    /// A store of an application, which examines itself.
    #[derive(Debug)]
    struct Examined(Arc<dyn Cache>);

    #[async_trait]
    impl Cache for Examined {
        forward_cache!(self.0, except diagnose);

        async fn diagnose(&self) -> cachette::Result<Vec<Finding>> {
            Ok(vec![Finding::warning("hot", "the disk is hot").with_remedy("open a window")])
        }
    }

    #[derive(Debug)]
    struct Wrapper(Arc<dyn Cache>);

    impl Cache for Wrapper {
        forward_cache!(self.0);
    }

    #[tokio::test]
    async fn findings_of_a_wrapped_store_of_an_application_are_reported() {
        let caches = Caches::builder().url("default", "locmem://").wrap(Examined).wrap(Wrapper);
        let caches = caches.build().await.expect("valid configuration");
        let findings = examine(&caches["default"]).await;
        let codes: Vec<&str> = findings.iter().map(|finding| &*finding.code).collect();
        assert_eq!(codes, ["hot", "round-trip"]);
    }
}
