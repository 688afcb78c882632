//! What nodes tell each other, over a wire that is only a test's, on a real database that one of them may lose.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use phoenix_auth::model::KeyRing;
use phoenix_auth::ports::{Clock, EndScope, SessionCache, SessionStore, Tier};
use phoenix_store::bus::{Bus, PostgresWire, Wire, WireEvent};
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::proxy::{FaultProxy, Mode};
use phoenix_testkit::wait;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use crate::fixtures::{NOON, add_user, sign_in};
use crate::harness::{BOUND, Db, pg_config, pg_store, postgres_db};
use crate::tiers::{Hand, LIMITS, Node};

/// Longest wait for an answer of another node.
const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &[u8] = b"a secret for tests";

/// A wire in memory: delivers to everybody, loses what it is told to, and holds messages back.
struct Hub {
    messages: broadcast::Sender<Vec<u8>>,
    lossy: AtomicBool,
    held: Mutex<Option<Vec<Vec<u8>>>>,
}

impl Hub {
    fn new() -> Arc<Self> {
        let (messages, _) = broadcast::channel(1024);
        Arc::new(Self { messages, lossy: AtomicBool::new(false), held: Mutex::new(None) })
    }

    fn hold(&self) {
        *self.held.lock().expect("unpoisoned") = Some(Vec::new());
    }

    fn held(&self) -> usize {
        self.held.lock().expect("unpoisoned").as_ref().map_or(0, Vec::len)
    }

    fn release(&self) {
        for message in self.held.lock().expect("unpoisoned").take().unwrap_or_default() {
            self.messages.send(message).expect("somebody listens");
        }
    }
}

#[async_trait]
impl Wire for Hub {
    async fn send(&self, message: &[u8]) -> bool {
        if self.lossy.load(Ordering::SeqCst) {
            return true;
        }
        if let Some(held) = &mut *self.held.lock().expect("unpoisoned") {
            held.push(message.to_vec());
            return true;
        }
        self.messages.send(message.to_vec()).is_ok()
    }

    async fn listen(&self, deliver: &mut (dyn FnMut(WireEvent) + Send)) {
        let mut messages = self.messages.subscribe();
        deliver(WireEvent::Connected);
        while let Ok(message) = messages.recv().await {
            deliver(WireEvent::Message(message));
        }
    }
}

/// A node with its end of the wire.
struct Member {
    node: Node,
    bus: Bus,
}

impl Member {
    fn join(node: Node, wire: Arc<dyn Wire>, number: u64, tasks: &mut JoinSet<()>) -> Self {
        let clock = Arc::clone(&node.clock) as Arc<dyn Clock>;
        let bus = Bus::new(wire, node.tiers.clone(), clock, KeyRing::derive(SECRET), number);
        let (listener, inbox, pusher) = (bus.clone(), bus.clone(), bus.clone());
        tasks.spawn(async move { listener.run_listener().await });
        tasks.spawn(async move { inbox.run_inbox().await });
        tasks.spawn(async move { pusher.run_pusher().await });
        Self { node, bus }
    }

    async fn connected(&self) {
        wait::until(BOUND, "the wire", || async { self.bus.stats().connected }).await;
    }
}

/// Two nodes: the first reaches the database through a proxy, the second directly. One clock for both.
struct Pair {
    direct: Db,
    proxy: FaultProxy,
    hub: Arc<Hub>,
    clock: Arc<Hand>,
    cut: Member,
    other: Member,
    _tasks: JoinSet<()>,
}

impl Pair {
    async fn new() -> Self {
        let direct = postgres_db().await;
        let url = direct.url.clone().expect("PostgreSQL has an address");
        let proxy = FaultProxy::start(Postgres::shared().address()).expect("a proxy");
        let through =
            pg_store(pg_config(Postgres::shared().url_via(proxy.addr(), database_name(&url)))).await;
        let (hub, clock, mut tasks) = (Hub::new(), Arc::<Hand>::default(), JoinSet::new());
        let node = Node::new(Arc::new(through), None, &clock).await;
        let cut = Member::join(node, hub.clone(), 1, &mut tasks);
        let node = Node::new(direct.store.clone(), None, &clock).await;
        let other = Member::join(node, hub.clone(), 2, &mut tasks);
        cut.connected().await;
        other.connected().await;
        Self { direct, proxy, hub, clock, cut, other, _tasks: tasks }
    }

    fn cut_from_the_database(&self) {
        self.proxy.set(Mode::Reset);
        self.cut.node.tiers.set_database_lost(true);
    }
}

// spec: C4
#[tokio::test]
async fn a_revoke_is_pushed_to_the_other_node_without_a_read_of_the_log() {
    let pair = Pair::new().await;
    let user = add_user(&*pair.direct.store, "ada@example.com").await;
    let session = sign_in(&*pair.direct.store, user).await;
    assert!(pair.cut.node.answer(&session.token_hash).await.0);
    let ended =
        pair.direct.store.end_sessions(EndScope::All(user), NOON).await.expect("answers").acknowledge();
    pair.other.node.tiers.invalidate(&ended.invalidations).await;
    wait::until(BOUND, "the push", || async { pair.cut.bus.stats().received == 1 }).await;
    assert!(pair.cut.node.tiers.peek(&session.token_hash, pair.clock.now()).is_none(), "no longer in memory");
    assert!(!pair.cut.node.answer(&session.token_hash).await.0);
    assert_eq!(pair.cut.node.tiers.stats().apply_lag.count, 1);
}

// spec: C4
#[tokio::test]
async fn a_change_of_blocks_is_told_to_the_other_node_and_not_to_oneself() {
    let pair = Pair::new().await;
    // Whoever connects may have missed something.
    pair.cut.bus.blocks_changed().await;
    pair.other.bus.blocks_changed().await;
    pair.other.bus.tell_blocks_changed().await;
    tokio::time::timeout(BOUND, pair.cut.bus.blocks_changed()).await.expect("it is told");
    pair.cut.bus.tell_blocks_changed().await;
    tokio::time::timeout(BOUND, pair.other.bus.blocks_changed()).await.expect("it is told");
    assert_eq!(pair.other.bus.stats().received, 1, "one's own message is none");
}

// spec: C4
#[tokio::test]
async fn a_node_cut_off_from_the_database_goes_on_through_another_and_obeys_revokes_whose_push_was_lost() {
    let pair = Pair::new().await;
    let user = add_user(&*pair.direct.store, "ada@example.com").await;
    let (one, two) = (sign_in(&*pair.direct.store, user).await, sign_in(&*pair.direct.store, user).await);
    for session in [&one, &two] {
        assert!(pair.cut.node.answer(&session.token_hash).await.0);
    }
    pair.cut_from_the_database();
    // Far longer than the bound: without the other node the lease would be over.
    for _ in 0..5 {
        pair.clock.pass(LIMITS.revocation_bound / 2);
        assert!(pair.cut.bus.renew_lease(PATIENCE).await);
        assert_eq!(pair.cut.node.answer(&one.token_hash).await, (true, Tier::L1));
    }
    pair.hub.lossy.store(true, Ordering::SeqCst);
    let scope = EndScope::One(user, one.session.id);
    let ended = pair.direct.store.end_sessions(scope, NOON).await.expect("answers").acknowledge();
    pair.other.node.tiers.invalidate(&ended.invalidations).await;
    wait::until(BOUND, "the push, which is lost", || async { pair.other.bus.stats().sent >= 1 }).await;
    assert!(!pair.cut.bus.renew_lease(Duration::from_millis(50)).await, "nothing arrives");
    pair.hub.lossy.store(false, Ordering::SeqCst);
    assert!(pair.cut.bus.renew_lease(PATIENCE).await);
    assert!(pair.cut.node.tiers.peek(&one.token_hash, pair.clock.now()).is_none(), "it was in the answer");
    assert_eq!(pair.cut.node.answer(&two.token_hash).await, (true, Tier::L1));
    let stats = (pair.cut.bus.stats(), pair.other.bus.stats());
    assert_eq!((stats.0.leases_through_others, stats.0.reads_for_others), (6, 0));
    assert!(stats.1.reads_for_others >= 6);
    assert_eq!(pair.cut.node.tiers.stats().served_in_grace, 0);
}

// spec: C4
#[tokio::test]
async fn an_answer_that_comes_late_renews_only_from_the_moment_of_the_question() {
    let pair = Pair::new().await;
    let user = add_user(&*pair.direct.store, "ada@example.com").await;
    let session = sign_in(&*pair.direct.store, user).await;
    assert!(pair.cut.node.answer(&session.token_hash).await.0);
    pair.cut_from_the_database();
    pair.hub.hold();
    let answer_late = async {
        wait::until(BOUND, "the question", || async { pair.hub.held() == 1 }).await;
        pair.clock.pass(LIMITS.revocation_bound);
        pair.hub.release();
    };
    let (answered, ()) = tokio::join!(pair.cut.bus.renew_lease(PATIENCE), answer_late);
    assert!(answered);
    let now = pair.clock.now();
    assert_eq!(pair.cut.node.tiers.stats().lease_remaining, Duration::ZERO, "but too late to help");
    // The grace would let it pass; without it nobody may.
    assert!(pair.cut.node.tiers.peek(&session.token_hash, now).is_some());
    assert_eq!(pair.cut.node.tiers.stats().served_in_grace, 1);
}

#[tokio::test]
async fn a_node_that_cannot_read_the_log_either_answers_nothing() {
    let pair = Pair::new().await;
    pair.cut_from_the_database();
    // Asked by the one that reaches the database: the one that is cut off stays silent.
    assert!(!pair.other.bus.renew_lease(Duration::from_millis(200)).await);
    assert_eq!(pair.cut.bus.stats().reads_for_others, 0);
}

#[tokio::test]
async fn messages_with_another_seal_are_counted_and_change_nothing() {
    let pair = Pair::new().await;
    let user = add_user(&*pair.direct.store, "ada@example.com").await;
    let session = sign_in(&*pair.direct.store, user).await;
    assert!(pair.cut.node.answer(&session.token_hash).await.0);
    let mut tasks = JoinSet::new();
    let stranger = Node::new(pair.direct.store.clone(), None, &pair.clock).await;
    let clock = Arc::clone(&stranger.clock) as Arc<dyn Clock>;
    let keys = KeyRing::derive(b"another secret");
    let bus = Bus::new(pair.hub.clone(), stranger.tiers.clone(), clock, keys, 3);
    tasks.spawn(async move { bus.run_pusher().await });
    let forged = phoenix_auth::ports::Invalidation {
        seq: phoenix_auth::model::Seq(1_000_000),
        stale: phoenix_auth::ports::Stale::User(user),
        at: NOON,
    };
    stranger.tiers.invalidate(&[forged]).await;
    pair.hub.send(b"garbage").await;
    wait::until(BOUND, "both", || async { pair.cut.bus.stats().refused == 2 }).await;
    assert_eq!(pair.cut.node.answer(&session.token_hash).await, (true, Tier::L1));
}

// spec: C4
#[tokio::test]
async fn notifications_of_the_database_carry_revokes_where_there_is_no_redis() {
    let url = Postgres::shared().create_database();
    let (one, other) =
        (Arc::new(pg_store(pg_config(url.clone())).await), Arc::new(pg_store(pg_config(url)).await));
    let (clock, mut tasks) = (Arc::<Hand>::default(), JoinSet::new());
    let wire = |store| Arc::new(PostgresWire::new(store)) as Arc<dyn Wire>;
    let node = Node::new(one.clone(), None, &clock).await;
    let first = Member::join(node, wire(Arc::clone(&one)), 1, &mut tasks);
    let node = Node::new(other.clone(), None, &clock).await;
    let second = Member::join(node, wire(other), 2, &mut tasks);
    first.connected().await;
    second.connected().await;
    let user = add_user(&*one, "ada@example.com").await;
    let session = sign_in(&*one, user).await;
    assert!(second.node.answer(&session.token_hash).await.0);
    let ended = one.end_sessions(EndScope::All(user), NOON).await.expect("answers").acknowledge();
    first.node.tiers.invalidate(&ended.invalidations).await;
    wait::until(BOUND, "the notification", || async {
        second.node.tiers.peek(&session.token_hash, clock.now()).is_none()
    })
    .await;
    assert_eq!(second.bus.stats().received, 1);
}
