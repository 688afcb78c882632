//! The webhook sender, against a receiver written from the Standard Webhooks rules.

use std::collections::HashSet;

use anyhow::{Context, Result};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use phoenix_testkit::stack_auth::{
    Delivery, FakeStackAuth, NewUser, Route, WebhookEvent, WebhookFlaw, WebhookSender,
};
use serde_json::{Value, json};

use super::NOW;

/// A receiver that remembers ids.
struct Receiver {
    key: Vec<u8>,
    now_s: i64,
    seen: HashSet<String>,
}

impl Receiver {
    fn new(secret: &str, now_s: i64) -> Result<Self> {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").context("prefix")?)?;
        Ok(Self { key, now_s, seen: HashSet::new() })
    }

    fn accepts(&mut self, delivery: &Delivery) -> bool {
        self.id_if_genuine(delivery).is_some_and(|id| self.seen.insert(id))
    }

    fn id_if_genuine(&self, delivery: &Delivery) -> Option<String> {
        let header = |name: &str| {
            let names = [format!("svix-{name}"), format!("webhook-{name}")];
            delivery.headers.iter().find(|(name, _)| names.contains(name)).map(|(_, value)| value.as_str())
        };
        let (id, timestamp, signatures) = (header("id")?, header("timestamp")?, header("signature")?);
        if (self.now_s - timestamp.parse::<i64>().ok()?).abs() > 300 {
            return None;
        }
        let text = [format!("{id}.{timestamp}.").as_bytes(), &delivery.body].concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        let fits = |signature: &str| {
            let tag = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
            tag.is_some_and(|tag| hmac::verify(&key, &text, &tag).is_ok())
        };
        signatures.split(' ').any(fits).then(|| id.to_owned())
    }
}

#[test]
fn right_deliveries_are_accepted_once() -> Result<()> {
    let sender = WebhookSender::new();
    let mut receiver = Receiver::new(&sender.secret(), NOW)?;
    let event = WebhookEvent::user_deleted("u");
    let delivery = sender.deliver(&event, NOW);
    let body: Value = serde_json::from_slice(&delivery.body)?;
    assert_eq!(body, json!({ "type": "user.deleted", "data": { "id": "u", "teams": [] } }));
    assert!(receiver.accepts(&delivery));
    assert!(!receiver.accepts(&delivery), "a replay");
    assert!(!receiver.accepts(&sender.retry(&delivery, &event, NOW + 1)), "a retry has the same id");
    assert!(receiver.accepts(&sender.deliver(&event, NOW)));
    for flaw in WebhookFlaw::ACCEPTABLE {
        assert!(receiver.accepts(&sender.deliver_flawed(&event, NOW, flaw)), "{flaw:?}");
    }
    Ok(())
}

#[test]
fn wrong_deliveries_are_refused() -> Result<()> {
    let sender = WebhookSender::new();
    let mut receiver = Receiver::new(&sender.secret(), NOW)?;
    let event = WebhookEvent::user_deleted("u");
    for flaw in WebhookFlaw::UNACCEPTABLE {
        assert!(!receiver.accepts(&sender.deliver_flawed(&event, NOW, flaw)), "{flaw:?}");
    }
    let reserialised = sender.deliver_flawed(&event, NOW, WebhookFlaw::Reserialised);
    let same: Value = serde_json::from_slice(&reserialised.body)?;
    assert_eq!(same, serde_json::from_slice::<Value>(&sender.deliver(&event, NOW).body)?);
    Ok(())
}

/// The example of <https://docs.svix.com/receiving/verifying-payloads/how-manual>: without it, sender and receiver
/// could be wrong in the same way.
#[test]
fn the_receiver_takes_the_example_of_the_documentation() -> Result<()> {
    let mut receiver = Receiver::new("whsec_plJ3nmyCDGBKInavdOK15jsl", 1_731_705_121)?;
    let headers = [
        ("svix-id", "msg_loFOjxBNrRLzqYUf"),
        ("svix-timestamp", "1731705121"),
        ("svix-signature", "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="),
    ];
    let delivery = Delivery {
        id: "msg_loFOjxBNrRLzqYUf".to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: r#"{"event_type":"ping","data":{"success":true}}"#.into(),
    };
    assert!(receiver.accepts(&delivery));
    Ok(())
}

#[test]
fn secrets_come_back() {
    let sender = WebhookSender::new();
    let same = WebhookSender::with_secret(&sender.secret()).expect("a secret");
    assert_eq!(same.secret(), sender.secret());
    for wrong in ["", "whsec_###", "plJ3nmyCDGBKInavdOK15jsl"] {
        assert!(WebhookSender::with_secret(wrong).is_none(), "{wrong}");
    }
    assert_ne!(WebhookSender::new().secret(), sender.secret());
}

#[tokio::test]
async fn a_delivery_is_posted_with_its_headers() -> Result<()> {
    // Any server will do as a receiver; the fake shows what arrived.
    let fake = FakeStackAuth::start()?;
    let user = fake.create_user(NewUser::restricted().email("a@example.com"));
    let delivery = WebhookSender::new().deliver(&WebhookEvent::user_updated(&user), NOW);
    let body: Value = serde_json::from_slice(&delivery.body)?;
    assert_eq!((&body["type"], &body["data"]["id"]), (&json!("user.updated"), &json!(user.id)));
    assert_eq!(delivery.send_to(fake.addr(), "/hooks").await?.status, 404);
    let seen = fake.last_request(Route::Unknown).context("a request")?;
    assert_eq!(seen.path, "/hooks");
    for (name, value) in &delivery.headers {
        assert_eq!(seen.headers[name.as_str()], value.as_str());
    }
    Ok(())
}
