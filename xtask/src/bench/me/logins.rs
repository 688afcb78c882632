//! Two hundred logins at once, half of them wrong, while signed-in users go on.

use std::time::Duration;

use anyhow::{Result, ensure};
use phoenix_testkit::http::Client;
use serde_json::json;
use tokio::task::JoinSet;

use super::{ADMIN, Stage, block_on, me, millis};
use crate::bench::load::{self, Expect, Outcome, Plan, Requests};
use crate::bench::report::Bar;

const LOGINS: usize = 200;
/// Requests a second of signed-in users.
const RATE: f64 = 2000.0;
/// p99 during, over p99 before.
const FACTOR: f64 = 5.0;
const PEAK_MB: f64 = 250.0;

pub(super) fn run(stage: &Stage) -> Result<Vec<Bar>> {
    // All are served in the end: the wait is longer than the burst.
    let server = stage.start(&[("PHOENIX_HASH_WAIT", "30s")])?;
    let tokens = &stage.tokens[..1000];
    let plan = Plan {
        connections: 32,
        expect: Expect::status(200),
        core: stage.cores.load,
        warm_up: Duration::from_secs(2),
        duration: stage.seconds(5),
        ..Plan::new(server.address(), Requests::Cycle(tokens.iter().map(|token| me(token)).collect()))
    };
    let before = measured(&plan)?;
    let client = server.client().with_bound(Duration::from_mins(1));
    let (during, (good, wrong)) = std::thread::scope(|scope| {
        let logins = scope.spawn(|| block_on(log_in_at_once(client)));
        let during = measured(&Plan { warm_up: Duration::ZERO, ..plan.clone() });
        let logins = logins.join().map_err(|_| anyhow::anyhow!("the logins panicked"))??;
        anyhow::Ok((during?, logins))
    })?;
    ensure!((good, wrong) == (LOGINS / 2, LOGINS / 2), "{good} logins succeeded and {wrong} were refused");
    let factor = millis(during.quantile(0.99)) / millis(before.quantile(0.99));
    let peak = server.memory()?.peak_bytes as f64 / 1e6;
    Ok(vec![
        Bar::info("logins: p99 of me before", millis(before.quantile(0.99)), "ms"),
        Bar::info("logins: p99 of me during", millis(during.quantile(0.99)), "ms"),
        Bar::at_most("logins: p99 during over before", factor, "", FACTOR),
        Bar::at_most("logins: peak memory", peak, "MB", PEAK_MB),
    ])
}

fn measured(plan: &Plan) -> Result<Outcome> {
    let outcome = load::open_loop(plan, RATE)?;
    outcome.ensure_clean()?;
    Ok(outcome)
}

/// How many succeeded and how many were refused as wrong.
async fn log_in_at_once(client: Client) -> Result<(usize, usize)> {
    let mut logins = JoinSet::new();
    for number in 0..LOGINS {
        let client = client.clone();
        let password = if number % 2 == 0 { ADMIN.1 } else { "not the password at all" };
        let body = json!({"email": ADMIN.0, "password": password, "transport": "bearer"});
        logins
            .spawn(async move { client.post("/api/auth/login").json(&body).send().await.map(|r| r.status) });
    }
    let (mut good, mut wrong) = (0, 0);
    while let Some(status) = logins.join_next().await {
        match status??.as_u16() {
            200 => good += 1,
            401 => wrong += 1,
            _ => {}
        }
    }
    Ok((good, wrong))
}
