//! Forwarding headers, over real connections.

use std::net::{Ipv6Addr, SocketAddr};

use phoenix::listener::{self, ConnectionLimits};
use phoenix_testkit::wait;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::super::support::{ADMIN, Backend, PASSWORD, SOON, Site};
use super::{CLIENT, PROXY, STRANGER, VICTIM, body, found, request, short, tell, until_closed};

/// Headers that must move nobody, however they are written.
fn hostile() -> Vec<Vec<u8>> {
    let mut lines = vec![
        format!("X-Forwarded-For: {VICTIM}\r\n").into_bytes(),
        format!("Forwarded: for={VICTIM}\r\n").into_bytes(),
        format!("X-Real-IP: {VICTIM}\r\nTrue-Client-IP: {VICTIM}\r\nCF-Connecting-IP: {VICTIM}\r\n")
            .into_bytes(),
        b"X-Forwarded-For: \xff\xfe\x80,\xff\r\n".to_vec(),
        b"X-Forwarded-For:\r\nX-Forwarded-For:\r\n".to_vec(),
        b"Forwarded: for=\"\r\nForwarded: for=\"[::1\r\n".to_vec(),
        format!("X-Forwarded-For: {}\r\n", "1.1.1.1,".repeat(1000)).into_bytes(),
        format!("X-Forwarded-For: {}\r\n", "a".repeat(8192)).into_bytes(),
    ];
    lines.push(format!("X-Forwarded-For: {VICTIM}\r\n").repeat(50).into_bytes());
    lines
}

// spec: R4
#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_a_configured_proxy_is_itself_whatever_it_says() {
    let site = Site::new(Backend::Sqlite);
    for (setting, value) in
        [("PHOENIX_TRUSTED_PROXIES", ""), ("PHOENIX_TRUSTED_PROXIES", "127.0.0.1, 127.0.1.0/24")]
    {
        let node = site.node_with(setting, value).await;
        for headers in hostile() {
            let answer = tell(STRANGER, node.address, &request(&headers)).await;
            let name = String::from_utf8_lossy(&headers);
            assert_eq!(short(&answer), found("127.0.0.66", "peer"), "{name}");
        }
        node.stop().await;
    }
}

// spec: R4
#[tokio::test(flavor = "multi_thread")]
async fn the_first_untrusted_address_from_the_right_is_the_client() {
    let site = Site::new(Backend::Sqlite)
        .with("PHOENIX_TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8,::ffff:172.16.0.0/108");
    let node = site.node().await;
    for (lines, address, source) in [
        (&[CLIENT][..], CLIENT, "x-forwarded-for"),
        (&["198.51.100.7, 203.0.113.9"], CLIENT, "x-forwarded-for"),
        (&["198.51.100.7, 203.0.113.9:4711, 10.1.2.3", "172.16.5.5:80"], CLIENT, "x-forwarded-for"),
        (&["198.51.100.7", "::ffff:203.0.113.9,::ffff:10.1.2.3"], CLIENT, "x-forwarded-for"),
        (&["[2001:db8::7%eth0]:443"], "2001:db8::7", "x-forwarded-for"),
        (&["10.0.0.5, 10.0.0.6"], "10.0.0.5", "x-forwarded-for"),
        (&["203.0.113.9, unknown"], "127.0.0.1", "peer"),
        (&["203.0.113.9, \u{fe}\u{ff}"], "127.0.0.1", "peer"),
        (&["203.0.113.9,"], "127.0.0.1", "peer"),
        (&[], "127.0.0.1", "peer"),
    ] {
        let headers = lines.iter().fold(format!("Forwarded: for={VICTIM}\r\n"), |headers, line| {
            headers + &format!("X-Forwarded-For: {line}\r\n")
        });
        let answer = tell(PROXY, node.address, &request(headers.as_bytes())).await;
        assert_eq!(short(&answer), found(address, source), "{lines:?}");
    }
    for headers in hostile() {
        let honest = format!("X-Forwarded-For: {CLIENT}, 10.0.0.9\r\n");
        let answer = tell(PROXY, node.address, &request(&[&headers, honest.as_bytes()].concat())).await;
        assert_eq!(short(&answer), found(CLIENT, "x-forwarded-for"), "{}", String::from_utf8_lossy(&headers));
    }
    node.stop().await;
}

// spec: R4
#[tokio::test(flavor = "multi_thread")]
async fn hops_are_counted_from_the_right_and_the_standard_header_is_read() {
    let site = Site::new(Backend::Sqlite).with("PHOENIX_FORWARDED_HEADER", "forwarded");
    let node = site.node_with("PHOENIX_TRUSTED_HOPS", "2").await;
    for (line, address, source) in [
        (
            r#"for=198.51.100.7, for="203.0.113.9:80";host="a, for=198.51.100.7", for=_edge;by=_me"#,
            CLIENT,
            "forwarded",
        ),
        (r#"for="[2001:db8::7]:443", for=unknown;proto=https"#, "2001:db8::7", "forwarded"),
        ("for=203.0.113.9", "127.0.0.66", "peer"),
        ("for=198.51.100.7, for=203.0.113.9, x", "127.0.0.66", "peer"),
    ] {
        let headers = format!("Forwarded: {line}\r\nX-Forwarded-For: {VICTIM}, {VICTIM}\r\n");
        let answer = tell(STRANGER, node.address, &request(headers.as_bytes())).await;
        assert_eq!(short(&answer), found(address, source), "{line}");
    }
    node.stop().await;
}

// spec: R4
#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_signals_have_the_address_of_the_client() {
    let site = Site::new(Backend::Sqlite).with("PHOENIX_TRUSTED_PROXIES", "127.0.0.1");
    let node = site.node().await;
    let register = json!({"email": "ada@example.com", "password": PASSWORD, "transport": "bearer"});
    let call =
        node.client.post("/api/auth/register").header("x-forwarded-for", &format!("{VICTIM}, {CLIENT}"));
    let registered = call.json(&register).send().await.unwrap();
    assert_eq!(
        (registered.status.as_u16(), &registered.json()["session"]["ipAddress"]),
        (201, &json!(CLIENT))
    );
    let token = registered.json()["token"].as_str().unwrap().to_owned();
    let me = async |from: &str| {
        let call = node.client.get("/api/auth/me").bearer(&token).header("x-forwarded-for", from);
        assert_eq!(call.send().await.unwrap().status, 200);
    };
    let events = async || {
        let call =
            node.client.get("/api/auth/security-events").bearer(&token).header("x-forwarded-for", CLIENT);
        call.send().await.unwrap().json()["events"].as_array().unwrap().clone()
    };
    // The same /24, then another network: what is left of it does not matter.
    me("203.0.113.200").await;
    me(&format!("{VICTIM}, 203.0.113.201")).await;
    assert!(events().await.is_empty());
    me("192.0.2.1").await;
    let recorded = wait::for_some(SOON, "the event", async || events().await.first().cloned()).await;
    assert_eq!((&recorded["kind"], &recorded["ipAddress"]), (&json!("network-changed"), &json!("192.0.2.1")));
    node.stop().await;
}

// spec: R4
#[tokio::test(flavor = "multi_thread")]
async fn administrators_see_every_step() {
    let site = Site::new(Backend::Sqlite).with("PHOENIX_TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8");
    let node = site.node().await;
    let token = node.token(ADMIN).await;
    let ask = async |token: &str| {
        let call = node.client.get("/api/phoenix/whoami").bearer(token);
        let response = call.header("x-forwarded-for", "<b>, 203.0.113.9, 10.0.0.2:80").send().await.unwrap();
        assert_eq!((response.status.as_u16(), response.header("cache-control")), (200, Some("no-store")));
        response.json()
    };
    let element = |element: &str, address: Option<&str>, verdict: &str| json!({"element": element, "address": address, "verdict": verdict});
    assert_eq!(
        ask(&token).await,
        json!({
            "ipAddress": CLIENT, "source": "x-forwarded-for", "reason": "first-untrusted", "peer": "127.0.0.1",
            "peerTrusted": true, "proxyProtocol": null,
            "chain": [
                element("10.0.0.2:80", Some("10.0.0.2"), "trusted-proxy"),
                element(CLIENT, Some(CLIENT), "client"),
                element("<b>", None, "ignored"),
            ],
        })
    );
    let user = node.registered("ada@example.com").await.token();
    assert_eq!(ask(&user).await, json!({"ipAddress": CLIENT, "source": "x-forwarded-for"}));
    node.stop().await;
}

// spec: R4
#[tokio::test(flavor = "multi_thread")]
async fn on_a_socket_for_both_kinds_an_ipv4_client_is_one() {
    let site = Site::new(Backend::Sqlite).with("PHOENIX_TRUSTED_PROXIES", "127.0.0.1");
    let node = site.node().await;
    let socket = listener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).unwrap();
    let port = socket.local_addr().unwrap().port();
    let (stack, limits) = (node.app.stack(&site.config()).unwrap(), ConnectionLimits::of(&site.config()));
    let accepting = listener::serve(socket, stack, limits, node.app.clock(), node.app.lifecycle.clone());
    node.app.lifecycle.spawn("second accept loop", accepting);
    // The system says ::ffff:127.0.0.66 of this one.
    let stranger = tell(STRANGER, SocketAddr::from(([127, 0, 0, 1], port)), &request(b"")).await;
    assert_eq!(short(&stranger), found("127.0.0.66", "peer"));
    let headers = format!("X-Forwarded-For: {CLIENT}\r\n");
    let proxy = tell(PROXY, SocketAddr::from(([127, 0, 0, 1], port)), &request(headers.as_bytes())).await;
    assert_eq!(short(&proxy), found(CLIENT, "x-forwarded-for"), "the proxy is trusted as IPv4");
    let mut stream = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
    stream.write_all(&request(headers.as_bytes())).await.unwrap();
    assert_eq!(body(&until_closed(&mut stream).await)["ipAddress"], "::1");
    node.stop().await;
}
