//! Free TCP ports on 127.0.0.1 for servers that take a port number.
//!
//! Numbers come from below the range the kernel gives to outgoing connections (it starts at 32768 or above). A server
//! that tests kill and restart keeps its number: from the kernel's own range, a client that reconnects while the
//! server is down could be given that very number as its local port, and would then be connected to itself.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

const FIRST: u64 = 15_000;
const LAST: u64 = 31_999;
/// Attempts before giving up; with a tenth of the range taken, 10^-200 is the chance to need more.
const ATTEMPTS: usize = 200;

/// Numbers this process has handed out, so that two of its tests never race for one.
static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A listener on a free port of 127.0.0.1.
#[must_use]
pub fn listen() -> TcpListener {
    let random = RandomState::new();
    for attempt in 0..ATTEMPTS {
        let number = FIRST + random.hash_one(attempt) % (LAST - FIRST + 1);
        let port = u16::try_from(number).expect("the range lies within u16");
        if !TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            continue;
        }
        if let Ok(listener) = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            return listener;
        }
    }
    panic!("no free port between {FIRST} and {LAST} in {ATTEMPTS} attempts")
}

/// A port that was free a moment ago. Another process may take it first, so whoever starts a server on it retries.
#[must_use]
pub fn free() -> u16 {
    listen().local_addr().expect("a bound listener has an address").port()
}
