//! Key sets as issuers write them: what is used, what is left out.

use aws_lc_rs::rsa::KeySize;
use serde_json::{Value, json};

use super::provider::{Provider, Signer, base64url, normal, stack_config, with, without};
use crate::config::Algorithm;
use crate::keys::MAX_KEYS;
use crate::keys::jwk::KeySet;
use crate::refusal::Refusal;

fn parse(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes(), &Algorithm::ALL).expect("a key set")
}

fn accepted(key: Value) -> bool {
    parse(&[key]).len() == 1
}

/// Whether the key of `id` verifies what `signer` signs.
fn verifies(set: &KeySet, id: Option<&str>, algorithm: Algorithm, signer: &Signer) -> bool {
    let key = set.find(id, algorithm).expect("the algorithm fits").expect("the key is there");
    key.verify(b"message", &signer.sign(b"message")).is_ok()
}

#[test]
fn each_kind_of_key_verifies_with_its_algorithm_only() {
    let signers = [Signer::es256(), Signer::rs256(KeySize::Rsa2048), Signer::ed25519()];
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk(signer.alg())).collect();
    let set = parse(&keys);
    for (signer, algorithm) in signers.iter().zip(Algorithm::ALL) {
        assert!(verifies(&set, Some(signer.alg()), algorithm, signer));
        assert!(verifies(&set, None, algorithm, signer), "the only one for its algorithm");
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            assert_eq!(set.find(Some(signer.alg()), other).err(), Some(Refusal::Algorithm));
        }
        let key = set.find(Some(signer.alg()), algorithm).expect("fits").expect("is there");
        for signature in [vec![], vec![0; 64], signer.sign(b"other")] {
            assert_eq!(key.verify(b"message", &signature).err(), Some(Refusal::Signature));
        }
    }
}

#[test]
fn coordinates_that_lost_their_zeros_are_padded() {
    let short =
        |coordinate: &[u8]| coordinate.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<u8>>();
    // One key in 128 has such a coordinate.
    let signer = (0..100_000)
        .map(|_| Signer::es256())
        .find(|signer| signer.point().0[0] == 0 || signer.point().1[0] == 0)
        .expect("such a key");
    let (x, y) = signer.point();
    let key = with(with(signer.jwk("k"), "x", base64url(short(&x))), "y", base64url(short(&y)));
    assert_ne!(key, signer.jwk("k"));
    assert!(verifies(&parse(std::slice::from_ref(&key)), Some("k"), Algorithm::Es256, &signer));
    let long = with(key, "x", base64url([&[0], x.as_slice()].concat()));
    assert!(!accepted(long));
}

#[test]
fn keys_need_no_purpose_but_not_another_one() {
    let key = Signer::es256().jwk("k");
    assert!(accepted(key.clone()));
    assert!(accepted(without(key.clone(), "alg")));
    assert!(accepted(with(key.clone(), "use", "sig")));
    assert!(accepted(with(key.clone(), "key_ops", json!(["verify"]))));
    assert!(accepted(with(key.clone(), "x", format!("{}=", key["x"].as_str().expect("a text")))));
    assert!(!accepted(with(key.clone(), "use", "enc")));
    assert!(!accepted(with(key.clone(), "key_ops", json!(["encrypt"]))));
    assert!(!accepted(with(key.clone(), "key_ops", json!([]))));
    for alg in ["ES384", "RS256", "HS256", "none", ""] {
        assert!(!accepted(with(key.clone(), "alg", alg)), "{alg}");
    }
}

#[test]
fn useless_keys_are_left_out_and_spoil_nothing() {
    let signer = Signer::es256();
    let key = signer.jwk("k");
    let useless = [
        json!(null),
        json!("key"),
        json!({}),
        json!({"kty": "oct", "k": "AAAA", "kid": "k"}),
        json!({"kty": "unknown", "kid": "k"}),
        with(key.clone(), "crv", "P-384"),
        without(key.clone(), "crv"),
        without(key.clone(), "y"),
        with(key.clone(), "x", ""),
        with(key.clone(), "x", "!"),
        with(key.clone(), "x", 1),
        // Not on the curve.
        with(key.clone(), "x", base64url([1; 32])),
        with(Signer::ed25519().jwk("k"), "x", base64url([1; 31])),
    ];
    for useless in useless {
        assert!(!accepted(useless.clone()), "{useless}");
        assert!(verifies(&parse(&[useless, key.clone()]), Some("k"), Algorithm::Es256, &signer));
    }
    for not_a_set in ["", "[]", "{}", r#"{"keys":{}}"#, "null"] {
        assert!(KeySet::parse(not_a_set.as_bytes(), &Algorithm::ALL).is_none());
    }
}

#[test]
fn rsa_keys_have_2048_to_8192_bits() {
    let signer = Signer::rs256(KeySize::Rsa2048);
    let key = signer.jwk("k");
    assert!(accepted(key.clone()));
    let number = |bytes: usize, first: u8| {
        let mut number = vec![0xff; bytes];
        number[0] = first;
        base64url(number)
    };
    let with_n = |bytes, first| with(key.clone(), "n", number(bytes, first));
    assert!(accepted(with_n(256, 0x80)) && !accepted(with_n(256, 0x7f)) && !accepted(with_n(128, 0xff)));
    assert!(accepted(with_n(1024, 0xff)) && !accepted(with_n(1025, 0x01)));
    // Zeros in front do not make a number larger.
    assert!(accepted(with_n(257, 0)) && accepted(with_n(1025, 0)));
    for (name, value) in
        [("n", String::new()), ("n", number(256, 0).replace('_', "A")), ("e", base64url([0]))]
    {
        assert!(!accepted(with(key.clone(), name, value)), "{name}");
    }
    assert!(!accepted(without(key.clone(), "e")));
    for exponent in [vec![1], vec![2], vec![0, 1], vec![1; 5]] {
        assert!(!accepted(with(key.clone(), "e", base64url(&exponent))), "{exponent:?}");
    }
    assert!(accepted(with(key, "e", base64url([3]))));
}

#[test]
fn of_keys_with_the_same_id_the_first_counts() {
    let (first, second) = (Signer::es256(), Signer::es256());
    let set = parse(&[first.jwk("k"), second.jwk("k"), Signer::ed25519().jwk("k")]);
    assert_eq!(set.len(), 1);
    assert!(verifies(&set, Some("k"), Algorithm::Es256, &first));
    assert!(!verifies(&set, Some("k"), Algorithm::Es256, &second));
}

#[test]
fn keys_beyond_the_bound_are_ignored() {
    let signer = Signer::es256();
    let keys: Vec<Value> = (0..MAX_KEYS + 10).map(|n| signer.jwk(&n.to_string())).collect();
    let set = parse(&keys);
    assert_eq!(set.len(), MAX_KEYS);
    let found = |n: usize| set.find(Some(&n.to_string()), Algorithm::Es256).expect("fits").is_some();
    assert!(found(MAX_KEYS - 1) && !found(MAX_KEYS));
}

#[test]
fn a_token_without_a_key_id_gets_a_key_only_if_there_is_no_choice() {
    let (first, second) = (Signer::es256(), Signer::es256());
    let none = |set: &KeySet| set.find(None, Algorithm::Es256).expect("fits").is_none();
    assert!(!none(&parse(&[first.jwk("a"), Signer::ed25519().jwk("b")])));
    assert!(none(&parse(&[first.jwk("a"), second.jwk("b")])));
    assert!(none(&parse(&[Signer::ed25519().jwk("b")])));
    // A key without an id is nobody's by name.
    let set = parse(&[without(first.jwk("a"), "kid")]);
    assert!(!none(&set));
    assert!(set.find(Some(""), Algorithm::Es256).expect("fits").is_none());
}

#[tokio::test]
async fn the_six_keys_of_stack_auth_are_all_used() {
    let signers: Vec<Signer> = (0..6).map(|_| Signer::es256()).collect();
    let keys: Vec<Value> = signers.iter().enumerate().map(|(n, signer)| signer.jwk(&n.to_string())).collect();
    let provider = Provider::stack(&keys);
    let identity = provider.with_stack(stack_config());
    for (n, signer) in signers.iter().enumerate() {
        let token = signer.token(&n.to_string(), &normal());
        assert!(identity.verify(&token, super::provider::NOW, super::provider::seconds(1)).await.is_ok());
        let other = signer.token(&((n + 1) % 6).to_string(), &normal());
        let refusal = identity.verify(&other, super::provider::NOW, super::provider::seconds(1)).await.err();
        assert_eq!(refusal, Some(Refusal::Signature));
    }
    assert_eq!(provider.fetches(), 1);
}
