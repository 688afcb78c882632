//! What is signed here counts for applications that use our library.

use phoenix_client::{Jwks, Verifier, VerifyError};

use super::{NOW, WEEK, ada, at, mint, token};

#[test]
fn applications_with_our_library_know_the_caller() {
    let mint = mint();
    let text = token(&mint, &ada(2), "app", NOW);
    let verifier = |audience, fetched_at| {
        let keys = Jwks::parse(&mint.jwks(at(fetched_at))).expect("keys");
        Verifier::new(keys, audience, "https://app.example")
    };
    let caller = verifier("app", NOW).verify(&text, at(NOW)).expect("it counts");
    assert_eq!(caller.user_id, ada(2).user.to_string());
    assert_eq!(caller.session_id, ada(2).session.to_string());
    assert_eq!(
        (caller.email.as_deref(), caller.email_verified, caller.role.as_str()),
        (Some("ada@example.com"), true, "user")
    );
    assert_eq!((caller.issued_at, caller.expires_at), (at(NOW), at(NOW + 60)));
    assert!(verifier("app", NOW - WEEK.as_secs()).verify(&text, at(NOW)).is_ok());
    assert_eq!(verifier("other", NOW).verify(&text, at(NOW)), Err(VerifyError::Audience));
    assert_eq!(verifier("app", NOW).verify(&text, at(NOW + 90)), Err(VerifyError::Expired));
}
