//! What a node that shares limits does beside requests: it says that it lives, finds a lost Redis again, copies into it
//! what it admitted meanwhile, and settles leases. Every step is bounded; what is left waits for the next.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{Cmd, Value};

use super::call::{self, Ask, Beat, Entries, Known};
use super::link::LinkError;
use super::message::{self, CHANNEL};
use super::node::{Shared, count};
use super::situation::Phase;
use crate::{Cursor, Key, Own};

/// Most leases settled in one step.
const MAX_SETTLED: usize = 256;
/// Most pages of memory looked at in one step, of at most 1,024 keys each.
const MAX_PAGES: usize = 64;
/// After so many keys copied in one step, the rest waits: about a third of what Redis can do, so that it also answers.
const MAX_COPIED: usize = 4_096;
/// A message to Redis ends after the key with which it holds so many units.
const UNITS_AT_ONCE: usize = 1_024;
/// Most keys in one message to Redis.
const KEYS_AT_ONCE: usize = 128;
/// From loss to use takes three answers of the registry, if nobody is waited for.
const MAX_BEATS: usize = 3;

/// What is under way between two steps.
#[derive(Debug, Default)]
pub(super) struct Ticker {
    copy: Option<Copy>,
}

/// A walk through memory, for the partitions that waited for one when it began.
#[derive(Debug)]
struct Copy {
    cursor: Cursor,
    /// The loss it is for; `None` if the partition is not concerned.
    rounds: Vec<Option<u64>>,
    from: Vec<Duration>,
}

impl Shared {
    /// One step. Takes a few round trips, each bounded by the link. If one is under way, nothing is done.
    pub(crate) async fn tick(&self, now: Duration) {
        let Ok(mut ticker) = self.ticker.try_lock() else { return };
        let mut is_prompt = true;
        for _ in 0..MAX_BEATS {
            // First, so that who is told that this node has merged finds all of it.
            is_prompt &= !self.merge_late(&mut ticker, now).await;
            let waits = self.beat(now, is_prompt).await;
            is_prompt = false;
            if !waits {
                break;
            }
            let came_on = self.copy(&mut ticker, now).await;
            if !came_on {
                break;
            }
        }
        self.settle_leases(now, false).await;
    }

    /// Says that this node lives, where it is time to. Whether something follows from the answers at once.
    async fn beat(&self, now: Duration, is_prompt: bool) -> bool {
        let is_due = |partition: &u32| {
            let partition = self.read(*partition);
            let passed = partition.beat_at.map(|at| now.saturating_sub(at));
            partition.present.phase != Phase::Up
                || passed.is_none_or(|passed| passed >= self.options.heartbeat)
        };
        let due: Vec<u32> = (0..self.options.partitions).filter(is_due).collect();
        if due.is_empty() {
            return false;
        }
        self.beat_all(&due, None, now, is_prompt).await;
        due.iter().any(|partition| self.read(*partition).present.phase < Phase::Up)
    }

    /// One sign of life for each partition; `standing` instead of what is so. Unless it is sent promptly at `now`, it
    /// says nothing about Redis' clock.
    async fn beat_all(&self, due: &[u32], standing: Option<&str>, now: Duration, is_prompt: bool) {
        let generation = format!("{}{:x}", self.node, call::micros(now));
        let beat = Beat {
            timeout: self.options.node_timeout,
            generation: &generation,
            resets: self.resets.load(Ordering::Relaxed),
        };
        let command = |partition: &u32| {
            let of = self.read(*partition);
            let standing = standing.unwrap_or_else(|| of.present.phase.standing());
            let known = Known { generation: call::generation_of(&of.present.state), last: of.last_beat };
            call::heartbeat(&self.scripts, self.address(*partition), &self.node, standing, &beat, &known)
        };
        let commands: Vec<Cmd> = due.iter().map(command).collect();
        count(&self.counters.calls, commands.len());
        let replies = self.scripts.heartbeat.send(&*self.link, commands).await;
        if standing.is_none() {
            let mut ready = vec![false; self.partitions.len()];
            for (partition, reply) in due.iter().zip(replies) {
                ready[*partition as usize] = self.hear(*partition, reply, now, is_prompt);
            }
            self.rise(&ready, now);
        }
    }

    /// Lets Redis alone decide where all nodes are as far. What was granted before the loss is void then: it has been used,
    /// here or elsewhere.
    fn rise(&self, ready: &[bool], now: Duration) {
        if ready.contains(&true) {
            self.memory.revoke_escrows(|key| ready[self.place(key) as usize]);
            for (partition, _) in (0..).zip(ready).filter(|(_, ready)| **ready) {
                self.write(partition).rise(now);
            }
        }
    }

    /// Whether Redis alone may decide from now on.
    fn hear(&self, partition: u32, reply: Result<Value, LinkError>, now: Duration, is_prompt: bool) -> bool {
        let Some(registry) = reply.ok().and_then(|reply| call::read_registry(&reply)) else {
            count(&self.counters.errors, 1);
            self.lose(partition, now);
            return false;
        };
        if is_prompt && let Some(by) = self.clock.observe(now, registry.now) {
            self.shift(by);
        }
        if let Some(resets) = call::resets_of(&registry.state) {
            self.forget_all(resets);
        }
        let at = self.clock.at(now);
        let mut present = self.write(partition);
        present.beat_at = Some(now);
        let heard = present.hear(&registry, self.me, at, now);
        drop(present);
        if heard.has_lost {
            count(&self.counters.losses, 1);
            self.leases.forget(|key| self.place(key) == partition);
        }
        heard.may_rise
    }

    /// Redis' clock was set, or is seen for the first time.
    fn shift(&self, by: i64) {
        self.memory.shift(by);
        let moved = |time: Duration| Duration::from_micros(call::micros(time).saturating_add_signed(by));
        for partition in 0..self.options.partitions {
            let mut partition = self.write(partition);
            partition.present.lost_at = moved(partition.present.lost_at);
            if !partition.merge_from.is_zero() {
                partition.merge_from = moved(partition.merge_from);
            }
        }
    }

    /// Copies what was admitted while a copy was under way. Whether there was anything.
    async fn merge_late(&self, ticker: &mut Ticker, now: Duration) -> bool {
        let (late, is_over) = self.late.take();
        let is_any = !late.is_empty();
        self.merge(late, now).await;
        if is_over {
            ticker.copy = None;
        }
        is_any
    }

    /// Copies own admissions into Redis. Whether a partition came on.
    async fn copy(&self, ticker: &mut Ticker, now: Duration) -> bool {
        let Some(copy) = ticker.copy.take().or_else(|| self.begin_copy()) else { return false };
        let (mut copy, mut copied) = (copy, 0);
        for _ in 0..MAX_PAGES {
            if copied >= MAX_COPIED {
                break;
            }
            let (next, page) = self.memory.own_entries(copy.cursor, self.clock.at(now));
            let wanted: Vec<_> = page.into_iter().filter_map(|own| self.wanted(&copy, &own, now)).collect();
            copied += wanted.len();
            self.merge(wanted, now).await;
            let Some(next) = next else {
                self.end_copy(&copy, now);
                return true;
            };
            copy.cursor = next;
        }
        ticker.copy = Some(copy);
        false
    }

    fn begin_copy(&self) -> Option<Copy> {
        let mut copy = Copy { cursor: Cursor::default(), rounds: Vec::new(), from: Vec::new() };
        for partition in 0..self.options.partitions {
            let partition = self.read(partition);
            let waits = partition.present.phase == Phase::Merging;
            copy.rounds.push(waits.then_some(partition.round));
            copy.from.push(partition.merge_from);
        }
        copy.rounds.iter().any(Option::is_some).then_some(copy)
    }

    fn end_copy(&self, copy: &Copy, now: Duration) {
        for (partition, round) in (0..self.options.partitions).zip(&copy.rounds) {
            if let Some(round) = round {
                self.write(partition).merged(*round, now);
            }
        }
    }

    /// What of a key Redis may not know.
    fn wanted(&self, copy: &Copy, own: &Own, now: Duration) -> Option<(Key, Entries)> {
        let place = self.place(own.key) as usize;
        copy.rounds[place]?;
        let at = self.clock.at(now);
        let from = call::micros(copy.from[place]);
        let block = own.blocked_until.filter(|until| *until > at);
        if block.is_none() && own.stamps.last().is_none_or(|stamp| stamp.at < from) {
            return None;
        }
        let units = own.stamps.iter().map(|stamp| (stamp.at, stamp.pending)).collect();
        let block = block.map(|until| (call::micros(until), until.saturating_sub(at)));
        Some((own.key, Entries { units, span: own.span, block }))
    }

    /// Puts entries into Redis. A partition for which that fails is lost.
    async fn merge(&self, entries: Vec<(Key, Entries)>, now: Duration) {
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let mut units = 0;
            let fits = |(_, entries): &&(Key, Entries)| {
                let has_room = units < UNITS_AT_ONCE;
                units += entries.units.len();
                has_room
            };
            let number = rest.iter().take(KEYS_AT_ONCE).take_while(fits).count().max(1);
            let (some, others) = rest.split_at(number);
            rest = others;
            self.merge_some(some, now).await;
        }
    }

    async fn merge_some(&self, entries: &[(Key, Entries)], now: Duration) {
        let command = |(key, entries): &(Key, Entries)| {
            let names = self.names(*key, &self.read(self.place(*key)).present);
            call::merge(&self.scripts, &names, &self.node, entries)
        };
        // What was lost again is not sent to, so that the rest of many does not wait in vain, time after time.
        let is_there = |entry: &&(Key, Entries)| self.read(self.place(entry.0)).present.phase != Phase::Down;
        let entries: Vec<&(Key, Entries)> = entries.iter().filter(is_there).collect();
        let commands: Vec<Cmd> = entries.iter().copied().map(command).collect();
        if commands.is_empty() {
            return;
        }
        count(&self.counters.calls, commands.len());
        let replies = self.scripts.merge.send(&*self.link, commands).await;
        for ((key, _), reply) in entries.iter().zip(replies) {
            if reply.is_err() {
                count(&self.counters.errors, 1);
                self.lose(self.place(*key), now);
            }
        }
    }

    /// Settles leases that are over, or all.
    async fn settle_leases(&self, now: Duration, all: bool) {
        let until = if all { Duration::MAX } else { self.clock.at(now) };
        let ended = self.leases.ended(until, MAX_SETTLED);
        let mut commands = Vec::with_capacity(ended.len());
        for lease in &ended {
            let situation = self.read(self.place(lease.key)).present.clone();
            let ask = Ask {
                names: &self.names(lease.key, &situation),
                state: &situation.state,
                node: &self.node,
                rule: &lease.rule,
                requests: &[],
                want: 0,
                term: Duration::ZERO,
                settlement: &lease.settlement,
            };
            commands.push(ask.command(&self.scripts));
        }
        if commands.is_empty() {
            return;
        }
        count(&self.counters.calls, commands.len());
        let replies = self.scripts.decide.send(&*self.link, commands).await;
        for (lease, reply) in ended.iter().zip(replies) {
            if reply.is_err() {
                count(&self.counters.errors, 1);
                self.lose(self.place(lease.key), now);
            }
        }
    }

    /// Forgets all keys, on all nodes: at once where messages arrive, with the next question elsewhere.
    pub(crate) async fn reset_all(&self, now: Duration) {
        self.forget_all(self.resets.load(Ordering::Relaxed) + 1);
        let reachable = |partition: &u32| self.read(*partition).present.phase != Phase::Down;
        let due: Vec<u32> = (0..self.options.partitions).filter(reachable).collect();
        if due.is_empty() {
            return;
        }
        self.beat_all(&due, None, now, false).await;
        let mut publish = redis::cmd("PUBLISH");
        let resets = self.resets.load(Ordering::Relaxed);
        publish.arg(CHANNEL).arg(message::reset_all(self.options.installation, resets));
        // Every node finds out by itself; the message only makes it sooner.
        drop(self.link.send(vec![publish]).await);
    }

    /// Gives all leases back and leaves the registry, so that others need not wait for this node.
    pub(crate) async fn leave(&self, now: Duration) {
        self.settle_leases(now, true).await;
        let reachable = |partition: &u32| self.read(*partition).present.phase != Phase::Down;
        let due: Vec<u32> = (0..self.options.partitions).filter(reachable).collect();
        if !due.is_empty() {
            self.beat_all(&due, Some("-"), now, false).await;
        }
    }
}
