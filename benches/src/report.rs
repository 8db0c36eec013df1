//! Outcomes as Markdown tables.

use std::fmt;

use crate::Outcome;

/// All outcomes of a run. Displays as Markdown: the ratios with their targets, then the times.
#[derive(Debug, Default)]
pub struct Report(Vec<Outcome>);

impl Report {
    /// Adds an outcome.
    pub fn add(&mut self, outcome: Outcome) {
        self.0.push(outcome);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | against | ratio | target | met |\n|---|---|---|---|---|")?;
        self.0.iter().try_for_each(|outcome| outcome.write_ratios(f))?;
        writeln!(f, "\n| what | ns an operation |\n|---|---|")?;
        self.0.iter().try_for_each(|outcome| outcome.write_times(f))
    }
}

impl Outcome {
    fn write_ratios(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((&(_, ours), peers)) = self.times.split_first() else { return Ok(()) };
        for &(peer, time) in peers {
            let ratio = ours / time;
            let target = self.targets.iter().find(|&&(_, against)| against == peer);
            let (target, met) = match target {
                Some(&(most, _)) => (format!("≤ {most}"), if ratio <= most { "yes" } else { "**no**" }),
                None => ("–".to_owned(), "–"),
            };
            let digits = if ratio < 0.1 { 3 } else { 2 };
            writeln!(f, "| {} | {peer} | {ratio:.digits$} | {target} | {met} |", self.name)?;
        }
        Ok(())
    }

    fn write_times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times: Vec<String> = self.times.iter().map(|(name, time)| format!("{name} {time:.1}")).collect();
        writeln!(f, "| {} | {} |", self.name, times.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_come_first_and_say_whether_the_target_is_met() {
        let times = vec![("ours", 30.0), ("limit", 20.0), ("peer", 60.0)];
        let targets = vec![(1.2, "limit"), (0.6, "peer")];
        let report = Report(vec![Outcome { name: "get".to_owned(), times, targets }]).to_string();
        let expected = "| get | limit | 1.50 | ≤ 1.2 | **no** |\n| get | peer | 0.50 | ≤ 0.6 | yes |\n";
        assert!(report.contains(expected), "{report}");
        assert!(report.ends_with("| get | ours 30.0, limit 20.0, peer 60.0 |\n"), "{report}");
    }
}
