//! What is in a token, and when one is used again.

use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::super::{AssertionError, AssertionMint, AssertionSubject, CACHE_BYTES};
use super::verifier::verified;
use super::{MINUTE, NOW, WEEK, ada, at, derived, mint, token};

#[test]
fn a_token_says_who_it_is_about_and_for_whom() {
    let mint = mint();
    let text = token(&mint, &ada(2), "app", NOW);
    let claims = verified(&mint.jwks(at(NOW)), &text).expect("a valid token");
    let expected = serde_json::json!({
        "iss": "https://app.example",
        "aud": "app",
        "sub": "00000000-0000-0000-0000-000000000001",
        "sid": "00000000-0000-0000-0000-000000000002",
        "email": "ada@example.com",
        "email_verified": true,
        "role": "user",
        "iat": NOW,
        "exp": NOW + 60,
    });
    assert_eq!(claims, expected);
    let assertion = mint.assertion(&ada(2), "app", at(NOW)).expect("an assertion");
    assert!(assertion.value.is_sensitive());
}

#[test]
fn a_token_is_used_again_until_half_its_life_is_over() {
    let mint = mint();
    let first = token(&mint, &ada(2), "app", NOW);
    let young = mint.assertion(&ada(2), "app", at(NOW)).expect("an assertion").stamp.reusable_for;
    assert!((15..=30).contains(&young), "{young}");
    assert_eq!(token(&mint, &ada(2), "app", NOW + young), first);
    assert_eq!(mint.signed(), 1);
    let second = token(&mint, &ada(2), "app", NOW + young + 1);
    assert_ne!(second, first);
    assert_eq!(token(&mint, &ada(2), "app", NOW + young + 2), second);
    // The clock was set back: what claims to be made later is of no use.
    assert_ne!(token(&mint, &ada(2), "app", NOW + young), second);
    assert_eq!(mint.signed(), 3);
}

#[test]
fn tokens_that_were_made_at_one_moment_are_not_all_made_anew_at_one() {
    let mint = mint();
    let mut renewals = [0; 31];
    for session in 0..1600 {
        let mut subject = ada(2);
        subject.session = Uuid::from_u128(session);
        let stamp = mint.assertion(&subject, "app", at(NOW)).expect("an assertion").stamp;
        renewals[usize::try_from(stamp.reusable_for).expect("at most half a minute")] += 1;
    }
    assert_eq!(renewals[..15].iter().sum::<i32>(), 0, "not before a quarter of their life");
    assert!(renewals[15..].iter().all(|count| *count == 100), "{renewals:?}");
}

#[test]
fn who_keeps_a_token_is_told_when_it_may_not_be_used_again() {
    let mint = mint();
    let stamp = mint.assertion(&ada(2), "app", at(NOW)).expect("an assertion").stamp;
    let young = stamp.reusable_for;
    for (second, serves) in [(0, true), (young, true), (young + 1, false)] {
        assert_eq!(mint.serves(stamp, at(NOW + second)), serves, "{second}");
    }
    assert!(!mint.serves(stamp, at(NOW - 1)), "the clock was set back");
    assert_eq!(mint.assertion(&ada(2), "app", at(NOW + 1)).expect("an assertion").stamp, stamp);
    // The same keys, read again, have another number: what was signed before is not handed out.
    mint.replace_keys(derived(WEEK), at(NOW)).expect("replaced");
    assert!(!mint.serves(stamp, at(NOW)));
    let next = mint.assertion(&ada(2), "app", at(NOW)).expect("an assertion").stamp;
    assert!(mint.serves(next, at(NOW)));
}

#[test]
fn a_token_is_never_used_for_another_session_audience_or_subject() {
    let mint = mint();
    let first = token(&mint, &ada(2), "app", NOW);
    let changes: [fn(&mut AssertionSubject<'_>); 5] = [
        |subject| subject.session = Uuid::from_u128(3),
        |subject| subject.user = Uuid::from_u128(3),
        |subject| subject.email = Some("ada@example.org"),
        |subject| subject.email_verified = false,
        |subject| subject.role = "admin",
    ];
    for (number, change) in changes.iter().enumerate() {
        // At hand again, so that it could be mistaken.
        assert_eq!(token(&mint, &ada(2), "app", NOW).matches('.').count(), 2);
        let mut subject = ada(2);
        change(&mut subject);
        let text = token(&mint, &subject, "app", NOW);
        let claims = verified(&mint.jwks(at(NOW)), &text).expect("a valid token");
        assert_eq!(claims["sub"], subject.user.to_string(), "{number}");
        assert_eq!(claims["sid"], subject.session.to_string(), "{number}");
        assert_eq!(claims["email"].as_str(), subject.email, "{number}");
        assert_eq!(claims["email_verified"], subject.email_verified, "{number}");
        assert_eq!(claims["role"], subject.role, "{number}");
    }
    let other = token(&mint, &ada(2), "other", NOW);
    assert_ne!(other, first);
    assert_eq!(verified(&mint.jwks(at(NOW)), &other).expect("valid")["aud"], "other");
}

#[test]
fn a_token_at_hand_takes_no_memory() {
    let mint = mint();
    let first = mint.assertion(&ada(2), "app", at(NOW));
    let mut again = None;
    let taken = allocation_counter::measure(|| again = mint.assertion(&ada(2), "app", at(NOW + 1)));
    assert_eq!(again, first);
    assert_eq!(taken.count_total, 0);
}

#[test]
fn memory_stays_within_its_bound() {
    let mint = mint();
    let email = "x".repeat(4000);
    let entries = u128::from(CACHE_BYTES / 5000);
    for session in 0..entries + 500 {
        let subject = AssertionSubject { email: Some(&email), ..ada(session) };
        assert!(mint.assertion(&subject, "app", at(NOW)).is_some());
    }
    assert!(mint.kept_bytes() <= CACHE_BYTES, "{}", mint.kept_bytes());
    assert!(mint.kept_bytes() > CACHE_BYTES / 2, "{}", mint.kept_bytes());
}

#[test]
fn lifetimes_without_use_are_refused() {
    for lifetime in [Duration::ZERO, Duration::from_millis(999), Duration::from_secs(3601)] {
        let refused = AssertionMint::new(derived(WEEK), "i", lifetime, at(NOW)).err();
        assert_eq!(refused, Some(AssertionError::Lifetime(lifetime)));
    }
    assert!(AssertionMint::new(derived(WEEK), "i", MINUTE, at(NOW)).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever stands in a name arrives as it was, and nothing of it becomes a claim of its own.
    #[test]
    fn any_subject_arrives_unchanged(
        email in any::<String>(),
        role in any::<String>(),
        audience in any::<String>(),
        user in any::<u128>(),
        session in any::<u128>(),
        email_verified in any::<bool>(),
        now in 0_u64..40_000_000_000,
    ) {
        let mint = mint();
        let subject = AssertionSubject {
            user: Uuid::from_u128(user),
            session: Uuid::from_u128(session),
            email: Some(&email),
            email_verified,
            role: &role,
        };
        let text = token(&mint, &subject, &audience, now);
        let claims = verified(&mint.jwks(at(now)), &text).expect("a valid token");
        prop_assert_eq!(&claims["email"], &email);
        prop_assert_eq!(&claims["role"], &role);
        prop_assert_eq!(&claims["aud"], &audience);
        prop_assert_eq!(&claims["sub"], &subject.user.to_string());
        prop_assert_eq!(&claims["sid"], &subject.session.to_string());
        prop_assert_eq!(&claims["email_verified"], &email_verified);
        prop_assert_eq!(claims.as_object().map(serde_json::Map::len), Some(9));
    }
}
