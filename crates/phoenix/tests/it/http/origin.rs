//! Which requests with a cookie count, by where they say they come from.

use http::Method;
use phoenix_testkit::http::{Call, Response};
use serde_json::json;

use super::support::{ADMIN, Backend, ME, Node, PASSWORD, Site, assert_marked, assert_problem};

const SESSIONS: &str = "/api/auth/sessions?scope=others";
const ALLOWED: &str = "https://app.example";

/// Where a request says it comes from: `Sec-Fetch-Site` and `Origin`, in which HOST is this server.
struct From {
    site: Option<&'static str>,
    origin: Option<&'static str>,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ours,
    Foreign,
    /// Not said. Foreign for a cookie; a login goes on without the session it came with.
    Unsaid,
}
use Verdict::{Foreign, Ours, Unsaid};

const fn from(site: Option<&'static str>, origin: Option<&'static str>, verdict: Verdict) -> From {
    From { site, origin, verdict }
}

const TABLE: [From; 19] = [
    from(None, None, Unsaid),
    from(Some("same-origin"), None, Ours),
    from(Some("same-origin"), Some("http://HOST"), Ours),
    from(Some("same-site"), None, Foreign),
    from(Some("cross-site"), None, Foreign),
    from(Some("none"), None, Foreign),
    from(Some("nonsense"), None, Foreign),
    from(None, Some("http://HOST"), Ours),
    from(None, Some("https://HOST"), Ours),
    from(None, Some("HTTP://HOST"), Foreign),
    from(None, Some("http://HOST.evil.example"), Foreign),
    from(None, Some("http://HOST/"), Foreign),
    from(None, Some("http://127.0.0.1:1"), Foreign),
    from(None, Some("http://evil.example"), Foreign),
    from(None, Some("null"), Foreign),
    from(None, Some(ALLOWED), Ours),
    from(Some("cross-site"), Some(ALLOWED), Ours),
    from(None, Some("https://app.example.evil.example"), Foreign),
    from(Some("cross-site"), Some("http://evil.example"), Foreign),
];

impl From {
    fn say<'a>(&self, node: &Node, mut call: Call<'a>) -> Call<'a> {
        if let Some(site) = self.site {
            call = call.header("sec-fetch-site", site);
        }
        if let Some(origin) = self.origin {
            call = call.header("origin", &origin.replace("HOST", &node.address.to_string()));
        }
        call
    }
}

async fn sent(call: Call<'_>) -> Response {
    let response = call.send().await.unwrap();
    assert_marked(&response);
    response
}

// spec: A11
#[tokio::test(flavor = "multi_thread")]
async fn unsafe_requests_with_a_cookie_must_come_from_this_site() {
    let site = Site::new(Backend::Sqlite).with("PHOENIX_ALLOWED_ORIGINS", ALLOWED);
    let node = site.node().await;
    let token = node.token(ADMIN).await;
    let cookie = format!("phoenix_session={token}");
    for (number, row) in TABLE.iter().enumerate() {
        let victim = node.token(ADMIN).await;
        let response = sent(row.say(&node, node.client.delete(SESSIONS).header("cookie", &cookie))).await;
        if row.verdict == Ours {
            assert_eq!(response.status, 200, "row {number}: {}", response.text());
        } else {
            assert_problem(&response, 403, "cross-origin");
        }
        let lives = node.me(&victim).await.status == 200;
        assert_eq!(lives, row.verdict != Ours, "row {number}: a refused request changes nothing");

        for method in [Method::GET, Method::HEAD] {
            let call = node.client.request(method, ME).header("cookie", &cookie);
            assert_eq!(sent(row.say(&node, call)).await.status, 200, "row {number}: reading is safe");
        }
        let bearer = sent(row.say(&node, node.client.delete(SESSIONS).bearer(&token))).await;
        assert_eq!(bearer.status, 200, "row {number}: no page can make a browser send the header");
    }
    node.stop().await;
}

// spec: A11
#[tokio::test(flavor = "multi_thread")]
async fn no_other_site_can_sign_a_browser_in() {
    let site = Site::new(Backend::Sqlite).with("PHOENIX_ALLOWED_ORIGINS", ALLOWED);
    let node = site.node().await;
    let login = json!({"email": ADMIN, "password": PASSWORD});
    for (number, row) in TABLE.iter().enumerate() {
        let signed_in = sent(row.say(&node, node.client.post("/api/auth/login").json(&login))).await;
        let body = json!({"email": format!("user{number}@example.com"), "password": PASSWORD});
        let registered = sent(row.say(&node, node.client.post("/api/auth/register").json(&body))).await;
        if row.verdict == Foreign {
            assert_problem(&signed_in, 403, "cross-origin");
            assert_problem(&registered, 403, "cross-origin");
            assert_eq!((signed_in.header("set-cookie"), registered.header("set-cookie")), (None, None));
        } else {
            assert_eq!(signed_in.status, 200, "row {number}");
            assert_eq!(registered.status, 201, "row {number}");
        }
    }
    node.stop().await;
}
