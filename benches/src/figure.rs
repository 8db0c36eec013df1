//! Figures: lines over an axis, or a bar for each candidate.

use serde::{Deserialize, Serialize};

/// A figure. The first line or bar is cachette's and stands out.
///
/// ```
/// use cachette_benches::Figure;
///
/// let figure = Figure::lines("Hit ratio against size", "entries", "hits of 100 requests")
///     .line("locmem", [(1e3, 41.0), (1e4, 68.0)])
///     .line("LRU", [(1e3, 40.0), (1e4, 66.0)])
///     .with_table();
/// assert_eq!(figure.slug(), "hit-ratio-against-size");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The title.
    pub title: String,
    /// Lines or bars.
    pub kind: Kind,
    /// The label of the horizontal axis, which is logarithmic. Bars have none.
    pub x: String,
    /// The label of the vertical axis, or the unit of the bars.
    pub y: String,
    /// Whether the vertical axis is logarithmic.
    pub log_y: bool,
    /// The lines. A bar is a line with one point.
    pub lines: Vec<Line>,
    /// The target, with bars.
    pub target: Option<f64>,
    /// Whether the page has a table of the numbers, because no other table has them.
    pub table: bool,
}

/// The kind of a [`Figure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Lines through points.
    Lines,
    /// A bar for each candidate.
    Bars,
}

/// A line or a bar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The candidate.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

impl Figure {
    /// Creates a figure for lines.
    #[must_use]
    pub fn lines(title: impl Into<String>, x: impl Into<String>, y: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            kind: Kind::Lines,
            x: x.into(),
            y: y.into(),
            log_y: false,
            lines: Vec::new(),
            target: None,
            table: false,
        }
    }

    /// Creates a figure for bars of this unit.
    #[must_use]
    pub fn bars(title: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { kind: Kind::Bars, ..Self::lines(title, "", unit) }
    }

    /// Makes the vertical axis logarithmic.
    #[must_use]
    pub fn log_y(self) -> Self {
        Self { log_y: true, ..self }
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

    /// Adds a table of the numbers to the page.
    #[must_use]
    pub fn with_table(self) -> Self {
        Self { table: true, ..self }
    }

    /// Returns the title in the form of a file name.
    #[must_use]
    pub fn slug(&self) -> String {
        let lower = self.title.to_lowercase();
        let words = lower
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-")
    }
}
