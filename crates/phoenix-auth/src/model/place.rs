//! Where an address is: its network, its country, and whether somebody can have travelled from one place to another.
//!
//! Pure arithmetic. Owns no database of addresses; the binary looks places up and hands them in. Decides nothing about
//! a session: what follows from a finding is policy.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Mean radius of the earth in kilometres (IUGG).
const EARTH_RADIUS_KM: f64 = 6_371.008_8;

/// No traveller is faster than this, in kilometres an hour: an airliner with a strong tailwind.
pub const FASTEST_TRAVEL_KM_H: f64 = 1_000.0;

/// Below this many certain kilometres nothing is called impossible: address databases are wrong by as much, and a
/// mobile network may bring a phone to the internet in another city.
pub const SHORTEST_TRAVEL_KM: f64 = 300.0;

/// The network an address belongs to: an IPv4 /24 or an IPv6 /48, which one household, office or cell usually shares.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Network {
    /// The first 24 bits of an IPv4 address.
    V4([u8; 3]),
    /// The first 48 bits of an IPv6 address.
    V6([u16; 3]),
}

impl Network {
    /// The network of `address`. An IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2) counts as IPv4.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                Self::V6([a, b, c])
            }
        }
    }
}

impl fmt::Display for Network {
    /// `192.0.2.0/24` or `2001:db8:1::/48`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4([a, b, c]) => write!(f, "{a}.{b}.{c}.0/24"),
            Self::V6([a, b, c]) => {
                write!(f, "{}/48", std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
            }
        }
    }
}

/// Whether two addresses lie in one [`Network`].
#[must_use]
pub fn same_network(one: IpAddr, other: IpAddr) -> bool {
    Network::of(one) == Network::of(other)
}

/// A country by its two-letter code (ISO 3166-1 alpha-2), upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Country([u8; 2]);

/// Not a two-letter country code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a country is two letters, such as DE (ISO 3166-1 alpha-2)")]
pub struct CountryError;

impl Country {
    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The code's two ASCII letters.
    #[must_use]
    pub const fn as_bytes(self) -> [u8; 2] {
        self.0
    }
}

impl FromStr for Country {
    type Err = CountryError;

    /// From a code in either case. Which codes are given to a country is not checked.
    fn from_str(text: &str) -> Result<Self, CountryError> {
        match *text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err(CountryError),
        }
    }
}

impl TryFrom<String> for Country {
    type Error = CountryError;

    fn try_from(text: String) -> Result<Self, CountryError> {
        text.parse()
    }
}

impl From<Country> for String {
    fn from(country: Country) -> Self {
        country.as_str().to_owned()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Country({self})")
    }
}

/// A point on the earth and how far off it may be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Coordinates {
    latitude: f64,
    longitude: f64,
    accuracy_km: f64,
}

impl Coordinates {
    /// A point by degrees of latitude (-90 to 90) and longitude (-180 to 180), true to within `accuracy_km`.
    /// `None` when one of them is out of range or not a number.
    #[must_use]
    pub fn new(latitude: f64, longitude: f64, accuracy_km: f64) -> Option<Self> {
        let valid = (-90.0..=90.0).contains(&latitude)
            && (-180.0..=180.0).contains(&longitude)
            && accuracy_km.is_finite()
            && accuracy_km >= 0.0;
        valid.then_some(Self { latitude, longitude, accuracy_km })
    }

    /// Degrees north of the equator.
    #[must_use]
    pub const fn latitude(self) -> f64 {
        self.latitude
    }

    /// Degrees east of Greenwich.
    #[must_use]
    pub const fn longitude(self) -> f64 {
        self.longitude
    }

    /// Radius in kilometres of the circle in which the true place probably lies.
    #[must_use]
    pub const fn accuracy_km(self) -> f64 {
        self.accuracy_km
    }

    /// Length in kilometres of the shortest way over the earth's surface (haversine formula; the earth taken as a
    /// sphere, which is wrong by 0.5 % at most).
    #[must_use]
    pub fn distance_km(self, other: Self) -> f64 {
        let (north_a, north_b) = (self.latitude.to_radians(), other.latitude.to_radians());
        let half_north = (north_b - north_a) / 2.0;
        let half_east = (other.longitude - self.longitude).to_radians() / 2.0;
        let chord = half_north.sin().powi(2) + north_a.cos() * north_b.cos() * half_east.sin().powi(2);
        2.0 * EARTH_RADIUS_KM * chord.clamp(0.0, 1.0).sqrt().asin()
    }
}

/// What is known about where an address is.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Place {
    /// The country, where known.
    pub country: Option<Country>,
    /// The point, where known: a database of countries has none.
    pub coordinates: Option<Coordinates>,
}

impl Place {
    /// Kilometres between two places, `None` when the point of one is not known.
    #[must_use]
    pub fn distance_km(&self, other: &Self) -> Option<f64> {
        Some(self.coordinates?.distance_km(other.coordinates?))
    }

    /// Whether both countries are known and differ.
    #[must_use]
    pub fn is_in_another_country_than(&self, other: &Self) -> bool {
        matches!((self.country, other.country), (Some(one), Some(two)) if one != two)
    }
}

/// Whether nobody can have been at both places at the two times: even from edge to edge of the two circles of
/// accuracy the way is [`SHORTEST_TRAVEL_KM`] or longer and would need a speed above [`FASTEST_TRAVEL_KM_H`].
///
/// The order of the two does not matter, so a clock that stepped back does no harm. `false` when a point is not known.
#[must_use]
pub fn is_impossible_travel(from: (&Place, Timestamp), to: (&Place, Timestamp)) -> bool {
    let (Some(start), Some(end)) = (from.0.coordinates, to.0.coordinates) else { return false };
    let certain_km = start.distance_km(end) - start.accuracy_km - end.accuracy_km;
    let took = to.1.since(from.1).max(from.1.since(to.1));
    certain_km >= SHORTEST_TRAVEL_KM && certain_km > FASTEST_TRAVEL_KM_H * took.as_secs_f64() / 3_600.0
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const BERLIN: (f64, f64) = (52.52, 13.405);
    const PARIS: (f64, f64) = (48.8566, 2.3522);
    const SYDNEY: (f64, f64) = (-33.8688, 151.2093);
    const SUVA: (f64, f64) = (-18.1416, 178.4419);
    const APIA: (f64, f64) = (-13.8333, -171.7667);

    fn place((latitude, longitude): (f64, f64), accuracy_km: f64) -> Place {
        Place { country: None, coordinates: Some(at(latitude, longitude, accuracy_km)) }
    }

    fn at(latitude: f64, longitude: f64, accuracy_km: f64) -> Coordinates {
        Coordinates::new(latitude, longitude, accuracy_km).expect("on the earth")
    }

    fn impossible(from: Place, to: Place, took: Duration) -> bool {
        let start = Timestamp::from_millis(1_795_000_000_000);
        is_impossible_travel((&from, start), (&to, start.plus(took)))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    // spec: A5
    #[test]
    fn networks_are_24_bits_of_ipv4_and_48_of_ipv6() {
        assert!(same_network(address("192.0.2.1"), address("192.0.2.254")));
        assert!(!same_network(address("192.0.2.1"), address("192.0.3.1")));
        assert!(same_network(address("2001:db8:1::1"), address("2001:db8:1:ffff:2::9")));
        assert!(!same_network(address("2001:db8:1::1"), address("2001:db8:2::1")));
        assert!(same_network(address("::ffff:192.0.2.1"), address("192.0.2.9")));
        assert!(!same_network(address("::ffff:192.0.2.1"), address("::ffff:198.51.100.1")));
        assert!(!same_network(address("::"), address("0.0.0.0")));
        assert_eq!(Network::of(address("::ffff:192.0.2.1")).to_string(), "192.0.2.0/24");
        assert_eq!(Network::of(address("2001:db8:1:2::3")).to_string(), "2001:db8:1::/48");
    }

    #[test]
    fn a_country_is_two_letters() {
        assert_eq!("de".parse::<Country>().map(|country| country.to_string()), Ok("DE".to_owned()));
        for bad in ["", "D", "DEU", "D1", "é", "ß"] {
            assert_eq!(bad.parse::<Country>(), Err(CountryError), "{bad}");
        }
        let (germany, france) = ("DE".parse().ok(), "FR".parse().ok());
        let there = |country| Place { country, coordinates: None };
        assert!(there(germany).is_in_another_country_than(&there(france)));
        assert!(!there(germany).is_in_another_country_than(&there(germany)));
        assert!(!there(germany).is_in_another_country_than(&there(None)));
    }

    /// Known great-circle distances, to within 1 %.
    #[test]
    fn distances_of_real_cities() {
        let cases = [
            (BERLIN, PARIS, 878.0),
            (BERLIN, SYDNEY, 16_090.0),
            // Across the date line.
            (SUVA, APIA, 1_150.0),
            ((0.0, 0.0), (0.0, 180.0), 20_015.0),
            ((90.0, 0.0), (-90.0, 77.0), 20_015.0),
        ];
        for (from, to, km) in cases {
            let measured = place(from, 0.0).distance_km(&place(to, 0.0)).expect("both known");
            assert!((measured - km).abs() < km / 100.0, "{from:?} to {to:?}: {measured}");
        }
    }

    // spec: A5
    #[test]
    fn only_what_nobody_can_do_is_impossible() {
        let (berlin, paris, sydney) = (place(BERLIN, 20.0), place(PARIS, 20.0), place(SYDNEY, 50.0));
        assert!(impossible(berlin, sydney, Duration::from_hours(1)));
        assert!(!impossible(berlin, sydney, Duration::from_hours(24)));
        assert!(!impossible(berlin, paris, Duration::from_hours(2)));
        assert!(impossible(berlin, paris, Duration::from_mins(30)));
        assert!(!impossible(berlin, paris, Duration::from_hours(1)));
        // Berlin to Potsdam in no time: two cells of one network.
        assert!(!impossible(berlin, place((52.39, 13.06), 5.0), Duration::ZERO));
        // 878 km, but both may be wrong by 300 km.
        assert!(!impossible(place(BERLIN, 300.0), place(PARIS, 300.0), Duration::ZERO));
        assert!(!impossible(Place::default(), sydney, Duration::ZERO));
        assert!(!impossible(sydney, Place::default(), Duration::ZERO));
    }

    #[test]
    fn a_clock_that_stepped_back_changes_nothing() {
        let (berlin, sydney) = (place(BERLIN, 20.0), place(SYDNEY, 50.0));
        let (early, late) = (Timestamp::from_millis(0), Timestamp::from_millis(24 * 3_600_000));
        assert!(!is_impossible_travel((&berlin, late), (&sydney, early)));
        assert!(is_impossible_travel((&berlin, early), (&sydney, early)));
        let (first, last) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
        assert!(!is_impossible_travel((&berlin, last), (&sydney, first)));
    }

    #[test]
    fn points_off_the_earth_do_not_exist() {
        for (latitude, longitude, accuracy) in [
            (90.1, 0.0, 0.0),
            (0.0, -180.1, 0.0),
            (f64::NAN, 0.0, 0.0),
            (0.0, f64::INFINITY, 0.0),
            (0.0, 0.0, -1.0),
            (0.0, 0.0, f64::NAN),
        ] {
            assert_eq!(Coordinates::new(latitude, longitude, accuracy), None);
        }
    }

    fn anywhere() -> impl Strategy<Value = Coordinates> {
        (-90.0..=90.0, -180.0..=180.0, 0.0..=1_000.0)
            .prop_map(|(latitude, longitude, accuracy)| at(latitude, longitude, accuracy))
    }

    /// Angle between two unit vectors, as an independent model of the haversine formula.
    fn distance_by_vectors(one: Coordinates, other: Coordinates) -> f64 {
        let vector = |point: Coordinates| {
            let (north, east) = (point.latitude.to_radians(), point.longitude.to_radians());
            [north.cos() * east.cos(), north.cos() * east.sin(), north.sin()]
        };
        let (u, v) = (vector(one), vector(other));
        let cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
        let sine = cross.iter().map(|part| part * part).sum::<f64>().sqrt();
        EARTH_RADIUS_KM * sine.atan2(u[0] * v[0] + u[1] * v[1] + u[2] * v[2])
    }

    proptest! {
        #[test]
        fn distance_is_a_metric(a in anywhere(), b in anywhere(), c in anywhere()) {
            prop_assert!((a.distance_km(b) - b.distance_km(a)).abs() < 1e-6);
            prop_assert!(a.distance_km(a).abs() < 1e-6);
            prop_assert!((0.0..=20_016.0).contains(&a.distance_km(b)));
            prop_assert!(a.distance_km(c) <= a.distance_km(b) + b.distance_km(c) + 1e-3);
            prop_assert!((a.distance_km(b) - distance_by_vectors(a, b)).abs() < 1e-3);
        }

        #[test]
        fn travel_is_symmetric_and_staying_is_possible(
            a in anywhere(), b in anywhere(), first in any::<i64>(), second in any::<i64>(),
        ) {
            let place = |coordinates| Place { country: None, coordinates: Some(coordinates) };
            let (here, there) = (place(a), place(b));
            let (first, second) = (Timestamp::from_millis(first), Timestamp::from_millis(second));
            prop_assert_eq!(
                is_impossible_travel((&here, first), (&there, second)),
                is_impossible_travel((&there, second), (&here, first))
            );
            prop_assert!(!is_impossible_travel((&here, first), (&here, second)));
        }

        #[test]
        fn more_time_never_makes_travel_impossible(a in anywhere(), b in anywhere(), minutes in 0_u64..3_000) {
            let place = |coordinates| Place { country: None, coordinates: Some(coordinates) };
            let took = Duration::from_mins(minutes);
            if !impossible(place(a), place(b), took) {
                prop_assert!(!impossible(place(a), place(b), took + Duration::from_mins(1)));
            }
        }

        #[test]
        fn mapped_addresses_share_the_network_of_their_ipv4(bits in any::<u32>(), other in any::<u32>()) {
            let (one, two) = (Ipv4Addr::from(bits), Ipv4Addr::from(other));
            prop_assert!(same_network(one.into(), one.to_ipv6_mapped().into()));
            prop_assert_eq!(same_network(one.into(), two.into()), bits >> 8 == other >> 8);
        }

        #[test]
        fn ipv6_networks_are_the_first_48_bits(bits in any::<u128>(), flip in 0_u32..128) {
            let (one, two) = (Ipv6Addr::from(bits | 1 << 127), Ipv6Addr::from((bits | 1 << 127) ^ (1 << flip)));
            prop_assume!(flip != 127);
            prop_assert_eq!(same_network(one.into(), two.into()), flip < 80);
        }
    }
}
