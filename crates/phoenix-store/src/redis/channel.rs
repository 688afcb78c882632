//! Messages from one node to all others (Redis Pub/Sub). Delivery is at most once: whoever receives must also have a
//! way to find out what it missed. [`Delivered`] tells of losses on the way to the subscriber, not of those inside
//! Redis: a cluster that fails over, or whose nodes lose sight of each other, drops messages without a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::connect::Target;
use super::failure::{Failure, is_outage};
use super::link::Link;
use super::subscription::Subscription;
use super::tls::Explained;

/// Longest payload. Longer ones are neither published nor delivered.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// Upper bound of the first pause between two attempts to subscribe.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// Upper bound of all pauses.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// What a subscriber is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivered {
    /// From now on messages arrive. Everything published before may have been lost.
    Connected,
    /// A message.
    Message {
        /// Position of its channel among those subscribed to.
        channel: usize,
        /// What was published, at most [`MAX_PAYLOAD_BYTES`].
        payload: Vec<u8>,
    },
    /// From now on, and perhaps since about one second, messages are lost.
    Lost,
}

/// Publishes and receives.
pub struct RedisChannel {
    link: Arc<Link>,
    receiver: RedisReceiver,
}

/// Receives.
pub struct RedisReceiver {
    target: Arc<Target>,
    random: AtomicU64,
}

impl RedisChannel {
    pub(super) fn new(link: Arc<Link>, seed: u64) -> Self {
        let receiver = RedisReceiver::new(Arc::clone(link.target()), seed);
        Self { link, receiver }
    }

    /// Publishes to whoever is subscribed now. False when Redis is being spared, did not take it within the command
    /// time-out, or the payload is too long. True does not say that anybody received it.
    pub async fn publish(&self, channel: &str, payload: &[u8]) -> bool {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return false;
        }
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(payload);
        let taken: Option<()> =
            self.link.run(|mut connection| async move { command.query_async(&mut connection).await }).await;
        taken.is_some()
    }

    /// See [`RedisReceiver::run`].
    pub async fn run(&self, channels: &[String], deliver: impl FnMut(Delivered)) {
        self.receiver.run(channels, deliver).await;
    }
}

impl RedisReceiver {
    pub(super) fn new(target: Arc<Target>, seed: u64) -> Self {
        Self { target, random: AtomicU64::new(seed) }
    }

    /// Receives from these channels until it is dropped: subscribes, and again whenever the connection ends or does
    /// not answer for a second. `deliver` must not block. Needs Redis 6 or later (RESP3).
    ///
    /// [`Delivered::Connected`] and [`Delivered::Lost`] alternate, beginning with the former.
    pub async fn run(&self, channels: &[String], mut deliver: impl FnMut(Delivered)) {
        let mut failures = 0;
        let mut turn = usize::try_from(self.random() % 1024).unwrap_or_default();
        loop {
            match Subscription::open(&self.target, channels, turn).await {
                Ok(subscription) => {
                    tracing::info!(?channels, "receiving messages from other nodes through Redis");
                    deliver(Delivered::Connected);
                    if subscription.follow(&mut deliver).await.was_confirmed {
                        failures = 0;
                    }
                    deliver(Delivered::Lost);
                    tracing::warn!(?channels, "messages from other nodes are lost until Redis answers again");
                }
                Err(failure) => log(&failure, failures),
            }
            self.pause(failures).await;
            failures = failures.saturating_add(1);
            turn = turn.wrapping_add(1);
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the pause between two attempts; the caller ends it by dropping the future"
    )]
    async fn pause(&self, failures: u32) {
        tokio::time::sleep(pause(failures, self.random())).await;
    }

    /// `SplitMix64` (Steele, Lea, Flood 2014).
    fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The second half of a bound that doubles up to [`MAX_PAUSE`]; where in it, `random` says.
fn pause(failures: u32, random: u64) -> Duration {
    let bound = MIN_PAUSE.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(MAX_PAUSE);
    let half = bound / 2;
    half + half * u32::try_from(random % 1000).unwrap_or_default() / 1000
}

fn log(failure: &Failure, failures: u32) {
    match failure {
        Failure::Silent => tracing::debug!("no answer in time to the subscription"),
        Failure::Broken(error) | Failure::Refused(error) if failures == 0 || !is_outage(error) => {
            let error = Explained(error);
            tracing::warn!(%error, "the subscription failed; it is tried again");
        }
        Failure::Broken(error) | Failure::Refused(error) => {
            tracing::debug!(%error, "the subscription failed; it is tried again");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pauses_are_bounded_and_grow(failures in any::<u32>(), random in any::<u64>()) {
            let one = pause(failures, random);
            prop_assert!(one >= MIN_PAUSE / 2 && one <= MAX_PAUSE, "{one:?}");
            prop_assert!(pause(failures.saturating_add(1), random) >= one);
        }
    }

    #[test]
    fn pauses_differ() {
        let all: std::collections::HashSet<_> = (0..100).map(|random| pause(5, random * 7)).collect();
        assert!(all.len() > 50);
        assert_eq!(pause(0, 0), MIN_PAUSE / 2);
        assert_eq!(pause(60, 0), MAX_PAUSE / 2);
    }
}
