//! Tokens that memory does not know, while the database is slow.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use phoenix::entropy::SystemEntropy;
use phoenix_auth::model::SessionToken;
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::proxy::{Direction, FaultProxy, Mode};
use phoenix_testkit::wait;

use super::super::support::{ADMIN, Backend, Browser, Node, SOON, Site};
use super::limited_elsewhere;

/// Behind which the office is.
const OFFICE: [u8; 4] = [127, 0, 0, 2];
/// Units of the class `credentials`.
const UNITS: usize = 5;

/// A node whose database answers only when the proxy lets it, and which knows none of `good` tokens.
async fn slow_node(good: usize) -> (FaultProxy, Node, Vec<String>) {
    let proxy = FaultProxy::start(Postgres::shared().address()).unwrap();
    let database = Postgres::shared().create_database();
    let url = Postgres::shared().url_via(proxy.addr(), database_name(&database));
    let site = limited_elsewhere(Site::new(Backend::Postgres))
        .with("DATABASE_URL", &url)
        .with("DB_QUERY_TIMEOUT", "20000")
        .with("PHOENIX_LIMITS_CLASSES", &format!(r#"{{credentials = {{windows = ["{UNITS}/1h"]}}}}"#));
    let first = site.node().await;
    let mut tokens = Vec::new();
    for _ in 0..good {
        tokens.push(first.signed_in(ADMIN).await.token());
    }
    first.stop().await;
    (proxy, site.node().await, tokens)
}

impl Node {
    async fn me_from_office(&self, token: &str) -> u16 {
        let mut browser = Browser::with_token(&self.client, token).from(OFFICE, self.address);
        browser.me().await.status.as_u16()
    }
}

// spec: R5, S4
#[tokio::test(flavor = "multi_thread")]
async fn who_reloads_while_the_database_is_slow_is_not_taken_for_somebody_who_makes_tokens_up() {
    let (proxy, node, mut good) = slow_node(UNITS + 3).await;
    let last = [good.pop().unwrap(), good.pop().unwrap()];
    let made_up = |_| SessionToken::generate(&SystemEntropy).expose().to_owned();
    let made_up: Vec<String> = (0..=UNITS).map(made_up).collect();
    // Good ones count for nothing, and made-up ones do, although nobody waits for them any more.
    for (tokens, last, status) in [(good, &last[0], 200), (made_up, &last[1], 429)] {
        proxy.set(Mode::HalfOpen(Direction::ToClient));
        let mut asked: FuturesUnordered<_> = tokens.iter().map(|token| node.me_from_office(token)).collect();
        assert_eq!(
            asked.next().await,
            Some(503),
            "one has waited in vain, so all others are being looked up"
        );
        drop(asked);
        proxy.set(Mode::Pass);
        wait::until(SOON, "what they left to be settled", || async {
            node.me_from_office(last).await == status
        })
        .await;
    }
    node.stop().await;
}
