//! The load generator against the reference server and against servers that misbehave.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use xtask::bench::load::{self, Answer, Asker, Expect, Plan, Requests};
use xtask::bench::reference::ReferenceServer;

fn reference() -> Result<ReferenceServer> {
    ReferenceServer::start(Path::new(env!("CARGO_BIN_EXE_xtask")), &[])
}

fn plan(address: SocketAddr) -> Plan {
    Plan {
        connections: 8,
        warm_up: Duration::from_millis(50),
        duration: Duration::from_millis(300),
        ..Plan::new(address, Requests::Same(load::request("GET", "/", &[("host", "x")], b"")))
    }
}

/// A server that answers the n-th request (from 0, over all connections) with `answer(n, path)`, and closes the
/// connection when that is empty.
fn scripted(answer: impl Fn(usize, &str) -> String + Clone + Send + Sync + 'static) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    std::thread::Builder::new().spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (answer, count) = (answer.clone(), count.clone());
            let _ = std::thread::Builder::new().spawn(move || -> Option<()> {
                let mut stream = BufReader::new(stream);
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if stream.read_line(&mut head).ok()? == 0 {
                            return None;
                        }
                    }
                    let path = head.split(' ').nth(1).unwrap_or_default();
                    let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let text = answer(number, path);
                    if text.is_empty() {
                        return None;
                    }
                    stream.get_mut().write_all(text.as_bytes()).ok()?;
                }
            });
        }
    })?;
    Ok(address)
}

#[test]
fn a_closed_loop_counts_and_measures() -> Result<()> {
    let server = reference()?;
    let outcome = load::closed_loop(&plan(server.address()))?;
    outcome.ensure_clean()?;
    assert!(outcome.completed > 100, "{}", outcome.completed);
    assert_eq!(outcome.latency_ns.len(), outcome.completed);
    assert!(outcome.elapsed >= Duration::from_millis(300) && outcome.per_second() > 0.0);
    assert!(outcome.quantile(0.5) <= outcome.quantile(0.99) && outcome.quantile(0.5) > Duration::ZERO);
    assert!(outcome.generator_cpu > Duration::ZERO && outcome.generator_cpu < outcome.elapsed * 2);
    Ok(())
}

#[test]
fn pipelined_requests_are_all_answered_and_counted() -> Result<()> {
    let server = reference()?;
    let outcome = load::closed_loop(&Plan { pipeline: 16, ..plan(server.address()) })?;
    outcome.ensure_clean()?;
    assert!(outcome.completed > 100, "{}", outcome.completed);

    let address = scripted(|_, path| {
        let body = "x".repeat(if path == "/large" { 100_000 } else { 3 });
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    })?;
    let list = ["/large", "/small", "/small"].map(|path| load::request("GET", path, &[], b"")).to_vec();
    let outcome = load::closed_loop(&Plan { pipeline: 5, requests: Requests::Cycle(list), ..plan(address) })?;
    outcome.ensure_clean()
}

#[test]
fn an_open_loop_keeps_its_rate() -> Result<()> {
    let server = reference()?;
    let outcome = load::open_loop(&plan(server.address()), 1000.0)?;
    outcome.ensure_clean()?;
    assert!((299..=301).contains(&outcome.completed), "{}", outcome.completed);
    Ok(())
}

#[test]
fn an_open_loop_counts_the_wait_that_a_stall_causes() -> Result<()> {
    // The server answers nothing for 200 ms; behind one connection everything that is due meanwhile waits.
    let address = scripted(|number, _| {
        if number == 60 {
            std::thread::park_timeout(Duration::from_millis(200));
        }
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()
    })?;
    let plan = Plan { connections: 1, warm_up: Duration::ZERO, ..plan(address) };
    let outcome = load::open_loop(&plan, 500.0)?;
    outcome.ensure_clean()?;
    assert_eq!(outcome.completed, 150);
    // A closed loop would have seen one slow request of 150. Here the hundred that were due in the stall are slow.
    assert!(outcome.quantile(0.7) >= Duration::from_millis(50), "{:?}", outcome.quantile(0.7));
    Ok(())
}

#[test]
fn unexpected_answers_are_counted_and_shown() -> Result<()> {
    let server = reference()?;
    let mut plan = plan(server.address());
    for expect in [Expect::status(201), Expect::status(200).with_header("x-cache-hit", "l1")] {
        plan.expect = expect;
        let outcome = load::closed_loop(&plan)?;
        assert!(outcome.failures.unexpected > 0 && outcome.completed == 0);
        let error = outcome.ensure_clean().expect_err("all answers are wrong").to_string();
        assert!(error.contains("status 200"), "{error}");
    }
    Ok(())
}

#[test]
fn broken_connections_are_counted_and_replaced() -> Result<()> {
    let address = scripted(|number, _| {
        let broken = number % 10 == 9;
        if broken { String::new() } else { "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned() }
    })?;
    for outcome in [load::closed_loop(&plan(address))?, load::open_loop(&plan(address), 1000.0)?] {
        assert!(outcome.failures.broken > 0 && outcome.completed > outcome.failures.broken, "{outcome:?}");
    }
    Ok(())
}

#[test]
fn large_answers_and_lists_of_requests_work() -> Result<()> {
    let address = scripted(|_, path| {
        let body = "x".repeat(if path == "/large" { 300_000 } else { 3 });
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    })?;
    let list = ["/large", "/small"].map(|path| load::request("GET", path, &[], b"")).to_vec();
    for requests in [Requests::Cycle(list.clone()), Requests::PerConnection(list)] {
        let outcome = load::closed_loop(&Plan { requests, ..plan(address) })?;
        outcome.ensure_clean()?;
    }
    Ok(())
}

#[test]
fn a_server_that_is_not_there_is_an_error() -> Result<()> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    assert!(load::closed_loop(&plan(address)).is_err());
    assert!(load::open_loop(&plan(address), 0.0).is_err());
    Ok(())
}

#[test]
fn a_request_is_encoded_with_its_length() {
    let bytes = load::request("POST", "/a", &[("host", "x")], b"{}");
    assert_eq!(bytes, b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}");
}

#[tokio::test]
async fn an_asker_keeps_its_connection_and_opens_another_after_an_error() -> Result<()> {
    let answers =
        ["200 OK\r\nx-cache-hit: l1", "503 Unavailable", "", "200 OK\r\nconnection: close", "200 OK"];
    let address = scripted(move |number, _| match answers.get(number) {
        None | Some(&"") => String::new(),
        Some(head) => format!("HTTP/1.1 {head}\r\ncontent-length: 9000\r\n\r\n{}", "x".repeat(9000)),
    })?;
    let mut asker = Asker::new(address, Duration::from_secs(20));
    let request = load::request("GET", "/", &[("host", "x")], b"");
    let expect = Expect::status(200).with_header("x-cache-hit", "l1");
    assert_eq!(asker.ask(&request, &expect).await?, Answer { status: 200, good: true });
    assert_eq!(asker.ask(&request, &expect).await?, Answer { status: 503, good: false });
    assert!(asker.ask(&request, &expect).await.is_err());
    assert_eq!(asker.ask(&request, &expect).await?, Answer { status: 200, good: false });
    assert_eq!(asker.ask(&request, &Expect::status(200)).await?, Answer { status: 200, good: true });
    Ok(())
}

#[tokio::test]
async fn an_asker_gives_up_in_time_and_refuses_what_has_no_end() -> Result<()> {
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let request = load::request("GET", "/", &[("host", "x")], b"");
    let mut asker = Asker::new(silent.local_addr()?, Duration::from_millis(50));
    let error = asker.ask(&request, &Expect::status(200)).await.expect_err("nobody answers");
    assert!(error.to_string().contains("in time"), "{error}");
    for answer in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxx",
    ] {
        let address = scripted(move |_, _| answer.to_owned())?;
        let mut asker = Asker::new(address, Duration::from_secs(20));
        assert!(asker.ask(&request, &Expect::status(200)).await.is_err(), "{answer}");
    }
    Ok(())
}
