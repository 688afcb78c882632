//! When the issuer is asked for its keys, and when not.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;
use tokio::task::JoinSet;

use super::provider::{NOW, Provider, STACK_KEYS, Signer, normal, seconds, stack_config};
use crate::{Identity, IdentityConfig, IdentityLimits, KeySetStats, Refusal};

async fn verify(identity: &Identity, token: &str, mono: u64) -> Option<Refusal> {
    identity.verify(token, NOW, seconds(mono)).await.err()
}

fn stats(identity: &Identity, mono: u64) -> KeySetStats {
    let [stats] = identity.stats(seconds(mono)).try_into().expect("one provider");
    stats
}

#[tokio::test]
async fn ten_thousand_who_wait_share_one_fetch() {
    let signer = Signer::es256();
    let provider = Provider::stack(&[signer.jwk("k")]);
    let identity = provider.with_stack(stack_config());
    let token: Arc<str> = signer.token("k", &normal()).into();
    provider.hold(true);
    let mut waiting = JoinSet::new();
    for _ in 0..10_000 {
        let (identity, token) = (identity.clone(), Arc::clone(&token));
        waiting.spawn(async move { identity.verify(&token, NOW, seconds(1)).await.is_ok() });
    }
    // On this single-threaded runtime all of them have run up to the fetch when this goes on.
    tokio::task::yield_now().await;
    assert_eq!(provider.fetches(), 1);
    provider.hold(false);
    assert!(waiting.join_all().await.into_iter().all(|good| good));
    assert_eq!((provider.fetches(), stats(&identity, 1).fetches), (1, 1));
}

#[tokio::test]
async fn an_unknown_key_causes_one_fetch_in_each_pause() {
    let signer = Signer::es256();
    let provider = Provider::stack(&[signer.jwk("k")]);
    let identity = provider.with_stack(stack_config());
    let unknown = signer.token("unknown", &normal());
    for (mono, fetches) in [(100, 1), (100, 1), (129, 1), (130, 2), (131, 2), (159, 2), (160, 3)] {
        assert_eq!(verify(&identity, &unknown, mono).await, Some(Refusal::UnknownKey));
        assert_eq!(provider.fetches(), fetches, "at {mono}");
    }
    assert_eq!(verify(&identity, &signer.token("k", &normal()), 161).await, None);
    assert_eq!(stats(&identity, 161).unknown_keys, 7);
}

#[tokio::test]
async fn the_pause_also_holds_when_there_are_no_keys_or_no_answer() {
    let signer = Signer::es256();
    let token = signer.token("k", &normal());
    let empty = Provider::stack(&[]);
    let away = Provider::new();
    let garbage = Provider::new();
    garbage.answer(STACK_KEYS, 200, &[], "<html>");
    let large = Provider::new();
    large.answer(STACK_KEYS, 200, &[], "x".repeat(256 * 1024 + 1));
    let failing = Provider::new();
    failing.answer(STACK_KEYS, 503, &[], "");
    let gone = Provider::new();
    gone.answer(STACK_KEYS, 404, &[], "Project not found");
    let moved = Provider::new();
    moved.answer(STACK_KEYS, 302, &[("location", "https://other.example/keys")], "");
    let masked = Provider::stack(&[signer.jwk("k")]);
    let body = json!({"keys": [signer.jwk("k")]}).to_string();
    masked.answer(STACK_KEYS, 200, &[("x-stack-actual-status", "500")], body);
    for provider in [empty, away, garbage, large, failing, gone, moved, masked] {
        let identity = provider.with_stack(stack_config());
        for (mono, fetches) in [(100, 1), (101, 1), (129, 1), (130, 2), (131, 2)] {
            assert_eq!(verify(&identity, &token, mono).await, Some(Refusal::KeysUnavailable));
            assert_eq!(provider.fetches(), fetches, "at {mono}");
        }
        let KeySetStats { fetches, failures, keys, age, .. } = stats(&identity, 131);
        assert_eq!((fetches, failures, keys, age), (2, 2, 0, None));
        provider.publish(STACK_KEYS, &[signer.jwk("k")]);
        assert_eq!(verify(&identity, &token, 160).await, None);
    }
}

#[tokio::test]
async fn a_rotation_is_seen_with_the_first_new_token() {
    let (old, new) = (Signer::es256(), Signer::es256());
    let provider = Provider::stack(&[old.jwk("old")]);
    let identity = provider.with_stack(stack_config());
    assert_eq!(verify(&identity, &old.token("old", &normal()), 1).await, None);
    provider.publish(STACK_KEYS, &[new.jwk("new")]);
    assert_eq!(verify(&identity, &new.token("new", &normal()), 40).await, None);
    assert_eq!(verify(&identity, &old.token("old", &normal()), 41).await, Some(Refusal::UnknownKey));
    assert_eq!(provider.fetches(), 2);
}

#[tokio::test]
async fn nobody_waits_for_a_refresh_and_it_comes_ahead_of_expiry() {
    let signer = Signer::es256();
    let provider = Provider::stack(&[signer.jwk("k")]);
    let identity = provider.with_stack(stack_config());
    let token = signer.token("k", &normal());
    assert_eq!(identity.refresh_keys(Duration::ZERO).await, due(&identity).await);
    let due = identity.refresh_keys(seconds(1)).await;
    // An hour, as the provider says: refreshed at 70 to 80 percent.
    assert!((2520..2880).contains(&due.as_secs()), "{due:?}");
    assert_eq!(provider.fetches(), 1);
    identity.refresh_keys(due.saturating_sub(Duration::from_nanos(1))).await;
    assert_eq!(provider.fetches(), 1);
    provider.hold(true);
    let mut refresh = Box::pin(identity.refresh_keys(due));
    assert!(futures_util::poll!(refresh.as_mut()).is_pending());
    assert_eq!(identity.verify(&token, NOW, due).await.err(), None);
    provider.hold(false);
    assert!(refresh.await > due + seconds(2500));
    assert_eq!(provider.fetches(), 2);
}

/// Asks when the next refresh is due, without one being due.
async fn due(identity: &Identity) -> Duration {
    identity.refresh_keys(seconds(1)).await
}

#[tokio::test]
async fn the_life_of_keys_is_what_the_issuer_says_within_bounds() {
    let signer = Signer::es256();
    for (cache_control, shortest, longest) in [
        ("max-age=0", 42, 48),
        ("max-age=1", 42, 48),
        ("no-store", 42, 48),
        ("max-age=600", 420, 480),
        ("max-age=99999999999", 2520, 2880),
        ("public", 630, 720),
    ] {
        let provider = Provider::new();
        let body = json!({"keys": [signer.jwk("k")]}).to_string();
        provider.answer(STACK_KEYS, 200, &[("cache-control", cache_control)], body);
        let due = provider.with_stack(stack_config()).refresh_keys(Duration::ZERO).await.as_secs();
        assert!((shortest..longest).contains(&due), "{cache_control}: {due}");
    }
}

#[tokio::test]
async fn nodes_refresh_at_different_moments() {
    let provider = Provider::stack(&[Signer::es256().jwk("k")]);
    let mut moments = std::collections::BTreeSet::new();
    for jitter_seed in 0..20 {
        let limits = IdentityLimits { jitter_seed, ..IdentityLimits::default() };
        let config = IdentityConfig { stack: Some(stack_config()), limits, ..IdentityConfig::default() };
        moments.insert(provider.identity(&config).refresh_keys(Duration::ZERO).await);
    }
    assert!(moments.len() > 10, "{moments:?}");
}

#[tokio::test]
async fn the_last_good_keys_are_used_for_a_day_while_the_provider_is_away() {
    let signer = Signer::es256();
    let provider = Provider::stack(&[signer.jwk("k")]);
    let identity = provider.with_stack(stack_config());
    let token = signer.token("k", &normal());
    let mut due = identity.refresh_keys(Duration::ZERO).await;
    provider.goes_away();
    let day = Duration::from_hours(24);
    while due < day {
        assert_eq!(identity.verify(&token, NOW, due).await.err(), None);
        due = identity.refresh_keys(due).await;
    }
    assert_eq!(identity.verify(&token, NOW, day.saturating_sub(Duration::from_nanos(1))).await.err(), None);
    assert_eq!(identity.verify(&token, NOW, day).await.err(), Some(Refusal::KeysUnavailable));
    provider.publish(STACK_KEYS, &[signer.jwk("k")]);
    // The fetch that the token caused failed, too.
    let due = identity.refresh_keys(due).await;
    identity.refresh_keys(due).await;
    assert_eq!(identity.verify(&token, NOW, due).await.err(), None);
}

#[tokio::test]
async fn an_empty_set_does_not_replace_a_good_one() {
    let signer = Signer::es256();
    let provider = Provider::stack(&[signer.jwk("k")]);
    let identity = provider.with_stack(stack_config());
    let due = identity.refresh_keys(Duration::ZERO).await;
    provider.publish(STACK_KEYS, &[]);
    identity.refresh_keys(due).await;
    assert_eq!(identity.verify(&signer.token("k", &normal()), NOW, due).await.err(), None);
    // Whether the key of this one exists, nobody knows now.
    let unknown = identity.verify(&signer.token("unknown", &normal()), NOW, due).await.err();
    assert_eq!(unknown, Some(Refusal::KeysUnavailable));
}

#[tokio::test]
async fn refreshes_that_fail_become_rarer_up_to_half_a_minute() {
    let provider = Provider::new();
    let identity = provider.with_stack(stack_config());
    let (mut now, mut pauses) = (Duration::ZERO, Vec::new());
    for _ in 0..8 {
        let next = identity.refresh_keys(now).await;
        pauses.push(next.saturating_sub(now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    provider.publish(STACK_KEYS, &[Signer::es256().jwk("k")]);
    assert!(identity.refresh_keys(now).await > now + seconds(2500));
    assert_eq!(stats(&identity, 0).failures, 8);
}

#[tokio::test]
async fn whoever_leaves_takes_the_fetch_from_nobody() {
    let signer = Signer::es256();
    let provider = Provider::stack(&[signer.jwk("k")]);
    let identity = provider.with_stack(stack_config());
    let token = signer.token("k", &normal());
    provider.hold(true);
    let mut first = Box::pin(verify(&identity, &token, 1));
    let mut second = Box::pin(verify(&identity, &token, 1));
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    drop(first);
    provider.hold(false);
    assert_eq!(second.await, None);
    assert_eq!(provider.fetches(), 1);
}

#[tokio::test]
async fn a_fetch_that_everybody_left_is_driven_on_by_the_next_and_does_not_spend_the_pause() {
    let signer = Signer::es256();
    for by_refresh in [false, true] {
        let provider = Provider::stack(&[signer.jwk("k")]);
        let identity = provider.with_stack(stack_config());
        let token = signer.token("k", &normal());
        provider.hold(true);
        let mut left = Box::pin(verify(&identity, &token, 1));
        assert!(futures_util::poll!(left.as_mut()).is_pending());
        drop(left);
        provider.hold(false);
        if by_refresh {
            identity.refresh_keys(seconds(2)).await;
        }
        assert_eq!(verify(&identity, &token, 2).await, None);
        assert_eq!(provider.fetches(), 1);
    }
}

#[tokio::test]
async fn the_refresh_drives_on_what_was_left_even_if_nothing_is_due() {
    let (old, new) = (Signer::es256(), Signer::es256());
    let provider = Provider::stack(&[old.jwk("old")]);
    let identity = provider.with_stack(stack_config());
    identity.refresh_keys(seconds(1)).await;
    provider.publish(STACK_KEYS, &[new.jwk("new")]);
    let token = new.token("new", &normal());
    provider.hold(true);
    let mut left = Box::pin(verify(&identity, &token, 2));
    assert!(futures_util::poll!(left.as_mut()).is_pending());
    drop(left);
    provider.hold(false);
    identity.refresh_keys(seconds(3)).await;
    // Nothing to wait for: the key is at hand.
    let at_hand = identity.verify(&token, NOW, seconds(3)).now_or_never();
    assert!(at_hand.is_some_and(|verified| verified.is_ok()));
    assert_eq!(provider.fetches(), 2);
}

#[tokio::test]
async fn without_providers_nothing_is_due() {
    let provider = Provider::new();
    let identity = provider.identity(&IdentityConfig::default());
    assert_eq!(identity.refresh_keys(seconds(1)).await, Duration::MAX);
    assert!(identity.stats(seconds(1)).is_empty());
    assert!(identity.stack().is_none());
}
