//! Tokens that must not count, and those that must.

use aws_lc_rs::hmac;
use phoenix_client::{Jwks, JwksError, MAX_JWKS_BYTES, MAX_TOKEN_BYTES, Verifier, VerifyError};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{AUDIENCE, ISSUER, Key, NOW, ada, at, base64, jwks, with};

fn verifier(keys: &[&Key]) -> Verifier {
    Verifier::new(Jwks::parse(&jwks(keys)).expect("keys"), AUDIENCE, ISSUER)
}

/// Why a token of `key` with this header and these claims does not count.
fn refusal(key: &Key, header: &str, claims: &str) -> Option<VerifyError> {
    verifier(&[key]).verify(&key.sign(header, claims), at(NOW)).err()
}

#[test]
fn a_token_of_phoenix_says_who_is_calling() {
    let key = Key::new("a");
    let caller = verifier(&[&key]).verify(&key.token(&ada()), at(NOW)).expect("it counts");
    assert_eq!(caller.user_id, "0198c0de-0000-7000-8000-000000000001");
    assert_eq!(caller.session_id, "0198c0de-0000-7000-8000-000000000002");
    assert_eq!(caller.email.as_deref(), Some("ada@example.com"));
    assert!(caller.email_verified);
    assert_eq!(caller.role, "user");
    assert_eq!((caller.issued_at, caller.expires_at), (at(NOW), at(NOW + 60)));
}

#[test]
fn the_header_alone_decides_nothing() {
    let key = Key::new("a");
    let claims = ada().to_string();
    for (header, expected) in [
        (r#"{"alg":"none","kid":"a"}"#, VerifyError::Algorithm),
        (r#"{"alg":"None","kid":"a"}"#, VerifyError::Algorithm),
        (r#"{"alg":"es256","kid":"a"}"#, VerifyError::Algorithm),
        (r#"{"alg":"ES384","kid":"a"}"#, VerifyError::Algorithm),
        (r#"{"alg":"HS256","kid":"a"}"#, VerifyError::Algorithm),
        (r#"{"alg":"","kid":"a"}"#, VerifyError::Algorithm),
        (r#"{"alg":["ES256"],"kid":"a"}"#, VerifyError::Malformed),
        (r#"{"kid":"a"}"#, VerifyError::Malformed),
        (r#"{"alg":"ES256"}"#, VerifyError::Malformed),
        (r#"{"alg":"ES256","kid":null}"#, VerifyError::Malformed),
        (r#"{"alg":"ES256","kid":"b"}"#, VerifyError::UnknownKey),
        (r#"{"alg":"ES256","kid":""}"#, VerifyError::UnknownKey),
        (r#"{"alg":"ES256","kid":"a","kid":"a"}"#, VerifyError::Malformed),
        (r#"{"alg":"ES256","alg":"ES256","kid":"a"}"#, VerifyError::Malformed),
        (r#"{"alg":"ES256","kid":"a","crit":["exp"]}"#, VerifyError::Malformed),
        (r#"{"alg":"ES256","kid":"a","crit":null}"#, VerifyError::Malformed),
        ("[]", VerifyError::Malformed),
        ("", VerifyError::Malformed),
    ] {
        assert_eq!(refusal(&key, header, &claims), Some(expected), "{header}");
    }
    // What names keys elsewhere is passed over, and the key at hand decides.
    let header = r#"{"alg":"ES256","kid":"a","jku":"https://evil.example","jwk":{"kty":"EC"}}"#;
    assert_eq!(refusal(&key, header, &claims), None);
}

#[test]
fn a_signature_must_be_of_the_key_that_is_named() {
    let (key, other) = (Key::new("a"), Key::new("b"));
    let claims = ada().to_string();
    let refusal = |token: &str| verifier(&[&key, &other]).verify(token, at(NOW)).err();
    // Another key of Phoenix's, one that says it has the name, and one of another curve.
    let header = key.header().to_string();
    assert_eq!(refusal(&other.sign(&header, &claims)), Some(VerifyError::Signature));
    assert_eq!(refusal(&Key::new("a").sign(&header, &claims)), Some(VerifyError::Signature));
    assert_eq!(refusal(&Key::of_other_curve("a").sign(&header, &claims)), Some(VerifyError::Signature));
    // The public key as a shared secret, in the forms in which it is at hand.
    for secret in [key.point().to_vec(), key.jwk().to_string().into_bytes(), jwks(&[&key])] {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        for header in [r#"{"alg":"HS256","kid":"a"}"#, header.as_str()] {
            let signed = format!("{}.{}", base64(header), base64(&claims));
            let tag = hmac::sign(&secret, signed.as_bytes());
            let expected =
                if header.contains("HS256") { VerifyError::Algorithm } else { VerifyError::Signature };
            assert_eq!(refusal(&format!("{signed}.{}", base64(tag))), Some(expected));
        }
    }
    // Of another token, empty, and all zero (CVE-2022-21449).
    let token = key.token(&ada());
    let other_claims = key.token(&with("role", json!("admin")));
    let (signed, _) = other_claims.rsplit_once('.').expect("a token");
    let (_, signature) = token.rsplit_once('.').expect("a token");
    for signature in [signature, "", &base64([0; 64]), &base64([0; 63]), &signature[..84]] {
        assert_eq!(refusal(&format!("{signed}.{signature}")), Some(VerifyError::Signature), "{signature}");
    }
}

#[test]
fn claims_must_be_those_of_an_assertion_for_us_and_now() {
    let key = Key::new("a");
    let refusal = |claims: &Value| verifier(&[&key]).verify(&key.token(claims), at(NOW)).err();
    for (name, value, expected) in [
        ("iss", json!("https://planner.example.com/"), Some(VerifyError::Issuer)),
        ("iss", json!(""), Some(VerifyError::Issuer)),
        ("aud", json!("other"), Some(VerifyError::Audience)),
        ("aud", json!("APP"), Some(VerifyError::Audience)),
        ("aud", json!(["app"]), Some(VerifyError::Malformed)),
        ("aud", json!(["app", "other"]), Some(VerifyError::Malformed)),
        ("exp", json!(NOW - 30), Some(VerifyError::Expired)),
        ("exp", json!(NOW - 29), None),
        ("exp", json!(0), Some(VerifyError::Expired)),
        ("exp", json!(-1), Some(VerifyError::Malformed)),
        ("exp", json!("9999999999"), Some(VerifyError::Malformed)),
        ("exp", json!(1e300), Some(VerifyError::Malformed)),
        ("exp", json!(u64::MAX), Some(VerifyError::Malformed)),
        ("iat", json!(NOW + 31), Some(VerifyError::NotYetValid)),
        ("iat", json!(NOW + 30), None),
        ("nbf", json!(NOW + 31), Some(VerifyError::NotYetValid)),
        ("nbf", json!(NOW + 30), None),
        ("nbf", json!("soon"), Some(VerifyError::Malformed)),
        ("email_verified", json!("true"), Some(VerifyError::Malformed)),
        ("email", json!(7), Some(VerifyError::Malformed)),
        ("role", json!(["user", "admin"]), Some(VerifyError::Malformed)),
        ("unknown", json!({"is": "passed over"}), None),
    ] {
        assert_eq!(refusal(&with(name, value.clone())), expected, "{name} = {value}");
    }
    for name in ["iss", "aud", "sub", "sid", "email_verified", "role", "iat", "exp"] {
        assert_eq!(refusal(&with(name, Value::Null)), Some(VerifyError::Malformed), "without {name}");
    }
}

#[test]
fn a_claim_that_is_there_twice_is_refused() {
    let key = Key::new("a");
    for (name, value) in [("role", "\"admin\""), ("exp", "9999999999"), ("aud", "\"app\"")] {
        let once = ada().to_string();
        let twice = format!(r#"{},"{name}":{value}}}"#, once.trim_end_matches('}'));
        assert_eq!(refusal(&key, &key.header().to_string(), &twice), Some(VerifyError::Malformed), "{name}");
    }
}

#[test]
fn only_the_compact_form_is_a_token() {
    let key = Key::new("a");
    let verifier = verifier(&[&key]);
    let token = key.token(&ada());
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{token}"),
        token.replacen('.', "..", 1),
        token[..token.len() - 1].to_owned(),
        format!("{token}="),
        format!(" {token}"),
        format!("{token}\n"),
        format!("Bearer {token}"),
        token.rsplit_once('.').expect("a token").0.to_owned(),
        json!({"payload": "", "signatures": []}).to_string(),
        "ä.ö.ü".to_owned(),
    ] {
        assert_eq!(verifier.verify(&text, at(NOW)).err(), Some(VerifyError::Malformed), "{text}");
    }
    let long = "a".repeat(MAX_TOKEN_BYTES + 1);
    assert_eq!(verifier.verify(&long, at(NOW)).err(), Some(VerifyError::TooLong));
    assert_eq!(verifier.verify(&long[1..], at(NOW)).err(), Some(VerifyError::Malformed));
    assert!(verifier.verify(&token, at(NOW)).is_ok());
}

#[test]
fn sets_of_keys_are_read_with_care() {
    let key = Key::new("a");
    let changed = |name: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk[name] = value;
        json!({ "keys": [jwk] }).to_string()
    };
    let other = Key::of_other_curve("a").jwk();
    for (text, expected) in [
        (String::new(), JwksError::Malformed),
        ("[]".to_owned(), JwksError::Malformed),
        (r#"{"keys":{}}"#.to_owned(), JwksError::Malformed),
        (r#"{"keys":[]}"#.to_owned(), JwksError::NoKeys),
        (r#"{"keys":[null,1,"a",{}]}"#.to_owned(), JwksError::NoKeys),
        (json!({ "keys": [other] }).to_string(), JwksError::NoKeys),
        (changed("kty", json!("RSA")), JwksError::NoKeys),
        (changed("kty", json!("oct")), JwksError::NoKeys),
        (changed("use", json!("enc")), JwksError::NoKeys),
        (changed("alg", json!("ES384")), JwksError::NoKeys),
        (changed("kid", Value::Null), JwksError::NoKeys),
        (changed("x", json!(base64([1; 31]))), JwksError::NoKeys),
        (changed("x", json!(base64([1; 33]))), JwksError::NoKeys),
        // Not on the curve.
        (changed("x", json!(base64([1; 32]))), JwksError::NoKeys),
        (" ".repeat(MAX_JWKS_BYTES + 1), JwksError::TooLong),
    ] {
        assert_eq!(Jwks::parse(text.as_bytes()).err(), Some(expected), "{text:.200}");
    }
    // A broken key does not spoil the others.
    let mixed = json!({ "keys": [null, key.jwk()] }).to_string();
    let verifier = Verifier::new(Jwks::parse(mixed.as_bytes()).expect("keys"), AUDIENCE, ISSUER);
    assert!(verifier.verify(&key.token(&ada()), at(NOW)).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// No change of a byte gives another token that counts.
    #[test]
    fn a_changed_token_never_counts(position in any::<prop::sample::Index>(), byte in 0x20_u8..0x7f) {
        let key = Key::new("a");
        let token = key.token(&ada());
        let position = position.index(token.len());
        let mut bytes = token.clone().into_bytes();
        prop_assume!(bytes[position] != byte);
        bytes[position] = byte;
        let changed = String::from_utf8(bytes).expect("ASCII");
        prop_assert!(verifier(&[&key]).verify(&changed, at(NOW)).is_err(), "{}", changed);
    }

    /// Garbage is refused, whatever it is.
    #[test]
    fn garbage_never_counts(text in any::<String>(), header in any::<String>(), claims in any::<String>()) {
        let key = Key::new("a");
        prop_assert!(verifier(&[&key]).verify(&text, at(NOW)).is_err());
        prop_assert!(verifier(&[&key]).verify(&key.sign(&header, &claims), at(NOW)).is_err());
        let _ = Jwks::parse(text.as_bytes());
    }
}
