//! Drawing the table.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, SystemTime},
};

use anstream::{AutoStream, ColorChoice, adapter::strip_str};
use console::Term;

use super::row::{Row, State};
use crate::{
    Failure, Result,
    terminal::{BAD, HEADING, styled, visible},
};

/// Where the table is drawn: in place on a terminal, and otherwise one table after the other.
///
/// The cursor is never hidden, and between two frames it is below the table. So there is nothing to
/// restore when the command is interrupted.
pub(super) struct Screen {
    interval: Duration,
    is_in_place: bool,
    has_colors: bool,
    /// How many lines the last frame had, and the width of the terminal.
    drawn: usize,
    width: usize,
}

impl Screen {
    pub(super) fn new(interval: Duration) -> Self {
        let stdout = io::stdout();
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            interval,
            is_in_place: stdout.is_terminal() && !is_dumb,
            has_colors: AutoStream::choice(&stdout) != ColorChoice::Never,
            drawn: 0,
            width: 0,
        }
    }

    pub(super) fn draw(&mut self, rows: &[Row]) -> Result<()> {
        // Output that is not drawn in place, such as that to a file, is not cut.
        let (height, width) = match self.is_in_place.then(|| Term::stdout().size()) {
            Some((height, width)) => (usize::from(height).max(4), usize::from(width)),
            None => (usize::MAX, usize::MAX),
        };
        let mut lines = table(rows, self.interval, width);
        if self.is_in_place {
            lines[0] = cut(&format!("{}, Ctrl-C ends", lines[0]), width);
        }
        if lines.len() >= height {
            // A frame that scrolls could not be drawn over.
            let hidden = lines.len() - (height - 2);
            lines.truncate(height - 2);
            lines.push(format!("… {hidden} more: make the window higher"));
        }
        let mut frame = String::new();
        // A terminal that has become narrower has broken the lines of the last frame.
        if self.is_in_place && self.drawn > 0 && width == self.width {
            frame.push_str(&format!("\r\x1b[{}A", self.drawn));
        }
        // Each line removes the rest of the line that was there before.
        let end = if self.is_in_place { "\x1b[K\n" } else { "\n" };
        for line in &lines {
            let line = if self.has_colors { line.clone() } else { strip_str(line).to_string() };
            frame.push_str(&line);
            frame.push_str(end);
        }
        frame.push_str(if self.is_in_place { "\x1b[J" } else { "\n" });
        (self.drawn, self.width) = (lines.len(), width);
        // In one piece, so that no half of a frame is ever seen.
        let mut out = io::stdout().lock();
        out.write_all(frame.as_bytes())?;
        Ok(out.flush()?)
    }
}

/// The columns of a row.
const HEADINGS: [&str; 8] =
    ["cache", "store", "entries", "bytes", "hits/s", "misses/s", "hit%", "note"];
const WIDTHS: [usize; 7] = [14, 9, 9, 9, 8, 8, 5];

fn table(rows: &[Row], interval: Duration, width: usize) -> Vec<String> {
    let time = httpdate::fmt_http_date(SystemTime::now());
    let title = format!("every {} s, {time}", interval.as_secs_f64());
    let heading = aligned(HEADINGS.map(str::to_owned));
    let mut lines = vec![cut(&title, width), styled(HEADING, &cut(&heading, width))];
    lines.extend(rows.iter().map(|row| line(row, interval, width)));
    lines
}

fn line(row: &Row, interval: Duration, width: usize) -> String {
    let name = visible(&row.alias);
    match &row.state {
        State::Waiting => {
            let start = [name.into_owned(), row.store.clone()];
            cut(&format!("{}  no reply yet", aligned_start(&start)), width)
        }
        State::Failed(failure) => {
            let start = [name.into_owned(), row.store.clone()];
            let text = format!("{}  {}", aligned_start(&start), visible(problem(row, failure)));
            styled(BAD, &cut(&text, width))
        }
        State::Known { at, stats, rates } => {
            let rate = |rate: Option<f64>| rate.map_or_else(|| "-".into(), per_second);
            let ratio = rates.and_then(|rates| rates.hit_ratio());
            let columns = [
                name.into_owned(),
                row.store.clone(),
                stats.entries.map_or_else(|| "?".into(), count),
                stats.bytes.map_or_else(|| "?".into(), bytes),
                rate(rates.and_then(|rates| rates.hits)),
                rate(rates.and_then(|rates| rates.misses)),
                ratio.map_or_else(|| "-".into(), |ratio| format!("{:.1}", 100.0 * ratio)),
                String::new(),
            ];
            let is_partial = !stats.unreachable.is_empty();
            let mut notes: Vec<String> =
                stats.unreachable.iter().map(|(server, _)| format!("down: {server}")).collect();
            if at.elapsed() > 2 * interval {
                notes.push(format!("{} s ago", at.elapsed().as_secs()));
            }
            if let Some(evictions @ 0.05..) = rates.and_then(|rates| rates.evictions) {
                notes.push(format!("evicts {}/s", per_second(evictions)));
            }
            let text = cut(&format!("{}{}", aligned(columns), notes.join(", ")), width);
            if is_partial { styled(BAD, &text) } else { text }
        }
    }
}

/// The message of a failure without the names of the cache and its store, which the row has.
fn problem<'a>(row: &Row, failure: &'a Failure) -> &'a str {
    let names = format!("cache {:?} ({}): ", row.alias, row.store);
    failure.message().strip_prefix(&names).unwrap_or(failure.message())
}

/// The first two columns.
fn aligned_start([cache, store]: &[String; 2]) -> String {
    let [first, second, ..] = WIDTHS;
    format!("{:first$}  {store:second$}", cut(cache, first))
}

/// Aligns names to the left and numbers to the right.
fn aligned([cache, store, numbers @ .., note]: [String; 8]) -> String {
    let mut text = aligned_start(&[cache, store]);
    for (number, width) in numbers.iter().zip(&WIDTHS[2..]) {
        text.push_str(&format!(" {number:>width$}"));
    }
    format!("{text}  {note}")
}

/// Cuts text to this many characters.
fn cut(text: &str, width: usize) -> String {
    let text = text.trim_end();
    match text.char_indices().nth(width) {
        None => text.into(),
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A number of at most nine characters.
fn count(number: u64) -> String {
    if number < 1_000_000_000 {
        number.to_string()
    } else {
        scaled(number as f64, 1000.0, &["", "k", "M", "G", "T", "P", "E"])
    }
}

/// A size of at most nine characters.
fn bytes(number: u64) -> String {
    scaled(number as f64, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// A rate of at most eight characters.
fn per_second(rate: f64) -> String {
    if rate < 1000.0 {
        format!("{rate:.1}")
    } else if rate < 1e7 {
        format!("{rate:.0}")
    } else {
        scaled(rate, 1000.0, &["", "k", "M", "G", "T"])
    }
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    let is_whole = number < step;
    // A number that would be shown as 1000.0 belongs to the next unit.
    while number >= step - 0.05 {
        let Some(next) = units.next() else { break };
        (number, unit) = (number / step, next);
    }
    if is_whole { format!("{number:.0}{unit}") } else { format!("{number:.1}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_into_their_columns() {
        for (text, expected) in [
            (bytes(0), "0 B"),
            (bytes(1023), "1023 B"),
            (bytes(1024), "1.0 KiB"),
            (bytes(1_048_575), "1.0 MiB"),
            (bytes(1023 << 20), "1023.0 MiB"),
            (bytes(u64::MAX), "16.0 EiB"),
            (count(999_999_999), "999999999"),
            (count(12_345_678_901), "12.3G"),
            (per_second(0.0), "0.0"),
            (per_second(1234.5), "1234"),
            (per_second(23_456_789.0), "23.5M"),
        ] {
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn headings_fit_into_80_columns() {
        let heading = aligned(HEADINGS.map(str::to_owned));
        assert!(heading.chars().count() <= 80, "{heading:?}");
    }

    #[test]
    fn text_is_cut_to_the_width() {
        assert_eq!(cut("žluťoučký", 9), "žluťoučký");
        assert_eq!(cut("žluťoučký", 5), "žluť…");
        assert_eq!(cut("trailing   ", 8), "trailing");
    }
}
