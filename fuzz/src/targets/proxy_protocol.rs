//! The PROXY protocol, versions 1 and 2, as the first bytes of a connection.
//!
//! What is read from the beginning of a connection does not change with what follows; more bytes are only asked for
//! within the bound that the reader has room for; and a header is never longer than its version allows.

use phoenix::listener::{Parsed, parse_proxy_header as parse};

/// Room of the reader: it asks for no byte beyond, so a beginning of this length must be decided.
const ROOM_BYTES: usize = 107;
const MAX_BYTES: usize = 4096;

/// The first bytes of a connection.
pub(crate) fn run(data: &[u8]) {
    let whole = parse(data);
    match whole {
        Parsed::Header(_, length) => {
            let is_text = data.starts_with(b"PROXY");
            assert!(length <= if is_text { ROOM_BYTES } else { MAX_BYTES });
            assert!(!is_text || length <= data.len(), "a line is read whole");
            assert_eq!(parse(&[data, b"GET / HTTP/1.1\r\n"].concat()), whole);
        }
        Parsed::Incomplete => assert!(data.len() < ROOM_BYTES),
        Parsed::Garbage => assert_eq!(parse(&[data, b"\r\n"].concat()), Parsed::Garbage),
    }
    for cut in 1..data.len().min(2 * ROOM_BYTES) {
        let part = parse(&data[..cut]);
        assert!(part == whole || part == Parsed::Incomplete || part_is_garbage(part, whole), "{cut}");
    }
}

/// A beginning that is garbage is so whatever follows.
fn part_is_garbage(part: Parsed, whole: Parsed) -> bool {
    part == Parsed::Garbage && whole == Parsed::Garbage
}
