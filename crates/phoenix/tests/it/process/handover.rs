//! One process follows another at the same address without a request that fails.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::process::{Builder, Exit, PhoenixProcess};
use phoenix_testkit::wait;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::shutdown::{Kept, LoginInFlight, ends_promptly};
use super::support::{BINARY, logout, me, phoenix, register, token};

const SOON: Duration = Duration::from_secs(30);
/// Clients on kept connections, and as many on a new connection for each request.
const CLIENTS: u64 = 4;
/// Each client asks this often: 320 requests a second in all.
const PACE: Duration = Duration::from_millis(25);

/// Everything that processes following each other share.
fn sharing(folder: &Path) -> Builder {
    phoenix()
        .env("PHOENIX_HANDOVER_SOCKET", folder.join("handover.sock").to_string_lossy())
        .env("PHOENIX_DATA_DIR", folder.join("data").to_string_lossy())
        .env("PHOENIX_DRAIN_IDLE", "5s")
}

/// The next process, in place of `now`.
fn next(start: &Builder, now: &PhoenixProcess) -> Result<PhoenixProcess> {
    start.clone().env("PHOENIX_LISTEN", now.address().to_string()).start()
}

/// Clients that ask without a pause for breath, and never a second time.
struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    fn start(address: SocketAddr, token: &str) -> Self {
        let mut load = Self { over: Arc::default(), answered: Arc::default(), clients: Vec::new() };
        for number in 0..2 * CLIENTS {
            let (over, answered, token) =
                (Arc::clone(&load.over), Arc::clone(&load.answered), token.to_owned());
            let keeps = number % 2 == 0;
            load.clients.push(TaskTracker::new().spawn(async move {
                let authorization = format!("Authorization: Bearer {token}\r\n");
                let mut kept: Option<Kept> = None;
                let mut pace = tokio::time::interval(PACE);
                while !over.load(Ordering::Relaxed) {
                    pace.tick().await;
                    let mut connection = match kept.take() {
                        Some(connection) => connection,
                        None => Kept::open(address).await.context("connect")?,
                    };
                    let answer = connection.get("/api/auth/me", &authorization).await?;
                    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    if keeps && !answer.contains("connection: close") {
                        kept = Some(connection);
                    }
                }
                Ok(())
            }));
        }
        load
    }

    async fn until_more(&self, count: u64) {
        let until = self.answered.load(Ordering::Relaxed) + count;
        wait::until(SOON, "more answers", async || {
            self.answered.load(Ordering::Relaxed) >= until || self.clients.iter().any(JoinHandle::is_finished)
        })
        .await;
    }

    /// Ends the clients; an error is the first request that failed.
    async fn end(self) -> Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await??;
        }
        Ok(self.answered.load(Ordering::Relaxed))
    }
}

async fn nothing_fails_while_processes_follow_each_other(start: Builder) -> Result<()> {
    let mut now = start.clone().start()?;
    let session = token(&register(&now.client(), "ada@example.com").await?, 201);
    let load = Load::start(now.address(), &session);
    for _ in 0..3 {
        load.until_more(100).await;
        let start = start.clone();
        let (before, after) = tokio::task::spawn_blocking(move || {
            let after = next(&start, &now)?;
            anyhow::Ok((now, after))
        })
        .await??;
        let ended = tokio::task::spawn_blocking(move || (before.wait_exit(), before.stderr())).await?;
        assert_eq!(ended.0, Exit::Code(0), "{}", ended.1);
        now = after;
    }
    load.until_more(100).await;
    let answered = load.end().await?;
    assert!(answered >= 400, "{answered} answers");
    Ok(())
}

// spec: G3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_processes_follow_each_other_on_the_embedded_database() -> Result<()> {
    let folder = tempfile::tempdir()?;
    nothing_fails_while_processes_follow_each_other(sharing(folder.path())).await
}

// spec: G3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_processes_follow_each_other_on_postgresql() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = Postgres::shared().create_database();
    nothing_fails_while_processes_follow_each_other(sharing(folder.path()).env("DATABASE_URL", &url)).await
}

#[tokio::test]
async fn a_request_under_way_finishes_at_the_old_process_and_what_the_new_one_ended_counts_there()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let start =
        sharing(folder.path()).env("PHOENIX_DRAIN_IDLE", "1m").env("PHOENIX_HEADER_READ_TIMEOUT", "2m");
    let old = start.clone().start()?;
    let session = token(&register(&old.client(), "ada@example.com").await?, 201);
    let authorization = format!("Authorization: Bearer {session}\r\n");
    // Each of these is answered by the old process once, from its memory.
    let mut kept = Vec::new();
    for _ in 0..200 {
        let mut connection = Kept::open(old.address()).await?;
        ensure!(connection.get("/healthz", "").await?.starts_with("HTTP/1.1 200 "));
        kept.push(connection);
    }
    let login = LoginInFlight::start(old.address()).await?;
    let new = next(&start, &old)?;
    let client = new.client();
    assert_eq!(me(&client, &session).await?, 200);
    assert_eq!(client.get("/readyz").send().await?.status, 200);
    let mut first = kept.pop().context("one")?;
    let answer = first.get("/api/auth/me", &authorization).await?;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    let mut ready = kept.pop().context("one")?;
    let answer = ready.get("/readyz", "").await?;
    assert!(answer.starts_with("HTTP/1.1 200 "), "the service is ready: {answer}");

    assert_eq!(logout(&client, &session).await?.status, 200);
    let mut pace = tokio::time::interval(PACE);
    let mut obeyed = false;
    for mut connection in kept.drain(..) {
        // Each may wait a moment, so that all of them together last longer than the bound of a revocation.
        pace.tick().await;
        obeyed = connection.get("/api/auth/me", &authorization).await?.starts_with("HTTP/1.1 401 ");
        if obeyed {
            break;
        }
    }
    assert!(obeyed, "the old process does not hear of the logout");
    drop((kept, first, ready));
    assert!(old.pid().is_some(), "it waits for the login");
    let answer = login.finish().await?;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(ends_promptly(&old), Exit::Code(0));
    let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").context("a body")?.1)?;
    assert_eq!(
        me(&client, body["token"].as_str().context("a token")?).await?,
        200,
        "made by the old process"
    );
    Ok(())
}

/// A process that is to take over from `old`, and may fail.
fn candidate(old: &PhoenixProcess, folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .current_dir(folder)
        .env_clear()
        .env("PHOENIX_LISTEN", old.address().to_string())
        .env("PHOENIX_HANDOVER_SOCKET", folder.join("handover.sock"))
        .env("PHOENIX_DATA_DIR", folder.join("data"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_new_process_that_fails_at_the_last_moment_leaves_somebody_who_serves() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let start = sharing(folder.path()).env("PHOENIX_DRAIN_IDLE", "0s");
    let old = start.clone().start()?;
    // Where its own socket would be, beside the one in use, there is something that cannot be removed.
    let in_the_way = folder.path().join("handover.sock.new");
    std::fs::create_dir(&in_the_way)?;
    let failed = tokio::time::timeout(SOON, candidate(&old, folder.path()).output()).await??;
    assert!(!failed.status.success());
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("PHOENIX_HANDOVER_SOCKET"), "{said}");
    assert_eq!(old.client().get("/readyz").send().await?.status, 200);
    assert!(!old.stderr().contains("another process serves"), "{}", old.stderr());
    std::fs::remove_dir(&in_the_way)?;

    // It cannot say that it serves, but it does, and the next one finds it.
    let full = std::fs::File::options().write(true).open("/dev/full")?;
    let stderr = folder.path().join("stderr");
    let mut silent =
        candidate(&old, folder.path()).stdout(full).stderr(std::fs::File::create(&stderr)?).spawn()?;
    assert_eq!(ends_promptly(&old), Exit::Code(0));
    wait::until(SOON, "it to say that nobody was told", async || {
        std::fs::read_to_string(&stderr).is_ok_and(|said| said.contains("nobody was told"))
    })
    .await;
    assert!(silent.try_wait()?.is_none(), "it serves");
    assert_eq!(old.client().get("/readyz").send().await?.status, 200);
    let next = next(&start, &old)?;
    assert!(tokio::time::timeout(SOON, silent.wait()).await??.success());
    assert_eq!(next.client().get("/readyz").send().await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn when_the_new_process_dies_before_it_is_ready_the_old_one_goes_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::start()?;
    let url = postgres.create_database();
    let start = sharing(folder.path()).env("DATABASE_URL", &url).env("PHOENIX_DRAIN_IDLE", "0s");
    let old = start.clone().start()?;
    // It cannot come up while the database hangs.
    postgres.pause()?;
    let mut new = candidate(&old, folder.path())
        .env("DATABASE_URL", &url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    wait::until(SOON, "the new process to ask", async || old.stderr().contains("a new process takes over"))
        .await;
    assert_eq!(old.client().get("/healthz").send().await?.status, 200);
    new.kill().await?;
    postgres.resume()?;
    wait::until(SOON, "the old process to hear of it", async || old.stderr().contains("this one goes on"))
        .await;
    wait::until(SOON, "the database to answer", async || {
        old.client().get("/readyz").send().await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    let new = next(&start, &old)?;
    assert_eq!(ends_promptly(&old), Exit::Code(0));
    assert_eq!(new.client().get("/healthz").send().await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_successor_during_the_drain_delay_takes_over_and_after_a_kill_the_next_one_binds() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let start = sharing(folder.path()).env("PHOENIX_DRAIN_IDLE", "0s").env("PHOENIX_DRAIN_DELAY", "5m");
    let old = start.clone().start()?;
    old.ask_to_end()?;
    wait::until(SOON, "it to say that it is not ready", async || {
        old.client().get("/readyz").send().await.is_ok_and(|answer| answer.status == 503)
    })
    .await;
    let new = next(&start, &old)?;
    assert_eq!(ends_promptly(&old), Exit::Code(0));
    assert_eq!(new.client().get("/readyz").send().await?.status, 200);

    new.kill9()?;
    assert!(folder.path().join("handover.sock").exists(), "nobody could remove it");
    let third = next(&start, &new)?;
    assert_eq!(third.client().get("/readyz").send().await?.status, 200);
    Ok(())
}
