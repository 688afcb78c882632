//! Keeps this node's freshness lease: from the database, and when that does not answer, through another node.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use phoenix_auth::ports::{StoreError, StoreErrorKind};
use phoenix_store::bus::Bus;
use phoenix_store::tiers::TieredSessions;
use tokio::time::error::Elapsed;

use crate::lifecycle::Lifecycle;
use crate::status_word::StatusWord;

/// Most reads of the log under way: one that is late is not given up, because it still renews the lease.
const MOST_READS: usize = 8;
/// Failures in a row after which the database counts as lost. A read without an answer for the whole bound counts as
/// so many.
const FAILURES: u32 = 2;

/// The number of a read, and how it went.
type Outcome = (u64, Result<Result<(), StoreError>, Elapsed>);
type Reads = FuturesUnordered<Pin<Box<dyn Future<Output = Outcome> + Send>>>;

/// How the last reads went.
#[derive(Default)]
struct Contact {
    /// Failures since the last answer.
    failures: u32,
    /// The latest read that was answered: a failure of an earlier one is no news.
    answered: u64,
}

/// What is needed to keep the lease.
pub(crate) struct Keeper {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) tiers: TieredSessions,
    pub(crate) bus: Option<Bus>,
    pub(crate) word: Arc<StatusWord>,
    /// A quarter of the bound.
    pub(crate) interval: Duration,
}

impl Keeper {
    /// Begins a read of the log four times within the bound, and at once when an invalidation arrived out of order.
    pub(crate) async fn run(self) {
        let (mut reads, mut contact, mut number) = (Reads::new(), Contact::default(), 0);
        while !self.lifecycle.stopping().is_cancelled() {
            if reads.len() < MOST_READS {
                number += 1;
                let (tiers, bound) = (self.tiers.clone(), self.interval * 4);
                reads.push(Box::pin(async move {
                    (number, tokio::time::timeout(bound, tiers.renew_lease()).await)
                }));
            }
            let answered = self.first_half(&mut reads, &mut contact).await;
            if answered != Half::Disturbed {
                self.second_half(&mut reads, &mut contact, answered == Half::Answered).await;
            }
        }
    }

    /// Waits for the answer. Ends early when there is something new to read.
    async fn first_half(&self, reads: &mut Reads, contact: &mut Contact) -> Half {
        let mut pause = pin!(self.lifecycle.pause(self.interval / 2));
        let mut outcome = Half::Silent;
        loop {
            tokio::select! {
                Some(read) = reads.next(), if !reads.is_empty() => {
                    if self.judge(read, contact) {
                        outcome = Half::Answered;
                    }
                }
                _ = &mut pause => return outcome,
                () = self.tiers.gap_noticed() => return Half::Disturbed,
            }
        }
    }

    /// Without an answer asks the other nodes, while there is still time; the database may yet answer.
    async fn second_half(&self, reads: &mut Reads, contact: &mut Contact, answered: bool) {
        let mut pause = pin!(self.lifecycle.pause(self.interval / 2));
        let mut asking = pin!(self.ask_others(answered));
        let mut is_asking = true;
        loop {
            tokio::select! {
                Some(read) = reads.next(), if !reads.is_empty() => {
                    self.judge(read, contact);
                }
                () = &mut asking, if is_asking => is_asking = false,
                _ = &mut pause => return,
                () = self.tiers.gap_noticed(), if answered => return,
            }
        }
    }

    async fn ask_others(&self, answered: bool) {
        let renewed = match &self.bus {
            Some(bus) if !answered => bus.renew_lease(self.interval / 2).await,
            Some(_) | None => false,
        };
        self.word.set_another_reaches_it(renewed);
    }

    /// Notes how a read went. Returns whether it renewed the lease.
    fn judge(&self, (number, read): Outcome, contact: &mut Contact) -> bool {
        let renewed = matches!(read, Ok(Ok(())));
        match read {
            Ok(Ok(())) => *contact = Contact { failures: 0, answered: contact.answered.max(number) },
            // The database answers, and wrongly: sessions are read from it one by one, which is slow but right.
            Ok(Err(error)) if !is_outage(&error) => {
                tracing::error!(?error, "the log of invalidations cannot be read");
            }
            Ok(Err(_)) | Err(_) if number < contact.answered => {}
            Ok(Err(error)) => {
                tracing::debug!(?error, "the freshness lease was not renewed from the database");
                contact.failures = contact.failures.saturating_add(1);
            }
            Err(_elapsed) => contact.failures = contact.failures.saturating_add(FAILURES),
        }
        let lost = contact.failures >= FAILURES;
        self.tiers.set_database_lost(lost);
        self.word.set_database_lost(lost);
        renewed
    }
}

/// How the first half of a round ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Answered,
    Silent,
    /// Something arrived whose predecessors are not known.
    Disturbed,
}

fn is_outage(error: &StoreError) -> bool {
    match error.kind() {
        StoreErrorKind::Unavailable | StoreErrorKind::TimedOut => true,
        StoreErrorKind::ReadOnly | StoreErrorKind::StorageFull | StoreErrorKind::Internal => false,
    }
}
