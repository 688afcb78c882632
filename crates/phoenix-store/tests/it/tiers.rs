//! The tiers on real databases and a real Redis: who answers, who is asked, and that nothing revoked comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use phoenix_auth::model::{KeyRing, Moment, Timestamp, TokenHash};
use phoenix_auth::ports::{Clock, EndScope, Lookup, SessionCache, Store, Tier};
use phoenix_store::redis::{RedisConfig, RedisSessions};
use phoenix_store::tiers::{TierLimits, TierParts, TieredSessions};
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::proxy::{FaultProxy, Mode};
use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;

use crate::fixtures::{NOON, add_user, next_hash, sign_in};
use crate::harness::{BOUND, on_each_backend, pg_config, pg_store, postgres_db};

pub(crate) const LIMITS: TierLimits = TierLimits {
    l1_max_bytes: 1 << 20,
    l1_min_ttl: Duration::from_secs(30),
    outage_grace: Duration::from_mins(5),
    token_pool_entries: 100,
    l1_ttl: Duration::from_mins(5),
    negative_entries: 100,
    negative_ttl: Duration::from_secs(5),
    revocation_bound: Duration::from_secs(2),
    refresh_grace: Duration::from_secs(30),
    activity_entries: 100,
};

/// A clock that stands still until it is told to go on.
#[derive(Default)]
pub(crate) struct Hand(AtomicU64);

impl Hand {
    pub(crate) fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).expect("a short time"), Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Moment {
        Moment { wall: NOON.plus(self.mono()), mono: self.mono() }
    }

    fn mono(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct Node {
    pub(crate) tiers: TieredSessions,
    pub(crate) clock: Arc<Hand>,
}

impl Node {
    pub(crate) async fn new(store: Arc<dyn Store>, redis: Option<&RedisConfig>, clock: &Arc<Hand>) -> Self {
        let keys = KeyRing::derive(b"a secret for tests");
        let clock = Arc::clone(clock);
        let redis = redis.map(|config| {
            Arc::new(
                RedisSessions::new(config, keys, Arc::clone(&clock) as Arc<dyn Clock>).expect("an address"),
            )
        });
        let parts = TierParts { store, redis, clock: Arc::clone(&clock) as Arc<dyn Clock>, limits: LIMITS };
        let tiers = TieredSessions::new(parts);
        tiers.renew_lease().await.expect("the database answers");
        Self { tiers, clock }
    }

    /// As a request would: memory first.
    async fn ask(&self, hash: &TokenHash) -> Lookup {
        let now = self.clock.now();
        match self.tiers.peek(hash, now) {
            Some(lookup) => {
                self.tiers.used(lookup.tier, lookup.found.is_some());
                lookup
            }
            None => self.tiers.look_up(hash, now).await.expect("the database answers"),
        }
    }

    pub(crate) async fn answer(&self, hash: &TokenHash) -> (bool, Tier) {
        let lookup = self.ask(hash).await;
        (lookup.found.is_some(), lookup.tier)
    }
}

fn redis_config(url: String) -> RedisConfig {
    RedisConfig {
        url,
        trusted: phoenix_store::tls::Authorities::none(),
        command_timeout: Duration::from_secs(2),
        connect_timeout: Duration::from_secs(2),
        lifetime: Duration::from_mins(10),
    }
}

// spec: A1 A3
#[tokio::test]
async fn the_database_is_asked_once_and_memory_afterwards() {
    on_each_backend(async |db| {
        let user = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, user).await;
        let node = Node::new(db.store.clone(), None, &Arc::default()).await;
        assert_eq!(node.answer(&session.token_hash).await, (true, Tier::L3));
        for _ in 0..10 {
            assert_eq!(node.answer(&session.token_hash).await, (true, Tier::L1));
        }
        let unknown = next_hash();
        assert_eq!(node.answer(&unknown).await, (false, Tier::L3));
        assert_eq!(node.answer(&unknown).await, (false, Tier::L1));
        let stats = node.tiers.stats();
        assert_eq!((stats.l1_hits, stats.l3_hits, stats.database_reads), (10, 1, 2));
        assert_eq!((stats.l1_absent, stats.l3_absent), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_unknown_tokens_evicts_no_session() {
    on_each_backend(async |db| {
        let user = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, user).await;
        let node = Node::new(db.store.clone(), None, &Arc::default()).await;
        node.ask(&session.token_hash).await;
        for _ in 0..5 * LIMITS.negative_entries {
            assert_eq!(node.answer(&next_hash()).await, (false, Tier::L3));
        }
        assert_eq!(node.answer(&session.token_hash).await, (true, Tier::L1));
        assert!(node.tiers.stats().negatives <= LIMITS.negative_entries);
    })
    .await;
}

/// Invariant 3: without news from the database, memory counts no longer than the bound.
#[tokio::test]
async fn a_revocation_elsewhere_is_obeyed_at_the_next_renewal_and_never_later_than_the_bound() {
    on_each_backend(async |db| {
        let user = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, user).await;
        let node = Node::new(db.store.clone(), None, &Arc::default()).await;
        node.ask(&session.token_hash).await;
        let ended = db.store.end_sessions(EndScope::All(user), NOON).await.expect("answers").acknowledge();
        assert_eq!(ended.count, 1);
        node.clock.pass(LIMITS.revocation_bound.saturating_sub(Duration::from_millis(1)));
        assert_eq!(
            node.answer(&session.token_hash).await,
            (true, Tier::L1),
            "within the bound, not told yet"
        );
        node.clock.pass(Duration::from_millis(1));
        assert_eq!(node.answer(&session.token_hash).await, (false, Tier::L3), "the lease has run out");
    })
    .await;
    on_each_backend(async |db| {
        let user = add_user(&*db.store, "ada@example.com").await;
        let (one, other) = (sign_in(&*db.store, user).await, sign_in(&*db.store, user).await);
        let node = Node::new(db.store.clone(), None, &Arc::default()).await;
        node.ask(&one.token_hash).await;
        node.ask(&other.token_hash).await;
        db.store
            .end_sessions(EndScope::One(user, one.session.id), NOON)
            .await
            .expect("answers")
            .acknowledge();
        node.tiers.renew_lease().await.expect("answers");
        assert!(!node.answer(&one.token_hash).await.0);
        assert_eq!(node.answer(&other.token_hash).await, (true, Tier::L1), "the other session goes on");
    })
    .await;
}

/// Entries that are missing in the middle were trimmed: who does not know them cannot judge older copies.
#[tokio::test]
async fn a_hole_in_the_log_takes_older_copies_with_it() {
    let db = postgres_db().await;
    let user = add_user(&*db.store, "ada@example.com").await;
    let (kept, ended) = (sign_in(&*db.store, user).await, sign_in(&*db.store, user).await);
    let node = Node::new(db.store.clone(), None, &Arc::default()).await;
    assert!(node.answer(&ended.token_hash).await.0 && node.answer(&kept.token_hash).await.0);
    let others: Vec<_> = [sign_in(&*db.store, user).await, sign_in(&*db.store, user).await].into();
    for id in [others[0].session.id, ended.session.id, others[1].session.id] {
        db.store.end_sessions(EndScope::One(user, id), NOON).await.expect("answers").acknowledge();
    }
    let name = database_name(db.url.as_deref().expect("PostgreSQL has an address")).to_owned();
    Postgres::shared().execute(&name, "DELETE FROM phoenix.invalidations WHERE seq = 2").expect("a hole");
    node.tiers.renew_lease().await.expect("answers");
    assert_eq!(node.answer(&ended.token_hash).await, (false, Tier::L3));
    assert_eq!(node.answer(&kept.token_hash).await, (true, Tier::L3), "read again, to be sure");
}

/// Invariant 4: a reader loads the row, the revoke commits, the reader fills the cache.
#[tokio::test]
async fn a_fill_that_raced_with_a_revoke_brings_nothing_back() {
    let server = Postgres::shared();
    let direct = postgres_db().await;
    let user = add_user(&*direct.store, "ada@example.com").await;
    let session = sign_in(&*direct.store, user).await;
    let url = direct.url.clone().expect("PostgreSQL has an address");
    let proxy = FaultProxy::start(server.address()).expect("a proxy");
    let slow = pg_store(pg_config(server.url_via(proxy.addr(), database_name(&url)))).await;
    let node = Arc::new(Node::new(Arc::new(slow), None, &Arc::default()).await);
    // The answer comes a byte at a time: when its first byte is here, the server has read the row.
    let before = proxy.counts().to_client_bytes;
    proxy.set(Mode::Drip { bytes: 1, every: Duration::from_millis(2) });
    let reader = {
        let (node, hash) = (Arc::clone(&node), session.token_hash);
        async move { node.answer(&hash).await.0 }
    };
    let revoke = async {
        wait::until(BOUND, "the first byte of the answer", || async {
            proxy.counts().to_client_bytes > before
        })
        .await;
        let ended =
            direct.store.end_sessions(EndScope::All(user), NOON).await.expect("answers").acknowledge();
        node.tiers.invalidate(&ended.invalidations).await;
        proxy.set(Mode::Pass);
    };
    let (accepted, ()) = tokio::join!(reader, revoke);
    assert!(!accepted, "the load that began before the revoke was repeated");
    assert!(!node.answer(&session.token_hash).await.0, "and left nothing in memory");
    assert_eq!(node.tiers.stats().l1_hits, 0);
}

// spec: A2 G3
#[tokio::test]
async fn a_session_loaded_at_one_node_is_found_in_redis_by_the_next() {
    let db = postgres_db().await;
    let user = add_user(&*db.store, "ada@example.com").await;
    let session = sign_in(&*db.store, user).await;
    let redis = redis_config(Redis::shared().isolated().url);
    let clock = Arc::default();
    let first = Node::new(db.store.clone(), Some(&redis), &clock).await;
    assert_eq!(first.answer(&session.token_hash).await, (true, Tier::L3));
    written(&first).await;
    let second = Node::new(db.store.clone(), Some(&redis), &clock).await;
    assert_eq!(second.answer(&session.token_hash).await, (true, Tier::L2));
    assert_eq!(second.answer(&session.token_hash).await, (true, Tier::L1));
    // The entry stays in Redis, but a node that knows of the revoke does not believe it.
    let ended = db.store.end_sessions(EndScope::All(user), NOON).await.expect("answers").acknowledge();
    second.tiers.invalidate(&ended.invalidations).await;
    assert_eq!(second.answer(&session.token_hash).await, (false, Tier::L3));
    let third = Node::new(db.store.clone(), Some(&redis), &clock).await;
    assert_eq!(
        third.answer(&session.token_hash).await,
        (false, Tier::L3),
        "nor does a node that starts later"
    );
}

/// Lets the node write to Redis what waits.
async fn written(node: &Node) {
    let writer = node.tiers.run_l2_writer();
    assert!(
        tokio::time::timeout(Duration::from_millis(300), writer).await.is_err(),
        "it writes until it is stopped"
    );
}

#[tokio::test]
async fn last_seens_are_written_in_batches_and_never_backwards() {
    on_each_backend(async |db| {
        let user = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, user).await;
        let node = Node::new(db.store.clone(), None, &Arc::default()).await;
        let mut active = node.ask(&session.token_hash).await.found.expect("it is open");
        for _ in 0..100 {
            node.clock.pass(Duration::from_millis(10));
            active = node.tiers.seen(&session.token_hash, &active, node.clock.now(), None);
        }
        assert_eq!(node.tiers.stats().activity_waiting, 1, "one session, one line");
        assert_eq!(node.tiers.flush_activity(10).await.expect("answers"), 1);
        let found = db.store.find_session(&session.token_hash, Timestamp::default()).await.expect("answers");
        let written = found.expect("it is open").active.session.last_seen_at;
        assert_eq!(written, NOON.plus(Duration::from_secs(1)));
        assert_eq!(node.answer(&session.token_hash).await, (true, Tier::L1));
        let cached = node.ask(&session.token_hash).await.found.expect("it is open");
        assert_eq!(cached.session.last_seen_at, written, "memory shows what was written");
    })
    .await;
}
