//! The most that windows held, by whether a change of who decides falls into them.

use phoenix_limit::Window;

use super::super::oracle::micros;

/// When a unit was admitted, in microseconds.
pub(super) type Admitted = u64;

/// From when until when each change lasted, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changes {
    pub(super) lost: (u64, u64),
    pub(super) back: (u64, u64),
}

/// Most units of a window, of those that touch the loss of Redis, else its return, else neither.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Worst {
    pub(super) lost: u32,
    pub(super) back: u32,
    pub(super) outside: u32,
}

impl Worst {
    /// Looks at all windows that end with an admission; `admitted` is in order.
    pub(super) fn add(&mut self, admitted: &[Admitted], window: Window, changes: Changes) {
        let span = micros(window.span);
        let mut oldest = 0;
        for (index, end) in admitted.iter().enumerate() {
            while admitted[oldest] + span <= *end {
                oldest += 1;
            }
            let inside = u32::try_from(index + 1 - oldest).unwrap_or(u32::MAX);
            // The shortest stretch that holds them: a change before the oldest of them is not in it.
            let touches = |(from, until): (u64, u64)| admitted[oldest] <= until && *end >= from;
            let place = if touches(changes.lost) {
                &mut self.lost
            } else if touches(changes.back) {
                &mut self.back
            } else {
                &mut self.outside
            };
            *place = inside.max(*place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_window_belongs_to_the_change_that_falls_into_it() {
        let window = Window { limit: 1, span: Duration::from_micros(10) };
        let changes = Changes { lost: (100, 102), back: (200, 205) };
        let worst = |admitted: &[u64]| {
            let mut worst = Worst::default();
            worst.add(admitted, window, changes);
            (worst.lost, worst.back, worst.outside)
        };
        assert_eq!(worst(&[80, 85, 89, 90]), (0, 0, 3));
        assert_eq!(worst(&[95, 101]), (2, 0, 1));
        assert_eq!(worst(&[103, 104]), (0, 0, 2));
        assert_eq!(worst(&[199, 206]), (0, 2, 1));
    }
}
