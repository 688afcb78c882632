//! The one place where the address of a client is decided (invariant 7).
//!
//! No proxy is trusted unless it is configured, and none can be configured yet: the client is the peer.

use std::net::IpAddr;

/// A client's address as the rest of Phoenix may use it: never IPv4-mapped IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ClientIp(IpAddr);

impl ClientIp {
    /// From the address at the other end of the connection.
    pub(crate) fn of_peer(peer: IpAddr) -> Self {
        Self(peer.to_canonical())
    }

    /// The address.
    pub(crate) const fn address(self) -> IpAddr {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mapped = "::ffff:192.0.2.7".parse().expect("an address");
        assert_eq!(ClientIp::of_peer(mapped).address().to_string(), "192.0.2.7");
    }
}
