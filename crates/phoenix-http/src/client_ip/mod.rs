//! The one place where the address of a client is decided (invariant 7): whom to believe, and what was said.
//!
//! A request comes from a *peer*, the other end of its connection. What the peer says about somebody behind it counts
//! only if the peer is a configured proxy: first the PROXY protocol, which replaces the peer, then one header, read
//! from the right. Whatever cannot be believed or understood makes the peer the client, never an address that many
//! share by accident, such as "unknown".
//!
//! Does not own sockets, nor the bytes of the PROXY protocol (both in the binary).

mod chain;
mod elements;
mod forwarded;
mod networks;
mod node;
mod settings;
mod spelling;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use self::chain::{Reason, Verdict};
use self::settings::Trust;
pub use self::settings::{ClientAddressSettings, ForwardedHeader};
pub(crate) use self::spelling::normal;

use self::chain::{Decided, decide};
use self::elements::Element;

/// The other end of a connection, what it said there about who is behind it, and how it is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    socket: IpAddr,
    announced: Option<Announced>,
    transport: Transport,
}

/// How a connection is protected on its way to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Not at all.
    Plain,
    /// By TLS.
    Tls {
        /// Whether the client showed a certificate that administrators have.
        has_certificate: bool,
    },
}

/// What a trusted proxy said in the PROXY protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announced {
    /// The connection is this client's.
    Client(IpAddr),
    /// No address: the connection is the proxy's own, or of a kind that has none.
    Nothing,
}

impl Peer {
    /// A connection without the PROXY protocol.
    #[must_use]
    pub const fn direct(socket: IpAddr) -> Self {
        Self { socket, announced: None, transport: Transport::Plain }
    }

    /// A connection that a trusted proxy made for somebody.
    #[must_use]
    pub const fn behind(socket: IpAddr, announced: Announced) -> Self {
        Self { socket, announced: Some(announced), transport: Transport::Plain }
    }

    /// The same over a connection that is protected like this.
    #[must_use]
    pub const fn over(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// Whether the connection to us is HTTPS.
    pub(crate) const fn is_https(self) -> bool {
        matches!(self.transport, Transport::Tls { .. })
    }

    /// Whether the client showed a certificate that administrators have.
    pub(crate) const fn has_certificate(self) -> bool {
        matches!(self.transport, Transport::Tls { has_certificate: true })
    }

    /// Where the reading of headers starts: an address, and whether headers may change it.
    fn start(self) -> (IpAddr, Source, bool) {
        match self.announced {
            None => (normal(self.socket), Source::Peer, true),
            Some(Announced::Client(address)) => (normal(address), Source::ProxyProtocol, true),
            // The proxy passes on bytes of somebody it did not name: the headers may be anybody's.
            Some(Announced::Nothing) => (normal(self.socket), Source::Peer, false),
        }
    }
}

/// Who said what the client's address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = AddressSource)]
pub enum Source {
    /// The connection itself.
    Peer,
    /// The header `X-Forwarded-For`.
    XForwardedFor,
    /// The header `Forwarded` (RFC 7239).
    Forwarded,
    /// The PROXY protocol.
    ProxyProtocol,
}

/// A client's address as the rest of Phoenix may use it, in its one spelling, and how it was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientIp {
    address: IpAddr,
    source: Source,
}

impl ClientIp {
    /// The client that a request comes from. Allocates nothing.
    #[must_use]
    pub fn of_request(settings: &ClientAddressSettings, peer: Peer, headers: &HeaderMap) -> Self {
        Self::derive(settings, peer, &mut settings.elements(headers), |_, _| ()).0
    }

    /// The address: never IPv4-mapped, without a zone.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// How it was found.
    #[must_use]
    pub const fn source(self) -> Source {
        self.source
    }

    fn derive<'a>(
        settings: &ClientAddressSettings,
        peer: Peer,
        elements: &mut impl Iterator<Item = Element<'a>>,
        seen: impl FnMut(&Element<'a>, Verdict),
    ) -> (Self, Reason) {
        let (address, source, believed) = peer.start();
        let start = Self { address, source };
        if !believed {
            return (start, Reason::ProxyNamedNobody);
        }
        match decide(settings.trust(), address, elements, seen) {
            Decided::Start(reason) => (start, reason),
            Decided::Element(address, reason) => {
                (Self { address: normal(address), source: settings.header().source() }, reason)
            }
        }
    }
}

/// Whether what this peer says about requests of others counts: it is the proxy that addresses are believed of.
pub(crate) fn speaks_for_others(settings: &ClientAddressSettings, peer: Peer) -> bool {
    let (address, _, believed) = peer.start();
    believed
        && match settings.trust() {
            Trust::Nobody => false,
            Trust::Proxies(networks) => networks.contains(address),
            Trust::Hops(_) => true,
        }
}

/// How an address was derived, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Explanation {
    /// The other end of the connection.
    pub(crate) peer: IpAddr,
    /// What the PROXY protocol said, if it was spoken.
    pub(crate) announced: Option<Announced>,
    /// The result.
    pub(crate) client: ClientIp,
    /// Why it is that.
    pub(crate) reason: Reason,
    /// What the header holds, from the right, with what became of it. At most 65.
    pub(crate) chain: Vec<(String, Option<IpAddr>, Verdict)>,
}

impl Explanation {
    /// Does what [`ClientIp::of_request`] does, and keeps notes.
    pub(crate) fn of_request(settings: &ClientAddressSettings, peer: Peer, headers: &HeaderMap) -> Self {
        let mut chain = Vec::new();
        let mut note = |element: &Element<'_>, verdict| {
            chain.push((element.shown(), element.node.address(), verdict));
        };
        let mut elements = settings.elements(headers);
        let (client, reason) = ClientIp::derive(settings, peer, &mut elements, &mut note);
        elements.for_each(|element| note(&element, Verdict::Ignored));
        Self { peer: normal(peer.socket), announced: peer.announced, client, reason, chain }
    }
}
