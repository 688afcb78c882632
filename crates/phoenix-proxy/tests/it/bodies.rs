//! Bodies in both directions: lengths, chunks, trailers, early answers, back-pressure, and whoever goes away.

use std::time::Duration;

use phoenix_testkit::upstream::{Script, Step, Upstream};
use phoenix_testkit::wait;

use crate::gateway::{BOUND, Client, Gateway, Got, Settings, ask, config, get, within};

#[tokio::test(flavor = "multi_thread")]
async fn answers_with_a_length_use_one_connection_again() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/small", Script::fixed(200, "hello"));
    upstream.on("/large", Script::bytes(3_000_000));
    upstream.on("/chunks", Script::chunked(&["one", "two"]));
    upstream.on("/none", Script::raw("HTTP/1.1 204 No Content\r\n\r\n"));
    upstream.on("/same", Script::raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"));
    let gateway = Gateway::to(&upstream).await;
    for _ in 0..3 {
        assert_eq!(get(gateway.address, "/small").await.body, "hello");
        assert_eq!(get(gateway.address, "/large").await.body.len(), 3_000_000);
        assert_eq!(get(gateway.address, "/chunks").await.body, "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
        assert_eq!(get(gateway.address, "/none").await.status, 204);
        assert_eq!(get(gateway.address, "/same").await.status, 304);
        let head = ask(gateway.address, "HEAD /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert_eq!((head.status, head.header("content-length"), head.body.as_str()), (200, Some("5"), ""));
        // The fake sends a body to HEAD, which is no HTTP; so the connection is not used again.
    }
    assert_eq!(upstream.requests(), 18);
    assert!(upstream.accepted() <= 4, "{} connections", upstream.accepted());
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_arrive_whole_with_their_framing() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::to(&upstream).await;
    let sent = ask(
        gateway.address,
        "POST /a?b=c HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
    );
    assert_eq!(sent.await.status, 200);
    let seen = upstream.last().unwrap();
    assert_eq!((seen.target.as_str(), seen.raw_body.as_slice()), ("/a?b=c", b"hello".as_slice()));
    assert_eq!(seen.header("content-length"), Some("5"));
    assert_eq!(seen.header("transfer-encoding"), None);

    for method in ["POST", "GET"] {
        let request = format!(
            "{method} /b HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        );
        assert_eq!(ask(gateway.address, &request).await.status, 200);
        let seen = upstream.last().unwrap();
        assert_eq!((seen.method.as_str(), seen.body.as_slice()), (method, b"abcde".as_slice()));
        assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
        assert!(!seen.raw_body.contains(&b';'), "chunk extensions are not passed on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_in_both_directions_without_what_may_not_be_there() {
    let upstream = Upstream::start().unwrap();
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Phoenix-Role\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nX-Phoenix-Role: admin\r\n\r\n";
    upstream.on("/t", Script::raw(answer));
    let gateway = Gateway::to(&upstream).await;
    let got = ask(
        gateway.address,
        "POST /t HTTP/1.1\r\nHost: a\r\nConnection: close, te\r\nTE: trailers\r\nTrailer: X-In, Content-Length, X-Phoenix-User-Id\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-In: 1\r\nContent-Length: 9\r\nX-Phoenix-User-Id: eve\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n",
    )
    .await;
    assert!(got.body.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{}", got.text);
    let seen = upstream.last().unwrap();
    assert_eq!(seen.trailers, [("x-in".to_owned(), "1".to_owned())]);
    assert_eq!((seen.header("te"), seen.header("connection")), (Some("trailers"), Some("TE")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_before_or_while_it_is_sent() {
    let upstream = Upstream::start().unwrap();
    let settings = Settings { max_body: 10, ..Settings::default() };
    let gateway = Gateway::with(config(&[upstream.address()]), settings).await;
    let declared = ask(
        gateway.address,
        "POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 11\r\n\r\nhello world",
    );
    assert_eq!(declared.await.header("failure"), Some("BodyTooLarge"));
    assert_eq!(upstream.requests(), 0, "nothing was sent");
    let chunked = "POST /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    assert_eq!(ask(gateway.address, chunked).await.header("failure"), Some("BodyTooLarge"));
    let fits = "POST /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n";
    assert_eq!(ask(gateway.address, fits).await.status, 200);
    let report = &gateway.proxy.report()[0];
    assert_eq!((report.is_up, report.failures, report.under_way), (true, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_reaches_the_client_before_its_body_is_sent() {
    let upstream = Upstream::start().unwrap();
    let refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlong";
    upstream.on("/early", Script::raw(refusal).early());
    let gateway = Gateway::to(&upstream).await;
    let mut client = Client::open(gateway.address).await;
    client
        .write("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nonly the beginning")
        .await;
    let head = client.until("long").await;
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn phoenix_answers_expectations_itself() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::to(&upstream).await;
    let mut client = Client::open(gateway.address).await;
    client
        .write("POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        .await;
    assert_eq!(client.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write("ok").await;
    assert_eq!(Got::parse(&client.rest().await).status, 200);
    let seen = upstream.last().unwrap();
    assert_eq!((seen.header("expect"), seen.body.as_slice()), (None, b"ok".as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_flow_while_both_sides_are_still_sending() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/mirror", Script::new(vec![Step::Mirror]).early());
    let gateway = Gateway::to(&upstream).await;
    let mut client = Client::open(gateway.address).await;
    client.write("POST /mirror HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    for text in ["one", "two", "six"] {
        client.write(&format!("3\r\n{text}\r\n")).await;
        assert_eq!(
            client.until(text).await,
            format!("3\r\n{text}").replace("3\r\n", if text == "one" { "3\r\n" } else { "\r\n3\r\n" })
        );
    }
    client.write("0\r\n\r\n").await;
    assert!(client.until("0\r\n\r\n").await.ends_with("0\r\n\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_one_by_one() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/events", Script::events(Duration::from_millis(20)));
    let gateway = Gateway::to(&upstream).await;
    let mut client = Client::open(gateway.address).await;
    client.write("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for _ in 0..5 {
        assert!(client.until("data: hello.\n\n").await.ends_with("data: hello.\n\n"));
    }
    drop(client);
    wait::until(BOUND, "the application to see that the reader is gone", || async { upstream.gone() == 1 })
        .await;
    wait::until(BOUND, "the place to be free", || async { gateway.proxy.report()[0].under_way == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_the_exchange_in_every_phase() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/silent", Script::silent());
    upstream.on(
        "/half",
        Script::new(vec![Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".into()), Step::Hang]),
    );
    let gateway = Gateway::to(&upstream).await;
    let requests = [
        // While the head is waited for.
        ("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        // Within the request's body.
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf", ""),
        // Within the answer's body.
        ("GET /half HTTP/1.1\r\nHost: a\r\n\r\n", "half"),
    ];
    for (number, (request, answer)) in requests.into_iter().enumerate() {
        let mut client = Client::open(gateway.address).await;
        client.write(request).await;
        let expected = number as u64 + 1;
        wait::until(BOUND, "the request", || async { upstream.requests() == expected }).await;
        if !answer.is_empty() {
            client.until(answer).await;
        }
        drop(client);
        wait::until(BOUND, "the end of the exchange", || async { upstream.gone() == expected }).await;
    }
    wait::until(BOUND, "all connections to close", || async { upstream.open() == 0 }).await;
    let report = &gateway.proxy.report()[0];
    assert_eq!((report.under_way, report.failures, report.is_up), (0, 0, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_the_application_back() {
    let upstream = Upstream::start().unwrap();
    let chunk = format!("10000\r\n{}\r\n", "z".repeat(0x10000));
    upstream.on(
        "/endless",
        Script::new(vec![
            Step::Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into()),
            Step::Forever(chunk.into(), Duration::ZERO),
        ]),
    );
    let gateway = Gateway::to(&upstream).await;
    let mut client = Client::open(gateway.address).await;
    client.write("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.until("\r\n\r\n").await;
    // Another client is served meanwhile, by the same thread of the application: it is stuck, not busy.
    assert_eq!(get(gateway.address, "/echo").await.status, 200);
    let mut read = vec![0; 10_000_000];
    within(tokio::io::AsyncReadExt::read_exact(&mut client.0, &mut read)).await.unwrap();
}
