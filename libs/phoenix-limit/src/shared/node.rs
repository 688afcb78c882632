//! One node that shares limits: how a request is decided, by what this node knows, by Redis, or alone. What is changed
//! about decisions is in `change.rs`, what happens beside requests in `tick.rs`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::call::{self, Answer, Ask, Decided, Names, Request, Settlement, micros};
use super::clock::RedisClock;
use super::flight::{Flights, Lead, Told, Turn, Waiter};
use super::late::Late;
use super::lease::{Ended, Leases};
use super::link::Link;
use super::options::SharedOptions;
use super::script::Scripts;
use super::situation::{Me, Partition, Phase, Situation};
use super::tick::Ticker;
use crate::{Decision, Key, MAX_COST, Memory, Mode, Refusal, Rule, Verdict};

/// Most leaders that one request waits for. Then it is decided by what this node knows.
const MAX_TURNS: usize = 64;
/// Longest time for which it is remembered that a key is full only because of what may yet be given back: what became of
/// it elsewhere is not always told.
const RESERVED_IS_KNOWN_FOR: Duration = Duration::from_millis(100);
/// Most partitions.
const MAX_PARTITIONS: u32 = 64;

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) calls: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) by_redis: AtomicU64,
    pub(super) by_lease: AtomicU64,
    pub(super) refused_here: AtomicU64,
    pub(super) alone: AtomicU64,
    pub(super) losses: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

/// See the file.
pub(crate) struct Shared {
    pub(super) memory: Memory,
    pub(super) link: Arc<dyn Link>,
    pub(super) options: SharedOptions,
    pub(super) me: Me,
    pub(super) node: String,
    pub(super) scripts: Scripts,
    pub(super) clock: RedisClock,
    pub(super) partitions: Vec<RwLock<Partition>>,
    pub(super) leases: Leases,
    pub(super) late: Late,
    /// How often everything was reset.
    pub(super) resets: AtomicU64,
    pub(super) counters: Counters,
    pub(super) ticker: tokio::sync::Mutex<Ticker>,
    flights: Arc<Flights>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What is asked, of which key, when.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) key: Key,
    pub(super) rule: &'a Rule,
    pub(super) now: Duration,
}

impl Shared {
    pub(crate) fn new(memory: Memory, link: Arc<dyn Link>, options: SharedOptions) -> Self {
        let options = SharedOptions { partitions: options.partitions.clamp(1, MAX_PARTITIONS), ..options };
        let partition = |_| RwLock::new(Partition::new(options.unix_at_zero, options.nodes_at_least));
        Self {
            memory,
            link,
            options,
            me: Me {
                node: options.node,
                node_timeout: options.node_timeout,
                nodes_at_least: options.nodes_at_least,
            },
            node: call::node_name(options.node),
            scripts: Scripts::new(),
            clock: RedisClock::new(options.unix_at_zero),
            partitions: (0..options.partitions).map(partition).collect(),
            leases: Leases::new(options.leases),
            late: Late::default(),
            resets: AtomicU64::new(0),
            counters: Counters::default(),
            ticker: tokio::sync::Mutex::default(),
            flights: Arc::default(),
        }
    }

    pub(super) fn place(&self, key: Key) -> u32 {
        call::partition(key, self.options.partitions)
    }

    /// Where a partition is in Redis.
    pub(super) const fn address(&self, partition: u32) -> call::Place {
        call::Place { installation: self.options.installation, partition }
    }

    pub(super) fn read(&self, partition: u32) -> RwLockReadGuard<'_, Partition> {
        self.partitions[partition as usize].read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self, partition: u32) -> RwLockWriteGuard<'_, Partition> {
        self.partitions[partition as usize].write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn situation(&self, key: Key) -> Situation {
        self.read(self.place(key)).present.clone()
    }

    pub(super) fn names(&self, key: Key, situation: &Situation) -> Names {
        Names::new(key, self.address(self.place(key)), situation.resets)
    }

    /// Redis cannot be asked about this partition any more.
    pub(super) fn lose(&self, partition: u32, now: Duration) {
        let at = self.clock.at(now);
        let mut present = self.write(partition);
        let Some(before) = present.lose(self.me.node, at, now) else { return };
        if before == Phase::Joined {
            // Before anybody decides alone: whoever does holds this lock, too.
            self.memory.revoke_escrows(|key| self.place(key) == partition);
        }
        drop(present);
        count(&self.counters.losses, 1);
        self.leases.forget(|key| self.place(key) == partition);
    }

    /// Decides without Redis, if this node may.
    pub(crate) fn decide_now(
        &self,
        key: Key,
        rule: &Rule,
        cost: u32,
        mode: Mode,
        now: Duration,
    ) -> Option<Decision> {
        self.decide_here(Question { key, rule, now }, units(cost), mode)
    }

    fn decide_here(&self, question: Question<'_>, cost: u32, mode: Mode) -> Option<Decision> {
        let Question { key, rule, now } = question;
        let at = self.clock.at(now);
        if let Some(refused) = self.memory.refused(key, rule, cost, at) {
            count(&self.counters.refused_here, 1);
            return Some(refused);
        }
        let (phase, lost_at, share) = {
            let partition = self.read(self.place(key));
            (partition.present.phase, partition.present.lost_at, partition.present.share)
        };
        match phase {
            Phase::Up if mode == Mode::Count => {
                let (decision, escrow) = self.leases.spend(key, rule, cost, at)?;
                let stamp = Duration::from_micros(decision.at);
                self.memory.note_admitted(key, rule, stamp, cost, mode, Some(escrow), at);
                count(&self.counters.by_lease, 1);
                Some(decision)
            }
            Phase::Up => None,
            Phase::Joined if self.memory.may_join(key, rule, cost, share, lost_at, at) => None,
            Phase::Joined | Phase::Merging | Phase::Down => Some(self.alone(question, cost, mode)),
        }
    }

    /// Decides by what this node knows and its share.
    fn alone(&self, question: Question<'_>, cost: u32, mode: Mode) -> Decision {
        let Question { key, rule, now } = question;
        // Odd, as all stamps that Redis did not give.
        let at = Duration::from_micros(micros(self.clock.at(now)) | 1);
        count(&self.counters.alone, 1);
        // Held until the decision is recorded: who copies memory into Redis begins and ends with this lock, so that
        // nothing is between what it copies and what it is told here.
        let partition = self.read(self.place(key));
        let Situation { phase, lost_at, share, .. } = partition.present;
        let decision = self.memory.decide_alone(key, rule, cost, mode, share, lost_at, at);
        if phase != Phase::Down {
            self.late.add(key, rule, mode, &decision);
        }
        decision
    }

    /// Decides. Never fails.
    pub(crate) async fn decide(
        &self,
        key: Key,
        rule: &Rule,
        cost: u32,
        mode: Mode,
        now: Duration,
    ) -> Decision {
        let question = Question { key, rule, now };
        let request = Request { cost: units(cost), mode: Some(mode) };
        for _ in 0..MAX_TURNS {
            if let Some(decision) = self.decide_here(question, request.cost, mode) {
                return decision;
            }
            match self.flights.join(key, rule, request) {
                Turn::Lead(lead) => return self.lead(lead, question, request.cost, mode).await,
                Turn::Apart => {
                    let decisions = self.ask(question, &[request], false).await;
                    return decisions[0];
                }
                Turn::Wait(wait) => match wait.await {
                    Ok(Told::Decision(decision)) => return decision,
                    Ok(Told::Lead(lead)) => return self.lead(lead, question, request.cost, mode).await,
                    // The leader is gone, or could not ask for all.
                    Err(_) => {}
                },
            }
        }
        self.alone(question, request.cost, mode)
    }

    /// Asks for itself and for others.
    async fn lead(&self, mut lead: Lead, question: Question<'_>, cost: u32, mode: Mode) -> Decision {
        let mut asking: Vec<Waiter> = Vec::new();
        let mut requests = vec![Request { cost, mode: Some(mode) }];
        let mine = self.decide_here(question, cost, mode);
        let is_share_left = self.joint_share(question);
        let mut total = cost;
        for other in lead.others() {
            let Request { cost, mode } = other.request;
            match mode.and_then(|mode| self.decide_here(question, cost, mode)) {
                Some(decision) => other.tell(decision),
                // Who has no room in the share beside those who ask now is dropped, and so asks again.
                None if is_share_left(total.saturating_add(cost)) => {
                    total = total.saturating_add(cost);
                    requests.push(other.request);
                    asking.push(other);
                }
                None => {}
            }
        }
        if mine.is_some() {
            requests.remove(0);
        }
        let mut decisions = Vec::new();
        if !requests.is_empty() {
            decisions = self.ask(question, &requests, true).await;
        }
        let mut decisions = decisions.into_iter();
        let mine = mine.or_else(|| decisions.next());
        for (other, decision) in asking.into_iter().zip(decisions) {
            other.tell(decision);
        }
        drop(lead);
        mine.unwrap_or_else(|| self.alone(question, cost, mode))
    }

    /// Whether so many units may be asked for together: while other nodes may decide alone, the share limits them.
    fn joint_share<'a>(&'a self, question: Question<'a>) -> impl Fn(u32) -> bool + 'a {
        let situation = self.situation(question.key);
        let at = self.clock.at(question.now);
        move |units| {
            situation.phase != Phase::Joined
                || self.memory.may_join(
                    question.key,
                    question.rule,
                    units,
                    situation.share,
                    situation.lost_at,
                    at,
                )
        }
    }

    /// Asks Redis, and if it does not answer, decides alone. As many decisions as requests.
    pub(super) async fn ask(
        &self,
        question: Question<'_>,
        requests: &[Request],
        may_lease: bool,
    ) -> Vec<Decision> {
        if let Some((phase, decided)) = self.ask_redis(question, requests, may_lease).await {
            count(&self.counters.by_redis, requests.len());
            self.learn(question, requests, phase, &decided);
            return decided.decisions;
        }
        let at = self.clock.at(question.now);
        let decide = |request: &Request| match request.mode {
            Some(mode) => self.alone(question, request.cost, mode),
            None => self.memory.peek(question.key, question.rule, request.cost, at),
        };
        requests.iter().map(decide).collect()
    }

    async fn ask_redis(
        &self,
        question: Question<'_>,
        requests: &[Request],
        may_lease: bool,
    ) -> Option<(Phase, Decided)> {
        let Question { key, rule, now } = question;
        let partition = self.place(key);
        let (mut ended, mut want) = (None, 0);
        if may_lease {
            (ended, want) = self.leases.before_call(key, requests.len(), self.clock.at(now));
        }
        // Once more if everything has just been reset.
        for _ in 0..2 {
            let situation = self.situation(key);
            if situation.phase < Phase::Joined {
                return None;
            }
            let ended = ended.take().filter(|ended: &Ended| ended.rule == *rule);
            let ask = Ask {
                names: &self.names(key, &situation),
                state: &situation.state,
                node: &self.node,
                rule,
                requests,
                want: if situation.phase == Phase::Up { want } else { 0 },
                term: self.options.leases.term(),
                settlement: &ended.map_or_else(Settlement::default, |ended| ended.settlement),
            };
            count(&self.counters.calls, 1);
            let reply = self.scripts.decide.send_one(&*self.link, ask.command(&self.scripts)).await;
            match reply.as_ref().map(|reply| call::read_answer(reply, key, requests)) {
                Ok(Some(Answer::Decided(decided))) => return Some((situation.phase, decided)),
                Ok(Some(Answer::OtherState(state))) if Self::is_reset(&situation, &state) => {
                    self.follow_reset(partition, &state);
                }
                Ok(Some(Answer::OtherState(_)) | None) | Err(_) => {
                    count(&self.counters.errors, 1);
                    break;
                }
            }
        }
        self.lose(partition, now);
        None
    }

    /// Keeps what Redis said.
    fn learn(&self, question: Question<'_>, requests: &[Request], phase: Phase, decided: &Decided) {
        let Question { key, rule, now } = question;
        self.clock.sharpen(now, decided.now);
        // Before all nodes have told Redis what they admitted, it does not know what is left.
        let escrow = (phase == Phase::Up).then_some(decided.escrow);
        // The estimate of Redis' clock is ahead, if anything: so no refusal is kept for too long.
        let sent = self.clock.at(now).min(Duration::from_micros(decided.now));
        for (request, decision) in requests.iter().zip(&decided.decisions) {
            let Some(mode) = request.mode else { continue };
            let refusal = match decision.verdict {
                Verdict::Admitted(ticket) => {
                    let at = Duration::from_micros(ticket.at);
                    self.memory.note_admitted(key, rule, at, ticket.cost, mode, escrow, sent);
                    continue;
                }
                Verdict::Refused(refusal) => refusal,
            };
            let wait = match (refusal, decided.blocked_until) {
                (Refusal::Blocked | Refusal::BlockedNow, Some(until)) => {
                    Duration::from_micros(until.saturating_sub(decided.now))
                }
                (Refusal::Reserved, _) => decision.retry_after.min(RESERVED_IS_KNOWN_FOR),
                _ => decision.retry_after,
            };
            self.memory.note_refused(key, rule, request.cost, sent + wait, refusal, decision.window, sent);
        }
        if decided.leased > 0 {
            self.leases.take(key, rule, decided);
        }
    }

    /// Whether the registry only says that everything was reset.
    fn is_reset(known: &Situation, state: &str) -> bool {
        call::generation_of(&known.state) == call::generation_of(state)
            && call::resets_of(state).is_some_and(|resets| resets > known.resets)
    }

    fn follow_reset(&self, partition: u32, state: &str) {
        let Some(resets) = call::resets_of(state) else { return };
        self.forget_all(resets);
        let mut partition = self.write(partition);
        if resets > partition.present.resets {
            partition.present.state = Arc::from(state);
            partition.present.resets = resets;
        }
    }

    /// Everything was reset, for the so-manieth time.
    pub(super) fn forget_all(&self, resets: u64) {
        if self.resets.fetch_max(resets, Ordering::Relaxed) < resets {
            self.memory.reset_all();
            self.leases.forget(|_| true);
            drop(self.late.take());
        }
    }
}

/// A cost of zero counts as one; one that is too large fits into no window.
pub(super) fn units(cost: u32) -> u32 {
    if cost > MAX_COST { u32::MAX } else { cost.max(1) }
}
