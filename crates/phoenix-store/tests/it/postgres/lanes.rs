//! The shared connections when a server is silent: given up in time although no caller waits that long, and only then.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use phoenix_auth::model::Seq;
use phoenix_auth::ports::{InvalidationLog, NewSession};
use phoenix_store::StoreStatus;
use phoenix_store::postgres::PgStore;
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::proxy::{FaultProxy, Mode};
use phoenix_testkit::wait;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::outages::{find, running};
use crate::harness::{BOUND, pg_config};

/// How long a caller waits for a look-up.
const PATIENCE: Duration = Duration::from_millis(200);
/// Three seconds of silence, half a second until they are noticed, and room for opening on a busy machine. Far below
/// the 15 s of a query.
const GIVEN_UP: Duration = Duration::from_secs(9);

/// Whether the session is found by a caller that waits no longer than its patience. `None` when that ended.
async fn impatient(store: &PgStore, session: &NewSession) -> Option<bool> {
    let found = tokio::time::timeout(PATIENCE, find(store, session)).await.ok()?;
    Some(found.is_ok_and(|found| found))
}

/// An address whose connections go to `first`, and when the switch is on, new ones to `second`.
async fn entrance(first: SocketAddr, second: SocketAddr) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let switch = Arc::new(AtomicBool::new(false));
    let switched = Arc::clone(&switch);
    let tasks = TaskTracker::new();
    tasks.clone().spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let target = if switched.load(Ordering::SeqCst) { second } else { first };
            tasks.spawn(async move {
                let mut server = TcpStream::connect(target).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (address, switch)
}

// spec: D6
#[tokio::test]
async fn silent_lanes_are_replaced_though_every_caller_gives_up_early() {
    let server = Postgres::shared();
    let url = server.create_database();
    let proxy = FaultProxy::start(server.address()).expect("a proxy");
    let (address, switch) = entrance(proxy.addr(), server.address()).await;
    let (store, session, _running) = running(pg_config(server.url_via(address, database_name(&url)))).await;
    assert!(find(&store, &session).await.expect("answers"));
    // What is open stays open and is answered no more; what is opened from now on works.
    proxy.set(Mode::Blackhole);
    switch.store(true, Ordering::SeqCst);
    assert_eq!(impatient(&store, &session).await, None);
    assert_eq!(impatient(&store, &session).await, None);
    // Nobody asks any more: the two that went away are enough for the verdict over both lanes.
    let both = wait::until(GIVEN_UP, "both silent lanes to have been given up", || async {
        let stats = store.statement_stats();
        stats.iter().any(|line| line.name == "probe" && line.errors >= 2)
    });
    both.await;
    wait::until(GIVEN_UP, "both lanes to be open again", || async { store.stats().shared_open == 2 }).await;
    for _ in 0..4 {
        assert!(find(&store, &session).await.expect("answers"));
        store.log_after(Seq(0), 10).await.expect("answers");
    }
}

// spec: D6
#[tokio::test]
async fn a_lane_that_is_only_slow_is_kept_and_asked_no_more_once_it_has_answered() {
    let server = Postgres::shared();
    let url = server.create_database();
    let proxy = FaultProxy::start(server.address()).expect("a proxy");
    let config = pg_config(server.url_via(proxy.addr(), database_name(&url)));
    let (store, session, _running) = running(config).await;
    let accepted = proxy.counts().accepted;
    // There and back: more than the patience of a caller, less than the silence of a lane.
    proxy.set(Mode::Latency(Duration::from_millis(300)));
    assert_eq!(impatient(&store, &session).await, None);
    assert_eq!(impatient(&store, &session).await, None);
    let probes = || {
        let stats = store.statement_stats();
        let probe = stats.iter().find(|line| line.name == "probe").expect("a named statement");
        (probe.count, probe.errors)
    };
    wait::until(BOUND, "both lanes to have been asked", || async { probes().0 >= 2 }).await;
    assert_eq!((probes(), store.stats().shared_open), ((2, 0), 2));
    assert_eq!(proxy.counts().accepted, accepted);
    proxy.set(Mode::Pass);
    assert!(find(&store, &session).await.expect("answers"));
}
