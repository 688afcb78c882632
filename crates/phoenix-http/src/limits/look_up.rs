//! The right to have a credential looked up that memory does not know. It may be made up, and what it names is known only
//! after; so a unit is reserved before, or a storm of made-up tokens would reach the database.
//!
//! Owns who waits for whom. Does not own how a look-up is made, nor what a limit is (`enforce.rs`).

use std::future::pending;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use phoenix_limit::{Decision, Key, Mode, Refusal, Rule, Verdict};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::class::Count;
use super::enforce::Limited;
use super::finish::Finisher;
use super::line::{Lines, Place};
use super::rules::LimitRules;
use super::state::{Held, Limits};
use super::subject::Subject;
use crate::problem::Problem;

/// Longest wait for look-ups of the same client: as long as each of them may wait for the database by default.
const PATIENCE: Duration = Duration::from_secs(5);
/// When who finds no place in line may try again.
const SOON: Duration = Duration::from_secs(1);
/// Longest pause before the first who waits asks again, for what other nodes give back.
const PAUSE: Duration = Duration::from_millis(100);
/// Most who wait of one client, for each unit of the limit.
const WAITING_A_UNIT: usize = 2;
/// Most who wait of all clients.
const MAX_WAITING: usize = 4_096;

/// Most look-ups that are finished after their clients have gone away; what is beyond is broken off, and counts as made in
/// vain.
const MAX_LEFT: usize = 1_024;

/// Look-ups of credentials.
#[derive(Debug)]
pub(super) struct LookUps {
    lines: Lines,
    finisher: Finisher,
}

impl LookUps {
    /// `tasks`: where look-ups are finished whose clients have gone away.
    pub(super) fn new(tasks: TaskTracker) -> Self {
        Self { lines: Lines::new(MAX_WAITING), finisher: Finisher::new(tasks, MAX_LEFT) }
    }
}

/// Refused only because of look-ups that are under way.
fn is_reserved(decision: &Decision) -> bool {
    decision.verdict == Verdict::Refused(Refusal::Reserved)
}

/// Says this without having asked, because others wait already.
const RESERVED: Decision = Decision {
    verdict: Verdict::Refused(Refusal::Reserved),
    window: 0,
    remaining: 0,
    reset_after: SOON,
    retry_after: SOON,
    at: 0,
};

/// Most who wait of one client under this rule.
fn longest_line(rule: &Rule) -> usize {
    let most = rule.windows().iter().map(|window| window.limit).max().unwrap_or_default();
    usize::try_from(most).unwrap_or(MAX_WAITING).saturating_mul(WAITING_A_UNIT)
}

impl Limits {
    /// Who is refused only because others are being looked up waits for them: they are rarely made up, as after a start,
    /// when an office full of people is unknown. Whoever waits in vain was not refused by policy: the look-ups take too
    /// long. Where too many wait, the next is refused at once.
    pub(super) async fn reserve_look_up(
        self: &Arc<Self>,
        rules: &LimitRules,
        ip: IpAddr,
    ) -> Result<LookUp, Problem> {
        let Some(limited) = Limited::of_credentials(rules, ip) else { return Ok(LookUp(None)) };
        let (class, subject) = (limited.class, limited.address());
        let mode = class.count().mode();
        self.settle_abandoned().await;
        // Who would not be refused anyway does not wait either.
        let decision = if mode == Mode::Reserve && !class.observe() {
            self.ask_in_turn(&limited, &subject).await?
        } else {
            self.ask(class.scope(), limited.rule, &subject, mode).await
        };
        let (_, held) = self.conclude(&limited, &subject, decision, mode)?;
        let key = self.key(&subject, class.scope());
        Ok(LookUp(held.map(|held| Open { held, key, count: class.count() })))
    }

    /// Asks, in the order in which those came who must wait.
    async fn ask_in_turn(&self, limited: &Limited<'_>, subject: &Subject) -> Result<Decision, Problem> {
        let (class, rule) = (limited.class, limited.rule);
        let key = self.key(subject, class.scope());
        let lines = &self.look_ups.lines;
        let mut decision = RESERVED;
        if !lines.is_waited_for(key) {
            decision = self.ask(class.scope(), rule, subject, Mode::Reserve).await;
            if !is_reserved(&decision) {
                return Ok(decision);
            }
        }
        let Some(place) = lines.join(key, longest_line(rule)) else { return Ok(decision) };
        let decision = self.wait_in_line(limited, subject, &place).await;
        if is_reserved(&decision) { Err(Problem::overload()) } else { Ok(decision) }
    }

    /// Asks when it is the first in line, and again whenever there may be room, until there is or its patience ends. Then
    /// once more: the last it waited for may have been in vain.
    async fn wait_in_line(&self, limited: &Limited<'_>, subject: &Subject, place: &Place<'_>) -> Decision {
        let mut patience = pin!(timeout(PATIENCE, pending::<()>()));
        // Only what waits is broken off: who goes away while the limiter is asked would leave a unit behind.
        let turn = tokio::select! {
            turn = place.turn() => Some(turn),
            _ = &mut patience => None,
        };
        let mut is_over = turn.is_none();
        loop {
            let decision = self.ask(limited.class.scope(), limited.rule, subject, Mode::Reserve).await;
            if is_over || !is_reserved(&decision) {
                return decision;
            }
            tokio::select! {
                _ = timeout(PAUSE, place.ended()) => {}
                _ = &mut patience => is_over = true,
            }
        }
    }
}

/// The right to have a credential looked up; nothing if it is not limited.
#[must_use = "must be settled once it is known whether there is such a credential"]
#[derive(Debug)]
pub(crate) struct LookUp(Option<Open>);

#[derive(Debug)]
struct Open {
    held: Held,
    key: Key,
    count: Count,
}

impl LookUp {
    /// Looks up, and settles what was reserved: whoever goes away meanwhile neither guesses for free, nor has a good
    /// credential counted as made up. `is_in_vain`: nothing has this credential. What else it came to is not the client's
    /// fault.
    pub(crate) async fn finish<T: Send + 'static>(
        self,
        asking: impl Future<Output = T> + Send + 'static,
        is_in_vain: impl FnOnce(&T) -> bool + Send + 'static,
    ) -> T {
        let Some(Open { held, .. }) = &self.0 else { return asking.await };
        let limits = Arc::clone(held.limits());
        let whole = async move {
            let outcome = asking.await;
            self.settle(is_in_vain(&outcome)).await;
            outcome
        };
        limits.look_ups.finisher.finish(whole).await
    }

    async fn settle(self, in_vain: bool) {
        let Some(Open { held, key, count }) = self.0 else { return };
        let limits = Arc::clone(held.limits());
        if in_vain || count == Count::All {
            held.confirm().await;
        } else {
            held.refund().await;
        }
        limits.look_ups.lines.ended(key);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use phoenix_limit::Rule;
    use tokio::sync::oneshot;

    use super::super::class::CREDENTIALS;
    use super::super::testing::{Bench, answer, retry_after, window};
    use super::*;
    use crate::problem::Overload;

    const HERE: &str = "192.0.2.7";
    const ELSEWHERE: &str = "192.0.2.8";

    impl Bench {
        async fn reserve(&self, from: &str) -> Result<LookUp, Problem> {
            let rules = self.limits.rules().load_full();
            self.limits.reserve_look_up(&rules, from.parse().unwrap()).await
        }

        async fn look_up(&self, from: &str, in_vain: bool) -> Result<(), Problem> {
            self.reserve(from).await?.settle(in_vain).await;
            Ok(())
        }
    }

    // spec: S4
    #[tokio::test]
    async fn made_up_credentials_are_looked_up_sixty_times_a_minute_and_real_ones_always() {
        let bench = Bench::new(|_| {});
        for _ in 0..500 {
            assert!(bench.look_up(HERE, false).await.is_ok());
        }
        for _ in 0..60 {
            assert!(bench.look_up(HERE, true).await.is_ok());
        }
        let (status, headers) = answer(bench.look_up(HERE, true).await.unwrap_err());
        assert_eq!(status, 429);
        assert_eq!(headers["ratelimit-policy"], r#""credentials";q=60;w=60"#);
        assert!(bench.look_up(ELSEWHERE, true).await.is_ok());
        bench.clock.advance(Duration::from_mins(1));
        assert!(bench.look_up(HERE, true).await.is_ok());
    }

    #[tokio::test]
    async fn a_class_of_credentials_that_only_observes_refuses_no_look_up() {
        let bench = Bench::new(|classes| {
            let class = classes.iter_mut().find(|class| class.name == CREDENTIALS).unwrap();
            (class.observe, class.rule) = (true, window(1, Duration::from_secs(1)));
        });
        let first = bench.reserve(HERE).await.unwrap();
        // While the first is under way, and after it was in vain.
        assert!(bench.look_up(HERE, true).await.is_ok());
        first.settle(true).await;
        assert!(bench.look_up(HERE, true).await.is_ok());
        let counts = bench.limits.counts();
        let counts = counts.iter().find(|counts| counts.class == CREDENTIALS).unwrap();
        assert_eq!((counts.admitted, counts.refused, counts.observed), (1, 0, 2));
    }

    /// Whose class of credentials has this window.
    fn credentials(limit: u32, span: Duration) -> Bench {
        Bench::new(|classes| {
            let class = classes.iter_mut().find(|class| class.name == CREDENTIALS).unwrap();
            class.rule = window(limit, span);
        })
    }

    // spec: R6
    #[tokio::test]
    async fn who_has_used_the_limit_up_is_refused_by_policy_however_soon_there_is_room() {
        let bench = credentials(2, Duration::from_secs(1));
        for _ in 0..2 {
            assert!(bench.look_up(HERE, true).await.is_ok());
        }
        assert_eq!(retry_after(bench.look_up(HERE, true).await.unwrap_err()), 1);
        // And who waited for one that was in vain.
        let bench = credentials(1, Duration::from_mins(1));
        let first = bench.reserve(HERE).await.unwrap();
        let (refused, ()) = tokio::join!(bench.look_up(HERE, false), first.settle(true));
        assert_eq!(retry_after(refused.unwrap_err()), 60);
        assert_eq!(bench.limits.counts().iter().map(|class| class.refused).sum::<u64>(), 1);
    }

    // spec: R6
    #[tokio::test]
    async fn who_waits_for_look_ups_in_vain_is_refused_because_of_an_overload() {
        let bench = credentials(1, Duration::from_mins(1));
        let first = bench.reserve(HERE).await.unwrap();
        let refused = bench.look_up(HERE, false).await.unwrap_err().rendered();
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["retry-after"]),
            (503, &"2".parse().unwrap())
        );
        assert!(refused.extensions().get::<Overload>().is_some(), "no error in the log");
        assert_eq!(bench.limits.counts().iter().map(|class| class.refused).sum::<u64>(), 0);
        first.settle(false).await;
        assert!(bench.look_up(HERE, false).await.is_ok());
    }

    /// Look-ups that were begun, polled by hand: so it is known in which order.
    struct Asked<'a>(Pin<Box<dyn Future<Output = Result<LookUp, Problem>> + 'a>>);

    impl Asked<'_> {
        fn poll(&mut self) -> Poll<Result<LookUp, Problem>> {
            self.0.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        }
    }

    fn ask<'a>(bench: &'a Bench, from: &'a str) -> Asked<'a> {
        Asked(Box::pin(bench.reserve(from)))
    }

    #[tokio::test]
    async fn who_waits_is_served_in_the_order_of_coming_and_nobody_overtakes() {
        let bench = credentials(2, Duration::from_mins(1));
        let _stays = bench.reserve(HERE).await.unwrap();
        let mut under_way = bench.reserve(HERE).await.unwrap();
        let mut waiting: Vec<_> = (0..2).map(|_| ask(&bench, HERE)).collect();
        assert!(waiting.iter_mut().all(|asked| asked.poll().is_pending()));
        for _ in 0..2 {
            under_way.settle(false).await;
            // Who comes now, when there is room, is asked first and stands last.
            waiting.push(ask(&bench, HERE));
            assert!(waiting.iter_mut().skip(1).rev().all(|asked| asked.poll().is_pending()));
            let Poll::Ready(Ok(served)) = waiting.remove(0).poll() else { panic!("it is its turn") };
            under_way = served;
        }
        // Who goes away is not waited for.
        under_way.settle(false).await;
        drop(waiting.remove(0));
        assert!(matches!(waiting.remove(0).poll(), Poll::Ready(Ok(_))));
    }

    #[tokio::test]
    async fn where_too_many_wait_the_next_is_refused_at_once() {
        let bench = credentials(2, Duration::from_mins(1));
        let under_way = [bench.reserve(HERE).await.unwrap(), bench.reserve(HERE).await.unwrap()];
        let mut waiting: Vec<_> = (0..4).map(|_| ask(&bench, HERE)).collect();
        assert!(waiting.iter_mut().all(|asked| asked.poll().is_pending()));
        let Poll::Ready(Err(refused)) = ask(&bench, HERE).poll() else { panic!("it does not wait") };
        assert_eq!(retry_after(refused), 1);
        assert!(bench.look_up(ELSEWHERE, false).await.is_ok());
        drop(waiting.pop());
        assert!(ask(&bench, HERE).poll().is_pending());
        drop(under_way);
    }

    #[tokio::test]
    async fn a_look_up_whose_client_has_gone_counts_by_what_it_comes_to() {
        for in_vain in [false, true] {
            let bench = credentials(1, Duration::from_mins(1));
            let (answers, answer) = oneshot::channel();
            let look_up = bench.reserve(HERE).await.unwrap();
            let mut asking = Box::pin(look_up.finish(async { answer.await.unwrap() }, |in_vain| *in_vain));
            assert!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(asking);
            bench.limits.settle_abandoned().await;
            answers.send(in_vain).unwrap();
            bench.tasks.close();
            bench.tasks.wait().await;
            assert_eq!(bench.look_up(HERE, false).await.is_err(), in_vain);
        }
    }

    #[test]
    fn the_longest_line_follows_from_the_limit() {
        let windows = [(20, 1), (60, 60)];
        let windows = windows
            .map(|(limit, seconds)| phoenix_limit::Window { limit, span: Duration::from_secs(seconds) });
        assert_eq!(longest_line(&Rule::new(&windows, None).unwrap()), 120);
    }
}
