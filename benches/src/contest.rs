//! Candidates that do the same work, measured in turn until their medians are steady.

use std::{
    fmt,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};

use crate::{
    argument, asked,
    outcome::{Bound, Measured, Outcome, Target},
};

/// How far a median may move, as a share of it, and still be called steady.
const STEADY: f64 = 0.02;

/// Over how many of the last rounds it is watched.
const WATCHED: usize = 5;

/// So many times as many rounds as were asked for may be run to make the medians steady.
const MOST: usize = 3;

/// A contest that has had the rounds it was asked for ends after this time, be its medians steady or not. The argument
/// `--patience SECONDS` says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// Candidates for one job. The first is the one whose ratios to the others are told.
pub struct Contest<'a> {
    name: String,
    unit: String,
    candidates: Vec<(&'static str, Pass<'a>)>,
    targets: Vec<Target>,
}

/// Does the job once, and answers its nanoseconds an operation, or whatever the contest's unit is.
type Pass<'a> = Box<dyn FnMut() -> f64 + 'a>;

impl<'a> Contest<'a> {
    /// A contest without candidates.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            unit: "ns".to_owned(),
            candidates: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// Says what passes answer, if not nanoseconds an operation: `bytes an entry`.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }

    /// Adds a candidate: `pass` does the job once and answers its nanoseconds an operation.
    #[must_use]
    pub fn candidate(mut self, name: &'static str, pass: impl FnMut() -> f64 + 'a) -> Self {
        self.candidates.push((name, Box::new(pass)));
        self
    }

    /// Sets a target: the first candidate shall take at most `ratio` times as long as `peer`.
    #[must_use]
    pub fn at_most(self, ratio: f64, peer: &'static str) -> Self {
        self.target(Bound::AtMost(ratio), peer)
    }

    /// Sets a target: the first candidate shall come to at least `ratio` times as much as `peer`.
    #[must_use]
    pub fn at_least(self, ratio: f64, peer: &'static str) -> Self {
        self.target(Bound::AtLeast(ratio), peer)
    }

    /// Sets a target: the first candidate shall come to at most `difference` more than `peer`.
    #[must_use]
    pub fn at_most_more(self, difference: f64, peer: &'static str) -> Self {
        self.target(Bound::AtMostMore(difference), peer)
    }

    fn target(mut self, bound: Bound, peer: &'static str) -> Self {
        self.targets.push(Target { against: peer.to_owned(), bound, because: None });
        self
    }

    /// Says why the target that was set last is missed; told only where it is.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        if let Some(target) = self.targets.last_mut() {
            target.because = Some(why.into());
        }
        self
    }

    /// Runs all candidates in turn, `rounds` times, after one round that does not count, and then goes on until all medians
    /// are steady: three times as many rounds at most, and none more after 30 seconds, or as many as `--patience` says. With
    /// `--quick` it does not go on.
    /// Each round has another order, the same ones in each run: a pass may be quicker or slower for what ran before it.
    #[must_use]
    pub fn run(mut self, rounds: usize) -> Outcome {
        let (start, most) = (Instant::now(), if asked("--quick") { rounds } else { MOST * rounds });
        let patience = argument("--patience")
            .and_then(|seconds| Some(Duration::from_secs(seconds.parse().ok()?)));
        let patience = patience.unwrap_or(PATIENCE);
        let mut samples = vec![Vec::with_capacity(most); self.candidates.len()];
        let mut order: Vec<usize> = (0..self.candidates.len()).collect();
        let mut random = SmallRng::seed_from_u64(42);
        for round in 0..=most {
            let at_rest = || samples.iter().all(|samples| steady(samples));
            if round > rounds && (start.elapsed() > patience || at_rest()) {
                break;
            }
            order.shuffle(&mut random);
            for &candidate in &order {
                let (_, pass) = &mut self.candidates[candidate];
                let time = pass();
                if round > 0 {
                    samples[candidate].push(time);
                }
            }
        }
        let rounds = samples.first().map_or(0, Vec::len);
        let names = self.candidates.iter().map(|&(name, _)| name);
        let candidates =
            names.zip(&samples).map(|(name, samples)| measured(name, samples)).collect();
        Outcome { name: self.name, unit: self.unit, rounds, candidates, targets: self.targets }
    }
}

impl fmt::Debug for Contest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contest")
            .field("name", &self.name)
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}

fn measured(name: &str, samples: &[f64]) -> Measured {
    let quartiles = [quantile(samples, 0.25), quantile(samples, 0.75)];
    Measured {
        name: name.to_owned(),
        median: quantile(samples, 0.5),
        quartiles,
        steady: steady(samples),
    }
}

/// Whether the median over all rounds has stayed where it is during the last of them. Fewer rounds than are watched are
/// watched from the first one on.
fn steady(samples: &[f64]) -> bool {
    let watched = samples.len().saturating_sub(WATCHED - 1).max(1)..=samples.len();
    let medians = watched.map(|rounds| quantile(&samples[..rounds], 0.5));
    let (low, high) = medians
        .fold((f64::INFINITY, 0.0), |(low, high), median| (median.min(low), median.max(high)));
    high <= low * (1.0 + STEADY)
}

/// The value that this share of the samples does not exceed; between two samples, what lies between them.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]
fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    let place = (samples.len() - 1) as f64 * share;
    let (below, above) = (samples[place.floor() as usize], samples[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds that come to these times, the last one again and again.
    fn outcome(times: &[f64], rounds: usize) -> Outcome {
        let mut times = times.iter().copied();
        let mut last = 0.0;
        let pass = || {
            last = times.next().unwrap_or(last);
            last
        };
        Contest::new("job").candidate("ours", pass).run(rounds)
    }

    #[test]
    fn a_time_is_the_median_of_all_rounds_but_the_first() {
        let ours = &outcome(&[1000.0, 3.0, 3.0, 3.0, 4.0, 4.0, 2.0], 6).candidates[0];
        assert_eq!((ours.median, ours.quartiles), (3.0, [3.0, 3.75]));
    }

    #[test]
    fn rounds_go_on_until_the_median_is_steady() {
        let outcome = outcome(&[0.0, 1.0, 9.0, 1.0, 9.0, 1.0, 9.0, 5.0], 6);
        // Its median is 1 and 5 in turn, and stays at 5 from the sixth round on.
        assert_eq!((outcome.rounds, outcome.candidates[0].steady), (10, true));
    }

    #[test]
    fn a_steady_median_needs_no_more_rounds_than_were_asked_for() {
        assert_eq!(outcome(&[9.0, 5.0], 6).rounds, 6);
        assert_eq!(outcome(&[9.0, 5.0], 1).rounds, 1);
    }

    #[test]
    fn a_median_that_never_rests_is_told_after_three_times_as_many_rounds() {
        let rising: Vec<f64> =
            (0..40_u32).map(|round| 1.2_f64.powi(round.try_into().expect("it is small"))).collect();
        let outcome = outcome(&rising, 6);
        assert_eq!((outcome.rounds, outcome.candidates[0].steady), (18, false));
    }

    #[test]
    fn a_reason_belongs_to_the_target_before_it() {
        let contest = Contest::new("job").at_most(1.0, "a").because("it is far").at_least(2.0, "b");
        let because: Vec<_> =
            contest.targets.iter().map(|target| target.because.as_deref()).collect();
        assert_eq!(because, [Some("it is far"), None]);
    }
}
