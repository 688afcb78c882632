//! Deliveries: signed, forged, stale, and what they say.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::provider::USER;
use crate::webhook::{Delivery, TOLERANCE_SECONDS, UserEvent, WebhookRefusal, WebhookSecret, parse, verify};

/// The example of Svix' documentation.
const SECRET: &str = "whsec_plJ3nmyCDGBKInavdOK15jsl";
const BODY: &[u8] = br#"{"event_type":"ping","data":{"success":true}}"#;
const ID: &str = "msg_loFOjxBNrRLzqYUf";
const AT: i64 = 1_731_705_121;
const SIGNATURE: &str = "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=";

fn secret() -> WebhookSecret {
    WebhookSecret::parse(SECRET).expect("a secret")
}

fn signature(id: &str, timestamp: &str, body: &[u8]) -> String {
    let bytes = STANDARD.decode(&SECRET["whsec_".len()..]).expect("base64");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &bytes);
    let text = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    format!("v1,{}", STANDARD.encode(aws_lc_rs::hmac::sign(&key, &text)))
}

fn delivery<'a>(timestamp: &'a str, signatures: &'a str) -> Delivery<'a> {
    Delivery { id: ID, timestamp, signatures }
}

#[test]
fn the_published_example_verifies() {
    assert_eq!(verify(&secret(), delivery("1731705121", SIGNATURE), BODY, AT), Ok(()));
}

#[test]
fn any_of_the_signatures_may_be_ours() {
    let check = |signatures: &str| verify(&secret(), delivery("1731705121", signatures), BODY, AT);
    let other = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    for good in [
        format!("{other} {SIGNATURE}"),
        format!("{SIGNATURE} {other}"),
        format!("v1a,x v2,x v1,! {SIGNATURE}"),
    ] {
        assert_eq!(check(&good), Ok(()), "{good}");
    }
    let unversioned = &SIGNATURE[3..];
    let asymmetric = SIGNATURE.replace("v1,", "v1a,");
    let cut = format!("v1,{}", STANDARD.encode([0; 16]));
    let beyond_the_bound = format!("{}{SIGNATURE}", format!("{other} ").repeat(16));
    for bad in
        ["", " ", "v1,", other, unversioned, &asymmetric, &cut, &beyond_the_bound, &SIGNATURE.to_lowercase()]
    {
        assert_eq!(check(bad), Err(WebhookRefusal::Signature), "{bad}");
    }
}

#[test]
fn whatever_is_changed_is_noticed() {
    let at = AT.to_string();
    let check = |id: &str, body: &[u8], secret: &str| {
        let delivery = Delivery { id, timestamp: &at, signatures: SIGNATURE };
        verify(&WebhookSecret::parse(secret).expect("a secret"), delivery, body, AT)
    };
    assert_eq!(check(ID, BODY, SECRET), Ok(()));
    let other = format!("whsec_{}", STANDARD.encode([7; 24]));
    // The same JSON, written again.
    let again = br#"{"event_type": "ping","data":{"success":true}}"#;
    assert_eq!(check(ID, again, SECRET), Err(WebhookRefusal::Signature));
    assert_eq!(check("msg_other", BODY, SECRET), Err(WebhookRefusal::Signature));
    assert_eq!(check(ID, BODY, &other), Err(WebhookRefusal::Signature));
    let later = (AT + 1).to_string();
    assert_eq!(verify(&secret(), delivery(&later, SIGNATURE), BODY, AT), Err(WebhookRefusal::Signature));
}

#[test]
fn five_minutes_on_both_sides_are_exact() {
    let check = |now: i64| verify(&secret(), delivery("1731705121", SIGNATURE), BODY, now);
    assert_eq!(check(AT + TOLERANCE_SECONDS), Ok(()));
    assert_eq!(check(AT - TOLERANCE_SECONDS), Ok(()));
    assert_eq!(check(AT + TOLERANCE_SECONDS + 1), Err(WebhookRefusal::Time));
    assert_eq!(check(AT - TOLERANCE_SECONDS - 1), Err(WebhookRefusal::Time));
    assert_eq!(check(i64::MIN), Err(WebhookRefusal::Time));
}

#[test]
fn headers_must_be_what_they_should_be() {
    let check = |id: &str, timestamp: &str| {
        let signatures = signature(id, timestamp, BODY);
        verify(&secret(), Delivery { id, timestamp, signatures: &signatures }, BODY, AT)
    };
    let at = AT.to_string();
    assert_eq!(check(ID, &at), Ok(()));
    for timestamp in ["", "-1", "+1731705121", " 1731705121", "1731705121.0", "abc", "99999999999999999999"] {
        assert_eq!(check(ID, timestamp), Err(WebhookRefusal::Headers), "{timestamp}");
    }
    for id in ["", "msg.1", "a".repeat(256).as_str()] {
        assert_eq!(check(id, &at), Err(WebhookRefusal::Headers), "{id}");
    }
}

#[test]
fn secrets_are_text_of_their_kind_and_are_not_shown() {
    for bad in
        ["", "whsec_", "plJ3nmyCDGBKInavdOK15jsl", "whsec_!", "whsec_AAAA", "WHSEC_plJ3nmyCDGBKInavdOK15jsl"]
    {
        assert_eq!(WebhookSecret::parse(bad).err(), Some(WebhookRefusal::Secret), "{bad}");
    }
    let long = format!("whsec_{}", STANDARD.encode([1; 129]));
    assert_eq!(WebhookSecret::parse(&long).err(), Some(WebhookRefusal::Secret));
    assert_eq!(format!("{:?}", secret()), "WebhookSecret");
}

#[test]
fn both_families_of_headers_are_read_but_not_mixed() {
    let map = |pairs: &[(&'static str, &'static str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    };
    let svix = [("svix-id", "a"), ("svix-timestamp", "1"), ("svix-signature", "s")];
    let standard = [("webhook-id", "a"), ("webhook-timestamp", "1"), ("webhook-signature", "s")];
    for family in [svix, standard] {
        let headers = map(&family);
        let expected = Delivery { id: "a", timestamp: "1", signatures: "s" };
        assert_eq!(Delivery::from_headers(&headers), Ok(expected));
        let twice = map(&[family.as_slice(), &family[..1]].concat());
        assert_eq!(Delivery::from_headers(&twice), Err(WebhookRefusal::Headers));
    }
    let mixed = map(&[svix[0], standard[1], svix[2]]);
    assert_eq!(Delivery::from_headers(&mixed), Err(WebhookRefusal::Headers));
}

#[test]
fn events_of_users_are_read_and_the_others_pass() {
    let event = |kind: &str, data: Value| parse(json!({"type": kind, "data": data}).to_string().as_bytes());
    let deleted = event("user.deleted", json!({"id": USER, "teams": []}));
    assert_eq!(deleted, Ok(UserEvent::Deleted { user_id: USER.to_owned() }));
    let user = json!({
        "id": USER, "primary_email": "ada@example.com", "primary_email_verified": true, "display_name": "Ada",
        "profile_image_url": null, "selected_team": null,
    });
    let updated = |email: Option<&str>, email_verified| UserEvent::Updated {
        user_id: USER.to_owned(),
        email: email.map(str::to_owned),
        email_verified,
        name: Some("Ada".to_owned()),
        picture: None,
    };
    for kind in ["user.created", "user.updated"] {
        assert_eq!(event(kind, user.clone()), Ok(updated(Some("ada@example.com"), true)));
    }
    let without_address = super::provider::with(user, "primary_email", Value::Null);
    assert_eq!(event("user.updated", without_address), Ok(updated(None, false)));
    for kind in ["team.created", "user.other", ""] {
        assert_eq!(event(kind, json!([1])), Ok(UserEvent::Other));
    }
    assert_eq!(parse(br#"{"type":"team.deleted"}"#), Ok(UserEvent::Other));
    for (kind, data) in
        [("user.deleted", json!({})), ("user.updated", json!(null)), ("user.deleted", json!({"id": 1}))]
    {
        assert_eq!(event(kind, data), Err(WebhookRefusal::Body));
    }
    for body in [b"".as_slice(), b"[]", b"{}", b"\xff", br#"{"type":1,"data":{}}"#] {
        assert_eq!(parse(body), Err(WebhookRefusal::Body));
    }
}
