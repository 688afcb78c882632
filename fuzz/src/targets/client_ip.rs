//! The forwarding headers from which a client's address is taken.
//!
//! Whoever is not a proxy that is believed is the client, whatever it writes. What the nearest proxies wrote decides:
//! nothing to the left of it, and no line before it, changes who the client is. An address is never in two spellings.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use phoenix_http::{ClientAddressSettings, ClientIp, ForwardedHeader, Peer};

use crate::input;

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 99));

static HEADERS: [(ForwardedHeader, HeaderName); 2] = [
    (ForwardedHeader::XForwardedFor, HeaderName::from_static("x-forwarded-for")),
    (ForwardedHeader::Forwarded, HeaderName::from_static("forwarded")),
];

static BEHIND_PROXIES: LazyLock<[ClientAddressSettings; 2]> = LazyLock::new(|| {
    let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().expect("a network"));
    HEADERS.clone().map(|(header, _)| ClientAddressSettings::behind_proxies(&networks, header))
});

/// A byte: which header is read, and how many hops are counted instead of looking at addresses (0: none). Lines: what
/// strangers wrote, up to an empty line, then what proxies wrote.
pub(crate) fn run(mut data: &[u8]) {
    let mode = input::byte(&mut data);
    let which = usize::from(mode & 1);
    let Some((header, name)) = HEADERS.get(which) else { return };
    let settings = match NonZeroU8::new((mode >> 1) % 4) {
        None => BEHIND_PROXIES[which].clone(),
        Some(hops) => ClientAddressSettings::behind_hops(hops, *header),
    };
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (strangers, proxies) = end.map_or((&[][..], data), |end| (&data[..end], &data[end + 2..]));
    let lines = |text: &[u8]| {
        let values = text.split(|byte| *byte == b'\n').map(HeaderValue::from_bytes);
        values.filter_map(Result::ok).collect::<Vec<_>>()
    };
    let (strangers, proxies) = (lines(strangers), lines(proxies));
    let written = |values: &[HeaderValue]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.clone());
        }
        headers
    };
    let client = |values: &[HeaderValue]| {
        ClientIp::of_request(&settings, Peer::direct(PROXY), &written(values)).address()
    };
    let address = client(&proxies);
    assert_eq!(address, address.to_canonical());
    assert!(!address.is_unspecified());
    if (mode >> 1).is_multiple_of(4) {
        let stranger = ClientIp::of_request(&settings, Peer::direct(STRANGER), &written(&proxies));
        assert_eq!(stranger.address(), STRANGER);
        if matches!(header, ForwardedHeader::Forwarded) {
            quoted_text_is_no_element(&strangers, client);
        }
        if !settings.trusts(address) {
            left_of_the_client_nothing_counts(&strangers, &proxies, address, client);
        }
    }
    what_we_append_counts(&settings, written(&proxies), mode);
}

fn left_of_the_client_nothing_counts(
    strangers: &[HeaderValue],
    proxies: &[HeaderValue],
    address: IpAddr,
    client: impl Fn(&[HeaderValue]) -> IpAddr,
) {
    let before = [strangers, proxies].concat();
    assert_eq!(client(&before), address, "lines before");
    let (Some(last), Some((first, rest))) = (strangers.last(), proxies.split_first()) else { return };
    let joined = HeaderValue::from_bytes(&[last.as_bytes(), b",", first.as_bytes()].concat());
    let joined = joined.expect("two values and a comma are a value");
    assert_eq!(client(&[&[joined], rest].concat()), address, "elements before");
}

/// A proxy may repeat in quotes what its client sent, such as the host that it asked for.
fn quoted_text_is_no_element(strangers: &[HeaderValue], client: impl Fn(&[HeaderValue]) -> IpAddr) {
    let Some((last, before)) = strangers.split_last() else { return };
    let mut text = format!("for={STRANGER};host=\"").into_bytes();
    for byte in last.as_bytes() {
        if b"\"\\".contains(byte) {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text.push(b'"');
    let written = HeaderValue::from_bytes(&text).expect("a value in quotes is a value");
    assert_eq!(client(&[before, &[written]].concat()), STRANGER);
}

/// As the answer to another proxy's question has it, which says the address by other means.
fn what_we_append_counts(settings: &ClientAddressSettings, mut headers: HeaderMap, mode: u8) {
    if (mode >> 1) % 4 <= 1 {
        settings.append(&mut headers, STRANGER);
        assert_eq!(ClientIp::of_request(settings, Peer::direct(PROXY), &headers).address(), STRANGER);
    }
}
