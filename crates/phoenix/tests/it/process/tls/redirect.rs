//! The port of plain HTTP beside HTTPS.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use phoenix_testkit::port;
use phoenix_testkit::process::{Builder, PhoenixProcess};
use tokio::net::TcpStream;

use super::support::{Answer, Authority, Folder, ask, server};

async fn send(from: SocketAddr, head: &str) -> Result<Answer> {
    ask(TcpStream::connect(from).await?, head, "").await
}

fn start(builder: Builder) -> Result<(PhoenixProcess, SocketAddr)> {
    let from: SocketAddr = format!("127.0.0.1:{}", port::free()).parse()?;
    Ok((builder.env("PHOENIX_TLS_REDIRECT_LISTEN", from.to_string()).start()?, from))
}

// spec: G4
#[tokio::test]
async fn plain_http_is_sent_on_to_https_and_served_nothing() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let file = folder.write("a.pem", &authority.server(&["a.example", "*.a.example"])?.both())?;
    let (server_at_port, from) = start(server(&[&file]))?;
    let port = server_at_port.address().port();
    for (request, path) in [
        ("GET /x?a=b&c=%20d HTTP/1.1\r\nHost: a.example", "/x?a=b&c=%20d"),
        ("GET / HTTP/1.1\r\nHost: A.example:80", "/"),
        ("POST /api/auth/login HTTP/1.1\r\nHost: a.example:8080", "/api/auth/login"),
        ("HEAD /y HTTP/1.1\r\nHost: a.example", "/y"),
        ("DELETE //evil.example/ HTTP/1.1\r\nHost: a.example", "//evil.example/"),
        ("GET http://a.example/abs HTTP/1.1\r\nHost: b.example", "/abs"),
        ("OPTIONS * HTTP/1.1\r\nHost: a.example", "/"),
        ("GET /healthz HTTP/1.1\r\nHost: a.example", "/healthz"),
    ] {
        let answer = send(from, request).await?;
        let expected = format!("https://a.example:{port}{}", path.to_ascii_lowercase());
        assert_eq!((answer.status, answer.header("location")), (308, Some(expected.as_str())), "{request}");
        assert_eq!(
            answer.header("strict-transport-security"),
            None,
            "not over plain HTTP (RFC 6797 section 7.2)"
        );
    }
    for request in [
        "GET / HTTP/1.0",
        "GET / HTTP/1.1\r\nHost: ",
        "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example",
        "GET / HTTP/1.1\r\nHost: a.example/b",
        "GET / HTTP/1.1\r\nHost: x@a.example",
        "GET / HTTP/1.1\r\nHost: a.example\\b",
        "CONNECT a.example:443 HTTP/1.1\r\nHost: ",
    ] {
        let answer = send(from, request).await?;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{request}: {answer:?}");
    }
    server_at_port.terminate().context("it ends")?;
    Ok(())
}

// spec: G4
#[tokio::test]
async fn nobody_is_sent_to_a_host_that_no_certificate_has() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let names = ["a.example", "*.a.example", "192.0.2.1", "2001:db8::1"];
    let file = folder.write("a.pem", &authority.server(&names)?.both())?;
    let (server, from) = start(server(&[&file]))?;
    let port = server.address().port();
    for host in ["a.example", "a.example.", "www.a.example:8080", "192.0.2.1", "[2001:db8:0::1]:80"] {
        let answer = send(from, &format!("GET /p HTTP/1.1\r\nHost: {host}")).await?;
        let name = host.trim_end_matches(":8080").trim_end_matches(":80");
        let expected = format!("https://{name}:{port}/p");
        assert_eq!((answer.status, answer.header("location")), (308, Some(expected.as_str())), "{host}");
    }
    for request in [
        "GET / HTTP/1.1\r\nHost: evil.example",
        "GET / HTTP/1.1\r\nHost: a.example.evil.example",
        "GET / HTTP/1.1\r\nHost: b.www.a.example",
        "GET / HTTP/1.1\r\nHost: 192.0.2.2",
        "GET / HTTP/1.1\r\nHost: [2001:db8::2]",
        "GET http://evil.example/ HTTP/1.1\r\nHost: a.example",
    ] {
        let answer = send(from, request).await?;
        assert_eq!((answer.status, answer.header("location")), (421, None), "{request}: {answer:?}");
    }
    server.terminate().context("it ends")?;
    Ok(())
}

// spec: G4
#[tokio::test]
async fn the_public_address_says_which_port_and_stands_in_for_hosts_without_a_certificate() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let file = folder.write("a.pem", &authority.server(&["a.example", "*.a.example"])?.both())?;
    let (_server, from) = start(server(&[&file]).env("PHOENIX_PUBLIC_URL", "https://a.example"))?;
    for (host, expected) in [
        ("a.example", "https://a.example/p"),
        ("www.a.example:8080", "https://www.a.example/p"),
        ("192.0.2.1", "https://a.example/p"),
        ("elsewhere.example", "https://a.example/p"),
    ] {
        let answer = send(from, &format!("GET /p HTTP/1.1\r\nHost: {host}")).await?;
        assert_eq!((answer.status, answer.header("location")), (308, Some(expected)), "{host}");
    }
    Ok(())
}
