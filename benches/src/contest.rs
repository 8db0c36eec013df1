//! Candidates that do the same work, measured in turn.

use std::fmt;

use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};

/// Candidates for one job. The first is the one whose ratios to the others are told.
pub struct Contest<'a> {
    name: String,
    candidates: Vec<(&'static str, Pass<'a>)>,
    targets: Vec<(f64, &'static str)>,
}

/// Does the job once, and answers its nanoseconds an operation.
type Pass<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// What a contest came to.
#[derive(Debug)]
pub struct Outcome {
    pub(crate) name: String,
    /// Each candidate's nanoseconds an operation: the median over all rounds.
    pub(crate) times: Vec<(&'static str, f64)>,
    pub(crate) targets: Vec<(f64, &'static str)>,
}

impl<'a> Contest<'a> {
    /// A contest without candidates.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), candidates: Vec::new(), targets: Vec::new() }
    }

    /// Adds a candidate: `pass` does the job once and answers its nanoseconds an operation.
    #[must_use]
    pub fn candidate(mut self, name: &'static str, pass: impl FnMut() -> f64 + 'a) -> Self {
        self.candidates.push((name, Box::new(pass)));
        self
    }

    /// Sets a target: the first candidate shall take at most `ratio` times as long as `peer`.
    #[must_use]
    pub fn at_most(mut self, ratio: f64, peer: &'static str) -> Self {
        self.targets.push((ratio, peer));
        self
    }

    /// Runs all candidates in turn, `rounds` times, after one round that does not count. Each round has another order, the same
    /// ones in each run: a pass may be quicker or slower for what ran before it.
    #[must_use]
    pub fn run(mut self, rounds: usize) -> Outcome {
        let mut samples = vec![Vec::with_capacity(rounds); self.candidates.len()];
        let mut order: Vec<usize> = (0..self.candidates.len()).collect();
        let mut random = SmallRng::seed_from_u64(42);
        for round in 0..=rounds {
            order.shuffle(&mut random);
            for &candidate in &order {
                let (_, pass) = &mut self.candidates[candidate];
                let time = pass();
                if round > 0 {
                    samples[candidate].push(time);
                }
            }
        }
        let names = self.candidates.iter().map(|&(name, _)| name);
        let times = names.zip(samples.into_iter().map(median)).collect();
        Outcome { name: self.name, times, targets: self.targets }
    }
}

impl fmt::Debug for Contest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contest").field("name", &self.name).field("targets", &self.targets).finish_non_exhaustive()
    }
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_the_median_of_all_rounds_but_the_first() {
        let mut times = [1000.0, 3.0, 1.0, 2.0].into_iter();
        let contest = Contest::new("job").candidate("ours", || times.next().expect("four rounds"));
        assert_eq!(contest.run(3).times, [("ours", 2.0)]);
    }
}
