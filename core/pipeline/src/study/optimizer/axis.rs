//! The axes of a search space: what values a key may take, and their places in the unit interval.

/// The values of one key.
#[derive(Debug, Clone, PartialEq)]
pub enum Axis {
    /// Real numbers from `low` to `high`; with `log`, equal steps are equal factors.
    Real {
        /// The smallest value.
        low: f64,
        /// The largest value.
        high: f64,
        /// Whether the logarithm is searched.
        log: bool,
    },
    /// Whole numbers from `low` to `high`, both included.
    Integer {
        /// The smallest value.
        low: i64,
        /// The largest value.
        high: i64,
        /// Whether the logarithm is searched.
        log: bool,
    },
    /// The numbers of `count` choices, which have no order.
    Choice {
        /// The number of choices.
        count: usize,
    },
}

impl Axis {
    /// Returns the value at the place `unit` of the unit interval. Reals have four significant digits.
    pub fn value(&self, unit: f64) -> f64 {
        match *self {
            Self::Real { low, high, log } => four_digits(between(low, high, log, unit)).clamp(low, high),
            // Every number has the same share of the interval, also the first and the last one.
            Self::Integer { low, high, log } => {
                let [low, high] = [low as f64, high as f64];
                let edges = if log {
                    [low * (low / (low + 1.0)).sqrt(), high + 0.5]
                } else {
                    [low - 0.5, high + 0.5]
                };
                between(edges[0], edges[1], log, unit).round().clamp(low, high)
            }
            Self::Choice { count } => (unit * count as f64).floor().clamp(0.0, count.max(1) as f64 - 1.0),
        }
    }

    /// Returns the place of a value, or `None` if the axis does not have it.
    pub fn unit(&self, value: f64) -> Option<f64> {
        let place = |low: f64, high: f64, log: bool| {
            let of = |x: f64| if log { x.ln() } else { x };
            let width = of(high) - of(low);
            if width > 0.0 { (of(value) - of(low)) / width } else { 0.5 }
        };
        match *self {
            Self::Real { low, high, log } => (low..=high).contains(&value).then(|| place(low, high, log)),
            Self::Integer { low, high, log } => {
                let [low, high] = [low as f64, high as f64];
                ((low..=high).contains(&value) && value.fract() == 0.0).then(|| place(low, high, log))
            }
            Self::Choice { count } => {
                ((0.0..count as f64).contains(&value) && value.fract() == 0.0).then_some(value)
            }
        }
    }

    /// Appends the coordinates of a value for a kernel: its place, or for a choice one coordinate for each
    /// choice, such that two choices have the distance 1.
    pub fn push_features(&self, value: f64, features: &mut Vec<f64>) {
        match self {
            Self::Choice { count } => {
                let own = |choice: usize| if choice as f64 == value { 0.5_f64.sqrt() } else { 0.0 };
                features.extend((0..*count).map(own));
            }
            _ => features.push(self.unit(value).unwrap_or(0.5)),
        }
    }

    /// Returns the number of coordinates of a value.
    pub fn features(&self) -> usize {
        if let Self::Choice { count } = self { *count } else { 1 }
    }
}

fn between(low: f64, high: f64, log: bool, unit: f64) -> f64 {
    if log { (low.ln() + unit * (high.ln() - low.ln())).exp() } else { low + unit * (high - low) }
}

/// Rounds a number to four significant digits, so that a chosen value is short in a recipe.
fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_places_agree_and_stay_in_range() {
        let axes = [
            Axis::Real { low: 0.0, high: 1.0, log: false },
            Axis::Real { low: 0.01, high: 0.5, log: true },
            Axis::Integer { low: 2, high: 9, log: false },
            Axis::Integer { low: 16, high: 256, log: true },
            Axis::Choice { count: 3 },
        ];
        for axis in &axes {
            for step in 0..=50 {
                let value = axis.value(f64::from(step) / 50.0);
                let place = axis.unit(value).unwrap();
                assert!(matches!(axis, Axis::Choice { .. }) || (0.0..=1.0).contains(&place), "{axis:?}");
            }
        }
        assert_eq!(axes[0].value(0.123_456_7), 0.1235);
        assert_eq!([axes[2].value(0.0), axes[2].value(1.0)], [2.0, 9.0]);
        assert_eq!([axes[4].value(0.0), axes[4].value(0.5), axes[4].value(1.0)], [0.0, 1.0, 2.0]);
        assert_eq!(axes[1].unit(0.6), None);
        assert_eq!(axes[2].unit(2.5), None);
    }

    /// The middle of a logarithmic range is the geometric mean: sqrt(0.01 * 0.5) = 0.0707.
    #[test]
    fn a_logarithmic_range_has_equal_factors() {
        assert_eq!(Axis::Real { low: 0.01, high: 0.5, log: true }.value(0.5), 0.070_71);
    }

    #[test]
    fn two_choices_have_the_distance_one() {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let axis = Axis::Choice { count: 4 };
        axis.push_features(0.0, &mut first);
        axis.push_features(3.0, &mut second);
        let squares: f64 = first.iter().zip(&second).map(|(a, b)| (a - b).powi(2)).sum();
        assert!((squares - 1.0).abs() < 1e-15);
    }
}
