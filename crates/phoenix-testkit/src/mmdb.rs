//! Writes small MMDB files (version 2.0 of the format), since real ones may not be shipped with the source.
//!
//! Covers what the reader must understand: all three record sizes, both versions of IP, the value types that records
//! about places use. Networks must not overlap.

use std::net::IpAddr;

/// Zero bytes between the tree and the values.
const SEPARATOR: usize = 16;
const METADATA_MARK: &[u8] = b"\xab\xcd\xefMaxMind.com";
/// 2026-11-01T00:00:00Z.
const BUILD_EPOCH: u64 = 1_793_491_200;

/// A value of a record.
#[derive(Clone, Debug)]
pub enum Value {
    /// UTF-8.
    Text(String),
    /// 64-bit floating point.
    Double(f64),
    /// 16 bits, unsigned.
    Uint16(u16),
    /// 32 bits, unsigned.
    Uint32(u32),
    /// 64 bits, unsigned.
    Uint64(u64),
    /// Names and values.
    Map(Vec<(String, Value)>),
    /// Values.
    List(Vec<Value>),
}

impl Value {
    /// A map.
    #[must_use]
    pub fn map<const N: usize>(entries: [(&str, Self); N]) -> Self {
        Self::Map(entries.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// Text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// A record as a country database has it.
    #[must_use]
    pub fn country(code: &str) -> Self {
        Self::map([("country", Self::map([("iso_code", Self::text(code))]))])
    }

    /// A record as a city database has it: degrees, and kilometres of accuracy.
    #[must_use]
    pub fn city(code: &str, latitude: f64, longitude: f64, accuracy_km: u16) -> Self {
        let location = Self::map([
            ("accuracy_radius", Self::Uint16(accuracy_km)),
            ("latitude", Self::Double(latitude)),
            ("longitude", Self::Double(longitude)),
            ("time_zone", Self::text("Etc/UTC")),
        ]);
        let names =
            Self::map([("names", Self::map([("en", Self::text("A city with a name of many letters"))]))]);
        Self::map([
            ("city", names),
            ("country", Self::map([("iso_code", Self::text(code))])),
            ("location", location),
            ("subdivisions", Self::List(vec![Self::map([("iso_code", Self::text("X"))])])),
        ])
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => {
                control(out, 2, text.len());
                out.extend_from_slice(text.as_bytes());
            }
            Self::Double(number) => {
                control(out, 3, 8);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Uint16(number) => unsigned(out, 5, u64::from(*number)),
            Self::Uint32(number) => unsigned(out, 6, u64::from(*number)),
            Self::Uint64(number) => unsigned(out, 9, *number),
            Self::Map(entries) => {
                control(out, 7, entries.len());
                for (name, value) in entries {
                    Self::text(name).write(out);
                    value.write(out);
                }
            }
            Self::List(values) => {
                control(out, 11, values.len());
                for value in values {
                    value.write(out);
                }
            }
        }
    }
}

/// The byte that begins a value, and the ones that extend its type and its length.
fn control(out: &mut Vec<u8>, kind: u8, length: usize) {
    let (short, extra): (u8, Option<u8>) = match u8::try_from(length) {
        Ok(length @ 0..29) => (length, None),
        _ => (29, Some(u8::try_from(length - 29).expect("values of tests are shorter than 285"))),
    };
    match kind {
        0..=7 => out.push(kind << 5 | short),
        _ => out.extend_from_slice(&[short, kind - 7]),
    }
    out.extend(extra);
}

/// Big-endian without leading zeros.
fn unsigned(out: &mut Vec<u8>, kind: u8, number: u64) {
    let zeros = number.leading_zeros() as usize / 8;
    control(out, kind, 8 - zeros);
    out.extend(number.to_be_bytes().iter().skip(zeros));
}

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Mmdb {
    /// Such as `GeoLite2-City`.
    pub database_type: String,
    /// 4 or 6. In the latter the networks of IPv4 lie below `::/96`.
    pub ip_version: u16,
    /// Bits of a pointer in the tree: 24, 28 or 32.
    pub record_size: u16,
    /// Networks by first address and length of the prefix, and their records.
    pub networks: Vec<(IpAddr, u8, Value)>,
}

#[derive(Clone, Copy)]
enum Child {
    Nothing,
    Node(usize),
    /// Offset among the values.
    Value(usize),
}

impl Mmdb {
    /// An empty database for both versions of IP, with pointers of 28 bits, as city databases mostly have.
    #[must_use]
    pub fn new(database_type: &str) -> Self {
        Self { database_type: database_type.to_owned(), ip_version: 6, record_size: 28, networks: Vec::new() }
    }

    /// Adds a network, such as `192.0.2.0` and 24.
    #[must_use]
    pub fn network(mut self, first: &str, prefix: u8, record: Value) -> Self {
        self.networks.push((first.parse().expect("an address"), prefix, record));
        self
    }

    /// The file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut values = Vec::new();
        let mut nodes = vec![[Child::Nothing; 2]];
        for (first, prefix, record) in &self.networks {
            let value = Child::Value(values.len());
            record.write(&mut values);
            insert(&mut nodes, &self.bits(*first, *prefix), value);
        }
        let mut out = Vec::new();
        let count = nodes.len();
        for node in &nodes {
            let [left, right] = node.map(|child| match child {
                Child::Nothing => count,
                Child::Node(index) => index,
                Child::Value(offset) => count + SEPARATOR + offset,
            });
            self.write_node(&mut out, left, right);
        }
        out.extend_from_slice(&[0; SEPARATOR]);
        out.append(&mut values);
        out.extend_from_slice(METADATA_MARK);
        self.metadata(count).write(&mut out);
        out
    }

    /// The way through the tree, first bit first.
    fn bits(&self, first: IpAddr, prefix: u8) -> Vec<bool> {
        let (number, width, skipped) = match (first, self.ip_version) {
            (IpAddr::V4(address), 4) => (u128::from(address.to_bits()), 32, 0),
            (IpAddr::V4(address), _) => (u128::from(address.to_bits()), 128, 96),
            (IpAddr::V6(address), _) => (address.to_bits(), 128, 0),
        };
        (0..u32::from(prefix) + skipped).map(|bit| number >> (width - 1 - bit) & 1 == 1).collect()
    }

    fn write_node(&self, out: &mut Vec<u8>, left: usize, right: usize) {
        let [left, right] =
            [left, right].map(|child| u32::try_from(child).expect("a small file").to_be_bytes());
        match self.record_size {
            24 => {
                out.extend_from_slice(&left[1..]);
                out.extend_from_slice(&right[1..]);
            }
            28 => {
                out.extend_from_slice(&left[1..]);
                out.push(left[0] << 4 | right[0] & 0xf);
                out.extend_from_slice(&right[1..]);
            }
            _ => {
                out.extend_from_slice(&left);
                out.extend_from_slice(&right);
            }
        }
    }

    fn metadata(&self, nodes: usize) -> Value {
        Value::map([
            ("binary_format_major_version", Value::Uint16(2)),
            ("binary_format_minor_version", Value::Uint16(0)),
            ("build_epoch", Value::Uint64(BUILD_EPOCH)),
            ("database_type", Value::text(&self.database_type)),
            ("description", Value::map([("en", Value::text("For tests"))])),
            ("ip_version", Value::Uint16(self.ip_version)),
            ("languages", Value::List(vec![Value::text("en")])),
            ("node_count", Value::Uint32(u32::try_from(nodes).expect("a small file"))),
            ("record_size", Value::Uint16(self.record_size)),
        ])
    }
}

fn insert(nodes: &mut Vec<[Child; 2]>, bits: &[bool], value: Child) {
    let (last, way) = bits.split_last().expect("a network has a prefix");
    let mut at = 0;
    for bit in way {
        at = match nodes[at][usize::from(*bit)] {
            Child::Node(next) => next,
            Child::Value(_) => panic!("networks overlap"),
            Child::Nothing => {
                nodes.push([Child::Nothing; 2]);
                let next = nodes.len() - 1;
                nodes[at][usize::from(*bit)] = Child::Node(next);
                next
            }
        };
    }
    let slot = &mut nodes[at][usize::from(*last)];
    assert!(matches!(slot, Child::Nothing), "networks overlap");
    *slot = value;
}
