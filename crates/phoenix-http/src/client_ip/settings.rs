//! Which peers are believed, and which header of theirs.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::Arc;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::elements::{Element, Elements, Syntax};
use super::networks::Networks;
use super::spelling::normal;
use super::{Peer, Source, speaks_for_others};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The header in which proxies say whom they speak for. Only one is ever read: a proxy that writes one passes the other
/// on as the client sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ForwardedHeader {
    pub(super) const fn source(self) -> Source {
        match self {
            Self::XForwardedFor => Source::XForwardedFor,
            Self::Forwarded => Source::Forwarded,
        }
    }
}

/// Who is believed.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// Nobody: every peer is a client.
    Nobody,
    /// Proxies with these addresses.
    Proxies(Arc<Networks>),
    /// Whoever connects is the last of this many proxies.
    Hops(NonZeroU8),
}

/// How clients' addresses are found. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientAddressSettings {
    trust: Trust,
    header: ForwardedHeader,
}

impl ClientAddressSettings {
    /// Peers are clients.
    #[must_use]
    pub const fn direct() -> Self {
        Self { trust: Trust::Nobody, header: ForwardedHeader::XForwardedFor }
    }

    /// Proxies in these networks are believed; without a network nobody is.
    #[must_use]
    pub fn behind_proxies(networks: &[IpNet], header: ForwardedHeader) -> Self {
        let networks = Networks::new(networks);
        let trust = if networks.is_empty() { Trust::Nobody } else { Trust::Proxies(Arc::new(networks)) };
        Self { trust, header }
    }

    /// Whoever connects is the last of this many proxies.
    #[must_use]
    pub const fn behind_hops(hops: NonZeroU8, header: ForwardedHeader) -> Self {
        Self { trust: Trust::Hops(hops), header }
    }

    /// Whether a connection from this address is a configured proxy's.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        match &self.trust {
            Trust::Proxies(networks) => networks.contains(normal(peer)),
            Trust::Nobody | Trust::Hops(_) => false,
        }
    }

    /// Whether a proxy that is believed says that the client came over https.
    pub(crate) fn says_https(&self, peer: Peer, headers: &HeaderMap) -> bool {
        speaks_for_others(self, peer)
            && headers
                .get(X_FORWARDED_PROTO)
                .is_some_and(|said| said.as_bytes().eq_ignore_ascii_case(b"https"))
    }

    pub(super) const fn trust(&self) -> &Trust {
        &self.trust
    }

    pub(super) const fn header(&self) -> ForwardedHeader {
        self.header
    }

    /// Adds the address that a proxy says by other means than a header to the header that is read, as that proxy would:
    /// so there is one rule for both. Nothing changes if the proxy did so itself.
    pub fn append(&self, headers: &mut HeaderMap, address: IpAddr) {
        let address = normal(address);
        if self.elements(headers).next().and_then(|nearest| nearest.node.address()) == Some(address) {
            return;
        }
        let (name, text) = match (self.header, address) {
            (ForwardedHeader::XForwardedFor, _) => (X_FORWARDED_FOR, address.to_string()),
            (ForwardedHeader::Forwarded, IpAddr::V4(_)) => (FORWARDED, format!("for={address}")),
            (ForwardedHeader::Forwarded, IpAddr::V6(_)) => (FORWARDED, format!("for=\"[{address}]\"")),
        };
        // An address is visible ASCII in any spelling.
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.append(name, value);
        }
    }

    /// What the believed header holds, from the right.
    pub(super) fn elements<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = Element<'a>> {
        let (lines, syntax) = match self.header {
            ForwardedHeader::XForwardedFor => (headers.get_all(X_FORWARDED_FOR), Syntax::List),
            ForwardedHeader::Forwarded => (headers.get_all(FORWARDED), Syntax::Forwarded),
        };
        Elements::new(lines.iter().rev().map(HeaderValue::as_bytes), syntax)
    }
}
