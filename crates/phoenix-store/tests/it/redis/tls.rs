//! TLS to real servers, alone, in a cluster and behind sentinels: that all connections have it, and whom it is refused
//! to.

use std::sync::{Arc, Mutex};

use phoenix_store::redis::{Delivered, RedisCommands, RedisConfig};
use phoenix_store::tls::Authorities;
use phoenix_testkit::certificates::Authority;
use phoenix_testkit::redis::{Cluster, Redis, Sentinels};
use phoenix_testkit::wait;

use super::commands::{LOST, one};
use super::{Running, config, now, sessions_with, works, works_again};
use crate::harness::BOUND;

fn trusting(authority: &Authority) -> Authorities {
    Authorities::mozilla().with_pem(authority.pem().as_bytes()).expect("a certificate")
}

fn secured(url: String, trusted: Authorities) -> RedisConfig {
    RedisConfig { trusted, ..config(url) }
}

fn commands(config: &RedisConfig) -> RedisCommands {
    RedisCommands::new(config, Arc::new(Running(now()))).expect("an address")
}

/// Sends until a message arrives.
async fn messages_arrive(config: &RedisConfig) {
    let (listener, sender) = (sessions_with(config), sessions_with(config));
    let heard = Mutex::new(false);
    let (receiver, sender) = (listener.channel(1), sender.channel(2));
    let check = wait::until(BOUND, "a message", || async {
        sender.publish("tls", b"hello").await;
        *heard.lock().expect("no test panics in it")
    });
    let channels = ["tls".to_owned()];
    let deliver = |delivered| {
        if matches!(delivered, Delivered::Message { .. }) {
            *heard.lock().expect("no test panics in it") = true;
        }
    };
    tokio::select! {
        () = receiver.run(&channels, deliver) => {}
        () = check => {}
    }
}

/// Everything that Phoenix does with Redis.
async fn everything_works(config: &RedisConfig) {
    let sessions = sessions_with(config);
    works_again(&sessions).await;
    let commands = commands(config);
    wait::until(BOUND, "a command to be answered", || async {
        one(&commands, &["SET", "tls", "yes"]).await.is_ok()
    })
    .await;
    messages_arrive(config).await;
}

async fn is_refused(config: &RedisConfig) {
    let sessions = sessions_with(config);
    assert!(sessions.ping().await.is_none() && !works(&sessions).await);
    assert!(!sessions.stats().available);
    assert_eq!(one(&commands(config), &["SET", "tls", "no"]).await, LOST);
}

// spec: G4
#[tokio::test]
async fn a_server_is_used_under_tls_with_its_password() {
    let ours = Authority::new("ours");
    let server =
        Redis::builder().requirepass("secret").tls(ours.issue_local(), &ours).start().expect("starts");
    for host in ["127.0.0.1", "localhost"] {
        everything_works(&secured(server.tls_url(host), trusting(&ours))).await;
    }
    // The other spelling, and the word by which the driver's own addresses go without verification.
    let plus = server.tls_url("127.0.0.1").replace("rediss://", "redis+tls://");
    everything_works(&secured(plus, trusting(&ours))).await;
    is_refused(&secured(format!("{}/#insecure", server.tls_url("127.0.0.1")), Authorities::mozilla())).await;
}

// spec: G4
#[tokio::test]
async fn a_server_that_does_not_prove_who_it_is_is_not_used() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let server = Redis::builder().tls(ours.issue_local(), &ours).start().expect("starts");
    let trusting_it = secured(server.tls_url("127.0.0.1"), trusting(&ours));
    everything_works(&trusting_it).await;
    for trusted in [Authorities::mozilla(), Authorities::none()] {
        is_refused(&secured(server.tls_url("127.0.0.1"), trusted)).await;
    }
    for leaf in [ours.issue(&["cache.example"]), ours.issue_expired(&["127.0.0.1"]), foreign.issue_local()] {
        server.change_certificate(&leaf, &ours).expect("takes it");
        is_refused(&trusting_it).await;
    }
    // A server that does not speak TLS where it is asked to.
    let plain = Redis::shared().address();
    is_refused(&secured(format!("rediss://{plain}"), trusting(&ours))).await;
}

// spec: G4
#[tokio::test]
async fn a_certificate_is_replaced_while_redis_is_used() {
    let ours = Authority::new("ours");
    let server = Redis::builder().tls(ours.issue_local(), &ours).start().expect("starts");
    let config = secured(server.tls_url("127.0.0.1"), trusting(&ours));
    let sessions = sessions_with(&config);
    works_again(&sessions).await;
    let replace = |leaf| {
        server.change_certificate(&leaf, &ours).expect("takes it");
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]).expect("ends connections");
    };
    replace(ours.issue_local());
    works_again(&sessions).await;
    replace(ours.issue_expired(&["127.0.0.1"]));
    wait::until(BOUND, "Redis to be refused", || async { sessions.ping().await.is_none() }).await;
    replace(ours.issue_local());
    works_again(&sessions).await;
}

// spec: G4
#[tokio::test]
async fn a_cluster_is_used_under_tls() {
    let ours = Authority::new("ours");
    let cluster = Cluster::start_with_tls(&ours).expect("a cluster");
    everything_works(&secured(cluster.tls_url(), trusting(&ours))).await;
    is_refused(&secured(cluster.tls_url(), Authorities::mozilla())).await;
}

// spec: G4
#[tokio::test]
async fn sentinels_and_the_master_they_name_are_used_under_tls() {
    let ours = Authority::new("ours");
    let set = Sentinels::start_with_tls(&ours).expect("sentinels");
    everything_works(&secured(set.tls_url(), trusting(&ours))).await;
    is_refused(&secured(set.tls_url(), Authorities::mozilla())).await;
}
