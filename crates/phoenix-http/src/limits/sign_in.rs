//! The gate before every look at a password.
//!
//! A guess is counted before it is verified and taken back when it was right, so that however many come at once, no
//! more are verified than the limit. Counted are: the account together with the address, the address, and silently the
//! account over all addresses. On a device that the account was signed in to on before, the device takes the place of
//! all three, so that nobody who hammers an account, not even from the same network, keeps its owner out.
//!
//! Too many failures of one account over all addresses slow it down and lock nobody out: one password each 5 s is
//! looked at; who comes in between is answered as if it were wrong, with the same work and the same answer. So do too
//! many over all devices it knows, apart from that: who knew a password once may have as many known devices as they like.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use phoenix_auth::AuthError;
use phoenix_auth::model::{Email, KnownDevice, UserId};
use phoenix_auth::ops::ClientInfo;
use phoenix_limit::{Decision, Mode, Refusal, Rule, Verdict, Window};

use super::class::{Class, Count, KeyBy};
use super::headers::Told;
use super::rules::LimitRules;
use super::state::{Held, Limits};
use super::subject::{Account, LimitedAddress, Subject};
use crate::extract::RequestContext;
use crate::problem::Problem;
use crate::routes;
use crate::settings::HttpParts;

/// Failures of one account over all addresses in [`ACCOUNT_SPAN`], before it is slowed down.
const ACCOUNT_FAILURES: u32 = 20;
const ACCOUNT_SPAN: Duration = Duration::from_mins(15);
/// From then on one password in this time is looked at.
const SLOWED_SPAN: Duration = Duration::from_secs(5);

/// The rules of the silent counter.
#[derive(Debug)]
pub(super) struct SlowRules {
    failures: Rule,
    slowed: Rule,
}

impl SlowRules {
    pub(super) fn new() -> Self {
        let rule =
            |limit, span| Rule::new(&[Window { limit, span }], None).expect("a limit and a span above 0");
        Self { failures: rule(ACCOUNT_FAILURES, ACCOUNT_SPAN), slowed: rule(1, SLOWED_SPAN) }
    }
}

/// Whose password is about to be looked at.
#[derive(Clone, Debug)]
enum Claimant {
    /// Who signs in to an account, on a device it knows or not.
    Account(Account, Option<KnownDevice>),
    /// A signed-in user who shows it again.
    User(UserId),
}

/// An attempt that was let through. Dropped, it counts as a wrong guess.
#[must_use = "must be settled with the outcome"]
#[derive(Debug, Default)]
pub(crate) struct SignIn {
    held: Vec<Held>,
    told: Option<Telling>,
    /// Whether a right password stays counted, too.
    counts_all: bool,
    decoy: bool,
}

/// Before the password of a sign-in is looked at. An address that cannot be one is refused without that.
///
/// # Errors
/// The problem to answer with: too many failures, or too many attempts under way.
pub(crate) async fn begin(
    parts: &HttpParts,
    context: &RequestContext,
    account: Option<&Email>,
) -> Result<SignIn, Problem> {
    let Some(email) = account else { return Ok(SignIn::default()) };
    let mark = context.device_mark.as_deref();
    let device = mark.and_then(|mark| parts.auth.known_device(mark, &email.key(), parts.clock.now().wall));
    let claimant = Claimant::Account(Account::of(email), device);
    parts.limits.begin_sign_in(routes::LOGIN, address(&context.client), claimant).await
}

/// Before a signed-in user's password is looked at again.
///
/// # Errors
/// The problem to answer with: too many failures, or too many attempts under way.
pub(crate) async fn begin_again(
    parts: &HttpParts,
    client: &ClientInfo,
    user: UserId,
) -> Result<SignIn, Problem> {
    parts.limits.begin_sign_in(routes::PASSWORD, address(client), Claimant::User(user)).await
}

/// The stack knows the address of every request.
fn address(client: &ClientInfo) -> IpAddr {
    client.ip.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

/// What the answer will tell.
#[derive(Debug)]
struct Telling {
    class: String,
    rule: Rule,
    decision: Decision,
    legacy: bool,
}

impl Limits {
    /// Asks whether a password may be looked at, for `POST path`.
    ///
    /// # Errors
    /// The problem to answer with: too many failures, or too many attempts under way.
    async fn begin_sign_in(
        self: &Arc<Self>,
        path: &str,
        ip: IpAddr,
        claimant: Claimant,
    ) -> Result<SignIn, Problem> {
        let rules = self.rules().load_full();
        let class = rules.class_of(&Method::POST, path).filter(|class| class.key() == KeyBy::Account);
        // Of another class: the stack has applied that already.
        let Some((class, rule)) = class.and_then(|class| Some((class, rules.rule_for(class, ip)?))) else {
            return Ok(SignIn::default());
        };
        self.settle_abandoned().await;
        let address = LimitedAddress::of(ip, rules.options().ipv6_prefix);
        // The narrower subject first: a client that hammers one account and nothing else is blocked from that account
        // only. Its failures count for the address all the same: whoever tries another account from there meanwhile
        // has it blocked.
        let (subjects, silent) = match claimant {
            Claimant::User(user) => (vec![Subject::User(user)], None),
            Claimant::Account(account, Some(device)) => {
                let silent = [Subject::AccountOnAny(account.clone()), Subject::SlowedOnAny(account.clone())];
                (vec![Subject::on(account, &device)], Some(silent))
            }
            Claimant::Account(account, None) => {
                let pair = Subject::AccountFrom(account.clone(), address);
                let silent = [Subject::Account(account.clone()), Subject::Slowed(account)];
                (vec![pair, Subject::Address(address)], Some(silent))
            }
        };
        let mut attempt = SignIn { counts_all: class.count() == Count::All, ..SignIn::default() };
        for subject in subjects {
            if let Err(problem) = self.reserve(&rules, class, rule, &subject, &mut attempt).await {
                attempt.take_back().await;
                return Err(problem);
            }
        }
        if let Some(silent) = silent.filter(|_| !class.observe())
            && let Err(problem) = self.slow_down(class, silent, &mut attempt).await
        {
            attempt.take_back().await;
            return Err(problem);
        }
        Ok(attempt)
    }

    async fn reserve(
        self: &Arc<Self>,
        rules: &LimitRules,
        class: &Class,
        rule: &Rule,
        subject: &Subject,
        attempt: &mut SignIn,
    ) -> Result<(), Problem> {
        let decision = self.ask(class.scope(), rule, subject, Mode::Reserve).await;
        // A lock-out outlives this process: the client is told of it once it is on disk, or not much later.
        self.tell_lasting(self.block(class, rule, subject, &decision)).await;
        self.judge(rules, class, rule, subject, &decision)?;
        attempt.held.extend(Held::of(self, &decision, Mode::Reserve));
        let is_tighter =
            attempt.told.as_ref().is_none_or(|first| decision.remaining < first.decision.remaining);
        if is_tighter && !class.observe() {
            let legacy = rules.options().legacy_headers;
            attempt.told =
                Some(Telling { class: class.name().to_owned(), rule: rule.clone(), decision, legacy });
        }
        Ok(())
    }

    /// The silent counter of an account over all addresses, or all known devices.
    async fn slow_down(
        self: &Arc<Self>,
        class: &Class,
        [over_all, slowly]: [Subject; 2],
        attempt: &mut SignIn,
    ) -> Result<(), Problem> {
        let SlowRules { failures, slowed } = &self.slow;
        let all = self.ask(class.scope(), failures, &over_all, Mode::Reserve).await;
        if let Some(held) = Held::of(self, &all, Mode::Reserve) {
            attempt.held.push(held);
            return Ok(());
        }
        let slot = self.ask(class.scope(), slowed, &slowly, Mode::Count).await;
        match Held::of(self, &slot, Mode::Count) {
            Some(held) => attempt.held.push(held),
            // It is full of attempts whose outcome nobody knows yet. They may all be right; so nobody is told that
            // their password is wrong because of them.
            None if all.verdict == Verdict::Refused(Refusal::Reserved) => return Err(Problem::overload()),
            None => attempt.decoy = true,
        }
        Ok(())
    }
}

impl SignIn {
    /// Whether the password must not be looked at: the answer is that it is wrong, after the same work.
    pub(crate) const fn is_decoy(&self) -> bool {
        self.decoy
    }

    /// Counts a wrong password, and takes everything else back: a right one, and what is not the caller's fault.
    /// Returns what to tell beside the result.
    pub(crate) async fn settle<T>(self, outcome: Result<T, AuthError>) -> Result<(T, Option<Told>), Problem> {
        let Self { held, told, counts_all, decoy: _ } = self;
        let counts = counts_all || matches!(outcome, Err(AuthError::InvalidCredentials));
        // At once, because each may ask a store.
        if counts {
            join_all(held.into_iter().map(Held::confirm)).await;
        } else {
            join_all(held.into_iter().map(Held::refund)).await;
        }
        let told = told.map(|telling| telling.words(!counts));
        match outcome {
            Ok(result) => Ok((result, told)),
            Err(error) => Err(Problem::from(error).tell(told)),
        }
    }

    async fn take_back(&mut self) {
        for held in self.held.drain(..) {
            held.refund().await;
        }
    }
}

impl Telling {
    fn words(self, taken_back: bool) -> Told {
        let Self { class, rule, mut decision, legacy } = self;
        if taken_back {
            decision.remaining += 1;
            let limit = rule.windows().get(decision.window).map(|window| window.limit);
            if limit == Some(decision.remaining) {
                // The window is empty again.
                decision.reset_after = Duration::ZERO;
            }
        }
        Told::of(&class, &rule, &decision, legacy)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, Blocks, answer, retry_after, window};
    use super::super::{LimitRules, tests as rules};
    use super::*;

    const WRONG: Result<(), AuthError> = Err(AuthError::InvalidCredentials);

    fn account(text: &str) -> Account {
        Account::of(&Email::parse(text).unwrap())
    }

    fn known(bench: &Bench, number: u8) -> KnownDevice {
        use phoenix_auth::ports::{Clock, Entropy};
        struct Same(u8);
        impl Entropy for Same {
            fn fill(&self, out: &mut [u8]) {
                out.fill(self.0);
            }
        }
        KnownDevice::mark(bench.clock.now().wall, &Same(number))
    }

    impl Bench {
        async fn begin(&self, email: &str, address: &str) -> Result<SignIn, Problem> {
            let claimant = Claimant::Account(account(email), None);
            self.limits.begin_sign_in(routes::LOGIN, address.parse().unwrap(), claimant).await
        }

        async fn begin_on(&self, device: KnownDevice, email: &str, address: &str) -> Result<SignIn, Problem> {
            let claimant = Claimant::Account(account(email), Some(device));
            self.limits.begin_sign_in(routes::LOGIN, address.parse().unwrap(), claimant).await
        }

        /// A wrong password.
        async fn fail(&self, email: &str, address: &str) -> Problem {
            match self.begin(email, address).await {
                Ok(attempt) => attempt.settle(WRONG).await.unwrap_err(),
                Err(problem) => problem,
            }
        }
    }

    // spec: R2, S4
    #[tokio::test]
    async fn after_five_wrong_passwords_a_client_is_blocked_for_exactly_as_long_as_it_is_told() {
        let bench = Bench::new(|_| {});
        for left in [4, 3, 2, 1, 0] {
            let (status, headers) = answer(bench.fail("ada@example.com", "192.0.2.7").await);
            assert_eq!(status, 401);
            assert_eq!(headers["ratelimit"], format!("\"auth\";r={left};t=900"));
        }
        let problem = bench.fail("ada@example.com", "192.0.2.7").await;
        let (status, headers) = answer(problem.clone());
        assert_eq!((status.as_u16(), retry_after(problem)), (429, 1_800));
        assert_eq!(headers["ratelimit"], r#""auth";r=0;t=1800"#);
        assert_eq!(bench.begun(), ["auth: account a***@example.com from 192.0.2.7 for 1800s"]);
        // The block ends when it was first said to end, however often it is asked for.
        bench.clock.advance(Duration::from_secs(1_799));
        assert_eq!(retry_after(bench.fail("ada@example.com", "192.0.2.7").await), 1);
        bench.clock.advance(Duration::from_secs(1));
        assert_eq!(answer(bench.fail("ada@example.com", "192.0.2.7").await).0, 401);
        assert_eq!(bench.begun().len(), 1);
    }

    #[tokio::test]
    async fn an_address_is_limited_over_all_accounts_and_an_account_not_over_addresses() {
        let bench = Bench::new(|_| {});
        for account in ["a@x.org", "b@x.org", "c@x.org", "d@x.org", "e@x.org"] {
            assert_eq!(answer(bench.fail(account, "192.0.2.7").await).0, 401);
        }
        assert_eq!(answer(bench.fail("f@x.org", "192.0.2.7").await).0, 429);
        assert_eq!(bench.begun(), ["auth: address 192.0.2.7 for 1800s"]);
        assert_eq!(answer(bench.fail("a@x.org", "192.0.2.8").await).0, 401);
    }

    #[tokio::test]
    async fn right_passwords_and_our_own_failures_never_count() {
        let bench = Bench::new(|_| {});
        for round in 0..50 {
            let attempt = bench.begin("ada@example.com", "192.0.2.7").await.unwrap();
            let busy = AuthError::Busy { retry_after: Duration::from_secs(1) };
            let outcome = if round % 2 == 0 { Ok(()) } else { Err(busy) };
            let settled = attempt.settle(outcome).await;
            let headers = match settled {
                Ok(((), told)) => {
                    let mut headers = http::HeaderMap::new();
                    told.unwrap().put(&mut headers);
                    headers
                }
                Err(problem) => answer(problem).1,
            };
            assert_eq!(headers["ratelimit"], r#""auth";r=5;t=0"#);
        }
    }

    // spec: R2, S4
    #[tokio::test]
    async fn of_a_hundred_guesses_at_once_five_are_verified_and_nobody_is_blocked_for_those_under_way() {
        let bench = Bench::new(|_| {});
        let mut under_way = Vec::new();
        let mut refused = 0;
        for _ in 0..100 {
            match bench.begin("ada@example.com", "192.0.2.7").await {
                Ok(attempt) => under_way.push(attempt),
                Err(problem) => {
                    refused += 1;
                    assert_eq!(retry_after(problem), 1);
                }
            }
        }
        assert_eq!((under_way.len(), refused), (5, 95));
        assert_eq!(bench.begun(), Vec::<String>::new());
        let last = under_way.pop().unwrap();
        for attempt in under_way {
            assert_eq!(answer(attempt.settle(WRONG).await.unwrap_err()).0, 401);
        }
        assert!(last.settle(Ok(())).await.is_ok());
        assert_eq!(
            answer(bench.fail("ada@example.com", "192.0.2.7").await).0,
            401,
            "the right one was taken back"
        );
        assert_eq!(answer(bench.fail("ada@example.com", "192.0.2.7").await).0, 429);
    }

    #[tokio::test]
    async fn a_guess_that_is_broken_off_counts() {
        let bench = Bench::new(|_| {});
        for _ in 0..5 {
            drop(bench.begin("ada@example.com", "192.0.2.7").await.unwrap());
        }
        assert_eq!(retry_after(bench.begin("ada@example.com", "192.0.2.7").await.unwrap_err()), 1_800);
        assert_eq!(bench.begun().len(), 1);
    }

    // spec: S4
    #[tokio::test]
    async fn the_owner_signs_in_on_a_known_device_while_the_account_is_hammered_from_the_same_address() {
        let bench = Bench::new(|_| {});
        for _ in 0..20 {
            bench.fail("ada@example.com", "192.0.2.7").await;
        }
        let device = known(&bench, 9);
        let attempt = bench.begin_on(device, "ada@example.com", "192.0.2.7").await.unwrap();
        assert!(!attempt.is_decoy());
        assert!(attempt.settle(Ok(())).await.is_ok());
        // A stolen mark is good for five guesses, from however many addresses.
        for last in 1..=5 {
            let attempt = bench.begin_on(device, "ada@example.com", &format!("198.51.100.{last}")).await;
            assert_eq!(answer(attempt.unwrap().settle(WRONG).await.unwrap_err()).0, 401);
        }
        let refused = bench.begin_on(device, "ada@example.com", "203.0.113.1").await.unwrap_err();
        assert_eq!(retry_after(refused), 1_800);
    }

    #[tokio::test]
    async fn who_collected_known_devices_while_they_knew_the_password_is_slowed_over_all_of_them() {
        let bench = Bench::new(|_| {});
        let mut looked_at = 0;
        for number in 0..100 {
            let device = known(&bench, number);
            let attempt = bench.begin_on(device, "ada@example.com", "192.0.2.7").await.unwrap();
            looked_at += u32::from(!attempt.is_decoy());
            assert_eq!(answer(attempt.settle(WRONG).await.unwrap_err()).0, 401);
        }
        assert_eq!(looked_at, 21, "20 failures, and the first of the slow ones");
        let stranger = bench.begin("ada@example.com", "192.0.2.8").await.unwrap();
        assert!(!stranger.is_decoy(), "devices that are not known are counted apart");
    }

    // spec: S4
    #[tokio::test]
    async fn guesses_from_a_thousand_addresses_are_slowed_and_none_is_told() {
        let bench = Bench::new(|_| {});
        let mut looked_at = 0;
        let mut answers = std::collections::BTreeSet::new();
        for n in 0..1_000 {
            let attempt =
                bench.begin("ada@example.com", &format!("10.0.{}.{}", n / 250, n % 250)).await.unwrap();
            looked_at += u32::from(!attempt.is_decoy());
            let (status, headers) = answer(attempt.settle(WRONG).await.unwrap_err());
            answers.insert(format!("{status} {headers:?}"));
        }
        assert_eq!(looked_at, 21, "20 failures, and the first of the slow ones");
        assert_eq!(answers.len(), 1, "{answers:?}");
        for seconds in 1..=60 {
            bench.clock.advance(Duration::from_secs(1));
            let attempt = bench.begin("ada@example.com", &format!("10.1.0.{seconds}")).await.unwrap();
            assert_eq!(!attempt.is_decoy(), seconds % 5 == 0, "after {seconds} s");
            drop(attempt.settle(WRONG).await);
        }
        let other = bench.begin("bob@example.com", "10.0.0.1").await.unwrap();
        assert!(!other.is_decoy(), "another account is not slowed");
    }

    #[tokio::test]
    async fn nobody_is_told_that_a_password_is_wrong_because_others_are_under_way() {
        let bench = Bench::new(|_| {});
        let mut under_way = Vec::new();
        for n in 0..21 {
            under_way.push(bench.begin("demo@example.com", &format!("10.0.0.{n}")).await.unwrap());
        }
        assert!(under_way.iter().all(|attempt| !attempt.is_decoy()));
        let problem = bench.begin("demo@example.com", "10.0.1.1").await.unwrap_err();
        assert_eq!(problem.kind(), crate::problem::Kind::Busy);
        for attempt in under_way {
            assert!(attempt.settle(Ok(())).await.is_ok());
        }
        assert!(!bench.begin("demo@example.com", "10.0.1.1").await.unwrap().is_decoy());
    }

    #[tokio::test]
    async fn a_signed_in_user_who_guesses_their_password_is_limited_wherever_they_are() {
        let bench = Bench::new(|_| {});
        let user = UserId::from_uuid(uuid::Uuid::from_u128(7));
        for n in 0..6 {
            let address = format!("192.0.2.{n}").parse().unwrap();
            let attempt = bench.limits.begin_sign_in(routes::PASSWORD, address, Claimant::User(user)).await;
            match attempt {
                Ok(attempt) => drop(attempt.settle(WRONG).await),
                Err(problem) => assert_eq!((n, retry_after(problem)), (5, 1_800)),
            }
        }
        assert_eq!(bench.begun().len(), 1);
        assert_eq!(
            answer(bench.fail("ada@example.com", "192.0.2.1").await).0,
            401,
            "sign-in is another matter"
        );
    }

    // spec: R5
    #[tokio::test]
    async fn who_is_exempt_or_only_observed_is_never_refused() {
        let exempt = Bench::new(|classes| classes[0].exempt = vec!["192.0.2.0/24".parse().unwrap()]);
        let observed = Bench::new(|classes| classes[0].observe = true);
        for _ in 0..50 {
            for bench in [&exempt, &observed] {
                let attempt = bench.begin("ada@example.com", "192.0.2.7").await.unwrap();
                assert!(!attempt.is_decoy());
                let (status, headers) = answer(attempt.settle(WRONG).await.unwrap_err());
                assert_eq!((status.as_u16(), headers.get("ratelimit")), (401, None));
            }
        }
        assert_eq!((exempt.begun().len(), observed.begun().len()), (0, 0));
        let counts = |bench: &Bench| bench.limits.counts().swap_remove(0);
        assert_eq!(counts(&exempt).observed, 0);
        assert!(counts(&observed).observed >= 45 && counts(&observed).refused == 0);
    }

    // spec: R5
    #[tokio::test]
    async fn a_network_with_a_multiplier_has_more_attempts() {
        let bench = Bench::new(|classes| classes[0].networks = vec![("192.0.2.0/24".parse().unwrap(), 2.0)]);
        for _ in 0..10 {
            assert_eq!(answer(bench.fail("ada@example.com", "192.0.2.7").await).0, 401);
        }
        assert_eq!(answer(bench.fail("ada@example.com", "192.0.2.7").await).0, 429);
    }

    #[tokio::test]
    async fn a_class_that_counts_all_counts_right_passwords_too() {
        let bench = Bench::new(|classes| classes[0].count = Count::All);
        for _ in 0..5 {
            assert!(bench.begin("ada@example.com", "192.0.2.7").await.unwrap().settle(Ok(())).await.is_ok());
        }
        assert_eq!(answer(bench.fail("ada@example.com", "192.0.2.7").await).0, 429);
    }

    #[tokio::test]
    async fn a_lock_out_that_cannot_be_written_down_is_told_all_the_same() {
        let mut classes = rules::common_classes();
        let block = Some(Duration::from_mins(30));
        classes[0].rule = Rule::new(window(5, Duration::from_mins(15)).windows(), block).unwrap();
        let routes = super::super::testing::routes();
        let rules = LimitRules::build(classes, &routes, &[], rules::OPTIONS).unwrap();
        let bench = Bench::of(rules, Blocks { hangs: true, ..Blocks::default() });
        for _ in 0..5 {
            bench.fail("ada@example.com", "192.0.2.7").await;
        }
        assert_eq!(retry_after(bench.fail("ada@example.com", "192.0.2.7").await), 1_800);
    }
}
