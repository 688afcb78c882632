//! Where a request may carry Stack Auth's access token, and what follows from the place.

use std::time::Duration;

use http::Method;
use phoenix_testkit::http::{Client, Response};
use phoenix_testkit::stack_auth::{
    Cookie, CookieEncoding, FakeStackAuth, IssuerHost, KeyIndex, SignedIn, UserType, access_cookie,
    authorization, refresh_cookie, refresh_cookie_for_domain, sdk_cookies, x_stack_auth,
};
use serde_json::json;

use super::setup::{Setup, accepted, me_with, session_id, user_id};
use crate::http::support::{ADMIN, Backend, PASSWORD, Site, assert_problem, on_every_backend};

/// A way to carry a token: its name, its headers, whether a browser sends it by itself.
struct Carrier {
    name: &'static str,
    headers: Vec<(&'static str, String)>,
    is_cookie: bool,
}

impl Carrier {
    fn headers(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    async fn logout(&self, client: &Client, more: &[(&str, &str)]) -> Response {
        let all = self.headers();
        let call = client.request(Method::POST, "/api/auth/logout");
        let call = all.iter().chain(more).fold(call, |call, (name, value)| call.header(name, value));
        call.send().await.unwrap()
    }
}

/// Every way. `who` is asked anew for each.
fn carriers(fake: &FakeStackAuth, who: impl Fn() -> SignedIn) -> Vec<Carrier> {
    let project = fake.project_id();
    let header = |name, make: &dyn Fn(&SignedIn) -> (&'static str, String)| Carrier {
        name,
        headers: vec![make(&who())],
        is_cookie: false,
    };
    let cookies = |name, make: &dyn Fn(&SignedIn) -> Vec<Cookie>| Carrier {
        name,
        headers: vec![("cookie", Cookie::header(&make(&who())))],
        is_cookie: true,
    };
    let (js, component) = (CookieEncoding::JsCookie, CookieEncoding::Component);
    let pair = |who: &SignedIn| x_stack_auth(Some(&who.access_token), Some(&who.refresh_token));
    let packed = |scheme, who: &SignedIn| authorization(scheme, Some(&who.access_token), None);
    vec![
        header("access token", &|who| ("x-stack-access-token", who.access_token.clone())),
        header("access token, new name", &|who| ("x-hexclave-access-token", who.access_token.clone())),
        header("JSON", &|who| ("x-stack-auth", pair(who))),
        header("JSON, new name", &|who| ("x-hexclave-auth", pair(who))),
        header("bearer", &|who| ("authorization", format!("Bearer {}", who.access_token))),
        header("packed bearer", &|who| ("authorization", packed("stackauth", who))),
        header("packed bearer, new name", &|who| ("authorization", packed("hexclave", who))),
        cookies("all cookies, http", &|who| sdk_cookies(project, who, 1, false)),
        cookies("all cookies, https", &|who| sdk_cookies(project, who, 1, true)),
        cookies("cookies of the old name", &|who| {
            let access = access_cookie(&who.refresh_token, &who.access_token, component);
            vec![access, refresh_cookie(project, &who.refresh_token, 1, true, component)]
        }),
        cookies("cookies of the new name", &|who| {
            let access = access_cookie(&who.refresh_token, &who.access_token, js).hexclave();
            vec![access, refresh_cookie(project, &who.refresh_token, 1, true, js).hexclave()]
        }),
        cookies("cookie of the whole domain, newer than another", &|who| {
            let token = &who.refresh_token;
            let access = access_cookie(token, &who.access_token, js);
            let shared = refresh_cookie_for_domain(project, "example.com", token, 9, js);
            vec![access, refresh_cookie(project, "another", 8, true, js), shared]
        }),
        cookies("bare refresh cookie", &|who| {
            let access = access_cookie(&who.refresh_token, &who.access_token, js);
            vec![access, Cookie::legacy_refresh(Some(project), &who.refresh_token)]
        }),
    ]
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_accepted_wherever_the_sdks_put_it() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let ada = setup.sign_up("ada@example.com");
        let first = accepted(&node, &ada.access_token).await;
        for carrier in carriers(&setup.fake, || setup.fake.sign_in(&ada.user_id)) {
            let name = carrier.name;
            let response = me_with(&node.client, &carrier.headers()).await;
            assert_eq!(response.status, 200, "{name}: {}", response.text());
            let me = response.json();
            assert_eq!(me["session"]["provider"], "stack", "{name}");
            assert_eq!(me["user"], first["user"], "{name}");
            assert_ne!(session_id(&me), session_id(&first), "{name}: each session is one of its own");
        }
        let user = &first["user"];
        assert_eq!((&user["email"], &user["emailVerified"]), (&json!("ada@example.com"), &json!(true)));
        assert_eq!((&user["username"], &user["role"]), (&json!("Ada Lovelace"), &json!("user")));
        node.stop().await;
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_sends_by_itself_needs_the_same_origin_and_what_a_program_sends_does_not() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let ada = setup.sign_up("ada@example.com");
        let foreign: [&[(&str, &str)]; 4] = [
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://evil.example")],
            &[],
        ];
        for from in foreign {
            for carrier in carriers(&setup.fake, || setup.fake.sign_in(&ada.user_id)) {
                let response = carrier.logout(&node.client, from).await;
                if carrier.is_cookie {
                    assert_problem(&response, 403, "cross-origin");
                    let me = me_with(&node.client, &carrier.headers()).await;
                    assert_eq!(me.status, 200, "{}: nothing was done", carrier.name);
                    let ours = carrier.logout(&node.client, &[("sec-fetch-site", "same-origin")]).await;
                    assert_eq!(ours.status, 200, "{}: {}", carrier.name, ours.text());
                } else {
                    assert_eq!(response.status, 200, "{} {from:?}: {}", carrier.name, response.text());
                }
                assert_problem(&me_with(&node.client, &carrier.headers()).await, 401, "session-ended");
            }
        }
        node.stop().await;
    })
    .await;
}

// spec: A10 A11
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_phoenix_counts_before_the_cookies_of_the_sdk_and_behind_its_headers() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let own = node.registered("own@example.com").await;
        let ada = setup.sign_up("ada@example.com");
        let sdk = Cookie::header(&sdk_cookies(setup.fake.project_id(), &ada, 1, false));
        let cookie = format!("phoenix_session={}", own.token());
        let both = format!("{sdk}; {cookie}");
        let who = async |headers: &[(&str, &str)]| {
            me_with(&node.client, headers).await.json()["user"]["email"].as_str().unwrap().to_owned()
        };
        assert_eq!(who(&[("cookie", &both)]).await, "own@example.com");
        assert_eq!(who(&[("cookie", &sdk)]).await, "ada@example.com");
        let access = ("x-stack-access-token", ada.access_token.as_str());
        assert_eq!(who(&[("cookie", &cookie), access]).await, "ada@example.com");
        let bearer = format!("Bearer {}", own.token());
        assert_eq!(who(&[("cookie", &sdk), ("authorization", &bearer)]).await, "own@example.com");
        node.stop().await;
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn cookies_count_only_with_the_refresh_token_they_belong_to() {
    let setup = Setup::new(Backend::Sqlite);
    let node = setup.node().await;
    let (ada, project) = (setup.sign_up("ada@example.com"), setup.fake.project_id());
    let js = CookieEncoding::JsCookie;
    let access = access_cookie(&ada.refresh_token, &ada.access_token, js);
    let own = refresh_cookie(project, &ada.refresh_token, 5, true, js);
    let newer = refresh_cookie_for_domain(project, "example.com", "another", 6, js);
    let bare = Cookie::legacy_refresh(Some(project), "another");
    let elsewhere = refresh_cookie("another-project", &ada.refresh_token, 5, true, js);
    let cases: [(&str, &[&Cookie], bool); 5] = [
        ("with its own", &[&access, &own], true),
        ("alone", &[&access], false),
        ("with a newer one of another session", &[&access, &own, &newer], false),
        ("with a bare one of another session", &[&access, &own, &bare], false),
        ("with one of another project", &[&access, &elsewhere], false),
    ];
    for (name, cookies, counts) in cases {
        let cookies: Vec<Cookie> = cookies.iter().map(|cookie| (*cookie).clone()).collect();
        let response = me_with(&node.client, &[("cookie", &Cookie::header(&cookies))]).await;
        if counts {
            assert_eq!(response.status, 200, "{name}: {}", response.text());
        } else {
            assert_problem(&response, 401, "unauthenticated");
        }
    }
    node.stop().await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn old_claims_are_read_and_only_the_configured_server_is_an_issuer() {
    let setup = Setup::new(Backend::Sqlite);
    let node = setup.node().await;
    let ada = setup.sign_up("ada@example.com");
    let spec = || setup.fake.token_of(&ada.session_id).unwrap();
    let me = accepted(&node, &ada.access_token).await;
    let old = accepted(&node, &setup.fake.mint(&spec().legacy_claims())).await;
    assert_eq!((session_id(&old), user_id(&old)), (session_id(&me), user_id(&me)));
    // The names of Stack Auth's cloud are issuers of the cloud only.
    for host in
        [IssuerHost::StackAuth, IssuerHost::Hexclave, IssuerHost::Other("https://evil.example".into())]
    {
        let token = setup.fake.mint(&spec().issuer_host(host.clone()));
        assert_problem(&node.me(&token).await, 401, "malformed-token");
    }
    // The second key of the set signs as well as the first.
    let new_key = spec().signed_with(KeyIndex::New);
    assert_eq!(session_id(&accepted(&node, &setup.fake.mint(&new_key)).await), session_id(&me));
    // A key with a short coordinate, as the provider writes it.
    setup.fake.rotate_to_short_coordinate(UserType::Normal);
    setup.pass(Duration::from_secs(31));
    let short = accepted(&node, &setup.fake.mint(&spec())).await;
    assert_eq!(session_id(&short), session_id(&me));
    node.stop().await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_there_twice_counts_for_nobody() {
    let setup = Setup::new(Backend::Sqlite);
    let node = setup.node().await;
    let (ada, bob) = (setup.sign_up("ada@example.com"), setup.sign_up("bob@example.com"));
    let json = |who: &SignedIn| x_stack_auth(Some(&who.access_token), None);
    for (name, value) in [
        (
            "authorization",
            &(|who: &SignedIn| format!("Bearer {}", who.access_token)) as &dyn Fn(&SignedIn) -> String,
        ),
        ("x-stack-access-token", &|who| who.access_token.clone()),
        ("x-hexclave-access-token", &|who| who.access_token.clone()),
        ("x-stack-auth", &json),
        ("x-hexclave-auth", &json),
    ] {
        let (first, second) = (value(&ada), value(&bob));
        let response = me_with(&node.client, &[(name, &first), (name, &second)]).await;
        assert_problem(&response, 400, "ambiguous-credentials");
    }
    node.stop().await;
}

// spec: A10 A11
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_phoenix_counts_only_where_phoenix_puts_it_and_cookies_with_two_values_for_nobody() {
    let setup = Setup::new(Backend::Sqlite);
    let node = setup.node().await;
    let (own, ada) = (node.registered("own@example.com").await, setup.sign_up("ada@example.com"));
    let planted = SignedIn { access_token: own.token().clone(), ..ada.clone() };
    for carrier in carriers(&setup.fake, || planted.clone()) {
        let response = me_with(&node.client, &carrier.headers()).await;
        // Packed as the provider's tokens are, it would not be recognised where it is kept from applications.
        if carrier.headers[0].0 == "authorization" && carrier.headers[0].1.starts_with("Bearer phx_") {
            assert_eq!(response.status, 200, "{}: {}", carrier.name, response.text());
        } else {
            assert_problem(&response, 401, "malformed-token");
        }
    }
    let bob = setup.sign_up("bob@example.com");
    let cookies = |who| Cookie::header(&sdk_cookies(setup.fake.project_id(), who, 1, false));
    let both = format!("{}; {}", cookies(&ada), cookies(&bob));
    assert_problem(&me_with(&node.client, &[("cookie", &both)]).await, 400, "ambiguous-credentials");
    node.stop().await;
}

// spec: A10 A11
#[tokio::test(flavor = "multi_thread")]
async fn without_a_project_none_of_it_is_looked_at() {
    let setup = Setup::new(Backend::Sqlite);
    let plain = Site::new(Backend::Sqlite);
    let node = plain.node().await;
    let ada = setup.sign_up("ada@example.com");
    for carrier in carriers(&setup.fake, || setup.fake.sign_in(&ada.user_id)) {
        let response = me_with(&node.client, &carrier.headers()).await;
        let is_bearer = carrier.headers[0].0 == "authorization";
        let code = if is_bearer { "malformed-token" } else { "unauthenticated" };
        assert_problem(&response, 401, code);
    }
    assert_eq!(setup.fake.total_calls(), 0);
    assert_eq!(node.browser().login(ADMIN, PASSWORD).await.status, 200);
    node.stop().await;
}
