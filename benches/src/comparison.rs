//! Candidates that do the same work, measured in turn until their medians are stable.

use std::{
    fmt,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};

use crate::{
    flag, option,
    outcome::{Bound, Measurement, Outcome, Target},
};

/// A median is stable if it moved by no more than this share of itself during [`WINDOW`] rounds.
const TOLERANCE: f64 = 0.02;
const WINDOW: usize = 5;

/// To reach stable medians, this many times the requested number of rounds may run.
const MAX_FACTOR: usize = 3;

/// How long a comparison continues after the requested number of rounds while a median is not
/// stable. `--patience SECONDS` changes it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Candidates for one job. The report lists the ratios of the first to the others.
pub struct Comparison<'a> {
    name: String,
    unit: String,
    candidates: Vec<(&'static str, Pass<'a>)>,
    targets: Vec<Target>,
}

/// Does the job once. Returns nanoseconds per operation, or a number in the comparison's unit.
type Pass<'a> = Box<dyn FnMut() -> f64 + 'a>;

impl<'a> Comparison<'a> {
    /// Creates a comparison without candidates.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            unit: "ns".to_owned(),
            candidates: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// Sets the unit if it is not nanoseconds per operation: `bytes`.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }

    /// Adds a candidate. `pass` does the job once and returns nanoseconds per operation.
    #[must_use]
    pub fn candidate(mut self, name: &'static str, pass: impl FnMut() -> f64 + 'a) -> Self {
        self.candidates.push((name, Box::new(pass)));
        self
    }

    /// Sets a target: the first candidate takes at most `ratio` times as long as `peer`.
    #[must_use]
    pub fn at_most(self, ratio: f64, peer: &'static str) -> Self {
        self.target(Bound::AtMost(ratio), peer)
    }

    /// Sets a target: the first candidate takes at most `difference` more than `peer`.
    #[must_use]
    pub fn at_most_more(self, difference: f64, peer: &'static str) -> Self {
        self.target(Bound::AtMostMore(difference), peer)
    }

    fn target(mut self, bound: Bound, peer: &'static str) -> Self {
        self.targets.push(Target { against: peer.to_owned(), bound, because: None });
        self
    }

    /// Sets the reason that is reported if the last target is missed.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        if let Some(target) = self.targets.last_mut() {
            target.because = Some(reason.into());
        }
        self
    }

    /// Runs all candidates in turn, `rounds` times after a warm-up round, and then until all
    /// medians are stable: up to three times as many rounds, and not longer than 30 seconds or
    /// `--patience`. With `--quick` it does not continue.
    ///
    /// The order differs from round to round, because a pass may depend on the one before it. It is
    /// the same in each run.
    #[must_use]
    pub fn run(mut self, rounds: usize) -> Outcome {
        let start = Instant::now();
        let max_rounds = if flag("--quick") { rounds } else { MAX_FACTOR * rounds };
        let patience = option("--patience").and_then(|seconds| seconds.parse().ok());
        let patience = patience.map_or(PATIENCE, Duration::from_secs);
        let mut samples = vec![Vec::with_capacity(max_rounds); self.candidates.len()];
        let mut order: Vec<usize> = (0..self.candidates.len()).collect();
        let mut random = SmallRng::seed_from_u64(42);
        for round in 0..=max_rounds {
            let stable = || samples.iter().all(|samples| is_stable(samples));
            if round > rounds && (start.elapsed() > patience || stable()) {
                break;
            }
            order.shuffle(&mut random);
            for &candidate in &order {
                let (_, pass) = &mut self.candidates[candidate];
                let sample = pass();
                if round > 0 {
                    samples[candidate].push(sample);
                }
            }
        }
        let rounds = samples.first().map_or(0, Vec::len);
        let measurement = |(&(name, _), samples): (&(&str, _), &Vec<f64>)| Measurement {
            name: name.to_owned(),
            median: quantile(samples, 0.5),
            quartiles: [quantile(samples, 0.25), quantile(samples, 0.75)],
            stable: is_stable(samples),
        };
        let candidates = self.candidates.iter().zip(&samples).map(measurement).collect();
        Outcome { name: self.name, unit: self.unit, rounds, candidates, targets: self.targets }
    }
}

impl fmt::Debug for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Comparison");
        debug.field("name", &self.name).field("targets", &self.targets).finish_non_exhaustive()
    }
}

/// Returns `true` if the median of all rounds has not moved during the last ones.
fn is_stable(samples: &[f64]) -> bool {
    let window = samples.len().saturating_sub(WINDOW - 1).max(1)..=samples.len();
    let medians = window.map(|rounds| quantile(&samples[..rounds], 0.5));
    let (low, high) = medians
        .fold((f64::INFINITY, 0.0), |(low, high), median| (median.min(low), median.max(high)));
    high <= low * (1.0 + TOLERANCE)
}

/// Returns the quantile of the samples, interpolated between the two nearest ones.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]
fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    let index = (samples.len() - 1) as f64 * share;
    let (below, above) = (samples[index.floor() as usize], samples[index.ceil() as usize]);
    below + (above - below) * index.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a candidate whose rounds take these times, and then the last one again and again.
    fn outcome(times: &[f64], rounds: usize) -> Outcome {
        let mut times = times.iter().copied();
        let mut last = 0.0;
        let pass = || {
            last = times.next().unwrap_or(last);
            last
        };
        Comparison::new("job").candidate("cachette", pass).run(rounds)
    }

    #[test]
    fn median_excludes_the_warm_up_round() {
        let candidate = &outcome(&[1000.0, 3.0, 3.0, 3.0, 4.0, 4.0, 2.0], 6).candidates[0];
        assert_eq!((candidate.median, candidate.quartiles), (3.0, [3.0, 3.75]));
    }

    #[test]
    fn rounds_continue_until_the_median_is_stable() {
        let outcome = outcome(&[0.0, 1.0, 9.0, 1.0, 9.0, 1.0, 9.0, 5.0], 6);
        // The median alternates between 1 and 5, and stays at 5 from the sixth round.
        assert_eq!((outcome.rounds, outcome.candidates[0].stable), (10, true));
    }

    #[test]
    fn stable_median_needs_no_more_rounds_than_requested() {
        assert_eq!(outcome(&[9.0, 5.0], 6).rounds, 6);
        assert_eq!(outcome(&[9.0, 5.0], 1).rounds, 1);
    }

    #[test]
    fn unstable_median_is_reported_after_three_times_as_many_rounds() {
        let rising: Vec<f64> = (0..40).map(|round| 1.2_f64.powi(round)).collect();
        let outcome = outcome(&rising, 6);
        assert_eq!((outcome.rounds, outcome.candidates[0].stable), (18, false));
    }

    #[test]
    fn reason_belongs_to_the_last_target() {
        let comparison =
            Comparison::new("job").at_most(1.0, "a").because("it is far").at_most_more(2.0, "b");
        let because: Vec<_> =
            comparison.targets.iter().map(|target| target.because.as_deref()).collect();
        assert_eq!(because, [Some("it is far"), None]);
    }
}
