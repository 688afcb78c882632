//! Many callers, one cold session: one question to the database.

use std::future::{Future, poll_fn};
use std::task::Poll;

use phoenix_auth::Auth;
use phoenix_auth::model::{Moment, TokenHash};
use phoenix_auth::ops::{ClientInfo, Credential};
use phoenix_auth::ports::Clock;
use phoenix_testkit::http::Client;
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::proxy::{Direction, FaultProxy, Mode};
use tokio::task::JoinSet;

use super::support::{ME, Site, on_every_backend, on_every_shared_backend};

const CALLERS: usize = 10_000;
const CONNECTIONS: usize = 200;
const REQUESTS_EACH: usize = 10;
/// Reads of the database that ten thousand simultaneous requests for one cold session cause.
const READS: u64 = 1;

/// Asks as the stack does: memory first.
async fn email_of(auth: Auth, hash: TokenHash, now: Moment) -> String {
    let (credential, client) =
        (Credential::Own(hash), ClientInfo { environment: 1, ..ClientInfo::default() });
    let verdict = match auth.authenticate_from_memory(&credential, 1, now) {
        Some(verdict) => verdict,
        None => auth.authenticate(&credential, &client, now).await.unwrap(),
    };
    verdict.unwrap().active.user.email.as_ref().unwrap().as_str().to_owned()
}

// spec: A1
#[tokio::test(flavor = "multi_thread")]
async fn callers_that_come_while_the_answer_is_under_way_share_it() {
    on_every_shared_backend(async |backend| {
        let proxy = FaultProxy::start(Postgres::shared().address()).unwrap();
        let database = Postgres::shared().create_database();
        let url = Postgres::shared().url_via(proxy.addr(), database_name(&database));
        let site = Site::new(backend).with("DATABASE_URL", &url);
        let [token] = site.cold_tokens(["ada@example.com"]).await;
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let (hash, now) = (node.hash(&token), site.clock.now());
        let before = admin.statements().await;
        let mut callers: Vec<_> =
            (0..CALLERS).map(|_| Box::pin(email_of(node.app.auth.clone(), hash, now))).collect();
        // All of them ask before the database's answer gets through.
        proxy.set(Mode::HalfOpen(Direction::ToClient));
        let waiting = poll_fn(|context| {
            let polls = callers.iter_mut().map(|caller| caller.as_mut().poll(context));
            Poll::Ready(polls.filter(Poll::is_pending).count())
        })
        .await;
        assert_eq!(waiting, CALLERS);
        proxy.set(Mode::Pass);
        for caller in callers {
            assert_eq!(caller.await, "ada@example.com");
        }
        let after = admin.statements().await;
        assert_eq!(after.since(&before), [("session_find".to_owned(), 1)].into());
        node.stop().await;
    })
    .await;
}

// spec: A1
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_callers_of_one_cold_session_hardly_reach_the_database() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let [token] = site.cold_tokens(["ada@example.com"]).await;
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let (hash, now) = (node.hash(&token), site.clock.now());
        let before = admin.statements().await;
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            callers.spawn(email_of(node.app.auth.clone(), hash, now));
        }
        let answers = callers.join_all().await;
        assert!(answers.len() == CALLERS && answers.iter().all(|email| email == "ada@example.com"));
        let asked = admin.statements().await.since(&before);
        assert_eq!(asked, [("session_find".to_owned(), READS)].into());
        node.stop().await;
    })
    .await;
}

// spec: A1 A13
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_connections_with_one_cold_session_hardly_reach_the_database() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let [token] = site.cold_tokens(["ada@example.com"]).await;
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let before = admin.statements().await;
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (client, token) = (Client::new(node.address), token.clone());
            connections.spawn(async move {
                for _ in 0..REQUESTS_EACH {
                    let response = client.get(ME).bearer(&token).send().await.unwrap();
                    assert_eq!(response.status, 200, "{}", response.text());
                    assert_eq!(response.json()["user"]["email"], "ada@example.com");
                }
            });
        }
        connections.join_all().await;
        let asked = admin.statements().await.since(&before);
        assert_eq!(asked, [("session_find".to_owned(), READS)].into());
        node.stop().await;
    })
    .await;
}
