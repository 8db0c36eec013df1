//! Outcomes as Markdown tables.

use crate::{
    Figure, Outcome,
    outcome::{Bound, Measurement, Target, Verdict},
};

/// Returns a row for each comparison, with the target if there is one.
pub(crate) fn ratios(outcomes: &[Outcome]) -> String {
    let rows = outcomes.iter().flat_map(ratio_rows);
    table(&["job", "against", "ratio", "target", "met"], rows)
}

fn ratio_rows(outcome: &Outcome) -> Vec<Vec<String>> {
    let Some((first, others)) = outcome.candidates.split_first() else { return Vec::new() };
    let row = |other: &Measurement| {
        let verdicts: Vec<_> =
            outcome.verdicts().filter(|(target, _)| target.against == other.name).collect();
        let join =
            |cells: Vec<String>| if cells.is_empty() { "–".to_owned() } else { cells.join("; ") };
        let bounds = join(verdicts.iter().map(|(target, _)| bound(target, outcome)).collect());
        let met = join(verdicts.iter().map(|(_, verdict)| met(*verdict)).collect());
        let mut ratio = ratio(first.median / other.median);
        for (target, verdict) in &verdicts {
            if matches!(target.bound, Bound::AtMostMore(_)) {
                ratio += &format!(", {}", reached(target, *verdict, outcome));
            }
        }
        let ratio = ratio + mark(&[first, other]);
        vec![outcome.name.clone(), other.name.clone(), ratio, bounds, met]
    };
    others.iter().map(row).collect()
}

/// Returns a table for each run of outcomes with the same candidates, with the spread of the
/// rounds.
pub(crate) fn measurements(outcomes: &[Outcome]) -> String {
    let same = |one: &Outcome, other: &Outcome| names(one).eq(names(other));
    let tables = outcomes.chunk_by(same).map(|outcomes| {
        let head: Vec<&str> = ["job"].into_iter().chain(names(&outcomes[0])).collect();
        table(&head, outcomes.iter().map(measurement_row))
    });
    tables.collect::<Vec<_>>().join("\n")
}

fn names(outcome: &Outcome) -> impl Iterator<Item = &str> {
    outcome.candidates.iter().map(|candidate| &*candidate.name)
}

fn measurement_row(outcome: &Outcome) -> Vec<String> {
    let cell = |candidate: &Measurement| {
        let mut cell = amount(candidate.median, &outcome.unit);
        if outcome.rounds > 1 {
            cell += &format!(" ± {:.0} %", candidate.spread() * 100.0);
        }
        cell + mark(&[candidate])
    };
    [outcome.name.clone()].into_iter().chain(outcome.candidates.iter().map(cell)).collect()
}

/// Marks measurements that are not stable.
pub(crate) fn mark(candidates: &[&Measurement]) -> &'static str {
    if candidates.iter().all(|candidate| candidate.stable) { "" } else { " ~" }
}

/// Returns the numbers of a figure: a column for each line, or a row for each bar.
pub(crate) fn figure(figure: &Figure) -> String {
    if figure.x.is_empty() {
        let rows = figure.lines.iter().map(|line| {
            vec![line.name.clone(), line.points.first().map_or(String::new(), |p| number(p.1))]
        });
        return table(&["", &figure.y], rows);
    }
    let mut columns: Vec<f64> =
        figure.lines.iter().flat_map(|line| &line.points).map(|&(x, _)| x).collect();
    columns.sort_by(f64::total_cmp);
    columns.dedup();
    let at = |x: f64, points: &[(f64, f64)]| {
        points.iter().find(|point| point.0.total_cmp(&x).is_eq()).map(|point| point.1)
    };
    let rows = columns.iter().map(|&x| {
        let cells =
            figure.lines.iter().map(|line| at(x, &line.points).map_or("–".to_owned(), number));
        [number(x)].into_iter().chain(cells).collect()
    });
    let names = figure.lines.iter().map(|line| &*line.name);
    table(&[&*figure.x].into_iter().chain(names).collect::<Vec<_>>(), rows)
}

/// Returns a Markdown table. Bars in cells are escaped.
pub(crate) fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = "|---".repeat(head.len()) + "|\n";
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    [line(&head), rule].into_iter().chain(rows.map(|row| line(&row))).collect()
}

/// Formats the bound of a target.
pub(crate) fn bound(target: &Target, outcome: &Outcome) -> String {
    match target.bound {
        Bound::AtMost(ratio) => format!("≤ {}", (ratio * 1000.0).round() / 1000.0),
        Bound::AtMostMore(more) => format!("≤ {} more", amount(more, &outcome.unit)),
    }
}

/// Formats the number that the bound of a target limits.
pub(crate) fn reached(target: &Target, verdict: Verdict, outcome: &Outcome) -> String {
    match target.bound {
        Bound::AtMost(_) => ratio(verdict.reached),
        Bound::AtMostMore(_) => format!("{} more", amount(verdict.reached, &outcome.unit)),
    }
}

/// Formats whether the target is met, or by how much it is missed.
pub(crate) fn met(verdict: Verdict) -> String {
    let percent = verdict.beyond * 100.0;
    match verdict.met {
        true => "yes".to_owned(),
        false if percent < 9.5 => format!("**no**, by {percent:.1} %"),
        false => format!("**no**, by {percent:.0} %"),
    }
}

/// Formats a ratio with its significant digits.
fn ratio(ratio: f64) -> String {
    let digits = match ratio {
        ratio if ratio < 0.01 => 4,
        ratio if ratio < 0.1 => 3,
        _ => 2,
    };
    format!("{ratio:.digits$}")
}

/// Formats an amount with its unit. Times have the unit that results in the shortest number.
fn amount(amount: f64, unit: &str) -> String {
    if unit != "ns" {
        return format!("{} {unit}", number(amount));
    }
    let (scaled, unit) = match amount.abs() {
        amount if amount < 1e3 => (amount, "ns"),
        amount if amount < 1e6 => (amount / 1e3, "µs"),
        amount if amount < 1e9 => (amount / 1e6, "ms"),
        amount => (amount / 1e9, "s"),
    };
    format!("{} {unit}", number(scaled.copysign(amount)))
}

/// Formats a number with at least three significant digits and separated thousands.
pub(crate) fn number(number: f64) -> String {
    let digits = match number.abs() {
        _ if number.fract() == 0.0 => 0,
        size if size < 1.0 => 3,
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    let plain = format!("{number:.digits$}");
    let (sign, plain) = plain.strip_prefix('-').map_or(("", &*plain), |plain| ("-", plain));
    let (integer, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut grouped = String::new();
    for (index, digit) in integer.char_indices() {
        if index > 0 && (integer.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(targets: &[(Bound, &str)]) -> Outcome {
        let measurement = |name: &str, median, stable| Measurement {
            name: name.to_owned(),
            median,
            quartiles: [27.0, 33.0],
            stable,
        };
        let target = |&(bound, against): &(Bound, &str)| Target {
            against: against.to_owned(),
            bound,
            because: None,
        };
        Outcome {
            name: "get".to_owned(),
            unit: "ns".to_owned(),
            rounds: 11,
            candidates: vec![
                measurement("cachette", 30.0, true),
                measurement("limit", 20.0, true),
                measurement("peer", 6000.0, false),
            ],
            targets: targets.iter().map(target).collect(),
        }
    }

    #[test]
    fn ratios_show_by_how_much_a_target_is_missed() {
        let targets = [(Bound::AtMost(1.2), "limit"), (Bound::AtMost(0.6), "peer")];
        let expected = "| get | limit | 1.50 | ≤ 1.2 | **no**, by 25 % |\n\
                        | get | peer | 0.0050 ~ | ≤ 0.6 | yes |\n";
        assert!(ratios(&[outcome(&targets)]).ends_with(expected));
        let without = ratios(&[outcome(&targets[..1])]);
        assert!(without.ends_with("| get | peer | 0.0050 ~ | – | – |\n"), "{without}");
    }

    #[test]
    fn target_for_a_difference_shows_the_difference() {
        let text = ratios(&[outcome(&[(Bound::AtMostMore(8.0), "limit")])]);
        let expected = "| get | limit | 1.50, 10 ns more | ≤ 8 ns more | **no**, by 25 % |\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn measurements_show_their_spread_and_mark_unstable_ones() {
        let other = Outcome { candidates: outcome(&[]).candidates[..1].to_vec(), ..outcome(&[]) };
        let expected = "\
            | job | cachette | limit | peer |\n|---|---|---|---|\n\
            | get | 30 ns ± 10 % | 20 ns ± 15 % | 6 µs ± 0 % ~ |\n\n\
            | job | cachette |\n|---|---|\n\
            | get | 30 ns ± 10 % |\n";
        assert_eq!(measurements(&[outcome(&[]), other]), expected);
    }

    #[test]
    fn figure_becomes_a_table() {
        let lines = Figure::lines("t", "size", "hits")
            .line("a", [(1000.0, 41.25)])
            .line("b", [(10.0, 0.5), (1000.0, 3.0)]);
        let expected =
            "| size | a | b |\n|---|---|---|\n| 10 | – | 0.500 |\n| 1,000 | 41.2 | 3 |\n";
        assert_eq!(figure(&lines), expected);
        let bars = Figure::bars("t", "bytes").bar("a", 130.0);
        assert_eq!(figure(&bars), "|  | bytes |\n|---|---|\n| a | 130 |\n");
    }

    #[test]
    fn numbers_have_three_digits_and_separated_thousands() {
        let numbers = [0.1234, 1.0, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0, -45.67].map(number);
        assert_eq!(numbers, ["0.123", "1", "1.23", "12.3", "123", "1,234", "1,234,567", "-45.7"]);
        let times = [57.1, 57_100.0, 5.71e7, 5.71e10].map(|time| amount(time, "ns"));
        assert_eq!(times, ["57.1 ns", "57.1 µs", "57.1 ms", "57.1 s"]);
        assert_eq!(amount(130.0, "bytes"), "130 bytes");
    }

    #[test]
    fn bar_in_a_cell_is_escaped() {
        assert!(table(&["a"], [vec!["x|y".to_owned()]].into_iter()).ends_with("| x\\|y |\n"));
    }
}
