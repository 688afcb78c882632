//! Against the fake of Stack Auth, which was written from the same facts by itself: tokens of every kind, forgeries,
//! its keys and their faults, sessions, and deliveries.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use phoenix_identity::webhook::{self, Delivery, UserEvent, WebhookRefusal, WebhookSecret};
use phoenix_identity::{
    Identity, IdentityConfig, IdentityLimits, Refusal, SessionReference, StackApi, StackApiError, StackConfig,
};
use phoenix_testkit::stack_auth::{
    FakeStackAuth, Fault, Forgery, Inconsistency, IssuerHost, JwksMode, KeyIndex, NewUser, Options, Route,
    UserType, WebhookEvent, WebhookFlaw, WebhookSender,
};
use zeroize::Zeroizing;

const NOW: i64 = 1_800_000_000;
const OTHER_PROJECT: &str = "11111111-2222-4333-8444-555555555555";
const TYPES: [UserType; 3] = [UserType::Normal, UserType::Restricted, UserType::Anonymous];

fn fake() -> FakeStackAuth {
    Options::default().clock(|| NOW).start().expect("the fake starts")
}

fn identity_with(fake: &FakeStackAuth, allow: bool, limits: IdentityLimits) -> Identity {
    let project = fake.project();
    let stack = StackConfig {
        project_id: fake.project_id().to_owned(),
        secret_server_key: Zeroizing::new(project.secret_server_key.clone()),
        publishable_client_key: Some(project.publishable_client_key.clone()),
        api_urls: vec![fake.url().to_owned(), "https://api.stack-auth.com".to_owned()],
        allow_restricted: allow,
        allow_anonymous: allow,
    };
    Identity::new(&IdentityConfig { stack: Some(stack), limits, ..IdentityConfig::default() }).expect("good")
}

fn identity(fake: &FakeStackAuth, allow: bool) -> Identity {
    identity_with(fake, allow, IdentityLimits::default())
}

fn api(identity: &Identity) -> &StackApi {
    identity.stack().expect("configured")
}

async fn refusal(identity: &Identity, token: &str) -> Option<Refusal> {
    identity.verify(token, NOW, Duration::from_secs(1)).await.err()
}

#[tokio::test]
async fn every_kind_of_user_is_known_by_every_key_and_host() {
    let fake = fake();
    let (strict, open) = (identity(&fake, false), identity(&fake, true));
    let refusals = [None, Some(Refusal::RestrictedUser), Some(Refusal::AnonymousUser)];
    for (user_type, expected) in TYPES.into_iter().zip(refusals) {
        for key in [KeyIndex::Legacy, KeyIndex::New] {
            for host in [IssuerHost::Own, IssuerHost::StackAuth, IssuerHost::Hexclave] {
                let token = fake.mint(&fake.token(user_type).signed_with(key).issuer_host(host));
                assert_eq!(refusal(&open, &token).await, None);
                assert_eq!(refusal(&strict, &token).await, expected);
            }
        }
    }
    assert_eq!(fake.calls(Route::Jwks), 2, "one for each client");
}

#[tokio::test]
async fn a_session_is_known_by_its_tokens() {
    let fake = fake();
    let user = fake.sign_up(NewUser::normal().email("ada@example.com"));
    let identity = identity(&fake, false);
    let token = identity.verify(&user.access_token, NOW, Duration::ZERO).await.expect("good");
    assert_eq!(token.subject, user.user_id);
    assert_eq!(token.session, SessionReference::Session(user.session_id.clone()));
    assert_eq!(token.email.as_deref(), Some("ada@example.com"));
    let sessions = api(&identity).sessions(&user.user_id).await.expect("a list").expect("a user");
    assert_eq!(
        sessions.iter().map(|session| session.id.as_str()).collect::<Vec<_>>(),
        [user.session_id.as_str()]
    );
    assert!(api(&identity).end_session(&user.user_id, &user.session_id).await.expect("ended"));
    assert!(!api(&identity).end_session(&user.user_id, &user.session_id).await.expect("not there"));
    assert_eq!(api(&identity).sessions(&user.user_id).await.expect("a list"), Some(Vec::new()));
    // The token stays good: that the session is gone is not its business.
    assert_eq!(refusal(&identity, &user.access_token).await, None);
}

#[tokio::test]
async fn no_forgery_and_no_contradiction_is_accepted() {
    let fake = fake();
    fake.add_project(phoenix_testkit::stack_auth::Project::new(OTHER_PROJECT));
    let open = identity(&fake, true);
    for user_type in TYPES {
        for forgery in fake.forgeries() {
            let token = fake.forge(&fake.token(user_type), forgery.clone());
            let refusal = refusal(&open, &token).await.expect("refused");
            assert!(!refusal.is_outage(), "{forgery:?}: {refusal:?}");
        }
        let forgeries = [
            Forgery::OtherProjectsKey(OTHER_PROJECT.to_owned()),
            Forgery::OtherProjectsSignature(OTHER_PROJECT.to_owned()),
        ];
        for forgery in forgeries {
            assert!(refusal(&open, &fake.forge(&fake.token(user_type), forgery)).await.is_some());
        }
    }
    for inconsistency in Inconsistency::ALL {
        let token = fake.mint(&fake.token(UserType::Normal).inconsistent(inconsistency));
        assert_eq!(refusal(&open, &token).await, Some(Refusal::Inconsistent), "{inconsistency:?}");
    }
    assert_eq!(fake.calls(Route::AttackerJwks), 0);
    assert!(fake.calls(Route::Jwks) <= 1, "unknown keys caused more than one fetch");
}

#[tokio::test]
async fn legacy_claims_and_the_edges_of_time_are_as_the_reference_says() {
    let fake = fake();
    let open = identity(&fake, true);
    for user_type in [UserType::Normal, UserType::Anonymous] {
        assert_eq!(
            refusal(&open, &fake.mint(&fake.token(user_type).legacy_claims())).await,
            None,
            "{user_type:?}"
        );
    }
    let token = |seconds| fake.mint(&fake.token(UserType::Normal).expires_in(seconds));
    assert_eq!(refusal(&open, &token(-59)).await, None);
    assert_eq!(refusal(&open, &token(-60)).await, Some(Refusal::Expired));
    let ahead = fake.mint(&fake.token(UserType::Normal).issued_in(3600).expires_in(7200));
    assert_eq!(refusal(&open, &ahead).await, None);
}

#[tokio::test]
async fn keys_may_be_short_and_may_change() {
    let fake = fake();
    fake.rotate_to_short_coordinate(UserType::Normal);
    let open = identity(&fake, true);
    let old = fake.mint(&fake.token(UserType::Normal));
    assert_eq!(refusal(&open, &old).await, None);
    fake.rotate_keys();
    let new = fake.mint(&fake.token(UserType::Normal));
    let later = Duration::from_mins(1);
    assert_eq!(open.verify(&new, NOW, later).await.err(), None);
    assert_eq!(open.verify(&old, NOW, later).await.err(), Some(Refusal::UnknownKey));
    assert_eq!(fake.calls(Route::Jwks), 2);
}

#[tokio::test]
async fn whatever_is_wrong_with_the_keys_is_an_outage() {
    for mode in [
        JwksMode::Empty,
        JwksMode::Status(500),
        JwksMode::Status(404),
        JwksMode::Hang,
        JwksMode::Garbage,
        JwksMode::Oversized(300 * 1024),
    ] {
        let fake = fake();
        let hangs = mode == JwksMode::Hang;
        fake.set_jwks(mode.clone());
        let total_timeout = if hangs { Duration::from_millis(50) } else { Duration::from_mins(1) };
        let open = identity_with(&fake, true, IdentityLimits { total_timeout, ..IdentityLimits::default() });
        let token = fake.mint(&fake.token(UserType::Normal));
        assert_eq!(refusal(&open, &token).await, Some(Refusal::KeysUnavailable), "{mode:?}");
        fake.set_jwks(JwksMode::Normal);
        let mended = identity(&fake, true);
        assert_eq!(refusal(&mended, &token).await, None);
    }
}

#[tokio::test]
async fn faults_of_the_api_are_outages() {
    let fake = fake();
    let user = fake.sign_up(NewUser::normal());
    let open = identity(&fake, true);
    let list = async || api(&open).sessions(&user.user_id).await;
    for retry_after_s in [None, Some(7)] {
        fake.fail(Route::ListSessions, Fault::RateLimited { retry_after_s });
        let expected = retry_after_s.map(|seconds| Duration::from_secs(seconds.into()));
        let error = list().await.expect_err("limited");
        assert!(
            matches!(error, StackApiError::RateLimited { retry_after } if retry_after == expected),
            "{error:?}"
        );
    }
    for fault in [Fault::Status(503), Fault::Reset, Fault::Body("[]".into())] {
        fake.fail(Route::ListSessions, fault.clone());
        assert!(list().await.expect_err("a fault").is_outage(), "{fault:?}");
    }
    fake.fail(Route::ListSessions, Fault::Status(404));
    let error = list().await.expect_err("a fault");
    assert!(matches!(error, StackApiError::Refused { .. }), "not that there is no such user: {error:?}");
    fake.heal();
    assert_eq!(list().await.expect("a list").expect("a user").len(), 1);
}

fn headers(delivery: &phoenix_testkit::stack_auth::Delivery) -> HeaderMap {
    let pair = |(name, value): &(String, String)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        (name, HeaderValue::from_str(value).expect("a value"))
    };
    delivery.headers.iter().map(pair).collect()
}

#[tokio::test]
async fn deliveries_are_accepted_or_refused_as_they_deserve() {
    let fake = fake();
    let user = fake.sign_up(NewUser::normal().email("ada@example.com"));
    let user = fake.user(&user.user_id).expect("the user");
    let sender = WebhookSender::new();
    let secret = WebhookSecret::parse(&sender.secret()).expect("a secret");
    let check = |delivery: &phoenix_testkit::stack_auth::Delivery| -> Result<UserEvent, WebhookRefusal> {
        let headers = headers(delivery);
        webhook::verify(&secret, Delivery::from_headers(&headers)?, &delivery.body, NOW)?;
        webhook::parse(&delivery.body)
    };
    let deleted = WebhookEvent::user_deleted(&user.id);
    let expected = UserEvent::Deleted { user_id: user.id.clone() };
    assert_eq!(check(&sender.deliver(&deleted, NOW)), Ok(expected.clone()));
    for flaw in WebhookFlaw::ACCEPTABLE {
        assert_eq!(check(&sender.deliver_flawed(&deleted, NOW, flaw)), Ok(expected.clone()), "{flaw:?}");
    }
    for flaw in WebhookFlaw::UNACCEPTABLE {
        assert!(check(&sender.deliver_flawed(&deleted, NOW, flaw)).is_err(), "{flaw:?}");
    }
    for event in [WebhookEvent::user_updated(&user), WebhookEvent::user_created(&user)] {
        match check(&sender.deliver(&event, NOW)) {
            Ok(UserEvent::Updated { user_id, email, .. }) => {
                assert_eq!((user_id, email.as_deref()), (user.id.clone(), Some("ada@example.com")));
            }
            other => panic!("{other:?}"),
        }
    }
}
