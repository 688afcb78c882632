//! The limits of this process: the limiter, the rules in force, who is told of blocks, and what is counted of it all.
//!
//! Asks the limiter and words its answer. Does not own when a request is asked about (`enforce.rs`, `sign_in.rs`).

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use phoenix_auth::ports::Clock;
use phoenix_limit::{Decision, Key, Keyer, Limiter, Mode, Refusal, Rule, Ticket, Verdict};
use tokio_util::task::TaskTracker;

use super::class::{Class, KeyBy};
use super::counters::{ClassCounts, Refused};
use super::headers::{self, Told};
use super::look_up::LookUps;
use super::rules::{LimitRules, LiveRules};
use super::subject::Subject;
use crate::problem::Problem;

/// Most reservations whose requests were broken off that wait to be confirmed; what is beyond stays reserved, and so
/// counts as long.
const MAX_ABANDONED: usize = 4_096;
/// Most of them that are confirmed at once.
const SETTLED_AT_ONCE: usize = 64;
/// Longest time that a request waits for its lock-out to be written down.
const LOCK_OUT_DEADLINE: Duration = Duration::from_millis(250);

/// A block that began just now.
#[derive(Clone, Debug)]
pub struct BegunBlock {
    /// What is blocked.
    pub key: Key,
    /// The class under which it is.
    pub class: String,
    /// Who that is.
    pub subject: Subject,
    /// For how long.
    pub length: Duration,
}

/// Is told of blocks, to write them down.
#[async_trait]
pub trait BlockObserver: Send + Sync {
    /// A block began. Never waits.
    fn began(&self, block: BegunBlock);

    /// A block began that must not be forgotten: returns once it is written down. Given up after 250 ms; it must be
    /// written later then.
    async fn began_lasting(&self, block: BegunBlock);
}

/// What limits are made of.
pub struct LimitsParts {
    /// Decides.
    pub limiter: Arc<Limiter>,
    /// The rules in force; shared with who replaces them.
    pub rules: Arc<LiveRules>,
    /// Names clients.
    pub keyer: Keyer,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Is told of blocks.
    pub blocks: Arc<dyn BlockObserver>,
    /// Where look-ups are finished whose clients have gone away.
    pub tasks: TaskTracker,
}

/// The limits of this process.
pub struct Limits {
    parts: LimitsParts,
    pub(super) slow: super::sign_in::SlowRules,
    refused: Refused,
    abandoned: Mutex<VecDeque<Ticket>>,
    pub(super) look_ups: LookUps,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

impl Limits {
    /// Puts limits together.
    #[must_use]
    pub fn new(parts: LimitsParts) -> Arc<Self> {
        let slow = super::sign_in::SlowRules::new();
        Arc::new(Self {
            look_ups: LookUps::new(parts.tasks.clone()),
            parts,
            slow,
            refused: Refused::new(),
            abandoned: Mutex::default(),
        })
    }

    /// Decides.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        &self.parts.limiter
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &LiveRules {
        &self.parts.rules
    }

    /// The key under which the class of this name counts a subject; `None` if it counts by something else, or there is
    /// no such class.
    #[must_use]
    pub fn key_of(&self, subject: &Subject, class: &str) -> Option<Key> {
        let rules = self.parts.rules.load();
        let class = rules.classes().iter().find(|other| other.name() == class)?;
        let counts = match subject {
            // Who is not signed in is counted by the address everywhere.
            Subject::Address(_) => true,
            Subject::User(_) => class.key() != KeyBy::Address,
            Subject::AccountFrom(..)
            | Subject::AccountOn(..)
            | Subject::Account(_)
            | Subject::Slowed(_)
            | Subject::AccountOnAny(_)
            | Subject::SlowedOnAny(_) => class.key() == KeyBy::Account,
        };
        counts.then(|| subject.key(&self.parts.keyer, class.scope()))
    }

    /// Counters of every class in force.
    #[must_use]
    pub fn counts(&self) -> Vec<ClassCounts> {
        let rules = self.parts.rules.load();
        rules.classes().iter().map(|class| class.counters().read(class.name())).collect()
    }

    /// Who was refused most, at most `most` of them, as administrators are told: `address 192.0.2.7`.
    #[must_use]
    pub fn most_refused(&self, most: usize) -> Vec<phoenix_limit::Count> {
        self.refused.list(most)
    }

    /// Confirms some reservations of requests that were broken off: nobody knows what became of them, so they count. To
    /// be called from time to time; every attempt to sign in does, too.
    pub async fn settle_abandoned(self: &Arc<Self>) {
        let batch: Vec<Held> = {
            let mut abandoned = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
            let count = abandoned.len().min(SETTLED_AT_ONCE);
            // Held again, so that none is lost if this is broken off as well.
            let hold = |open| Held { limits: Arc::clone(self), open: Some(open), counts: false };
            abandoned.drain(..count).map(hold).collect()
        };
        join_all(batch.into_iter().map(Held::confirm)).await;
    }

    pub(super) fn now(&self) -> Duration {
        self.parts.clock.mono()
    }

    /// The key under which a class of this scope counts a subject.
    pub(super) fn key(&self, subject: &Subject, scope: &str) -> Key {
        subject.key(&self.parts.keyer, scope)
    }

    /// Asks without I/O; `None` when that cannot be.
    pub(super) fn ask_now(
        &self,
        class: &Class,
        rule: &Rule,
        subject: &Subject,
        now: Duration,
    ) -> Option<Decision> {
        let key = subject.key(&self.parts.keyer, class.scope());
        self.parts.limiter.decide_now(key, rule, 1, Mode::Count, now)
    }

    /// Asks, with I/O if it must be.
    pub(super) async fn ask(&self, scope: &str, rule: &Rule, subject: &Subject, mode: Mode) -> Decision {
        let key = subject.key(&self.parts.keyer, scope);
        // Read anew: a request may have waited since it came, and the time of a key must not go back.
        let now = self.now();
        match self.parts.limiter.decide_now(key, rule, 1, mode, now) {
            Some(decision) => decision,
            None => self.parts.limiter.decide(key, rule, 1, mode, now).await,
        }
    }

    /// Counts a decision, and words a refusal. A class that observes refuses nobody and blocks nobody.
    pub(super) fn judge(
        &self,
        rules: &LimitRules,
        class: &Class,
        rule: &Rule,
        subject: &Subject,
        decision: &Decision,
    ) -> Result<(), Problem> {
        let Verdict::Refused(refusal) = decision.verdict else {
            class.counters().admitted();
            return Ok(());
        };
        if class.observe() {
            class.counters().observed();
            tracing::debug!(class = class.name(), %subject, "would be refused by a limit that only observes");
            return Ok(());
        }
        class.counters().refused();
        self.refused.note(subject);
        if refusal == Refusal::BlockedNow {
            class.counters().blocked();
            tracing::warn!(class = class.name(), %subject, "blocked");
        }
        let told = Told::of(class.name(), rule, decision, rules.options().legacy_headers);
        let policy = headers::policy(class.name(), rule, decision);
        let is_blocked = matches!(refusal, Refusal::Blocked | Refusal::BlockedNow);
        Err(Problem::quota_exceeded(class.name(), policy, decision.retry_after, is_blocked, told))
    }

    /// The block that this decision began, if it did.
    pub(super) fn block(
        &self,
        class: &Class,
        rule: &Rule,
        subject: &Subject,
        decision: &Decision,
    ) -> Option<BegunBlock> {
        if class.observe() || decision.verdict != Verdict::Refused(Refusal::BlockedNow) {
            return None;
        }
        Some(BegunBlock {
            key: subject.key(&self.parts.keyer, class.scope()),
            class: class.name().to_owned(),
            subject: subject.clone(),
            length: rule.block()?,
        })
    }

    pub(super) fn tell(&self, block: Option<BegunBlock>) {
        if let Some(block) = block {
            self.parts.blocks.began(block);
        }
    }

    /// Waits for a lock-out to be written down, but not for long.
    pub(super) async fn tell_lasting(&self, block: Option<BegunBlock>) {
        let Some(block) = block else { return };
        let written = self.parts.blocks.began_lasting(block);
        if tokio::time::timeout(LOCK_OUT_DEADLINE, written).await.is_err() {
            tracing::warn!("a lock-out is not written down yet");
        }
    }

    fn abandon(&self, ticket: Ticket) {
        let mut abandoned = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        if abandoned.len() < MAX_ABANDONED {
            abandoned.push_back(ticket);
        }
    }
}

/// A unit that was reserved for a request whose outcome is not known yet. Dropped, it is confirmed a little later: a
/// client that goes away in the middle of a guess has made it.
#[must_use = "a reservation must be settled"]
#[derive(Debug)]
pub(super) struct Held {
    limits: Arc<Limits>,
    /// `None` once it is settled.
    open: Option<Ticket>,
    /// Whether it counts in any case until it is taken back, so that there is nothing to confirm.
    counts: bool,
}

impl Held {
    /// What this decision admitted; `None` if it did not.
    pub(super) fn of(limits: &Arc<Limits>, decision: &Decision, mode: Mode) -> Option<Self> {
        let open = Some(decision.ticket()?);
        Some(Self { limits: Arc::clone(limits), open, counts: mode == Mode::Count })
    }

    pub(super) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// It counts.
    pub(super) async fn confirm(mut self) {
        if let Some(ticket) = &self.open
            && !self.counts
        {
            self.limits.parts.limiter.confirm(*ticket, self.limits.now()).await;
        }
        self.open = None;
    }

    /// It does not count.
    pub(super) async fn refund(mut self) {
        if let Some(ticket) = &self.open {
            self.limits.parts.limiter.refund(*ticket, self.limits.now()).await;
        }
        self.open = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ticket) = self.open.take()
            && !self.counts
        {
            self.limits.abandon(ticket);
        }
    }
}
