//! The embedded default: how fast it starts, and how small it is.

use std::time::{Duration, Instant};

use anyhow::Result;
use phoenix_testkit::process::PhoenixProcess;
use phoenix_testkit::wait;

use super::{Stage, block_on, millis};
use crate::bench::report::{Bar, median};

const START_MS: f64 = 500.0;
const IDLE_MB: f64 = 40.0;
const STARTS: usize = 5;
/// Time after which an idle server's memory is read.
const SETTLE: Duration = Duration::from_secs(3);

pub(super) fn run(stage: &Stage) -> Result<Vec<Bar>> {
    let server = PhoenixProcess::builder(&stage.program).start()?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        server.terminate()?;
        let begun = Instant::now();
        server.restart()?;
        let client = server.client();
        let ready = wait::until(Duration::from_secs(5), "the first 200", async || {
            client.get("/readyz").send().await.is_ok_and(|response| response.status == 200)
        });
        block_on(async {
            ready.await;
            Ok(())
        })?;
        starts.push(millis(begun.elapsed()));
    }
    std::thread::sleep(SETTLE);
    let idle = server.memory()?.resident_bytes as f64 / 1e6;
    Ok(vec![
        Bar::at_most("embedded: start to first 200", median(starts), "ms", START_MS),
        Bar::at_most("embedded: idle memory", idle, "MB", IDLE_MB),
    ])
}
