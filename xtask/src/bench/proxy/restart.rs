//! Part `restart`: one process follows another by handover, three times, under a steady load on kept connections and on
//! new ones. No request may fail, and none is sent twice.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use phoenix_testkit::process::{Builder, Exit, PhoenixProcess};
use phoenix_testkit::wait;

use super::{millis, origin, real};
use crate::bench::load::{self, Asker, Expect, Outcome, Plan, Requests};
use crate::bench::me::block_on;
use crate::bench::reference::ReferenceServer;
use crate::bench::report::Bar;
use crate::bench::{build, pin};

/// Requests a second, all together.
const RATE: f64 = 2000.0;
/// Of them, those on a connection of their own.
const NEW: u32 = 50;
const HANDOVERS: u64 = 3;
/// Before, between and after the handovers.
const CALM: Duration = Duration::from_secs(2);
/// Longest wait for an answer on a new connection.
const BOUND: Duration = Duration::from_secs(10);
const START_BOUND: Duration = Duration::from_mins(1);

pub(super) fn run(quick: bool) -> Result<Vec<Bar>> {
    let program = build::release("phoenix", "phoenix")?;
    let this = std::env::current_exe().context("find this program")?;
    let origin = ReferenceServer::start_command(&this, &pin::prefix(None), "bench-origin")?;
    let folder = tempfile::tempdir().context("make a directory")?;
    let builder = builder(&program, origin.address(), folder.path());
    let seconds = if quick { 12 } else { 30 };
    let calm = Measured::take(&builder, seconds / 2, 0)?;
    let restarted = Measured::take(&builder, seconds, HANDOVERS)?;
    let failed = restarted.kept.failed() + restarted.new_failed;
    if let Some(first) = &restarted.kept.failures.first {
        eprintln!("restart: the first failure on a kept connection: {first}");
    }
    Ok(vec![
        Bar::at_least("restart: handovers under load", real(restarted.handovers), "", real(HANDOVERS)),
        Bar::at_least("restart: requests", real(restarted.answered()), "", RATE * 0.95 * real(seconds)),
        Bar::info("restart: of them on new connections", real(restarted.new_answered), ""),
        Bar::at_most("restart: failed requests", real(failed), "", 0.0),
        Bar::info("restart: p99 without a handover", millis(calm.kept.quantile(0.99)), "ms"),
        Bar::info("restart: p99 over all handovers", millis(restarted.kept.quantile(0.99)), "ms"),
        Bar::info("restart: longest", millis(restarted.kept.quantile(1.0)), "ms"),
    ])
}

fn builder(program: &Path, origin: SocketAddr, folder: &Path) -> Builder {
    PhoenixProcess::builder(program)
        .env("PHOENIX_UPSTREAM", format!("http://{origin}"))
        .env("PHOENIX_HANDOVER_SOCKET", folder.join("handover.sock").to_string_lossy())
        .env("PHOENIX_DATA_DIR", folder.join("data").to_string_lossy())
        .env("PHOENIX_LIMITS_EXEMPT", "127.0.0.0/8,::1/128")
        .env("PHOENIX_LOG", "warn")
}

/// A load and the handovers under it.
struct Measured {
    kept: Outcome,
    new_answered: u64,
    new_failed: u64,
    handovers: u64,
}

impl Measured {
    fn answered(&self) -> u64 {
        self.kept.completed + self.new_answered
    }

    fn take(builder: &Builder, seconds: u64, handovers: u64) -> Result<Self> {
        let mut now = builder.clone().start()?;
        let address = now.address();
        let request = load::request("GET", origin::SMALL, &[("host", "127.0.0.1")], b"");
        let plan = Plan {
            warm_up: Duration::from_millis(500),
            duration: Duration::from_secs(seconds),
            shares_core: true,
            ..Plan::new(address, Requests::Same(request.clone()))
        };
        let over = AtomicBool::new(false);
        let (kept, fresh) = thread::scope(|scope| {
            let kept = scope.spawn(|| load::open_loop(&plan, RATE - f64::from(NEW)));
            let fresh = scope.spawn(|| block_on(ask_anew(address, &request, &over)));
            let handed = (0..handovers).try_for_each(|number| {
                thread::sleep(CALM);
                now = hand_over(builder, &now)?;
                eprintln!("restart: handover {} of {handovers}", number + 1);
                anyhow::Ok(())
            });
            let panicked = |_| anyhow::anyhow!("the load panicked");
            let kept = kept.join().map_err(panicked)??;
            over.store(true, Ordering::Relaxed);
            let fresh = fresh.join().map_err(panicked)??;
            // An error of a handover says more than what the load saw of it, so it was awaited.
            handed?;
            anyhow::Ok((kept, fresh))
        })?;
        Ok(Self { kept, new_answered: fresh.0, new_failed: fresh.1, handovers })
    }
}

/// Starts the successor of `now` and waits for the end of `now`.
fn hand_over(builder: &Builder, now: &PhoenixProcess) -> Result<PhoenixProcess> {
    let next = builder.clone().env("PHOENIX_LISTEN", now.address().to_string()).start()?;
    wait::until_blocking(START_BOUND, "the old process to end", || now.pid().is_none());
    let exit = now.wait_exit();
    ensure!(exit == Exit::Code(0), "the old process ended with {exit:?}:\n{}", now.stderr());
    Ok(next)
}

/// One request on each of [`NEW`] new connections a second: how many were answered well, and how many not.
async fn ask_anew(address: SocketAddr, request: &[u8], over: &AtomicBool) -> Result<(u64, u64)> {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / NEW);
    let (mut answered, mut failed) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        pace.tick().await;
        match Asker::new(address, BOUND).ask(request, &Expect::status(200)).await {
            Ok(answer) if answer.good => answered += 1,
            Ok(answer) => {
                failed += 1;
                eprintln!("restart: status {} on a new connection", answer.status);
            }
            Err(error) => {
                failed += 1;
                eprintln!("restart: a new connection: {error:#}");
            }
        }
    }
    Ok((answered, failed))
}
