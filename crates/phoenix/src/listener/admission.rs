//! How many connections may be open, in all and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts open connections.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    open: Arc<Mutex<Open>>,
    max: usize,
    max_per_address: usize,
}

/// Holds as many addresses as there are connections, at most.
#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Leave to be connected, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<Mutex<Open>>,
    address: IpAddr,
}

impl Admission {
    pub(super) fn new(max: usize, max_per_address: usize) -> Self {
        Self { open: Arc::default(), max, max_per_address }
    }

    /// A place for one more connection from `peer`, if there is one.
    pub(super) fn enter(&self, peer: IpAddr) -> Option<Place> {
        let address = network(peer);
        let mut open = lock(&self.open);
        if open.all >= self.max {
            return None;
        }
        let count = open.by_address.entry(address).or_default();
        if *count >= self.max_per_address {
            return None;
        }
        *count += 1;
        open.all += 1;
        Some(Place { open: Arc::clone(&self.open), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.all -= 1;
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one subscriber holds: an IPv4 address, or an IPv6 /64.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn caps_all_and_each_address_and_forgets_who_left() {
        let admission = Admission::new(3, 2);
        let first = admission.enter(address("192.0.2.1")).expect("a place");
        let _second = admission.enter(address("::ffff:192.0.2.1")).expect("a place");
        assert!(admission.enter(address("192.0.2.1")).is_none(), "two from one address");
        let _third = admission.enter(address("192.0.2.2")).expect("a place");
        assert!(admission.enter(address("192.0.2.3")).is_none(), "three in all");
        drop(first);
        assert!(admission.enter(address("192.0.2.3")).is_some());
        assert_eq!(lock(&admission.open).by_address.len(), 2, "addresses without connections are forgotten");
    }

    #[test]
    fn a_subscriber_with_many_ipv6_addresses_is_one() {
        let admission = Admission::new(10, 1);
        let _first = admission.enter(address("2001:db8::1")).expect("a place");
        assert!(admission.enter(address("2001:db8::ffff:2")).is_none());
        assert!(admission.enter(address("2001:db8:0:1::1")).is_some());
    }
}
