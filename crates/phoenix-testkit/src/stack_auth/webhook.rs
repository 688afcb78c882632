//! Webhooks as Svix delivers them (Standard Webhooks), right and wrong. It makes headers and bytes; `send_to` posts
//! them.

use std::net::SocketAddr;

use anyhow::Result;
use aws_lc_rs::hmac;
use bytes::Bytes;
use serde_json::{Value, json};

use super::encoding::{base64, from_base64, random};
use super::state::User;
use crate::http::{Client, Response};

/// Seconds that a receiver must tolerate on both sides.
const TOLERANCE_S: i64 = 5 * 60;
/// Bytes of a secret.
const SECRET_BYTES: usize = 24;
const PREFIX: &str = "whsec_";

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookEvent {
    kind: String,
    data: Value,
}

impl WebhookEvent {
    /// `user.deleted`.
    #[must_use]
    pub fn user_deleted(user: &str) -> Self {
        Self::new("user.deleted", json!({ "id": user, "teams": [] }))
    }

    /// `user.updated` with the user as it is now.
    #[must_use]
    pub fn user_updated(user: &User) -> Self {
        Self::new("user.updated", user_data(user))
    }

    /// `user.created`.
    #[must_use]
    pub fn user_created(user: &User) -> Self {
        Self::new("user.created", user_data(user))
    }

    /// Any event.
    #[must_use]
    pub fn new(kind: &str, data: Value) -> Self {
        Self { kind: kind.to_owned(), data }
    }

    fn body(&self) -> Value {
        json!({ "type": self.kind, "data": self.data })
    }
}

fn user_data(user: &User) -> Value {
    json!({
        "id": user.id,
        "display_name": user.name,
        "primary_email": user.email,
        "signed_up_at_millis": user.signed_up_at_s * 1000,
        "is_anonymous": user.user_type == super::UserType::Anonymous,
        "is_restricted": user.user_type != super::UserType::Normal,
        "restricted_reason": user.restricted_reason(),
        "client_metadata": null,
        "client_read_only_metadata": null,
        "server_metadata": null,
    })
}

/// What is unusual about a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookFlaw {
    /// Right: the headers are called `webhook-*`.
    OtherNames,
    /// Right: a wrong `v1`, an unknown version, and then the right signature.
    SeveralSignatures,
    /// Right, just so: as old as tolerated, 300 s.
    AtTolerance,
    /// Wrong: signed with another secret.
    WrongSecret,
    /// Wrong: 301 s old.
    Stale,
    /// Wrong: 301 s in the future.
    FromFuture,
    /// Wrong: the same JSON, written differently than it was signed.
    Reserialised,
    /// Wrong: another user in the body than was signed.
    ChangedBody,
    /// Wrong: another id than was signed.
    ChangedId,
    /// Wrong: another time than was signed, within tolerance.
    ChangedTimestamp,
    /// Wrong: the right signature, but not as `v1`.
    OtherVersion,
    /// Wrong: no signature in the header.
    EmptySignature,
    /// Wrong: no header with the signature.
    NoSignature,
    /// Wrong: the time is no number.
    TimestampNoNumber,
}

impl WebhookFlaw {
    /// The unusual deliveries that a receiver must accept.
    pub const ACCEPTABLE: [Self; 3] = [Self::OtherNames, Self::SeveralSignatures, Self::AtTolerance];
    /// The deliveries that a receiver must refuse.
    pub const UNACCEPTABLE: [Self; 11] = [
        Self::WrongSecret,
        Self::Stale,
        Self::FromFuture,
        Self::Reserialised,
        Self::ChangedBody,
        Self::ChangedId,
        Self::ChangedTimestamp,
        Self::OtherVersion,
        Self::EmptySignature,
        Self::NoSignature,
        Self::TimestampNoNumber,
    ];
}

/// A delivery, ready to be posted. Posting it twice is a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The message's id, the same in a retry.
    pub id: String,
    /// All headers.
    pub headers: Vec<(String, String)>,
    /// The raw body.
    pub body: Bytes,
}

impl Delivery {
    /// Posts it to `path` of the server at `address`.
    ///
    /// # Errors
    /// When the server cannot be reached or breaks off.
    pub async fn send_to(&self, address: SocketAddr, path: &str) -> Result<Response> {
        let client = Client::new(address);
        let mut call = client.post(path).body(self.body.clone());
        for (name, value) in &self.headers {
            call = call.header(name, value);
        }
        call.send().await
    }
}

/// A sender with a secret.
#[derive(Clone, Debug)]
pub struct WebhookSender {
    key: Vec<u8>,
}

impl WebhookSender {
    /// A sender with a new secret.
    #[must_use]
    pub fn new() -> Self {
        Self { key: random::<SECRET_BYTES>().to_vec() }
    }

    /// A sender with this secret, `whsec_` and base64. Nothing when it is no such secret.
    #[must_use]
    pub fn with_secret(secret: &str) -> Option<Self> {
        Some(Self { key: from_base64(secret.strip_prefix(PREFIX)?)? })
    }

    /// The secret to give to the receiver, `whsec_` and base64.
    #[must_use]
    pub fn secret(&self) -> String {
        format!("{PREFIX}{}", base64(&self.key))
    }

    /// A right delivery with a new id at `now_s`, unix seconds.
    #[must_use]
    pub fn deliver(&self, event: &WebhookEvent, now_s: i64) -> Delivery {
        self.build(&new_id(), event, now_s, None)
    }

    /// The same message again, signed anew with its old id, as Svix retries.
    #[must_use]
    pub fn retry(&self, delivery: &Delivery, event: &WebhookEvent, now_s: i64) -> Delivery {
        self.build(&delivery.id, event, now_s, None)
    }

    /// An unusual delivery with a new id.
    #[must_use]
    pub fn deliver_flawed(&self, event: &WebhookEvent, now_s: i64, flaw: WebhookFlaw) -> Delivery {
        self.build(&new_id(), event, now_s, Some(flaw))
    }

    /// The signature of the Standard Webhooks specification, base64.
    fn sign(&self, id: &str, timestamp: &str, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        base64(hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes()))
    }

    fn build(&self, id: &str, event: &WebhookEvent, now_s: i64, flaw: Option<WebhookFlaw>) -> Delivery {
        use WebhookFlaw as F;
        let mut timestamp = match flaw {
            Some(F::AtTolerance) => (now_s - TOLERANCE_S).to_string(),
            Some(F::Stale) => (now_s - TOLERANCE_S - 1).to_string(),
            Some(F::FromFuture) => (now_s + TOLERANCE_S + 1).to_string(),
            Some(F::TimestampNoNumber) => "soon".to_owned(),
            _ => now_s.to_string(),
        };
        let mut body = event.body().to_string();
        let mut id = id.to_owned();
        let right = self.sign(&id, &timestamp, &body);
        let wrong = Self { key: b"the secret of somebody else".to_vec() }.sign(&id, &timestamp, &body);
        let signature = match flaw {
            Some(F::SeveralSignatures) => format!("v1,{wrong} v1a,{wrong} v1,{right}"),
            Some(F::WrongSecret) => format!("v1,{wrong}"),
            Some(F::OtherVersion) => format!("v2,{right} v1a,{right}"),
            Some(F::EmptySignature) => String::new(),
            _ => format!("v1,{right}"),
        };
        match flaw {
            Some(F::Reserialised) => body = format!("{:#}", event.body()),
            Some(F::ChangedBody) => {
                let mut changed = event.clone();
                changed.data["id"] = json!(super::encoding::uuid());
                body = changed.body().to_string();
            }
            Some(F::ChangedId) => id = new_id(),
            Some(F::ChangedTimestamp) => timestamp = (now_s - 1).to_string(),
            _ => {}
        }
        let family = if flaw == Some(F::OtherNames) { "webhook" } else { "svix" };
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            (format!("{family}-id"), id.clone()),
            (format!("{family}-timestamp"), timestamp),
        ];
        if flaw != Some(F::NoSignature) {
            headers.push((format!("{family}-signature"), signature));
        }
        Delivery { id, headers, body: body.into() }
    }
}

impl Default for WebhookSender {
    fn default() -> Self {
        Self::new()
    }
}

fn new_id() -> String {
    format!("msg_{}", super::encoding::refresh_token())
}
