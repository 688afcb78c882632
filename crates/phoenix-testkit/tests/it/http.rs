//! The HTTP client, against a server written out by hand.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use phoenix_testkit::http::Client;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Answers every request with its own head and body as text; announces the end with the last of them and closes.
async fn echo(stream: TcpStream, requests: usize) -> Result<()> {
    let mut stream = BufReader::new(stream);
    for request in 1..=requests {
        let connection = if request == requests { "close" } else { "keep-alive" };
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(Ok(0), str::parse)?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let text = format!("{head}{}", String::from_utf8(body)?);
        let answer = format!(
            "HTTP/1.1 201 Created\r\nx-echo: yes\r\nconnection: {connection}\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

async fn server(requests_per_connection: usize) -> Result<(SocketAddr, tokio::sync::watch::Receiver<usize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (connections, count) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.send_modify(|count| *count += 1);
            tokio::spawn(echo(stream, requests_per_connection));
        }
    });
    Ok((address, count))
}

#[tokio::test]
async fn requests_carry_headers_and_json_and_reuse_the_connection() -> Result<()> {
    let (address, connections) = server(1000).await?;
    let client = Client::new(address);
    let body = serde_json::json!({"name": "a"});
    let response = client.post("/api?x=1").header("x-one", "1").bearer("token").json(&body).send().await?;
    assert_eq!(response.status, 201);
    assert_eq!(response.header("X-Echo"), Some("yes"));
    let text = response.text();
    assert!(text.starts_with("POST /api?x=1 HTTP/1.1\r\n"), "{text}");
    for part in ["x-one: 1\r\n", "authorization: Bearer token\r\n", "content-type: application/json\r\n"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.ends_with(r#"{"name":"a"}"#), "{text}");
    for call in [client.get("/"), client.delete("/"), client.patch("/"), client.put("/")] {
        assert_eq!(call.send().await?.status, 201);
    }
    assert_eq!(*connections.borrow(), 1);
    Ok(())
}

#[tokio::test]
async fn a_connection_the_server_closed_is_replaced() -> Result<()> {
    let (address, connections) = server(1).await?;
    let client = Client::new(address);
    for _ in 0..20 {
        assert_eq!(client.get("/").send().await?.status, 201);
    }
    assert_eq!(*connections.borrow(), 20);
    Ok(())
}

#[tokio::test]
async fn raw_bytes_go_out_as_they_are_and_waiting_has_a_bound() -> Result<()> {
    let (address, _) = server(1).await?;
    let client = Client::new(address).with_bound(Duration::from_millis(100));
    let answer = client.raw(b"NOT HTTP AT ALL\r\n\r\n", Duration::from_secs(20)).await?;
    assert!(String::from_utf8(answer)?.ends_with("NOT HTTP AT ALL\r\n\r\n"));
    assert!(client.raw(b"half a line", Duration::from_millis(50)).await?.is_empty());

    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let client = Client::new(silent.local_addr()?).with_bound(Duration::from_millis(50));
    let error = client.get("/slow").send().await.expect_err("nobody answers");
    assert!(format!("{error:#}").contains("GET /slow took longer than 50ms"), "{error:#}");
    Ok(())
}
