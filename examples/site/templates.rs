//! The page templates and their filters.

use std::time::{Duration, Instant, SystemTime};

use axum::response::Html;
use minijinja::{Environment, Error, Value, context};

use crate::{library, timings::milliseconds};

#[derive(Clone, Debug)]
pub(crate) struct Templates(Environment<'static>);

impl Templates {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut environment = Environment::new();
        for (name, source) in [
            ("base.html", include_str!("templates/base.html")),
            ("home.html", include_str!("templates/home.html")),
            ("books.html", include_str!("templates/books.html")),
            ("book.html", include_str!("templates/book.html")),
            ("today.html", include_str!("templates/today.html")),
            ("branch.html", include_str!("templates/branch.html")),
            ("kept.html", include_str!("templates/kept.html")),
            ("account.html", include_str!("templates/account.html")),
            ("about.html", include_str!("templates/about.html")),
            ("caches.html", include_str!("templates/caches.html")),
            ("problem.html", include_str!("templates/problem.html")),
        ] {
            environment.add_template(name, source)?;
        }
        environment.add_filter("ago", |written: i64| ago(library::now() - written));
        environment.add_filter("thousands", thousands);
        environment.add_filter("one_digit", |number: f64| format!("{number:.1}"));
        Ok(Self(environment))
    }

    /// Renders a page. The page shows the time of rendering and the duration since `start`, which
    /// are cached with it.
    pub(crate) fn page(
        &self,
        name: &str,
        start: Instant,
        content: Value,
    ) -> Result<Html<String>, Error> {
        self.fragment(name, start, content).map(Html)
    }

    /// Renders a part of a page.
    pub(crate) fn fragment(
        &self,
        name: &str,
        start: Instant,
        content: Value,
    ) -> Result<String, Error> {
        let template = self.0.get_template(name)?;
        let made = context! {
            at => time_of_day(SystemTime::now()),
            duration => duration(start.elapsed()),
        };
        template.render(context! { made, ..content })
    }
}

/// Formats the time of day in UTC, with milliseconds.
pub(crate) fn time_of_day(time: SystemTime) -> String {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since_1970.as_secs() % 86400;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03} UTC", seconds % 60, since_1970.subsec_millis())
}

fn duration(duration: Duration) -> String {
    let milliseconds = milliseconds(duration);
    match milliseconds {
        ..10.0 => format!("{milliseconds:.2} ms"),
        ..1000.0 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}

fn ago(seconds: i64) -> String {
    let (count, unit) = match seconds.max(0) {
        seconds @ 0..60 => {
            return if seconds < 10 { "just now".into() } else { format!("{seconds} seconds ago") };
        }
        seconds @ 60..3600 => (seconds / 60, "minute"),
        seconds @ 3600..86400 => (seconds / 3600, "hour"),
        seconds => (seconds / 86400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

fn thousands(number: i64) -> String {
    let digits = number.to_string();
    let groups =
        digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}
