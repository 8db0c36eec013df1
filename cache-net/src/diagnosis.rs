//! What operators should know about a server's certificate.

use std::time::{Duration, SystemTime};

use cache_core::{Finding, Severity};

use crate::{Tls, connect_tcp};

const DAY: Duration = Duration::from_secs(86_400);
/// A certificate that is valid for longer is not reported.
const PERIOD: Duration = Duration::from_secs(30 * DAY.as_secs());
/// A certificate that is not is an error: many authorities and operators need days.
const URGENT: Duration = Duration::from_secs(7 * DAY.as_secs());

/// Connects to a server, and returns the finding `certificate` if one expires within 30 days.
///
/// Returns `None` if the server cannot be reached, which other calls report.
pub async fn certificate(tls: &Tls, host: &str, port: u16, limit: Duration) -> Option<Finding> {
    let examine = async {
        let stream = connect_tcp(host, port, None).await.ok()?;
        tls.expiry(host, stream, PERIOD).await.ok()?
    };
    let expiry = tokio::time::timeout(limit, examine).await.ok()??;
    let left = expiry.duration_since(SystemTime::now()).unwrap_or_default();
    Some(expires_in(&format!("{host}:{port}"), left))
}

fn expires_in(place: &str, left: Duration) -> Finding {
    let severity = if left < URGENT { Severity::Error } else { Severity::Warning };
    let days = left.as_secs() / DAY.as_secs();
    let message = format!("{place}: a certificate of the server expires in {days} days");
    Finding::new(severity, "certificate", message)
        .with_remedy("renew it on the server: connections fail once it has expired")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_that_expires_within_a_week_is_an_error() {
        assert_eq!(expires_in("h:1", 6 * DAY).severity, Severity::Error);
        let finding = expires_in("h:1", 8 * DAY);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.message.contains("8 days"), "{finding:?}");
    }
}
