//! Cookies and headers of the SDK, taken apart by hand.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use phoenix_testkit::stack_auth::{
    Cookie, CookieEncoding, FakeStackAuth, NewUser, access_cookie, authorization, refresh_cookie,
    refresh_cookie_for_domain, sdk_cookies, x_stack_auth,
};
use serde_json::{Value, json};

fn decoded(cookie: &Cookie) -> Result<Value> {
    let text = percent_encoding::percent_decode_str(&cookie.value).decode_utf8()?;
    serde_json::from_str(&text).with_context(|| text.into_owned())
}

#[test]
fn the_access_cookie_is_an_escaped_array() -> Result<()> {
    let browser = access_cookie("r", "a.b.c", CookieEncoding::JsCookie);
    assert_eq!(browser.pair(), "stack-access=[%22r%22%2C%22a.b.c%22]");
    let server = access_cookie("r", "a.b.c", CookieEncoding::Component);
    assert_eq!(server.pair(), "stack-access=%5B%22r%22%2C%22a.b.c%22%5D");
    assert_eq!(decoded(&browser)?, json!(["r", "a.b.c"]));
    assert_eq!(decoded(&server)?, json!(["r", "a.b.c"]));
    assert_eq!(browser.max_age_s, 86_400);
    assert_eq!(browser.hexclave().name, "hexclave-access");
    Ok(())
}

#[test]
fn refresh_cookies_have_the_names_of_the_reference() -> Result<()> {
    let cookie = |https| refresh_cookie("id", "r", 5, https, CookieEncoding::JsCookie);
    assert_eq!(cookie(true).name, "__Host-stack-refresh-id--default");
    assert_eq!(cookie(true).hexclave().name, "__Host-hexclave-refresh-id--default");
    assert_eq!(cookie(false).name, "stack-refresh-id--default");
    assert_eq!(decoded(&cookie(false))?, json!({ "refresh_token": "r", "updated_at_millis": 5 }));
    assert_eq!(cookie(false).max_age_s, 365 * 86_400);
    let custom = refresh_cookie_for_domain("id", "f", "r", 5, CookieEncoding::JsCookie);
    // "f" is 01100110: 01100 is c, 110 and two zero bits are r.
    assert_eq!(custom.name, "stack-refresh-id--custom-cr");
    assert_eq!(Cookie::legacy_refresh(None, "r").pair(), "stack-refresh=r");
    assert_eq!(Cookie::legacy_refresh(Some("id"), "r").pair(), "stack-refresh-id=r");
    Ok(())
}

#[test]
fn a_browser_has_every_cookie_twice() -> Result<()> {
    let fake = FakeStackAuth::start()?;
    let signed_in = fake.sign_up(NewUser::normal());
    let cookies = sdk_cookies("id", &signed_in, 5, false);
    let names: Vec<&str> = cookies.iter().map(|cookie| cookie.name.as_str()).collect();
    let expected =
        ["stack-access", "hexclave-access", "stack-refresh-id--default", "hexclave-refresh-id--default"];
    assert_eq!(names, expected);
    assert_eq!(decoded(&cookies[1])?, json!([signed_in.refresh_token, signed_in.access_token]));
    assert_eq!(Cookie::header(&cookies[..2]), format!("{}; {}", cookies[0].pair(), cookies[1].pair()));
    Ok(())
}

#[test]
fn headers_of_the_sdk() -> Result<()> {
    let value: Value = serde_json::from_str(&x_stack_auth(Some("a"), None))?;
    assert_eq!(value, json!({ "accessToken": "a", "refreshToken": null }));
    let header = authorization("stackauth", Some("a"), Some("r"));
    let encoded = header.strip_prefix("Bearer stackauth_").context("scheme")?;
    let value: Value = serde_json::from_slice(&STANDARD.decode(encoded)?)?;
    assert_eq!(value, json!({ "accessToken": "a", "refreshToken": "r" }));
    assert!(authorization("hexclave", None, None).starts_with("Bearer hexclave_"));
    Ok(())
}
