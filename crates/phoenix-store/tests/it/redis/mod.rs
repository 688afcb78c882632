//! Redis killed, stopped, slow, wiped, cut off, demoted, failed over: what callers pay, and that it ends by itself.

mod channel;
mod commands;
mod lanes;
mod outages;
mod tls;
mod topologies;

use std::sync::Arc;
use std::time::{Duration, Instant};

use phoenix_auth::model::{ActiveSession, Email, KeyRing, Moment, Profile, Role, TokenHash, User};
use phoenix_auth::ports::Clock;
use phoenix_cache::Seq;
use phoenix_store::redis::{RedisConfig, RedisSessions};
use phoenix_store::tls::Authorities;
use phoenix_testkit::wait;

use crate::fixtures::{NOON, new_session, new_user, next_hash};
use crate::harness::BOUND;

/// A command is given up after this.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(250);
/// More than a command that is not sent can take, and less than one that times out.
const AT_ONCE: Duration = Duration::from_millis(100);

/// The system's monotonic clock.
struct Running(Instant);

impl Clock for Running {
    fn now(&self) -> Moment {
        Moment { wall: NOON.plus(self.mono()), mono: self.mono() }
    }

    fn mono(&self) -> Duration {
        self.0.elapsed()
    }
}

#[expect(clippy::disallowed_methods, reason = "these tests measure what a caller really waits")]
fn now() -> Instant {
    Instant::now()
}

fn config(url: String) -> RedisConfig {
    RedisConfig {
        url,
        trusted: Authorities::none(),
        command_timeout: COMMAND_TIMEOUT,
        connect_timeout: Duration::from_secs(1),
        lifetime: Duration::from_mins(10),
    }
}

fn sessions(url: String) -> RedisSessions {
    sessions_with(&config(url))
}

fn sessions_with(config: &RedisConfig) -> RedisSessions {
    let keys = KeyRing::derive(b"a secret for tests");
    RedisSessions::new(config, keys, Arc::new(Running(now()))).expect("an address")
}

/// An entry that no other call returns.
fn entry() -> (TokenHash, Arc<ActiveSession>, Seq) {
    let user = new_user("ada@example.com");
    let session = new_session(user.id).session;
    let user = User {
        id: user.id,
        email: Some(Email::parse("ada@example.com").expect("an address")),
        email_verified: false,
        role: Role::user(),
        disabled: false,
        profile: Profile::default(),
        settings: "{}".to_owned(),
        created_at: NOON,
        last_active_at: None,
    };
    (next_hash(), Arc::new(ActiveSession::new(session, user)), Seq(7))
}

/// Whether what is put is found.
async fn works(redis: &RedisSessions) -> bool {
    let entry = entry();
    redis.put(std::slice::from_ref(&entry)).await;
    redis
        .get(&entry.0)
        .await
        .is_some_and(|(found, stamp)| stamp == entry.2 && found.session == entry.1.session)
}

/// Asks as the background task does, until what is put is found again.
async fn works_again(redis: &RedisSessions) {
    wait::until(BOUND, "Redis to be used again", || async {
        redis.ping().await;
        redis.stats().available && works(redis).await
    })
    .await;
}

/// Many commands without an answer; returns what the slowest of them took.
async fn slowest_of_many_misses(redis: &RedisSessions) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        let started = now();
        assert!(redis.get(&next_hash()).await.is_none());
        slowest = slowest.max(started.elapsed());
    }
    slowest
}
