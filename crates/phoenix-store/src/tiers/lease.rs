//! The freshness lease of this node: renewed from the database, or through another node that reaches it.

use std::sync::PoisonError;
use std::time::Duration;

use phoenix_auth::model;
use phoenix_auth::ports::{Invalidation, LogPage, StoreError};
use phoenix_cache::{Seq, Tag};

use super::{Inner, LOG_PAGE, TieredSessions, seq, tag};

/// A part of the log that another node read for us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeasePage {
    /// The number after which it begins.
    pub after: model::Seq,
    /// What that node read, after we had asked.
    pub page: LogPage,
}

impl TieredSessions {
    /// Reads what became stale since the last read, and renews the lease. To be called every quarter of the bound,
    /// and whenever [`TieredSessions::gap_noticed`] returns.
    ///
    /// # Errors
    /// When the database did not answer; the lease then runs out by itself.
    pub async fn renew_lease(&self) -> Result<(), StoreError> {
        self.inner.renew_lease().await
    }

    /// A part of the log for another node that cannot read it.
    ///
    /// # Errors
    /// When the database did not answer us either.
    pub async fn read_for_another(&self, after: model::Seq) -> Result<LeasePage, StoreError> {
        let page = self.inner.parts.store.log_after(after, LOG_PAGE).await?;
        Ok(LeasePage { after, page })
    }

    /// Takes what another node read for us, after we asked it at `asked_at` on our clock. Returns whether the lease
    /// was renewed; if not, there is more to be asked for.
    #[must_use]
    pub fn renew_through_another(&self, read: &LeasePage, asked_at: Duration) -> bool {
        // One that is behind us tells us nothing: what we know may have been pushed.
        read.page.last >= read.after && self.inner.take_page(read.after, &read.page, asked_at)
    }

    /// The number up to which everything is known.
    #[must_use]
    pub fn applied(&self) -> model::Seq {
        model::Seq(self.inner.freshness.applied().0)
    }

    /// Revocations that another node pushed. What lies between them and the last one known is read at once.
    pub fn pushed(&self, entries: &[Invalidation]) {
        let inner = &*self.inner;
        inner.note_lag(entries);
        for entry in entries {
            inner.freshness.note(seq(entry.seq), tag(entry.stale));
        }
        if entries.iter().any(|entry| seq(entry.seq) > inner.freshness.applied()) {
            inner.gap.notify_one();
        }
    }

    /// Messages may have been lost: the log should be read now.
    pub fn suspect_a_gap(&self) {
        self.inner.gap.notify_one();
    }

    /// Returns when an invalidation became known whose predecessors are not.
    pub async fn gap_noticed(&self) {
        self.inner.gap.notified().await;
    }

    /// Whether sessions in memory may be used: by the lease, or in the grace.
    #[must_use]
    pub fn may_use_memory(&self) -> bool {
        let parts = &self.inner.parts;
        self.inner.freshness.in_grace(parts.clock.mono(), parts.limits.outage_grace)
    }

    /// Tells whether the database answers. While it does not, requests do not wait for it, and when the lease has
    /// ended too, sessions in memory are used for the grace.
    pub fn set_database_lost(&self, lost: bool) {
        self.inner.database_lost.send_replace(lost);
    }
}

impl Inner {
    pub(super) async fn renew_lease(&self) -> Result<(), StoreError> {
        let started = self.parts.clock.mono();
        loop {
            let after = model::Seq(self.freshness.applied().0);
            let page = self.parts.store.log_after(after, LOG_PAGE).await?;
            if self.take_page(after, &page, started) {
                return Ok(());
            }
        }
    }

    /// Takes a page of the log that was read after `started`. Returns whether it was the last, and so the lease renewed.
    fn take_page(&self, after: model::Seq, page: &LogPage, started: Duration) -> bool {
        // One at a time: a page that was asked for before the log was found to have gone back must not follow it.
        let _alone = self.taking_page.lock().unwrap_or_else(PoisonError::into_inner);
        let freshness = &self.freshness;
        if seq(after) > freshness.applied() {
            return false;
        }
        if page.last < after {
            // The database is an older one than we knew: restored from a backup, or another.
            tracing::warn!("the invalidation log went back; every cached session is dropped");
            // In this order: what is filled in between counts no more than what was there.
            freshness.reset();
            self.memory.clear();
            return false;
        }
        // What happened before this node had a lease was not late.
        if freshness.fresh_until().is_some() {
            self.note_lag(&page.entries);
        }
        let entries: Vec<_> = page.entries.iter().map(|entry| (seq(entry.seq), tag(entry.stale))).collect();
        let is_last = page.entries.len() < LOG_PAGE as usize;
        self.note_holes(after, &entries, is_last.then_some(seq(page.last)));
        if is_last {
            freshness.renew(started, &entries, seq(page.last));
        } else {
            freshness.extend(&entries);
        }
        is_last
    }

    /// Entries that are missing were trimmed, long after any copy they name had expired, unless somebody puts old copies
    /// back: copies from before them no longer count.
    fn note_holes(&self, after: model::Seq, entries: &[(Seq, Tag)], last: Option<Seq>) {
        let mut expected = after.0 + 1;
        for (number, _) in entries {
            if number.0 > expected {
                self.freshness.starts_at(*number);
            }
            expected = number.0 + 1;
        }
        if let Some(last) = last.filter(|last| last.0 >= expected) {
            self.freshness.starts_at(Seq(last.0 + 1));
        }
    }

    /// Notes how late entries are that were not known before.
    fn note_lag(&self, entries: &[Invalidation]) {
        let now = self.parts.clock.now().wall;
        for entry in entries {
            self.lag.applied(entry.seq, now.since(entry.at));
        }
    }
}
