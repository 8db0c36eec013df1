//! All that one run of a benchmark came to.

use std::{fmt, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Figure, Machine, Outcome, argument, asked, outcome::Measured, table};

/// All outcomes of a run. Displays as Markdown: the ratios with their targets, then what was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Where it was measured, once it is written.
    pub machine: Option<Machine>,
    /// Whether it is rough, as `--quick` was asked for.
    pub quick: bool,
    /// What was measured with: servers, interpreters and what they run, each with its version.
    pub versions: Vec<String>,
    /// What the reader must know, such as what could not be measured.
    pub remarks: Vec<String>,
    /// In the order in which they were added.
    pub outcomes: Vec<Outcome>,
    /// What is drawn.
    pub figures: Vec<Figure>,
}

impl Report {
    /// Adds an outcome.
    pub fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// Adds a figure of numbers that are no outcomes.
    pub fn draw(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Adds a figure of what one outcome came to: a bar for each candidate, and the tightest target.
    ///
    /// # Panics
    /// Where there is no outcome of that name.
    pub fn draw_bars(&mut self, title: &str, outcome: &str) {
        let outcome = self.outcome(outcome);
        let most = outcome.candidates.iter().map(|candidate| candidate.median).fold(0.0, f64::max);
        let (scale, unit) = match most {
            _ if outcome.unit != "ns" => (1.0, &*outcome.unit),
            most if most < 1e4 => (1.0, "nanoseconds an operation"),
            most if most < 1e7 => (1e3, "microseconds an operation"),
            _ => (1e6, "milliseconds an operation"),
        };
        let mut figure = Figure::bars(title, unit);
        for candidate in &outcome.candidates {
            figure = figure.bar(&candidate.name, candidate.median / scale);
        }
        let against =
            |name: &str| outcome.candidates.iter().find(|candidate| candidate.name == name);
        let lines = outcome
            .targets
            .iter()
            .filter_map(|t| Some(t.bound.line(against(&t.against)?.median) / scale));
        figure.target = lines.min_by(f64::total_cmp);
        self.draw(figure);
    }

    /// Adds a figure of what the candidates of several outcomes came to: each outcome is a place on the figure's axis, each
    /// candidate a line. `scale` makes what the figure counts of what the outcomes do.
    ///
    /// # Panics
    /// Where there is no outcome of one of the names.
    pub fn draw_over(
        &mut self,
        mut figure: Figure,
        places: &[(f64, impl AsRef<str>)],
        scale: impl Fn(f64) -> f64,
    ) {
        let outcomes: Vec<_> =
            places.iter().map(|(x, name)| (*x, self.outcome(name.as_ref()))).collect();
        let mut names: Vec<&str> = Vec::new();
        for candidate in outcomes.iter().flat_map(|(_, outcome)| &outcome.candidates) {
            if !names.contains(&&*candidate.name) {
                names.push(&candidate.name);
            }
        }
        for name in names {
            let of = |candidates: &[Measured]| {
                candidates.iter().find(|c| c.name == name).map(|c| c.median)
            };
            let points = outcomes
                .iter()
                .filter_map(|(x, outcome)| Some((*x, scale(of(&outcome.candidates)?))));
            figure = figure.line(name, points.collect::<Vec<_>>());
        }
        self.draw(figure);
    }

    fn outcome(&self, name: &str) -> &Outcome {
        let found = self.outcomes.iter().find(|outcome| outcome.name == name);
        found.unwrap_or_else(|| panic!("the report has no outcome {name:?}"))
    }

    /// Tells the reader something besides.
    pub fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }

    /// Names something that was measured with, and its version: `memcached 1.6.18`.
    pub fn measured_with(&mut self, version: impl Into<String>) {
        let version = version.into();
        if !self.versions.contains(&version) {
            self.versions.push(version);
        }
    }

    /// Prints it, and writes it where the arguments `--json FILE` say.
    ///
    /// # Panics
    /// Where the file can't be written.
    #[expect(clippy::print_stdout, reason = "a benchmark prints its tables")]
    pub fn publish(mut self) {
        self.machine = Some(Machine::here());
        self.quick = asked("--quick");
        println!("{self}");
        if let Some(file) = argument("--json") {
            self.write(Path::new(&file)).unwrap_or_else(|why| panic!("{why}"));
        }
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// Where the file can't be written, as a sentence.
    pub fn write(&self, file: &Path) -> Result<(), String> {
        let json = serde_json::to_string_pretty(self).map_err(|why| why.to_string());
        let written =
            json.and_then(|json| fs::write(file, json + "\n").map_err(|why| why.to_string()));
        written.map_err(|why| format!("{}: cannot be written: {why}", file.display()))
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// Where the file can't be read or holds something else, as a sentence.
    pub fn read(file: &Path) -> Result<Self, String> {
        let json = fs::read_to_string(file)
            .map_err(|why| format!("{}: cannot be read: {why}", file.display()))?;
        serde_json::from_str(&json)
            .map_err(|why| format!("{}: is no report: {why}", file.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = self.figures.iter().filter(|figure| figure.table);
        let figures =
            figures.map(|figure| format!("{}:\n\n{}", figure.title, table::figure(figure)));
        let parts = [table::ratios(&self.outcomes), table::absolutes(&self.outcomes)]
            .into_iter()
            .chain(figures);
        let remarks = self.remarks.iter().map(|remark| format!("{remark}\n"));
        f.write_str(&parts.chain(remarks).collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Contest;

    fn report() -> Report {
        let contest = |name: &str, ours: f64| {
            let contest =
                Contest::new(name).candidate("ours", move || ours).candidate("limit", || 2e4);
            contest.at_most(1.2, "limit").because("it looks twice").at_most(9.0, "absent").run(2)
        };
        let mut report = Report::default();
        report.add(contest("get, 1 task", 3e4));
        report.add(contest("get, 16 tasks", 1e4));
        report
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut report = report();
        report.machine = Some(Machine::here());
        report.measured_with("memcached 1.6.18");
        report.remark("no Python");
        report.draw_bars("Get", "get, 1 task");
        let file =
            std::env::temp_dir().join(format!("cachette-report-{}.json", std::process::id()));
        report.write(&file).expect("it can be written");
        let read = Report::read(&file);
        fs::remove_file(&file).expect("it is there");
        assert_eq!(read, Ok(report));
    }

    #[test]
    fn what_is_no_report_is_an_error_that_names_the_file() {
        let why = Report::read(Path::new("Cargo.toml")).expect_err("it is TOML");
        assert!(why.starts_with("Cargo.toml: is no report: "), "{why}");
    }

    #[test]
    fn ratios_come_before_what_was_measured() {
        let told = report().to_string();
        let ratio = told
            .find("| get, 1 task | limit | 1.50 | ≤ 1.2 | **no**, by 25 % |")
            .expect("the ratio");
        assert!(
            ratio < told.find("| get, 1 task | 30 µs ± 0 % | 20 µs ± 0 % |").expect("the times"),
            "{told}"
        );
    }

    #[test]
    fn bars_have_the_tightest_target_against_who_was_measured() {
        let mut report = report();
        report.draw_bars("Get", "get, 1 task");
        let figure =
            Figure::bars("Get", "microseconds an operation").bar("ours", 30.0).bar("limit", 20.0);
        assert_eq!(report.figures, [Figure { target: Some(24.0), ..figure }]);
    }

    #[test]
    fn candidates_become_lines_over_the_places_of_their_outcomes() {
        let mut report = report();
        let places = [(1.0, "get, 1 task"), (16.0, "get, 16 tasks")];
        report.draw_over(Figure::lines("Gets", "tasks", "operations a second"), &places, |ns| {
            1e9 / ns
        });
        assert_eq!(report.figures[0].lines[1].points, [(1.0, 5e4), (16.0, 5e4)]);
        assert_eq!(report.figures[0].lines[0].points[1], (16.0, 1e5));
    }
}
