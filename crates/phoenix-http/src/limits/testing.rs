//! Limits on a clock that tests move, and whoever is told of blocks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode};
use phoenix_auth::model::{Moment, Timestamp};
use phoenix_auth::ports::Clock;
use phoenix_limit::{Keyer, Limiter, Memory, Rule, Window};
use tokio_util::task::TaskTracker;

use super::{BegunBlock, BlockObserver, ClassSpec, Limits, LimitsParts, LiveRules, RouteSpec};
use super::{LimitRules, tests};
use crate::problem::Problem;

/// Enough for every client of a test to have a log of its own, in bytes.
const CAPACITY: u64 = 16 << 20;

/// Stands still until it is moved.
#[derive(Default)]
pub(crate) struct StandingClock(AtomicU64);

impl StandingClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for StandingClock {
    fn now(&self) -> Moment {
        Moment { wall: Timestamp::from_millis(0).plus(self.mono()), mono: self.mono() }
    }

    fn mono(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Remembers blocks; of one that must last it never comes back.
#[derive(Default)]
pub(crate) struct Blocks {
    pub(crate) begun: Mutex<Vec<String>>,
    pub(crate) hangs: bool,
}

#[async_trait]
impl BlockObserver for Blocks {
    fn began(&self, block: BegunBlock) {
        let text = format!("{}: {} for {:?}", block.class, block.subject, block.length);
        self.begun.lock().unwrap().push(text);
    }

    async fn began_lasting(&self, block: BegunBlock) {
        self.began(block);
        if self.hangs {
            std::future::pending::<()>().await;
        }
    }
}

/// Limits, and what they stand on.
pub(crate) struct Bench {
    pub(crate) clock: Arc<StandingClock>,
    pub(crate) blocks: Arc<Blocks>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) tasks: TaskTracker,
}

impl Bench {
    /// With the rules that are there by default, blocks of 30 minutes on `auth` and 5 on `api`, and changes to them.
    pub(crate) fn new(change: impl Fn(&mut Vec<ClassSpec>)) -> Self {
        let mut classes = tests::common_classes();
        for class in &mut classes {
            let block = match class.name.as_str() {
                "auth" => Some(Duration::from_mins(30)),
                "api" => Some(Duration::from_mins(5)),
                _ => None,
            };
            class.rule = Rule::new(class.rule.windows(), block).unwrap();
        }
        change(&mut classes);
        let rules = LimitRules::build(classes, &routes(), &[], tests::OPTIONS).unwrap();
        Self::of(rules, Blocks::default())
    }

    pub(crate) fn of(rules: LimitRules, blocks: Blocks) -> Self {
        let (clock, blocks) = (Arc::<StandingClock>::default(), Arc::new(blocks));
        // Not the beginning of time, so that there is a time before.
        clock.advance(Duration::from_hours(1));
        let tasks = TaskTracker::new();
        let limits = Limits::new(LimitsParts {
            limiter: Arc::new(Limiter::in_memory(Memory::new(CAPACITY))),
            rules: Arc::new(LiveRules::new(rules)),
            keyer: Keyer::new([7; 16]),
            clock: Arc::<StandingClock>::clone(&clock),
            blocks: Arc::<Blocks>::clone(&blocks),
            tasks: tasks.clone(),
        });
        Self { clock, blocks, limits, tasks }
    }

    pub(crate) fn begun(&self) -> Vec<String> {
        self.blocks.begun.lock().unwrap().clone()
    }
}

/// Routes of [`Bench`].
pub(crate) fn routes() -> Vec<RouteSpec> {
    vec![
        tests::route("POST /api/auth/login", "auth"),
        tests::route("POST /api/auth/password", "auth"),
        tests::route("/api/ai/{*rest}", "ai"),
        tests::route("/api/{*rest}", "api"),
    ]
}

pub(crate) fn window(limit: u32, span: Duration) -> Rule {
    Rule::new(&[Window { limit, span }], None).unwrap()
}

/// Status and headers of a problem.
pub(crate) fn answer(problem: Problem) -> (StatusCode, HeaderMap) {
    let response = problem.into_response();
    (response.status(), response.headers().clone())
}

/// Seconds of `Retry-After` of a refusal.
#[track_caller]
pub(crate) fn retry_after(problem: Problem) -> u64 {
    let (status, headers) = answer(problem);
    assert_eq!(status, 429);
    headers["retry-after"].to_str().unwrap().parse().unwrap()
}
