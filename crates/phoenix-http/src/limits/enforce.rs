//! The limits of one request, in two steps: what can be decided without waiting, and the rest.
//!
//! Owns which subject is asked about when. The order among the other steps of a request is in `stack.rs`; attempts to
//! sign in have a gate of their own (`sign_in.rs`), because only their routes know whose account it is.

use std::future::pending;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use phoenix_auth::model::UserId;
use phoenix_limit::{Decision, Mode, Refusal, Rule, Verdict};

use super::class::{CREDENTIALS, Class, Count, KeyBy};
use super::headers::Told;
use super::rules::LimitRules;
use super::state::{Held, Limits};
use super::subject::{LimitedAddress, Subject};
use crate::gateway::ClassOf;
use crate::problem::Problem;

/// Longest wait for look-ups of the same client: in that time those that were under way have ended.
const LOOK_UP_PATIENCE: Duration = Duration::from_secs(1);
/// Longest pause before it is asked again whether there is room.
const LOOK_UP_PAUSE: Duration = Duration::from_millis(50);

/// Who sent a request, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sender {
    /// Nobody that is signed in.
    Stranger,
    /// A signed-in user.
    User(UserId),
    /// The bearer of a credential that must be looked up.
    Unknown,
}

/// What became of a request without waiting.
#[derive(Debug)]
pub(crate) enum AtOnce {
    /// It may go on. Holds what its answer tells, unless it is not limited.
    Passed(Option<Told>),
    /// It is refused.
    Refused(Problem),
    /// Not decided.
    Later,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Which class its route says it has.
    pub(crate) class: &'a ClassOf,
    pub(crate) method: &'a Method,
    /// In its normal form.
    pub(crate) path: &'a str,
}

/// A limited request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limited<'a> {
    rules: &'a LimitRules,
    class: &'a Class,
    rule: &'a Rule,
    ip: IpAddr,
}

impl<'a> Limited<'a> {
    /// `None` when the request is not limited: it has no class, or its address is exempt.
    pub(crate) fn of(rules: &'a LimitRules, asked: Asked<'_>, ip: IpAddr) -> Option<Self> {
        let class = match asked.class {
            ClassOf::ByPath => rules.class_of(asked.method, asked.path),
            ClassOf::Named(name) => rules.class(name),
            ClassOf::Unlimited => None,
        }?;
        Some(Self { rules, class, rule: rules.rule_for(class, ip)?, ip })
    }

    /// The class that looked-up credentials belong to.
    fn of_credentials(rules: &'a LimitRules, ip: IpAddr) -> Option<Self> {
        let class = rules.class(CREDENTIALS)?;
        Some(Self { rules, class, rule: rules.rule_for(class, ip)?, ip })
    }

    /// Whether nothing but the address decides, so that it is known before who sent the request.
    pub(crate) fn by_address_alone(&self) -> bool {
        self.class.key() == KeyBy::Address
    }

    fn address(&self) -> Subject {
        Subject::Address(LimitedAddress::of(self.ip, self.rules.options().ipv6_prefix))
    }

    fn told(&self, decision: &Decision) -> Option<Told> {
        let legacy = self.rules.options().legacy_headers;
        (!self.class.observe()).then(|| Told::of(self.class.name(), self.rule, decision, legacy))
    }
}

impl Limits {
    /// Decides without waiting, if it can be.
    pub(crate) fn at_once(&self, limited: &Limited<'_>, sender: Sender, now: Duration) -> AtOnce {
        let Limited { rules, class, rule, .. } = *limited;
        if class.count() == Count::Failures || class.key() == KeyBy::Account {
            return AtOnce::Later;
        }
        let subject = match (class.key(), sender) {
            (KeyBy::Address, _) | (KeyBy::Principal, Sender::Stranger) => limited.address(),
            (KeyBy::Principal, Sender::User(user)) => Subject::User(user),
            (KeyBy::Principal, Sender::Unknown) | (KeyBy::Both | KeyBy::Account, _) => return AtOnce::Later,
        };
        let Some(decision) = self.ask_now(class, rule, &subject, now) else { return AtOnce::Later };
        self.tell(self.block(class, rule, &subject, &decision));
        match self.judge(rules, class, rule, &subject, &decision) {
            Ok(()) => AtOnce::Passed(limited.told(&decision)),
            Err(problem) => AtOnce::Refused(problem),
        }
    }

    /// Asks about one subject, waiting if it must be.
    async fn wait_for(
        self: &Arc<Self>,
        limited: &Limited<'_>,
        subject: Subject,
    ) -> Result<(Decision, Option<Held>), Problem> {
        let Limited { class, rule, .. } = *limited;
        let mode = class.count().mode();
        self.settle_abandoned().await;
        let decision = self.ask(class.scope(), rule, &subject, mode).await;
        self.conclude(limited, &subject, decision, mode)
    }

    /// The same for a look-up. Who is refused only because others are being looked up waits for them: they are rarely
    /// made up, as after a start, when an office full of people is unknown. Whoever waits in vain was not refused by
    /// policy: the look-ups take too long.
    async fn wait_for_look_up(
        self: &Arc<Self>,
        limited: &Limited<'_>,
        subject: Subject,
    ) -> Result<Option<Held>, Problem> {
        let Limited { class, rule, .. } = *limited;
        let mode = class.count().mode();
        // Who would not be refused anyway does not wait either.
        let may_wait = mode == Mode::Reserve && !class.observe();
        self.settle_abandoned().await;
        let mut is_over = false;
        let mut patience = pin!(tokio::time::timeout(LOOK_UP_PATIENCE, pending::<()>()));
        let decision = loop {
            let decision = self.ask(class.scope(), rule, &subject, mode).await;
            if !may_wait || decision.verdict != Verdict::Refused(Refusal::Reserved) {
                break decision;
            }
            if is_over {
                return Err(Problem::overload());
            }
            tokio::select! {
                // At the latest after a pause, because what ended may have been another client's, or another node's.
                _ = tokio::time::timeout(LOOK_UP_PAUSE, self.looked_up.notified()) => {}
                // Asked once more: the last of them may have been in vain.
                _ = &mut patience => is_over = true,
            }
        };
        self.conclude(limited, &subject, decision, mode).map(|(_, held)| held)
    }

    fn conclude(
        self: &Arc<Self>,
        limited: &Limited<'_>,
        subject: &Subject,
        decision: Decision,
        mode: Mode,
    ) -> Result<(Decision, Option<Held>), Problem> {
        let Limited { rules, class, rule, .. } = *limited;
        self.tell(self.block(class, rule, subject, &decision));
        self.judge(rules, class, rule, subject, &decision)?;
        Ok((decision, Held::of(self, &decision, mode)))
    }
}

/// The right to have a credential looked up.
#[must_use = "must be settled once it is known whether there is such a credential"]
#[derive(Debug)]
pub(crate) struct LookUp(Option<(Held, Count)>);

impl LookUp {
    /// `in_vain`: nothing has this credential. What else it came to is not the client's fault.
    pub(crate) async fn settle(self, in_vain: bool) {
        let Some((held, count)) = self.0 else { return };
        let limits = Arc::clone(held.limits());
        if in_vain || count == Count::All {
            held.confirm().await;
        } else {
            held.refund().await;
        }
        limits.looked_up.notify_one();
    }
}

/// The limits of a request that could not be decided at once.
#[derive(Debug)]
pub(crate) struct Gate {
    rules: Arc<LimitRules>,
    ip: IpAddr,
    state: State,
    told: Option<Told>,
    held: Vec<Reserved>,
}

/// What was counted for a request that is not answered yet.
#[derive(Debug)]
struct Reserved {
    held: Held,
    count: Count,
    /// Of the class of guesses at passwords.
    is_guess: bool,
}

impl Reserved {
    /// Whether it stays counted. Where no route is, nobody looked at a password; and a page elsewhere can make
    /// browsers send such requests, which would lock its visitors out.
    fn stays(&self, status: StatusCode, is_routed: bool) -> bool {
        let is_failure = status.is_client_error() && (is_routed || !self.is_guess);
        self.count == Count::All || is_failure
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open,
    Decided,
}

impl Gate {
    /// What was found out at once.
    pub(crate) fn new(rules: Arc<LimitRules>, ip: IpAddr, told: Option<Told>, is_decided: bool) -> Self {
        let state = if is_decided { State::Decided } else { State::Open };
        Self { rules, ip, state, told, held: Vec::new() }
    }

    /// Reserves the right to have a credential looked up, which may be made up. `None`: it is not limited.
    ///
    /// Without it, a storm of made-up tokens would reach the database: what a token names is known only after.
    pub(crate) async fn reserve_look_up(&self, limits: &Arc<Limits>) -> Result<LookUp, Problem> {
        let Some(limited) = Limited::of_credentials(&self.rules, self.ip) else { return Ok(LookUp(None)) };
        let held = limits.wait_for_look_up(&limited, limited.address()).await?;
        Ok(LookUp(held.map(|held| (held, limited.class.count()))))
    }

    /// The part that does not need to know who sent the request. Of a class by account nothing is left to do when the
    /// route has a gate of its own (`asks_itself`); of other routes nobody knows which account they are about.
    pub(crate) async fn before_authentication(
        &mut self,
        limits: &Arc<Limits>,
        asked: Asked<'_>,
        asks_itself: bool,
    ) -> Result<(), Problem> {
        if self.state == State::Decided {
            return Ok(());
        }
        let rules = Arc::clone(&self.rules);
        let Some(limited) = Limited::of(&rules, asked, self.ip) else {
            self.state = State::Decided;
            return Ok(());
        };
        match limited.class.key() {
            KeyBy::Principal => Ok(()),
            KeyBy::Account if asks_itself => {
                self.state = State::Decided;
                Ok(())
            }
            KeyBy::Address | KeyBy::Account => {
                self.state = State::Decided;
                Box::pin(self.ask(limits, &limited, limited.address())).await
            }
            KeyBy::Both => Box::pin(self.ask(limits, &limited, limited.address())).await,
        }
    }

    /// What the answer tells, where all was decided at once: then nothing was reserved, and nothing is to be settled.
    pub(crate) fn take_told(&mut self) -> Option<Told> {
        debug_assert!(self.held.is_empty() && self.state == State::Decided);
        self.told.take()
    }

    /// Whether the rest needs to know who sent the request.
    pub(crate) fn asks_who(&self) -> bool {
        self.state == State::Open
    }

    /// The part that does.
    pub(crate) async fn after_authentication(
        &mut self,
        limits: &Arc<Limits>,
        asked: Asked<'_>,
        user: Option<UserId>,
    ) -> Result<(), Problem> {
        if self.state == State::Decided {
            return Ok(());
        }
        let rules = Arc::clone(&self.rules);
        self.state = State::Decided;
        let Some(limited) = Limited::of(&rules, asked, self.ip) else { return Ok(()) };
        let subject = match (limited.class.key(), user) {
            (_, Some(user)) => Subject::User(user),
            (KeyBy::Both, None) => return Ok(()),
            (KeyBy::Principal | KeyBy::Address | KeyBy::Account, None) => limited.address(),
        };
        Box::pin(self.ask(limits, &limited, subject)).await
    }

    /// Boxed by its callers: nearly every request was decided before, and would carry the room for this with it.
    async fn ask(
        &mut self,
        limits: &Arc<Limits>,
        limited: &Limited<'_>,
        subject: Subject,
    ) -> Result<(), Problem> {
        match limits.wait_for(limited, subject).await {
            Ok((decision, held)) => {
                // Of two subjects the one with less room is told; the first is asked about before the second.
                let told = limited.told(&decision);
                if self
                    .told
                    .as_ref()
                    .is_none_or(|first| told.as_ref().is_some_and(|next| next.is_tighter(first)))
                {
                    self.told = told;
                }
                let is_guess = limited.class.key() == KeyBy::Account;
                let count = limited.class.count();
                self.held.extend(held.map(|held| Reserved { held, count, is_guess }));
                Ok(())
            }
            Err(problem) => {
                // A request that is refused leaves no trace, and its problem tells of the limit.
                self.told = None;
                for reserved in self.held.drain(..) {
                    reserved.held.refund().await;
                }
                Err(problem)
            }
        }
    }

    /// The request is answered, by a route or because there is none: of a class that counts failures, only a client's
    /// error stays counted.
    pub(crate) async fn settle(self, status: StatusCode, is_routed: bool) -> Option<Told> {
        for reserved in self.held {
            // Boxed, as most requests reserve nothing.
            if reserved.stays(status, is_routed) {
                Box::pin(reserved.held.confirm()).await;
            } else {
                Box::pin(reserved.held.refund()).await;
            }
        }
        self.told
    }
}

#[cfg(test)]
mod tests {
    use phoenix_limit::Window;

    use crate::problem::Overload;

    use super::super::testing::{Bench, answer, retry_after, window};
    use super::*;

    const HERE: &str = "192.0.2.7";
    const ELSEWHERE: &str = "192.0.2.8";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn get(path: &str) -> Asked<'_> {
        Asked { class: &ClassOf::ByPath, method: &Method::GET, path }
    }

    fn user(number: u128) -> UserId {
        UserId::from_uuid(uuid::Uuid::from_u128(number))
    }

    impl Bench {
        /// A request that memory can decide.
        fn at_once(&self, path: &str, from: &str, sender: Sender) -> AtOnce {
            let rules = self.limits.rules().load_full();
            match Limited::of(&rules, get(path), ip(from)) {
                Some(limited) => self.limits.at_once(&limited, sender, self.limits.now()),
                None => AtOnce::Passed(None),
            }
        }

        /// The same request through the steps that may wait.
        async fn waiting(
            &self,
            path: &str,
            from: &str,
            user: Option<UserId>,
            status: u16,
        ) -> Result<Option<Told>, Problem> {
            let mut gate = Gate::new(self.limits.rules().load_full(), ip(from), None, false);
            gate.before_authentication(&self.limits, get(path), false).await?;
            gate.after_authentication(&self.limits, get(path), user).await?;
            Ok(gate.settle(StatusCode::from_u16(status).unwrap(), true).await)
        }

        async fn look_up(&self, from: &str, in_vain: bool) -> Result<(), Problem> {
            let gate = Gate::new(self.limits.rules().load_full(), ip(from), None, false);
            gate.reserve_look_up(&self.limits).await?.settle(in_vain).await;
            Ok(())
        }
    }

    fn headers(told: Option<Told>) -> http::HeaderMap {
        let mut headers = http::HeaderMap::new();
        told.unwrap().put(&mut headers);
        headers
    }

    // spec: R2, R5, R6
    #[test]
    fn users_are_limited_as_such_and_strangers_by_their_address() {
        let bench = Bench::new(|_| {});
        for left in (0..100).rev() {
            let AtOnce::Passed(told) = bench.at_once("/api/x", HERE, Sender::Stranger) else {
                panic!("{left}")
            };
            assert_eq!(headers(told)["x-ratelimit-remaining"], left.to_string());
        }
        let AtOnce::Refused(problem) = bench.at_once("/api/x", HERE, Sender::Stranger) else { panic!() };
        assert_eq!(retry_after(problem), 300);
        assert_eq!(bench.begun(), ["api: address 192.0.2.7 for 300s"]);
        let most = bench.limits.most_refused(10);
        assert_eq!((most[0].label.as_str(), most[0].most), ("address 192.0.2.7", 1));
        let passes = |from, sender| matches!(bench.at_once("/api/x", from, sender), AtOnce::Passed(Some(_)));
        assert!(passes(HERE, Sender::User(user(1))), "a user behind the same address");
        assert!(passes(ELSEWHERE, Sender::Stranger));
        assert!(matches!(bench.at_once("/api/x", HERE, Sender::Unknown), AtOnce::Later));
        for _ in 0..99 {
            assert!(passes(ELSEWHERE, Sender::User(user(1))));
        }
        assert!(!passes("192.0.2.9", Sender::User(user(1))), "wherever the user is");
        assert!(passes("192.0.2.9", Sender::User(user(2))));
    }

    #[tokio::test]
    async fn what_is_decided_later_counts_in_the_same_log() {
        let bench = Bench::new(|_| {});
        for _ in 0..50 {
            assert!(matches!(bench.at_once("/api/x", HERE, Sender::User(user(1))), AtOnce::Passed(_)));
            assert!(bench.waiting("/api/x", HERE, Some(user(1)), 200).await.is_ok());
        }
        assert!(bench.waiting("/api/x", HERE, Some(user(1)), 200).await.is_err());
        assert!(bench.waiting("/api/x", HERE, None, 200).await.is_ok());
    }

    #[tokio::test]
    async fn paths_without_a_class_are_not_limited() {
        let bench = Bench::new(|_| {});
        for _ in 0..200 {
            assert!(matches!(bench.at_once("/healthz", HERE, Sender::Stranger), AtOnce::Passed(None)));
            assert!(bench.waiting("/other", HERE, None, 200).await.unwrap().is_none());
        }
    }

    // spec: R4
    #[tokio::test]
    async fn both_must_have_room_and_who_is_refused_for_one_is_not_counted_for_the_other() {
        let bench = Bench::new(|classes| {
            let ai = classes.iter_mut().find(|class| class.name == "ai").unwrap();
            (ai.key, ai.rule) = (KeyBy::Both, window(3, Duration::from_mins(1)));
        });
        assert!(matches!(bench.at_once("/api/ai/x", HERE, Sender::User(user(1))), AtOnce::Later));
        for from in [HERE, ELSEWHERE, ELSEWHERE] {
            assert!(bench.waiting("/api/ai/x", from, Some(user(1)), 200).await.is_ok());
        }
        // The user has no room left, the first address has two.
        for _ in 0..5 {
            assert!(bench.waiting("/api/ai/x", HERE, Some(user(1)), 200).await.is_err());
        }
        assert!(bench.waiting("/api/ai/x", HERE, Some(user(2)), 200).await.is_ok());
        let told = bench.waiting("/api/ai/x", HERE, Some(user(3)), 200).await.unwrap();
        assert_eq!(headers(told)["ratelimit"], r#""ai";r=0;t=60"#, "the address has less room than the user");
        assert!(bench.waiting("/api/ai/x", HERE, None, 200).await.is_err());
    }

    #[tokio::test]
    async fn of_a_class_that_counts_failures_only_errors_of_the_client_stay() {
        let bench = Bench::new(|classes| {
            let ai = classes.iter_mut().find(|class| class.name == "ai").unwrap();
            (ai.count, ai.rule) = (Count::Failures, window(2, Duration::from_mins(1)));
        });
        for status in [200, 204, 302, 500, 503, 404, 200, 422, 200] {
            let passes = bench.waiting("/api/ai/x", HERE, None, status).await.is_ok();
            assert!(passes || status == 200, "{status}");
        }
        assert!(bench.waiting("/api/ai/x", HERE, None, 200).await.is_err());
        // A request that was broken off counts.
        let mut gate = Gate::new(bench.limits.rules().load_full(), ip(ELSEWHERE), None, false);
        gate.before_authentication(&bench.limits, get("/api/ai/x"), false).await.unwrap();
        gate.after_authentication(&bench.limits, get("/api/ai/x"), None).await.unwrap();
        drop(gate);
        assert!(bench.waiting("/api/ai/x", ELSEWHERE, None, 404).await.is_ok());
        assert!(bench.waiting("/api/ai/x", ELSEWHERE, None, 200).await.is_err());
    }

    #[tokio::test]
    async fn nobody_is_locked_out_by_requests_to_where_nothing_is() {
        let bench = Bench::new(|_| {});
        let request = async |is_routed| {
            let mut gate = Gate::new(bench.limits.rules().load_full(), ip(HERE), None, false);
            let login = Asked { method: &Method::POST, ..get("/api/auth/login/") };
            gate.before_authentication(&bench.limits, login, false).await?;
            gate.settle(StatusCode::NOT_FOUND, is_routed).await;
            Ok::<_, Problem>(())
        };
        for _ in 0..20 {
            assert!(request(false).await.is_ok());
        }
        for _ in 0..5 {
            assert!(request(true).await.is_ok());
        }
        assert!(request(true).await.is_err(), "an application's own log-in is guessed at like ours");
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
        let gate = Gate::new(bench.limits.rules().load_full(), ip(HERE), None, false);
        let first = gate.reserve_look_up(&bench.limits).await.unwrap();
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
        let gate = Gate::new(bench.limits.rules().load_full(), ip(HERE), None, false);
        let first = gate.reserve_look_up(&bench.limits).await.unwrap();
        let (refused, ()) = tokio::join!(bench.look_up(HERE, false), first.settle(true));
        assert_eq!(retry_after(refused.unwrap_err()), 60);
        assert_eq!(bench.limits.counts().iter().map(|class| class.refused).sum::<u64>(), 1);
    }

    // spec: R6
    #[tokio::test]
    async fn who_waits_for_look_ups_in_vain_is_refused_because_of_an_overload() {
        let bench = credentials(1, Duration::from_mins(1));
        let gate = Gate::new(bench.limits.rules().load_full(), ip(HERE), None, false);
        let first = gate.reserve_look_up(&bench.limits).await.unwrap();
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

    // spec: R6
    #[test]
    fn the_time_that_is_told_is_enough_and_one_second_less_is_not() {
        let rule = Rule::new(
            &[
                Window { limit: 2, span: Duration::from_secs(10) },
                Window { limit: 3, span: Duration::from_mins(1) },
            ],
            None,
        );
        let bench = Bench::new(|classes| {
            classes.iter_mut().find(|class| class.name == "ai").unwrap().rule = rule.clone().unwrap();
        });
        let mut admitted = 0;
        for _ in 0..40 {
            bench.clock.advance(Duration::from_micros(1_234_567));
            match bench.at_once("/api/ai/x", HERE, Sender::Stranger) {
                AtOnce::Passed(_) => admitted += 1,
                AtOnce::Refused(problem) => {
                    let seconds = retry_after(problem);
                    bench.clock.advance(Duration::from_secs(seconds - 1));
                    let early = bench.at_once("/api/ai/x", HERE, Sender::Stranger);
                    assert!(matches!(early, AtOnce::Refused(_)), "one second less than {seconds}");
                    bench.clock.advance(Duration::from_secs(1));
                    let told = bench.at_once("/api/ai/x", HERE, Sender::Stranger);
                    assert!(matches!(told, AtOnce::Passed(Some(_))), "after {seconds} s");
                }
                AtOnce::Later => panic!("memory decides at once"),
            }
        }
        assert!(admitted > 3);
    }

    #[test]
    fn counters_go_on_when_rules_change_and_counts_too() {
        let bench = Bench::new(|_| {});
        for _ in 0..60 {
            bench.at_once("/api/x", HERE, Sender::Stranger);
        }
        let mut classes = super::super::tests::common_classes();
        classes.reverse();
        let api = classes.iter_mut().find(|class| class.name == "api").unwrap();
        api.rule = window(50, Duration::from_mins(1));
        let routes = super::super::testing::routes();
        let rules = LimitRules::build(classes, &routes, &[], super::super::tests::OPTIONS).unwrap();
        bench.limits.rules().replace(rules);
        assert!(matches!(bench.at_once("/api/x", HERE, Sender::Stranger), AtOnce::Refused(_)));
        let counts = bench.limits.counts();
        let api = counts.iter().find(|counts| counts.class == "api").unwrap();
        assert_eq!((api.admitted, api.refused), (60, 1));
    }
}
