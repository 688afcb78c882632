//! Probes and facts about the server itself.

pub(crate) mod healthz;
pub(crate) mod jwks;
pub(crate) mod openapi;
pub(crate) mod readyz;
pub(crate) mod stack_webhook;
pub(crate) mod status;
pub(crate) mod status_post;
pub(crate) mod whoami;
