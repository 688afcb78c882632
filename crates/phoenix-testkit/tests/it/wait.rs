//! Waiting ends when the condition holds, and fails with its name when the bound has passed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use phoenix_testkit::wait;

#[tokio::test(start_paused = true)]
async fn it_asks_until_the_condition_holds() {
    let mut asked = 0;
    wait::until(Duration::from_secs(5), "three questions", || {
        asked += 1;
        let holds = asked == 3;
        async move { holds }
    })
    .await;
    assert_eq!(asked, 3);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "waited 5s for the impossible")]
async fn it_names_what_did_not_come() {
    wait::until(Duration::from_secs(5), "the impossible", || async { false }).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "waited 5s for an answer")]
async fn it_ends_an_attempt_that_hangs() {
    wait::until(Duration::from_secs(5), "an answer", std::future::pending).await;
}

#[test]
fn blocking_waits_have_a_bound_too() {
    let wait = || wait::until_blocking(Duration::from_millis(5), "the impossible", || false);
    let panic = catch_unwind(AssertUnwindSafe(wait)).expect_err("the condition never holds");
    let message = panic.downcast_ref::<String>().expect("the message has a bound in it");
    assert_eq!(message, "waited 5ms for the impossible");
}
