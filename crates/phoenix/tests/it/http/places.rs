//! A session that turns up at another address, in another country, or sooner than anybody can have travelled.
//!
//! Addresses of this machine are in no country, so countries are asked of the use cases, as the HTTP surface does.

use std::net::IpAddr;
use std::time::Duration;

use phoenix_auth::model::SecurityEvent;
use phoenix_auth::ops::{ClientInfo, Credential, LoginRequest, Rejection, Verdict};
use phoenix_auth::ports::Clock;
use phoenix_testkit::mmdb::{Mmdb, Value};
use phoenix_testkit::wait;
use serde_json::json;
use tempfile::NamedTempFile;

use super::support::{ADMIN, Browser, Node, PASSWORD, SOON, Site, assert_problem, on_every_backend};

const ADA: &str = "ada@example.com";
const HOME: [u8; 4] = [127, 0, 1, 1];
const NEXT_DOOR: [u8; 4] = [127, 0, 1, 200];
const OFFICE: [u8; 4] = [127, 0, 2, 1];

const BERLIN: &str = "203.0.113.7";
const HAMBURG: &str = "192.0.2.9";
const SYDNEY: &str = "198.51.100.200";
const NOWHERE: &str = "100.128.0.1";

/// Ada, signed in at home.
async fn at_home(node: &Node) -> Browser {
    let mut home = node.browser().from(HOME, node.address);
    let registered = home.register(ADA).await;
    assert_eq!(registered.status, 201, "{}", registered.text());
    assert_eq!(registered.json()["session"]["ipAddress"], "127.0.1.1");
    home
}

// spec: A5
#[tokio::test(flavor = "multi_thread")]
async fn first_and_last_address_are_kept_and_another_network_is_recorded() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut home = at_home(&node).await;
        let mut next_door = home.from(NEXT_DOOR, node.address);
        assert_eq!(next_door.me().await.json()["session"]["ipAddress"], "127.0.1.1", "the first");
        assert!(home.events(0).await.is_empty(), "the same network");
        let mut office = home.from(OFFICE, node.address);
        for _ in 0..5 {
            assert_eq!(office.me().await.status, 200);
        }
        wait::until(SOON, "the last address to be written", || {
            let mut office = office.clone();
            async move {
                let line = office.sessions().await[0].clone();
                assert_eq!((&line["ipAddress"], &line["country"]), (&json!("127.0.1.1"), &json!(null)));
                line["lastIpAddress"] == "127.0.2.1"
            }
        })
        .await;
        let events = office.events(1).await;
        let told = (&events[0]["kind"], &events[0]["ipAddress"]);
        assert_eq!(told, (&json!("network-changed"), &json!("127.0.2.1")));
        node.stop().await;
    })
    .await;
}

// spec: A5
#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_another_network_is_refused_or_ends_where_that_is_configured() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node_with("PHOENIX_ON_NETWORK_CHANGE", "reauthenticate").await;
        let mut home = at_home(&node).await;
        let mut office = home.from(OFFICE, node.address);
        assert_problem(&office.me().await, 401, "reauthentication-required");
        assert_eq!(home.me().await.status, 200);
        assert_eq!(home.from(NEXT_DOOR, node.address).me().await.status, 200);
        assert_eq!(office.login(ADA, PASSWORD).await.status, 200);
        assert_eq!((office.me().await.status.as_u16(), home.me().await.status.as_u16()), (200, 200));
        node.stop().await;

        let node = site.node_with("PHOENIX_ON_NETWORK_CHANGE", "revoke").await;
        assert_eq!(home.from(NEXT_DOOR, node.address).me().await.status, 200);
        assert_problem(&home.from(OFFICE, node.address).me().await, 401, "session-ended");
        assert_problem(&home.from(HOME, node.address).me().await, 401, "session-ended");
        node.stop().await;
    })
    .await;
}

/// A file that knows three networks.
fn world() -> NamedTempFile {
    let database = Mmdb::new("GeoLite2-City")
        .network("203.0.113.0", 24, Value::city("DE", 52.52, 13.405, 20))
        .network("192.0.2.0", 24, Value::city("DE", 53.55, 9.99, 20))
        .network("198.51.100.0", 24, Value::city("AU", -33.8688, 151.2093, 50));
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), database.encode()).unwrap();
    file
}

fn client(address: &str) -> ClientInfo {
    let ip: IpAddr = address.parse().unwrap();
    // As the HTTP surface does: one number for everything that tells places apart, never zero.
    let environment = address.bytes().fold(1_u64, |hash, byte| hash.wrapping_mul(31) + u64::from(byte)) | 1;
    ClientInfo { ip: Some(ip), environment, ..ClientInfo::default() }
}

async fn sign_in(node: &Node, address: &str) -> String {
    let (email, password) = (ADA.to_owned(), PASSWORD.to_owned());
    let request = LoginRequest { email, password, client: client(address), replaces: None };
    node.app.auth.login(request).await.unwrap().token.expose().to_owned()
}

/// A request with the token from this address, now.
async fn ask(site: &Site, node: &Node, token: &str, address: &str) -> Verdict {
    let (credential, client) = (Credential::Own(node.hash(token)), client(address));
    let now = site.clock.now();
    match node.app.auth.authenticate_from_memory(&credential, client.environment, now) {
        Some(verdict) => verdict,
        None => node.app.auth.authenticate(&credential, &client, now).await.unwrap(),
    }
}

/// Kinds and details of the events in the order of time and name, once there are `count`.
async fn recorded(node: &Node, count: usize) -> Vec<(&'static str, String)> {
    wait::for_some(SOON, &format!("{count} events"), || async {
        let mut events: Vec<SecurityEvent> = node.app.auth.events(None, None, 200).await.unwrap();
        assert!(events.len() <= count, "more than {count}: {events:?}");
        events.sort_by_key(|event| (event.at, event.kind.as_str()));
        let told: Vec<_> = events.into_iter().map(|event| (event.kind.as_str(), event.detail)).collect();
        (told.len() == count).then_some(told)
    })
    .await
}

// spec: A5
#[tokio::test(flavor = "multi_thread")]
async fn another_country_and_a_journey_that_nobody_can_make_are_recorded() {
    on_every_backend(async |backend| {
        let file = world();
        let site = Site::new(backend).with("PHOENIX_GEOIP_DB", file.path().to_str().unwrap());
        let node = site.node().await;
        node.registered(ADA).await;
        let token = sign_in(&node, BERLIN).await;
        assert!(ask(&site, &node, &token, BERLIN).await.is_ok());
        // An hour to Hamburg, in the same country: another network, and no more.
        site.clock.advance_day(Duration::from_hours(1));
        assert!(ask(&site, &node, &token, HAMBURG).await.is_ok());
        assert_eq!(recorded(&node, 1).await, [("network-changed", String::new())]);
        // A day to Sydney: another country.
        site.clock.advance_day(Duration::from_hours(24));
        assert!(ask(&site, &node, &token, SYDNEY).await.is_ok());
        let events = recorded(&node, 3).await;
        assert_eq!(events[1], ("country-changed", "from DE to AU".to_owned()));
        // An hour back to Berlin.
        site.clock.advance_day(Duration::from_hours(1));
        assert!(ask(&site, &node, &token, BERLIN).await.is_ok(), "it is only recorded");
        let events = recorded(&node, 6).await;
        assert_eq!(events[3], ("country-changed", "from AU to DE".to_owned()));
        let (kind, detail) = &events[4];
        assert_eq!(*kind, "impossible-travel");
        assert!(detail.starts_with("160") && detail.ends_with(" km in 3600 s"), "{detail}");
        // An address that is in no country: in another network, and not known to be elsewhere.
        site.clock.advance_day(Duration::from_secs(1));
        assert!(ask(&site, &node, &token, NOWHERE).await.is_ok());
        assert_eq!(recorded(&node, 7).await[6].0, "network-changed");
        node.stop().await;
    })
    .await;
}

// spec: A5
#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_sessions_shows_the_country_of_the_last_address() {
    on_every_backend(async |backend| {
        let file = world();
        let site = Site::new(backend).with("PHOENIX_GEOIP_DB", file.path().to_str().unwrap());
        let node = site.node().await;
        let admin = node.signed_in(ADMIN).await;
        let id = node.registered(ADA).await.user_id().await;
        let token = sign_in(&node, BERLIN).await;
        for (address, country) in [(BERLIN, json!("DE")), (SYDNEY, json!("AU")), (NOWHERE, json!(null))] {
            assert!(ask(&site, &node, &token, address).await.is_ok());
            wait::until(SOON, &format!("{address} and its country in the list"), || {
                let (mut admin, country) = (admin.clone(), country.clone());
                let path = format!("/api/admin/users/{id}/sessions");
                async move {
                    let listed = admin.get(&path).await.json();
                    let mut lines = listed["sessions"].as_array().unwrap().iter();
                    let line = lines.find(|line| line["ipAddress"] == BERLIN).unwrap();
                    line["lastIpAddress"] == address && line["country"] == country
                }
            })
            .await;
        }
        node.stop().await;
    })
    .await;
}

// spec: A5
#[tokio::test(flavor = "multi_thread")]
async fn another_country_and_an_impossible_journey_are_answered_as_configured() {
    on_every_backend(async |backend| {
        let file = world();
        let site = Site::new(backend)
            .with("PHOENIX_GEOIP_DB", file.path().to_str().unwrap())
            .with("PHOENIX_ON_COUNTRY_CHANGE", "reauthenticate")
            .with("PHOENIX_ON_IMPOSSIBLE_TRAVEL", "revoke");
        let node = site.node().await;
        node.registered(ADA).await;
        let token = sign_in(&node, BERLIN).await;
        // Time enough to travel: whoever it is signs in there, and the session goes on at home.
        site.clock.advance_day(Duration::from_hours(24));
        for _ in 0..3 {
            assert_eq!(ask(&site, &node, &token, SYDNEY).await.unwrap_err(), Rejection::Reauthenticate);
        }
        assert!(ask(&site, &node, &token, HAMBURG).await.is_ok());
        // Of several reactions the strongest counts.
        site.clock.advance_day(Duration::from_mins(10));
        assert_eq!(ask(&site, &node, &token, SYDNEY).await.unwrap_err(), Rejection::Unknown);
        assert_eq!(ask(&site, &node, &token, HAMBURG).await.unwrap_err(), Rejection::Unknown);
        let events = recorded(&node, 7).await;
        let kinds: Vec<_> = events.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds[..3], ["country-changed", "network-changed", "network-changed"], "Sydney, Hamburg");
        assert_eq!(
            kinds[3..],
            ["country-changed", "impossible-travel", "network-changed", "session-revoked"]
        );
        node.stop().await;
    })
    .await;
}
