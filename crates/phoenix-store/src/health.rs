//! What a store tells about itself, for probes, metrics and the status page.

use std::time::Duration;

use async_trait::async_trait;
use phoenix_auth::ports::StoreError;

use crate::statements::StatementStats;

/// A store that answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Health {
    /// It refuses writes: sessions can be used, not opened or ended.
    pub read_only: bool,
    /// From the question to the answer.
    pub round_trip: Duration,
}

/// How a store does.
#[async_trait]
pub trait StoreStatus: Send + Sync {
    /// Asks the cheapest question there is, on the way that look-ups of sessions take.
    async fn healthy(&self) -> Result<Health, StoreError>;

    /// Counters of every statement since the store was opened.
    fn statement_stats(&self) -> Vec<StatementStats>;
}
