//! Stack Auth's webhooks: checked, taken once, carried out.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use phoenix_auth::Auth;
use phoenix_auth::model::Identity;
use phoenix_auth::ports::Clock;
use phoenix_config::Stack;
use phoenix_http::{Delivered, Delivery, WebhookError, Webhooks};
use phoenix_identity::webhook::{self, UserEvent, WebhookSecret};

use super::{external_profile, project_issuer};

/// Takes the project's webhooks.
pub(crate) struct StackWebhooks {
    secret: WebhookSecret,
    issuer: String,
    auth: Auth,
    clock: Arc<dyn Clock>,
}

impl StackWebhooks {
    /// `None` when no secret is configured.
    pub(crate) fn of(stack: &Stack, auth: Auth, clock: Arc<dyn Clock>) -> anyhow::Result<Option<Self>> {
        let Some(secret) = &stack.webhook_secret else { return Ok(None) };
        let secret = WebhookSecret::parse(secret.expose()).context("STACK_WEBHOOK_SECRET cannot be used")?;
        Ok(Some(Self { secret, issuer: project_issuer(stack), auth, clock }))
    }

    async fn carry_out(&self, event: UserEvent) -> Result<(), WebhookError> {
        match event {
            UserEvent::Deleted { user_id } => {
                let Some(identity) = Identity::new(&self.issuer, &user_id) else {
                    return Err(WebhookError::Body);
                };
                self.auth.deleted_at_provider(&identity).await?;
            }
            UserEvent::Updated { user_id, email, email_verified, name, picture } => {
                let Some(identity) = Identity::new(&self.issuer, &user_id) else {
                    return Err(WebhookError::Body);
                };
                let profile =
                    external_profile(email.as_deref(), email_verified, name.as_deref(), picture.as_deref());
                self.auth.update_external(&identity, &profile, self.clock.now().wall).await?;
            }
            UserEvent::Other => {}
        }
        Ok(())
    }
}

#[async_trait]
impl Webhooks for StackWebhooks {
    async fn take(&self, delivery: Delivery<'_>) -> Result<Delivered, WebhookError> {
        let Delivery { id, timestamp, signatures, body } = delivery;
        let now = self.clock.now().wall.as_millis().div_euclid(1000);
        let signed = webhook::Delivery { id, timestamp, signatures };
        webhook::verify(&self.secret, signed, body, now).map_err(|refusal| {
            tracing::warn!(%refusal, "a webhook was refused");
            WebhookError::Signature
        })?;
        let event = webhook::parse(body).map_err(|_| WebhookError::Body)?;
        if self.auth.knows_delivery(id).await? {
            return Ok(Delivered::Repeated);
        }
        // Remembered last: what fails here, whatever fails, is sent again with the same id and carried out then. Twice
        // does no harm.
        self.carry_out(event).await?;
        self.auth.remember_delivery(id).await?;
        Ok(Delivered::Taken)
    }
}
