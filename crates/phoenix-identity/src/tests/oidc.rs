//! Tokens of other issuers, and finding their keys.

use aws_lc_rs::rsa::KeySize;
use serde_json::{Value, json};

use super::provider::{NOW, Provider, Signer, seconds, stack_config, with, without};
use crate::{
    Algorithm, Identity, IdentityConfig, IdentityConfigError, OidcIssuer, Refusal, SessionReference,
};

const ISSUER: &str = "https://id.example/realms/a";
const DOCUMENT: &str = "/realms/a/.well-known/openid-configuration";
const KEYS: &str = "/realms/a/keys";

fn issuer() -> OidcIssuer {
    OidcIssuer {
        issuer: ISSUER.to_owned(),
        audiences: vec!["phoenix".to_owned(), "api".to_owned()],
        jwks: None,
        algorithms: Algorithm::ALL.to_vec(),
    }
}

fn config(issuers: &[OidcIssuer]) -> IdentityConfig {
    IdentityConfig { issuers: issuers.to_vec(), ..IdentityConfig::default() }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "user-1", "aud": "phoenix", "iat": NOW, "exp": NOW + 300, "sid": "session-1",
        "jti": "token-1", "email": "ada@example.com", "email_verified": true, "name": "Ada",
        "picture": "https://id.example/ada.png",
    })
}

fn discovery(issuer: &str, jwks_uri: &str) -> String {
    json!({"issuer": issuer, "jwks_uri": jwks_uri, "other": 1}).to_string()
}

/// An issuer with this key `k`, and its client.
fn with_signer(signer: &Signer, issuer: OidcIssuer) -> Identity {
    let provider = Provider::new();
    provider.answer(DOCUMENT, 200, &[], discovery(ISSUER, &format!("https://id.example{KEYS}")));
    provider.publish(KEYS, &[signer.jwk("k")]);
    provider.identity(&config(&[issuer]))
}

async fn refusal(identity: &Identity, token: &str) -> Option<Refusal> {
    identity.verify(token, NOW, seconds(1)).await.err()
}

#[tokio::test]
async fn each_algorithm_is_accepted_and_can_be_forbidden() {
    let signers = [Signer::es256(), Signer::rs256(KeySize::Rsa2048), Signer::ed25519()];
    for (signer, algorithm) in signers.iter().zip(Algorithm::ALL) {
        let token = signer.token("k", &claims());
        assert_eq!(refusal(&with_signer(signer, issuer()), &token).await, None, "{algorithm:?}");
        let others = Algorithm::ALL.into_iter().filter(|other| *other != algorithm).collect();
        let without = OidcIssuer { algorithms: others, ..issuer() };
        assert_eq!(refusal(&with_signer(signer, without), &token).await, Some(Refusal::Algorithm));
    }
}

#[tokio::test]
async fn a_token_must_use_the_algorithm_of_its_key() {
    let signer = Signer::es256();
    let token = signer.token_of(r#"{"alg":"RS256","kid":"k"}"#, &claims().to_string());
    assert_eq!(refusal(&with_signer(&signer, issuer()), &token).await, Some(Refusal::Algorithm));
    let token = signer.token_of(r#"{"alg":"ES256","kid":"k","typ":"logout+jwt"}"#, &claims().to_string());
    assert_eq!(refusal(&with_signer(&signer, issuer()), &token).await, Some(Refusal::TokenType));
}

#[tokio::test]
async fn what_tells_of_events_lets_nobody_in() {
    let signer = Signer::es256();
    let identity = with_signer(&signer, issuer());
    for events in [json!({"http://schemas.openid.net/event/backchannel-logout": {}}), json!({}), json!("x")] {
        let token = signer.token("k", &with(claims(), "events", events));
        assert_eq!(refusal(&identity, &token).await, Some(Refusal::TokenType));
    }
}

#[tokio::test]
async fn what_the_token_says_is_handed_on() {
    let signer = Signer::es256();
    let identity = with_signer(&signer, issuer());
    let token = identity.verify(&signer.token("k", &claims()), NOW, seconds(1)).await.expect("good");
    assert_eq!((&*token.provider, token.subject.as_str()), (ISSUER, "user-1"));
    assert_eq!((token.issued_at, token.expires_at), (NOW, NOW + 300));
    assert_eq!((token.email.as_deref(), token.email_verified), (Some("ada@example.com"), true));
    assert_eq!(token.name.as_deref(), Some("Ada"));
    assert_eq!(token.picture.as_deref(), Some("https://id.example/ada.png"));
    for (value, verified) in [
        (json!("true"), true),
        (json!("false"), false),
        (json!(false), false),
        (Value::Null, false),
        (json!("1"), false),
    ] {
        let claims = with(claims(), "email_verified", value);
        let token = identity.verify(&signer.token("k", &claims), NOW, seconds(1)).await.expect("good");
        assert_eq!(token.email_verified, verified);
    }
    let token = identity.verify(&signer.token("k", &without(claims(), "email")), NOW, seconds(1)).await;
    assert!(!token.expect("good").email_verified);
}

#[tokio::test]
async fn the_session_is_sid_then_jti_then_what_was_signed() {
    let signer = Signer::es256();
    let identity = with_signer(&signer, issuer());
    let session = async |claims: &Value| {
        identity.verify(&signer.token("k", claims), NOW, seconds(1)).await.expect("good").session
    };
    assert_eq!(session(&claims()).await, SessionReference::Session("session-1".to_owned()));
    let no_sid = without(claims(), "sid");
    assert_eq!(session(&no_sid).await, SessionReference::Token("token-1".to_owned()));
    let neither = without(no_sid, "jti");
    let digest = session(&neither).await;
    assert!(matches!(digest, SessionReference::Digest(_)), "{digest:?}");
    // Another signature of the same text, which anybody can make of the first, is the same session.
    assert_eq!(session(&neither).await, digest);
    assert_ne!(session(&with(neither, "iat", NOW - 1)).await, digest);
    let texts = [
        SessionReference::Session("a".to_owned()).to_string(),
        SessionReference::Token("a".to_owned()).to_string(),
        SessionReference::Digest([0xab; 32]).to_string(),
    ];
    assert_eq!(texts, ["session:a".to_owned(), "token:a".to_owned(), format!("sha256:{}", "ab".repeat(32))]);
}

#[tokio::test]
async fn the_audience_is_a_name_or_a_list_with_one_of_ours() {
    let signer = Signer::es256();
    let identity = with_signer(&signer, issuer());
    for (audience, expected) in [
        (json!("api"), None),
        (json!(["other", "api"]), None),
        (json!("other"), Some(Refusal::Audience)),
        (json!("phoenix "), Some(Refusal::Audience)),
        (json!([]), Some(Refusal::Audience)),
        (json!(["other"]), Some(Refusal::Audience)),
        (json!([1]), Some(Refusal::Malformed)),
        (Value::Null, Some(Refusal::Malformed)),
    ] {
        let token = signer.token("k", &with(claims(), "aud", audience.clone()));
        assert_eq!(refusal(&identity, &token).await, expected, "{audience}");
    }
}

#[tokio::test]
async fn claims_that_must_be_there_must_be_there_and_the_others_be_sound() {
    let signer = Signer::es256();
    let identity = with_signer(&signer, issuer());
    for name in ["sub", "aud", "iat", "exp", "iss"] {
        let token = signer.token("k", &without(claims(), name));
        assert_eq!(refusal(&identity, &token).await, Some(Refusal::Malformed), "{name}");
    }
    for name in ["sub", "sid"] {
        for value in [json!(""), json!("a".repeat(256)), json!("a\u{0}"), json!(1)] {
            let token = signer.token("k", &with(claims(), name, value));
            assert_eq!(refusal(&identity, &token).await, Some(Refusal::Malformed), "{name}");
        }
    }
    for (name, value, expected) in [
        ("exp", NOW - 60, Some(Refusal::Expired)),
        ("exp", NOW - 59, None),
        ("nbf", NOW + 61, Some(Refusal::NotYetValid)),
        ("iat", NOW + 1000, None),
    ] {
        assert_eq!(refusal(&identity, &signer.token("k", &with(claims(), name, value))).await, expected);
    }
}

#[tokio::test]
async fn the_discovery_document_must_be_of_the_issuer_and_name_a_callable_address() {
    let signer = Signer::es256();
    let token = signer.token("k", &claims());
    let keys = format!("https://id.example{KEYS}");
    for (document, good) in [
        (discovery(ISSUER, &keys), true),
        (discovery("https://id.example/realms/a/", &keys), false),
        (discovery("https://other.example", &keys), false),
        (discovery(ISSUER, &format!("http://id.example{KEYS}")), false),
        // A service of this machine is not for an issuer elsewhere to name.
        (discovery(ISSUER, &format!("http://127.0.0.1{KEYS}")), false),
        (discovery(ISSUER, ""), false),
        ("{}".to_owned(), false),
        ("<html>".to_owned(), false),
    ] {
        let provider = Provider::new();
        provider.answer(DOCUMENT, 200, &[], document.clone());
        provider.publish(KEYS, &[signer.jwk("k")]);
        let expected = if good { None } else { Some(Refusal::KeysUnavailable) };
        assert_eq!(refusal(&provider.identity(&config(&[issuer()])), &token).await, expected, "{document}");
        assert_eq!(provider.fetches(), if good { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_configured_address_needs_no_document() {
    let signer = Signer::es256();
    let provider = Provider::new();
    provider.publish("/elsewhere", &[signer.jwk("k")]);
    let issuer = OidcIssuer { jwks: Some("https://keys.example/elsewhere".to_owned()), ..issuer() };
    let identity = provider.identity(&config(&[issuer]));
    assert_eq!(refusal(&identity, &signer.token("k", &claims())).await, None);
    assert_eq!(provider.fetches(), 1);
}

/// What one issuer signs says nothing about the users of another (ASVS 6.8.1).
#[tokio::test]
async fn issuers_do_not_speak_for_each_other() {
    let (ours, theirs) = (Signer::es256(), Signer::es256());
    let provider = Provider::stack(&[ours.jwk("k")]);
    provider.publish("/a", &[ours.jwk("k")]);
    provider.publish("/b", &[theirs.jwk("k")]);
    let other = "https://other.example";
    let at = |name: &str, jwks: &str| OidcIssuer {
        issuer: name.to_owned(),
        jwks: Some(format!("https://id.example{jwks}")),
        ..issuer()
    };
    let config =
        IdentityConfig { stack: Some(stack_config()), ..config(&[at(ISSUER, "/a"), at(other, "/b")]) };
    let identity = provider.identity(&config);
    assert_eq!(refusal(&identity, &ours.token("k", &claims())).await, None);
    assert_eq!(refusal(&identity, &theirs.token("k", &claims())).await, Some(Refusal::Signature));
    let foreign = with(claims(), "iss", other);
    assert_eq!(refusal(&identity, &theirs.token("k", &foreign)).await, None);
    assert_eq!(refusal(&identity, &ours.token("k", &foreign)).await, Some(Refusal::Signature));
    assert_eq!(
        refusal(&identity, &theirs.token("k", &super::provider::normal())).await,
        Some(Refusal::Signature)
    );
    let names: Vec<String> =
        identity.stats(seconds(1)).iter().map(|stats| stats.provider.to_string()).collect();
    assert_eq!(names, ["stack", ISSUER, other]);
}

#[test]
fn what_is_wrong_with_the_configuration_is_named() {
    let provider = Provider::new();
    let error = |issuers: &[OidcIssuer]| provider.try_identity(&config(issuers)).err();
    assert_eq!(error(&[issuer()]), None);
    assert_eq!(error(&[issuer(), issuer()]), Some(IdentityConfigError::Twice(ISSUER.to_owned())));
    let of_stack = super::provider::normal()["iss"].as_str().expect("text").to_owned();
    let same = OidcIssuer { issuer: of_stack.clone(), ..issuer() };
    let config = IdentityConfig { stack: Some(stack_config()), ..config(&[same]) };
    assert_eq!(provider.try_identity(&config).err(), Some(IdentityConfigError::Twice(of_stack)));
    let is_count = |error| matches!(error, Some(IdentityConfigError::Count { .. }));
    assert!(is_count(error(&[OidcIssuer { audiences: Vec::new(), ..issuer() }])));
    assert!(is_count(error(&[OidcIssuer { audiences: vec!["a".to_owned(); 65], ..issuer() }])));
    assert!(is_count(error(&[OidcIssuer { algorithms: Vec::new(), ..issuer() }])));
    let many = |n: usize| -> Vec<OidcIssuer> {
        (0..n).map(|n| OidcIssuer { issuer: format!("{ISSUER}/{n}"), ..issuer() }).collect()
    };
    assert_eq!(error(&many(16)), None);
    assert!(is_count(error(&many(17))));
    for bad in ["http://id.example", "id.example", "https://id.example?a=b"] {
        let error = error(&[OidcIssuer { issuer: bad.to_owned(), ..issuer() }]);
        assert!(matches!(error, Some(IdentityConfigError::Url { .. })), "{bad}");
    }
}
