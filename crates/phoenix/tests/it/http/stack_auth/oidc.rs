//! Tokens of other issuers: `OpenID` Connect.

use std::collections::BTreeSet;
use std::time::Duration;

use phoenix_auth::ports::Clock;
use phoenix_testkit::stack_auth::Route;
use serde_json::{Value, json};

use super::issuer::{DISCOVERY, Issuer, KEYS, Signer};
use super::setup::{Setup, accepted, session_id, user_id};
use crate::http::support::{Backend, Site, assert_problem, on_every_backend};

const SECOND: Duration = Duration::from_secs(1);

fn now_s(site: &Site) -> i64 {
    site.clock.now().wall.as_millis().div_euclid(1000)
}

fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    claims[name] = value.into();
    claims
}

// spec: A10 A9
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_configured_issuer_are_accepted_for_the_right_audience_only() {
    on_every_backend(async |backend| {
        let signers = Signer::all();
        let issuer = Issuer::start(&signers).await;
        let site = Site::new(backend)
            .with("PHOENIX_OIDC_ISSUERS", &format!("{} audience=phoenix audience=api", issuer.name()));
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let claims = issuer.claims("phoenix", now_s(&site));
        let mut sessions = BTreeSet::new();
        for signer in &signers {
            let name = signer.algorithm();
            let me = accepted(&node, &signer.token(&claims)).await;
            assert_eq!(me["session"]["provider"], "oidc", "{name}");
            assert_eq!(
                (&me["user"]["email"], &me["user"]["emailVerified"]),
                (&json!("ada@example.com"), &json!(true))
            );
            sessions.insert(session_id(&me));
            for audience in [json!("api"), json!(["other", "phoenix"])] {
                let me = accepted(&node, &signer.token(&with(claims.clone(), "aud", audience))).await;
                sessions.insert(session_id(&me));
            }
            for audience in [json!("other"), json!([]), json!(["other"]), json!("phoenix2"), Value::Null] {
                let response = node.me(&signer.token(&with(claims.clone(), "aud", audience))).await;
                assert_problem(&response, 401, "malformed-token");
            }
            for (claim, value) in
                [("iss", json!("https://evil.example")), ("sub", json!("")), ("nbf", json!(4e9))]
            {
                assert_problem(
                    &node.me(&signer.token(&with(claims.clone(), claim, value))).await,
                    401,
                    "malformed-token",
                );
            }
            let over = with(claims.clone(), "exp", now_s(&site) - 60);
            assert_problem(&node.me(&signer.token(&over)).await, 401, "token-expired");
        }
        assert_eq!(sessions.len(), 1, "`sid` is the session, whatever signed it");
        let strangers = Signer::all();
        for signer in &strangers {
            assert_problem(&node.me(&signer.token(&claims)).await, 401, "malformed-token");
        }
        assert_eq!(admin.accounts().await.len(), 1);
        assert_eq!((issuer.calls(DISCOVERY), issuer.calls(KEYS)), (1, 1));
        node.stop().await;
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_an_issuer_is_named_by_sid_and_ends_here_at_once() {
    on_every_backend(async |backend| {
        let signers = Signer::all();
        let issuer = Issuer::start(&signers).await;
        let entry = format!("{} audience=phoenix jwks={}", issuer.name(), issuer.keys());
        let site = Site::new(backend).with("PHOENIX_OIDC_ISSUERS", &entry);
        let node = site.node().await;
        let signer = &signers[0];
        let token = |sid: &str, ahead: i64| {
            let claims = issuer.claims("phoenix", now_s(&site) + ahead);
            signer.token(&with(claims, "sid", sid))
        };
        let (one, two) = (token("one", 0), token("two", 0));
        let me = accepted(&node, &one).await;
        let other = accepted(&node, &two).await;
        assert_eq!(user_id(&me), user_id(&other));
        assert_ne!(session_id(&me), session_id(&other));
        assert_eq!(session_id(&accepted(&node, &token("one", 1)).await), session_id(&me));
        let out = node.client.post("/api/auth/logout").bearer(&one).send().await.unwrap();
        assert_eq!(out.status, 200, "{}", out.text());
        for token in [&one, &token("one", 1), &token("one", 2)] {
            assert_problem(&node.me(token).await, 401, "session-ended");
        }
        accepted(&node, &two).await;
        site.clock.advance(SECOND);
        let all = node.client.delete("/api/auth/sessions?scope=all").bearer(&two).send().await.unwrap();
        assert_eq!(all.status, 200, "{}", all.text());
        assert_problem(&node.me(&token("three", -1)).await, 401, "session-ended");
        accepted(&node, &token("four", 0)).await;
        assert_eq!(
            (issuer.calls(DISCOVERY), issuer.calls(KEYS)),
            (0, 1),
            "the address of the keys was configured"
        );
        node.stop().await;
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn without_a_sid_each_token_is_a_session_of_its_own() {
    let signers = Signer::all();
    let issuer = Issuer::start(&signers).await;
    let site = Site::new(Backend::Sqlite)
        .with("PHOENIX_OIDC_ISSUERS", &format!("{} audience=phoenix", issuer.name()));
    let node = site.node().await;
    let token = |jti: Value, ahead: i64| {
        let mut claims = issuer.claims("phoenix", now_s(&site) + ahead);
        claims["jti"] = jti;
        claims.as_object_mut().unwrap().remove("sid");
        signers[2].token(&claims)
    };
    let named = [token("one".into(), 0), token("one".into(), 1), token("two".into(), 0)];
    let bare = [token(Value::Null, 0), token(Value::Null, 1)];
    let mut sessions = Vec::new();
    for token in named.iter().chain(&bare) {
        sessions.push(session_id(&accepted(&node, token).await));
    }
    assert_eq!(sessions[0], sessions[1], "the same `jti`");
    assert_eq!(sessions.iter().collect::<BTreeSet<_>>().len(), 4);
    let out = node.client.post("/api/auth/logout").bearer(&bare[0]).send().await.unwrap();
    assert_eq!(out.status, 200, "{}", out.text());
    assert_problem(&node.me(&bare[0]).await, 401, "session-ended");
    for token in named.iter().chain(&bare[1..]) {
        accepted(&node, token).await;
    }
    node.stop().await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn algorithms_can_be_narrowed_and_a_document_of_another_issuer_is_not_believed() {
    let signers = Signer::all();
    let issuer = Issuer::start(&signers).await;
    let entry = format!("{} audience=phoenix algorithms=EdDSA", issuer.name());
    let site = Site::new(Backend::Sqlite).with("PHOENIX_OIDC_ISSUERS", &entry);
    let node = site.node().await;
    let claims = issuer.claims("phoenix", now_s(&site));
    for signer in &signers {
        let response = node.me(&signer.token(&claims)).await;
        if signer.algorithm() == "EdDSA" {
            assert_eq!(response.status, 200, "{}", response.text());
        } else {
            assert_problem(&response, 401, "malformed-token");
        }
    }
    node.stop().await;

    let liar = Issuer::start(&signers).await;
    liar.publish(DISCOVERY, &json!({"issuer": issuer.name(), "jwks_uri": liar.keys()}));
    let site =
        Site::new(Backend::Sqlite).with("PHOENIX_OIDC_ISSUERS", &format!("{} audience=phoenix", liar.name()));
    let node = site.node().await;
    let token = signers[0].token(&liar.claims("phoenix", now_s(&site)));
    assert_problem(&node.me(&token).await, 503, "unavailable");
    assert_eq!(liar.calls(KEYS), 0);
    node.stop().await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn issuers_beside_each_other_and_beside_stack_auth_are_kept_apart() {
    let (first, second) = (Signer::all(), Signer::all());
    let issuers = [Issuer::start(&first).await, Issuer::start(&second).await];
    let entries = issuers.each_ref().map(|issuer| format!("{} audience=phoenix", issuer.name()));
    let setup = Setup::new(Backend::Sqlite).with("PHOENIX_OIDC_ISSUERS", &entries.join(", "));
    let node = setup.node().await;
    let mut admin = node.administrator().await;
    let ada = setup.sign_up("ada@example.com");
    let mut users = vec![user_id(&accepted(&node, &ada.access_token).await)];
    for (issuer, signers) in issuers.iter().zip([&first, &second]) {
        // The subject and the session have the same names everywhere.
        let claims = with(issuer.claims("phoenix", now_s(&setup.site)), "sub", ada.user_id.clone());
        let claims = with(claims, "sid", ada.session_id.clone());
        users.push(user_id(&accepted(&node, &signers[0].token(&claims)).await));
    }
    let foreign = first[0].token(&issuers[1].claims("phoenix", now_s(&setup.site)));
    assert_problem(&node.me(&foreign).await, 401, "malformed-token");
    users.sort();
    users.dedup();
    assert_eq!((users.len(), admin.accounts().await.len()), (3, 3));
    // Ending the session of one issuer ends nobody else's, and Stack Auth is not told.
    let claims = with(issuers[0].claims("phoenix", now_s(&setup.site)), "sub", ada.user_id.clone());
    let token = first[0].token(&with(claims, "sid", ada.session_id.clone()));
    assert_eq!(node.client.post("/api/auth/logout").bearer(&token).send().await.unwrap().status, 200);
    assert_problem(&node.me(&token).await, 401, "session-ended");
    accepted(&node, &ada.access_token).await;
    assert_eq!(setup.fake.calls(Route::DeleteSession), 0);
    node.stop().await;
}

// spec: A9 A10
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_whose_keys_cannot_be_had_is_an_outage() {
    let signers = Signer::all();
    let issuer = Issuer::start(&signers).await;
    issuer.publish(KEYS, &json!({"keys": []}));
    let site = Site::new(Backend::Sqlite)
        .with("PHOENIX_OIDC_ISSUERS", &format!("{} audience=phoenix", issuer.name()));
    let node = site.node().await;
    let token = signers[1].token(&issuer.claims("phoenix", now_s(&site)));
    for _ in 0..50 {
        assert_problem(&node.me(&token).await, 503, "unavailable");
    }
    assert!(issuer.calls(KEYS) <= 2, "{}", issuer.calls(KEYS));
    node.stop().await;
}
