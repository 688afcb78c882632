//! Signed deliveries of Stack Auth: Standard Webhooks, sent by Svix
//! (<https://docs.svix.com/receiving/verifying-payloads/how-manual>).
//!
//! It verifies and reads. Remembering ids, so that a delivery counts once, is the caller's.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

/// How far the time of a delivery may be off, in seconds, on both sides.
pub const TOLERANCE_SECONDS: i64 = 5 * 60;
/// Largest body that the caller should read, in bytes.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// Longest id of a delivery, in bytes.
const MAX_ID_BYTES: usize = 255;
/// Most signatures that are looked at.
const MAX_SIGNATURES: usize = 16;
/// Bytes of a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=128;
/// Version of symmetric signatures.
const VERSION: &str = "v1,";

/// The key of deliveries.
#[derive(Clone)]
pub struct WebhookSecret(hmac::Key);

impl WebhookSecret {
    /// From the text in the provider's dashboard: `whsec_` and base64 of 16 to 128 bytes.
    ///
    /// # Errors
    /// [`WebhookRefusal::Secret`].
    pub fn parse(text: &str) -> Result<Self, WebhookRefusal> {
        let encoded = text.strip_prefix("whsec_").ok_or(WebhookRefusal::Secret)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| WebhookRefusal::Secret)?;
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(WebhookRefusal::Secret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret")
    }
}

/// Why a delivery is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WebhookRefusal {
    /// The secret is not `whsec_` and base64 of 16 to 128 bytes.
    #[error("the webhook secret must be whsec_ and base64 of 16 to 128 bytes")]
    Secret,
    /// A header is missing, or it is not what it should be.
    #[error("the headers of the delivery are incomplete")]
    Headers,
    /// More than five minutes old, or ahead.
    #[error("the time of the delivery is too far off")]
    Time,
    /// None of the signatures is ours.
    #[error("the signature of the delivery is wrong")]
    Signature,
    /// Signed, and still not an event.
    #[error("the body of the delivery is not an event")]
    Body,
}

/// The three headers of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The same for every attempt to deliver one event.
    pub id: &'a str,
    /// Seconds since 1970, of this attempt.
    pub timestamp: &'a str,
    /// `v1,<base64>`, separated by spaces.
    pub signatures: &'a str,
}

impl<'a> Delivery<'a> {
    /// From `svix-id`, `svix-timestamp`, `svix-signature`, or else from the three `webhook-…` headers. Each must be
    /// there exactly once.
    ///
    /// # Errors
    /// [`WebhookRefusal::Headers`].
    pub fn from_headers(headers: &'a HeaderMap) -> Result<Self, WebhookRefusal> {
        let family = |names: [&str; 3]| {
            let [id, timestamp, signatures] = names.map(|name| only(headers, name));
            Some(Self { id: id?, timestamp: timestamp?, signatures: signatures? })
        };
        family(["svix-id", "svix-timestamp", "svix-signature"])
            .or_else(|| family(["webhook-id", "webhook-timestamp", "webhook-signature"]))
            .ok_or(WebhookRefusal::Headers)
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() { None } else { Some(value) }
}

/// Whether a delivery is signed with the secret, and recent. Takes the same time wherever a signature differs.
///
/// # Errors
/// See [`WebhookRefusal`].
pub fn verify(
    secret: &WebhookSecret,
    delivery: Delivery<'_>,
    body: &[u8],
    now_seconds: i64,
) -> Result<(), WebhookRefusal> {
    let Delivery { id, timestamp, signatures } = delivery;
    // A full stop would let the end of the id pass for the time.
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.contains('.') {
        return Err(WebhookRefusal::Headers);
    }
    if timestamp.is_empty() || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WebhookRefusal::Headers);
    }
    let sent: i64 = timestamp.parse().map_err(|_| WebhookRefusal::Headers)?;
    if now_seconds.abs_diff(sent) > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(WebhookRefusal::Time);
    }
    let mut context = hmac::Context::with_key(&secret.0);
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    let expected = context.sign();
    let offered = signatures.split_ascii_whitespace().take(MAX_SIGNATURES);
    let mut decoded = offered.filter_map(|text| STANDARD.decode(text.strip_prefix(VERSION)?).ok());
    if decoded.any(|signature| verify_slices_are_equal(expected.as_ref(), &signature).is_ok()) {
        Ok(())
    } else {
        Err(WebhookRefusal::Signature)
    }
}

/// What happened to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserEvent {
    /// The user is gone.
    Deleted {
        /// Whom.
        user_id: String,
    },
    /// The user was created or changed; these are the values now.
    Updated {
        /// Whom.
        user_id: String,
        /// Address.
        email: Option<String>,
        /// Whether the provider says that the address is the user's.
        email_verified: bool,
        /// Name to show.
        name: Option<String>,
        /// Address of a picture.
        picture: Option<String>,
    },
    /// Something that is not about a user, or that is not known.
    Other,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct User {
    id: String,
    primary_email: Option<String>,
    primary_email_verified: Option<bool>,
    display_name: Option<String>,
    profile_image_url: Option<String>,
}

/// Reads the body of a delivery that was verified.
///
/// # Errors
/// [`WebhookRefusal::Body`].
pub fn parse(body: &[u8]) -> Result<UserEvent, WebhookRefusal> {
    let event: Event<'_> = serde_json::from_slice(body).map_err(|_| WebhookRefusal::Body)?;
    let data = event.data.map_or("null", RawValue::get);
    match event.kind.as_str() {
        "user.deleted" => {
            let Id { id } = serde_json::from_str(data).map_err(|_| WebhookRefusal::Body)?;
            Ok(UserEvent::Deleted { user_id: id })
        }
        "user.created" | "user.updated" => {
            let user: User = serde_json::from_str(data).map_err(|_| WebhookRefusal::Body)?;
            Ok(UserEvent::Updated {
                user_id: user.id,
                email_verified: user.primary_email.is_some() && user.primary_email_verified == Some(true),
                email: user.primary_email,
                name: user.display_name,
                picture: user.profile_image_url,
            })
        }
        _ => Ok(UserEvent::Other),
    }
}
