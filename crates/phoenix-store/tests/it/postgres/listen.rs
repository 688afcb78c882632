//! Messages between nodes: heard while the way is open, and whoever missed some is told so.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use phoenix_auth::ports::StoreErrorKind;
use phoenix_store::postgres::{PgNotice, PgStore};
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::proxy::{FaultProxy, Mode};
use phoenix_testkit::wait;

use crate::harness::{BOUND, pg_config, pg_store};

/// Needs quoting, as a name and as a part of a name.
const CHANNEL: &str = "phoenix \"ä\"";

/// What was heard since it was last asked.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<PgNotice>>>);

impl Heard {
    fn note(&self, notice: PgNotice) {
        self.0.lock().expect("nobody panicked").push(notice);
    }

    fn all(&self) -> Vec<PgNotice> {
        self.0.lock().expect("nobody panicked").clone()
    }

    async fn until(&self, notice: &PgNotice, count: usize) {
        wait::until(BOUND, &format!("{notice:?} {count} times"), || async {
            self.all().iter().filter(|heard| *heard == notice).count() >= count
        })
        .await;
    }
}

fn message(text: &str) -> PgNotice {
    PgNotice::Message(text.to_owned())
}

/// The program runs it as a task.
fn spawnable<F: Future + Send>(future: F) -> F {
    future
}

/// A node that sends, one that listens through a proxy, and what happens there while `test` runs.
async fn with_listener(test: impl AsyncFn(&PgStore, &FaultProxy, &Heard, &str)) {
    let server = Postgres::shared();
    let url = server.create_database();
    let sender = pg_store(pg_config(url.clone())).await;
    let proxy = FaultProxy::start(server.address()).expect("a proxy");
    let listener = pg_store(pg_config(server.url_via(proxy.addr(), database_name(&url)))).await;
    let heard = Heard::default();
    let test = async {
        heard.until(&PgNotice::Connected, 1).await;
        test(&sender, &proxy, &heard, &url).await;
    };
    tokio::select! {
        never = spawnable(listener.listen(CHANNEL, |notice| heard.note(notice))) => match never {},
        () = test => {}
    }
    // Lost and connected take turns, and every message comes between them.
    let mut connected = false;
    for notice in heard.all() {
        match notice {
            PgNotice::Connected => assert!(!std::mem::replace(&mut connected, true)),
            PgNotice::Message(_) => assert!(connected),
            PgNotice::Lost => assert!(std::mem::replace(&mut connected, false)),
        }
    }
}

#[tokio::test]
async fn messages_are_heard_in_order_on_their_channel_only() {
    with_listener(async |sender, _, heard, _| {
        sender.notify("another", "not for us").await.expect("sends");
        for number in 0..50 {
            sender.notify(CHANNEL, &format!("message {number} 'ü'")).await.expect("sends");
        }
        heard.until(&message("message 49 'ü'"), 1).await;
        let expected = (0..50).map(|number| message(&format!("message {number} 'ü'")));
        assert_eq!(heard.all(), [PgNotice::Connected].into_iter().chain(expected).collect::<Vec<_>>());
        let longest = "x".repeat(7999);
        sender.notify(CHANNEL, &longest).await.expect("fits");
        heard.until(&message(&longest), 1).await;
        let error = sender.notify(CHANNEL, &"x".repeat(8000)).await.expect_err("too long");
        assert_eq!(error.kind(), StoreErrorKind::Internal);
    })
    .await;
}

#[tokio::test]
async fn a_cut_connection_is_noticed_and_replaced_for_as_long_as_it_takes() {
    with_listener(async |sender, proxy, heard, url| {
        for round in 1..=3 {
            proxy.set(Mode::Refuse);
            heard.until(&PgNotice::Lost, round).await;
            sender.notify(CHANNEL, "unheard").await.expect("sends");
            proxy.set(Mode::Pass);
            heard.until(&PgNotice::Connected, round + 1).await;
            sender.notify(CHANNEL, &format!("round {round}")).await.expect("sends");
            heard.until(&message(&format!("round {round}")), 1).await;
        }
        // A failover: the server itself ends the connection.
        Postgres::shared().end_sessions(database_name(url)).expect("a superuser may");
        heard.until(&PgNotice::Connected, 5).await;
        assert!(!heard.all().contains(&message("unheard")));
    })
    .await;
}

#[tokio::test]
async fn a_silent_connection_is_given_up_within_a_second_or_so() {
    with_listener(async |sender, proxy, heard, _| {
        for round in 1..=2 {
            proxy.set(Mode::Blackhole);
            let noticed = heard.until(&PgNotice::Lost, round);
            // Two half seconds, and room for a busy machine.
            tokio::time::timeout(Duration::from_secs(5), noticed).await.expect("the check found it");
            proxy.set(Mode::Pass);
            heard.until(&PgNotice::Connected, round + 1).await;
            sender.notify(CHANNEL, &format!("round {round}")).await.expect("sends");
            heard.until(&message(&format!("round {round}")), 1).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_slow_way_is_no_lost_one() {
    with_listener(async |sender, proxy, heard, _| {
        proxy.set(Mode::Latency(Duration::from_millis(100)));
        let checked = proxy.counts().to_upstream_bytes;
        // Three checks at least: an empty query has six bytes.
        wait::until(BOUND, "checks to pass", || async { proxy.counts().to_upstream_bytes >= checked + 18 })
            .await;
        sender.notify(CHANNEL, "late").await.expect("sends");
        heard.until(&message("late"), 1).await;
        assert!(!heard.all().contains(&PgNotice::Lost));
    })
    .await;
}

#[tokio::test]
async fn whoever_stops_listening_leaves_no_connection() {
    let server = Postgres::shared();
    let url = server.create_database();
    let store = pg_store(pg_config(url.clone())).await;
    let listening =
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()";
    let count = || server.query(database_name(&url), listening).expect("answers").len();
    let heard = Heard::default();
    let listened = async {
        heard.until(&PgNotice::Connected, 1).await;
        assert!(count() <= 1);
    };
    tokio::select! {
        never = store.listen(CHANNEL, |notice| heard.note(notice)) => match never {},
        () = listened => {}
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'phoenix' \
                AND datname = current_database()";
    wait::until(BOUND, "only the shared connections to be left", || async {
        server.query(database_name(&url), open).expect("answers")[0][0].as_deref() == Some("2")
    })
    .await;
}
