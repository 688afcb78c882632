//! Who asks when: the kinds of traffic that decisions are checked under. Pure: the same seed gives the same requests.

use std::time::Duration;

use phoenix_limit::Window;

use crate::bench::zipf::{Random, Zipf};

/// Clients of [`Shape::Zipf`].
pub(super) const CROWD: u32 = 10_000;
/// Exponent of Zipf's law.
const EXPONENT: f64 = 0.99;
/// Times before the first request, so that a clock that is set back stays above zero.
const EPOCH: Duration = Duration::from_hours(24 * 365);
/// Parts of a second in a second.
const MICROS: f64 = 1e6;

/// One request that is to be decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Request {
    /// When, in microseconds. In a schedule for real time, since its begin.
    pub(super) at: u64,
    /// Whose.
    pub(super) client: u32,
    /// Units.
    pub(super) cost: u32,
}

/// A kind of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// Every client asks at random moments, about as often as it may.
    NearLimit,
    /// Every client asks for up to twice its limit at once, then rests.
    Bursty,
    /// Every client asks for five times what it may.
    Attacker,
    /// [`CROWD`] clients, of which few ask most.
    Zipf,
    /// As `NearLimit`, by a clock that is set forward and back.
    ClockSteps,
}

/// All of them.
pub(super) const SHAPES: [Shape; 5] =
    [Shape::NearLimit, Shape::Bursty, Shape::Attacker, Shape::Zipf, Shape::ClockSteps];

impl Shape {
    /// In tables.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NearLimit => "near the limit",
            Self::Bursty => "bursty",
            Self::Attacker => "attacker at 5x",
            Self::Zipf => "10,000 clients, Zipf",
            Self::ClockSteps => "clock steps",
        }
    }

    /// The requests of `clients` clients (of [`CROWD`] for `Zipf`, as many requests in all) in `spans` times the
    /// window, in the order in which they are made.
    pub(super) fn requests(self, window: Window, clients: u32, spans: u32, seed: u64) -> Vec<Request> {
        let mut random = Random::new(seed);
        let plan = Plan { limit: f64::from(window.limit), span: window.span.as_secs_f64(), spans };
        let mut requests = match self {
            Self::Zipf => plan.crowd(clients, &mut random),
            _ => (0..clients).flat_map(|client| plan.client(self, client, &mut random)).collect(),
        };
        requests.sort_by_key(|request| request.at);
        if self == Self::ClockSteps {
            set_clock(&mut requests, plan.span, &mut random);
        }
        requests
    }
}

/// Limit, length and number of the windows that the traffic is made for, in units and seconds.
#[derive(Clone, Copy)]
struct Plan {
    limit: f64,
    span: f64,
    spans: u32,
}

impl Plan {
    fn end(self) -> f64 {
        self.span * f64::from(self.spans)
    }

    fn client(self, shape: Shape, client: u32, random: &mut Random) -> Vec<Request> {
        let often = match shape {
            Shape::Attacker => 5.0,
            Shape::Bursty => return self.bursts(client, random),
            Shape::NearLimit | Shape::Zipf | Shape::ClockSteps => 0.8 + 0.5 * random.unit(),
        };
        let mean = self.span / self.limit / often;
        let mut requests = Vec::new();
        let mut time = -mean * (1.0 - random.unit()).ln();
        while time < self.end() {
            requests.push(request(time, client));
            time -= mean * (1.0 - random.unit()).ln();
        }
        requests
    }

    /// Bursts within a hundredth of the window, with about one window between them.
    fn bursts(self, client: u32, random: &mut Random) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut time = self.span * random.unit();
        while time < self.end() {
            let size = (self.limit * (0.3 + 1.7 * random.unit())).ceil();
            let mut sent = 0.0;
            while sent < size {
                requests.push(request(time + self.span * 0.01 * random.unit(), client));
                sent += 1.0;
            }
            time += self.span * (0.1 + 1.2 * random.unit());
        }
        requests
    }

    /// As many requests as `clients` clients near their limits make.
    fn crowd(self, clients: u32, random: &mut Random) -> Vec<Request> {
        let law = Zipf::new(CROWD as usize, EXPONENT);
        let mean = self.span / self.limit / f64::from(clients);
        let mut requests = Vec::new();
        let mut time = 0.0;
        while time < self.end() {
            let client = u32::try_from(law.draw(random)).unwrap_or(CROWD);
            requests.push(request(time, client));
            time -= mean * (1.0 - random.unit()).ln();
        }
        requests
    }
}

fn request(seconds: f64, client: u32) -> Request {
    Request { at: micros(seconds), client, cost: 1 }
}

/// Sets the clock forward or back by up to one and a half windows, about every two windows.
fn set_clock(requests: &mut [Request], span: f64, random: &mut Random) {
    let start = EPOCH.as_secs_f64();
    let (mut offset, mut next) = (0.0, 2.0 * span * random.unit());
    for request in requests {
        let time = seconds(request.at);
        if time >= next {
            offset += span * 1.5 * (2.0 * random.unit() - 1.0);
            next = time + 4.0 * span * random.unit();
        }
        request.at = micros(start + time + offset);
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times here are years at most")]
fn micros(seconds: f64) -> u64 {
    (seconds * MICROS) as u64
}

#[expect(clippy::cast_precision_loss, reason = "times here are far below 2^52 microseconds")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / MICROS
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const WINDOW: Window = Window { limit: 20, span: Duration::from_mins(1) };

    #[test]
    fn traffic_is_as_heavy_as_it_says() {
        let count = |shape: Shape| shape.requests(WINDOW, 60, 30, 1).len();
        let allowed = 20 * 60 * 30;
        assert!((allowed * 9 / 10..allowed * 12 / 10).contains(&count(Shape::NearLimit)));
        assert!((allowed * 48 / 10..allowed * 52 / 10).contains(&count(Shape::Attacker)));
        assert!((allowed * 9 / 10..allowed * 11 / 10).contains(&count(Shape::Zipf)));
        assert!(count(Shape::Bursty) > allowed);
    }

    #[test]
    fn only_a_clock_that_is_set_runs_backwards() {
        for shape in SHAPES {
            let requests = shape.requests(WINDOW, 10, 30, 2);
            let backwards = requests.windows(2).filter(|pair| pair[1].at < pair[0].at).count();
            assert_eq!(backwards > 0, shape == Shape::ClockSteps, "{}: {backwards}", shape.name());
        }
        let crowd: HashSet<u32> =
            Shape::Zipf.requests(WINDOW, 60, 30, 2).iter().map(|request| request.client).collect();
        assert!(crowd.len() > 3000 && crowd.iter().all(|client| *client < CROWD), "{}", crowd.len());
    }
}
