//! What operators should know about a server.

use std::{collections::HashMap, str::FromStr, sync::Arc, time::Duration};

use cache_core::{Clock, Finding, Severity, shown_size};
use cache_net::certificate;

use crate::{
    failure::{Failure, Fault},
    location::Address,
    node::{Effect, Node},
    stats,
};

/// Examines a server.
pub(crate) async fn run(node: &Arc<Node>, clock: &Clock) -> Vec<Finding> {
    let place = node.name();
    let mut findings = match stats::info(node).await {
        Ok(fields) => of_fields(place, &Info(fields)),
        Err(failure) if failure.fault == Fault::Rejected => vec![not_examined(failure)],
        Err(failure) => return vec![unreachable(failure)],
    };
    findings.extend(clock_of(node, clock).await);
    let target = node.target();
    if let (Address::Tcp { host, port, .. }, Some(tls)) = (&target.address, &target.tls) {
        findings.extend(certificate(tls, host, *port, node.timeouts().connect).await);
    }
    findings
}

/// The finding for a server, or a proxy, that does not let this user examine it. If it rejects the
/// user, the verbs fail as well.
fn not_examined(failure: Failure) -> Finding {
    let message = failure.into_error().to_string();
    let is_denied = message.contains("NOPERM");
    let finding = Finding::info("not-examined", message);
    if is_denied {
        finding.with_remedy("grant the user INFO and TIME to have the server examined")
    } else {
        finding
    }
}

fn unreachable(failure: Failure) -> Finding {
    Finding::error("unreachable", failure.into_error().to_string())
        .with_remedy("check that the server is running, and that LOCATION is right")
}

/// The difference of the clocks, if it is large and the user may ask for the time.
async fn clock_of(node: &Arc<Node>, clock: &Clock) -> Option<Finding> {
    let (asked, deadline) = (clock.unix_time(), node.timeouts().deadline());
    let reply = node.execute(&redis::cmd("TIME"), Effect::Idempotent, deadline).await.ok()?;
    let answered = clock.unix_time();
    let (seconds, micros): (u64, u64) = redis::from_redis_value(reply).ok()?;
    let server = Duration::from_secs(seconds) + Duration::from_micros(micros);
    Finding::of_clock(node.name(), server, Duration::ZERO, (asked, answered))
}

/// The fields of INFO. A server or a proxy may lack any of them.
struct Info(HashMap<String, String>);

impl Info {
    fn text(&self, field: &str) -> &str {
        self.0.get(field).map_or("", String::as_str)
    }

    fn number<T: FromStr>(&self, field: &str) -> Option<T> {
        self.text(field).parse().ok()
    }
}

fn of_fields(place: &str, info: &Info) -> Vec<Finding> {
    let findings = [
        Some(server(place, info)),
        memory_limit(place, info),
        eviction(place, info),
        persistence(place, info),
        clients(place, info),
    ];
    findings.into_iter().flatten().collect()
}

fn server(place: &str, info: &Info) -> Finding {
    let (name, version) = match info.text("valkey_version") {
        "" => ("Redis", info.text("redis_version")),
        version => ("Valkey", version),
    };
    let role = match info.text("role") {
        "master" => "primary",
        "slave" => "replica",
        other => other,
    };
    let used = info.number("used_memory").map_or_else(|| "?".into(), shown_size);
    let evicted = info.number::<u64>("evicted_keys").unwrap_or(0);
    Finding::info(
        "server",
        format!("{place}: {name} {version}, {role}, {used} used, {evicted} keys evicted"),
    )
}

/// Without a limit, the system ends the server when the memory is used up.
fn memory_limit(place: &str, info: &Info) -> Option<Finding> {
    (info.number::<u64>("maxmemory") == Some(0)).then(|| {
        let message = format!("{place}: maxmemory is 0: the server has no memory limit");
        Finding::warning("no-memory-limit", message).with_remedy(
            "set maxmemory to what the machine can spare, and maxmemory-policy to allkeys-lru or \
             allkeys-lfu",
        )
    })
}

/// The finding if entries are not evicted when the memory is used up.
fn eviction(place: &str, info: &Info) -> Option<Finding> {
    let limit = info.number::<u64>("maxmemory").filter(|limit| *limit > 0)?;
    let used = info.number::<u64>("used_memory")?;
    let share = format!("{} of {} used", shown_size(used), shown_size(limit));
    match info.text("maxmemory_policy") {
        "noeviction" => {
            let is_full = used >= limit / 10 * 9;
            let severity = if is_full { Severity::Error } else { Severity::Warning };
            let message = format!(
                "{place}: maxmemory-policy is noeviction: writes fail when the memory is full \
                 ({share})"
            );
            Some(Finding::new(severity, "no-eviction", message).with_remedy(
                "set maxmemory-policy to allkeys-lru or allkeys-lfu, unless the server also keeps \
                 data that must not be lost: then use another server for the cache",
            ))
        }
        policy if policy.starts_with("volatile-") => {
            let message = format!(
                "{place}: maxmemory-policy is {policy}: entries that never expire are not evicted \
                 ({share})"
            );
            Some(Finding::info("volatile-eviction", message))
        }
        policy => {
            let message = format!("{place}: maxmemory-policy is {policy} ({share})");
            Some(Finding::info("eviction", message))
        }
    }
}

/// After a failed snapshot, the server rejects writes until one succeeds.
fn persistence(place: &str, info: &Info) -> Option<Finding> {
    let fields = ["rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status"];
    let failed = fields.into_iter().find(|field| info.text(field) == "err")?;
    let message = format!("{place}: the server cannot write to its disk ({failed}:err)");
    Some(Finding::error("persistence", message).with_remedy(
        "free disk space on the server and check the rights of its directory, or switch off \
         persistence with save \"\" and appendonly no",
    ))
}

fn clients(place: &str, info: &Info) -> Option<Finding> {
    let (clients, limit): (u64, u64) =
        (info.number("connected_clients")?, info.number("maxclients")?);
    let rejected = info.number::<u64>("rejected_connections").unwrap_or(0);
    if clients < limit / 10 * 9 && rejected == 0 {
        return None;
    }
    let message = format!(
        "{place}: {clients} of {limit} clients are connected, {rejected} were rejected since the \
         server started"
    );
    Some(Finding::warning("clients", message).with_remedy(
        "raise maxclients on the server, and look for clients that do not close connections",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes of the findings about these fields.
    fn codes(fields: &[(&str, &str)]) -> Vec<(Severity, String)> {
        let fields = fields.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let findings = of_fields("h:1", &Info(fields.collect()));
        let codes = findings.into_iter().skip(1);
        codes.map(|finding| (finding.severity, finding.code.into_owned())).collect()
    }

    #[test]
    fn missing_fields_are_not_reported() {
        assert!(codes(&[]).is_empty());
    }

    #[test]
    fn server_that_is_almost_full_and_does_not_evict_is_an_error() {
        for (used, severity) in [("100", Severity::Warning), ("950", Severity::Error)] {
            let fields =
                [("maxmemory", "1000"), ("used_memory", used), ("maxmemory_policy", "noeviction")];
            assert_eq!(codes(&fields), [(severity, "no-eviction".into())]);
        }
    }

    #[test]
    fn failed_snapshot_is_an_error() {
        let fields = [("rdb_last_bgsave_status", "ok"), ("aof_last_write_status", "err")];
        assert_eq!(codes(&fields), [(Severity::Error, "persistence".into())]);
    }

    #[test]
    fn clients_near_the_limit_are_a_warning() {
        let warning = [(Severity::Warning, "clients".to_owned())];
        assert_eq!(codes(&[("connected_clients", "95"), ("maxclients", "100")]), warning);
        assert!(codes(&[("connected_clients", "50"), ("maxclients", "100")]).is_empty());
    }
}
