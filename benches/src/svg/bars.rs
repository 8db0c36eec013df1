//! A bar for each candidate, with its number at the end.

use super::{LETTER, TOP, WIDTH, scale::Scale, segment, text, widest};
use crate::{Figure, table::number};

const HEIGHT: f64 = 20.0;
const STEP: f64 = 30.0;
const GAP: f64 = 7.0;

/// Returns the height of the figure and its elements.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub(super) fn draw(figure: &Figure) -> (f64, String) {
    let bars: Vec<(&str, f64)> = figure
        .lines
        .iter()
        .filter_map(|line| Some((&*line.name, line.points.first()?.1)))
        .filter(|(_, value)| value.is_finite())
        .collect();
    let left = 28.0 + widest(bars.iter().map(|(name, _)| *name));
    let target = figure.target.filter(|target| target.is_finite());
    let values: Vec<f64> = bars.iter().map(|(_, value)| *value).chain(target).collect();
    let scale = Scale::round(&values, false, [left, WIDTH - 80.0]);
    let bottom = TOP + 22.0 + bars.len() as f64 * STEP;

    let mut out = text(16.0, 48.0, "soft", &figure.y);
    let target = target.map(|target| (target, scale.position(target)));
    for (index, &(name, value)) in bars.iter().enumerate() {
        let (top, end) = (TOP + 22.0 + index as f64 * STEP, scale.position(value.max(0.0)));
        let (bar, font) = if index == 0 { ("bar first", "ours") } else { ("bar", "name") };
        out += &text(left - 10.0, top + 15.0, &format!("{font} end"), name);
        let width = end - left;
        out += &format!(
            "<rect class=\"{bar}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
             height=\"{HEIGHT}\" rx=\"2\"/>\n"
        );
        let label = number(value);
        let right = end + 2.0 * GAP + label.len() as f64 * LETTER;
        // A label that the target's line would cross moves to the right of the line.
        let crossing = target.map(|(_, line)| line).filter(|line| (end..right).contains(line));
        out += &text(crossing.unwrap_or(end) + GAP, top + 15.0, font, label);
    }
    out += &segment("axis", [left, TOP + 14.0], [left, bottom]);
    if let Some((target, line)) = target {
        out += &segment("target", [line, TOP + 14.0], [line, bottom]);
        out += &text(line, TOP + 8.0, "soft middle", format!("target {}", number(target)));
    }
    (bottom + 14.0, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_line_does_not_cross_a_label() {
        let figure = Figure::bars("A hit", "ns").bar("locmem", 80.0).bar("moka", 318.0);
        let (_, out) = draw(&Figure { target: Some(83.2), ..figure });
        let x = |element: &str, attribute: &str| -> f64 {
            let rest = out.split(element).nth(1).expect("the element");
            let rest = rest.rsplit_once(attribute).map_or(rest, |(_, rest)| rest);
            rest.trim_start_matches('"').split('"').next().and_then(|x| x.parse().ok()).expect("x")
        };
        let line = x("<line class=\"target\"", "x1=\"");
        let label = out.split(">80<").next().expect("the label").rsplit("x=\"").next();
        let label: f64 = label.and_then(|x| x.split('"').next()?.parse().ok()).expect("x");
        assert!(label > line, "{label} {line} in {out}");
    }
}
