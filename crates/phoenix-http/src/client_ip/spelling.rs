//! One spelling for each address.

use std::net::{IpAddr, Ipv4Addr};

/// First 96 bits of IPv4 addresses as an IPv6-only network sees them (RFC 6052, section 2.1).
const NAT64: u128 = 0x0064_ff9b << 96;

/// The address in its normal spelling: IPv4 where it is one in IPv6 clothes, be it mapped (RFC 4291, section 2.5.5.2)
/// or translated (RFC 6052). A zone is not part of an [`IpAddr`].
///
/// A translated address that no translator may make, because it would be private, stays what it is: whoever can make
/// one must not become an address that is trusted or allowed.
pub(crate) fn normal(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if v6.to_bits() >> 32 == NAT64 >> 32 => {
            let low = v6.to_bits() & u128::from(u32::MAX);
            u32::try_from(low)
                .map(Ipv4Addr::from_bits)
                .ok()
                .filter(|v4| is_public(*v4))
                .map_or(v6.into(), IpAddr::V4)
        }
        canonical => canonical,
    }
}

/// Whether a translator may make an IPv6 address of it (RFC 6052, section 3.1).
fn is_public(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && second & 0xc0 == 64;
    !(first == 0
        || shared
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    // spec: R4
    #[test]
    fn an_address_has_one_spelling_and_another_has_another() {
        for spelling in
            ["::ffff:203.0.113.9", "::ffff:cb00:7109", "64:ff9b::203.0.113.9", "64:ff9b::cb00:7109"]
        {
            assert_eq!(normal(address(spelling)), address("203.0.113.9"), "{spelling}");
        }
        for other in ["203.0.113.8", "::ffff:203.0.113.8", "64:ff9b::203.0.113.8", "64:ff9b:1::203.0.113.9"] {
            assert_ne!(normal(address(other)), address("203.0.113.9"), "{other}");
        }
        assert_ne!(normal(address("::cb00:7109")), address("203.0.113.9"), "the deprecated form is IPv6");
    }

    #[test]
    fn nobody_becomes_a_private_address_by_translation() {
        for private in
            ["10.0.0.1", "127.0.0.1", "192.168.0.1", "169.254.0.1", "100.64.0.1", "0.0.0.1", "224.0.0.1"]
        {
            let translated = address(&format!("64:ff9b::{private}"));
            assert_eq!(normal(translated), translated, "{private}");
        }
    }

    proptest! {
        #[test]
        fn normal_is_final(bits in prop_oneof![any::<u128>(), any::<u32>().prop_map(|low| NAT64 | u128::from(low))]) {
            let once = normal(Ipv6Addr::from_bits(bits).into());
            prop_assert_eq!(normal(once), once);
        }
    }
}
