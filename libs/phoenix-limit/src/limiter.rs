//! The limiter: one face for limits of one process and for limits shared through Redis. Owns neither algorithm.

#[cfg(feature = "redis")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "redis")]
use crate::shared::{Link, Shared, SharedHealth, SharedOptions};
use crate::{Decision, Key, Memory, MemoryStats, Mode, Rule, Ticket};

/// Decides who may go on. Every `now` is monotonic time of this process since any origin, the same for all calls.
///
/// A shared one needs its owner to call `tick` about every 100 ms, the first time before the first request, and to pass
/// what comes on the channel `CHANNEL` of Redis to `message`.
#[derive(Debug)]
pub struct Limiter {
    store: Store,
}

#[derive(Debug)]
enum Store {
    Memory(Memory),
    #[cfg(feature = "redis")]
    Shared(Box<Shared>),
}

/// How a limiter is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Health {
    /// Memory of this process.
    pub memory: MemoryStats,
    /// How sharing goes, if limits are shared.
    #[cfg(feature = "redis")]
    pub shared: Option<SharedHealth>,
}

/// Does the same on either store.
macro_rules! on_store {
    ($self:ident, $memory:ident => $local:expr, $shared:ident => $sharing:expr) => {
        match &$self.store {
            Store::Memory($memory) => $local,
            #[cfg(feature = "redis")]
            Store::Shared($shared) => $sharing,
        }
    };
}

impl Limiter {
    /// Limits of this process only.
    #[must_use]
    pub const fn in_memory(memory: Memory) -> Self {
        Self { store: Store::Memory(memory) }
    }

    /// Limits shared by all that use the same Redis and secret.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn shared(memory: Memory, link: Arc<dyn Link>, options: SharedOptions) -> Self {
        Self { store: Store::Shared(Box::new(Shared::new(memory, link, options))) }
    }

    /// Decides without I/O, if that can be; `None` says to ask [`Self::decide`]. Limits of one process are always decided
    /// here, shared ones when the refusal is known, the key is leased, or Redis cannot be asked.
    pub fn decide_now(
        &self,
        key: Key,
        rule: &Rule,
        cost: u32,
        mode: Mode,
        now: Duration,
    ) -> Option<Decision> {
        on_store!(self,
            memory => Some(memory.decide(key, rule, cost, mode, now)),
            shared => shared.decide_now(key, rule, cost, mode, now))
    }

    /// Decides, and counts the request if it is admitted. Never fails: when Redis does not answer within the link's
    /// deadline, this node's memory decides.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "the same with and without sharing")
    )]
    pub async fn decide(&self, key: Key, rule: &Rule, cost: u32, mode: Mode, now: Duration) -> Decision {
        on_store!(self,
            memory => memory.decide(key, rule, cost, mode, now),
            shared => shared.decide(key, rule, cost, mode, now).await)
    }

    /// What [`Self::decide`] would say, without a trace.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "the same with and without sharing")
    )]
    pub async fn peek(&self, key: Key, rule: &Rule, cost: u32, now: Duration) -> Decision {
        on_store!(self,
            memory => memory.peek(key, rule, cost, now),
            shared => shared.peek(key, rule, cost, now).await)
    }

    /// The reserved admission is final. Starts no block.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "the same with and without sharing")
    )]
    pub async fn confirm(&self, ticket: Ticket, now: Duration) {
        let _ = now;
        on_store!(self,
            memory => drop(memory.confirm(ticket)),
            shared => shared.confirm(ticket, now).await);
    }

    /// Takes the admission back. To be called at most once for a ticket, on the node that gave it.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "the same with and without sharing")
    )]
    pub async fn refund(&self, ticket: Ticket, now: Duration) {
        let _ = now;
        on_store!(self,
            memory => drop(memory.refund(ticket)),
            shared => shared.refund(ticket, now).await);
    }

    /// Refuses a key for this long; a longer block stays.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "the same with and without sharing")
    )]
    pub async fn block(&self, key: Key, length: Duration, now: Duration) {
        on_store!(self,
            memory => memory.block(key, length, now),
            shared => shared.block(key, length, now).await);
    }

    /// Ends a block; what was admitted still counts. While Redis is out of reach, on this node only.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "the same with and without sharing")
    )]
    pub async fn lift(&self, key: Key, now: Duration) {
        let _ = now;
        on_store!(self,
            memory => memory.lift(key),
            shared => shared.lift(key, now).await);
    }

    /// Forgets the block and the admissions of a key. While Redis is out of reach, on this node only.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "the same with and without sharing")
    )]
    pub async fn reset(&self, key: Key, now: Duration) {
        let _ = now;
        on_store!(self,
            memory => memory.reset(key),
            shared => shared.reset(key, now).await);
    }

    /// Forgets all keys, on all nodes; on those that Redis cannot reach now, as soon as it can.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "the same with and without sharing")
    )]
    pub async fn reset_all(&self, now: Duration) {
        let _ = now;
        on_store!(self,
            memory => memory.reset_all(),
            shared => shared.reset_all(now).await);
    }

    /// How it is doing. Reads all of memory: for a page or a metric, not for a request.
    pub fn health(&self, now: Duration) -> Health {
        on_store!(self,
            memory => Health {
                memory: memory.stats(now),
                #[cfg(feature = "redis")]
                shared: None,
            },
            shared => Health { memory: shared.memory_stats(now), shared: Some(shared.health(now)) })
    }

    /// What a shared limiter does beside requests, in bounded steps: to be called about every 100 ms, and awaited to
    /// its end. Nothing to do for one that is not shared.
    #[cfg(feature = "redis")]
    pub async fn tick(&self, now: Duration) {
        if let Store::Shared(shared) = &self.store {
            shared.tick(now).await;
        }
    }

    /// Takes a message that came on [`crate::CHANNEL`]. Any of them may be lost.
    #[cfg(feature = "redis")]
    pub fn message(&self, payload: &[u8], now: Duration) {
        if let Store::Shared(shared) = &self.store {
            shared.message(payload, now);
        }
    }

    /// Settles what is open and leaves the other nodes: the last call before the process ends.
    #[cfg(feature = "redis")]
    pub async fn leave(&self, now: Duration) {
        if let Store::Shared(shared) = &self.store {
            shared.leave(now).await;
        }
    }
}
