//! The outcome of a comparison, and whether its targets are met.

use serde::{Deserialize, Serialize};

/// What the candidates for one job took. The report lists the ratios of the first to the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The job.
    pub name: String,
    /// What is counted. `ns` means nanoseconds per operation.
    pub unit: String,
    /// The number of rounds after the warm-up.
    pub rounds: usize,
    /// In the order in which they were added.
    pub candidates: Vec<Measurement>,
    /// The targets of the first candidate.
    pub targets: Vec<Target>,
}

/// What one candidate took, over all rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The candidate.
    pub name: String,
    /// The median of the rounds.
    pub median: f64,
    /// The first and the third quartile.
    pub quartiles: [f64; 2],
    /// Whether the median was stable when the rounds ended.
    pub stable: bool,
}

/// What the first candidate should reach in comparison with another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The other candidate.
    pub against: String,
    /// The bound.
    pub bound: Bound,
    /// The reason that is reported if the target is missed.
    pub because: Option<String>,
}

/// A bound of a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Bound {
    /// At most this many times as much as the other.
    AtMost(f64),
    /// At most this much more than the other, in the comparison's unit.
    AtMostMore(f64),
}

/// The result of a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The number that the bound limits: a ratio, or a difference for [`Bound::AtMostMore`].
    pub reached: f64,
    /// Whether the target is met.
    pub met: bool,
    /// The distance from the bound as a share of it: 0.1 is 10 % beyond it, -0.1 is 10 % within it.
    pub beyond: f64,
}

impl Outcome {
    /// Returns the targets whose other candidate was measured.
    pub fn verdicts(&self) -> impl Iterator<Item = (&Target, Verdict)> {
        self.targets.iter().filter_map(|target| {
            let (first, other) = (self.candidates.first()?, self.peer(&target.against)?);
            Some((target, target.bound.verdict(first.median, other.median)))
        })
    }

    /// Returns a candidate other than the first by its name.
    #[must_use]
    pub fn peer(&self, name: &str) -> Option<&Measurement> {
        self.candidates.iter().skip(1).find(|candidate| candidate.name == name)
    }
}

impl Measurement {
    /// Returns half of the interquartile range, as a share of the median.
    #[must_use]
    pub fn spread(&self) -> f64 {
        let [low, high] = self.quartiles;
        if self.median == 0.0 { 0.0 } else { (high - low) / 2.0 / self.median }
    }
}

impl Bound {
    fn verdict(self, first: f64, other: f64) -> Verdict {
        let (reached, beyond) = match self {
            Self::AtMost(ratio) => (first / other, first / other / ratio - 1.0),
            Self::AtMostMore(more) => (first - other, (first - other) / more - 1.0),
        };
        Verdict { reached, met: beyond <= 0.0, beyond }
    }

    /// Returns the most that the first candidate may take, in the comparison's unit.
    #[must_use]
    pub fn limit(self, other: f64) -> f64 {
        match self {
            Self::AtMost(ratio) => ratio * other,
            Self::AtMostMore(more) => other + more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(name: &str, median: f64) -> Measurement {
        Measurement { name: name.to_owned(), median, quartiles: [median; 2], stable: true }
    }

    fn verdict(bound: Bound, first: f64, other: f64, against: &str) -> Option<Verdict> {
        let outcome = Outcome {
            name: "get".to_owned(),
            unit: "ns".to_owned(),
            rounds: 1,
            candidates: vec![measurement("cachette", first), measurement("peer", other)],
            targets: vec![Target { against: against.to_owned(), bound, because: None }],
        };
        outcome.verdicts().next().map(|(_, verdict)| verdict)
    }

    #[test]
    fn verdict_has_the_distance_from_the_bound() {
        let missed = Verdict { reached: 1.5, met: false, beyond: 0.5 };
        assert_eq!(verdict(Bound::AtMost(1.0), 30.0, 20.0, "peer"), Some(missed));
        let met = Verdict { reached: 0.5, met: true, beyond: -0.5 };
        assert_eq!(verdict(Bound::AtMost(1.0), 10.0, 20.0, "peer"), Some(met));
        let more = Verdict { reached: 45.0, met: false, beyond: 0.5 };
        assert_eq!(verdict(Bound::AtMostMore(30.0), 47.0, 2.0, "peer"), Some(more));
    }

    #[test]
    fn target_against_an_absent_candidate_has_no_verdict() {
        assert_eq!(verdict(Bound::AtMost(1.0), 1.0, 1.0, "absent"), None);
    }

    #[test]
    fn spread_is_half_of_the_interquartile_range() {
        let measurement =
            Measurement { quartiles: [90.0, 110.0], ..measurement("cachette", 100.0) };
        assert!((measurement.spread() - 0.1).abs() < 1e-9);
    }
}
