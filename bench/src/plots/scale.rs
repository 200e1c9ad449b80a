//! Axes: where a value is on one, and its ticks.

/// From this ratio of the highest to the lowest value, a scale is logarithmic.
const LOGARITHMIC: f64 = 50.0;

/// The axis of a panel.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    from: f64,
    to: f64,
    pub logarithmic: bool,
}

impl Scale {
    /// Makes a scale that has room for all `values`, or `None` without a positive one.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let positive = values.into_iter().filter(|value| *value > 0.0);
        let (low, high) = positive.fold((f64::INFINITY, 0.0), |(low, high), value| {
            (value.min(low), value.max(high))
        });
        if high == 0.0 {
            return None;
        }
        let logarithmic = high / low >= LOGARITHMIC;
        Some(Self {
            from: if logarithmic { round_down(low) } else { 0.0 },
            to: high,
            logarithmic,
        })
    }

    /// Returns the place of a value: 0 at the beginning of the axis, 1 at its end.
    pub fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            value / self.to
        }
    }

    /// Returns the ticks: multiples of 1, 2 or 5 times a power of ten, or, on a logarithmic
    /// scale, all such numbers.
    pub fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        if self.logarithmic {
            let mut tick = self.from;
            while tick <= self.to {
                ticks.push(tick);
                // The next one is 2 or 2.5 times as large.
                tick = round_down(tick * 2.6);
            }
        } else {
            let step = round_down(self.to / 3.0);
            let fits = |index: &u32| f64::from(*index) * step <= self.to;
            ticks.extend((0..).take_while(fits).map(|index| f64::from(index) * step));
        }
        ticks
    }
}

/// Returns the largest of 1, 2 and 5 times a power of ten that is not above `value`.
fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    // Neither the logarithm nor the quotient is exact.
    let leading = value / power * (1.0 + 1e-9);
    let steps = [10.0, 5.0, 2.0, 1.0];
    power
        * steps
            .into_iter()
            .find(|step| *step <= leading)
            .unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_a_logarithmic_scale_are_1_2_and_5_times_powers_of_ten() {
        let scale = Scale::new([3_345.0, 505_394.0]).unwrap();
        assert!(scale.logarithmic);
        let ticks: Vec<_> = scale.ticks().iter().map(|tick| tick.round()).collect();
        let thousands = [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
        assert_eq!(ticks, thousands.map(|tick| tick * 1_000.0));
    }

    #[test]
    fn a_linear_scale_begins_at_zero_and_ends_at_the_highest_value() {
        let scale = Scale::new([28_257.0, 200_356.0]).unwrap();
        assert!(!scale.logarithmic);
        assert_eq!(
            scale.ticks(),
            [0.0, 50_000.0, 100_000.0, 150_000.0, 200_000.0]
        );
        assert_eq!([0.0, 200_356.0].map(|value| scale.place(value)), [0.0, 1.0]);
    }

    #[test]
    fn without_a_positive_value_there_is_no_scale() {
        assert!(Scale::new([]).is_none());
        assert!(Scale::new([0.0]).is_none());
    }
}
