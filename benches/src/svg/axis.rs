//! From numbers to places.

use crate::table::number;

/// Carries numbers between two bounds to places between two others.
pub(super) struct Scale {
    log: bool,
    numbers: [f64; 2],
    places: [f64; 2],
}

impl Scale {
    /// A scale for these numbers, with round bounds. One that is not logarithmic begins at zero.
    pub(super) fn round(values: &[f64], log: bool, places: [f64; 2]) -> Self {
        let most = values.iter().copied().fold(0.0, f64::max);
        let numbers = if log {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            if values.is_empty() {
                [1.0, 10.0]
            } else {
                [rounded(least, Way::Down), rounded(most, Way::Up)]
            }
        } else {
            [0.0, if most > 0.0 { rounded(most * 1.02, Way::Up) } else { 1.0 }]
        };
        Self { log, numbers, places }.with_width()
    }

    /// A scale that begins and ends with these numbers.
    pub(super) fn tight(values: &[f64], log: bool, places: [f64; 2]) -> Self {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let numbers = if values.is_empty() { [1.0, 10.0] } else { [least, most] };
        Self { log, numbers, places }.with_width()
    }

    /// A single number is given room on both sides.
    fn with_width(mut self) -> Self {
        let [low, high] = self.numbers;
        if high <= low {
            self.numbers = if self.log { [low / 2.0, low * 2.0] } else { [low - 1.0, low + 1.0] };
        }
        self
    }

    pub(super) fn place(&self, number: f64) -> f64 {
        let on = |number: f64| if self.log { number.log10() } else { number };
        let [low, high] = self.numbers.map(on);
        let [from, to] = self.places;
        from + (on(number) - low) / (high - low) * (to - from)
    }

    /// Round numbers on the scale, from below.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let [low, high] = self.numbers;
        if !self.log {
            let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade(high / 10.0));
            let step = step.into_iter().find(|step| high / step <= 6.0).unwrap_or(high);
            return (0..)
                .map(|count: u32| f64::from(count) * step)
                .take_while(|tick| *tick <= high * 1.0001)
                .collect();
        }
        let decades = (high / low).log10();
        let steps: &[f64] = match decades {
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

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Up,
    Down,
}

/// The power of ten at or below a number.
fn decade(number: f64) -> f64 {
    10_f64.powf((number.log10() + 1e-9).floor())
}

/// The next number of one digit, or of 1.5 and 2.5 upwards.
fn rounded(number: f64, way: Way) -> f64 {
    let (decade, steps) = (decade(number), [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]);
    let share = number / decade;
    let step = match way {
        Way::Up => steps.into_iter().find(|step| *step >= share - 1e-9).unwrap_or(10.0),
        Way::Down => steps.into_iter().rev().find(|step| *step <= share + 1e-9).unwrap_or(1.0),
    };
    decade * step
}

/// A number as an axis tells it: 100k.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e9 => format!("{}G", number(value / 1e9)),
        size if size >= 1e6 => format!("{}M", number(value / 1e6)),
        size if size >= 1e4 => format!("{}k", number(value / 1e3)),
        size if size >= 0.0995 || size == 0.0 => trimmed(&number(value)),
        _ => trimmed(&format!("{value:.6}")),
    }
}

fn trimmed(number: &str) -> String {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        number.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_scale() {
        assert_eq!(
            Scale::round(&[310.0], false, [0.0, 1.0]).ticks(),
            [0.0, 100.0, 200.0, 300.0, 400.0]
        );
        assert_eq!(
            Scale::round(&[9.0, 140.0], true, [0.0, 1.0]).ticks(),
            [10.0, 20.0, 50.0, 100.0]
        );
        let wide = Scale::round(&[171.0, 182e3], true, [0.0, 1.0]);
        assert_eq!(wide.ticks(), [1e3, 1e4, 1e5]);
    }

    #[test]
    fn a_tenfold_is_as_far_everywhere_on_a_logarithmic_scale() {
        let scale = Scale::round(&[1.0, 100.0], true, [0.0, 10.0]);
        let places = [1.0, 10.0, 100.0].map(|number| scale.place(number));
        assert!((places[1] - places[0] - (places[2] - places[1])).abs() < 1e-9, "{places:?}");
    }

    #[test]
    fn numbers_are_told_short() {
        let told =
            [0.0, 0.05, 0.25, 2.0, 20.0, 500.0, 1000.0, 10_000.0, 150_000.0, 1e6, 2.5e6].map(short);
        assert_eq!(
            told,
            ["0", "0.05", "0.25", "2", "20", "500", "1,000", "10k", "150k", "1M", "2.50M"]
        );
    }
}
