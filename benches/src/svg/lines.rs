//! Lines over an axis, with their names at their ends.

use super::{
    TOP, WIDTH,
    axis::{Scale, short},
    segment,
    style::LOOKS,
    text, widest,
};
use crate::{Figure, Line};

const HEIGHT: f64 = 440.0;
const LEFT: f64 = 72.0;
const BOTTOM: f64 = HEIGHT - 56.0;

/// How far names and the numbers below the axis keep from each other.
const BETWEEN_NAMES: f64 = 18.0;
const BETWEEN_NUMBERS: f64 = 44.0;

/// Its height, and what is drawn.
pub(super) fn draw(figure: &Figure) -> (f64, String) {
    let fits = |value: f64, log: bool| value.is_finite() && (value > 0.0 || !log && value >= 0.0);
    let drawable = |line: &Line| -> Vec<(f64, f64)> {
        line.points
            .iter()
            .copied()
            .filter(|&(x, y)| fits(x, figure.x.log) && fits(y, figure.y.log))
            .collect()
    };
    let lines: Vec<(&str, Vec<(f64, f64)>)> =
        figure.lines.iter().map(|line| (&*line.name, drawable(line))).collect();
    let right = WIDTH - 34.0 - widest(lines.iter().map(|(name, _)| *name));
    let all = |of: fn(&(f64, f64)) -> f64| {
        lines.iter().flat_map(|(_, points)| points).map(of).collect::<Vec<_>>()
    };
    let x = Scale::tight(&all(|point| point.0), figure.x.log, [LEFT + 16.0, right - 12.0]);
    let y = Scale::round(&all(|point| point.1), figure.y.log, [BOTTOM, TOP]);

    let log = if figure.y.log { ", on a logarithmic scale" } else { "" };
    let mut out = text(16.0, 48.0, "soft", format!("{}{log}", figure.y.label));
    out += &grid(&y, right);
    out += &numbers_below(all(|point| point.0), &x);
    out += &text((LEFT + right) / 2.0, HEIGHT - 14.0, "soft middle", &figure.x.label);
    let lines = lines.into_iter().map(|(name, points)| {
        (
            name,
            points.into_iter().map(|(at, value)| [x.place(at), y.place(value)]).collect::<Vec<_>>(),
        )
    });
    let lines: Vec<(&str, Vec<[f64; 2]>)> = lines.collect();
    // Ours is drawn last, above the others.
    for (look, (_, places)) in lines.iter().enumerate().rev() {
        out += &path(look % LOOKS, places);
    }
    out += &names(&lines, right);
    (HEIGHT, out)
}

fn grid(y: &Scale, right: f64) -> String {
    let tick = |number: f64| {
        let place = y.place(number);
        segment("grid", [LEFT, place], [right, place])
            + &text(LEFT - 8.0, place + 4.0, "soft end", short(number))
    };
    y.ticks().into_iter().map(tick).collect::<String>()
        + &segment("axis", [LEFT, BOTTOM], [right, BOTTOM])
}

/// Each place where something was measured, as far as there is room.
fn numbers_below(mut places: Vec<f64>, x: &Scale) -> String {
    places.sort_by(f64::total_cmp);
    places.dedup();
    let mut out = String::new();
    let mut taken = f64::NEG_INFINITY;
    for number in places {
        let place = x.place(number);
        out += &segment("axis", [place, BOTTOM], [place, BOTTOM + 5.0]);
        if place - taken >= BETWEEN_NUMBERS {
            out += &text(place, BOTTOM + 20.0, "soft middle", short(number));
            taken = place;
        }
    }
    out
}

fn path(look: usize, places: &[[f64; 2]]) -> String {
    let corners: Vec<String> = places.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
    let marks: String = places.iter().map(|&place| mark(look, place)).collect();
    format!("<polyline class=\"l{look}\" points=\"{}\"/>\n{marks}", corners.join(" "))
}

fn mark(look: usize, [x, y]: [f64; 2]) -> String {
    let class = format!("class=\"mark m{look}\"");
    let corners = |corners: &[[f64; 2]]| {
        let corners: Vec<String> =
            corners.iter().map(|[dx, dy]| format!("{:.1},{:.1}", x + dx, y + dy)).collect();
        format!("<polygon {class} points=\"{}\"/>\n", corners.join(" "))
    };
    match look % 4 {
        0 => format!("<circle {class} cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5.5\"/>\n"),
        1 => corners(&[[-4.5, -4.5], [4.5, -4.5], [4.5, 4.5], [-4.5, 4.5]]),
        2 => corners(&[[0.0, -5.5], [5.5, 4.5], [-5.5, 4.5]]),
        _ => corners(&[[0.0, -6.0], [6.0, 0.0], [0.0, 6.0], [-6.0, 0.0]]),
    }
}

/// The names beside the lines' ends, moved apart where those are close.
fn names(lines: &[(&str, Vec<[f64; 2]>)], right: f64) -> String {
    let ends = lines
        .iter()
        .enumerate()
        .filter_map(|(look, (name, places))| Some((look, *name, *places.last()?)));
    let mut ends: Vec<(usize, &str, [f64; 2])> = ends.collect();
    ends.sort_by(|one, other| one.2[1].total_cmp(&other.2[1]));
    let heights = apart(&ends.iter().map(|end| end.2[1]).collect::<Vec<_>>());
    let name = |(&(look, name, [x, y]), height): (&(usize, &str, [f64; 2]), f64)| {
        let class = if look == 0 { "ours" } else { "name" };
        let leader = segment("leader", [x + 8.0, y], [right + 6.0, height]);
        leader
            + &mark(look % LOOKS, [right + 14.0, height])
            + &text(right + 24.0, height + 4.5, class, name)
    };
    ends.iter().zip(heights).map(name).collect()
}

/// Heights in ascending order, moved as little as is needed to keep apart within the drawing.
fn apart(wanted: &[f64]) -> Vec<f64> {
    let mut heights = Vec::with_capacity(wanted.len());
    let mut free = f64::NEG_INFINITY;
    for &height in wanted {
        heights.push(height.max(free));
        free = height.max(free) + BETWEEN_NAMES;
    }
    let mut free = BOTTOM;
    for height in heights.iter_mut().rev() {
        *height = height.min(free);
        free = *height - BETWEEN_NAMES;
    }
    heights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_one_height_are_moved_apart_and_stay_inside() {
        let heights = apart(&[100.0, 101.0, 250.0]);
        assert_eq!(heights, [100.0, 100.0 + BETWEEN_NAMES, 250.0]);
        let heights = apart(&[BOTTOM, BOTTOM, BOTTOM]);
        assert_eq!(heights, [BOTTOM - 2.0 * BETWEEN_NAMES, BOTTOM - BETWEEN_NAMES, BOTTOM]);
    }
}
