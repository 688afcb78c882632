//! How many connections may be open, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phoenix_http::limits::LimitedAddress;

/// Bits of an IPv6 address that are the same for everything that one subscriber has.
const SUBSCRIBER_IPV6: u8 = 64;

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
    by_address: HashMap<LimitedAddress, usize>,
}

/// Leave to be connected, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<Mutex<Open>>,
    max_per_address: usize,
    /// Whom it counts for, if for anybody.
    address: Option<LimitedAddress>,
}

impl Admission {
    pub(super) fn new(max: usize, max_per_address: usize) -> Self {
        Self { open: Arc::default(), max, max_per_address }
    }

    /// A place for one more connection, if there is one. It counts for the client, if one is known.
    pub(super) fn enter(&self, client: Option<IpAddr>) -> Option<Place> {
        let address = client.map(network);
        let mut open = lock(&self.open);
        if open.all >= self.max || address.is_some_and(|address| !open.add(address, self.max_per_address)) {
            return None;
        }
        open.all += 1;
        Some(Place { open: Arc::clone(&self.open), max_per_address: self.max_per_address, address })
    }
}

impl Place {
    /// Lets the connection count for this client and nobody else; false when the client has too many.
    pub(super) fn count_for(&mut self, client: IpAddr) -> bool {
        let address = network(client);
        let mut open = lock(&self.open);
        if let Some(before) = self.address.take() {
            open.remove(before);
        }
        let added = open.add(address, self.max_per_address);
        self.address = added.then_some(address);
        added
    }
}

impl Open {
    fn add(&mut self, address: LimitedAddress, max: usize) -> bool {
        let count = self.by_address.entry(address).or_default();
        if *count >= max {
            return false;
        }
        *count += 1;
        true
    }

    fn remove(&mut self, address: LimitedAddress) {
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.all -= 1;
        if let Some(address) = self.address {
            open.remove(address);
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one subscriber holds: an IPv4 address in whatever spelling, or an IPv6 /64.
fn network(peer: IpAddr) -> LimitedAddress {
    LimitedAddress::of(peer, SUBSCRIBER_IPV6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn enter(admission: &Admission, text: &str) -> Option<Place> {
        admission.enter(Some(address(text)))
    }

    #[test]
    fn caps_all_and_each_address_and_forgets_who_left() {
        let admission = Admission::new(3, 2);
        let first = enter(&admission, "192.0.2.1").expect("a place");
        let _second = enter(&admission, "::ffff:192.0.2.1").expect("a place");
        assert!(enter(&admission, "192.0.2.1").is_none(), "two from one address");
        let _third = enter(&admission, "192.0.2.2").expect("a place");
        assert!(enter(&admission, "192.0.2.3").is_none(), "three in all");
        drop(first);
        assert!(enter(&admission, "192.0.2.3").is_some());
        assert_eq!(lock(&admission.open).by_address.len(), 2, "addresses without connections are forgotten");
    }

    #[test]
    fn a_subscriber_with_many_ipv6_addresses_is_one() {
        let admission = Admission::new(10, 1);
        let _first = enter(&admission, "2001:db8::1").expect("a place");
        assert!(enter(&admission, "2001:db8::ffff:2").is_none());
        assert!(enter(&admission, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn ipv4_clients_behind_a_translator_are_told_apart() {
        let admission = Admission::new(10, 1);
        let _first = enter(&admission, "64:ff9b::192.0.2.1").expect("a place");
        assert!(enter(&admission, "192.0.2.1").is_none(), "it is the same client");
        assert!(enter(&admission, "64:ff9b::192.0.2.2").is_some());
    }

    #[test]
    fn a_proxys_connections_count_for_the_clients_that_it_names() {
        let admission = Admission::new(4, 1);
        let mut places: Vec<Place> = (0..4).map(|_| admission.enter(None).expect("a place")).collect();
        assert!(admission.enter(None).is_none(), "four in all");
        assert!(places[0].count_for(address("192.0.2.1")) && places[1].count_for(address("192.0.2.2")));
        assert!(!places[2].count_for(address("::ffff:192.0.2.1")), "one from each");
        assert!(places[0].count_for(address("192.0.2.1")), "it may stay what it is");
        assert!(places[0].count_for(address("192.0.2.3")) && places[2].count_for(address("192.0.2.1")));
        assert_eq!(lock(&admission.open).by_address.len(), 3);
        drop(places);
        let open = lock(&admission.open);
        assert_eq!((open.all, open.by_address.len()), (0, 0));
    }
}
