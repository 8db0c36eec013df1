//! Outcomes as Markdown tables.

use crate::{
    Figure, Outcome,
    outcome::{Bound, Measured, Target, Verdict},
};

/// A row for each comparison: the ratio first, and the target where there is one.
pub(crate) fn ratios(outcomes: &[Outcome]) -> String {
    let rows = outcomes.iter().flat_map(ratio_rows);
    table(&["what", "against", "ratio", "target", "met"], rows)
}

fn ratio_rows(outcome: &Outcome) -> Vec<Vec<String>> {
    let Some((ours, peers)) = outcome.ours_and_peers() else { return Vec::new() };
    let row = |peer: &Measured| {
        let targets = outcome.targets.iter().filter(|target| target.against == peer.name);
        let judged: Vec<_> =
            targets.filter_map(|target| Some((target, outcome.verdict(target)?))).collect();
        let join =
            |told: Vec<String>| if told.is_empty() { "–".to_owned() } else { told.join("; ") };
        let bounds = join(judged.iter().map(|(target, _)| bound(target, outcome)).collect());
        let met = join(judged.iter().map(|(_, verdict)| met(*verdict)).collect());
        let mut ratio = ratio(ours.median / peer.median);
        for (target, verdict) in
            judged.iter().filter(|(target, _)| matches!(target.bound, Bound::AtMostMore(_)))
        {
            ratio += &format!(", {}", reached(target, *verdict, outcome));
        }
        vec![outcome.name.clone(), peer.name.clone(), ratio + unrest(&[ours, peer]), bounds, met]
    };
    peers.iter().map(row).collect()
}

/// A table for each run of outcomes that have the same candidates: what each came to, with the spread of its rounds.
pub(crate) fn absolutes(outcomes: &[Outcome]) -> String {
    let same = |one: &Outcome, other: &Outcome| names(one).eq(names(other));
    let tables = outcomes.chunk_by(same).map(|outcomes| {
        let heads: Vec<&str> = ["what"].into_iter().chain(names(&outcomes[0])).collect();
        table(&heads, outcomes.iter().map(absolute_row))
    });
    tables.collect::<Vec<_>>().join("\n")
}

fn names(outcome: &Outcome) -> impl Iterator<Item = &str> {
    outcome.candidates.iter().map(|candidate| &*candidate.name)
}

fn absolute_row(outcome: &Outcome) -> Vec<String> {
    let cell = |candidate: &Measured| {
        let value = amount(candidate.median, &outcome.unit);
        let spread = if outcome.rounds > 1 {
            format!(" ± {:.0} %", candidate.spread() * 100.0)
        } else {
            String::new()
        };
        format!("{value}{spread}{}", unrest(&[candidate]))
    };
    [outcome.name.clone()].into_iter().chain(outcome.candidates.iter().map(cell)).collect()
}

/// The mark of what was not steady.
pub(crate) fn unrest(candidates: &[&Measured]) -> &'static str {
    if candidates.iter().all(|candidate| candidate.steady) { "" } else { " ~" }
}

/// The numbers of a figure: a row for each place on its axis, a column for each line.
pub(crate) fn figure(figure: &Figure) -> String {
    let mut places: Vec<f64> =
        figure.lines.iter().flat_map(|line| &line.points).map(|&(x, _)| x).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let at = |x: f64, points: &[(f64, f64)]| {
        points.iter().find(|point| point.0.total_cmp(&x).is_eq()).map(|point| point.1)
    };
    let rows = places.iter().map(|&x| {
        let cells =
            figure.lines.iter().map(|line| at(x, &line.points).map_or("–".to_owned(), number));
        [number(x)].into_iter().chain(cells).collect()
    });
    let first = if figure.x.label.is_empty() { &figure.y.label } else { &figure.x.label };
    let heads: Vec<&str> =
        [&**first].into_iter().chain(figure.lines.iter().map(|line| &*line.name)).collect();
    if figure.x.label.is_empty() {
        let rows = figure.lines.iter().map(|line| {
            vec![line.name.clone(), line.points.first().map_or(String::new(), |p| number(p.1))]
        });
        return table(&["", &figure.y.label], rows);
    }
    table(&heads, rows)
}

/// A Markdown table. What would end a cell is escaped.
pub(crate) fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let rule = "|---".repeat(heads.len());
    [line(&heads), format!("{rule}|\n")].into_iter().chain(rows.map(|row| line(&row))).collect()
}

/// What shall be reached.
pub(crate) fn bound(target: &Target, outcome: &Outcome) -> String {
    match target.bound {
        Bound::AtMost(most) => format!("≤ {most}"),
        Bound::AtLeast(least) => format!("≥ {least}"),
        Bound::AtMostMore(more) => format!("≤ {} more", amount(more, &outcome.unit)),
    }
}

/// What was reached.
pub(crate) fn reached(target: &Target, verdict: Verdict, outcome: &Outcome) -> String {
    match target.bound {
        Bound::AtMost(_) | Bound::AtLeast(_) => ratio(verdict.reached),
        Bound::AtMostMore(_) => format!("{} more", amount(verdict.reached, &outcome.unit)),
    }
}

/// Whether the target is met, or how far off it is.
pub(crate) fn met(verdict: Verdict) -> String {
    let percent = verdict.beyond * 100.0;
    match verdict.met {
        true => "yes".to_owned(),
        false if percent < 9.5 => format!("**no**, by {percent:.1} %"),
        false => format!("**no**, by {percent:.0} %"),
    }
}

/// A ratio with as many digits as mean something.
pub(crate) fn ratio(ratio: f64) -> String {
    let digits = if ratio < 0.01 {
        4
    } else if ratio < 0.1 {
        3
    } else {
        2
    };
    format!("{ratio:.digits$}")
}

/// An amount with its unit, which for times is the one that leaves a handy number.
pub(crate) fn amount(amount: f64, unit: &str) -> String {
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

/// A number with three digits that mean something, and all that stand before the point.
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
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let first = (whole.len() + 2) % 3 + 1;
    let groups = [&whole[..first]]
        .into_iter()
        .chain((first..whole.len()).step_by(3).map(|at| &whole[at..at + 3]));
    format!("{sign}{}{rest}", groups.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(targets: Vec<(f64, &str)>) -> Outcome {
        let measured = |name: &str, median, steady| Measured {
            name: name.to_owned(),
            median,
            quartiles: [27.0, 33.0],
            steady,
        };
        let target = |(ratio, against): (f64, &str)| Target {
            against: against.to_owned(),
            bound: Bound::AtMost(ratio),
            because: None,
        };
        Outcome {
            name: "get".to_owned(),
            unit: "ns".to_owned(),
            rounds: 11,
            candidates: vec![
                measured("ours", 30.0, true),
                measured("limit", 20.0, true),
                measured("peer", 6000.0, false),
            ],
            targets: targets.into_iter().map(target).collect(),
        }
    }

    #[test]
    fn ratios_say_whether_the_target_is_met_or_by_how_much_not() {
        let expected = "| get | limit | 1.50 | ≤ 1.2 | **no**, by 25 % |\n| get | peer | 0.0050 ~ | ≤ 0.6 | yes |\n";
        assert!(ratios(&[outcome(vec![(1.2, "limit"), (0.6, "peer")])]).ends_with(expected));
        assert!(
            ratios(&[outcome(vec![(1.2, "limit")])])
                .ends_with("| get | peer | 0.0050 ~ | – | – |\n")
        );
    }

    #[test]
    fn a_target_for_a_difference_is_told_with_it() {
        let more = |more| Target {
            against: "limit".to_owned(),
            bound: Bound::AtMostMore(more),
            because: None,
        };
        let outcome = Outcome { targets: vec![more(8.0)], ..outcome(vec![]) };
        let expected = "| get | limit | 1.50, 10 ns more | ≤ 8 ns more | **no**, by 25 % |\n";
        assert!(
            ratios(std::slice::from_ref(&outcome)).contains(expected),
            "{}",
            ratios(&[outcome])
        );
    }

    #[test]
    fn absolutes_come_with_their_spread_and_a_mark_where_they_were_not_steady() {
        let other =
            Outcome { candidates: outcome(vec![]).candidates[..1].to_vec(), ..outcome(vec![]) };
        let expected = "\
            | what | ours | limit | peer |\n|---|---|---|---|\n\
            | get | 30 ns ± 10 % | 20 ns ± 15 % | 6 µs ± 0 % ~ |\n\n\
            | what | ours |\n|---|---|\n\
            | get | 30 ns ± 10 % |\n";
        assert_eq!(absolutes(&[outcome(vec![]), other]), expected);
    }

    #[test]
    fn a_figure_of_lines_is_told_by_its_places() {
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
    fn numbers_have_three_digits_and_their_thousands_apart() {
        let told = [0.1234, 1.0, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0, -45.67].map(number);
        assert_eq!(told, ["0.123", "1", "1.23", "12.3", "123", "1,234", "1,234,567", "-45.7"]);
        let told = [57.1, 57_100.0, 5.71e7, 5.71e10].map(|time| amount(time, "ns"));
        assert_eq!(told, ["57.1 ns", "57.1 µs", "57.1 ms", "57.1 s"]);
        assert_eq!(amount(130.0, "bytes an entry"), "130 bytes an entry");
    }

    #[test]
    fn a_bar_in_a_cell_does_not_end_it() {
        assert!(table(&["a"], [vec!["x|y".to_owned()]].into_iter()).ends_with("| x\\|y |\n"));
    }
}
