//! Keys derived from a secret and the time: every node has the same ones without telling the others, and nothing is
//! stored. `docs/adr/0013-derived-assertion-keys.md` says why.
//!
//! Time is cut into epochs of one rotation each, counted from 1970. The private key of an epoch is HKDF-SHA-256 (RFC
//! 5869) of the secret, the epoch and a counter; the counter goes up until the result is a number from 1 to n - 1
//! (the testing of candidates in FIPS 186-5, appendix A.2.2).

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use super::key::SigningKey;

/// Separates this use of the secret from all others. A change of it is a change of every key.
const PURPOSE: &[u8] = b"phoenix assertion key v1";

/// Order of the group of P-256 (FIPS 186-5; SP 800-186 section 3.2.1.3), big-endian.
const ORDER: [u8; SCALAR_BYTES] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Bytes of a private key of P-256.
const SCALAR_BYTES: usize = 32;

/// Most candidates for one key. One in 2^32 is refused, so the second is as good as never needed.
const MAX_CANDIDATES: u32 = 8;

/// An `ECPrivateKey` (RFC 5915 section 3) of P-256 without its public point, around the private key.
const DER_BEFORE: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
const DER_AFTER: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// The key of an epoch. `None` only if the library fails.
pub(super) fn key(secret: &[u8; 32], epoch: u64) -> Option<SigningKey> {
    let scalar = (0..MAX_CANDIDATES).find_map(|counter| candidate(secret, epoch, counter))?;
    let mut der = Zeroizing::new([0; DER_BEFORE.len() + SCALAR_BYTES + DER_AFTER.len()]);
    let (before, rest) = der.split_at_mut(DER_BEFORE.len());
    let (middle, after) = rest.split_at_mut(SCALAR_BYTES);
    before.copy_from_slice(&DER_BEFORE);
    middle.copy_from_slice(&*scalar);
    after.copy_from_slice(&DER_AFTER);
    SigningKey::from_der(&*der)
}

/// A private key, unless the number is none.
fn candidate(secret: &[u8; 32], epoch: u64, counter: u32) -> Option<Zeroizing<[u8; SCALAR_BYTES]>> {
    let mut scalar = Zeroizing::new([0; SCALAR_BYTES]);
    let secret = Salt::new(HKDF_SHA256, PURPOSE).extract(secret);
    let (epoch, counter) = (epoch.to_be_bytes(), counter.to_be_bytes());
    secret.expand(&[&epoch, &counter], HKDF_SHA256).and_then(|output| output.fill(&mut *scalar)).ok()?;
    is_private_key(&scalar).then_some(scalar)
}

/// Whether the number is one of 1 to n - 1. That this takes another time for another number does not matter: it is
/// made once in an epoch, and says at most that a number was thrown away.
fn is_private_key(scalar: &[u8; SCALAR_BYTES]) -> bool {
    *scalar != [0; SCALAR_BYTES] && *scalar < ORDER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_are_the_numbers_from_one_to_the_order_less_one() {
        let number = |last: u8| {
            let mut number = [0; SCALAR_BYTES];
            number[SCALAR_BYTES - 1] = last;
            number
        };
        let near_order = |last: u8| {
            let mut number = ORDER;
            number[SCALAR_BYTES - 1] = last;
            number
        };
        assert!(!is_private_key(&number(0)));
        assert!(is_private_key(&number(1)));
        assert!(is_private_key(&near_order(0x50)));
        assert!(!is_private_key(&near_order(0x51)));
        assert!(!is_private_key(&near_order(0x52)));
        assert!(!is_private_key(&[0xff; SCALAR_BYTES]));
    }

    #[test]
    fn another_secret_epoch_or_counter_is_another_key() {
        let first = candidate(&[1; 32], 7, 0).expect("a key");
        for other in [([2; 32], 7, 0), ([1; 32], 8, 0), ([1; 32], 7, 1)] {
            assert_ne!(Some(&first), candidate(&other.0, other.1, other.2).as_ref());
        }
        assert_eq!(Some(&first), candidate(&[1; 32], 7, 0).as_ref());
    }
}
