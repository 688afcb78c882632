//! Keys from PEM texts.

use super::super::{AssertionError, AssertionKeys, AssertionMint, KeyRefusal, MAX_ASSERTION_KEYS};
use super::verifier::{ids, verified};
use super::{MINUTE, NOW, ada, at, token};

const P256: &str = include_str!("data/p256.pem");
const P256_SEC1: &str = include_str!("data/p256-sec1.pem");
const P384: &str = include_str!("data/p384.pem");
const K256_SEC1: &str = include_str!("data/k256-sec1.pem");
const RSA: &str = include_str!("data/rsa.pem");
const ED25519: &str = include_str!("data/ed25519.pem");
const ENCRYPTED: &str = include_str!("data/encrypted.pem");
const PUBLIC: &str = include_str!("data/public.pem");

fn mint(texts: &[&str]) -> AssertionMint {
    let keys = AssertionKeys::from_pem(texts).expect("keys");
    AssertionMint::new(keys, "i", MINUTE, at(NOW)).expect("a mint")
}

#[test]
fn the_first_key_signs_and_all_are_published_once() {
    let (one, other) = (mint(&[P256]), mint(&[P256_SEC1]));
    let both = mint(&[P256_SEC1, P256, P256]);
    let jwks = both.jwks(at(NOW));
    let id = |mint: &AssertionMint| ids(&mint.jwks(at(NOW)));
    assert_eq!(ids(&jwks), [id(&other), id(&one)].concat());
    // What the key before signed still counts, and what is signed now counts only where the new key is known.
    assert!(verified(&jwks, &token(&one, &ada(2), "app", NOW)).is_some());
    let text = token(&both, &ada(2), "app", NOW);
    assert!(verified(&other.jwks(at(NOW)), &text).is_some());
    assert!(verified(&one.jwks(at(NOW)), &text).is_none());
}

#[test]
fn keys_from_files_do_not_change_with_time() {
    let mint = mint(&[P256]);
    assert_eq!(mint.jwks(at(NOW)), mint.jwks(at(NOW * 2)));
}

#[test]
fn texts_that_are_no_key_are_refused_with_their_number() {
    let damaged = P256.replacen("MIGHAgEAMBMGByqGSM49", "MIGHAgEAMBMGByqGSM50", 1);
    assert_ne!(damaged, P256);
    let cases = [
        ("", KeyRefusal::NoKey),
        ("garbage", KeyRefusal::NoKey),
        (PUBLIC, KeyRefusal::NoKey),
        (ENCRYPTED, KeyRefusal::Encrypted),
        (&P256[..P256.len() / 2], KeyRefusal::NoKey),
        (damaged.as_str(), KeyRefusal::WrongKind),
        (P384, KeyRefusal::WrongKind),
        (K256_SEC1, KeyRefusal::WrongKind),
        (RSA, KeyRefusal::WrongKind),
        (ED25519, KeyRefusal::WrongKind),
    ];
    for (text, refusal) in cases {
        let refused = AssertionKeys::from_pem(&[P256, text]).err();
        assert_eq!(refused, Some(AssertionError::Key(1, refusal)), "{text}");
    }
}

#[test]
fn the_number_of_keys_is_bounded() {
    assert_eq!(AssertionKeys::from_pem::<&str>(&[]).err(), Some(AssertionError::Count(0)));
    let many = vec![P256; MAX_ASSERTION_KEYS + 1];
    assert_eq!(AssertionKeys::from_pem(&many).err(), Some(AssertionError::Count(MAX_ASSERTION_KEYS + 1)));
    assert!(AssertionKeys::from_pem(&many[1..]).is_ok());
}

#[test]
fn keys_never_appear_where_they_are_printed() {
    let keys = AssertionKeys::from_pem(&[P256]).expect("a key");
    assert_eq!(format!("{keys:?}"), "AssertionKeys::Fixed(..)");
    let keys = AssertionKeys::derived([7; 32], super::WEEK).expect("keys");
    assert_eq!(format!("{keys:?}"), "AssertionKeys::Derived(..)");
}
