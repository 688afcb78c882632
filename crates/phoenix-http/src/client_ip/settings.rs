//! Which peers are believed, and which header of theirs.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::Arc;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::Source;
use super::elements::{Element, Elements, Syntax};
use super::networks::Networks;
use super::spelling::normal;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

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

    pub(super) const fn trust(&self) -> &Trust {
        &self.trust
    }

    pub(super) const fn header(&self) -> ForwardedHeader {
        self.header
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
