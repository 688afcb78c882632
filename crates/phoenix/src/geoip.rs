//! Where an address is, by an MMDB file that the operator provides.
//!
//! Owns the file and what is taken from its records. Does not own what follows from a place, nor the download of new
//! files: one is read at the start and stays in memory.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use maxminddb::{Reader, geoip2};
use phoenix_auth::model::{Coordinates, Place, Timestamp};
use phoenix_auth::ports::GeoLocator;

/// Largest file that is read, in bytes, since it is kept in memory. The largest that is sold has about 400 MB.
pub const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;

/// Radius in kilometres assumed for a point that comes without: not every publisher gives one.
pub const ASSUMED_ACCURACY_KM: f64 = 200.0;

/// Words in the type of a database that tells places, such as `GeoLite2-City` or `DBIP-Country-Lite`.
const TYPES_WITH_PLACES: [&str; 3] = ["City", "Country", "Enterprise"];

/// An open database of places.
pub struct GeoIp {
    reader: Reader<Vec<u8>>,
}

impl GeoIp {
    /// Reads the MMDB file at `path`, which must be of type City, Country or Enterprise. Blocks while it reads.
    ///
    /// # Errors
    /// When the file cannot be read, is longer than [`MAX_FILE_BYTES`], is damaged, or tells no places. Each names the
    /// file and what would do.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let unreadable = || format!("cannot read the GeoIP database {shown}");
        // A pipe would block when it is opened, hence the look before.
        let metadata = std::fs::metadata(path).with_context(unreadable)?;
        ensure!(metadata.is_file(), "the GeoIP database {shown} is not a file; name an MMDB file");
        ensure!(
            metadata.len() <= MAX_FILE_BYTES,
            "the GeoIP database {shown} has {} bytes; at most {MAX_FILE_BYTES} are read",
            metadata.len()
        );
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        let file = File::open(path).with_context(unreadable)?;
        // The limit holds for a file that grows meanwhile, too; cut short, it lacks its end and is refused as damaged.
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).with_context(unreadable)?;
        Self::from_bytes(bytes, path)
    }

    fn from_bytes(bytes: Vec<u8>, path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let reader = Reader::from_source(bytes).with_context(|| {
            format!("the GeoIP database {shown} is no MMDB file or is damaged; download it again")
        })?;
        let kind = &reader.metadata().database_type;
        if !TYPES_WITH_PLACES.iter().any(|word| kind.contains(word)) {
            bail!(
                "the GeoIP database {shown} is of type {kind:?}, which tells no places; use one of type City or Country, \
                 such as GeoLite2-City.mmdb"
            );
        }
        Ok(Self { reader })
    }

    /// Where `address` is. `None` when it is not public, not in the database, or its record is damaged. Some
    /// microseconds, no I/O.
    #[must_use]
    pub fn look_up(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        if !is_public(address) {
            return None;
        }
        let record: geoip2::City<'_> = self.reader.lookup(address).ok()?.decode().ok()??;
        let location = &record.location;
        let accuracy_km = location.accuracy_radius.map_or(ASSUMED_ACCURACY_KM, f64::from);
        let coordinates = location
            .latitude
            .zip(location.longitude)
            .and_then(|(latitude, longitude)| Coordinates::new(latitude, longitude, accuracy_km));
        let country = record.country.iso_code.and_then(|code| code.parse().ok());
        (country.is_some() || coordinates.is_some()).then_some(Place { country, coordinates })
    }

    /// The type the file says it has, such as `GeoLite2-City`.
    #[must_use]
    pub fn database_type(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// When the file was made, by its own word. Addresses move: one that is months old is often wrong.
    #[must_use]
    pub fn built_at(&self) -> Timestamp {
        let seconds = i64::try_from(self.reader.metadata().build_epoch).unwrap_or(i64::MAX);
        Timestamp::from_millis(seconds.saturating_mul(1_000))
    }
}

impl fmt::Debug for GeoIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GeoIp({}, {})", self.database_type(), self.built_at())
    }
}

/// Whether an address can be somewhere: it is neither of this machine nor of a private network, nor shared by a
/// provider's customers (RFC 6598), nor of a group.
fn is_public(address: IpAddr) -> bool {
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        return false;
    }
    match address {
        IpAddr::V4(address) => {
            let shared = address.to_bits() >> 22 == Ipv4Addr::new(100, 64, 0, 0).to_bits() >> 22;
            !(address.is_private() || address.is_link_local() || address.is_broadcast() || shared)
        }
        IpAddr::V6(address) => !(address.is_unique_local() || address.is_unicast_link_local()),
    }
}

impl GeoLocator for GeoIp {
    fn locate(&self, ip: IpAddr) -> Option<Place> {
        self.look_up(ip)
    }
}

#[cfg(test)]
mod tests {
    use phoenix_testkit::mmdb::{Mmdb, Value};

    use super::*;

    fn world() -> Mmdb {
        Mmdb::new("GeoLite2-City")
            .network("203.0.113.0", 24, Value::city("DE", 52.52, 13.405, 20))
            .network("198.51.100.128", 25, Value::city("au", -33.8688, 151.2093, 50))
            .network("2001:db8:1::", 48, Value::city("FR", 48.8566, 2.3522, 10))
            .network("10.0.0.0", 8, Value::city("US", 0.0, 0.0, 1))
    }

    fn read(database: &Mmdb) -> GeoIp {
        GeoIp::from_bytes(database.encode(), Path::new("/data/places.mmdb")).expect("reads")
    }

    fn look_up(database: &GeoIp, address: &str) -> Option<Place> {
        database.look_up(address.parse().expect("an address"))
    }

    fn refusal(result: anyhow::Result<GeoIp>) -> String {
        format!("{:#}", result.expect_err("refused"))
    }

    // spec: A5
    #[test]
    fn finds_places_whatever_the_layout_of_the_tree() {
        for record_size in [24, 28, 32] {
            let database = read(&Mmdb { record_size, ..world() });
            let berlin = look_up(&database, "203.0.113.77").expect("known");
            assert_eq!(berlin.country.map(|country| country.to_string()), Some("DE".to_owned()));
            assert_eq!(berlin.coordinates, Coordinates::new(52.52, 13.405, 20.0));
            assert_eq!(look_up(&database, "::ffff:203.0.113.1"), Some(berlin));
            let sydney = look_up(&database, "198.51.100.200").expect("known");
            assert_eq!(sydney.coordinates, Coordinates::new(-33.8688, 151.2093, 50.0));
            assert!(berlin.is_in_another_country_than(&sydney));
            assert_eq!(look_up(&database, "198.51.100.1"), None);
            let paris = look_up(&database, "2001:db8:1:2::3").expect("known");
            assert_eq!(paris.country.map(|country| country.to_string()), Some("FR".to_owned()));
            assert_eq!(look_up(&database, "2001:db8:2::1"), None);
        }
        let database = read(&world());
        assert_eq!(format!("{database:?}"), "GeoIp(GeoLite2-City, 2026-11-01T00:00:00.000Z)");
    }

    #[test]
    fn a_database_of_ipv4_only_knows_no_ipv6() {
        let germany = Value::country("DE");
        let database =
            read(&Mmdb { ip_version: 4, ..Mmdb::new("GeoIP2-Country") }.network("203.0.113.0", 24, germany));
        assert!(look_up(&database, "203.0.113.1").is_some());
        assert!(look_up(&database, "::ffff:203.0.113.1").is_some());
        assert_eq!(look_up(&database, "2001:db8:1::1"), None);
    }

    #[test]
    fn a_database_of_countries_has_no_points() {
        let database = read(&Mmdb::new("DBIP-Country-Lite").network("203.0.113.0", 24, Value::country("DE")));
        let place = look_up(&database, "203.0.113.1").expect("known");
        assert_eq!((place.country, place.coordinates), ("DE".parse().ok(), None));
    }

    #[test]
    fn addresses_that_are_nowhere_are_not_looked_up() {
        let everything = Value::country("DE");
        let database = read(
            &Mmdb::new("GeoIP2-Country")
                .network("::", 1, everything.clone())
                .network("8000::", 1, everything),
        );
        for public in ["203.0.113.1", "100.63.255.255", "100.128.0.0", "172.32.0.0", "2001:db8::1"] {
            assert!(look_up(&database, public).is_some(), "{public}");
        }
        for nowhere in [
            "0.0.0.0",
            "10.1.2.3",
            "127.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.1.1",
            "172.16.0.1",
            "192.168.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
        ] {
            assert_eq!(look_up(&database, nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn a_record_counts_as_far_as_it_makes_sense() {
        let point = |latitude| {
            let location = [("latitude", Value::Double(latitude)), ("longitude", Value::Double(13.0))];
            ("location", Value::map(location))
        };
        let country = |code| ("country", Value::map([("iso_code", Value::text(code))]));
        let database = read(
            &Mmdb::new("DBIP-City-Lite")
                .network("203.0.0.0", 24, Value::map([country("DE"), point(52.0)]))
                .network("203.0.1.0", 24, Value::map([country("DE"), point(91.0)]))
                .network("203.0.2.0", 24, Value::map([country("Germany"), point(f64::NAN)]))
                .network("203.0.3.0", 24, Value::map([country("DE"), ("location", Value::text("here"))]))
                .network("203.0.4.0", 24, Value::text("Germany"))
                .network("203.0.5.0", 24, Value::map([])),
        );
        let without_radius = look_up(&database, "203.0.0.1").and_then(|place| place.coordinates);
        assert_eq!(without_radius, Coordinates::new(52.0, 13.0, ASSUMED_ACCURACY_KM));
        let off_the_earth = look_up(&database, "203.0.1.1").expect("the country is known");
        assert_eq!((off_the_earth.country, off_the_earth.coordinates), ("DE".parse().ok(), None));
        for useless in ["203.0.2.1", "203.0.3.1", "203.0.4.1", "203.0.5.1"] {
            assert_eq!(look_up(&database, useless), None, "{useless}");
        }
    }

    #[test]
    fn other_databases_are_refused_by_name() {
        for kind in ["GeoLite2-ASN", "GeoIP2-Anonymous-IP", "ipinfo country.mmdb", ""] {
            let file = Mmdb::new(kind).network("203.0.113.0", 24, Value::country("DE")).encode();
            let said = refusal(GeoIp::from_bytes(file, Path::new("/data/asn.mmdb")));
            for part in ["/data/asn.mmdb", kind, "City or Country"] {
                assert!(said.contains(part), "{said}");
            }
        }
    }

    #[test]
    fn what_is_no_file_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("places.mmdb");
        assert!(refusal(GeoIp::open(&path)).contains("cannot read the GeoIP database"));
        assert!(refusal(GeoIp::open(folder.path())).contains("is not a file"));
        std::fs::write(&path, world().encode()).expect("written");
        assert!(GeoIp::open(&path).is_ok_and(|database| look_up(&database, "203.0.113.1").is_some()));
        for bytes in [&b""[..], b"no database", b"\xab\xcd\xefMaxMind.com", &[0; 4096]] {
            std::fs::write(&path, bytes).expect("written");
            let said = refusal(GeoIp::open(&path));
            assert!(said.contains("places.mmdb is no MMDB file or is damaged"), "{said}");
        }
        let sparse = File::create(&path).expect("made");
        sparse.set_len(MAX_FILE_BYTES + 1).expect("grown");
        assert!(refusal(GeoIp::open(&path)).contains("at most 536870912 are read"));
    }

    /// Every address of the world above, whatever became of the file: an answer or none, never a panic.
    fn ask_everything(database: &GeoIp) {
        for address in ["203.0.113.77", "198.51.100.200", "8.8.8.8", "2001:db8:1::1", "ffff::1", "2002::"] {
            if let Some(coordinates) = look_up(database, address).and_then(|place| place.coordinates) {
                assert!((-90.0..=90.0).contains(&coordinates.latitude()));
            }
        }
        assert!(!format!("{database:?}").is_empty());
    }

    #[test]
    fn a_file_cut_short_is_refused() {
        let whole = world().encode();
        for length in 0..whole.len() {
            let cut = whole.get(..length).expect("shorter").to_vec();
            assert!(GeoIp::from_bytes(cut, Path::new("cut")).is_err(), "{length} of {}", whole.len());
        }
    }

    #[test]
    fn a_file_with_any_byte_damaged_never_panics() {
        let path = Path::new("damaged");
        for record_size in [24, 32] {
            let whole = Mmdb { record_size, ..world() }.encode();
            for at in 0..whole.len() {
                for damage in [0x01, 0x20, 0x80, 0xff] {
                    let mut bytes = whole.clone();
                    bytes[at] ^= damage;
                    if let Ok(database) = GeoIp::from_bytes(bytes, path) {
                        ask_everything(&database);
                    }
                }
            }
        }
    }

    #[test]
    fn a_file_with_many_bytes_damaged_never_panics() {
        let whole = world().encode();
        // xorshift64: as good as chance here, and the same in every run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % bound as u64).expect("below the bound")
        };
        for _ in 0..4_000 {
            let mut bytes = whole.clone();
            for _ in 0..=next(24) {
                let at = next(bytes.len());
                bytes[at] = u8::try_from(next(256)).expect("a byte");
            }
            if let Ok(database) = GeoIp::from_bytes(bytes, Path::new("damaged")) {
                ask_everything(&database);
            }
        }
    }
}
