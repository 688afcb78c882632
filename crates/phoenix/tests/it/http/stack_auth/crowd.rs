//! Many first requests at once: one account, one session, one fetch of the keys a node.

use std::collections::BTreeSet;
use std::sync::Arc;

use phoenix_testkit::http::Client;
use phoenix_testkit::stack_auth::Route;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::setup::{Setup, session_id, user_id};
use crate::http::support::{Backend, ME, Node, SOON, on_every_backend};

const REQUESTS: usize = 1000;

/// Asks with each token on a connection of its own, all at the same moment. Returns the users' and sessions' ids.
async fn ask_all(nodes: &[Node], tokens: &[String]) -> Vec<(String, String)> {
    let start = Arc::new(Barrier::new(REQUESTS));
    let mut asking = JoinSet::new();
    for number in 0..REQUESTS {
        let client = Client::new(nodes[number % nodes.len()].address).with_bound(SOON * 3);
        let (token, start) = (tokens[number % tokens.len()].clone(), Arc::clone(&start));
        asking.spawn(async move {
            // The connection is there before the others begin.
            assert_eq!(client.get("/healthz").send().await.unwrap().status, 200);
            start.wait().await;
            let response = client.get(ME).bearer(&token).send().await.unwrap();
            assert_eq!(response.status, 200, "{}", response.text());
            let me = response.json();
            (user_id(&me), session_id(&me))
        });
    }
    asking.join_all().await
}

fn distinct<T: Ord + Clone>(items: impl Iterator<Item = T>) -> usize {
    items.collect::<BTreeSet<_>>().len()
}

async fn nodes(setup: &Setup, backend: Backend) -> Vec<Node> {
    let mut nodes = vec![setup.node().await];
    if backend != Backend::Sqlite {
        nodes.push(setup.node().await);
    }
    nodes
}

// spec: A9 A10
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_first_requests_of_one_user_make_one_account_and_one_session() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let nodes = nodes(&setup, backend).await;
        let mut admin = nodes[0].administrator().await;
        let ada = setup.sign_up("ada@example.com");
        let seen = ask_all(&nodes, std::slice::from_ref(&ada.access_token)).await;
        assert_eq!((seen.len(), distinct(seen.iter())), (REQUESTS, 1));
        assert_eq!(admin.accounts().await.len(), 1);
        assert_eq!(admin.sessions_of(&seen[0].0).await.len(), 1);
        assert_eq!(setup.fake.calls(Route::Jwks), nodes.len() as u64, "one fetch a node");
        assert_eq!(setup.fake.total_calls(), nodes.len() as u64, "and nothing else was asked");
        for node in nodes {
            node.stop().await;
        }
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn first_requests_of_several_sessions_and_tokens_of_one_user_make_one_account() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let nodes = nodes(&setup, backend).await;
        let mut admin = nodes[0].administrator().await;
        let ada = setup.sign_up("ada@example.com");
        let sessions = [&ada, &setup.fake.sign_in(&ada.user_id), &setup.fake.sign_in(&ada.user_id)];
        let token = |session: &str, ahead| {
            let spec = setup.fake.token_of(session).unwrap();
            setup.fake.mint(&spec.expires_in(600 + ahead))
        };
        let tokens: Vec<String> = (0..12)
            .map(|number| token(&sessions[number % 3].session_id, i64::try_from(number).unwrap()))
            .collect();
        let seen = ask_all(&nodes, &tokens).await;
        assert_eq!(distinct(seen.iter().map(|(user, _)| user)), 1);
        assert_eq!(distinct(seen.iter().map(|(_, session)| session)), 3);
        assert_eq!(admin.accounts().await.len(), 1);
        assert_eq!(admin.sessions_of(&seen[0].0).await.len(), 3);
        for node in nodes {
            node.stop().await;
        }
    })
    .await;
}
