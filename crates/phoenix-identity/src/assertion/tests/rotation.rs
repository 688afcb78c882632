//! Keys that follow from the time.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{AssertionError, AssertionKeys, AssertionMint, ROTATIONS};
use super::verifier::{ids, verified};
use super::{MINUTE, NOW, WEEK, ada, at, derived, mint, token};

/// Nodes of other versions make the same keys: a change of these is a change of every key in use.
#[test]
fn derived_keys_are_what_they_always_were() {
    let jwks = mint().jwks(at(NOW));
    let names = ids(&jwks);
    // Calculated apart, in a few lines of Python, from the words of derived.rs.
    let expected = [
        "yBWUN60fyk6mf72OdN17SWsBFhzVhvA11JtWcuH2N_c",
        "RptLGkYpW67RCWHjnZHU4WZsMLxKJ1lnXQINttGWV9U",
        "ALQffBRYMj-Ujdo9DrB7Wvlq240ssrFQtFtGytZo-Vo",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_key_before_the_present_and_the_next_are_published() {
    let mint = mint();
    let epoch = NOW / WEEK.as_secs() * WEEK.as_secs();
    let names = |now| ids(&mint.jwks(at(now)));
    let (before, present, next) = (names(epoch - 1), names(epoch), names(epoch + WEEK.as_secs()));
    assert_eq!(present.len(), 3);
    assert_eq!([&present[0], &present[1]], [&before[2], &before[0]]);
    assert_eq!([&present[2], &present[0]], [&next[0], &next[1]]);
    assert_eq!(names(epoch + WEEK.as_secs() - 1), present);
}

#[test]
fn nodes_with_one_secret_agree_and_others_do_not() {
    let text = token(&mint(), &ada(2), "app", NOW);
    assert!(verified(&mint().jwks(at(NOW)), &text).is_some());
    let keys = AssertionKeys::derived([8; 32], WEEK).expect("keys");
    let other = AssertionMint::new(keys, "https://app.example", MINUTE, at(NOW)).expect("a mint");
    assert!(verified(&other.jwks(at(NOW)), &text).is_none());
}

#[test]
fn a_token_of_the_key_before_is_not_handed_out_again() {
    let mint = mint();
    let next = (NOW / WEEK.as_secs() + 1) * WEEK.as_secs();
    let last = token(&mint, &ada(2), "app", next - 1);
    let first = token(&mint, &ada(2), "app", next);
    assert_ne!(last, first);
    let jwks = mint.jwks(at(next));
    assert!(verified(&jwks, &last).is_some());
    assert!(verified(&jwks, &first).is_some());
}

#[test]
fn other_keys_replace_those_in_force_at_once() {
    let mint = mint();
    let old = token(&mint, &ada(2), "app", NOW);
    let keys = AssertionKeys::derived([8; 32], WEEK).expect("keys");
    mint.replace_keys(keys, at(NOW)).expect("replaced");
    let new = token(&mint, &ada(2), "app", NOW);
    let jwks = mint.jwks(at(NOW));
    assert!(verified(&jwks, &new).is_some());
    assert!(verified(&jwks, &old).is_none());
}

#[test]
fn rotations_without_use_are_refused() {
    for rotation in [Duration::ZERO, Duration::from_secs(3599), *ROTATIONS.end() * 2] {
        let refused = AssertionKeys::derived([7; 32], rotation).err();
        assert_eq!(refused, Some(AssertionError::Rotation(rotation)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Keys fetched from any node within one rotation before or after a token was made verify it.
    #[test]
    fn a_token_verifies_with_keys_fetched_up_to_a_rotation_before_or_after(
        hours in 1_u64..400,
        signed in 40_000_000_u64..4_000_000_000,
        distance in -1.0_f64..=1.0,
    ) {
        let rotation = Duration::from_hours(hours);
        let node = |now| AssertionMint::new(derived(rotation), "i", MINUTE, at(now)).expect("a mint");
        let signer = node(signed);
        let away = rotation.mul_f64(distance.abs()).as_secs();
        let fetched = if distance < 0.0 { signed - away } else { signed + away };
        let text = token(&signer, &ada(2), "app", signed);
        // From another node, and from the same, whose keys it then has to find again.
        for jwks in [node(fetched).jwks(at(fetched)), signer.jwks(at(fetched))] {
            prop_assert!(verified(&jwks, &text).is_some());
        }
        prop_assert!(verified(&signer.jwks(at(signed)), &text).is_some());
    }
}
