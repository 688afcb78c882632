//! Who is limited: the subjects of limits, their keys, and how people are told of them. Keeps no counts.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use phoenix_auth::model::{Email, KnownDevice, UserId};
use phoenix_limit::{Key, Keyer};

use crate::client_ip::normal;

/// Prefix of the neighbourhood of an IPv4 address: who shares a log when memory is full.
const NEIGHBOURS_IPV4: u8 = 24;
/// The same of IPv6, unless addresses are already limited by a shorter one.
const NEIGHBOURS_IPV6: u8 = 48;

/// An address as limits see it: IPv4 whole, IPv6 by its prefix, because a client has all addresses below one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LimitedAddress {
    address: IpAddr,
    prefix: u8,
}

impl LimitedAddress {
    /// The client at `ip`, where IPv6 clients are told apart by the first `ipv6_prefix` bits.
    #[must_use]
    pub fn of(ip: IpAddr, ipv6_prefix: u8) -> Self {
        match normal(ip) {
            IpAddr::V4(address) => Self { address: address.into(), prefix: 32 },
            IpAddr::V6(address) => {
                let prefix = ipv6_prefix.min(128);
                Self { address: Ipv6Addr::from(masked(address, prefix)).into(), prefix }
            }
        }
    }

    /// Its bytes, the kind first, so that no IPv4 address is written like an IPv6 one.
    fn bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        match self.address {
            IpAddr::V4(address) => {
                bytes[0] = 4;
                bytes[1..5].copy_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                bytes[0] = 6;
                bytes[1..].copy_from_slice(&address.octets());
            }
        }
        bytes
    }

    /// The network of its neighbours, written alike.
    fn neighbourhood(self) -> [u8; 17] {
        let prefix = match self.address {
            IpAddr::V4(_) => NEIGHBOURS_IPV4,
            IpAddr::V6(_) => NEIGHBOURS_IPV6.min(self.prefix),
        };
        let mut bytes = self.bytes();
        let kept = 1 + usize::from(prefix / 8);
        if let Some(byte) = bytes.get_mut(kept) {
            *byte &= !(u8::MAX >> (prefix % 8));
        }
        for byte in bytes.iter_mut().skip(kept + 1) {
            *byte = 0;
        }
        bytes
    }
}

fn masked(address: Ipv6Addr, prefix: u8) -> u128 {
    address.to_bits() & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for LimitedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.prefix) {
            (IpAddr::V4(address), _) => write!(f, "{address}"),
            (IpAddr::V6(address), 128) => write!(f, "{address}"),
            (IpAddr::V6(address), prefix) => write!(f, "{address}/{prefix}"),
        }
    }
}

/// Who is limited. `Display` is for administrators: it names addresses and users, and only hints at an account.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// A client, by its address.
    Address(LimitedAddress),
    /// A signed-in user.
    User(UserId),
    /// Attempts to sign in to an account from an address.
    AccountFrom(Account, LimitedAddress),
    /// Attempts to sign in to an account on a device that was signed in on before.
    AccountOn(Account, [u8; 16]),
    /// Failed attempts to sign in to an account, from wherever, on devices it does not know.
    Account(Account),
    /// Looks at the passwords sent for an account that has too many of those.
    Slowed(Account),
    /// Failed attempts to sign in to an account on all devices that it knows.
    AccountOnAny(Account),
    /// Looks at the passwords sent for an account that has too many of those.
    SlowedOnAny(Account),
}

/// An account as a sign-in names it, whether it exists or not.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Account {
    /// In lower case.
    key: String,
    masked: String,
}

impl Account {
    /// The account with this address.
    #[must_use]
    pub fn of(email: &Email) -> Self {
        Self { key: email.key().as_str().to_owned(), masked: email.masked() }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked)
    }
}

impl Subject {
    /// The account, on a device it knows.
    pub(crate) fn on(account: Account, device: &KnownDevice) -> Self {
        Self::AccountOn(account, *device.nonce())
    }

    /// The key of the subject under the class `scope`. Neighbours of an address are its network's; a user and an
    /// account have none, so that nobody who makes up accounts until memory is full takes anything from others.
    #[must_use]
    pub fn key(&self, keyer: &Keyer, scope: &str) -> Key {
        match self {
            Self::Address(address) => {
                keyer.key(scope, &[b"address", &address.bytes()], &address.neighbourhood())
            }
            Self::User(user) => {
                let id = user.as_uuid();
                keyer.key(scope, &[b"user", id.as_bytes()], id.as_bytes())
            }
            Self::AccountFrom(account, address) => {
                let parts: [&[u8]; 3] = [b"account from", account.key.as_bytes(), &address.bytes()];
                // One attempt counts for the address, too: not twice in one log.
                keyer.key(scope, &parts, &[&address.neighbourhood()[..], b"account"].concat())
            }
            Self::AccountOn(account, nonce) => {
                keyer.key(scope, &[b"account on", account.key.as_bytes(), nonce], nonce)
            }
            Self::Account(account) => {
                keyer.key(scope, &[b"account", account.key.as_bytes()], account.key.as_bytes())
            }
            Self::Slowed(account) => {
                let neighbourhood = [account.key.as_bytes(), b" slowed"].concat();
                keyer.key(scope, &[b"slowed", account.key.as_bytes()], &neighbourhood)
            }
            Self::AccountOnAny(account) => {
                let neighbourhood = [account.key.as_bytes(), b" on any"].concat();
                keyer.key(scope, &[b"account on any", account.key.as_bytes()], &neighbourhood)
            }
            Self::SlowedOnAny(account) => {
                let neighbourhood = [account.key.as_bytes(), b" slowed on any"].concat();
                keyer.key(scope, &[b"slowed on any", account.key.as_bytes()], &neighbourhood)
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "address {address}"),
            Self::User(user) => write!(f, "user {}", user.as_uuid()),
            Self::AccountFrom(account, address) => write!(f, "account {} from {address}", account.masked),
            Self::AccountOn(account, _) => write!(f, "account {} on a known device", account.masked),
            Self::AccountOnAny(account) | Self::SlowedOnAny(account) => {
                write!(f, "account {} on known devices", account.masked)
            }
            Self::Account(account) | Self::Slowed(account) => write!(f, "account {}", account.masked),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> LimitedAddress {
        LimitedAddress::of(text.parse().expect("an address"), 64)
    }

    fn key(text: &str) -> Key {
        Subject::Address(address(text)).key(&Keyer::new([7; 16]), "api")
    }

    // spec: R4
    #[test]
    fn an_ipv6_client_is_its_prefix_and_an_ipv4_client_its_address() {
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:0:0:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
        assert_eq!(key("64:ff9b::192.0.2.7"), key("192.0.2.7"));
        assert_ne!(key("192.0.2.7"), key("192.0.2.8"));
        assert_eq!(address("2001:db8::1").to_string(), "2001:db8::/64");
        assert_eq!(address("::ffff:192.0.2.7").to_string(), "192.0.2.7");
    }

    #[test]
    fn neighbours_share_a_network_and_strangers_do_not() {
        let same = |a: &str, b: &str| key(a).neighbourhood() == key(b).neighbourhood();
        assert!(same("192.0.2.7", "192.0.2.200"));
        assert!(!same("192.0.2.7", "192.0.3.7"));
        assert!(same("2001:db8:1:2::1", "2001:db8:1:ffff::1"));
        assert!(!same("2001:db8:1::1", "2001:db8:2::1"));
        assert!(!same("192.0.2.7", "2001:db8::1"));
    }

    #[test]
    fn an_account_is_the_same_in_any_case_and_no_text_shows_it() {
        let account = |text: &str| Account::of(&Email::parse(text).expect("an address"));
        let keyer = Keyer::new([7; 16]);
        let key = |text: &str| Subject::Account(account(text)).key(&keyer, "auth");
        assert_eq!(key("Ada@Example.com"), key("ada@example.COM"));
        assert_ne!(key("ada@example.com"), key("adb@example.com"));
        let all = [
            Subject::Account(account("ada@example.com")),
            Subject::Slowed(account("ada@example.com")),
            Subject::AccountOnAny(account("ada@example.com")),
            Subject::SlowedOnAny(account("ada@example.com")),
            Subject::AccountFrom(account("ada@example.com"), address("192.0.2.7")),
            Subject::AccountOn(account("ada@example.com"), [1; 16]),
        ];
        let mut keys: Vec<u128> = all.iter().map(|subject| subject.key(&keyer, "auth").name()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all.len());
        assert!(all.iter().all(|subject| !format!("{subject} {subject:?}").contains("ada")));
    }

    proptest! {
        #[test]
        fn masking_keeps_the_prefix_and_nothing_else(bits: u128, prefix in 0_u8..=128) {
            let address = LimitedAddress::of(Ipv6Addr::from_bits(bits).into(), prefix);
            prop_assume!(normal(Ipv6Addr::from_bits(bits).into()).is_ipv6());
            let IpAddr::V6(kept) = address.address else { return Ok(()) };
            for bit in 0..128_u8 {
                let is = |bits: u128| bits >> (127 - bit) & 1;
                prop_assert_eq!(is(kept.to_bits()), if bit < prefix { is(bits) } else { 0 });
            }
        }
    }
}
