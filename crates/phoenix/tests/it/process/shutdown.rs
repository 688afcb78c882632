//! The end: what is in flight finishes, what is idle does not hold it up, what waits to be written is written.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use phoenix_testkit::http::Client;
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::process::{Builder, Exit, PhoenixProcess};
use phoenix_testkit::wait;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::support::{ADMIN, CommandLine, PASSWORD, login, me, phoenix, register, token};

/// Far below `server.drain_timeout`, for ends that must not wait for it.
const PROMPT: Duration = Duration::from_secs(5);
/// An answer is there by then, also when the process has to start first.
const ANSWERED: Duration = Duration::from_mins(1);

/// A login whose body is still missing: the server has read the head and waits.
pub(super) struct LoginInFlight {
    stream: TcpStream,
    body: String,
}

impl LoginInFlight {
    pub(super) async fn start(address: SocketAddr) -> Result<Self> {
        let body = json!({"email": ADMIN, "password": PASSWORD, "transport": "bearer"}).to_string();
        let head = format!(
            "POST /api/auth/login HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(head.as_bytes()).await?;
        // The interim answer comes when the handler asks for the body.
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).await.context("the interim answer")?;
        ensure!(interim.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&interim));
        Ok(Self { stream, body })
    }

    /// Sends the body and returns everything the server says until it closes.
    pub(super) async fn finish(mut self) -> Result<String> {
        self.stream.write_all(self.body.as_bytes()).await?;
        let mut answer = String::new();
        tokio::time::timeout(PROMPT, self.stream.read_to_string(&mut answer)).await??;
        Ok(answer)
    }
}

async fn until_it_takes_no_more(server: &PhoenixProcess) {
    let (client, readyz) = (server.client(), "/readyz");
    wait::until(PROMPT, "the server to take nothing new", async || {
        client.get(readyz).send().await.map_or(true, |answer| answer.status == 503)
    })
    .await;
}

pub(super) fn ends_promptly(server: &PhoenixProcess) -> Exit {
    wait::until_blocking(PROMPT, "the process to end", || server.pid().is_none());
    server.wait_exit()
}

#[tokio::test]
async fn a_request_in_flight_finishes_after_sigterm_and_its_session_stays() -> Result<()> {
    let server = phoenix().start()?;
    let login = LoginInFlight::start(server.address()).await?;
    let mut idle = TcpStream::connect(server.address()).await?;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    ensure!(idle.read(&mut [0; 4096]).await? > 0, "an answer");
    server.ask_to_end()?;
    until_it_takes_no_more(&server).await;
    // Connections hear of it a moment later; one that is idle ends by it.
    tokio::time::timeout(PROMPT, idle.read_to_end(&mut Vec::new())).await??;
    assert!(server.pid().is_some(), "it waits for the login");
    let answer = login.finish().await?;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    assert_eq!(ends_promptly(&server), Exit::Code(0));

    let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").context("a body")?.1)?;
    let session = body["token"].as_str().context("a token")?;
    server.restart()?;
    assert_eq!(me(&server.client(), session).await?, 200);
    Ok(())
}

#[tokio::test]
async fn connections_without_a_request_do_not_hold_up_the_end() -> Result<()> {
    let server = phoenix().start()?;
    let (kept, address) = (server.client(), server.address());
    assert_eq!(kept.get("/healthz").send().await?.status, 200);
    let _silent = TcpStream::connect(address).await?;
    let mut half_http2 = TcpStream::connect(address).await?;
    half_http2.write_all(b"PRI * HTTP/2.0\r\n").await?;
    assert_eq!(kept.get("/healthz").send().await?.status, 200);
    server.ask_to_end()?;
    assert_eq!(ends_promptly(&server), Exit::Code(0));
    Ok(())
}

/// A connection that is kept open, byte by byte: no client that tries again by itself.
pub(super) struct Kept(TcpStream);

impl Kept {
    pub(super) async fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self(TcpStream::connect(address).await?))
    }

    /// The head and body of the answer to a GET whose answer has a length.
    pub(super) async fn get(&mut self, path: &str, headers: &str) -> Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        self.0.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let whole = async {
            loop {
                let text = String::from_utf8_lossy(&answer);
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    if body.len() >= length.context("an answer with a length")?.parse()? {
                        return anyhow::Ok(text.into_owned());
                    }
                }
                ensure!(self.0.read_buf(&mut answer).await? > 0, "closed after {answer:?}");
            }
        };
        tokio::time::timeout(ANSWERED, whole).await.context("no answer")?
    }

    /// Waits for the server to close it, without another byte.
    pub(super) async fn until_closed(mut self) -> Result<()> {
        let mut rest = Vec::new();
        tokio::time::timeout(PROMPT, self.0.read_to_end(&mut rest)).await??;
        ensure!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        Ok(())
    }
}

// spec: G3
#[tokio::test]
async fn a_draining_server_answers_one_more_request_on_each_connection_and_says_it_is_the_last() -> Result<()>
{
    let server = phoenix().env("PHOENIX_DRAIN_IDLE", "1m").start()?;
    let mut kept = Kept::open(server.address()).await?;
    let first = kept.get("/healthz", "").await?;
    assert!(!first.contains("connection: close"), "{first}");
    let fresh = Kept::open(server.address()).await?;
    server.ask_to_end()?;
    // A connection that says it drains is told so itself; these two have not asked yet.
    wait::until(PROMPT, "the server to accept no more", async || {
        TcpStream::connect(server.address()).await.is_err()
    })
    .await;
    for mut connection in [kept, fresh] {
        let last = connection.get("/healthz", "").await?;
        assert!(last.starts_with("HTTP/1.1 200 ") && last.contains("connection: close"), "{last}");
        connection.until_closed().await?;
    }
    assert_eq!(ends_promptly(&server), Exit::Code(0), "nobody is left to wait for");
    Ok(())
}

#[tokio::test]
async fn an_http2_connection_without_a_request_is_told_to_go_away_at_once() -> Result<()> {
    let server = phoenix().env("PHOENIX_DRAIN_IDLE", "1m").start()?;
    let stream = TcpStream::connect(server.address()).await?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.context("HTTP/2")?;
    let ended = TaskTracker::new().spawn(connection);
    let request = Request::get("http://localhost/healthz").body(Empty::<Bytes>::new())?;
    assert_eq!(sender.send_request(request).await?.status(), 200);
    server.ask_to_end()?;
    tokio::time::timeout(PROMPT, ended).await???;
    drop(sender);
    assert_eq!(ends_promptly(&server), Exit::Code(0));
    Ok(())
}

#[tokio::test]
async fn idle_connections_are_closed_when_their_time_is_over() -> Result<()> {
    let server = phoenix().env("PHOENIX_DRAIN_IDLE", "300ms").start()?;
    let mut kept = Kept::open(server.address()).await?;
    kept.get("/healthz", "").await?;
    let fresh = Kept::open(server.address()).await?;
    server.ask_to_end()?;
    kept.until_closed().await?;
    fresh.until_closed().await?;
    assert_eq!(ends_promptly(&server), Exit::Code(0));
    Ok(())
}

#[tokio::test]
async fn with_a_drain_delay_it_goes_on_for_a_while_and_says_that_it_is_not_ready() -> Result<()> {
    let server = phoenix().env("PHOENIX_DRAIN_DELAY", "1m").start()?;
    let client = server.client();
    assert_eq!(client.get("/readyz").send().await?.status, 200);
    server.ask_to_end()?;
    wait::until(PROMPT, "it to say that it is not ready", async || {
        client.get("/readyz").send().await.is_ok_and(|answer| answer.status == 503)
    })
    .await;
    let answer = Kept::open(server.address()).await?.get("/healthz", "").await?;
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("connection: close"), "{answer}");
    server.ask_to_end()?;
    assert_eq!(ends_promptly(&server), Exit::Code(0));
    assert!(server.stderr().contains("second signal"), "{}", server.stderr());
    let short = phoenix().env("PHOENIX_DRAIN_DELAY", "200ms").start()?;
    short.ask_to_end()?;
    assert_eq!(ends_promptly(&short), Exit::Code(0), "the delay ends by itself");
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() -> Result<()> {
    let server = phoenix().start()?;
    let login = LoginInFlight::start(server.address()).await?;
    server.ask_to_end()?;
    until_it_takes_no_more(&server).await;
    assert!(server.pid().is_some(), "it waits for the login");
    server.ask_to_end()?;
    assert_eq!(ends_promptly(&server), Exit::Code(0));
    drop(login);
    assert!(server.stderr().contains("second signal"), "{}", server.stderr());
    Ok(())
}

#[tokio::test]
async fn requests_that_outlast_the_drain_timeout_are_dropped() -> Result<()> {
    let server = phoenix().env("PHOENIX_DRAIN_TIMEOUT", "200ms").start()?;
    let login = LoginInFlight::start(server.address()).await?;
    server.ask_to_end()?;
    assert_eq!(ends_promptly(&server), Exit::Code(0));
    drop(login);
    Ok(())
}

#[tokio::test]
async fn a_signal_during_the_start_ends_it() -> Result<()> {
    let postgres = Postgres::start()?;
    let url = postgres.create_database();
    let server = phoenix().env("DATABASE_URL", &url).env("DB_POOL_MIN", "1").start()?;
    server.terminate()?;
    postgres.pause()?;
    // It cannot come up while the database hangs, so that it is still starting when the signal arrives.
    let started = std::thread::scope(|scope| {
        let starting = scope.spawn(|| server.restart());
        wait::until_blocking(PROMPT, "the process to run", || server.pid().is_some_and(catches_sigterm));
        let asked = server.ask_to_end();
        starting.join().map(|started| (started, asked))
    });
    postgres.resume()?;
    let (started, asked) = started.expect("the thread only starts a process");
    asked?;
    assert!(started.is_err(), "it never listened");
    assert_eq!(ends_promptly(&server), Exit::Code(0));
    Ok(())
}

/// Whether the process has installed its handler of SIGTERM (15).
fn catches_sigterm(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> 14 & 1 == 1)
}

/// Uses two sessions until both wait to be written, ends the server, and finds them written.
async fn last_seens_are_written(start: Builder, database: Option<&str>) -> Result<()> {
    let server = start.env("PHOENIX_LAST_SEEN_STEP", "1s").start()?;
    let client = &server.client();
    let user = token(&register(client, "ada@example.com").await?, 201);
    let admin = token(&login(client, ADMIN, PASSWORD).await?, 200);
    wait::until(Duration::from_secs(20), "two last-seens to wait", async || {
        me(client, &user).await.is_ok_and(|status| status == 200) && waiting(client, &admin).await >= Some(2)
    })
    .await;
    assert_eq!(server.terminate()?, Exit::Code(0));
    let mut command = CommandLine::beside(&server);
    if let Some(url) = database {
        command = command.env("DATABASE_URL", url);
    }
    for email in ["ada@example.com", ADMIN] {
        let sessions = command.run(&["session", "list", email, "--json"]).await.json();
        let session = &sessions[0];
        assert_ne!(session["lastSeenAt"], session["createdAt"], "{email}: {sessions}");
    }
    Ok(())
}

async fn waiting(client: &Client, admin: &str) -> Option<u64> {
    let status = client.get("/api/phoenix/status").bearer(admin).send().await.ok()?;
    status.json()["tiers"]["activityWaiting"].as_u64()
}

// spec: D15
#[tokio::test]
async fn last_seens_that_wait_are_written_to_the_embedded_database() -> Result<()> {
    last_seens_are_written(phoenix(), None).await
}

#[tokio::test]
async fn last_seens_that_wait_are_written_to_postgresql() -> Result<()> {
    let url = Postgres::shared().create_database();
    last_seens_are_written(phoenix().env("DATABASE_URL", &url), Some(&url)).await
}

#[tokio::test]
async fn a_connection_of_http2_to_an_application_does_not_hold_up_the_end() -> Result<()> {
    // Any server that speaks HTTP/2 will do.
    let app = phoenix().start()?;
    let server = phoenix()
        .env("PHOENIX_UPSTREAM", format!("http://{}", app.address()))
        .env("PHOENIX_GATEWAY_PROTOCOL", "http2")
        .env("PHOENIX_DRAIN_TIMEOUT", "1m")
        .start()?;
    let answer = server.client().get("/of-the-application").send().await?;
    ensure!(answer.headers.get("via").is_some_and(|via| via.as_bytes().starts_with(b"2.0 ")), "{answer:?}");
    server.ask_to_end()?;
    assert_eq!(ends_promptly(&server), Exit::Code(0));
    Ok(())
}
