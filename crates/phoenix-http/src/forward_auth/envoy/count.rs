//! How many header fields a message holds, counted before anything is made of them: two bytes of a message can become
//! a field of a hundred.
//!
//! Reads the encoding of protobuf (<https://protobuf.dev/programming-guides/encoding/>) only as far as that needs.

use prost::decode_length_delimiter;

/// Numbers of the fields that lead to the entries of `headers`: `attributes`, `request`, `http`.
const JOINED: [usize; 4] = [1, 4, 2, 3];
/// The same to those of `header_map`.
const RAW: [usize; 5] = [1, 4, 2, 13, 1];

/// What follows the number of a field.
const VARINT: usize = 0;
const EIGHT_BYTES: usize = 1;
const LENGTH_AND_BYTES: usize = 2;
const FOUR_BYTES: usize = 5;

/// How many header fields a `CheckRequest` holds, whatever they are. `None` when it is no message.
pub(super) fn header_fields(message: &[u8]) -> Option<usize> {
    Some(occurrences(message, &JOINED)? + occurrences(message, &RAW)?)
}

/// How often the last field of the path occurs. Goes as deep as the path is long.
fn occurrences(mut message: &[u8], path: &[usize]) -> Option<usize> {
    let (wanted, below) = path.split_first()?;
    let mut count = 0;
    while !message.is_empty() {
        let key = decode_length_delimiter(&mut message).ok()?;
        let length = match key & 7 {
            VARINT => {
                decode_length_delimiter(&mut message).ok()?;
                0
            }
            EIGHT_BYTES => 8,
            FOUR_BYTES => 4,
            LENGTH_AND_BYTES => decode_length_delimiter(&mut message).ok()?,
            _ => return None,
        };
        let (content, rest) = message.split_at_checked(length)?;
        message = rest;
        if key >> 3 == *wanted && key & 7 == LENGTH_AND_BYTES {
            count += if below.is_empty() { 1 } else { occurrences(content, below)? };
        }
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::super::messages::{
        AskedRequest, AttributeContext, CheckRequest, HeaderValue, HttpRequest, RawHeaders,
    };
    use super::*;

    /// A message with entries in both places, and other fields beside them.
    fn message(joined: usize, raw: usize) -> Vec<u8> {
        let http = HttpRequest {
            method: "GET".into(),
            headers: (0..joined).map(|at| (format!("x-{at}"), vec![b'a'; at % 200])).collect(),
            path: "/".into(),
            header_map: Some(RawHeaders { headers: vec![HeaderValue::default(); raw] }),
            ..HttpRequest::default()
        };
        let request = Some(AskedRequest { http: Some(http) });
        CheckRequest { attributes: Some(AttributeContext { source: None, request }) }.encode_to_vec()
    }

    #[test]
    fn fields_that_are_nothing_but_their_number_are_counted() {
        let field = |number: u8, content: &[u8]| {
            [&[number << 3 | 2][..], &number_of(content.len()), content].concat()
        };
        let map = field(13, &b"\x0a\x00".repeat(60_000));
        let whole = field(1, &field(4, &field(2, &map)));
        assert_eq!(header_fields(&whole), Some(60_000));
        assert_eq!(header_fields(&[&whole[..], &whole].concat()), Some(120_000), "parts of a message add up");
    }

    fn number_of(mut length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while length >= 0x80 {
            out.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
            length >>= 7;
        }
        out.push(u8::try_from(length).expect("seven bits"));
        out
    }

    proptest! {
        #[test]
        fn all_fields_are_counted(joined in 0..300_usize, raw in 0..300_usize) {
            prop_assert_eq!(header_fields(&message(joined, raw)), Some(joined + raw));
        }

        /// Whatever can be decoded has at most as many fields as were counted.
        #[test]
        fn nothing_is_decoded_uncounted(
            mut bytes in (0..4_usize, 0..4_usize).prop_map(|(joined, raw)| message(joined, raw)),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            for (at, byte) in changes {
                if let Some(place) = bytes.get_mut(at.index(64)) {
                    *place = byte;
                }
            }
            let count = header_fields(&bytes);
            if let (Some(count), Ok(decoded)) = (count, CheckRequest::decode(&bytes[..])) {
                let decoded = decoded.http().map_or(0, |http| {
                    http.headers.len() + http.header_map.as_ref().map_or(0, |map| map.headers.len())
                });
                prop_assert!(decoded <= count, "{decoded} of {count}");
            }
        }
    }
}
