//! A set of networks that tells quickly whether it holds an address.

use std::net::IpAddr;

use ipnet::IpNet;

use super::spelling::normal;

/// Ranges of addresses, first and last, that neither overlap nor stand out of order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

/// First prefix length of an IPv6 network in which only IPv4-mapped addresses can be.
const MAPPED_PREFIX: u8 = 96;

impl Networks {
    pub(super) fn new(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match (network.network(), network.broadcast()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    match (first.to_ipv4_mapped(), last.to_ipv4_mapped()) {
                        (Some(first), Some(last)) if network.prefix_len() >= MAPPED_PREFIX => {
                            v4.push((first.to_bits(), last.to_bits()));
                        }
                        _ => v6.push((first.to_bits(), last.to_bits())),
                    }
                }
                // First and last of one network are of one kind.
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
            }
        }
        Self { v4: merged(v4), v6: merged(v6) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether the address, as it is written or in its normal spelling, is in one of the networks.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.holds(address.to_canonical()) || self.holds(normal(address))
    }

    fn holds(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => within(&self.v4, address.to_bits()),
            IpAddr::V6(address) => within(&self.v6, address.to_bits()),
        }
    }
}

fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn within<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).and_then(|index| ranges.get(index)).is_some_and(|(_, last)| address <= *last)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn networks(list: &[&str]) -> Networks {
        let parsed: Vec<IpNet> = list.iter().map(|text| text.parse().expect(text)).collect();
        Networks::new(&parsed)
    }

    fn holds(networks: &Networks, address: &str) -> bool {
        networks.contains(address.parse().expect(address))
    }

    #[test]
    fn edges_belong_to_the_network_and_their_neighbours_do_not() {
        let set = networks(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "192.0.2.8/30",
            "2001:db8::/32",
            "::ffff:198.51.100.0/120",
        ]);
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "10.1.2.3",
            "192.0.2.8",
            "192.0.2.11",
            "2001:db8::",
            "::ffff:10.0.0.1",
            "198.51.100.0",
            "198.51.100.255",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(holds(&set, inside), "{inside}");
        }
        for outside in
            ["9.255.255.255", "11.0.0.0", "192.0.2.7", "192.0.2.12", "2001:db9::", "::1", "198.51.99.255"]
        {
            assert!(!holds(&set, outside), "{outside}");
        }
    }

    #[test]
    fn a_network_of_ipv6_holds_no_ipv4() {
        let set = networks(&["::/8", "64:ff9b::/96"]);
        assert!(holds(&set, "::1") && holds(&set, "64:ff9b::192.0.2.1"));
        assert!(!holds(&set, "192.0.2.1") && !holds(&set, "::ffff:192.0.2.1"));
    }

    fn any_network() -> impl Strategy<Value = IpNet> {
        // Few addresses, so that networks overlap and addresses are in them.
        prop_oneof![
            (0_u32..64, 26_u8..=32)
                .prop_map(|(bits, prefix)| (IpAddr::from(Ipv4Addr::from_bits(bits)), prefix)),
            (0_u128..64, 122_u8..=128)
                .prop_map(|(bits, prefix)| (IpAddr::from(Ipv6Addr::from_bits(bits << 64 | bits)), prefix)),
        ]
        .prop_filter_map("a prefix that fits", |(address, prefix)| IpNet::new(address, prefix).ok())
    }

    proptest! {
        #[test]
        fn is_the_same_as_asking_every_network(
            list in proptest::collection::vec(any_network(), 0..12), low in 0_u32..80, wide in any::<bool>(),
        ) {
            let address: IpAddr = if wide {
                Ipv6Addr::from_bits(u128::from(low) << 64 | u128::from(low)).into()
            } else {
                Ipv4Addr::from_bits(low).into()
            };
            let set = Networks::new(&list);
            prop_assert_eq!(set.contains(address), list.iter().any(|network| network.contains(&address)));
        }
    }
}
