//! What is drawn: lines over an axis, or a bar for each candidate.

use serde::{Deserialize, Serialize};

/// A picture of numbers. The first line or bar is ours, and stands out.
///
/// ```
/// use cachette_benches::Figure;
///
/// let figure = Figure::lines("Hit ratio against size", "entries", "hits of 100 requests")
///     .log_x()
///     .line("locmem", [(1e3, 41.0), (1e4, 68.0)])
///     .line("LRU", [(1e3, 40.0), (1e4, 66.0)])
///     .with_table();
/// assert_eq!(figure.slug(), "hit-ratio-against-size");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it shows.
    pub title: String,
    /// Lines or bars.
    pub kind: Kind,
    /// Across. Bars have none.
    pub x: Axis,
    /// Upwards; with bars, what is counted.
    pub y: Axis,
    /// Who is shown. A bar is a line of one point.
    pub lines: Vec<Line>,
    /// With bars, where the target is.
    pub target: Option<f64>,
    /// Whether its numbers are told as a table, too, as no other one has them.
    pub table: bool,
}

/// How it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Lines through points.
    Lines,
    /// A bar each.
    Bars,
}

/// What is told along one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// What is counted, with its unit.
    pub label: String,
    /// Whether ten times as much is always as far away.
    pub log: bool,
}

/// What one candidate came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Who.
    pub name: String,
    /// Where it is measured, and what was.
    pub points: Vec<(f64, f64)>,
}

impl Figure {
    /// A figure of lines, which are still to be added.
    #[must_use]
    pub fn lines(title: impl Into<String>, x: impl Into<String>, y: impl Into<String>) -> Self {
        Self::new(title.into(), Kind::Lines, x.into(), y.into())
    }

    /// A figure of bars, which are still to be added.
    #[must_use]
    pub fn bars(title: impl Into<String>, counted: impl Into<String>) -> Self {
        Self::new(title.into(), Kind::Bars, String::new(), counted.into())
    }

    fn new(title: String, kind: Kind, x: String, y: String) -> Self {
        let axis = |label| Axis { label, log: false };
        Self { title, kind, x: axis(x), y: axis(y), lines: Vec::new(), target: None, table: false }
    }

    /// Makes the axis across a logarithmic one.
    #[must_use]
    pub fn log_x(mut self) -> Self {
        self.x.log = true;
        self
    }

    /// Makes the axis upwards a logarithmic one.
    #[must_use]
    pub fn log_y(mut self) -> Self {
        self.y.log = true;
        self
    }

    /// Adds a line through these points.
    #[must_use]
    pub fn line(mut self, name: impl Into<String>, points: impl Into<Vec<(f64, f64)>>) -> Self {
        self.lines.push(Line { name: name.into(), points: points.into() });
        self
    }

    /// Adds a bar.
    #[must_use]
    pub fn bar(self, name: impl Into<String>, value: f64) -> Self {
        self.line(name, [(0.0, value)])
    }

    /// Tells its numbers as a table, too.
    #[must_use]
    pub fn with_table(mut self) -> Self {
        self.table = true;
        self
    }

    /// Its title as a part of a file's name.
    #[must_use]
    pub fn slug(&self) -> String {
        let lower = self.title.to_lowercase();
        let words = lower
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-")
    }
}
