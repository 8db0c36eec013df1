//! Maps numbers to positions.

use crate::table::number;

/// Maps numbers between two bounds to positions between two others.
pub(super) struct Scale {
    log: bool,
    numbers: [f64; 2],
    positions: [f64; 2],
}

impl Scale {
    /// Creates a scale for these numbers with round bounds. It starts at zero unless it is
    /// logarithmic.
    pub(super) fn round(values: &[f64], log: bool, positions: [f64; 2]) -> Self {
        let [low, high] = bounds(values);
        let numbers = match log {
            true => [round(low, false), round(high, true)],
            false => [0.0, if high > 0.0 { round(high * 1.02, true) } else { 1.0 }],
        };
        Self { log, numbers, positions }.widened()
    }

    /// Creates a logarithmic scale that starts and ends with these numbers.
    pub(super) fn exact(values: &[f64], positions: [f64; 2]) -> Self {
        Self { log: true, numbers: bounds(values), positions }.widened()
    }

    /// Adds space on both sides of a single number.
    fn widened(mut self) -> Self {
        let [low, high] = self.numbers;
        if high <= low {
            self.numbers = [low / 2.0, low * 2.0];
        }
        self
    }

    pub(super) fn position(&self, number: f64) -> f64 {
        let on = |number: f64| if self.log { number.log10() } else { number };
        let [low, high] = self.numbers.map(on);
        let [from, to] = self.positions;
        from + (on(number) - low) / (high - low) * (to - from)
    }

    /// Returns round numbers on the scale in ascending order.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let [low, high] = self.numbers;
        if !self.log {
            let step = [1.0, 2.0, 5.0, 10.0, 20.0].map(|step| step * decade(high / 10.0));
            let step = step.into_iter().find(|step| high / step <= 6.0).unwrap_or(high);
            let ticks = (0..).map(|count| f64::from(count) * step);
            return ticks.take_while(|tick| *tick <= high * 1.0001).collect();
        }
        let steps: &[f64] = match (high / low).log10() {
            decades if decades > 3.0 => &[1.0],
            decades if decades > 1.5 => &[1.0, 3.0],
            decades if decades > 0.9 => &[1.0, 2.0, 5.0],
            _ => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
        };
        let starts =
            (0..).map(|count| decade(low) * 10_f64.powi(count)).take_while(|start| *start <= high);
        let ticks = starts.flat_map(|start| steps.iter().map(move |step| start * step));
        ticks.filter(|tick| (low * 0.999..=high * 1.001).contains(tick)).collect()
    }
}

fn bounds(values: &[f64]) -> [f64; 2] {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.is_empty() { [1.0, 10.0] } else { [low, high] }
}

/// The power of ten at or below a number.
fn decade(number: f64) -> f64 {
    10_f64.powf((number.log10() + 1e-9).floor())
}

/// Rounds up or down to a number of one digit, or to 1.5 or 2.5 times a power of ten.
fn round(number: f64, up: bool) -> f64 {
    let steps = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let share = number / decade(number);
    let step = if up {
        steps.into_iter().find(|step| *step >= share - 1e-9)
    } else {
        steps.into_iter().rfind(|step| *step <= share + 1e-9)
    };
    decade(number) * step.unwrap_or(1.0)
}

/// Formats a number for an axis: `100k`.
pub(super) fn short(value: f64) -> String {
    let trimmed = |number: String| match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => number,
    };
    match value.abs() {
        size if size >= 1e9 => format!("{}G", number(value / 1e9)),
        size if size >= 1e6 => format!("{}M", number(value / 1e6)),
        size if size >= 1e4 => format!("{}k", number(value / 1e3)),
        size if size >= 0.0995 || size == 0.0 => trimmed(number(value)),
        _ => trimmed(format!("{value:.6}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_scale() {
        let ticks = |values: &[f64], log| Scale::round(values, log, [0.0, 1.0]).ticks();
        assert_eq!(ticks(&[310.0], false), [0.0, 100.0, 200.0, 300.0, 400.0]);
        assert_eq!(ticks(&[78.0], false), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(ticks(&[9.0, 140.0], true), [10.0, 20.0, 50.0, 100.0]);
        assert_eq!(ticks(&[171.0, 182e3], true), [1e3, 1e4, 1e5]);
    }

    #[test]
    fn logarithmic_scale_has_equal_distances_for_equal_ratios() {
        let scale = Scale::round(&[1.0, 100.0], true, [0.0, 10.0]);
        let positions = [1.0, 10.0, 100.0].map(|number| scale.position(number));
        let [first, second, third] = positions;
        assert!((second - first - (third - second)).abs() < 1e-9, "{positions:?}");
    }

    #[test]
    fn numbers_on_an_axis_are_short() {
        let numbers = [0.0, 0.05, 0.25, 2.0, 500.0, 1000.0, 10_000.0, 150_000.0, 1e6, 2.5e6];
        let expected = ["0", "0.05", "0.25", "2", "500", "1,000", "10k", "150k", "1M", "2.50M"];
        assert_eq!(numbers.map(short), expected);
    }
}
