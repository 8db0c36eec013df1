//! A bar for each candidate, with its number at its end.

use super::{TOP, WIDTH, axis::Scale, segment, text, widest};
use crate::{Figure, table::number};

const BAR: f64 = 20.0;
const STEP: f64 = 30.0;

/// Its height, and what is drawn.
#[expect(clippy::cast_precision_loss, reason = "there are few bars")]
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

    let mut out = text(16.0, 48.0, "soft", &figure.y.label);
    // Above the target's line.
    let mut values = String::new();
    for (place, &(name, value)) in bars.iter().enumerate() {
        let (top, end) = (TOP + 22.0 + place as f64 * STEP, scale.place(value.max(0.0)));
        let (bar, font) = if place == 0 { ("bar first", "ours") } else { ("bar", "name") };
        out += &text(left - 10.0, top + 15.0, &format!("{font} end"), name);
        let width = end - left;
        out += &format!(
            "<rect class=\"{bar}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>\n"
        );
        values += &text(end + 7.0, top + 15.0, &format!("{font} value"), number(value));
    }
    out += &segment("axis", [left, TOP + 14.0], [left, bottom]);
    if let Some(target) = target {
        let place = scale.place(target);
        out += &segment("target", [place, TOP + 14.0], [place, bottom]);
        out += &text(place, TOP + 8.0, "soft middle", format!("target {}", number(target)));
    }
    (bottom + 14.0, out + &values)
}
