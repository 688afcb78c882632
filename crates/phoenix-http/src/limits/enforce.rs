//! The limits of one request, in two steps: what can be decided without waiting, and the rest.
//!
//! Owns which subject is asked about when. The order among the other steps of a request is in `stack.rs`; look-ups of
//! credentials wait for each other (`look_up.rs`), and attempts to sign in have a gate of their own (`sign_in.rs`),
//! because only their routes know whose account it is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use phoenix_auth::model::UserId;
use phoenix_limit::{Decision, Mode, Rule};

use super::class::{API, CREDENTIALS, Class, Count, KeyBy};
use super::headers::Told;
use super::look_up::LookUp;
use super::rules::LimitRules;
use super::state::{Held, Limits};
use super::subject::{LimitedAddress, Subject};
use crate::gateway::ClassOf;
use crate::problem::Problem;

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
    pub(super) class: &'a Class,
    pub(super) rule: &'a Rule,
    ip: IpAddr,
}

impl<'a> Limited<'a> {
    /// `None` when the request is not limited: it has no class, or its address is exempt.
    pub(crate) fn of(rules: &'a LimitRules, asked: Asked<'_>, ip: IpAddr) -> Option<Self> {
        let class = match asked.class {
            ClassOf::ByPath => rules.class_of(asked.method, asked.path),
            // A class that was just taken out of the configuration, of a request that is under way with its old route:
            // the general one, so that nobody is unlimited for that moment.
            ClassOf::Named(name) => rules.class(name).or_else(|| rules.class(API)),
            ClassOf::Unlimited => None,
        }?;
        Some(Self { rules, class, rule: rules.rule_for(class, ip)?, ip })
    }

    /// The class that looked-up credentials belong to.
    pub(super) fn of_credentials(rules: &'a LimitRules, ip: IpAddr) -> Option<Self> {
        let class = rules.class(CREDENTIALS)?;
        Some(Self { rules, class, rule: rules.rule_for(class, ip)?, ip })
    }

    /// Whether nothing but the address decides, so that it is known before who sent the request.
    pub(crate) fn by_address_alone(&self) -> bool {
        self.class.key() == KeyBy::Address
    }

    pub(super) fn address(&self) -> Subject {
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

    pub(super) fn conclude(
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

    /// Reserves the right to have a credential looked up, which may be made up.
    pub(crate) async fn reserve_look_up(&self, limits: &Arc<Limits>) -> Result<LookUp, Problem> {
        limits.reserve_look_up(&self.rules, self.ip).await
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

    use super::super::testing::{Bench, retry_after, window};
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
    }

    fn headers(told: Option<Told>) -> http::HeaderMap {
        let mut headers = http::HeaderMap::new();
        told.unwrap().put(&mut headers);
        headers
    }

    // spec: R2
    #[test]
    fn a_route_whose_class_is_gone_is_limited_all_the_same() {
        let bench = Bench::new(|_| {});
        let rules = bench.limits.rules().load_full();
        let class_of = |name: &str| {
            let class = ClassOf::Named(name.to_owned());
            let asked = Asked { class: &class, method: &Method::GET, path: "/page" };
            Limited::of(&rules, asked, ip(HERE)).map(|limited| limited.class.name().to_owned())
        };
        assert_eq!(class_of("search").as_deref(), Some("search"));
        assert_eq!(class_of("gone").as_deref(), Some("api"));
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
