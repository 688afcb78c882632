//! How the bytes of the engine become what a parser takes. Everything is read from the left, so that a seed can be
//! written by hand.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Takes a byte off.
pub(crate) fn byte(data: &mut &[u8]) -> u8 {
    let Some((first, rest)) = data.split_first() else { return 0 };
    *data = rest;
    *first
}

/// A header made of lines: the first letter of a line says which of the names it has (`a` the first, `b` the second),
/// and the rest is its value. Lines that cannot be a field are left out.
pub(crate) fn headers(data: &[u8], names: &[HeaderName]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((letter, value)) = line.split_first() else { continue };
        let name = names.get(usize::from(letter.wrapping_sub(b'a')) % names.len());
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name.clone(), value);
        }
    }
    headers
}

/// The bytes in pieces, of one byte each where `pattern` is 0, else of sizes that follow from it.
pub(crate) fn pieces(mut bytes: &[u8], pattern: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(pattern);
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let most = u32::from(pattern) + 1;
        let size = 1 + usize::try_from((state >> 8) % most).unwrap_or(0);
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}
