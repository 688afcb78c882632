//! The lists of security events: whose, in which order, page by page.

use serde_json::{Value, json};

use super::support::device::{CHROME, CURL, IPHONE};
use super::support::{Browser, Site, on_every_backend};

const OWN: &str = "/api/auth/security-events";
const EVERYBODYS: &str = "/api/admin/security-events";

fn ids(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().unwrap().iter();
    events.map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

/// All pages of `limit` events, one after the other.
async fn pages(browser: &mut Browser, path: &str, limit: usize) -> Vec<String> {
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let page = browser.get(&format!("{path}?limit={limit}{before}")).await.json();
        let ids = ids(&page);
        assert!(ids.len() <= limit);
        seen.extend(ids);
        let Some(next) = page["next"].as_str() else { return seen };
        before = format!("&before={next}");
    }
}

// spec: A4 A5
#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed_the_latest_first_to_their_owner_and_to_administrators() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let mut ada = node.registered("ada@example.com").await;
        let mut eve = node.registered("eve@example.com").await;
        for device in [CHROME, IPHONE, CURL] {
            for owner in [&ada, &eve] {
                site.clock.advance(std::time::Duration::from_millis(1));
                assert_eq!(owner.on(device).me().await.status, 200);
            }
        }
        let (own, others) = (ada.events(3).await, eve.events(3).await);
        let times: Vec<&Value> = own.iter().map(|event| &event["at"]).collect();
        let at = |millis: u8| json!(format!("2026-01-01T00:00:00.00{millis}Z"));
        assert_eq!(times, [&at(5), &at(3), &at(1)]);
        let (ada_id, eve_id) = (ada.user_id().await, eve.user_id().await);
        for (events, id) in [(&own, &ada_id), (&others, &eve_id)] {
            assert!(
                events
                    .iter()
                    .all(|event| event["userId"] == id.as_str() && event.as_object().unwrap().len() == 7)
            );
        }

        let whole = admin.get(EVERYBODYS).await.json();
        assert_eq!((ids(&whole).len(), &whole["next"]), (6, &Value::Null));
        let own_ids: Vec<String> = own.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        for limit in [1, 2, 4, 6, 200] {
            assert_eq!(pages(&mut admin, EVERYBODYS, limit).await, ids(&whole), "pages of {limit}");
            assert_eq!(pages(&mut ada, OWN, limit).await, own_ids, "pages of {limit}");
            let path = format!("/api/admin/users/{ada_id}/security-events");
            assert_eq!(pages(&mut admin, &path, limit).await, own_ids, "pages of {limit}");
        }
        node.stop().await;
    })
    .await;
}
