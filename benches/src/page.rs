//! The page with the results of all benchmarks.

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Figure, Machine, Outcome, Report, Target, Verdict, machine, svg,
    table::{bound, figure, mark, measurements, met, ratios, reached, table},
};

/// A benchmark and its report, if it was run.
type Section = (String, Option<Report>);

const HEAD: &str = "\
# Benchmark results

What cachette costs, as ratios to the least work that any program needs for the same job, and to
the alternatives a user would choose. `cargo xtask bench` measures the ratios and writes this page.
No number here is typed in.

All candidates of a row run in turn in one process, round after round, each round in another order,
until the median of each has moved by less than 2 % during five rounds. The mark ~ means that a
median still moved after three times the usual number of rounds, or when the time was up. `±` is
half of the interquartile range of the rounds. Compare only ratios within a row: absolute times
differ between machines and from minute to minute.
[How each benchmark works](../../benches/README.md).
";

const AGAIN: &str = "\
## Run the benchmarks

```sh
cargo xtask bench --peers               # all, with Python's caches; close other programs first
cargo xtask bench --peers --only redis  # one again; the page takes the others from the last run
cargo xtask bench --quick               # within two minutes; less precise, written below target
```
";

/// Writes the page and its figures to the folder `to`. Reads the report of each benchmark in
/// `names` from `NAME.json` in the folder `from`. Returns the path of the page.
///
/// # Errors
///
/// Returns a message if a file cannot be read or written.
pub fn write_page(from: &Path, to: &Path, names: &[String]) -> Result<PathBuf, String> {
    let read = |name: &String| -> Result<Section, String> {
        let file = from.join(format!("{name}.json"));
        Ok((name.clone(), file.exists().then(|| Report::read(&file)).transpose()?))
    };
    let sections: Vec<Section> = names.iter().map(read).collect::<Result<_, _>>()?;
    let failed = |path: &Path, error: &dyn Display| {
        format!("{}: cannot be written: {error}", path.display())
    };
    fs::create_dir_all(to).map_err(|error| failed(to, &error))?;
    // Removes figures that no longer exist.
    for old in fs::read_dir(to).into_iter().flatten().flatten() {
        if old.path().extension().is_some_and(|extension| extension == "svg") {
            fs::remove_file(old.path()).map_err(|error| failed(&old.path(), &error))?;
        }
    }
    for (name, report) in &sections {
        for figure in report.iter().flat_map(|report| &report.figures) {
            let path = to.join(file_name(name, figure));
            fs::write(&path, svg::draw(figure)).map_err(|error| failed(&path, &error))?;
        }
    }
    let page = to.join("README.md");
    let text = markdown(&sections, &machine::crate_versions()?);
    fs::write(&page, text).map_err(|error| failed(&page, &error))?;
    Ok(page)
}

fn file_name(benchmark: &str, figure: &Figure) -> String {
    format!("{benchmark}-{}.svg", figure.slug())
}

fn markdown(sections: &[Section], crates: &[String]) -> String {
    let measured: Vec<(&str, &Report)> =
        sections.iter().filter_map(|(name, report)| Some((&**name, report.as_ref()?))).collect();
    let mut parts = vec![HEAD.to_owned()];
    if measured.iter().any(|(_, report)| report.quick) {
        parts.push("**Quick run**: fewer rounds, smaller stores, less precise.\n".to_owned());
    }
    parts.push(targets(&measured));
    parts.extend(sections.iter().map(|(name, report)| section(name, report.as_ref())));
    parts.extend([machines(&measured, crates), AGAIN.to_owned()]);
    parts.join("\n")
}

/// Returns a row for each target, and the reasons for those that are missed.
fn targets(measured: &[(&str, &Report)]) -> String {
    let verdicts = measured.iter().flat_map(|(name, report)| {
        report.outcomes.iter().flat_map(move |outcome| {
            outcome.verdicts().map(move |(target, verdict)| (*name, outcome, target, verdict))
        })
    });
    let verdicts: Vec<(&str, &Outcome, &Target, Verdict)> = verdicts.collect();
    let rows = verdicts.iter().map(|(name, outcome, target, verdict)| {
        let pair: Vec<_> =
            outcome.candidates.iter().take(1).chain(outcome.peer(&target.against)).collect();
        vec![
            format!("[{name}](#{name})"),
            outcome.name.clone(),
            target.against.clone(),
            reached(target, *verdict, outcome) + mark(&pair),
            bound(target, outcome),
            met(*verdict),
        ]
    });
    let rows = table(&["benchmark", "job", "against", "ratio", "target", "met"], rows);
    let missed: Vec<_> = verdicts.iter().filter(|(.., verdict)| !verdict.met).collect();
    let met_count = verdicts.len() - missed.len();
    let mut out =
        format!("## Targets\n\n{met_count} of {} targets are met.\n\n{rows}", verdicts.len());
    if !missed.is_empty() {
        out += "\nMissed targets:\n\n";
    }
    for (name, outcome, target, verdict) in missed {
        let reason = target.because.clone().unwrap_or_else(|| spread(outcome, target, *verdict));
        let Target { against, .. } = target;
        let met = met(*verdict);
        out += &format!("- {name}, {}, against {against}: {met}; {reason}\n", outcome.name);
    }
    out
}

/// The reason if none is given.
fn spread(outcome: &Outcome, target: &Target, verdict: Verdict) -> String {
    let pair = outcome.candidates.iter().take(1).chain(outcome.peer(&target.against));
    let spread: f64 = pair.map(crate::Measurement::spread).sum();
    if verdict.beyond > spread {
        return "the cause is not known.".to_owned();
    }
    format!("within the spread of the rounds, ± {:.0} %.", spread * 100.0)
}

fn section(name: &str, report: Option<&Report>) -> String {
    let mut parts = vec![format!("## {name}\n")];
    let Some(report) = report else {
        return format!("{}\nNot measured in this run.\n", parts[0]);
    };
    let quote = |remark: &String| format!("> {}\n", remark.trim_end().replace('\n', "\n> "));
    parts.extend(report.remarks.iter().map(quote));
    for drawn in &report.figures {
        parts.push(format!("![{}]({})\n", drawn.title, file_name(name, drawn)));
        parts.extend(drawn.table.then(|| figure(drawn)));
    }
    if !report.outcomes.is_empty() {
        let (ratios, measurements) = (ratios(&report.outcomes), measurements(&report.outcomes));
        let head = "<details><summary>Measurements</summary>";
        parts.push(format!("{ratios}\n{head}\n\n{measurements}\n</details>\n"));
    }
    parts.join("\n")
}

fn machines(measured: &[(&str, &Report)], crates: &[String]) -> String {
    let unknown = Machine::default();
    let machine = |report: &Report| report.machine.clone().unwrap_or(unknown.clone());
    let mut all: Vec<String> =
        measured.iter().map(|(_, report)| description(&machine(report))).collect();
    all.sort();
    all.dedup();
    let rows = measured.iter().map(|(name, report)| {
        let machine = machine(report);
        let description = (all.len() > 1).then(|| description(&machine));
        let row = [(*name).to_owned(), machine.day, machine.commit, report.versions.join(", ")];
        row.into_iter().chain(description).collect()
    });
    let mut head = vec!["benchmark", "day", "commit", "versions"];
    head.extend((all.len() > 1).then_some("machine"));
    let only = if all.len() == 1 { format!("{}.\n\n", all[0]) } else { String::new() };
    let rows = table(&head, rows);
    let crates = crates.join(", ");
    format!(
        "## Machine and versions\n\n{only}{rows}\n\
         A commit with `+` had uncommitted changes.\n\nCrates: {crates}.\n"
    )
}

fn description(machine: &Machine) -> String {
    let processors = if machine.processors == 1 { "processor" } else { "processors" };
    let Machine { processor, processors: count, system, rust, .. } = machine;
    format!("{count} {processors} of {processor}, {system}, {rust}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Comparison;

    fn report() -> Report {
        let comparison = Comparison::new("hit")
            .candidate("cachette", || 57.0)
            .candidate("limit", || 50.0)
            .candidate("peer", || 300.0)
            .at_most(1.0, "limit")
            .because("it looks twice.")
            .at_most(0.5, "peer");
        let mut report = Report { machine: Some(Machine::here()), ..Report::default() };
        report.add(comparison.run(1));
        report.draw_bars("What a hit costs", "hit");
        report.measured_with("memcached 1.6.18");
        report.remark("Python's caches were not measured.\nDjango's neither.");
        report
    }

    fn page(report: Report) -> String {
        markdown(
            &[("locmem".to_owned(), Some(report)), ("redis".to_owned(), None)],
            &["moka 0.12.16".to_owned()],
        )
    }

    fn assert_in_order(page: &str, parts: &[&str]) {
        let places: Vec<_> = parts.iter().map(|part| page.find(part).expect(part)).collect();
        assert!(places.is_sorted(), "{places:?} in {page}");
    }

    #[test]
    fn targets_come_first_with_reasons_for_missed_ones() {
        let row = "| [locmem](#locmem) | hit | limit | 1.14 | ≤ 1 | **no**, by 14 % |\n";
        let reason = "- locmem, hit, against limit: **no**, by 14 %; it looks twice.\n";
        let count = "1 of 2 targets are met.\n";
        let parts = [count, row, reason, "\n## locmem\n", "\n## Machine", "\n## Run"];
        assert_in_order(&page(report()), &parts);
    }

    #[test]
    fn missed_target_without_a_reason_is_compared_with_the_spread() {
        let comparison =
            Comparison::new("hit").candidate("cachette", || 60.0).candidate("limit", || 50.0);
        let mut outcome = comparison.at_most(1.1, "limit").run(1);
        let page = |outcome: &Outcome| {
            page(Report { outcomes: vec![outcome.clone()], ..Report::default() })
        };
        let clear = page(&outcome);
        assert!(clear.contains("**no**, by 9.1 %; the cause is not known."), "{clear}");
        outcome.candidates[0].quartiles = [54.0, 66.0];
        let noisy = page(&outcome);
        assert!(noisy.contains("**no**, by 9.1 %; within the spread"), "{noisy}");
        assert!(noisy.contains("± 10 %"), "{noisy}");
    }

    #[test]
    fn section_has_remarks_figures_and_tables() {
        let page = page(report());
        let parts = [
            "> Python's caches were not measured.\n> Django's neither.\n",
            "![What a hit costs](locmem-what-a-hit-costs.svg)\n",
            "| hit | 57 ns | 50 ns | 300 ns |",
        ];
        assert_in_order(&page, &parts);
        assert!(page.contains("## redis\n\nNot measured in this run.\n"), "{page}");
    }

    #[test]
    fn several_machines_are_named_with_each_benchmark() {
        let one = page(report());
        assert!(one.contains("memcached 1.6.18 |\n"), "{one}");
        assert!(one.contains("Crates: moka 0.12.16.\n"), "{one}");
        let other = Machine { processors: 96, ..Machine::here() };
        let sections = [
            ("a".to_owned(), Some(report())),
            ("b".to_owned(), Some(Report { machine: Some(other), ..report() })),
        ];
        let two = markdown(&sections, &[]);
        assert!(two.contains("| versions | machine |"), "{two}");
        assert!(two.contains("| 96 processors of "), "{two}");
    }

    #[test]
    fn quick_run_is_marked() {
        assert!(!page(report()).contains("Quick run"));
        assert!(page(Report { quick: true, ..report() }).contains("Quick run"));
    }

    #[test]
    fn page_replaces_the_figures_of_the_last_one() {
        let folder = std::env::temp_dir().join(format!("cachette-page-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("it can be created");
        fs::write(folder.join("old.svg"), "<svg/>").expect("it can be written");
        report().write(&folder.join("locmem.json")).expect("it can be written");
        let page = write_page(&folder, &folder, &["locmem".to_owned(), "db".to_owned()]);
        let page = fs::read_to_string(page.expect("it is written")).expect("it exists");
        let figure = fs::read_to_string(folder.join("locmem-what-a-hit-costs.svg"));
        let old = folder.join("old.svg").exists();
        fs::remove_dir_all(&folder).expect("it exists");
        assert!(page.contains("| hit |") && !old, "{page}");
        assert!(figure.expect("it is drawn").starts_with("<svg"));
    }
}
