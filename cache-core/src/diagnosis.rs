//! What a store reports about its own health, for operators.

use std::{borrow::Cow, fmt, time::Duration};

/// A fact about a store or its server that an operator should know.
///
/// [`Cache::diagnose`](crate::Cache::diagnose) returns them. The command `cachette doctor` prints
/// them.
///
/// # Examples
///
/// ```
/// use cache_core::{Finding, Severity};
///
/// let finding = Finding::warning("no-memory-limit", "127.0.0.1:6379: memory is unlimited")
///     .with_remedy("set maxmemory on the server");
/// assert_eq!(finding.severity, Severity::Warning);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The name of the fact, the same in every release, for programs that filter findings.
    pub code: Cow<'static, str>,
    /// What was found, with the server, file or table it concerns.
    pub message: String,
    /// What to do about it, if something should be done.
    pub remedy: Option<String>,
}

/// How much a [`Finding`] matters, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// A fact that needs no action, such as the version of a server.
    Info,
    /// The store works, and something should be changed before it fails or loses entries.
    Warning,
    /// The store does not work, or will soon stop working.
    Error,
}

impl Severity {
    /// Returns `"info"`, `"warning"` or `"error"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Shows the [name](Severity::name).
impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The largest difference between two clocks that is not reported.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(1);

impl Finding {
    /// Creates a finding.
    #[must_use]
    pub fn new(
        severity: Severity,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self { severity, code: code.into(), message: message.into(), remedy: None }
    }

    /// Creates a finding that needs no action.
    #[must_use]
    pub fn info(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, code, message)
    }

    /// Creates a finding of something that should be changed.
    #[must_use]
    pub fn warning(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Creates a finding of something that does not work.
    #[must_use]
    pub fn error(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// Sets what to do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Returns the finding `clock` if the clocks of a server and of this process differ.
    ///
    /// All times are since 1970 UTC. `asked` and `answered` are the times of this process before
    /// and after the server read its own, which it reports in units of `resolution`. Differences
    /// that these explain, and one second more, are not reported.
    #[must_use]
    pub fn of_clock(
        place: &str,
        server: Duration,
        resolution: Duration,
        (asked, answered): (Duration, Duration),
    ) -> Option<Self> {
        let (earliest, latest) = (server, server.saturating_add(resolution));
        let (difference, direction) = if earliest > answered {
            (earliest - answered, "ahead of")
        } else {
            (asked.saturating_sub(latest), "behind")
        };
        (difference > MAX_CLOCK_DIFFERENCE).then(|| {
            let message = format!(
                "{place}: the clock of the server is {} {direction} that of this machine",
                shown_time(difference)
            );
            Self::warning("clock", message).with_remedy(
                "synchronize both clocks with NTP: entries and pages of different machines expire \
                 and age by different clocks",
            )
        })
    }

    /// Creates the finding `disk`: how much of a disk is free, and whether that is little.
    ///
    /// Less than a tenth is a warning, and less than a hundredth an error. Sizes are in bytes.
    #[must_use]
    pub fn of_disk(place: &str, free: u64, total: u64) -> Self {
        let severity = match total / free.max(1) {
            100.. => Severity::Error,
            10.. => Severity::Warning,
            _ => Severity::Info,
        };
        let (free, total) = (shown_size(free), shown_size(total));
        let finding = Self::new(severity, "disk", format!("{place}: {free} of {total} free"));
        match severity {
            Severity::Info => finding,
            _ => finding.with_remedy(
                "free disk space: run `cachette purge-expired`, set a lower max_entries, or move \
                 LOCATION to a larger disk",
            ),
        }
    }
}

/// Returns a size in bytes with a unit, as findings show it.
///
/// # Examples
///
/// ```
/// assert_eq!(cache_core::shown_size(1536), "1.5 KiB");
/// ```
#[must_use]
pub fn shown_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// Returns a time of more than a second in its largest unit.
fn shown_time(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} seconds"),
        seconds @ ..7200 => format!("{} minutes", seconds / 60),
        seconds @ ..172_800 => format!("{} hours", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(server: u64, resolution: u64) -> Option<String> {
        let seconds = Duration::from_secs;
        let asked = (seconds(1000), seconds(1002));
        let finding = Finding::of_clock("h:1", seconds(server), seconds(resolution), asked);
        finding.map(|finding| finding.message)
    }

    #[test]
    fn difference_of_clocks_beyond_the_round_trip_is_reported() {
        assert_eq!(clock(999, 0), None);
        assert_eq!(clock(1003, 0), None);
        assert_eq!(clock(998, 1), None);
        let ahead = clock(1004, 0).expect("two seconds");
        assert!(ahead.contains("2 seconds ahead"), "{ahead}");
        let behind = clock(400, 0).expect("ten minutes");
        assert!(behind.contains("10 minutes behind"), "{behind}");
    }

    #[test]
    fn little_free_space_is_a_warning_and_none_an_error() {
        for (free, severity) in [
            (0, Severity::Error),
            (9, Severity::Error),
            (11, Severity::Warning),
            (99, Severity::Warning),
            (101, Severity::Info),
            (1000, Severity::Info),
        ] {
            let finding = Finding::of_disk("/var/cache", free, 1000);
            assert_eq!(finding.severity, severity, "{finding:?}");
            assert_eq!(finding.remedy.is_some(), severity > Severity::Info, "{finding:?}");
        }
    }

    #[test]
    fn size_has_the_largest_unit() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(shown_size(bytes), expected);
        }
    }
}
