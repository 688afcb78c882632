//! What answers tell of limits: headers that programs read, and times that are true.

use http::Method;
use phoenix_testkit::http::Response;
use serde_json::json;

use super::super::support::{ADMIN, Backend, ME, PASSWORD, assert_marked, assert_problem};
use super::{advance, header, limited, retry_after};

/// One item of a List of Strings with Integer parameters, RFC 9651.
#[derive(PartialEq, Eq, Debug)]
struct Item {
    name: String,
    parameters: Vec<(String, u64)>,
}

/// Parses as RFC 9651 section 4.2.1 says, as far as these headers go; anything else is a failure.
#[track_caller]
fn list(response: &Response, name: &str) -> Vec<Item> {
    let text = header(response, name);
    let item = |text: &str| {
        let (name, rest) = text.strip_prefix('"').unwrap().split_once('"').unwrap();
        assert!(!name.contains('\\') && name.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text}");
        let parameters = rest.split(';').skip(1).map(|parameter| {
            let (key, value) = parameter.split_once('=').unwrap();
            assert!(key.bytes().all(|byte| byte.is_ascii_lowercase()), "{text}");
            assert!(value.len() <= 15 && (value == "0" || !value.starts_with('0')), "{text}");
            (key.to_owned(), value.parse().unwrap())
        });
        Item { name: name.to_owned(), parameters: parameters.collect() }
    };
    text.split(',').map(item).collect()
}

fn item(name: &str, parameters: &[(&str, u64)]) -> Item {
    let parameters = parameters.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
    Item { name: name.to_owned(), parameters }
}

// spec: R6
#[tokio::test(flavor = "multi_thread")]
async fn every_limited_answer_tells_the_limit_and_every_method_counts() {
    let site = limited(Backend::Sqlite);
    let node = site.node().await;
    let mut ada = node.registered("ada@example.com").await;
    ada.until_in_memory().await;
    let first: u64 = header(&ada.me().await, "x-ratelimit-remaining").parse().unwrap();
    let asked = [
        (Method::GET, ME, 200),
        (Method::HEAD, ME, 200),
        (Method::OPTIONS, ME, 405),
        (Method::GET, "/api/auth/sessions", 200),
        (Method::DELETE, "/api/nothing", 404),
        (Method::GET, "/api/admin/users", 403),
        (Method::GET, ME, 200),
    ];
    for (left, (method, path, status)) in (0..first).rev().zip(asked) {
        let response = ada.send(method.clone(), path, None).await;
        assert_eq!(response.status, status, "{method} {path}");
        assert_eq!(list(&response, "ratelimit-policy"), [item("api", &[("q", 100), ("w", 60)])]);
        assert_eq!(list(&response, "ratelimit"), [item("api", &[("r", left), ("t", 60)])], "{method} {path}");
        let older =
            ["limit", "remaining", "reset"].map(|name| header(&response, &format!("x-ratelimit-{name}")));
        assert_eq!(older, ["100".to_owned(), left.to_string(), "60".to_owned()]);
    }
    node.stop().await;
}

// spec: R6
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_which_limit_and_how_long() {
    let site = limited(Backend::Sqlite).with("PHOENIX_LIMITS_CLASSES", r#"{api = {windows = ["2/90s"]}}"#);
    let node = site.node().await;
    let mut browser = node.browser();
    browser.me().await;
    browser.me().await;
    let refused = browser.me().await;
    assert_marked(&refused);
    let body = assert_problem(&refused, 429, "quota-exceeded");
    assert_eq!(body["violated-policies"], json!(["api"]));
    assert_eq!(body["title"], "Too many requests. Wait before you try again.");
    assert_eq!(body["detail"], "You are blocked by the limit \"api\". Try again in 5 minutes.");
    assert_eq!(list(&refused, "ratelimit-policy"), [item("api", &[("q", 2), ("w", 90)])]);
    assert_eq!(list(&refused, "ratelimit"), [item("api", &[("r", 0), ("t", 300)])]);
    assert_eq!(retry_after(&refused), 300);
    // HEAD says the same without a body.
    let head = browser.send(Method::HEAD, ME, None).await;
    assert_eq!((retry_after(&head), head.body.len()), (300, 0));
    node.stop().await;
}

// spec: R6
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_as_told_is_admitted_and_one_second_less_is_not_enough() {
    let classes = r#"{api = {windows = ["3/10s", "5/1m"], block = "none"}}"#;
    let site = limited(Backend::Sqlite).with("PHOENIX_LIMITS_CLASSES", classes);
    let node = site.node().await;
    let mut refusals = 0;
    for step in 0..40_u64 {
        site.clock.advance(std::time::Duration::from_millis(37 * step));
        let response = node.browser().me().await;
        let names: Vec<String> =
            list(&response, "ratelimit-policy").into_iter().map(|item| item.name).collect();
        assert_eq!(names, ["api-10s", "api-60s"]);
        let told = list(&response, "ratelimit");
        assert!(told.len() == 1 && names.contains(&told[0].name), "{told:?}");
        if response.status == 401 {
            continue;
        }
        refusals += 1;
        let violated = assert_problem(&response, 429, "quota-exceeded")["violated-policies"].clone();
        assert_eq!(violated, json!([told[0].name]));
        let seconds = retry_after(&response);
        assert_eq!(told[0].parameters, [("r".to_owned(), 0), ("t".to_owned(), seconds)]);
        advance(&site, seconds - 1);
        assert_eq!(node.browser().me().await.status, 429, "one second less than {seconds}");
        advance(&site, 1);
        assert_eq!(node.browser().me().await.status, 401, "after {seconds} s");
    }
    assert!(refusals > 5);
    node.stop().await;
}

// spec: R6
#[tokio::test(flavor = "multi_thread")]
async fn older_headers_can_be_switched_off() {
    let site = limited(Backend::Sqlite).with("PHOENIX_LIMITS_LEGACY_HEADERS", "false");
    let node = site.node().await;
    let mut admin = node.administrator().await;
    let mut answers = vec![admin.me().await, node.browser().me().await];
    answers.push(node.browser().login(ADMIN, PASSWORD).await);
    answers.push(node.browser().login(ADMIN, "not the password").await);
    for response in answers {
        assert!(response.header("ratelimit").is_some() && response.header("ratelimit-policy").is_some());
        let older = response.headers.keys().filter(|name| name.as_str().starts_with("x-ratelimit"));
        assert_eq!(older.count(), 0, "{response:?}");
    }
    node.stop().await;
}
