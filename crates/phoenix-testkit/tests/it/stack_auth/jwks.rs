//! The key set: what is in it, and that it changes on command.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use http::Method;
use phoenix_testkit::stack_auth::{KeyIndex, NewUser, Options, Project, Route, UserType};
use serde_json::Value;

use super::{Fixture, decode, known, verifies};

fn kids(keys: &Value) -> Result<Vec<String>> {
    let keys = keys["keys"].as_array().context("keys")?;
    keys.iter().map(|key| Ok(key["kid"].as_str().context("kid")?.to_owned())).collect()
}

#[tokio::test]
async fn two_four_and_six_keys_with_the_legacy_key_first() -> Result<()> {
    let fixture = Fixture::new()?;
    let mut expected = Vec::new();
    for (types, query) in [(1, ""), (2, "?include_restricted=true"), (3, "?include_anonymous=true")] {
        let kind = UserType::ALL[types - 1];
        expected.extend([KeyIndex::Legacy, KeyIndex::New].map(|index| fixture.fake.kid(kind, index)));
        let response = fixture.jwks(query).await?;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("cache-control"), Some("public, max-age=3600"));
        assert!(response.header("x-stack-request-id").is_some());
        assert_eq!(kids(&response.json())?, expected, "{query}");
    }
    for (query, count) in [
        ("?include_restricted=false&include_anonymous=false", 2),
        ("?include_restricted=true&include_anonymous=true", 6),
        ("?include_restricted=1", 2),
    ] {
        assert_eq!(kids(&fixture.jwks(query).await?.json())?.len(), count, "{query}");
    }
    let alias = format!("/projects-anonymous-users/{}/.well-known/jwks.json", fixture.fake.project_id());
    let response = fixture.bare(Method::GET, &alias).send().await?;
    assert_eq!(response.status, 307);
    let location = response.header("location").context("location")?;
    let path = location.strip_prefix(fixture.fake.url()).context("the fake's own address")?;
    assert_eq!(kids(&fixture.client.get(path).send().await?.json())?, expected);
    assert_eq!((fixture.fake.calls(Route::JwksAlias), fixture.fake.calls(Route::Jwks)), (1, 7));
    Ok(())
}

#[tokio::test]
async fn a_key_has_exactly_the_members_that_stack_writes() -> Result<()> {
    let fixture = Fixture::new()?;
    let keys = fixture.keys().await?;
    for key in &keys {
        let members: BTreeSet<&str> = key.as_object().context("object")?.keys().map(String::as_str).collect();
        assert_eq!(members, BTreeSet::from(["kty", "alg", "crv", "x", "y", "kid"]));
        assert_eq!((&key["kty"], &key["alg"], &key["crv"]), (&"EC".into(), &"ES256".into(), &"P-256".into()));
        assert_eq!(key["kid"].as_str().map(str::len), Some(12));
    }
    let distinct: BTreeSet<&str> = keys.iter().filter_map(|key| key["kid"].as_str()).collect();
    assert_eq!(distinct.len(), 6);
    Ok(())
}

/// The expected values were computed from the table in the reference with a separate program.
#[test]
fn keys_follow_from_the_secret_and_the_audience_as_the_reference_says() -> Result<()> {
    let project = Project::new("11111111-2222-4333-8444-555555555555");
    let fake = Options::default().project(project).server_secret("secret").start()?;
    let keys = fake.jwks(&[UserType::Anonymous]);
    let expected = [
        (
            "eatF_lE9wmQj",
            "8eTdQ1lKw4UU-hoiNbMYswbtYH8jVeloJLfYxzLgDdI",
            "n81r3j9O-sS24aMLWAYq1fhwFquFQoU6f_1mHRqtjKY",
        ),
        (
            "zDUVwz-ilSWm",
            "R2Bdr6DDTPDO8TTrRnudoGYNHN1pw3w88xAEc_kX2AU",
            "_BPstcg51d7Z06baXe5vA96SEHH3FJqHA8ssepBc4Kg",
        ),
    ];
    for (key, (kid, x, y)) in keys.iter().zip(expected) {
        assert_eq!((&key["kid"], &key["x"], &key["y"]), (&kid.into(), &x.into(), &y.into()));
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_project_has_no_keys() -> Result<()> {
    let fixture = Fixture::new()?;
    let response = fixture.bare(Method::GET, "/projects/nobody/.well-known/jwks.json").send().await?;
    assert_eq!((response.status.as_u16(), response.text().as_str()), (404, "Project not found"));
    assert_eq!(response.header("x-stack-known-error"), None);
    Ok(())
}

#[tokio::test]
async fn rotation_swaps_all_keys_at_once_and_ends_old_tokens() -> Result<()> {
    let fixture = Fixture::new()?;
    let signed_in = fixture.fake.sign_up(NewUser::normal());
    let before = fixture.keys().await?;
    assert!(verifies(&signed_in.access_token, &before)?);
    fixture.fake.rotate_keys();
    let after = fixture.keys().await?;
    assert_eq!(after.len(), 6);
    assert!(after.iter().all(|key| before.iter().all(|old| old["kid"] != key["kid"])));
    let response = fixture.me(&signed_in.access_token).await?;
    assert_eq!(super::error(&response), known(401, "UNPARSABLE_ACCESS_TOKEN"));
    let fresh = fixture.fake.access_token(&signed_in.session_id).context("session")?;
    assert!(verifies(&fresh, &after)? && !verifies(&fresh, &before)?);
    assert_eq!(fixture.me(&fresh).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_dropped_key_is_published_no_more() -> Result<()> {
    let fixture = Fixture::new()?;
    let token = fixture.fake.sign_up(NewUser::normal()).access_token;
    fixture.fake.drop_key(UserType::Normal, KeyIndex::Legacy);
    let keys = fixture.keys().await?;
    assert_eq!(keys.len(), 5);
    assert!(!verifies(&token, &keys)?);
    assert_eq!(super::error(&fixture.me(&token).await?), known(401, "UNPARSABLE_ACCESS_TOKEN"));
    Ok(())
}

#[tokio::test]
async fn a_short_coordinate_is_written_without_its_leading_zero() -> Result<()> {
    let fixture = Fixture::new()?;
    for kind in UserType::ALL {
        fixture.fake.rotate_to_short_coordinate(kind);
        let keys = fixture.keys().await?;
        let kid = fixture.fake.kid(kind, KeyIndex::Legacy);
        let key = keys.iter().find(|key| key["kid"] == kid.as_str()).context("the key")?;
        let length = |name: &str| Ok::<_, anyhow::Error>(decode(key[name].as_str().context("text")?)?.len());
        assert!(length("x")?.min(length("y")?) < 32, "{key}");
        assert!(verifies(&fixture.fake.mint(&fixture.fake.token(kind)), &keys)?);
    }
    Ok(())
}
