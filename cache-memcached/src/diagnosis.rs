//! What operators should know about a server.

use std::{collections::HashMap, str::FromStr, sync::Arc, time::Duration};

use cache_core::{Clock, Error, Finding, shown_size};

use crate::server::Server;

/// Examines a server.
pub(crate) async fn run(server: &Arc<Server>, clock: &Clock) -> Vec<Finding> {
    let asked = clock.unix_time();
    let stats = server.stats().await;
    let answered = clock.unix_time();
    let stats = match stats {
        Ok(stats) => Stats(stats.into_iter().collect()),
        Err(error) => return vec![unreachable(&error)],
    };
    let settings = Stats(server.settings().await.unwrap_or_default().into_iter().collect());
    let place = server.name();
    let mut findings = of_stats(place, &stats, &settings);
    if let Some(time) = stats.number("time") {
        let (time, resolution) = (Duration::from_secs(time), Duration::from_secs(1));
        findings.extend(Finding::of_clock(place, time, resolution, (asked, answered)));
    }
    findings.extend(server.certificate().await);
    findings
}

fn unreachable(error: &Error) -> Finding {
    Finding::error("unreachable", error.to_string())
        .with_remedy("check that the server is running, and that LOCATION is right")
}

/// Statistics or settings by name. A proxy may lack any of them.
struct Stats(HashMap<String, String>);

impl Stats {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name).parse().ok()
    }
}

fn of_stats(place: &str, stats: &Stats, settings: &Stats) -> Vec<Finding> {
    let findings = [
        Some(server(place, stats, settings)),
        no_eviction(place, settings),
        evictions(place, stats),
        connections(place, stats),
    ];
    findings.into_iter().flatten().collect()
}

fn server(place: &str, stats: &Stats, settings: &Stats) -> Finding {
    let size = |stats: &Stats, name| stats.number(name).map_or_else(|| "?".into(), shown_size);
    let (used, limit) = (size(stats, "bytes"), size(stats, "limit_maxbytes"));
    let item = size(settings, "item_size_max");
    let message = format!(
        "{place}: memcached {}, {used} of {limit} used, items of up to {item}",
        stats.text("version")
    );
    Finding::info("server", message)
}

/// The finding if the server was started with `-M`.
fn no_eviction(place: &str, settings: &Stats) -> Option<Finding> {
    (settings.text("evictions") == "off").then(|| {
        let message = format!("{place}: the server does not evict: writes fail when it is full");
        Finding::warning("no-eviction", message)
            .with_remedy("start memcached without the option -M")
    })
}

/// Evictions are normal. If many items that nobody has read are evicted, there is too little memory
/// for the entries.
fn evictions(place: &str, stats: &Stats) -> Option<Finding> {
    let evictions = stats.number::<u64>("evictions").filter(|evictions| *evictions > 0)?;
    let unread = stats.number::<u64>("evicted_unfetched").unwrap_or(0);
    let stored = stats.number::<u64>("total_items").unwrap_or(0);
    let message = format!(
        "{place}: {evictions} of {stored} items were evicted since the server started, {unread} \
         of them before anybody read them"
    );
    if unread <= stored / 10 {
        return Some(Finding::info("evictions", message));
    }
    let remedy = "give the server more memory with -m, or store fewer or smaller entries";
    Some(Finding::warning("evictions", message).with_remedy(remedy))
}

fn connections(place: &str, stats: &Stats) -> Option<Finding> {
    let current = stats.number::<u64>("curr_connections")?;
    // The server keeps some for its own files, and rejects clients before it is out of them.
    let reserved = stats.number("reserved_fds").unwrap_or(0);
    let limit = stats.number::<u64>("max_connections")?.saturating_sub(reserved);
    let pauses = stats.number::<u64>("listen_disabled_num").unwrap_or(0);
    if current < limit / 10 * 9 && pauses == 0 {
        return None;
    }
    let message = format!(
        "{place}: {current} of {limit} connections are open, and the limit was reached {pauses} \
         times since the server started"
    );
    let remedy = "raise the limit with -c, and look for clients that do not close connections";
    Some(Finding::warning("connections", message).with_remedy(remedy))
}

#[cfg(test)]
mod tests {
    use cache_core::Severity;

    use super::*;

    fn stats(values: &[(&str, &str)]) -> Stats {
        Stats(values.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn missing_statistics_are_not_reported() {
        let findings = of_stats("h:1", &stats(&[]), &stats(&[]));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].severity, Severity::Info);
    }

    #[test]
    fn many_evictions_of_unread_items_are_a_warning() {
        let with = |unread| {
            let stats =
                [("evictions", "90"), ("evicted_unfetched", unread), ("total_items", "100")];
            evictions("h:1", &self::stats(&stats)).map(|finding| finding.severity)
        };
        assert_eq!(with("10"), Some(Severity::Info));
        assert_eq!(with("11"), Some(Severity::Warning));
        assert_eq!(evictions("h:1", &stats(&[("evictions", "0")])), None);
    }

    #[test]
    fn limit_of_connections_that_was_reached_is_a_warning() {
        let with = |current, pauses| {
            let stats = [
                ("curr_connections", current),
                ("max_connections", "100"),
                ("listen_disabled_num", pauses),
            ];
            connections("h:1", &self::stats(&stats)).is_some()
        };
        assert!(!with("50", "0"));
        assert!(with("50", "1"));
        assert!(with("95", "0"));
    }
}
