//! An application that is dead, slow, broken or hostile.

use std::time::Duration;

use phoenix_testkit::upstream::{Script, Step, Upstream};
use phoenix_testkit::{port, wait};

use crate::gateway::{BOUND, Client, Gateway, Settings, ask, config, get};

async fn failure_of(script: Script) -> String {
    let upstream = Upstream::start().unwrap();
    upstream.on("/x", script);
    let gateway = Gateway::to(&upstream).await;
    let got = ask(gateway.address, "POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    got.header("failure").unwrap_or(&got.text).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_http_are_garbage() {
    for raw in [
        "What?\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
    ] {
        assert_eq!(failure_of(Script::raw_then_close(raw)).await, "Garbage", "{raw}");
    }
    assert_eq!(failure_of(Script::endless_head()).await, "Garbage");
    let many = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "A: b\r\n".repeat(200));
    assert_eq!(failure_of(Script::raw(many)).await, "Garbage");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_end_before_the_head_are_closed() {
    assert_eq!(failure_of(Script::new(vec![Step::Close])).await, "Closed");
    assert_eq!(failure_of(Script::new(vec![Step::Reset])).await, "Closed");
    assert_eq!(failure_of(Script::raw_then_close("HTTP/1.1 200 OK\r\nContent-")).await, "Closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_ends_the_clients_connection() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/length", Script::raw_then_close("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"));
    upstream.on(
        "/chunks",
        Script::new(vec![
            Step::Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n".into()),
            Step::Reset,
        ]),
    );
    upstream.on("/old", Script::raw_then_close("HTTP/1.0 200 OK\r\n\r\nuntil the end"));
    let gateway = Gateway::to(&upstream).await;
    for path in ["/length", "/chunks"] {
        let mut client = Client::open(gateway.address).await;
        client.write(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let all = String::from_utf8_lossy(&client.rest().await).into_owned();
        assert!(!all.ends_with("0\r\n\r\n"), "{path}: a broken answer must not look complete: {all}");
    }
    assert!(get(gateway.address, "/old").await.body.contains("until the end"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_longer_than_the_deadline() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/silent", Script::silent());
    upstream.on("/half", Script::new(vec![Step::Send("HTTP/1.1 200 OK\r\n".into()), Step::Hang]));
    let settings = Settings { deadline: Duration::from_millis(200), ..Settings::default() };
    let gateway = Gateway::with(config(&[upstream.address()]), settings).await;
    for path in ["/silent", "/half"] {
        assert_eq!(get(gateway.address, path).await.header("failure"), Some("Timeout"));
    }
    wait::until(BOUND, "the exchanges to end", || async { upstream.open() == 0 }).await;
    assert!(gateway.proxy.report()[0].is_up, "one slow path says nothing of the others");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_begins_with_the_end_of_the_request() {
    let upstream = Upstream::start().unwrap();
    let settings = Settings { deadline: Duration::from_millis(300), ..Settings::default() };
    let gateway = Gateway::with(config(&[upstream.address()]), settings).await;
    let mut client = Client::open(gateway.address).await;
    client.write("POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n").await;
    for byte in ["h", "e", "l", "l", "o"] {
        tokio::time::sleep(Duration::from_millis(150)).await;
        client.write(byte).await;
    }
    let all = String::from_utf8_lossy(&client.rest().await).into_owned();
    assert!(all.starts_with("HTTP/1.1 200"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_are_bounded_in_both_directions() {
    let upstream = Upstream::start().unwrap();
    upstream.on(
        "/stall",
        Script::new(vec![Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".into()), Step::Hang]),
    );
    let settings = Settings { idle: Duration::from_millis(200), ..Settings::default() };
    let gateway = Gateway::with(config(&[upstream.address()]), settings).await;
    let mut client = Client::open(gateway.address).await;
    client.write("GET /stall HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(String::from_utf8_lossy(&client.rest().await).ends_with("half"));
    let mut client = Client::open(gateway.address).await;
    client.write("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
    let all = String::from_utf8_lossy(&client.rest().await).into_owned();
    assert!(all.contains("failure: RequestSlow"), "{all}");
    wait::until(BOUND, "the exchanges to end", || async { upstream.open() == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pauses_of_a_client_are_as_long_as_is_written() {
    let upstream = Upstream::start().unwrap();
    let (short, long) = (Duration::from_millis(200), BOUND);
    for (idle, client_pause, is_cut_off) in [(short, long, false), (long, short, true)] {
        let settings = Settings { idle, client_pause: Some(client_pause), ..Settings::default() };
        let gateway = Gateway::with(config(&[upstream.address()]), settings).await;
        let mut client = Client::open(gateway.address).await;
        client.write("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf").await;
        tokio::time::sleep(5 * short).await;
        // It may be over by now.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.0, b"half").await;
        let head = client.until("\r\n\r\n").await;
        assert_eq!(head.contains("failure: RequestSlow"), is_cut_off, "{head}");
        assert_eq!(head.starts_with("HTTP/1.1 200"), !is_cut_off, "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trickle_holds_no_place_until_both_sides_talk_unless_that_is_written() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/mirror", Script::new(vec![Step::Mirror]).early());
    // The speed is judged over this time, because it is less than a minute.
    let settings = Settings { idle: Duration::from_millis(400), ..Settings::default() };
    let written = Settings { client_pause: Some(settings.idle), ..settings.clone() };
    let [gateway, patient] =
        [settings, written].map(|settings| Gateway::with(config(&[upstream.address()]), settings));
    let (gateway, patient) = (gateway.await, patient.await);
    for (gateway, path, is_cut_off) in
        [(&gateway, "/wait", true), (&patient, "/wait", false), (&gateway, "/mirror", false)]
    {
        let mut client = Client::open(gateway.address).await;
        client.write(&format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")).await;
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(40)).await;
            // It may be over by now.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut client.0, b"1\r\nx\r\n").await;
        }
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.0, b"0\r\n\r\n").await;
        let head = client.until("\r\n\r\n").await;
        assert_eq!(head.contains("failure: RequestSlow"), is_cut_off, "{path}: {head}");
        assert_eq!(head.starts_with("HTTP/1.1 200"), !is_cut_off, "{path}: {head}");
        if path == "/mirror" {
            assert_eq!(client.until("0\r\n\r\n").await.matches('x').count(), 30);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_is_unreachable_then_spared_then_tried_again() {
    let address = ([127, 0, 0, 1], port::free()).into();
    let gateway = Gateway::with(config(&[address]), Settings::default()).await;
    for _ in 0..3 {
        assert_eq!(get(gateway.address, "/").await.header("failure"), Some("Unreachable"));
    }
    assert_eq!(get(gateway.address, "/").await.header("failure"), Some("NoneUp"));
    let report = &gateway.proxy.report()[0];
    assert_eq!((report.is_up, report.failures), (false, 3));
    assert_eq!(report.reason.as_deref(), Some("the server cannot be reached"));
    wait::until(BOUND, "a probe", || async {
        get(gateway.address, "/").await.header("failure") == Some("Unreachable")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_request_is_sent_again_when_its_connection_breaks_and_no_other_is() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/x", Script::new(vec![Step::Close]));
    let gateway = Gateway::to(&upstream).await;
    assert_eq!(get(gateway.address, "/x").await.header("failure"), Some("Closed"));
    assert_eq!(upstream.requests(), 2, "once more");
    let post = "POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(gateway.address, post).await.header("failure"), Some("Closed"));
    assert_eq!(upstream.requests(), 3);
    let body = "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\na";
    // Three failures in a row by now; wait until the server is tried again.
    wait::until(BOUND, "a probe", || async {
        ask(gateway.address, body).await.header("failure") == Some("Closed")
    })
    .await;
    assert_eq!(upstream.requests(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_server_closed_meanwhile_cost_no_request() {
    let upstream = Upstream::start().unwrap();
    // Says that it keeps the connection, and closes it.
    upstream.on("/liar", Script::raw_then_close("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let gateway = Gateway::to(&upstream).await;
    for number in 0..20_u64 {
        let post = "POST /liar HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        assert_eq!(ask(gateway.address, post).await.status, 200);
        wait::until(BOUND, "the close", || async { upstream.open() == 0 }).await;
        assert_eq!(upstream.requests(), number + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_for_its_age_is_no_failure_of_the_server() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/x", Script::new(vec![Step::Close]));
    let gateway = Gateway::to(&upstream).await;
    for number in 1..=5 {
        assert_eq!(get(gateway.address, "/ok").await.status, 200);
        let post = "POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        assert_eq!(ask(gateway.address, post).await.header("failure"), Some("Closed"));
        assert_eq!(upstream.requests(), 2 * number, "the server may have acted on it: it is not sent again");
    }
    let report = &gateway.proxy.report()[0];
    assert_eq!((report.is_up, report.failures), (true, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_take_the_body_runs_into_the_bound_on_pauses() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/x", Script::new(vec![Step::Stuck]).early());
    let settings = Settings { idle: Duration::from_millis(300), ..Settings::default() };
    let gateway = Gateway::with(config(&[upstream.address()]), settings).await;
    let mut client = Client::open(gateway.address).await;
    client.write("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n").await;
    let body = vec![b'x'; 100_000_000];
    let (mut read, mut write) = client.0.split();
    let sent = async {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut write, &body).await;
        std::future::pending::<()>().await;
    };
    let mut head = [0; 4096];
    let length = tokio::select! {
        () = sent => 0,
        length = tokio::io::AsyncReadExt::read(&mut read, &mut head) => length.unwrap(),
    };
    let head = String::from_utf8_lossy(&head[..length]);
    assert!(head.contains("failure: Timeout"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_loses_its_place_at_the_server() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/large", Script::bytes(50_000_000));
    let mut config = config(&[upstream.address()]);
    config.max_connections = 2;
    let settings = Settings { idle: Duration::from_secs(1), ..Settings::default() };
    let gateway = Gateway::with(config, settings).await;
    let proxy = gateway.proxy.clone();
    let stop = gateway.drain.clone();
    tokio::spawn(async move { proxy.tend(stop).await });
    let mut stalled = Vec::new();
    for _ in 0..2 {
        let mut client = Client::open(gateway.address).await;
        client.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.until("\r\n\r\n").await;
        stalled.push(client);
    }
    assert_eq!(get(gateway.address, "/").await.header("failure"), Some("Full"));
    wait::until(BOUND, "room", || async { get(gateway.address, "/").await.status == 200 }).await;
    // What they get is not taken for the whole.
    for client in &mut stalled {
        assert!(client.rest().await.len() < 50_000_000);
    }
}
