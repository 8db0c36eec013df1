//! Lines over an axis, with their names at the end.

use super::{
    TOP, WIDTH,
    scale::{Scale, short},
    segment,
    style::LOOKS,
    text, widest,
};
use crate::{Figure, Line};

const HEIGHT: f64 = 440.0;
const LEFT: f64 = 72.0;
const BOTTOM: f64 = HEIGHT - 56.0;

/// The smallest distance between names, and between numbers on the axis.
const NAME_DISTANCE: f64 = 18.0;
const NUMBER_DISTANCE: f64 = 44.0;

type Point = [f64; 2];

/// Returns the height of the figure and its elements.
pub(super) fn draw(figure: &Figure) -> (f64, String) {
    let can_draw = |&(x, y): &(f64, f64)| {
        x.is_finite() && y.is_finite() && x > 0.0 && (y > 0.0 || !figure.log_y && y >= 0.0)
    };
    let points = |line: &Line| line.points.iter().copied().filter(can_draw).collect::<Vec<_>>();
    let lines: Vec<(&str, Vec<(f64, f64)>)> =
        figure.lines.iter().map(|line| (&*line.name, points(line))).collect();
    let right = WIDTH - 34.0 - widest(lines.iter().map(|(name, _)| *name));
    let (mut xs, ys): (Vec<f64>, Vec<f64>) =
        lines.iter().flat_map(|(_, points)| points).copied().unzip();
    let x = Scale::exact(&xs, [LEFT + 16.0, right - 12.0]);
    let y = Scale::round(&ys, figure.log_y, [BOTTOM, TOP]);

    let log = if figure.log_y { ", on a logarithmic scale" } else { "" };
    let mut out = text(16.0, 48.0, "soft", format!("{}{log}", figure.y));
    for number in y.ticks() {
        let height = y.position(number);
        out += &segment("grid", [LEFT, height], [right, height]);
        out += &text(LEFT - 8.0, height + 4.0, "soft end", short(number));
    }
    out += &segment("axis", [LEFT, BOTTOM], [right, BOTTOM]);
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    out += &numbers(&xs, &x);
    out += &text((LEFT + right) / 2.0, HEIGHT - 14.0, "soft middle", &figure.x);
    let lines: Vec<(&str, Vec<Point>)> = lines
        .into_iter()
        .map(|(name, points)| {
            (
                name,
                points.into_iter().map(|(at, value)| [x.position(at), y.position(value)]).collect(),
            )
        })
        .collect();
    // The first line is drawn last, above the others.
    for (look, (_, points)) in lines.iter().enumerate().rev() {
        out += &path(look % LOOKS, points);
    }
    out += &names(&lines, right);
    (HEIGHT, out)
}

/// A number for each measured position on the horizontal axis, if there is space.
fn numbers(xs: &[f64], scale: &Scale) -> String {
    let mut out = String::new();
    let mut last = f64::NEG_INFINITY;
    for &number in xs {
        let position = scale.position(number);
        out += &segment("axis", [position, BOTTOM], [position, BOTTOM + 5.0]);
        if position - last >= NUMBER_DISTANCE {
            out += &text(position, BOTTOM + 20.0, "soft middle", short(number));
            last = position;
        }
    }
    out
}

fn path(look: usize, points: &[Point]) -> String {
    let marks: String = points.iter().map(|&point| mark(look, point)).collect();
    format!("<polyline class=\"l{look} d{look}\" points=\"{}\"/>\n{marks}", coordinates(points))
}

fn coordinates(points: &[Point]) -> String {
    points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
}

/// The shape of a mark. Lines with the same shape differ in their dashes.
fn mark(look: usize, [x, y]: Point) -> String {
    let class = format!("class=\"mark l{look}\"");
    let corners: &[Point] = match look % 6 {
        0 => return format!("<circle {class} cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5.5\"/>\n"),
        1 => &[[-4.5, -4.5], [4.5, -4.5], [4.5, 4.5], [-4.5, 4.5]],
        2 => &[[0.0, -5.5], [5.5, 4.5], [-5.5, 4.5]],
        3 => &[[0.0, -6.0], [6.0, 0.0], [0.0, 6.0], [-6.0, 0.0]],
        4 => &[[0.0, 5.5], [5.5, -4.5], [-5.5, -4.5]],
        _ => &[
            [-1.8, -6.0],
            [1.8, -6.0],
            [1.8, -1.8],
            [6.0, -1.8],
            [6.0, 1.8],
            [1.8, 1.8],
            [1.8, 6.0],
            [-1.8, 6.0],
            [-1.8, 1.8],
            [-6.0, 1.8],
            [-6.0, -1.8],
            [-1.8, -1.8],
        ],
    };
    let corners: Vec<Point> = corners.iter().map(|[dx, dy]| [x + dx, y + dy]).collect();
    format!("<polygon {class} points=\"{}\"/>\n", coordinates(&corners))
}

/// The names beside the ends of the lines, moved apart if these are close.
fn names(lines: &[(&str, Vec<Point>)], right: f64) -> String {
    let mut ends: Vec<(usize, &str, Point)> = lines
        .iter()
        .enumerate()
        .filter_map(|(look, (name, points))| Some((look, *name, *points.last()?)))
        .collect();
    ends.sort_by(|one, other| one.2[1].total_cmp(&other.2[1]));
    let heights = spread_out(ends.iter().map(|end| end.2[1]));
    let name = |(&(look, name, [x, y]), height): (&(usize, &str, Point), f64)| {
        let class = if look == 0 { "ours" } else { "name" };
        segment("leader", [x + 8.0, y], [right + 6.0, height])
            + &mark(look % LOOKS, [right + 14.0, height])
            + &text(right + 24.0, height + 4.5, class, name)
    };
    ends.iter().zip(heights).map(name).collect()
}

/// Moves ascending heights apart as little as necessary. They stay within the figure.
fn spread_out(heights: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut next = f64::NEG_INFINITY;
    let down = |height: f64| {
        let height = height.max(next);
        next = height + NAME_DISTANCE;
        height
    };
    let mut heights: Vec<f64> = heights.map(down).collect();
    let mut next = BOTTOM;
    for height in heights.iter_mut().rev() {
        *height = height.min(next);
        next = *height - NAME_DISTANCE;
    }
    heights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_moved_apart_and_stay_inside() {
        let heights = spread_out([100.0, 101.0, 250.0].into_iter());
        assert_eq!(heights, [100.0, 100.0 + NAME_DISTANCE, 250.0]);
        let heights = spread_out([BOTTOM, BOTTOM, BOTTOM].into_iter());
        assert_eq!(heights, [BOTTOM - 2.0 * NAME_DISTANCE, BOTTOM - NAME_DISTANCE, BOTTOM]);
    }
}
