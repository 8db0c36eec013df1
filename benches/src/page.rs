//! The page that tells what all benchmarks came to.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Figure, Machine, Outcome, Report, Target, Verdict, crates, svg,
    table::{absolutes, bound, figure, met, ratios, reached, table, unrest},
};

/// A benchmark by its name, and its report, where it was run.
type Section = (String, Option<Report>);

const HEAD: &str = "\
# Benchmarks

What cachette costs, as a ratio to the least that any program could pay for the same work, and to what a user would pick
instead. `cargo xtask bench` measures it and writes this page: no number here was typed in.

All candidates of one row take turns in one run, round after round, each round in another order, until the median of each has
moved less than 2 % during five rounds. What still moved after three times as many rounds as are usual, or when the time for it
was over, bears the mark ~. `±` is half of the width of the middle half of the rounds. Only ratios within one row count: absolute times
differ from machine to machine and from minute to minute. [How each benchmark works](../../benches/README.md).
";

const AGAIN: &str = "\
## Run it again

```sh
cargo xtask bench --peers               # all of it, with Python's caches; close what else wants the processor
cargo xtask bench --peers --only redis  # measure this one again, and take the others from the last run
cargo xtask bench --quick               # within two minutes, rougher, and written below target
```
";

/// Writes the page and its figures to the folder `to`, from what each benchmark wrote to `from` as `NAME.json`. Answers the
/// page's path.
///
/// # Errors
/// Where something can't be read or written, as a sentence.
pub fn write_page(from: &Path, to: &Path, names: &[String]) -> Result<PathBuf, String> {
    let read = |name: &String| -> Result<Section, String> {
        let file = from.join(format!("{name}.json"));
        Ok((name.clone(), file.exists().then(|| Report::read(&file)).transpose()?))
    };
    let sections: Vec<Section> = names.iter().map(read).collect::<Result<_, _>>()?;
    let unwritable = |path: &Path, why: &dyn std::fmt::Display| {
        format!("{}: cannot be written: {why}", path.display())
    };
    fs::create_dir_all(to).map_err(|why| unwritable(to, &why))?;
    // A figure that is drawn no more must not stay.
    for old in fs::read_dir(to).into_iter().flatten().flatten() {
        if old.path().extension().is_some_and(|kind| kind == "svg") {
            fs::remove_file(old.path()).map_err(|why| unwritable(&old.path(), &why))?;
        }
    }
    for (name, report) in &sections {
        for figure in report.iter().flat_map(|report| &report.figures) {
            let path = to.join(file_of(name, figure));
            fs::write(&path, svg::draw(figure)).map_err(|why| unwritable(&path, &why))?;
        }
    }
    let page = to.join("README.md");
    fs::write(&page, markdown(&sections, &crates::versions()?))
        .map_err(|why| unwritable(&page, &why))?;
    Ok(page)
}

fn file_of(name: &str, figure: &Figure) -> String {
    format!("{name}-{}.svg", figure.slug())
}

fn markdown(sections: &[Section], crates: &[String]) -> String {
    let measured: Vec<(&str, &Report)> =
        sections.iter().filter_map(|(name, report)| Some((&**name, report.as_ref()?))).collect();
    let rough = measured.iter().any(|(_, report)| report.quick);
    let rough = rough.then(|| {
        "**This was a quick run**: fewer rounds, smaller stores, rougher figures.\n".to_owned()
    });
    let parts = [HEAD.to_owned()].into_iter().chain(rough).chain([targets(&measured)]);
    let parts = parts.chain(sections.iter().map(|(name, report)| section(name, report.as_ref())));
    parts.chain([machines(&measured, crates), AGAIN.to_owned()]).collect::<Vec<_>>().join("\n")
}

/// A row for each target that was looked at, and the reasons why some are missed.
fn targets(measured: &[(&str, &Report)]) -> String {
    let outcomes = measured
        .iter()
        .flat_map(|(name, report)| report.outcomes.iter().map(move |outcome| (*name, outcome)));
    let judged: Vec<(&str, &Outcome, &Target, Verdict)> = outcomes
        .flat_map(|(name, outcome)| {
            outcome.judged().map(move |(target, verdict)| (name, outcome, target, verdict))
        })
        .collect();
    let missed: Vec<_> = judged.iter().filter(|(.., verdict)| !verdict.met).collect();
    let rows = judged.iter().map(|(name, outcome, target, verdict)| {
        let peers = outcome.candidates.iter().filter(|candidate| candidate.name == target.against);
        let compared: Vec<_> = outcome.candidates.iter().take(1).chain(peers).collect();
        let reached = reached(target, *verdict, outcome) + unrest(&compared);
        let what = outcome.name.clone();
        vec![
            format!("[{name}](#{name})"),
            what,
            target.against.clone(),
            reached,
            bound(target, outcome),
            met(*verdict),
        ]
    });
    let rows = table(&["benchmark", "what", "against", "ratio", "target", "met"], rows);
    let count = format!("{} of {} targets are met.\n", judged.len() - missed.len(), judged.len());
    let mut out = format!("## Targets\n\n{count}\n{rows}");
    if !missed.is_empty() {
        out += "\nThose that are not:\n\n";
    }
    for (name, outcome, target, verdict) in missed {
        let why =
            target.because.clone().unwrap_or_else(|| within_spread(outcome, target, *verdict));
        out += &format!(
            "- {name}, {}, against {}: {}; {why}\n",
            outcome.name,
            target.against,
            met(*verdict)
        );
    }
    out
}

/// What is said where nobody has said why.
fn within_spread(outcome: &Outcome, target: &Target, verdict: Verdict) -> String {
    let spread = outcome.spread_against(&target.against);
    if verdict.beyond > spread {
        return "why is not known.".to_owned();
    }
    format!("no more than the rounds differ from each other, ± {:.0} %.", spread * 100.0)
}

fn section(name: &str, report: Option<&Report>) -> String {
    let head = format!("## {name}\n");
    let Some(report) = report else {
        return format!("{head}\nNot measured in this run.\n");
    };
    let remarks = report
        .remarks
        .iter()
        .map(|remark| format!("> {}\n", remark.trim_end().replace('\n', "\n> ")));
    let figures = report.figures.iter().map(|drawn| {
        let image = format!("![{}]({})\n", drawn.title, file_of(name, drawn));
        if drawn.table { format!("{image}\n{}", figure(drawn)) } else { image }
    });
    let tables = (!report.outcomes.is_empty()).then(|| {
        let absolutes = absolutes(&report.outcomes);
        format!(
            "{}\n<details><summary>What was measured</summary>\n\n{absolutes}\n</details>\n",
            ratios(&report.outcomes)
        )
    });
    [head].into_iter().chain(remarks).chain(figures).chain(tables).collect::<Vec<_>>().join("\n")
}

fn machines(measured: &[(&str, &Report)], crates: &[String]) -> String {
    let unknown = Machine::default();
    let runs: Vec<_> = measured
        .iter()
        .map(|(name, report)| (*name, *report, report.machine.as_ref().unwrap_or(&unknown)))
        .collect();
    let mut places: Vec<String> = runs.iter().map(|(_, _, machine)| place(machine)).collect();
    places.sort();
    places.dedup();
    let rows = runs.iter().map(|(name, report, machine)| {
        let mut row = vec![
            (*name).to_owned(),
            machine.day.clone(),
            machine.commit.clone(),
            report.versions.join(", "),
        ];
        if places.len() > 1 {
            row.push(place(machine));
        }
        row
    });
    let mut heads = vec!["benchmark", "day", "commit", "measured with"];
    if places.len() > 1 {
        heads.push("machine");
    }
    let one = if places.len() == 1 { format!("{}.\n\n", places[0]) } else { String::new() };
    let note = "A commit with `+` had changes that were not committed.";
    format!(
        "## Machine and versions\n\n{one}{}\n{note}\n\nCrates: {}.\n",
        table(&heads, rows),
        crates.join(", ")
    )
}

fn place(machine: &Machine) -> String {
    let processors = if machine.processors == 1 { "processor" } else { "processors" };
    let Machine { processor, processors: count, system, rust, .. } = machine;
    format!("{count} {processors} of {processor}, {system}, {rust}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Contest;

    fn report() -> Report {
        let contest = Contest::new("hit")
            .candidate("ours", || 57.0)
            .candidate("limit", || 50.0)
            .candidate("peer", || 300.0);
        let contest = contest.at_most(1.0, "limit").because("it looks twice.").at_most(0.5, "peer");
        let mut report = Report { machine: Some(Machine::here()), ..Report::default() };
        report.add(contest.run(1));
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

    #[test]
    fn the_targets_come_first_with_reasons_for_what_is_missed() {
        let page = page(report());
        assert!(page.contains("1 of 2 targets are met.\n"), "{page}");
        let row = "| [locmem](#locmem) | hit | limit | 1.14 | ≤ 1 | **no**, by 14 % |\n";
        let reason = "- locmem, hit, against limit: **no**, by 14 %; it looks twice.\n";
        let places = [row, reason, "\n## locmem\n", "\n## Machine", "\n## Run"]
            .map(|part| page.find(part).expect(part));
        assert!(places.is_sorted(), "{places:?} in {page}");
    }

    #[test]
    fn what_is_missed_without_a_reason_is_compared_with_the_spread() {
        let contest = Contest::new("hit").candidate("ours", || 60.0).candidate("limit", || 50.0);
        let mut outcome = contest.at_most(1.1, "limit").run(1);
        let page = |outcome: &Outcome| {
            page(Report { outcomes: vec![outcome.clone()], ..Report::default() })
        };
        let clear = page(&outcome);
        assert!(clear.contains("**no**, by 9.1 %; why is not known."), "{clear}");
        outcome.candidates[0].quartiles = [54.0, 66.0];
        let noisy = page(&outcome);
        assert!(
            noisy.contains(
                "**no**, by 9.1 %; no more than the rounds differ from each other, ± 10 %."
            ),
            "{noisy}"
        );
    }

    #[test]
    fn a_section_has_what_must_be_known_its_figures_and_its_tables() {
        let page = page(report());
        let parts = [
            "> Python's caches were not measured.\n> Django's neither.\n",
            "![What a hit costs](locmem-what-a-hit-costs.svg)\n",
            "| hit | 57 ns | 50 ns | 300 ns |",
        ];
        let places = parts.map(|part| page.find(part).expect(part));
        assert!(places.is_sorted(), "{places:?} in {page}");
        assert!(page.contains("## redis\n\nNot measured in this run.\n"), "{page}");
    }

    #[test]
    fn the_machine_is_told_once_and_with_each_benchmark_where_there_are_several() {
        let one = page(report());
        assert!(
            one.contains("memcached 1.6.18 |\n") && one.contains("Crates: moka 0.12.16.\n"),
            "{one}"
        );
        let other = Machine { processors: 96, ..Machine::here() };
        let sections = [
            ("a".to_owned(), Some(report())),
            ("b".to_owned(), Some(Report { machine: Some(other), ..report() })),
        ];
        let two = markdown(&sections, &[]);
        assert!(
            two.contains("| measured with | machine |") && two.contains("| 96 processors of "),
            "{two}"
        );
    }

    #[test]
    fn a_quick_run_says_so() {
        assert!(!page(report()).contains("quick run"));
        assert!(page(Report { quick: true, ..report() }).contains("This was a quick run"));
    }

    #[test]
    fn a_page_replaces_the_figures_of_the_one_before() {
        let folder = std::env::temp_dir().join(format!("cachette-page-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("there is room");
        fs::write(folder.join("old.svg"), "<svg/>").expect("there is room");
        report().write(&folder.join("locmem.json")).expect("there is room");
        let page = write_page(&folder, &folder, &["locmem".to_owned(), "db".to_owned()])
            .expect("it is written");
        let page = fs::read_to_string(page).expect("it is there");
        let drawn =
            fs::read_to_string(folder.join("locmem-what-a-hit-costs.svg")).expect("it is drawn");
        let old = folder.join("old.svg").exists();
        fs::remove_dir_all(&folder).expect("it is there");
        assert!(page.contains("| hit |") && drawn.starts_with("<svg") && !old, "{page}");
    }
}
