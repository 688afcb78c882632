//! Who of a chain of proxies is the client.

use std::net::IpAddr;

use serde::Serialize;
use utoipa::ToSchema;

use super::elements::Element;
use super::networks::Networks;
use super::node::Node;
use super::settings::Trust;

/// What became of an element of the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = AddressVerdict)]
pub(crate) enum Verdict {
    /// A proxy that is believed: the element before it counts.
    TrustedProxy,
    /// The client.
    Client,
    /// Left of the decision, or of a peer that is not believed: anybody may have written it.
    Ignored,
    /// It tells no address where one was needed.
    Unnamed,
    /// Not a name of a node.
    Garbage,
    /// Beyond the 64 elements and 8 KiB that are read.
    TooFar,
}

/// Why the client's address is what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = AddressReason)]
pub(crate) enum Reason {
    /// No proxy is configured: peers are clients.
    NoProxyConfigured,
    /// The peer is not a trusted proxy, so nothing it says counts.
    PeerNotTrusted,
    /// The trusted proxy said in the PROXY protocol that it speaks for nobody.
    ProxyNamedNobody,
    /// The proxy sent no header: the request is its own.
    NoHeader,
    /// First address from the right that is not a trusted proxy.
    FirstUntrusted,
    /// All are trusted proxies: the farthest of them.
    FarthestProxy,
    /// The element at the configured number of hops.
    AtConfiguredHop,
    /// Fewer elements than hops are configured: not all proxies were passed.
    TooFewHops,
    /// An element that would have counted tells no address.
    UnnamedElement,
    /// An element that would have counted is not the name of a node.
    GarbageElement,
    /// More elements or bytes than are read.
    TooLong,
}

/// The result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decided {
    /// The address the reading started from.
    Start(Reason),
    /// An address of the header.
    Element(IpAddr, Reason),
}

/// Reads elements, the nearest first, until the client is known; tells `seen` what became of each.
pub(super) fn decide<'a>(
    trust: &Trust,
    start: IpAddr,
    elements: &mut impl Iterator<Item = Element<'a>>,
    seen: impl FnMut(&Element<'a>, Verdict),
) -> Decided {
    match trust {
        Trust::Nobody => Decided::Start(Reason::NoProxyConfigured),
        Trust::Proxies(networks) if networks.contains(start) => by_address(networks, elements, seen),
        Trust::Proxies(_) => Decided::Start(Reason::PeerNotTrusted),
        Trust::Hops(hops) => by_count(hops.get(), elements, seen),
    }
}

fn by_address<'a>(
    networks: &Networks,
    elements: &mut impl Iterator<Item = Element<'a>>,
    mut seen: impl FnMut(&Element<'a>, Verdict),
) -> Decided {
    let mut farthest = None;
    for element in elements {
        match believable(&element) {
            Ok(address) if networks.contains(address) => {
                seen(&element, Verdict::TrustedProxy);
                farthest = Some(address);
            }
            Ok(address) => {
                seen(&element, Verdict::Client);
                return Decided::Element(address, Reason::FirstUntrusted);
            }
            Err((verdict, reason)) => {
                seen(&element, verdict);
                return Decided::Start(reason);
            }
        }
    }
    farthest
        .map_or(Decided::Start(Reason::NoHeader), |address| Decided::Element(address, Reason::FarthestProxy))
}

fn by_count<'a>(
    hops: u8,
    elements: &mut impl Iterator<Item = Element<'a>>,
    mut seen: impl FnMut(&Element<'a>, Verdict),
) -> Decided {
    let mut passed = 0_u8;
    for element in elements {
        passed = passed.saturating_add(1);
        match believable(&element) {
            Ok(address) if passed >= hops => {
                seen(&element, Verdict::Client);
                return Decided::Element(address, Reason::AtConfiguredHop);
            }
            Ok(_) => seen(&element, Verdict::TrustedProxy),
            // A proxy on the way need not be named: it is counted.
            Err((Verdict::Unnamed, _)) if passed < hops => seen(&element, Verdict::TrustedProxy),
            Err((verdict, reason)) => {
                seen(&element, verdict);
                return Decided::Start(reason);
            }
        }
    }
    Decided::Start(if passed == 0 { Reason::NoHeader } else { Reason::TooFewHops })
}

fn believable(element: &Element<'_>) -> Result<IpAddr, (Verdict, Reason)> {
    match element.node {
        Node::Address(address) => Ok(address),
        Node::Unnamed => Err((Verdict::Unnamed, Reason::UnnamedElement)),
        Node::Garbage => Err((Verdict::Garbage, Reason::GarbageElement)),
        Node::TooFar => Err((Verdict::TooFar, Reason::TooLong)),
    }
}
