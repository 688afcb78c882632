//! One name of a node in a forwarding header: an address with or without its port, or none.
//!
//! One grammar for both headers: that of RFC 7239, section 6, and the addresses without brackets and with zones that
//! `X-Forwarded-For` has in practice. Both are written by proxies we trust, or not believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest name that is looked at, in bytes: an address, a zone and a port have fewer.
const MAX_BYTES: usize = 128;
/// Longest zone (RFC 4007) in bytes.
const MAX_ZONE_BYTES: usize = 32;

/// What a name says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Node {
    /// An address, never IPv4-mapped.
    Address(IpAddr),
    /// Somebody whose address is not told: `unknown`, or a made-up name (`_proxy7`).
    Unnamed,
    /// Not a name.
    Garbage,
    /// Beyond the bounds of what is read: the name is not known.
    TooFar,
}

impl Node {
    /// Understands a name without the spaces around it.
    pub(super) fn parse(name: &[u8]) -> Self {
        let Some(name) = (name.len() <= MAX_BYTES).then(|| std::str::from_utf8(name).ok()).flatten() else {
            return Self::Garbage;
        };
        parse(name).unwrap_or(Self::Garbage)
    }

    /// The address, if it says one.
    pub(super) const fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Unnamed | Self::Garbage | Self::TooFar => None,
        }
    }
}

fn parse(name: &str) -> Option<Node> {
    if let Some(rest) = name.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        return is_port_or_nothing(port).then(|| ipv6(address))?;
    }
    if name.bytes().filter(|byte| *byte == b':').count() > 1 {
        return ipv6(name);
    }
    let (host, port) = name.split_at(name.find(':').unwrap_or(name.len()));
    if !is_port_or_nothing(port) {
        return None;
    }
    if host.eq_ignore_ascii_case("unknown") || host.strip_prefix('_').is_some_and(is_made_up) {
        return Some(Node::Unnamed);
    }
    address(host.parse::<Ipv4Addr>().ok()?.into())
}

fn ipv6(text: &str) -> Option<Node> {
    let text = match text.split_once('%') {
        Some((text, zone)) => is_zone(zone).then_some(text)?,
        None => text,
    };
    address(text.parse::<Ipv6Addr>().ok()?.into())
}

/// Nobody has the address that stands for "no address": believed, it would be shared.
fn address(address: IpAddr) -> Option<Node> {
    let address = address.to_canonical();
    (!address.is_unspecified()).then_some(Node::Address(address))
}

fn is_zone(zone: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=MAX_ZONE_BYTES).contains(&zone.len()) && zone.bytes().all(fits)
}

/// What comes after the `_` of a made-up name or port.
fn is_made_up(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_port_or_nothing(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    let number = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    number || port.strip_prefix('_').is_some_and(is_made_up)
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: R4
    #[test]
    fn every_spelling_of_an_address_is_that_address() {
        for (spellings, address) in [
            (
                &[
                    "192.0.2.1",
                    "192.0.2.1:80",
                    "192.0.2.1:65535",
                    "192.0.2.1:_p",
                    "::ffff:192.0.2.1",
                    "[::ffff:c000:201]:1",
                ][..],
                "192.0.2.1",
            ),
            (
                &[
                    "2001:db8::1",
                    "[2001:db8::1]",
                    "[2001:DB8:0::1]:443",
                    "2001:db8:0:0:0:0:0:1",
                    "[2001:db8::1]:_x",
                ],
                "2001:db8::1",
            ),
            (&["fe80::1", "fe80::1%eth0", "[fe80::1%25eth0]", "[fe80::1%3]:80", "fe80::1%en-0.1"], "fe80::1"),
        ] {
            for spelling in spellings {
                let node = Node::parse(spelling.as_bytes());
                assert_eq!(node, Node::Address(address.parse().expect(address)), "{spelling}");
            }
        }
    }

    #[test]
    fn whoever_is_not_told_is_unnamed_and_everything_else_is_garbage() {
        for unnamed in ["unknown", "Unknown", "_hidden", "_SEVKISEK", "_a.b-c_d:_port", "unknown:443"] {
            assert_eq!(Node::parse(unnamed.as_bytes()), Node::Unnamed, "{unnamed}");
        }
        let long = format!("fe80::1%{}", "a".repeat(33));
        for garbage in [
            "",
            " ",
            "localhost",
            "unix:",
            "-",
            "_",
            "_ä",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "256.1.1.1",
            "0x7f.1",
            "2130706433",
            "1.2.3.4:",
            "1.2.3.4:123456",
            "1.2.3.4:80:80",
            "1.2.3.4 ",
            "1.2.3.4%eth0",
            "[1.2.3.4]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "[]",
            "fe80::1%",
            "fe80::1%a b",
            "fe80::1%a/b",
            "::",
            "0.0.0.0",
            "::ffff:0.0.0.0",
            "0.0.0.0:80",
            "[::]:80",
            "\"1.2.3.4\"",
            "1.2.3.4/32",
            &long,
        ] {
            assert_eq!(Node::parse(garbage.as_bytes()), Node::Garbage, "{garbage:?}");
        }
        assert_eq!(Node::parse(b"1.2.3.4\xff"), Node::Garbage);
        assert_eq!(Node::parse(&[b'1'; MAX_BYTES + 1]), Node::Garbage);
    }
}
