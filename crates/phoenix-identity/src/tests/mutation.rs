//! Random changes of a good token: none is ever accepted, and nothing panics.

use std::sync::LazyLock;

use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;

use super::provider::{NOW, Provider, Signer, base64url, normal, seconds, stack_config};
use crate::{Identity, Refusal};

/// A good token, and a client that has its key at hand.
static GOOD: LazyLock<(String, Identity)> = LazyLock::new(|| {
    let signer = Signer::es256();
    let provider = Provider::stack(&[signer.jwk("k")]);
    let identity = provider.with_stack(stack_config());
    let token = signer.token("k", &normal());
    assert_eq!(verify(&identity, &token), None);
    (token, identity)
});

/// The provider answers at once, so that nothing waits.
fn verify(identity: &Identity, token: &str) -> Option<Refusal> {
    let verified = identity.verify(token, NOW, seconds(1)).now_or_never();
    verified.expect("nothing waits").err()
}

#[derive(Clone, Debug)]
enum Change {
    Replace(usize, u8),
    Remove(usize),
    Insert(usize, u8),
    Swap(usize, usize),
    Cut(usize),
    Append(Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<usize>;
    let letter = || prop_oneof![prop::sample::select(b"ABCxyz019-_.=".as_slice()), 0..=127_u8];
    prop_oneof![
        (place(), letter()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        place().prop_map(Change::Remove),
        (place(), letter()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        (place(), place()).prop_map(|(one, other)| Change::Swap(one, other)),
        place().prop_map(Change::Cut),
        vec(letter(), 1..20).prop_map(Change::Append),
    ]
}

fn apply(change: Change, token: &mut Vec<u8>) {
    let length = token.len().max(1);
    let is_empty = token.is_empty();
    match change {
        Change::Append(bytes) => token.extend(bytes),
        Change::Insert(at, byte) => token.insert(at % length, byte),
        _ if is_empty => {}
        Change::Replace(at, byte) => token[at % length] = byte,
        Change::Remove(at) => drop(token.remove(at % length)),
        Change::Swap(one, other) => token.swap(one % length, other % length),
        Change::Cut(at) => token.truncate(at % length),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_changed_token_is_never_accepted(changes in vec(change(), 1..5)) {
        let (good, identity) = &*GOOD;
        let mut bytes = good.clone().into_bytes();
        for change in changes {
            apply(change, &mut bytes);
        }
        let token = String::from_utf8(bytes).expect("ASCII");
        prop_assume!(token != *good);
        prop_assert!(verify(identity, &token).is_some(), "{token}");
    }

    #[test]
    fn other_claims_under_the_same_signature_are_never_accepted(
        name in prop::sample::select(vec!["sub", "refresh_token_id", "exp", "iat", "email", "name", "role"]),
        value in prop_oneof![any::<i64>().prop_map(serde_json::Value::from), ".{0,40}".prop_map(serde_json::Value::from)],
    ) {
        let (good, identity) = &*GOOD;
        let (header, rest) = good.split_once('.').expect("three parts");
        let (_, signature) = rest.split_once('.').expect("three parts");
        let claims = super::provider::with(normal(), name, value);
        prop_assume!(claims != normal());
        let token = format!("{header}.{}.{signature}", base64url(claims.to_string()));
        prop_assert!(verify(identity, &token).is_some(), "{token}");
    }

    #[test]
    fn no_text_is_accepted_and_none_panics(
        header in "\\PC{0,60}", payload in "\\PC{0,60}", signature in "\\PC{0,60}", text in "\\PC*",
    ) {
        let (_, identity) = &*GOOD;
        prop_assert!(verify(identity, &text).is_some());
        let encoded = [&header, &payload, &signature].map(base64url);
        prop_assert!(verify(identity, &encoded.join(".")).is_some());
        prop_assert!(verify(identity, &[header, payload, signature].join(".")).is_some());
    }

    #[test]
    fn no_answer_of_a_provider_panics(body in vec(any::<u8>(), 0..200), json in "[\\[{\"keysktyECxn,:1}\\]]{0,60}") {
        for body in [body, json.into_bytes()] {
            drop(crate::keys::jwk::KeySet::parse(&body, &crate::Algorithm::ALL));
            drop(crate::webhook::parse(&body));
        }
    }
}
