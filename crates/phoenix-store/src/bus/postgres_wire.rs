//! Notifications of PostgreSQL as the wire, where there is no Redis. Used for revocations only: a transaction that
//! notifies takes a lock of the whole server at its commit, so it must be rare and short.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::{Wire, WireEvent};
use crate::postgres::{PgNotice, PgStore};

const CHANNEL: &str = "phoenix_push";

/// Carries messages as base64, because notifications are text.
pub struct PostgresWire(Arc<PgStore>);

impl PostgresWire {
    /// Over this database.
    #[must_use]
    pub fn new(store: Arc<PgStore>) -> Self {
        Self(store)
    }
}

#[async_trait]
impl Wire for PostgresWire {
    async fn send(&self, message: &[u8]) -> bool {
        let sent = self.0.notify(CHANNEL, &STANDARD_NO_PAD.encode(message)).await;
        sent.inspect_err(|error| tracing::debug!(?error, "a message to other nodes was not sent")).is_ok()
    }

    async fn listen(&self, deliver: &mut (dyn FnMut(WireEvent) + Send)) {
        let never = self.0.listen(CHANNEL, |notice| match notice {
            PgNotice::Connected => deliver(WireEvent::Connected),
            PgNotice::Lost => deliver(WireEvent::Lost),
            // What is not base64 is nobody's message; its bytes are refused like any other's.
            PgNotice::Message(text) => {
                deliver(WireEvent::Message(STANDARD_NO_PAD.decode(text).unwrap_or_default()));
            }
        });
        match never.await {}
    }
}
