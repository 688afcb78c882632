//! Numbers and values as the protocol writes them (`doc/SPOE.txt`, section 3.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The bytes end before a value does, or are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Garbage;

/// A value with its type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Data<'a> {
    Null,
    Bool(bool),
    /// A number of any of the four types, as its 64 bits.
    Number(u64),
    Address(IpAddr),
    /// Text or any other bytes.
    Bytes(&'a [u8]),
}

/// Types of values.
const NULL: u8 = 0;
const BOOL: u8 = 1;
const INT32: u8 = 2;
const UINT32: u8 = 3;
const INT64: u8 = 4;
const UINT64: u8 = 5;
const IPV4: u8 = 6;
const IPV6: u8 = 7;
const STRING: u8 = 8;
const BINARY: u8 = 9;
/// Of a type that is [`BOOL`]: the value is true.
const TRUE: u8 = 0x10;
const TYPE_MASK: u8 = 0x0f;

/// Reads what a frame holds, from the left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes are left.
    pub(super) const fn left(&self) -> usize {
        self.0.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Garbage> {
        let (first, rest) = self.0.split_first().ok_or(Garbage)?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Garbage> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Garbage)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Garbage> {
        self.take(N)?.try_into().map_err(|_| Garbage)
    }

    /// A number below 2^64 in 1 to 10 bytes.
    pub(super) fn number(&mut self) -> Result<u64, Garbage> {
        let first = u64::from(self.byte()?);
        if first < 0xf0 {
            return Ok(first);
        }
        let (mut value, mut shift) = (first, 4);
        loop {
            let byte = u64::from(self.byte()?);
            // What does not fit into 64 bits is no number.
            let part = if shift < u64::BITS { byte << shift } else { return Err(Garbage) };
            if part >> shift != byte {
                return Err(Garbage);
            }
            value = value.checked_add(part).ok_or(Garbage)?;
            shift += 7;
            if byte < 0x80 {
                return Ok(value);
            }
        }
    }

    /// Bytes after their number.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Garbage> {
        let length = self.number()?;
        self.take(usize::try_from(length).map_err(|_| Garbage)?)
    }

    /// A value after its type.
    pub(super) fn data(&mut self) -> Result<Data<'a>, Garbage> {
        let kind = self.byte()?;
        Ok(match kind & TYPE_MASK {
            NULL => Data::Null,
            BOOL => Data::Bool(kind & TRUE != 0),
            INT32 | UINT32 | INT64 | UINT64 => Data::Number(self.number()?),
            IPV4 => Data::Address(Ipv4Addr::from(self.array::<4>()?).into()),
            IPV6 => Data::Address(Ipv6Addr::from(self.array::<16>()?).into()),
            STRING | BINARY => Data::Bytes(self.bytes()?),
            _ => return Err(Garbage),
        })
    }

    /// A value after its name.
    pub(super) fn named(&mut self) -> Result<(&'a [u8], Data<'a>), Garbage> {
        Ok((self.bytes()?, self.data()?))
    }
}

/// Writes a number.
pub(super) fn put_number(mut value: u64, out: &mut Vec<u8>) {
    let low = |value: u64| u8::try_from(value & 0xff).unwrap_or(0);
    if value < 0xf0 {
        out.push(low(value));
        return;
    }
    out.push(low(value) | 0xf0);
    value = (value - 0xf0) >> 4;
    while value >= 0x80 {
        out.push(low(value) | 0x80);
        value = (value - 0x80) >> 7;
    }
    out.push(low(value));
}

/// Writes bytes after their number.
pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Writes a text after its type.
pub(super) fn put_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(STRING);
    put_bytes(text, out);
}

/// Writes a number of 32 bits after its type.
pub(super) fn put_uint32(value: u32, out: &mut Vec<u8>) {
    out.push(UINT32);
    put_number(value.into(), out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(value, &mut out);
        out
    }

    /// The table of `doc/SPOE.txt`: the largest value of each length.
    #[test]
    fn numbers_have_the_lengths_of_the_document() {
        for (length, largest) in [(1, 239), (2, 2_287), (3, 264_431), (4, 33_818_863), (5, 4_328_786_159)] {
            assert_eq!(written(largest).len(), length, "{largest}");
            assert_eq!(written(largest + 1).len(), length + 1, "{largest}");
        }
        assert_eq!(written(240), [0xf0, 0]);
        assert_eq!(written(2_287), [0xff, 0x7f]);
        assert_eq!(written(2_288), [0xf0, 0x80, 0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for bytes in [&[0xff; 11][..], &[0xf0; 16], &[0xf0, 0x80], &[0xff], &[]] {
            assert_eq!(Reader::new(bytes).number(), Err(Garbage), "{bytes:?}");
        }
        // A length far beyond the bytes that are there.
        assert_eq!(Reader::new(&[0xff, 0x7f, 1]).bytes(), Err(Garbage));
        assert_eq!(Reader::new(&written(u64::MAX)).bytes(), Err(Garbage));
        for kind in 10..=15 {
            assert_eq!(Reader::new(&[kind, 0, 0, 0]).data(), Err(Garbage));
        }
        assert_eq!(Reader::new(&[IPV4, 1, 2, 3]).data(), Err(Garbage));
    }

    #[test]
    fn values_are_read_by_their_type() {
        for (bytes, data) in [
            (&[NULL][..], Data::Null),
            (&[BOOL], Data::Bool(false)),
            (&[BOOL | TRUE], Data::Bool(true)),
            (&[UINT32, 7], Data::Number(7)),
            (&[IPV4, 192, 0, 2, 1], Data::Address(IpAddr::from([192, 0, 2, 1]))),
            (&[STRING, 2, b'o', b'k'], Data::Bytes(b"ok")),
            (&[BINARY, 0], Data::Bytes(b"")),
        ] {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.data(), Ok(data));
            assert!(reader.is_empty());
        }
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(value in prop_oneof![any::<u64>(), 0..5_000_u64, any::<u32>().prop_map(u64::from)]) {
            let bytes = written(value);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.number(), Ok(value));
            prop_assert!(reader.is_empty());
            for cut in 0..bytes.len() {
                prop_assert_eq!(Reader::new(&bytes[..cut]).number(), Err(Garbage));
            }
        }

        #[test]
        fn garbage_ends_the_reading_and_nothing_else(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            let mut left = bytes.len();
            while reader.named().is_ok() {
                prop_assert!(reader.0.len() < left, "something is read each time");
                left = reader.0.len();
            }
        }
    }
}
