//! What a contest came to, and whether its targets are met.

use serde::{Deserialize, Serialize};

/// What the candidates of one job came to. The first is the one whose ratios to the others are told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The job.
    pub name: String,
    /// What is counted: `ns` is nanoseconds an operation.
    pub unit: String,
    /// How many rounds count.
    pub rounds: usize,
    /// In the order in which they were added.
    pub candidates: Vec<Measured>,
    /// What the first candidate shall reach.
    pub targets: Vec<Target>,
}

/// What one candidate came to, over all rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Who.
    pub name: String,
    /// Half of the rounds came to no more.
    pub median: f64,
    /// Between these two lies the middle half of the rounds.
    pub quartiles: [f64; 2],
    /// Whether the median had come to rest when the rounds ended.
    pub steady: bool,
}

/// What the first candidate shall reach, in comparison with another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Who it is compared with.
    pub against: String,
    /// What it shall reach.
    pub bound: Bound,
    /// Why it is missed, where it is.
    pub because: Option<String>,
}

/// What shall be reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Bound {
    /// At most so many times as much as the other.
    AtMost(f64),
    /// At least so many times as much as the other.
    AtLeast(f64),
    /// At most so much more than the other, in the contest's unit.
    AtMostMore(f64),
}

impl Outcome {
    /// The first candidate, and the others.
    #[must_use]
    pub fn ours_and_peers(&self) -> Option<(&Measured, &[Measured])> {
        self.candidates.split_first()
    }

    /// The targets whose other candidate was measured, with it.
    pub fn judged(&self) -> impl Iterator<Item = (&Target, Verdict)> {
        self.targets.iter().filter_map(|target| Some((target, self.verdict(target)?)))
    }

    /// The spreads of the first candidate and of this other one together.
    #[must_use]
    pub fn spread_against(&self, peer: &str) -> f64 {
        let peers = self.candidates.iter().skip(1).filter(|candidate| candidate.name == peer);
        self.candidates.iter().take(1).chain(peers).map(Measured::spread).sum()
    }

    /// How the first candidate did, where the other one was measured.
    #[must_use]
    pub fn verdict(&self, target: &Target) -> Option<Verdict> {
        let (ours, peers) = self.ours_and_peers()?;
        let peer = peers.iter().find(|peer| peer.name == target.against)?;
        Some(target.bound.verdict(ours.median, peer.median))
    }
}

impl Measured {
    /// Half the width of the middle half of the rounds, as a share of the median.
    #[must_use]
    pub fn spread(&self) -> f64 {
        let [low, high] = self.quartiles;
        if self.median == 0.0 { 0.0 } else { (high - low) / 2.0 / self.median }
    }
}

/// How a candidate did against a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// What is compared with the bound: a ratio, or for [`Bound::AtMostMore`] a difference.
    pub reached: f64,
    /// Whether the target is met.
    pub met: bool,
    /// How far off it is, as a share of the bound: 0.1 is a tenth beyond it, negative is within it.
    pub beyond: f64,
}

impl Bound {
    fn verdict(self, ours: f64, peer: f64) -> Verdict {
        let (reached, beyond) = match self {
            Self::AtMost(most) => (ours / peer, ours / peer / most - 1.0),
            Self::AtLeast(least) => (ours / peer, 1.0 - ours / peer / least),
            Self::AtMostMore(most) => (ours - peer, (ours - peer) / most - 1.0),
        };
        Verdict { reached, met: beyond <= 0.0, beyond }
    }

    /// The most (or least) that the first candidate may come to, in the contest's unit.
    #[must_use]
    pub fn line(self, peer: f64) -> f64 {
        match self {
            Self::AtMost(ratio) | Self::AtLeast(ratio) => ratio * peer,
            Self::AtMostMore(more) => peer + more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, median: f64) -> Measured {
        Measured { name: name.to_owned(), median, quartiles: [median; 2], steady: true }
    }

    fn verdict(bound: Bound, ours: f64, peer: f64) -> Option<Verdict> {
        let target = Target { against: "peer".to_owned(), bound, because: None };
        let candidates = vec![measured("ours", ours), measured("peer", peer)];
        let outcome = Outcome {
            name: "get".to_owned(),
            unit: "ns".to_owned(),
            rounds: 1,
            candidates,
            targets: Vec::new(),
        };
        outcome.verdict(&target)
    }

    #[test]
    fn a_target_says_how_far_off_it_is() {
        let missed = Verdict { reached: 1.5, met: false, beyond: 0.5 };
        assert_eq!(verdict(Bound::AtMost(1.0), 30.0, 20.0), Some(missed));
        let met = Verdict { reached: 0.5, met: true, beyond: -0.5 };
        assert_eq!(verdict(Bound::AtMost(1.0), 10.0, 20.0), Some(met));
        let too_little = Verdict { reached: 0.5, met: false, beyond: 0.5 };
        assert_eq!(verdict(Bound::AtLeast(1.0), 10.0, 20.0), Some(too_little));
        let more = Verdict { reached: 45.0, met: false, beyond: 0.5 };
        assert_eq!(verdict(Bound::AtMostMore(30.0), 47.0, 2.0), Some(more));
    }

    #[test]
    fn a_target_against_who_was_not_measured_has_no_verdict() {
        let target =
            Target { against: "absent".to_owned(), bound: Bound::AtMost(1.0), because: None };
        let candidates = vec![measured("ours", 1.0)];
        let targets = vec![target];
        let outcome = Outcome {
            name: "get".to_owned(),
            unit: "ns".to_owned(),
            rounds: 1,
            candidates,
            targets,
        };
        assert_eq!(outcome.judged().count(), 0);
    }

    #[test]
    fn the_spread_is_half_of_the_middle_half() {
        assert!(
            (Measured { quartiles: [90.0, 110.0], ..measured("ours", 100.0) }.spread() - 0.1).abs()
                < 1e-9
        );
    }
}
