//! The PROXY protocol, versions 1 and 2: what a trusted proxy says at the beginning of a connection about whose it is
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).
//!
//! Does not own who may speak it (the accept loop) or what the address means (`phoenix-http`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use phoenix_http::Announced;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How version 1 begins.
const V1_MARK: &[u8] = b"PROXY ";
/// Longest line of version 1 in bytes, with its end.
const V1_MAX_BYTES: usize = 107;
/// How version 2 begins.
const V2_MARK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before the addresses.
const V2_HEAD_BYTES: usize = 16;
/// Most bytes of version 2 in all: addresses, and what else a proxy has to say, which is skipped.
const V2_MAX_BYTES: usize = 4096;
/// Bytes of version 2 up to the end of the addresses that are understood.
const V2_KNOWN_BYTES: usize = V2_HEAD_BYTES + 36;

/// What bytes from the beginning of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// A header of this many bytes.
    Header(Announced, usize),
    /// The beginning of one: all bytes so far belong to it.
    Incomplete,
    /// Something else.
    Garbage,
}

/// Takes the header off the stream, and nothing after it. `None` when there is none, or the peer left: the connection
/// is of no use then. Waits as long as the peer does; the caller bounds it.
///
/// # Errors
/// What the system says.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<Announced>> {
    let mut bytes = [0; V1_MAX_BYTES];
    let mut taken = 0;
    loop {
        let (_, free) = bytes.split_at_mut(taken);
        let seen = taken + stream.peek(free).await?;
        if seen == taken {
            return Ok(None);
        }
        let (so_far, _) = bytes.split_at(seen);
        match parse(so_far) {
            Parsed::Header(announced, length) => {
                return Ok(skip(stream, length - taken).await?.then_some(announced));
            }
            // They are there already, and part of the header: the next look waits for others.
            Parsed::Incomplete => {
                if !skip(stream, seen - taken).await? {
                    return Ok(None);
                }
                taken = seen;
            }
            Parsed::Garbage => return Ok(None),
        }
    }
}

/// Takes this many bytes off the stream; false when it ends before.
async fn skip(stream: &mut TcpStream, mut bytes: usize) -> io::Result<bool> {
    let mut sink = [0; 256];
    while bytes > 0 {
        let (part, _) = sink.split_at_mut(bytes.min(256));
        match stream.read(part).await? {
            0 => return Ok(false),
            read => bytes -= read,
        }
    }
    Ok(true)
}

/// Reads the header at the beginning of a connection, of which these bytes have come so far.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    if begins(bytes, V1_MARK) {
        parse_v1(bytes)
    } else if begins(bytes, V2_MARK) {
        parse_v2(bytes)
    } else {
        Parsed::Garbage
    }
}

/// Whether one of the two is the beginning of the other.
fn begins(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.iter().zip(mark).all(|(byte, marked)| byte == marked)
}

/// Version 1: one line of text.
fn parse_v1(bytes: &[u8]) -> Parsed {
    let line = bytes.get(..V1_MAX_BYTES).unwrap_or(bytes);
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < V1_MAX_BYTES { Parsed::Incomplete } else { Parsed::Garbage };
    };
    let text = line
        .get(..end)
        .and_then(|line| line.strip_suffix(b"\r"))
        .and_then(|line| std::str::from_utf8(line).ok());
    let announced = text.and_then(|line| line.strip_prefix("PROXY ")).and_then(addresses_of_line);
    announced.map_or(Parsed::Garbage, |announced| Parsed::Header(announced, end + 1))
}

/// `TCP4 192.0.2.1 192.0.2.2 4711 443`, or `UNKNOWN` and anything.
fn addresses_of_line(text: &str) -> Option<Announced> {
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Some(Announced::Nothing);
    }
    let mut words = text.split(' ');
    let [family, source, target, source_port, target_port] =
        std::array::from_fn(|_| words.next().unwrap_or_default());
    if words.next().is_some() || !is_port(source_port) || !is_port(target_port) {
        return None;
    }
    let source = match family {
        "TCP4" => (source.parse::<Ipv4Addr>().ok()?, target.parse::<Ipv4Addr>().ok()?).0.into(),
        "TCP6" => (source.parse::<Ipv6Addr>().ok()?, target.parse::<Ipv6Addr>().ok()?).0.into(),
        _ => return None,
    };
    Some(client(source))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Version 2: a mark, version and command, family and protocol, a length, addresses, and extensions.
fn parse_v2(bytes: &[u8]) -> Parsed {
    let Some(head) = bytes.first_chunk::<V2_HEAD_BYTES>() else { return Parsed::Incomplete };
    let [.., command, family, high, low] = *head;
    let length = V2_HEAD_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > V2_MAX_BYTES {
        return Parsed::Garbage;
    }
    if bytes.len() < length.min(V2_KNOWN_BYTES) {
        return Parsed::Incomplete;
    }
    let (_, rest) = bytes.split_at(V2_HEAD_BYTES);
    // Bytes after the header are not its addresses.
    let addresses = rest.get(..length - V2_HEAD_BYTES).unwrap_or(rest);
    addresses_of_block(command, family, addresses)
        .map_or(Parsed::Garbage, |announced| Parsed::Header(announced, length))
}

fn addresses_of_block(command: u8, family: u8, addresses: &[u8]) -> Option<Announced> {
    match (command, family) {
        (0x21, 0x11) => {
            let (source, _) = addresses.get(..12)?.split_first_chunk::<4>()?;
            Some(client(Ipv4Addr::from(*source).into()))
        }
        (0x21, 0x21) => {
            let (source, _) = addresses.get(..36)?.split_first_chunk::<16>()?;
            Some(client(Ipv6Addr::from(*source).into()))
        }
        // LOCAL: the proxy itself, to see whether we are alive. And connections without addresses that mean anything
        // here: unspecified, datagrams, Unix sockets.
        (0x20, _) | (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Some(Announced::Nothing),
        _ => None,
    }
}

/// Nobody has the address that stands for "no address": believed, it would be shared.
fn client(address: IpAddr) -> Announced {
    if address.to_canonical().is_unspecified() { Announced::Nothing } else { Announced::Client(address) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).expect("short");
        [V2_MARK, &[command, family], &length.to_be_bytes(), payload].concat()
    }

    fn written(version: u8, source: IpAddr, extensions: &[u8]) -> Vec<u8> {
        match (version, source) {
            (1, IpAddr::V4(source)) => format!("PROXY TCP4 {source} 192.0.2.2 1 65535\r\n").into_bytes(),
            (1, IpAddr::V6(source)) => format!("PROXY TCP6 {source} 2001:db8::2 0 443\r\n").into_bytes(),
            (_, IpAddr::V4(source)) => {
                v2(0x21, 0x11, &[&source.octets()[..], &[192, 0, 2, 2, 0, 1, 1, 187], extensions].concat())
            }
            (_, IpAddr::V6(source)) => {
                v2(0x21, 0x21, &[&source.octets()[..], &[1; 16], &[0, 1, 1, 187], extensions].concat())
            }
        }
    }

    #[test]
    fn connections_of_nobody_in_particular_announce_nothing() {
        for header in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(),
            b"PROXY TCP4 0.0.0.0 192.0.2.1 1 1\r\n".to_vec(),
            v2(0x20, 0x00, b""),
            v2(0x20, 0x11, &[7; 12]),
            v2(0x20, 0xff, b"x"),
            v2(0x21, 0x00, b"abc"),
            v2(0x21, 0x12, &[1; 12]),
            v2(0x21, 0x31, &[b'/'; 216]),
            v2(0x21, 0x11, &[0; 12]),
        ] {
            assert_eq!(parse(&header), Parsed::Header(Announced::Nothing, header.len()), "{header:?}");
        }
    }

    #[test]
    fn garbage_is_found() {
        let text = |text: &str| text.as_bytes().to_vec();
        for header in [
            text("GET / HTTP/1.1\r\n"),
            text("PROXY\r\n"),
            text("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
            text("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"),
            text("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"),
            text("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"),
            text("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
            text("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n"),
            text("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n"),
            text("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n"),
            text("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"),
            text("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n"),
            text("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"),
            text("PROXY UNKNOWNS\r\n"),
            text(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_MAX_BYTES))),
            b"PROXY UNKNOWN \xff\r\n".to_vec(),
            b"\r\n\r\n\0\r\nQUIT\r".to_vec(),
            v2(0x11, 0x11, &[1; 12]),
            v2(0x22, 0x11, &[1; 12]),
            v2(0x21, 0x11, &[1; 11]),
            v2(0x21, 0x21, &[1; 35]),
            v2(0x21, 0x13, &[1; 36]),
            v2(0x21, 0x41, &[1; 36]),
            v2(0x21, 0x11, &[1; V2_MAX_BYTES - V2_HEAD_BYTES + 1]),
        ] {
            assert_eq!(parse(&header), Parsed::Garbage, "{}", String::from_utf8_lossy(&header));
        }
    }

    #[test]
    fn the_bounds_are_exact() {
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_MAX_BYTES - 16));
        assert_eq!(longest.len(), V1_MAX_BYTES);
        assert_eq!(parse(longest.as_bytes()), Parsed::Header(Announced::Nothing, V1_MAX_BYTES));
        let longest = v2(0x21, 0x11, &[1; V2_MAX_BYTES - V2_HEAD_BYTES]);
        let client = Announced::Client([1, 1, 1, 1].into());
        assert_eq!(parse(&longest), Parsed::Header(client, V2_MAX_BYTES));
        // What fits into the buffer of the reader is enough to understand it.
        assert_eq!(parse(&longest[..V1_MAX_BYTES]), Parsed::Header(client, V2_MAX_BYTES));
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
            .prop_filter("somebody", |address| !address.to_canonical().is_unspecified())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        // spec: R4
        #[test]
        fn what_is_written_is_read_however_little_has_arrived_and_whatever_follows(
            version in 1_u8..=2, source in any_address(), extensions in proptest::collection::vec(any::<u8>(), 0..200),
            after in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let header = written(version, source, &extensions);
            let expected = Parsed::Header(Announced::Client(source), header.len());
            prop_assert_eq!(parse(&[&header[..], &after].concat()), expected);
            for cut in 1..header.len() {
                let parsed = parse(&header[..cut]);
                // Extensions need not have arrived to know where the header ends.
                let enough = version == 2 && cut >= header.len().min(V2_KNOWN_BYTES);
                prop_assert_eq!(parsed, if enough { expected } else { Parsed::Incomplete }, "{} of {}", cut, header.len());
            }
        }

        #[test]
        fn any_bytes_are_parsed_and_never_without_end(
            mark in proptest::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", V2_MARK, b"\r\n\r\n\0\r\nQUIT\n\x21\x11"]),
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [mark, &bytes].concat();
            match parse(&bytes) {
                Parsed::Header(_, length) => prop_assert!(length <= V2_MAX_BYTES),
                Parsed::Incomplete => prop_assert!(bytes.len() < V1_MAX_BYTES),
                Parsed::Garbage => {}
            }
        }
    }
}
