//! Tokens of Stack Auth: everything that makes one good, and each thing that must not.

use serde_json::{Value, json};

use super::provider::{
    BASE, NOW, PROJECT, Provider, SESSION, STACK_KEYS, Signer, USER, anonymous, base64url, normal,
    restricted, seconds, stack_config, with, without,
};
use crate::{IdentityConfig, IdentityConfigError, Refusal, SessionReference, StackConfig, VerifiedToken};

/// A project, its key `k`, and what is allowed.
struct Case {
    signer: Signer,
    config: StackConfig,
}

impl Case {
    fn new() -> Self {
        Self { signer: Signer::es256(), config: stack_config() }
    }

    fn allowing(allow_restricted: bool, allow_anonymous: bool) -> Self {
        Self { config: StackConfig { allow_restricted, allow_anonymous, ..stack_config() }, ..Self::new() }
    }

    async fn text(&self, token: &str) -> Result<VerifiedToken, Refusal> {
        let provider = Provider::stack(&[self.signer.jwk("k")]);
        provider.with_stack(self.config.clone()).verify(token, NOW, seconds(1)).await
    }

    async fn claims(&self, claims: &Value) -> Result<VerifiedToken, Refusal> {
        self.text(&self.signer.token("k", claims)).await
    }

    async fn refusal(&self, claims: &Value) -> Option<Refusal> {
        self.claims(claims).await.err()
    }
}

#[tokio::test]
async fn a_good_token_tells_who_and_which_session() {
    let token = Case::new().claims(&normal()).await.expect("good");
    let expected = VerifiedToken {
        provider: "stack".into(),
        subject: USER.to_owned(),
        session: SessionReference::Session(SESSION.to_owned()),
        issued_at: NOW,
        expires_at: NOW + 600,
        email: Some("ada@example.com".to_owned()),
        email_verified: true,
        name: Some("Ada".to_owned()),
        picture: None,
    };
    assert_eq!(token, expected);
}

#[tokio::test]
async fn name_and_address_may_be_null_and_then_nothing_is_verified() {
    let claims = with(with(normal(), "name", Value::Null), "email", Value::Null);
    let token = Case::new().claims(&claims).await.expect("good");
    assert_eq!((token.name, token.email, token.email_verified), (None, None, false));
}

#[tokio::test]
async fn both_names_of_the_cloud_are_accepted_and_no_other_host() {
    let case = Case::new();
    for host in ["https://api.stack-auth.com", "https://api.hexclave.com"] {
        let claims = with(normal(), "iss", format!("{host}/api/v1/projects/{PROJECT}"));
        assert_eq!(case.refusal(&claims).await, None, "{host}");
    }
    for issuer in [
        format!("https://api.stack-auth.com.example/api/v1/projects/{PROJECT}"),
        format!("http://api.stack-auth.com/api/v1/projects/{PROJECT}"),
        format!("{BASE}/api/v1/projects/{PROJECT}/"),
        format!("{BASE}/api/v1/projects/6f1c2b3a-0000-4000-8000-000000000000"),
        format!("{BASE}/api/v1/other/{PROJECT}"),
        String::new(),
    ] {
        assert_eq!(case.refusal(&with(normal(), "iss", issuer)).await, Some(Refusal::UnknownIssuer));
    }
}

#[tokio::test]
async fn a_server_of_ones_own_is_its_only_issuer() {
    let mut case = Case::new();
    case.config.api_urls = vec!["http://127.0.0.1:8102/".to_owned(), "https://id.example/stack".to_owned()];
    for base in ["http://127.0.0.1:8102", "https://id.example/stack"] {
        let claims = with(normal(), "iss", format!("{base}/api/v1/projects/{PROJECT}"));
        assert_eq!(case.refusal(&claims).await, None);
    }
    assert_eq!(case.refusal(&normal()).await, Some(Refusal::UnknownIssuer));
}

#[tokio::test]
async fn restricted_and_anonymous_users_are_refused_unless_allowed() {
    let nobody = Case::new();
    assert_eq!(nobody.refusal(&restricted()).await, Some(Refusal::RestrictedUser));
    assert_eq!(nobody.refusal(&anonymous()).await, Some(Refusal::AnonymousUser));
    let some = Case::allowing(true, false);
    assert_eq!(some.refusal(&restricted()).await, None);
    assert_eq!(some.refusal(&anonymous()).await, Some(Refusal::AnonymousUser));
    let all = Case::allowing(true, true);
    assert_eq!(all.refusal(&restricted()).await, None);
    assert_eq!(all.refusal(&anonymous()).await, None);
    assert_eq!(all.refusal(&normal()).await, None);
}

#[tokio::test]
async fn policy_is_told_only_to_those_whose_signature_is_good() {
    let case = Case::new();
    let forged = Signer::es256().token("k", &anonymous());
    assert_eq!(case.text(&forged).await.err(), Some(Refusal::Signature));
}

#[tokio::test]
async fn claims_that_contradict_each_other_are_refused() {
    let case = Case::allowing(true, true);
    let reason = json!({"type": "email_not_verified"});
    let contradictions = [
        // 1. Anonymous users are restricted.
        with(with(anonymous(), "is_restricted", false), "restricted_reason", Value::Null),
        // 2. Restricted users have a reason, and nobody else.
        with(restricted(), "restricted_reason", Value::Null),
        without(restricted(), "restricted_reason"),
        with(normal(), "restricted_reason", reason.clone()),
        // 3. The audience of anonymous users is theirs alone.
        with(anonymous(), "is_anonymous", false),
        with(restricted(), "is_anonymous", true),
        with(with(with(normal(), "is_anonymous", true), "is_restricted", true), "restricted_reason", reason),
        // 4. And so is that of restricted users.
        with(with(restricted(), "is_restricted", false), "restricted_reason", Value::Null),
        with(with(normal(), "is_restricted", true), "restricted_reason", json!({"type": "anonymous"})),
        // The issuer is of another kind than the audience.
        with(normal(), "iss", restricted()["iss"].clone()),
        with(restricted(), "iss", anonymous()["iss"].clone()),
        with(anonymous(), "iss", normal()["iss"].clone()),
        // Another branch.
        with(normal(), "branch_id", "other"),
        with(normal(), "branch_id", ""),
    ];
    for claims in contradictions {
        assert_eq!(case.refusal(&claims).await, Some(Refusal::Inconsistent), "{claims}");
    }
}

#[tokio::test]
async fn another_audience_or_project_is_refused() {
    let case = Case::allowing(true, true);
    let other = "6f1c2b3a-0000-4000-8000-000000000000";
    for audience in [
        other.to_owned(),
        format!("{PROJECT}:admin"),
        format!("{PROJECT}:"),
        format!("x{PROJECT}"),
        String::new(),
    ] {
        assert_eq!(case.refusal(&with(normal(), "aud", audience)).await, Some(Refusal::Audience));
    }
    assert_eq!(case.refusal(&with(normal(), "project_id", other)).await, Some(Refusal::Audience));
    assert_eq!(case.refusal(&with(normal(), "aud", json!([PROJECT]))).await, Some(Refusal::Malformed));
}

#[tokio::test]
async fn legacy_names_are_read() {
    let case = Case::allowing(true, true);
    let renamed = |mut claims: Value, from: &str, to: &str| {
        let value = claims[from].clone();
        claims[to] = value;
        without(claims, from)
    };
    let claims = renamed(renamed(normal(), "branch_id", "branchId"), "refresh_token_id", "refreshTokenId");
    let token = case.claims(&claims).await.expect("good");
    assert_eq!(token.session, SessionReference::Session(SESSION.to_owned()));
    let branch = renamed(with(normal(), "branch_id", "other"), "branch_id", "branchId");
    assert_eq!(case.refusal(&branch).await, Some(Refusal::Inconsistent));
    assert_eq!(case.refusal(&without(normal(), "project_id")).await, None);
    // Without `is_restricted`, anonymous users are, and others are not.
    assert_eq!(case.refusal(&without(normal(), "is_restricted")).await, None);
    assert_eq!(case.refusal(&without(without(normal(), "is_restricted"), "restricted_reason")).await, None);
    assert_eq!(case.refusal(&without(anonymous(), "is_restricted")).await, None);
    assert_eq!(
        case.refusal(&without(without(anonymous(), "is_restricted"), "restricted_reason")).await,
        None
    );
    assert_eq!(case.refusal(&without(restricted(), "is_restricted")).await, Some(Refusal::Inconsistent));
    assert_eq!(case.refusal(&without(anonymous(), "is_anonymous")).await, Some(Refusal::Inconsistent));
}

#[tokio::test]
async fn claims_that_must_be_there_must_be_there() {
    let case = Case::new();
    for name in ["sub", "aud", "iat", "exp", "branch_id", "refresh_token_id", "iss"] {
        assert_eq!(case.refusal(&without(normal(), name)).await, Some(Refusal::Malformed), "{name}");
        assert_eq!(
            case.refusal(&with(normal(), name, Value::Null)).await,
            Some(Refusal::Malformed),
            "{name}"
        );
        assert_eq!(case.refusal(&with(normal(), name, true)).await, Some(Refusal::Malformed), "{name}");
    }
    for name in ["sub", "refresh_token_id"] {
        assert_eq!(case.refusal(&with(normal(), name, "")).await, Some(Refusal::Malformed), "{name}");
        assert_eq!(case.refusal(&with(normal(), name, "a".repeat(256))).await, Some(Refusal::Malformed));
    }
}

#[tokio::test]
async fn a_claim_that_is_there_twice_is_refused() {
    let case = Case::new();
    let header = r#"{"alg":"ES256","kid":"k"}"#;
    let text = normal().to_string();
    for twice in [r#""sub":"x","#, r#""exp":1,"#, r#""iss":"x","#, r#""branchId":"main","#, r#""aud":"x","#] {
        let claims = text.replacen('{', &format!("{{{twice}"), 1);
        let token = case.signer.token_of(header, &claims);
        assert_eq!(case.text(&token).await.err(), Some(Refusal::Malformed), "{twice}");
    }
    for claims in ["", "[]", "null", "{", "1", "{}"] {
        let token = case.signer.token_of(header, claims);
        assert_eq!(case.text(&token).await.err(), Some(Refusal::Malformed), "{claims}");
    }
    let trailing = case.signer.token_of(header, &format!("{text}x"));
    assert_eq!(case.text(&trailing).await.err(), Some(Refusal::Malformed));
}

#[tokio::test]
async fn times_have_a_minute_of_leeway_and_the_time_of_issue_none() {
    let case = Case::new();
    assert_eq!(case.refusal(&with(normal(), "exp", NOW - 59)).await, None);
    assert_eq!(case.refusal(&with(normal(), "exp", NOW - 60)).await, Some(Refusal::Expired));
    assert_eq!(case.refusal(&with(normal(), "nbf", NOW + 60)).await, None);
    assert_eq!(case.refusal(&with(normal(), "nbf", NOW + 61)).await, Some(Refusal::NotYetValid));
    for iat in [NOW + 1, NOW + 3600, NOW + 100_000_000] {
        assert_eq!(case.refusal(&with(normal(), "iat", iat)).await, None);
    }
}

/// `alg` by name, signature by what an attacker has.
#[tokio::test]
async fn other_algorithms_are_refused_however_they_are_signed() {
    let case = Case::new();
    let claims = normal().to_string();
    let (x, y) = case.signer.point();
    for alg in ["none", "HS256", "ES384", "PS256"] {
        let signed =
            format!("{}.{}", base64url(json!({"alg": alg, "kid": "k"}).to_string()), base64url(&claims));
        let public = [x.as_slice(), y.as_slice()].concat();
        let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &public);
        let tag = aws_lc_rs::hmac::sign(&secret, signed.as_bytes());
        let token = format!("{signed}.{}", base64url(tag.as_ref()));
        assert_eq!(case.text(&token).await.err(), Some(Refusal::Algorithm), "{alg}");
    }
    // Names of algorithms that others may use.
    for signer in [Signer::ed25519(), Signer::rs256(aws_lc_rs::rsa::KeySize::Rsa2048)] {
        let provider = Provider::stack(&[signer.jwk("k")]);
        let identity = provider.with_stack(stack_config());
        let refusal = identity.verify(&signer.token("k", &normal()), NOW, seconds(1)).await.err();
        assert_eq!(refusal, Some(Refusal::Algorithm));
        assert_eq!(provider.fetches(), 0);
    }
    let unsigned = format!("{}.{}.", base64url(r#"{"alg":"none"}"#), base64url(&claims));
    assert_eq!(case.text(&unsigned).await.err(), Some(Refusal::Malformed));
}

#[tokio::test]
async fn keys_in_the_token_are_neither_used_nor_fetched() {
    let case = Case::new();
    let attacker = Signer::es256();
    let provider = Provider::stack(&[case.signer.jwk("k")]);
    let identity = provider.with_stack(stack_config());
    let jwk = attacker.jwk("k");
    for extra in [
        json!({"jwk": jwk}),
        json!({"jku": "https://attacker.example/keys"}),
        json!({"x5u": "https://attacker.example/cert", "x5c": ["AAAA"]}),
    ] {
        let mut header = json!({"alg": "ES256", "kid": "k"});
        for (name, value) in extra.as_object().expect("an object") {
            header[name] = value.clone();
        }
        let token = attacker.token_of(&header.to_string(), &normal().to_string());
        assert_eq!(identity.verify(&token, NOW, seconds(1)).await.err(), Some(Refusal::Signature));
        // They do no harm in a token that is good by the issuer's key.
        let token = case.signer.token_of(&header.to_string(), &normal().to_string());
        assert!(identity.verify(&token, NOW, seconds(1)).await.is_ok());
    }
    let paths: Vec<String> = provider.requests().iter().map(|request| request.uri().to_string()).collect();
    let keys = format!("{BASE}{STACK_KEYS}?include_restricted=true&include_anonymous=true");
    assert_eq!(paths, [keys]);
}

#[tokio::test]
async fn extensions_are_refused() {
    let case = Case::new();
    let header = r#"{"alg":"ES256","kid":"k","crit":["b64"],"b64":false}"#;
    let token = case.signer.token_of(header, &normal().to_string());
    assert_eq!(case.text(&token).await.err(), Some(Refusal::Malformed));
}

#[tokio::test]
async fn a_token_must_name_its_key_even_if_there_is_only_one() {
    let case = Case::new();
    let token = case.signer.token_of(r#"{"alg":"ES256"}"#, &normal().to_string());
    assert_eq!(case.text(&token).await.err(), Some(Refusal::Malformed));
}

/// Junk must be cheap: this issuer is away, so that whatever asked for keys would say so.
#[tokio::test]
async fn what_is_refused_by_its_claims_costs_no_fetch() {
    let case = Case::new();
    let provider = Provider::new();
    let identity = provider.with_stack(stack_config());
    let mut tokens: Vec<String> = [
        with(normal(), "iss", "https://other.example"),
        with(normal(), "aud", "other"),
        with(normal(), "project_id", "other"),
        with(normal(), "exp", NOW - 600),
        with(normal(), "nbf", NOW + 600),
        with(normal(), "branch_id", "other"),
        with(normal(), "is_restricted", true),
        with(normal(), "sub", ""),
    ]
    .iter()
    .map(|claims| case.signer.token("unknown", claims))
    .collect();
    tokens.extend([String::new(), "a.b.c".to_owned(), "eyJ.eyJ.eyJ".to_owned(), "x".repeat(9000)]);
    for token in tokens {
        let refusal = identity.verify(&token, NOW, seconds(1)).await.expect_err("junk");
        assert!(!refusal.is_outage(), "{refusal:?}");
    }
    assert_eq!(provider.fetches(), 0);
    let good = case.signer.token("k", &normal());
    assert_eq!(identity.verify(&good, NOW, seconds(1)).await.err(), Some(Refusal::KeysUnavailable));
    assert_eq!(provider.fetches(), 1);
}

#[test]
fn what_is_wrong_with_the_configuration_is_named() {
    let provider = Provider::new();
    let error = |change: &dyn Fn(&mut StackConfig)| {
        let mut stack = stack_config();
        change(&mut stack);
        provider.try_identity(&IdentityConfig { stack: Some(stack), ..IdentityConfig::default() }).err()
    };
    assert_eq!(error(&|_| {}), None);
    assert_eq!(error(&|stack| stack.project_id = PROJECT.to_ascii_uppercase()), None);
    for id in ["", "a/b", "a?b", "../a", "a b"] {
        let expected = IdentityConfigError::ProjectId(id.to_owned());
        assert_eq!(error(&|stack| stack.project_id = id.to_owned()), Some(expected));
    }
    assert!(matches!(
        error(&|stack| stack.api_urls.clear()),
        Some(IdentityConfigError::Count { count: 0, .. })
    ));
    let plain = "http://api.stack-auth.com".to_owned();
    assert!(matches!(
        error(&|stack| stack.api_urls = vec![plain.clone()]),
        Some(IdentityConfigError::Url { .. })
    ));
    for key in ["", "a b", "a\nb", "ä"] {
        let server = error(&|stack| key.clone_into(&mut stack.secret_server_key));
        assert_eq!(server, Some(IdentityConfigError::Key("the secret server key")));
        let client = error(&|stack| stack.publishable_client_key = Some(key.to_owned()));
        assert_eq!(client, Some(IdentityConfigError::Key("the publishable client key")));
    }
}
