//! Servers that run while they are looked at: one of Phoenix, what else may be at its address, and applications.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Response, Version};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use phoenix_testkit::upstream::{Script, Upstream};
use tokio_util::task::TaskTracker;

use super::{SetUp, assert_found, findings, report};
use crate::process::support::bare;

#[tokio::test]
async fn a_running_server_is_asked_how_it_is() {
    let server = bare().env("PHOENIX_TRUSTED_PROXIES", "127.0.0.0/8").start().expect("a server");
    let url = format!("http://{}", server.address());
    let ran = SetUp::embedded().arg("--url").arg(&url).run().await;
    for id in ["server.answers", "server.ready", "server.version", "server.status"] {
        assert_found(&ran, id, "ok", "");
    }
    // It believes this machine, which the set-up that is checked does not trust.
    assert_found(&ran, "server.client-addresses", "warning", "PHOENIX_TRUSTED_PROXIES");
    drop(server);
    let ran = SetUp::embedded().arg("--url").arg(&url).run().await;
    assert_found(&ran, "server.answers", "failure", "--url");
}

/// A server at the configured address that answers two paths as `script` says, and is ready.
fn instead_of_ours(script: &Script) -> (Upstream, SetUp) {
    let server = Upstream::start().expect("a server");
    server.on("/readyz", Script::fixed(200, "ready"));
    for path in ["/api/phoenix/status", "/api/phoenix/whoami"] {
        server.on(path, script.clone());
    }
    let set_up = SetUp::embedded().env("PHOENIX_LISTEN", &server.address().to_string());
    (server, set_up)
}

#[tokio::test]
async fn a_server_that_refuses_a_question_is_there_all_the_same() {
    for (status, word) in [(429, "429 Too Many Requests"), (503, "503 Service Unavailable")] {
        let (_server, set_up) = instead_of_ours(&Script::fixed(status, "{}"));
        let ran = set_up.run().await;
        assert_found(&ran, "server.answers", "ok", "");
        assert_found(&ran, "server.ready", "ok", "");
        assert_found(&ran, "server.status", "warning", "429");
        assert_found(&ran, "server.client-addresses", "warning", "503");
        let report = report(&ran);
        let found = findings(&report, "server.status")[0]["found"].as_str().expect("text");
        assert_eq!(found, format!("/api/phoenix/status answers {word}"));
        assert_eq!(findings(&report, "server.version")[0]["state"], "skipped");
    }
    let (server, set_up) = instead_of_ours(&Script::fixed(503, "{}"));
    server.on("/readyz", Script::fixed(503, "draining"));
    assert_found(&set_up.run().await, "server.ready", "failure", "postgres.reachable");
}

#[tokio::test]
async fn a_program_at_our_address_that_speaks_no_http_is_found() {
    let (server, set_up) = instead_of_ours(&Script::fixed(200, "{}"));
    server.on("/readyz", Script::raw_then_close("SSH-2.0-OpenSSH_9.6\r\n"));
    let ran = set_up.run().await;
    assert_found(&ran, "server.answers", "failure", "PHOENIX_LISTEN");
    let report = report(&ran);
    assert_eq!(findings(&report, "server.ready")[0]["state"], "skipped");
    drop(server);
    let nobody = set_up.run().await;
    assert_found(&nobody, "server.answers", "skipped", "");
}

/// Answers 200 over HTTP/2, and understands nothing else.
async fn http2_only(tasks: &TaskTracker) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("its address"));
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let well = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                assert_eq!(request.version(), Version::HTTP_2);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"well"))))
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // What it does not understand ends the connection only.
            let _ = builder.serve_connection(TokioIo::new(stream), well).await;
        }
    });
    origin
}

#[tokio::test]
async fn an_application_is_asked_in_the_version_that_it_speaks() {
    let tasks = TaskTracker::new();
    let set_up = SetUp::embedded()
        .env("PHOENIX_UPSTREAM", &http2_only(&tasks).await)
        .env("PHOENIX_GATEWAY_HEALTH_PATH", "/healthz");
    let ran = set_up.run().await;
    assert_found(&ran, "gateway.servers", "failure", "PHOENIX_UPSTREAM");
    let ran = set_up.env("PHOENIX_GATEWAY_PROTOCOL", "http2").run().await;
    assert_found(&ran, "gateway.servers", "ok", "");
    let report = report(&ran);
    let found = findings(&report, "gateway.servers")[0]["found"].as_str().expect("text");
    assert!(found.ends_with("answers 200"), "{found}");
}
