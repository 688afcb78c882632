//! What nodes tell each other: what became stale, at once; and the log, to a node that cannot read it.
//!
//! Nothing rests on a message arriving. Every node reads the log from the database four times within the bound, and a
//! message only makes the usual case faster. The one exception only lengthens a lease, and proves itself: a node that
//! cannot reach the database asks the others, and its lease counts from the moment it asked, on its own clock, because
//! the answer holds what was read after the question. A late, repeated or forged answer renews nothing.
//!
//! Blocks travel in the same way: a message says only that there is something new to read in the database.
//!
//! Does not own the wire: Redis or the notifications of PostgreSQL carry the bytes.

mod message;
mod postgres_wire;
mod redis_wire;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use phoenix_auth::model::KeyRing;
use phoenix_auth::ports::Clock;
use tokio::sync::{Notify, mpsc};

use crate::tiers::{LeasePage, TieredSessions};
use message::MAX_PUSHED;

// Public for the sake of `fuzz/`.
pub use message::{Message, Node};
pub use postgres_wire::PostgresWire;
pub use redis_wire::RedisWire;

/// Messages that came and wait to be acted on. At the bound new ones are dropped: the log is read anyway.
const INBOX: usize = 1024;

/// A question that is not answered by then is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Most questions whose answers are waited for.
const QUESTIONS: usize = 16;

/// Something that happened on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WireEvent {
    /// Messages sent from now on arrive. Those sent before may be lost.
    Connected,
    /// A message, from this node too.
    Message(Vec<u8>),
    /// Messages sent from now on are lost, until it is connected again.
    Lost,
}

/// Carries short messages to all nodes, at most once each.
#[async_trait]
pub trait Wire: Send + Sync {
    /// Sends to every node that listens. Returns whether it left.
    async fn send(&self, message: &[u8]) -> bool;

    /// Delivers what is sent, for ever, over every loss of the connection.
    async fn listen(&self, deliver: &mut (dyn FnMut(WireEvent) + Send));
}

/// Counters since the start, and the state of the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BusStats {
    /// Whether messages of other nodes arrive.
    pub connected: bool,
    /// Messages sent.
    pub sent: u64,
    /// Messages that could not be sent.
    pub not_sent: u64,
    /// Messages of other nodes that arrived.
    pub received: u64,
    /// Messages refused because their seal or form was wrong.
    pub refused: u64,
    /// Leases renewed through another node.
    pub leases_through_others: u64,
    /// Times the log was read for another node.
    pub reads_for_others: u64,
}

/// This node's end of the wire. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    wire: Arc<dyn Wire>,
    tiers: TieredSessions,
    clock: Arc<dyn Clock>,
    keys: KeyRing,
    node: Node,
    inbox: (mpsc::Sender<Message>, tokio::sync::Mutex<mpsc::Receiver<Message>>),
    /// The questions that wait for an answer, and when they were asked.
    asked: Mutex<VecDeque<(u64, Duration)>>,
    next_question: AtomicU64,
    answered: Notify,
    /// Another node changed blocks, or might have while its messages were lost.
    blocks_changed: Notify,
    connected: AtomicBool,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    not_sent: AtomicU64,
    received: AtomicU64,
    refused: AtomicU64,
    leases_through_others: AtomicU64,
    reads_for_others: AtomicU64,
}

impl Bus {
    /// The end of the node with this random number.
    #[must_use]
    pub fn new(
        wire: Arc<dyn Wire>,
        tiers: TieredSessions,
        clock: Arc<dyn Clock>,
        keys: KeyRing,
        node: u64,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(INBOX);
        Self {
            inner: Arc::new(Inner {
                wire,
                tiers,
                clock,
                keys,
                node,
                inbox: (sender, tokio::sync::Mutex::new(receiver)),
                asked: Mutex::default(),
                next_question: AtomicU64::new(1),
                answered: Notify::new(),
                blocks_changed: Notify::new(),
                connected: AtomicBool::new(false),
                counters: Counters::default(),
            }),
        }
    }

    /// Listens, for ever.
    pub async fn run_listener(&self) {
        let inner = &*self.inner;
        inner.wire.listen(&mut |event| inner.take(event)).await;
    }

    /// Acts on what came, for ever.
    pub async fn run_inbox(&self) {
        let inner = &*self.inner;
        let mut inbox = inner.inbox.1.lock().await;
        while let Some(message) = inbox.recv().await {
            inner.act(message).await;
        }
    }

    /// Tells the others what this node made stale, for ever.
    pub async fn run_pusher(&self) {
        while let Some(entries) = self.inner.tiers.next_to_push().await {
            for entries in entries.chunks(MAX_PUSHED) {
                self.inner.send(&Message::Pushed { from: self.inner.node, entries: entries.to_vec() }).await;
            }
        }
    }

    /// Asks the other nodes for the log and renews the lease by the first answer. Returns whether it was renewed by
    /// `timeout`. To be called when the database does not answer.
    pub async fn renew_lease(&self, timeout: Duration) -> bool {
        tokio::time::timeout(timeout, self.ask_until_renewed()).await.is_ok()
    }

    /// Tells the others that blocks began or were lifted, after that is in the database.
    pub async fn tell_blocks_changed(&self) {
        self.inner.send(&Message::BlocksChanged { from: self.inner.node }).await;
    }

    /// Waits until another node changed blocks, or might have, since the last call returned. For one caller.
    pub async fn blocks_changed(&self) {
        self.inner.blocks_changed.notified().await;
    }

    async fn ask_until_renewed(&self) {
        let inner = &*self.inner;
        let before = inner.counters.leases_through_others.load(Ordering::Acquire);
        loop {
            let mut answered = pin!(inner.answered.notified());
            // From now on an answer is noticed, however soon it comes.
            answered.as_mut().enable();
            let question = inner.note_question();
            let after = inner.tiers.applied();
            inner.send(&Message::Ask { from: inner.node, question, after }).await;
            // A question or its answer may be lost: it is asked again.
            let _in_time = tokio::time::timeout(ASK_AGAIN, answered).await;
            if inner.counters.leases_through_others.load(Ordering::Acquire) > before {
                return;
            }
        }
    }

    /// Counters and state.
    #[must_use]
    pub fn stats(&self) -> BusStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { sent, not_sent, received, refused, leases_through_others, reads_for_others } =
            &self.inner.counters;
        BusStats {
            connected: self.inner.connected.load(Ordering::Relaxed),
            sent: read(sent),
            not_sent: read(not_sent),
            received: read(received),
            refused: read(refused),
            leases_through_others: read(leases_through_others),
            reads_for_others: read(reads_for_others),
        }
    }
}

impl Inner {
    fn take(&self, event: WireEvent) {
        match event {
            WireEvent::Connected => {
                self.connected.store(true, Ordering::Relaxed);
                self.tiers.suspect_a_gap();
                self.blocks_changed.notify_one();
            }
            WireEvent::Lost => self.connected.store(false, Ordering::Relaxed),
            WireEvent::Message(bytes) => match Message::open(&self.keys, &bytes) {
                // Obeyed here and now, not after what waits in the inbox.
                Some(Message::Pushed { from, entries }) if from != self.node => {
                    self.counters.received.fetch_add(1, Ordering::Relaxed);
                    self.tiers.pushed(&entries);
                }
                Some(Message::Answer { to, question, read }) if to == self.node => {
                    self.counters.received.fetch_add(1, Ordering::Relaxed);
                    self.take_answer(question, &read);
                }
                Some(message @ Message::Ask { from, .. }) if from != self.node => {
                    self.counters.received.fetch_add(1, Ordering::Relaxed);
                    // When the inbox is full, another node answers, or the asker asks again.
                    let _queued = self.inbox.0.try_send(message);
                }
                Some(Message::BlocksChanged { from }) if from != self.node => {
                    self.counters.received.fetch_add(1, Ordering::Relaxed);
                    self.blocks_changed.notify_one();
                }
                Some(
                    Message::Pushed { .. }
                    | Message::Answer { .. }
                    | Message::Ask { .. }
                    | Message::BlocksChanged { .. },
                ) => {}
                None => {
                    self.counters.refused.fetch_add(1, Ordering::Relaxed);
                }
            },
        }
    }

    /// A new question, noted before it leaves: the lease counts from here.
    fn note_question(&self) -> u64 {
        let question = self.next_question.fetch_add(1, Ordering::Relaxed);
        let mut asked = self.lock_asked();
        if asked.len() == QUESTIONS {
            asked.pop_front();
        }
        asked.push_back((question, self.clock.mono()));
        question
    }

    fn take_answer(&self, question: u64, read: &LeasePage) {
        let asked_at = self.lock_asked().iter().find(|(asked, _)| *asked == question).map(|(_, at)| *at);
        // To a question that was given up, or answered already.
        let Some(asked_at) = asked_at else { return };
        if self.tiers.renew_through_another(read, asked_at) {
            self.lock_asked().clear();
            self.counters.leases_through_others.fetch_add(1, Ordering::Release);
        }
        self.answered.notify_waiters();
    }

    async fn act(&self, message: Message) {
        let Message::Ask { from, question, after } = message else { return };
        match self.tiers.read_for_another(after).await {
            Ok(read) => {
                self.counters.reads_for_others.fetch_add(1, Ordering::Relaxed);
                self.send(&Message::Answer { to: from, question, read }).await;
            }
            Err(error) => {
                tracing::debug!(?error, "another node asked for the log, which we cannot read either");
            }
        }
    }

    async fn send(&self, message: &Message) {
        let left = self.wire.send(&message.seal(&self.keys)).await;
        let counter = if left { &self.counters.sent } else { &self.counters.not_sent };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn lock_asked(&self) -> MutexGuard<'_, VecDeque<(u64, Duration)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
