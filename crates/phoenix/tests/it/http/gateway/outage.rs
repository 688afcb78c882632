//! The database is gone: who is known goes on, of others nobody can say who they are, and nobody is taken for nobody.

use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::proxy::{FaultProxy, Mode};
use phoenix_testkit::wait;

use super::super::support::{Backend, SOON, Site, assert_problem};
use super::{ADA, Front, ROUTES, answered, assert_anonymous};

fn site() -> (FaultProxy, Site) {
    let proxy = FaultProxy::start(Postgres::shared().address()).unwrap();
    let database = Postgres::shared().create_database();
    let url = Postgres::shared().url_via(proxy.addr(), database_name(&database));
    let site = Site::new(Backend::Postgres)
        .with("DATABASE_URL", &url)
        .with("PHOENIX_OUTAGE_GRACE", "5m")
        .with("DB_CONNECTION_TIMEOUT", "1000")
        .with("DB_QUERY_TIMEOUT", "1000")
        .with("DB_RETRY_DELAY", "10");
    (proxy, site)
}

// spec: G1 D9
#[tokio::test(flavor = "multi_thread")]
async fn nobody_becomes_anonymous_because_the_database_is_gone() {
    for outage in [Mode::Refuse, Mode::Blackhole] {
        let (proxy, site) = site();
        let [stranger] = site.cold_tokens(["cold@example.com"]).await;
        let front = Front::of(site, ROUTES).await;
        let mut browser = front.node.registered(ADA).await;
        browser.until_in_memory().await;
        let known = browser.token();
        proxy.set(outage);
        wait::until(SOON, "the outage to be known", async || {
            front.get("/x").await.header("x-system-status") == Some("degraded")
        })
        .await;
        for path in ["/x", "/members/x"] {
            let before = front.app.requests();
            let refused = front.get_as(&stranger, path).await;
            assert_problem(&refused, 503, "unavailable");
            let cookie = format!("phoenix_session={stranger}");
            let refused = answered(front.node.client.get(path).header("cookie", &cookie)).await;
            assert_problem(&refused, 503, "unavailable");
            assert_eq!(front.app.requests(), before, "{path}");
            let user = front.get_as(&known, path).await;
            assert_eq!((user.status.as_u16(), user.header("x-cache-hit")), (200, Some("l1")));
            assert_eq!(front.seen().header("x-phoenix-email"), Some(ADA));
            assert!(front.seen().header("x-phoenix-assertion").is_some());
        }
        // Who does not ask to be known need not be; nor must the route that does not care.
        for (path, credentials) in [("/x", None), ("/open/x", Some(&stranger)), ("/open/x", None)] {
            let answer = match credentials {
                Some(token) => front.get_as(token, path).await,
                None => front.get(path).await,
            };
            assert_eq!(answer.status, 200);
            assert_anonymous(&front.seen());
        }
        proxy.set(Mode::Pass);
        wait::until(SOON, "the stranger to be known", async || {
            front.get_as(&stranger, "/members/x").await.status == 200
        })
        .await;
        front.stop().await;
    }
}
