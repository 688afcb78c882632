//! Deliveries of a provider's webhooks: their headers, their signature, and their body.
//!
//! A delivery of anybody who has not the secret is refused, whatever it says; and a body is an event or is refused.

use std::sync::LazyLock;

use http::HeaderName;
use phoenix_identity::webhook::{Delivery, UserEvent, WebhookRefusal, WebhookSecret, parse, verify};

use crate::input;

const NOW_SECONDS: i64 = 1_700_000_000;

static NAMES: [HeaderName; 6] = [
    HeaderName::from_static("svix-id"),
    HeaderName::from_static("svix-timestamp"),
    HeaderName::from_static("svix-signature"),
    HeaderName::from_static("webhook-id"),
    HeaderName::from_static("webhook-timestamp"),
    HeaderName::from_static("webhook-signature"),
];

static SECRET: LazyLock<WebhookSecret> = LazyLock::new(|| {
    WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("the example of the specification")
});

/// Lines of headers up to an empty line, then the body.
pub(crate) fn run(data: &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (lines, body) = end.map_or((&[][..], data), |end| (&data[..end], &data[end + 2..]));
    let headers = input::headers(lines, &NAMES);
    if let Ok(delivery) = Delivery::from_headers(&headers) {
        assert!(verify(&SECRET, delivery, body, NOW_SECONDS).is_err(), "a forged signature");
    }
    match parse(body) {
        Ok(UserEvent::Deleted { user_id } | UserEvent::Updated { user_id, .. }) => {
            assert!(user_id.len() <= body.len());
        }
        Ok(UserEvent::Other) => {}
        Err(refusal) => assert_eq!(refusal, WebhookRefusal::Body),
    }
}
