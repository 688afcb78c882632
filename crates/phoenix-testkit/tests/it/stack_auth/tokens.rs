//! Access tokens: what stands in them, which ones the fake itself takes, and that forgeries are what they claim.

use anyhow::{Context, Result};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use phoenix_testkit::stack_auth::{
    Forgery, Inconsistency, IssuerHost, KeyIndex, NewUser, PublicKeyForm, Route, UserType,
};
use serde_json::{Value, json};

use super::{Fixture, NOW, decode, error, known, read, verifies};

#[tokio::test]
async fn claims_are_those_of_the_reference() -> Result<()> {
    let fixture = Fixture::new()?;
    let fake = &fixture.fake;
    let (url, project) = (fake.url(), fake.project_id());
    let expected = [
        (UserType::Normal, "projects", "", Value::Null),
        (
            UserType::Restricted,
            "projects-restricted-users",
            ":restricted",
            json!({ "type": "email_not_verified" }),
        ),
        (UserType::Anonymous, "projects-anonymous-users", ":anon", json!({ "type": "anonymous" })),
    ];
    for (kind, path, suffix, reason) in expected {
        let email = format!("a{suffix}@example.com");
        let signed_in = fake.sign_up(NewUser::new(kind).name("A").email(&email));
        let (header, claims) = read(&signed_in.access_token)?;
        assert_eq!(header, json!({ "alg": "ES256", "kid": fake.kid(kind, KeyIndex::Legacy) }));
        let expected = json!({
            "sub": signed_in.user_id, "iss": format!("{url}/api/v1/{path}/{project}"),
            "aud": format!("{project}{suffix}"), "iat": NOW, "exp": NOW + 600, "project_id": project,
            "branch_id": "main", "refresh_token_id": signed_in.session_id, "role": "authenticated",
            "name": "A", "email": email, "selected_team_id": null,
            "email_verified": kind == UserType::Normal, "is_anonymous": kind == UserType::Anonymous,
            "is_restricted": kind != UserType::Normal, "restricted_reason": reason,
            "requires_totp_mfa": false, "signed_up_at": NOW,
        });
        assert_eq!(claims, expected);
        assert!(verifies(&signed_in.access_token, &fixture.keys().await?)?);
    }
    Ok(())
}

#[tokio::test]
async fn an_anonymous_token_cannot_be_verified_with_the_base_set() -> Result<()> {
    let fixture = Fixture::new()?;
    let token = |kind| fixture.fake.mint(&fixture.fake.token(kind));
    for (query, verified) in [
        ("", [true, false, false]),
        ("?include_restricted=true", [true, true, false]),
        ("?include_anonymous=true", [true; 3]),
    ] {
        let keys = fixture.jwks(query).await?.json()["keys"].as_array().context("keys")?.clone();
        for (kind, expected) in UserType::ALL.into_iter().zip(verified) {
            assert_eq!(verifies(&token(kind), &keys)?, expected, "{kind:?} {query}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn variants_that_the_server_takes() -> Result<()> {
    let fixture = Fixture::new()?;
    let signed_in = fixture.fake.sign_up(NewUser::normal());
    let spec = || fixture.fake.token_of(&signed_in.session_id).context("session");
    let variants = [
        spec()?.signed_with(KeyIndex::New),
        spec()?.issuer_host(IssuerHost::StackAuth),
        spec()?.issuer_host(IssuerHost::Hexclave),
        spec()?.legacy_claims(),
        spec()?.expires_in(1),
        spec()?.issued_in(3600).expires_in(4200),
        spec()?.issued_in(-599).expires_in(1),
    ];
    let keys = fixture.keys().await?;
    for variant in variants {
        let token = fixture.fake.mint(&variant);
        assert!(verifies(&token, &keys)?, "{variant:?}");
        assert_eq!(fixture.me(&token).await?.status, 200, "{variant:?}");
    }
    let (_, claims) = read(&fixture.fake.mint(&spec()?.legacy_claims()))?;
    assert_eq!(claims["branchId"], "main");
    assert_eq!(claims["refreshTokenId"], signed_in.session_id.as_str());
    for absent in ["branch_id", "refresh_token_id", "is_restricted", "jti", "nbf", "scope"] {
        assert!(claims.get(absent).is_none(), "{absent}");
    }
    fixture.fake.set_issuer_host(IssuerHost::Hexclave);
    let (_, claims) = read(&fixture.fake.mint(&spec()?))?;
    let issuer = format!("https://api.hexclave.com/api/v1/projects/{}", fixture.fake.project_id());
    assert_eq!(claims["iss"], issuer);
    Ok(())
}

#[tokio::test]
async fn variants_that_the_server_refuses_though_the_signature_is_right() -> Result<()> {
    let fixture = Fixture::new()?;
    let signed_in = fixture.fake.sign_up(NewUser::normal());
    let spec = || fixture.fake.token_of(&signed_in.session_id).context("session");
    let keys = fixture.keys().await?;
    let unparsable = [
        spec()?.issuer_host(IssuerHost::Other("https://evil.example".to_owned())),
        spec()?.without("iss"),
        spec()?.without("aud"),
        spec()?.without("sub"),
        spec()?.without("exp"),
        spec()?.without("refresh_token_id"),
        spec()?.claim("aud", json!([fixture.fake.project_id()])),
        spec()?.claim("aud", "another-project"),
        spec()?.claim("branch_id", "dev"),
        spec()?.inconsistent(Inconsistency::IssuerOfAnotherType),
    ];
    for variant in unparsable {
        let token = fixture.fake.mint(&variant);
        assert!(verifies(&token, &keys)?);
        assert_eq!(error(&fixture.me(&token).await?), known(401, "UNPARSABLE_ACCESS_TOKEN"), "{variant:?}");
    }
    Ok(())
}

#[tokio::test]
async fn every_inconsistency_is_signed_well_and_refused() -> Result<()> {
    let fixture = Fixture::new()?;
    let keys = fixture.keys().await?;
    for inconsistency in Inconsistency::ALL {
        for kind in UserType::ALL {
            let token = fixture.fake.mint(&fixture.fake.token(kind).inconsistent(inconsistency));
            assert!(verifies(&token, &keys)?, "{inconsistency:?}");
            assert!(violates_a_rule(&read(&token)?.1), "{inconsistency:?}");
            let response = fixture
                .as_client(http::Method::GET, "/users/me")
                .header("x-stack-access-token", &token)
                .header("x-stack-allow-anonymous-user", "true")
                .send()
                .await?;
            let expected = if inconsistency == Inconsistency::IssuerOfAnotherType { 401 } else { 500 };
            assert_eq!(response.status, expected, "{inconsistency:?}");
        }
    }
    Ok(())
}

/// The four rules of the reference and the agreement of issuer and audience, written down once more.
fn violates_a_rule(claims: &Value) -> bool {
    let flag = |name: &str| claims[name] == true;
    let (anonymous, restricted) = (flag("is_anonymous"), flag("is_restricted"));
    let audience = claims["aud"].as_str().unwrap_or_default();
    let issuer = claims["iss"].as_str().unwrap_or_default();
    (anonymous && !restricted)
        || restricted == claims["restricted_reason"].is_null()
        || audience.ends_with(":anon") != anonymous
        || audience.ends_with(":restricted") != (restricted && !anonymous)
        || issuer.contains("anonymous") != audience.ends_with(":anon")
}

#[tokio::test]
async fn forgeries_are_refused_and_nobody_follows_their_links() -> Result<()> {
    let fixture = Fixture::new()?;
    let signed_in = fixture.fake.sign_up(NewUser::normal());
    let spec = fixture.fake.token_of(&signed_in.session_id).context("session")?;
    let (_, genuine) = read(&fixture.fake.mint(&spec))?;
    let keys = fixture.keys().await?;
    let forgeries = fixture.fake.forgeries();
    assert!(forgeries.len() >= 20);
    for forgery in forgeries {
        let token = fixture.fake.forge(&spec, forgery.clone());
        // The claims are right: only the signature and the header give it away.
        assert_eq!(read(&token)?.1, genuine);
        // A `crit` that nobody understands is the only thing wrong with that one.
        assert_eq!(verifies(&token, &keys)?, forgery == Forgery::CriticalHeader, "{forgery:?}");
        assert_eq!(error(&fixture.me(&token).await?), known(401, "UNPARSABLE_ACCESS_TOKEN"), "{forgery:?}");
    }
    assert_eq!(fixture.fake.calls(Route::AttackerJwks), 0);
    Ok(())
}

#[tokio::test]
async fn a_careless_verifier_would_take_the_forgeries() -> Result<()> {
    let fixture = Fixture::new()?;
    let spec = fixture.fake.token(UserType::Normal);
    let key = fixture.fake.jwks(&[UserType::Normal]).remove(0);
    let point = [vec![4], decode(key["x"].as_str().context("x")?)?, decode(key["y"].as_str().context("y")?)?]
        .concat();
    let header = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let der = [header.as_slice(), &point].concat();
    let text = STANDARD.encode(&der);
    let pem =
        format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &text[..64], &text[64..]);
    let secrets = [
        (PublicKeyForm::Pem, pem.into_bytes()),
        (PublicKeyForm::Der, der),
        (PublicKeyForm::Jwk, key.to_string().into_bytes()),
        (PublicKeyForm::Point, point),
    ];
    for (form, secret) in secrets {
        let token = fixture.fake.forge(&spec, Forgery::Hs256(form));
        let (input, tag) = token.rsplit_once('.').context("a signature")?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        assert!(hmac::verify(&key, input.as_bytes(), &decode(tag)?).is_ok(), "{form:?}");
    }
    let jwk = fixture.fake.forge(&spec, Forgery::EmbeddedJwk);
    let (header, _) = read(&jwk)?;
    let mut embedded = header["jwk"].clone();
    embedded["kid"] = header["kid"].clone();
    assert!(verifies(&jwk, &[embedded])?);
    let jku = fixture.fake.forge(&spec, fixture.fake.forgeries().remove(12));
    let link = read(&jku)?.0["jku"].as_str().context("jku")?.to_owned();
    let path = link.strip_prefix(fixture.fake.url()).context("the fake's own address")?;
    let keys = fixture.client.get(path).send().await?.json();
    assert!(verifies(&jku, keys["keys"].as_array().context("keys")?)?);
    assert_eq!(fixture.fake.calls(Route::AttackerJwks), 1);
    Ok(())
}
