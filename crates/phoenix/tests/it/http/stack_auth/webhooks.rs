//! What the provider tells by itself: users that were changed or deleted.

use std::time::Duration;

use phoenix_testkit::http::Response;
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::proxy::{Direction, FaultProxy, Mode};
use phoenix_testkit::stack_auth::{Delivery, UserType, WebhookEvent, WebhookFlaw, WebhookSender};
use phoenix_testkit::wait;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::setup::{BOUND, Setup, USERS, accepted, user_id};
use crate::http::support::{Backend, Node, SOON, assert_problem, on_every_backend, on_every_shared_backend};

const PATH: &str = "/api/phoenix/webhooks/stack";

fn with_webhooks(backend: Backend) -> (Setup, WebhookSender) {
    let sender = WebhookSender::new();
    (Setup::new(backend).with("STACK_WEBHOOK_SECRET", &sender.secret()), sender)
}

async fn send(node: &Node, delivery: &Delivery) -> Response {
    delivery.send_to(node.address, PATH).await.unwrap()
}

#[track_caller]
fn assert_taken(response: &Response) {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json(), json!({"success": true}));
}

fn renamed(user: &str, name: &str) -> WebhookEvent {
    let data = json!({
        "id": user, "display_name": name, "primary_email": "new@example.com", "primary_email_verified": true,
        "profile_image_url": "https://example.com/ada.png", "signed_up_at_millis": 1,
    });
    WebhookEvent::new("user.updated", data)
}

// spec: A10 G3
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_profile_is_seen_at_all_nodes() {
    on_every_shared_backend(async |backend| {
        let (setup, sender) = with_webhooks(backend);
        let (one, two) = (setup.node().await, setup.node().await);
        let ada = setup.sign_up("ada@example.com");
        accepted(&one, &ada.access_token).await;
        accepted(&two, &ada.access_token).await;
        setup.pass(Duration::from_secs(1));
        let event = renamed(&ada.user_id, "Ada King");
        assert_taken(&send(&one, &sender.deliver(&event, setup.fake.now_s())).await);
        let changed = accepted(&one, &ada.access_token).await;
        let user = &changed["user"];
        assert_eq!((&user["username"], &user["email"]), (&json!("Ada King"), &json!("new@example.com")));
        assert_eq!(
            (&user["emailVerified"], &user["imageUrl"]),
            (&json!(true), &json!("https://example.com/ada.png"))
        );
        setup.pass(BOUND + Duration::from_millis(1));
        assert_eq!(accepted(&two, &ada.access_token).await["user"]["username"], "Ada King");
        one.stop().await;
        two.stop().await;
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn an_old_token_does_not_bring_an_old_profile_back() {
    on_every_backend(async |backend| {
        let (setup, sender) = with_webhooks(backend);
        let node = setup.node().await;
        let ada = setup.sign_up("ada@example.com");
        accepted(&node, &ada.access_token).await;
        // Issued before the change, and shown here only after it.
        let other = setup.fake.sign_in(&ada.user_id);
        setup.pass(Duration::from_secs(1));
        let event = renamed(&ada.user_id, "Ada King");
        assert_taken(&send(&node, &sender.deliver(&event, setup.fake.now_s())).await);
        accepted(&node, &other.access_token).await;
        assert_eq!(accepted(&node, &other.access_token).await["user"]["username"], "Ada King");
        assert_eq!(accepted(&node, &ada.access_token).await["user"]["email"], "new@example.com");
        // The next token is newer than the message, and says what the provider says now.
        setup.pass(Duration::from_secs(1));
        accepted(&node, &setup.fake.access_token(&ada.session_id).unwrap()).await;
        assert_eq!(accepted(&node, &ada.access_token).await["user"]["username"], "Ada Lovelace");
        node.stop().await;
    })
    .await;
}

// spec: A10 G3
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_is_shut_out() {
    on_every_shared_backend(async |backend| {
        let (setup, sender) = with_webhooks(backend);
        let (one, two) = (setup.node().await, setup.node().await);
        let mut admin = one.administrator().await;
        let (ada, bob) = (setup.sign_up("ada@example.com"), setup.sign_up("bob@example.com"));
        let me = accepted(&one, &ada.access_token).await;
        accepted(&two, &ada.access_token).await;
        accepted(&two, &bob.access_token).await;
        let unseen = setup.fake.sign_in(&ada.user_id);
        setup.pass(Duration::from_secs(1));
        let event = WebhookEvent::user_deleted(&ada.user_id);
        assert_taken(&send(&one, &sender.deliver(&event, setup.fake.now_s())).await);
        assert_problem(&one.me(&ada.access_token).await, 401, "session-ended");
        assert_problem(&one.me(&unseen.access_token).await, 403, "account-disabled");
        setup.pass(BOUND + Duration::from_millis(1));
        assert_problem(&two.me(&ada.access_token).await, 401, "session-ended");
        accepted(&two, &bob.access_token).await;
        let accounts = admin.accounts().await;
        let ada = accounts.iter().find(|account| account["id"] == user_id(&me).as_str()).unwrap();
        assert_eq!(ada["disabled"], true);
        admin.until_noted(&user_id(&me), "deleted-at-provider").await;
        one.stop().await;
        two.stop().await;
    })
    .await;
}

// spec: A10 A11
#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_stays_one_but_whoever_was_signed_in_is_shut_out() {
    let (setup, sender) = with_webhooks(Backend::Sqlite);
    let node = setup.node().await;
    let mut root = node.administrator().await;
    let ada = setup.sign_up("ada@example.com");
    let path = format!("{USERS}/{}", user_id(&accepted(&node, &ada.access_token).await));
    assert_eq!(root.patch(&path, &json!({"role": "admin"})).await.status, 200);
    let own = format!("{USERS}/{}", root.user_id().await);
    let disabled = node.client.patch(&own).bearer(&ada.access_token).json(&json!({"disabled": true}));
    assert_eq!(disabled.send().await.unwrap().status, 200);
    setup.pass(Duration::from_secs(1));
    let event = WebhookEvent::user_deleted(&ada.user_id);
    assert_taken(&send(&node, &sender.deliver(&event, setup.fake.now_s())).await);
    assert_problem(&node.me(&ada.access_token).await, 401, "session-ended");
    let fresh = setup.fake.mint(&setup.fake.token(UserType::Normal).user(&ada.user_id).issued_in(-1));
    assert_problem(&node.me(&fresh).await, 401, "session-ended");
    node.stop().await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_provider_signed_lately_is_taken() {
    on_every_backend(async |backend| {
        let (setup, sender) = with_webhooks(backend);
        let node = setup.node().await;
        let ada = setup.sign_up("ada@example.com");
        accepted(&node, &ada.access_token).await;
        let name = async || accepted(&node, &ada.access_token).await["user"]["username"].clone();
        for flaw in WebhookFlaw::UNACCEPTABLE {
            let delivery = sender.deliver_flawed(&renamed(&ada.user_id, "Eve"), setup.fake.now_s(), flaw);
            let response = send(&node, &delivery).await;
            assert_eq!(response.status, 401, "{flaw:?}: {}", response.text());
            assert_problem(&response, 401, "invalid-signature");
            assert_eq!(name().await, "Ada Lovelace", "{flaw:?}");
        }
        for flaw in WebhookFlaw::ACCEPTABLE {
            setup.pass(Duration::from_secs(1));
            let event = renamed(&ada.user_id, &format!("{flaw:?}"));
            assert_taken(&send(&node, &sender.deliver_flawed(&event, setup.fake.now_s(), flaw)).await);
            assert_eq!(name().await, format!("{flaw:?}"));
        }
        let others = [
            WebhookEvent::new("team.created", json!({"id": "x"})),
            WebhookEvent::user_deleted("6f1c2b3a-4444-4555-8666-7d8e9fa0b1c2"),
            renamed("6f1c2b3a-4444-4555-8666-7d8e9fa0b1c2", "Nobody"),
        ];
        for event in others {
            assert_taken(&send(&node, &sender.deliver(&event, setup.fake.now_s())).await);
        }
        let senseless = sender.deliver(&WebhookEvent::new("user.updated", json!([])), setup.fake.now_s());
        assert_problem(&send(&node, &senseless).await, 400, "invalid-json");
        let mut admin = node.administrator().await;
        assert_eq!(admin.accounts().await.len(), 1, "a message makes no account");
        node.stop().await;
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_carried_out_once_at_whichever_node_it_arrives() {
    on_every_shared_backend(async |backend| {
        let (setup, sender) = with_webhooks(backend);
        let (one, two) = (setup.node().await, setup.node().await);
        let ada = setup.sign_up("ada@example.com");
        accepted(&one, &ada.access_token).await;
        setup.pass(Duration::from_secs(1));
        let (first, second) = (renamed(&ada.user_id, "First"), renamed(&ada.user_id, "Second"));
        let delivery = sender.deliver(&first, setup.fake.now_s());
        assert_taken(&send(&one, &delivery).await);
        setup.pass(Duration::from_secs(1));
        assert_taken(&send(&one, &sender.deliver(&second, setup.fake.now_s())).await);
        setup.pass(Duration::from_secs(1));
        for node in [&one, &two] {
            assert_taken(&send(node, &delivery).await);
            assert_taken(&send(node, &sender.retry(&delivery, &first, setup.fake.now_s())).await);
        }
        assert_eq!(accepted(&one, &ada.access_token).await["user"]["username"], "Second");
        one.stop().await;
        two.stop().await;
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_there_are_no_webhooks_and_with_one_their_size_is_bounded() {
    let setup = Setup::new(Backend::Sqlite);
    let node = setup.node().await;
    let sender = WebhookSender::new();
    let event = WebhookEvent::user_deleted("6f1c2b3a-4444-4555-8666-7d8e9fa0b1c2");
    assert_problem(&send(&node, &sender.deliver(&event, setup.fake.now_s())).await, 404, "not-found");
    node.stop().await;

    let setup = setup.with("STACK_WEBHOOK_SECRET", &sender.secret());
    let node = setup.node().await;
    for (bytes, fits) in [(255 * 1024, true), (256 * 1024 + 1, false)] {
        let event = WebhookEvent::new("team.created", json!({ "id": "x".repeat(bytes) }));
        let response = send(&node, &sender.deliver(&event, setup.fake.now_s())).await;
        if fits {
            assert_taken(&response);
        } else {
            assert_problem(&response, 413, "body-too-large");
        }
    }
    node.stop().await;
}

/// An installation on a database of its own, behind a proxy.
fn behind_proxy() -> (FaultProxy, String, Setup, WebhookSender) {
    let proxy = FaultProxy::start(Postgres::shared().address()).unwrap();
    let database = Postgres::shared().create_database();
    let url = Postgres::shared().url_via(proxy.addr(), database_name(&database));
    let (setup, sender) = with_webhooks(Backend::Postgres);
    let setup = setup.with("DATABASE_URL", &url).with("DB_CONNECTION_TIMEOUT", "5000");
    (proxy, database_name(&database).to_owned(), setup, sender)
}

/// Sends the message again, as Svix does, until it is taken.
async fn until_taken(
    setup: &Setup,
    node: &Node,
    sender: &WebhookSender,
    sent: &Delivery,
    event: &WebhookEvent,
) {
    wait::until(SOON, "the message to be taken", || async {
        let response = send(node, &sender.retry(sent, event, setup.fake.now_s())).await;
        assert!(response.status == 200 || response.status == 503, "{}", response.text());
        response.status == 200
    })
    .await;
}

/// The name that the user has at last: after an outage it takes a moment, also of the nodes' clock, to ask again.
async fn name_at_last(setup: &Setup, node: &Node, token: &str) -> Value {
    setup.pass(BOUND + Duration::from_millis(1));
    wait::for_some(SOON, "the database to be asked again", || async {
        setup.pass(Duration::from_millis(100));
        let response = node.me(token).await;
        assert!(response.status == 200 || response.status == 503, "{}", response.text());
        (response.status == 200).then(|| response.json()["user"]["username"].clone())
    })
    .await
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_met_no_database_is_carried_out_when_it_is_sent_again() {
    for mode in [Mode::Refuse, Mode::HalfOpen(Direction::ToUpstream), Mode::HalfOpen(Direction::ToClient)] {
        let (proxy, _, setup, sender) = behind_proxy();
        let setup = setup.with("DB_STATEMENT_TIMEOUT", "1000").with("DB_QUERY_TIMEOUT", "1000");
        let node = setup.node().await;
        let ada = setup.sign_up("ada@example.com");
        accepted(&node, &ada.access_token).await;
        setup.pass(Duration::from_secs(1));
        let event = renamed(&ada.user_id, "Ada King");
        let delivery = sender.deliver(&event, setup.fake.now_s());
        proxy.set(mode);
        assert_problem(&send(&node, &delivery).await, 503, "unavailable");
        proxy.set(Mode::Pass);
        until_taken(&setup, &node, &sender, &delivery, &event).await;
        assert_eq!(name_at_last(&setup, &node, &ada.access_token).await, "Ada King", "{mode:?}");
        node.stop().await;
    }
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_database_broke_off_in_the_middle_is_carried_out_when_it_is_sent_again() {
    let (proxy, database, setup, sender) = behind_proxy();
    let node = setup.node().await;
    let ada = setup.sign_up("ada@example.com");
    accepted(&node, &ada.access_token).await;
    setup.pass(Duration::from_secs(1));
    let event = renamed(&ada.user_id, "Ada King");
    let delivery = sender.deliver(&event, setup.fake.now_s());
    let count = async |from: &'static str| {
        let (database, postgres) = (database.clone(), Postgres::shared());
        let rows = tokio::task::spawn_blocking(move || postgres.query(&database, from));
        rows.await.unwrap().unwrap().len()
    };
    // Nobody can change a user ...
    let holder = tokio::task::spawn_blocking({
        let database = database.clone();
        let hold = "BEGIN; LOCK TABLE phoenix.users IN EXCLUSIVE MODE; SELECT pg_sleep(60)";
        move || Postgres::shared().execute(&database, hold)
    });
    wait::until(SOON, "the lock", || async {
        count("SELECT 1 FROM pg_locks WHERE mode = 'ExclusiveLock' AND relation = 'phoenix.users'::regclass AND granted").await > 0
    })
    .await;
    let mut sending = JoinSet::new();
    sending.spawn({
        let (address, delivery) = (node.address, delivery.clone());
        async move { delivery.send_to(address, PATH).await.unwrap() }
    });
    wait::until(SOON, "the message to wait for the lock", || async {
        count("SELECT 1 FROM pg_locks WHERE relation = 'phoenix.users'::regclass AND NOT granted").await > 0
    })
    .await;
    // ... and then the database is gone.
    proxy.set(Mode::Refuse);
    assert_problem(&sending.join_next().await.unwrap().unwrap(), 503, "unavailable");
    tokio::task::spawn_blocking({
        let database = database.clone();
        move || Postgres::shared().end_sessions(&database)
    })
    .await
    .unwrap()
    .unwrap();
    assert!(holder.await.unwrap().is_err(), "its session was ended");
    proxy.set(Mode::Pass);
    until_taken(&setup, &node, &sender, &delivery, &event).await;
    assert_eq!(name_at_last(&setup, &node, &ada.access_token).await, "Ada King");
    node.stop().await;
}
