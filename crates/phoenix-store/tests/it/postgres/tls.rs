//! TLS to a real server: that every connection has it, whom it is refused to, and that certificates may be replaced.

use std::sync::Mutex;

use phoenix_auth::ports::StoreErrorKind;
use phoenix_store::ConnectError;
use phoenix_store::postgres::{self, PgConfig, PgNotice, PgStore};
use phoenix_store::tls::{Authorities, TlsProblem};
use phoenix_testkit::certificates::Authority;
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::wait;
use tokio_util::task::TaskTracker;

use super::outages::{find, finds_again, running};
use crate::harness::{BOUND, pg_config, pg_store};

/// A server with a certificate for 127.0.0.1, and who issued it.
fn server() -> (Postgres, Authority) {
    let (server, ours) = (Postgres::builder().fsync(false).start().expect("starts"), Authority::new("ours"));
    server.serve_tls(&ours.issue_local(), &ours).expect("offers TLS");
    (server, ours)
}

fn trusting(authority: &Authority) -> Authorities {
    Authorities::mozilla().with_pem(authority.pem().as_bytes()).expect("a certificate")
}

fn config(url: &str, parameters: &str, trusted: &Authorities) -> PgConfig {
    PgConfig {
        trusted: trusted.clone(),
        connection_timeout: std::time::Duration::from_secs(5),
        ..pg_config(format!("{url}?{parameters}"))
    }
}

async fn refusal(url: &str, parameters: &str, trusted: &Authorities) -> Option<TlsProblem> {
    let error = postgres::status(&config(url, parameters, trusted), &TaskTracker::new()).await.err()?;
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("phoenix:phoenix"), "{shown}");
    let problem = if let ConnectError::Tls { problem, .. } = error { Some(problem) } else { None };
    assert!(problem.is_some(), "{parameters}: {shown}");
    problem
}

/// Connections of Phoenix in this database, and those of them without TLS.
fn connections(server: &Postgres, url: &str) -> (u32, u32) {
    let rows = server
        .query(
            "postgres",
            &format!(
                "SELECT count(*), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE application_name = 'phoenix' AND datname = '{}'",
                database_name(url)
            ),
        )
        .expect("a superuser may");
    let number =
        |column: usize| rows[0][column].as_deref().and_then(|text| text.parse().ok()).expect("a number");
    (number(0), number(1))
}

// spec: G4
#[tokio::test]
async fn every_connection_has_tls_and_is_bound_to_the_certificate() {
    let (server, ours) = server();
    let url = server.create_database();
    let parameters = "sslmode=verify-full&channel_binding=require";
    let encrypted = PgConfig { pool_min: 3, ..config(&url, parameters, &trusting(&ours)) };
    let heard = Mutex::new(Vec::new());
    let (store, session, _running) = running(encrypted).await;
    let deliver = |notice| heard.lock().expect("no test panics in it").push(notice);
    let told = |notice: PgNotice| heard.lock().expect("no test panics in it").contains(&notice);
    let check = async {
        wait::until(BOUND, "the listener to subscribe", || async { told(PgNotice::Connected) }).await;
        store.notify("tls", "hello").await.expect("sent");
        wait::until(BOUND, "the message", || async { told(PgNotice::Message("hello".to_owned())) }).await;
        finds_again(&store, &session).await;
        // The pool's minimum, two lanes and the listener: as many as without TLS.
        let (all, plain) = connections(&server, &url);
        assert_eq!(plain, 0);
        assert!((6..=7).contains(&all), "{all}");
    };
    tokio::select! {
        never = store.listen("tls", deliver) => match never {},
        () = check => {}
    }
    store.close();
}

// spec: G4
#[tokio::test]
async fn a_server_that_does_not_prove_who_it_is_is_refused() {
    let (server, ours) = server();
    let (foreign, url) = (Authority::new("foreign"), server.create_database());
    let (trusted, strangers) = (trusting(&ours), Authorities::mozilla());
    for mode in ["prefer", "allow", "require", "verify-ca", "verify-full"] {
        let mode = format!("sslmode={mode}");
        assert_eq!(refusal(&url, &mode, &trusted).await, None, "{mode}");
        assert_eq!(refusal(&url, &mode, &strangers).await, Some(TlsProblem::UnknownIssuer), "{mode}");
    }
    for (leaf, problem, spared_by_verify_ca) in [
        (ours.issue(&["db.example"]), TlsProblem::WrongName, true),
        (ours.issue_expired(&["127.0.0.1"]), TlsProblem::Expired, false),
        (foreign.issue_local(), TlsProblem::UnknownIssuer, false),
        (ours.as_leaf(), TlsProblem::AuthorityAsServer, false),
    ] {
        server.serve_tls(&leaf, &ours).expect("takes it");
        for mode in ["prefer", "require", "verify-full"] {
            assert_eq!(refusal(&url, &format!("sslmode={mode}"), &trusted).await, Some(problem), "{mode}");
        }
        let by_chain = refusal(&url, "sslmode=verify-ca", &trusted).await;
        assert_eq!(by_chain, (!spared_by_verify_ca).then_some(problem), "verify-ca");
        assert_eq!(refusal(&url, "sslmode=disable", &trusted).await, None);
    }
}

// spec: G4
#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let server = Postgres::shared();
    let (url, trusted) = (server.create_database(), Authorities::mozilla());
    for mode in ["require", "verify-ca", "verify-full"] {
        let problem = refusal(&url, &format!("sslmode={mode}"), &trusted).await;
        assert_eq!(problem, Some(TlsProblem::NotOffered), "{mode}");
    }
    for mode in ["disable", "allow", "prefer"] {
        assert_eq!(refusal(&url, &format!("sslmode={mode}"), &trusted).await, None, "{mode}");
    }
}

#[tokio::test]
async fn the_files_that_the_address_names_are_used() {
    let (server, ours) = server();
    let (url, folder) = (server.create_database(), tempfile::tempdir().expect("a folder"));
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let client = ours.issue_client("node one");
    let root = format!("sslmode=verify-full&sslrootcert={}", file("root", &ours.pem()));
    assert_eq!(refusal(&url, &root, &Authorities::none()).await, None);
    let foreign = file("foreign", &Authority::new("foreign").pem());
    let problem = refusal(&url, &format!("sslmode=require&sslrootcert={foreign}"), &trusting(&ours)).await;
    assert_eq!(problem, Some(TlsProblem::UnknownIssuer), "the file counts alone");

    let (shown, key) = (file("client", &client.certificate_pem), file("key", &client.key_pem));
    let with_client = format!("{root}&sslcert={shown}&sslkey={key}");
    let store = pg_store(config(&url, &with_client, &Authorities::none())).await;
    let names = "SELECT DISTINCT client_dn FROM pg_stat_ssl WHERE client_dn IS NOT NULL";
    let names = server.query("postgres", names).expect("a superuser may");
    assert_eq!(names, [[Some("/CN=node one".to_owned())]]);
    store.close();
}

#[tokio::test]
async fn on_this_machine_tls_is_not_asked_for_unless_the_address_does() {
    let (server, _ours) = server();
    let url = server.create_database();
    let store = pg_store(pg_config(url.clone())).await;
    let (all, plain) = connections(&server, &url);
    assert!(all > 0 && all == plain, "{plain} of {all}");
    store.close();
}

// spec: G4
#[tokio::test]
async fn a_certificate_is_replaced_while_the_store_runs() {
    let (server, ours) = server();
    let url = server.create_database();
    let (store, session, _running) = running(config(&url, "sslmode=verify-full", &trusting(&ours))).await;
    let replace = |leaf| {
        server.serve_tls(&leaf, &ours).expect("takes it");
        server.end_sessions(database_name(&url)).expect("a superuser may");
    };
    replace(ours.issue_local());
    finds_again(&store, &session).await;
    replace(ours.issue_expired(&["127.0.0.1"]));
    wait::until(BOUND, "the server to be refused", || async { find(&store, &session).await.is_err() }).await;
    let error = store.notify("tls", "by the pool").await.expect_err("the server is not trusted");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    replace(ours.issue_local());
    finds_again(&store, &session).await;
    store.close();
}

#[tokio::test]
async fn a_broken_handshake_is_an_outage_and_no_certificate() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = async {
        loop {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.expect("SSLRequest");
            stream.write_all(b"S").await.expect("read by the client");
        }
    };
    let url = format!("postgres://phoenix:not-the-password@{address}/x");
    let config = config(&url, "sslmode=require", &Authorities::mozilla());
    let tasks = TaskTracker::new();
    tokio::select! {
        () = server => {}
        refused = PgStore::connect(config, &tasks) => {
            assert!(matches!(refused, Err(ConnectError::Unreachable { .. })), "{:?}", refused.err());
        }
    }
}
