//! The results of one run of a benchmark.

use std::{fmt, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Figure, Machine, Outcome, flag, option, table};

/// The results of a run. `Display` writes Markdown: the ratios with their targets, then the
/// measurements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The machine. [`publish`](Self::publish) sets it.
    pub machine: Option<Machine>,
    /// Whether the run was started with `--quick` and is less precise.
    pub quick: bool,
    /// Servers, interpreters and their packages, with their versions.
    pub versions: Vec<String>,
    /// Notes for the reader, such as what could not be measured.
    pub remarks: Vec<String>,
    /// The outcomes in the order in which they were added.
    pub outcomes: Vec<Outcome>,
    /// The figures.
    pub figures: Vec<Figure>,
}

impl Report {
    /// Adds an outcome.
    pub fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// Adds a figure of other numbers than outcomes.
    pub fn draw(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Adds a figure of one outcome: a bar for each candidate, and the tightest target.
    ///
    /// # Panics
    ///
    /// If there is no outcome of this name.
    pub fn draw_bars(&mut self, title: &str, outcome: &str) {
        let outcome = self.outcome(outcome);
        let max = outcome.candidates.iter().map(|candidate| candidate.median).fold(0.0, f64::max);
        let (scale, unit) = match max {
            _ if outcome.unit != "ns" => (1.0, &*outcome.unit),
            max if max < 1e4 => (1.0, "nanoseconds per operation"),
            max if max < 1e7 => (1e3, "microseconds per operation"),
            _ => (1e6, "milliseconds per operation"),
        };
        let mut figure = Figure::bars(title, unit);
        for candidate in &outcome.candidates {
            figure = figure.bar(&candidate.name, candidate.median / scale);
        }
        let limits = outcome.targets.iter().filter_map(|target| {
            Some(target.bound.limit(outcome.peer(&target.against)?.median) / scale)
        });
        figure.target = limits.min_by(f64::total_cmp);
        self.draw(figure);
    }

    /// Adds a figure of several outcomes: a point on the horizontal axis for each outcome, and a
    /// line for each candidate. `scale` converts a measurement to the unit of the figure.
    ///
    /// # Panics
    ///
    /// If there is no outcome of one of the names.
    pub fn draw_over(
        &mut self,
        mut figure: Figure,
        points: &[(f64, impl AsRef<str>)],
        scale: impl Fn(f64) -> f64,
    ) {
        for (x, name) in points {
            for candidate in &self.outcome(name.as_ref()).candidates {
                let point = (*x, scale(candidate.median));
                match figure.lines.iter_mut().find(|line| line.name == candidate.name) {
                    Some(line) => line.points.push(point),
                    None => figure = figure.line(&candidate.name, [point]),
                }
            }
        }
        self.draw(figure);
    }

    fn outcome(&self, name: &str) -> &Outcome {
        let found = self.outcomes.iter().find(|outcome| outcome.name == name);
        found.unwrap_or_else(|| panic!("the report has no outcome {name:?}"))
    }

    /// Adds a note for the reader.
    pub fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }

    /// Adds the name and version of a server or an interpreter: `memcached 1.6.18`.
    pub fn measured_with(&mut self, version: impl Into<String>) {
        let version = version.into();
        if !self.versions.contains(&version) {
            self.versions.push(version);
        }
    }

    /// Prints the report, and writes it to the file that `--json FILE` names.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    #[expect(clippy::print_stdout, reason = "a benchmark prints its tables")]
    pub fn publish(mut self) {
        self.machine = Some(Machine::here());
        self.quick = flag("--quick");
        println!("{self}");
        if let Some(file) = option("--json") {
            self.write(Path::new(&file)).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    ///
    /// Returns a message if the file cannot be written.
    pub fn write(&self, file: &Path) -> Result<(), String> {
        let json = serde_json::to_string_pretty(self).map_err(|error| error.to_string());
        let written =
            json.and_then(|json| fs::write(file, json + "\n").map_err(|error| error.to_string()));
        written.map_err(|error| format!("{}: cannot be written: {error}", file.display()))
    }

    /// Reads a report that [`write`](Self::write) wrote.
    ///
    /// # Errors
    ///
    /// Returns a message if the file cannot be read or is not a report.
    pub fn read(file: &Path) -> Result<Self, String> {
        let json = fs::read_to_string(file)
            .map_err(|error| format!("{}: cannot be read: {error}", file.display()))?;
        serde_json::from_str(&json)
            .map_err(|error| format!("{}: not a report: {error}", file.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = self.figures.iter().filter(|figure| figure.table);
        let figures =
            figures.map(|figure| format!("{}:\n\n{}", figure.title, table::figure(figure)));
        let remarks = self.remarks.iter().map(|remark| format!("{remark}\n"));
        let parts = [table::ratios(&self.outcomes), table::measurements(&self.outcomes)];
        f.write_str(&parts.into_iter().chain(figures).chain(remarks).collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Comparison;

    fn report() -> Report {
        let outcome = |name: &str, first: f64| {
            let comparison = Comparison::new(name)
                .candidate("cachette", move || first)
                .candidate("limit", || 2e4);
            comparison.at_most(1.2, "limit").because("it looks twice").at_most(9.0, "absent").run(2)
        };
        let mut report = Report::default();
        report.add(outcome("get, 1 task", 3e4));
        report.add(outcome("get, 16 tasks", 1e4));
        report
    }

    #[test]
    fn written_report_is_read_again() {
        let mut report = report();
        report.machine = Some(Machine::here());
        report.measured_with("memcached 1.6.18");
        report.remark("no Python");
        report.draw_bars("Get", "get, 1 task");
        let file =
            std::env::temp_dir().join(format!("cachette-report-{}.json", std::process::id()));
        report.write(&file).expect("it can be written");
        let read = Report::read(&file);
        fs::remove_file(&file).expect("it exists");
        assert_eq!(read, Ok(report));
    }

    #[test]
    fn invalid_report_is_an_error_that_names_the_file() {
        let error = Report::read(Path::new("Cargo.toml")).expect_err("it is TOML");
        assert!(error.starts_with("Cargo.toml: "), "{error}");
    }

    #[test]
    fn ratios_come_before_measurements() {
        let text = report().to_string();
        let ratio = text.find("| get, 1 task | limit | 1.50 | ≤ 1.2 | **no**, by 25 % |");
        let measurement = text.find("| get, 1 task | 30 µs ± 0 % | 20 µs ± 0 % |");
        assert!(ratio.expect("the ratio") < measurement.expect("the times"), "{text}");
    }

    #[test]
    fn bars_have_the_tightest_target_against_a_measured_candidate() {
        let mut report = report();
        report.draw_bars("Get", "get, 1 task");
        let figure = Figure::bars("Get", "microseconds per operation")
            .bar("cachette", 30.0)
            .bar("limit", 20.0);
        assert_eq!(report.figures, [Figure { target: Some(24.0), ..figure }]);
    }

    #[test]
    fn candidates_of_several_outcomes_become_lines() {
        let mut report = report();
        let points = [(1.0, "get, 1 task"), (16.0, "get, 16 tasks")];
        report.draw_over(Figure::lines("Gets", "tasks", "operations per second"), &points, |ns| {
            1e9 / ns
        });
        assert_eq!(report.figures[0].lines[1].points, [(1.0, 5e4), (16.0, 5e4)]);
        assert_eq!(report.figures[0].lines[0].points[1], (16.0, 1e5));
    }
}
