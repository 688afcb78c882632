//! However a test process dies, its servers and directories disappear. The test runs itself as a child, which starts
//! one of everything, and kills that child.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::process::PhoenixProcess;
use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;

/// Set in the child only: what to start there.
const ROLE: &str = "PHOENIX_TESTKIT_CHILD";
const BOUND: Duration = Duration::from_mins(1);
/// The child ends by itself after this long, should the parent be killed.
const CHILD_BOUND: Duration = Duration::from_mins(2);

/// In a normal run this does nothing; in the child it starts servers, reports them and waits to be killed.
#[test]
fn child() -> Result<()> {
    let Ok(role) = std::env::var(ROLE) else { return Ok(()) };
    let postgres = Postgres::shared();
    let redis = Redis::start()?;
    let sleeper = PhoenixProcess::builder("/bin/sh")
        .args(["-c", "echo listening on http://$PHOENIX_LISTEN; exec sleep 600"])
        .start()?;
    match role.as_str() {
        "running" => {}
        "killed and restarted" => {
            postgres.kill()?;
            postgres.restart()?;
            redis.restart()?;
        }
        "paused" => {
            postgres.pause()?;
            redis.pause()?;
            sleeper.pause()?;
        }
        "killed" => postgres.kill()?,
        other => anyhow::bail!("unknown role {other}"),
    }
    let pids = [postgres.pid(), redis.pid(), sleeper.pid()];
    let directories = [postgres.directory(), redis.directory(), sleeper.directory()];
    for (pid, directory) in pids.iter().zip(directories) {
        println!("\nguarded {} {}", pid.unwrap_or(0), directory.display());
    }
    println!("\nready");
    thread::park_timeout(CHILD_BOUND);
    Ok(())
}

struct Guarded {
    pid: u32,
    directory: PathBuf,
}

impl Guarded {
    fn is_gone(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let dead = stat.is_empty() || stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'));
        dead && !self.directory.exists()
    }
}

fn start_child(role: &str) -> Result<(Child, Vec<Guarded>)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "leaves_nothing::child", "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut guarded = Vec::new();
    for line in BufReader::new(child.stdout.take().context("piped")?).lines() {
        let line = line?;
        if line == "ready" {
            return Ok((child, guarded));
        }
        if let Some((pid, directory)) = line.strip_prefix("guarded ").and_then(|rest| rest.split_once(' ')) {
            guarded.push(Guarded { pid: pid.parse()?, directory: directory.into() });
        }
    }
    anyhow::bail!("the child ended early: {:?}", child.wait()?)
}

fn after_sigkill_nothing_is_left(role: &str) -> Result<()> {
    let (mut child, guarded) = start_child(role)?;
    assert_eq!(guarded.len(), 3);
    assert!(guarded.iter().all(|one| one.directory.exists()));
    child.kill()?;
    child.wait()?;
    wait::until_blocking(BOUND, "servers and directories to be gone", || {
        guarded.iter().all(Guarded::is_gone)
    });
    Ok(())
}

#[test]
fn after_sigkill_of_the_tests() -> Result<()> {
    after_sigkill_nothing_is_left("running")
}

#[test]
fn after_sigkill_when_servers_had_been_restarted() -> Result<()> {
    after_sigkill_nothing_is_left("killed and restarted")
}

#[test]
fn after_sigkill_when_servers_are_paused() -> Result<()> {
    after_sigkill_nothing_is_left("paused")
}

#[test]
fn after_sigkill_when_a_server_had_been_killed() -> Result<()> {
    after_sigkill_nothing_is_left("killed")
}

#[test]
fn a_dropped_server_is_gone_when_drop_returns() -> Result<()> {
    let redis = Redis::start()?;
    let guarded = Guarded { pid: redis.pid().context("it runs")?, directory: redis.directory() };
    assert!(!guarded.is_gone());
    drop(redis);
    assert!(guarded.is_gone());
    Ok(())
}
