//! What the HTTP surface asks of the rest of the process when an identity provider sends a webhook.

use async_trait::async_trait;
use phoenix_auth::AuthError;

/// A delivery, not yet checked.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Its id: the same when it is sent again.
    pub id: &'a str,
    /// When it was sent, in seconds since 1970, as text.
    pub timestamp: &'a str,
    /// Signatures, separated by spaces.
    pub signatures: &'a str,
    /// The body, as it came.
    pub body: &'a [u8],
}

/// What became of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivered {
    /// Done, or nothing to do.
    Taken,
    /// It was taken before.
    Repeated,
}

/// Why a delivery was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The signature is wrong, or too old or too new.
    #[error("the signature is wrong or its time is not now")]
    Signature,
    /// The body is signed but makes no sense.
    #[error("the body is not one of the provider's events")]
    Body,
    /// It could not be carried out; the provider sends it again.
    #[error("the event could not be carried out")]
    Failed(#[from] AuthError),
}

/// Takes deliveries.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Checks a delivery and carries it out, once.
    async fn take(&self, delivery: Delivery<'_>) -> Result<Delivered, WebhookError>;
}
