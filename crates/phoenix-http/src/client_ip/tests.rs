//! Forged, broken and overlong headers from every kind of peer. The model is the naive reading: split everything,
//! look from the right.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const HEADERS: [ForwardedHeader; 2] = [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded];
const PROXY: &str = "10.0.0.1";
const CLIENT: &str = "203.0.113.9";
const VICTIM: &str = "198.51.100.7";

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn behind_proxies(header: ForwardedHeader) -> ClientAddressSettings {
    let networks = ["10.0.0.0/8", "2001:db8:ffff::/48"].map(|text| text.parse().expect(text));
    ClientAddressSettings::behind_proxies(&networks, header)
}

fn behind_hops(hops: u8, header: ForwardedHeader) -> ClientAddressSettings {
    ClientAddressSettings::behind_hops(NonZeroU8::new(hops).expect("not zero"), header)
}

fn name(header: ForwardedHeader) -> HeaderName {
    HeaderName::from_static(match header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
    })
}

fn headers<T: AsRef<[u8]>>(header: ForwardedHeader, lines: &[T]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines {
        map.append(name(header), HeaderValue::from_bytes(line.as_ref()).expect("a header value"));
    }
    map
}

/// The elements as the header writes them.
fn written(header: ForwardedHeader, elements: &[&str]) -> String {
    let one = |element: &&str| match header {
        ForwardedHeader::XForwardedFor => (*element).to_owned(),
        ForwardedHeader::Forwarded => format!("for=\"{element}\";proto=https;host=\"a, \\\"b\""),
    };
    elements.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn derive(settings: &ClientAddressSettings, peer: Peer, map: &HeaderMap) -> (String, Reason) {
    let explained = Explanation::of_request(settings, peer, map);
    assert_eq!(explained.client, ClientIp::of_request(settings, peer, map), "notes change nothing");
    (explained.client.address().to_string(), explained.reason)
}

// spec: R4
#[test]
fn forged_chains_of_every_length_do_not_hide_the_client() {
    for header in HEADERS {
        for proxies in 0..6 {
            for forged in 0..70 {
                let mut elements = vec![VICTIM; forged];
                elements.push(CLIENT);
                elements.extend(vec!["10.9.9.9"; proxies]);
                let map = headers(header, &[written(header, &elements)]);
                let by_address = derive(&behind_proxies(header), Peer::direct(ip(PROXY)), &map);
                assert_eq!(by_address, (CLIENT.to_owned(), Reason::FirstUntrusted), "{forged} {proxies}");
                let hops = u8::try_from(proxies + 1).expect("few");
                for peer in [PROXY, VICTIM] {
                    let by_count = derive(&behind_hops(hops, header), Peer::direct(ip(peer)), &map);
                    assert_eq!(by_count, (CLIENT.to_owned(), Reason::AtConfiguredHop), "{forged} {proxies}");
                }
                // A proxy fewer than configured was passed: nobody's word counts that far.
                let short = derive(&behind_hops(hops + 70, header), Peer::direct(ip(PROXY)), &map);
                assert_eq!(short.0, PROXY, "{forged} {proxies}");
                for settings in [behind_proxies(header), ClientAddressSettings::direct()] {
                    assert_eq!(
                        derive(&settings, Peer::direct(ip(VICTIM)), &map).0,
                        VICTIM,
                        "an untrusted peer"
                    );
                }
            }
        }
    }
}

// spec: R4
#[test]
fn what_cannot_be_believed_makes_the_peer_the_client() {
    for header in HEADERS {
        let settings = behind_proxies(header);
        for (elements, address, reason) in [
            (&[][..], PROXY, Reason::NoHeader),
            (&["10.0.0.7", "10.0.0.8"], "10.0.0.7", Reason::FarthestProxy),
            (&[CLIENT, "unknown"], PROXY, Reason::UnnamedElement),
            (&[CLIENT, "_hidden", "10.0.0.8"], PROXY, Reason::UnnamedElement),
            (&[CLIENT, ""], PROXY, Reason::GarbageElement),
            (&[CLIENT, "unix:"], PROXY, Reason::GarbageElement),
            (&[CLIENT, "203.0.113.999"], PROXY, Reason::GarbageElement),
            (&["garbage", CLIENT], CLIENT, Reason::FirstUntrusted),
            (
                &[VICTIM, "[2001:db8::7%eth0]:99", "[2001:db8:ffff::1]:1"],
                "2001:db8::7",
                Reason::FirstUntrusted,
            ),
            (&["::ffff:203.0.113.9", "::ffff:10.0.0.3"], CLIENT, Reason::FirstUntrusted),
            (&["64:ff9b::203.0.113.9"], CLIENT, Reason::FirstUntrusted),
            (&[VICTIM, "64:ff9b::10.0.0.3"], "64:ff9b::a00:3", Reason::FirstUntrusted),
            (&["10.0.0.7"; 65], PROXY, Reason::TooLong),
        ] {
            let lines: Vec<String> = elements.iter().map(|element| written(header, &[element])).collect();
            let expected = (address.to_owned(), reason);
            assert_eq!(
                derive(&settings, Peer::direct(ip(PROXY)), &headers(header, &lines)),
                expected,
                "{elements:?}"
            );
            if !lines.is_empty() {
                let joined = headers(header, &[lines.join(",")]);
                assert_eq!(derive(&settings, Peer::direct(ip(PROXY)), &joined), expected, "{elements:?}");
            }
        }
        let hops = behind_hops(2, header);
        for (elements, address, reason) in [
            (&["192.0.2.3", CLIENT, "unknown"][..], CLIENT, Reason::AtConfiguredHop),
            (&[CLIENT], PROXY, Reason::TooFewHops),
            (&[VICTIM, "unknown", "10.0.0.2"], PROXY, Reason::UnnamedElement),
            (&[VICTIM, "", "10.0.0.2"], PROXY, Reason::GarbageElement),
            (&[VICTIM, CLIENT, ""], PROXY, Reason::GarbageElement),
            (&[], PROXY, Reason::NoHeader),
        ] {
            let lines: Vec<String> = elements.iter().map(|element| written(header, &[element])).collect();
            let expected = (address.to_owned(), reason);
            assert_eq!(
                derive(&hops, Peer::direct(ip(PROXY)), &headers(header, &lines)),
                expected,
                "{elements:?}"
            );
        }
    }
}

#[test]
fn one_header_is_believed_and_never_the_other() {
    for (header, other) in [(HEADERS[0], HEADERS[1]), (HEADERS[1], HEADERS[0])] {
        let mut map = headers(other, &[written(other, &[VICTIM])]);
        assert_eq!(derive(&behind_proxies(header), Peer::direct(ip(PROXY)), &map).0, PROXY);
        map.extend(headers(header, &[written(header, &[CLIENT])]));
        assert_eq!(derive(&behind_proxies(header), Peer::direct(ip(PROXY)), &map).0, CLIENT);
        let found = ClientIp::of_request(&behind_proxies(header), Peer::direct(ip(PROXY)), &map);
        assert_eq!(found.source(), header.source());
    }
}

#[test]
fn the_proxy_protocol_replaces_the_peer() {
    let header = HEADERS[0];
    let (settings, map) = (behind_proxies(header), headers(header, &[written(header, &[VICTIM])]));
    let told = |announced| derive(&settings, Peer::behind(ip("10.0.0.2"), announced), &map);
    assert_eq!(told(Announced::Client(ip(CLIENT))), (CLIENT.to_owned(), Reason::PeerNotTrusted));
    assert_eq!(told(Announced::Client(ip("10.5.5.5"))), (VICTIM.to_owned(), Reason::FirstUntrusted));
    assert_eq!(told(Announced::Nothing), ("10.0.0.2".to_owned(), Reason::ProxyNamedNobody));
    let peer = Peer::behind(ip(PROXY), Announced::Client(ip("::ffff:203.0.113.9")));
    let found = ClientIp::of_request(&settings, peer, &HeaderMap::new());
    assert_eq!((found.address().to_string().as_str(), found.source()), (CLIENT, Source::ProxyProtocol));
}

#[test]
fn the_explanation_has_a_verdict_for_each_element() {
    let header = HEADERS[0];
    let map = headers(header, &["junk, 198.51.100.7", "203.0.113.9, 10.0.0.2:80"]);
    let explained =
        Explanation::of_request(&behind_proxies(header), Peer::direct(ip("::ffff:10.0.0.1")), &map);
    assert_eq!(explained.peer, ip(PROXY));
    let chain: Vec<_> =
        explained.chain.iter().map(|(text, address, verdict)| (text.as_str(), *address, *verdict)).collect();
    assert_eq!(
        chain,
        [
            ("10.0.0.2:80", Some(ip("10.0.0.2")), Verdict::TrustedProxy),
            (CLIENT, Some(ip(CLIENT)), Verdict::Client),
            (VICTIM, Some(ip(VICTIM)), Verdict::Ignored),
            ("junk", None, Verdict::Ignored),
        ]
    );
    let ignored = Explanation::of_request(&behind_proxies(header), Peer::direct(ip(VICTIM)), &map);
    assert!(
        ignored.chain.len() == 4 && ignored.chain.iter().all(|(_, _, verdict)| *verdict == Verdict::Ignored)
    );
}

#[test]
fn mapped_peers_are_ipv4() {
    for settings in [ClientAddressSettings::direct(), behind_proxies(HEADERS[0])] {
        let found = ClientIp::of_request(&settings, Peer::direct(ip("::ffff:192.0.2.7")), &HeaderMap::new());
        assert_eq!((found.address(), found.source()), (ip("192.0.2.7"), Source::Peer));
    }
    assert!(behind_proxies(HEADERS[0]).trusts(ip("::ffff:10.0.0.9")));
    assert!(!behind_hops(1, HEADERS[0]).trusts(ip(PROXY)), "with hops nobody is known to be a proxy");
}

/// Bytes that a header may have, with those that mean something in plenty.
fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => proptest::sample::select(b",;=\"\\ []:.%_0129fo".to_vec()),
        1 => 32_u8..127,
        1 => 128_u8..=255,
        1 => Just(b'\t'),
    ];
    let piece = prop_oneof![
        3 => proptest::collection::vec(byte, 0..12),
        1 => proptest::sample::select(vec!["for=", "10.0.0.5", "203.0.113.9", "\"[2001:db8::1]:80\"", "unknown", ", for=\""])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn any_settings() -> impl Strategy<Value = ClientAddressSettings> {
    (proptest::sample::select(HEADERS.to_vec()), 0_u8..5).prop_map(|(header, hops)| match hops {
        0 => behind_proxies(header),
        hops => behind_hops(hops, header),
    })
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    // spec: R4
    #[test]
    fn no_bytes_from_an_untrusted_peer_change_anything(
        peer in any_address(), lines in proptest::collection::vec(any_line(), 0..4), header in proptest::sample::select(HEADERS.to_vec()),
    ) {
        let settings = behind_proxies(header);
        prop_assume!(!settings.trusts(peer));
        let mut map = headers(HEADERS[0], &lines);
        map.extend(headers(HEADERS[1], &lines));
        let found = ClientIp::of_request(&settings, Peer::direct(peer), &map);
        prop_assert_eq!(found, ClientIp::of_request(&settings, Peer::direct(peer), &HeaderMap::new()));
        prop_assert_eq!(found.source(), Source::Peer);
    }

    #[test]
    fn any_bytes_from_any_peer_are_read_and_explained_alike(
        settings in any_settings(), peer in any_address(), trusted in any::<bool>(), lines in proptest::collection::vec(any_line(), 0..80),
    ) {
        let peer = Peer::direct(if trusted { ip(PROXY) } else { peer });
        let mut map = headers(HEADERS[0], &lines);
        map.extend(headers(HEADERS[1], &lines));
        let explained = Explanation::of_request(&settings, peer, &map);
        prop_assert_eq!(explained.client, ClientIp::of_request(&settings, peer, &map));
        prop_assert!(explained.chain.len() <= 65);
        prop_assert!(!explained.client.address().is_unspecified() || explained.client.source() == Source::Peer);
    }

    /// What stands left of the element that a proxy wrote about its peer was sent by that peer.
    // spec: R4
    #[test]
    fn nothing_that_the_client_sends_changes_what_the_proxies_add(
        header in proptest::sample::select(HEADERS.to_vec()), by_count in any::<bool>(), one_line in any::<bool>(),
        lines in proptest::collection::vec(any_line(), 0..4), client in any_address(), proxies in proptest::collection::vec(any::<[u8; 3]>(), 0..4),
    ) {
        prop_assume!(!client.is_unspecified() && !client.to_canonical().is_unspecified());
        prop_assume!(!behind_proxies(header).trusts(client));
        let between: Vec<String> = proxies.iter().map(|[a, b, c]| format!("10.{a}.{b}.{c}")).collect();
        let name = if client.is_ipv6() { format!("[{client}]:443") } else { client.to_string() };
        let mut added = vec![name.as_str()];
        added.extend(between.iter().map(String::as_str));
        let added = written(header, &added);
        let mut lines = lines;
        if one_line && let Some(last) = lines.last_mut() {
            last.extend_from_slice(b", ");
            last.extend_from_slice(added.as_bytes());
        } else {
            lines.push(added.clone().into_bytes());
        }
        let settings = if by_count {
            behind_hops(u8::try_from(proxies.len() + 1).expect("few"), header)
        } else {
            behind_proxies(header)
        };
        let peer = Peer::direct(ip(PROXY));
        let honest = ClientIp::of_request(&settings, peer, &headers(header, &[added]));
        prop_assert_eq!(honest.address(), super::spelling::normal(client));
        prop_assert_eq!(ClientIp::of_request(&settings, peer, &headers(header, &lines)), honest);
    }

    #[test]
    fn chains_are_read_as_the_model_reads_them(
        elements in proptest::collection::vec(proptest::sample::select(vec![PROXY, "10.2.3.4", CLIENT, VICTIM, "unknown", "x"]), 0..70),
        hops in 1_u8..70,
    ) {
        let header = ForwardedHeader::XForwardedFor;
        let map = headers(header, &[elements.join(",")]);
        let elements = if elements.is_empty() { vec![""] } else { elements };
        let from_right: Vec<Option<Ipv4Addr>> = elements.iter().rev().map(|text| text.parse().ok()).collect();
        let proxy = |address: Option<Ipv4Addr>| address.is_some_and(|address| address.octets()[0] == 10);
        let first = from_right.iter().take(64).position(|address| !proxy(*address));
        let expected = match first {
            Some(index) => from_right[index],
            None if from_right.len() > 64 => None,
            None => from_right.last().copied().flatten(),
        };
        let expected = expected.map_or(ip(PROXY), IpAddr::from);
        prop_assert_eq!(ClientIp::of_request(&behind_proxies(header), Peer::direct(ip(PROXY)), &map).address(), expected);

        let index = usize::from(hops) - 1;
        let clean = elements.iter().rev().take(index).all(|text| *text != "x" && !text.is_empty());
        let expected = if clean && index < 64 { from_right.get(index).copied().flatten() } else { None };
        let expected = expected.map_or(ip(PROXY), IpAddr::from);
        prop_assert_eq!(ClientIp::of_request(&behind_hops(hops, header), Peer::direct(ip(PROXY)), &map).address(), expected);
    }
}

#[test]
fn only_proxies_that_are_believed_about_addresses_speak_for_others() {
    let proxies = behind_proxies(ForwardedHeader::XForwardedFor);
    let speaks = |settings: &ClientAddressSettings, peer| speaks_for_others(settings, peer);
    assert!(speaks(&proxies, Peer::direct(ip(PROXY))));
    assert!(speaks(&proxies, Peer::direct(ip("::ffff:10.0.0.1"))));
    assert!(!speaks(&proxies, Peer::direct(ip(CLIENT))));
    assert!(!speaks(&proxies, Peer::behind(ip(PROXY), Announced::Client(ip(CLIENT)))));
    assert!(!speaks(&proxies, Peer::behind(ip(PROXY), Announced::Nothing)));
    assert!(speaks(&proxies, Peer::behind(ip(PROXY), Announced::Client(ip("10.0.0.2")))));
    assert!(!speaks(&ClientAddressSettings::direct(), Peer::direct(ip("127.0.0.1"))));
    assert!(speaks(&behind_hops(1, ForwardedHeader::XForwardedFor), Peer::direct(ip(CLIENT))));
}

#[test]
fn an_address_told_by_other_means_counts_as_if_the_proxy_had_written_it() {
    for header in HEADERS {
        for (lines, told, client) in [
            (vec![], CLIENT, CLIENT),
            (vec![written(header, &[VICTIM])], CLIENT, CLIENT),
            // A proxy in front of the one that asks.
            (vec![written(header, &[CLIENT])], "10.0.0.7", CLIENT),
            (vec![written(header, &[VICTIM]), written(header, &[CLIENT])], "10.0.0.7", CLIENT),
            (vec!["unknown".to_owned()], "2001:db8::7", "2001:db8::7"),
        ] {
            let mut map = headers(header, &lines);
            let settings = behind_proxies(header);
            settings.append(&mut map, ip(told));
            assert_eq!(derive(&settings, Peer::direct(ip(PROXY)), &map).0, client, "{header:?} {lines:?}");
            let count = map.get_all(name(header)).iter().count();
            settings.append(&mut map, ip(told));
            assert_eq!(map.get_all(name(header)).iter().count(), count, "written once only");
        }
    }
}
