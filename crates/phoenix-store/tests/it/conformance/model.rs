//! Random histories of sessions of ours and of outside ones, held against a list in memory that follows the rules as
//! they are written: who is let in, who has to leave, and what never comes back.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};

use phoenix_auth::model::{Durable, SessionId, UserId};
use phoenix_auth::ports::{
    Activity, CapPolicy, EndScope, ExternalOpened, NewExternalSession, SessionCap, SessionOpened,
    SessionsEnded,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::fixtures::{add_user, at, new_external, new_session, open_external};
use crate::harness::{Db, TestStore, postgres_db, sqlite_db};

/// Names of outside sessions in one history.
const NAMES: u8 = 5;
/// Milliseconds between two steps.
const STEP_MS: i64 = 10;
const FOREVER: i64 = 1_000_000;

static CASES: AtomicU32 = AtomicU32::new(0);

/// One step. Sessions are named by how long ago they were opened.
#[derive(Clone, Debug)]
enum Step {
    Own { lifetime: i64, cap: Option<Cap>, replaces: Option<usize> },
    External { name: u8, token_age: i64, lifetime: i64, cap: Option<Cap> },
    EndOne { ago: usize, owner: bool },
    EndOthers { ago: usize },
    EndAll { outside: bool },
    Seen { ago: usize, age: i64 },
    Clean { idle_for: i64 },
}

#[derive(Clone, Copy, Debug)]
struct Cap {
    most: u32,
    refuse: bool,
    idle_for: i64,
}

fn step() -> impl Strategy<Value = Step> {
    let cap = || {
        let cap = (1..4_u32, any::<bool>(), prop_oneof![3 => Just(FOREVER), 1 => 0..100_i64]);
        proptest::option::weighted(
            0.8,
            cap.prop_map(|(most, refuse, idle_for)| Cap { most, refuse, idle_for }),
        )
    };
    let lifetime = || prop_oneof![3 => Just(FOREVER), 1 => 1..60_i64];
    let ago = || 0..6_usize;
    prop_oneof![
        4 => (lifetime(), cap(), proptest::option::weighted(0.3, ago()))
            .prop_map(|(lifetime, cap, replaces)| Step::Own { lifetime, cap, replaces }),
        6 => (0..NAMES, 0..40_i64, lifetime(), cap())
            .prop_map(|(name, token_age, lifetime, cap)| Step::External { name, token_age, lifetime, cap }),
        2 => (ago(), any::<bool>()).prop_map(|(ago, owner)| Step::EndOne { ago, owner }),
        1 => ago().prop_map(|ago| Step::EndOthers { ago }),
        1 => any::<bool>().prop_map(|outside| Step::EndAll { outside }),
        2 => (ago(), 0..40_i64).prop_map(|(ago, age)| Step::Seen { ago, age }),
        1 => (0..200_i64).prop_map(|idle_for| Step::Clean { idle_for }),
    ]
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    id: SessionId,
    owner: UserId,
    created: i64,
    expires: i64,
    seen: i64,
    name: Option<String>,
}

/// What a step leads to.
#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    /// This session is open, and these ended in this order.
    Opened(SessionId, Vec<SessionId>),
    /// These outside sessions ended, among so many.
    Ended(u64, Vec<String>),
    CapReached,
    StaysEnded,
    Nothing,
}

struct Model {
    own: UserId,
    outside: UserId,
    subject: String,
    now: i64,
    /// In the order in which they were opened.
    open: Vec<Held>,
    /// Every session there ever was.
    all: Vec<Held>,
    ended: HashSet<String>,
    signed_out: i64,
}

impl Model {
    fn ago(&self, ago: usize) -> Option<Held> {
        self.all.iter().rev().nth(ago).cloned()
    }

    fn end(&mut self, which: impl Fn(&Held) -> bool) -> Vec<Held> {
        let (gone, left): (Vec<_>, Vec<_>) = self.open.drain(..).partition(|held| which(held));
        self.open = left;
        self.ended.extend(gone.iter().filter_map(|held| held.name.clone()));
        gone
    }

    fn ended(gone: Vec<Held>) -> Outcome {
        Outcome::Ended(gone.len() as u64, gone.into_iter().filter_map(|held| held.name).collect())
    }

    fn let_in(&mut self, new: Held, cap: Option<Cap>, replaces: Option<SessionId>) -> Outcome {
        let mut leave: Vec<SessionId> =
            self.open.iter().filter(|held| Some(held.id) == replaces).map(|held| held.id).collect();
        if let Some(Cap { most, refuse, idle_for }) = cap {
            let counts = |held: &&Held| {
                held.owner == new.owner
                    && Some(held.id) != replaces
                    && held.expires > self.now
                    && held.seen >= self.now - idle_for
            };
            let mut live: Vec<SessionId> = self.open.iter().filter(counts).map(|held| held.id).collect();
            if refuse && live.len() >= most as usize {
                return Outcome::CapReached;
            }
            live.truncate((live.len() + 1).saturating_sub(most as usize));
            leave.extend(live);
        }
        self.end(|held| leave.contains(&held.id));
        let id = new.id;
        self.all.push(new.clone());
        self.open.push(new);
        Outcome::Opened(id, leave)
    }

    fn expect(&mut self, step: &Step, new: Option<Held>) -> Outcome {
        match step {
            Step::Own { cap, replaces, .. } => {
                let replaces = replaces.and_then(|ago| self.ago(ago)).map(|held| held.id);
                new.map_or(Outcome::Nothing, |new| self.let_in(new, *cap, replaces))
            }
            Step::External { token_age, cap, .. } => {
                let Some(new) = new else { return Outcome::Nothing };
                if new.name.as_ref().is_some_and(|name| self.ended.contains(name)) {
                    return Outcome::StaysEnded;
                }
                if let Some(open) = self.open.iter().find(|held| held.name == new.name) {
                    return Outcome::Opened(open.id, Vec::new());
                }
                if self.now - token_age < self.signed_out {
                    return Outcome::StaysEnded;
                }
                self.let_in(new, *cap, None)
            }
            Step::EndOne { ago, owner } => match self.ago(*ago) {
                Some(named) if *owner => Self::ended(self.end(|held| held.id == named.id)),
                _ => Outcome::Ended(0, Vec::new()),
            },
            Step::EndOthers { ago } => {
                let Some(kept) = self.ago(*ago) else { return Outcome::Ended(0, Vec::new()) };
                if kept.owner == self.outside {
                    self.signed_out = self.now;
                }
                Self::ended(self.end(|held| held.owner == kept.owner && held.id != kept.id))
            }
            Step::EndAll { outside } => {
                let owner = if *outside { self.outside } else { self.own };
                if *outside {
                    self.signed_out = self.now;
                }
                Self::ended(self.end(|held| held.owner == owner))
            }
            Step::Seen { ago, age } => {
                let (named, now) = (self.ago(*ago), self.now);
                for held in self.open.iter_mut().filter(|held| Some(held.id) == named.as_ref().map(|n| n.id))
                {
                    held.seen = held.seen.max(now - age);
                }
                Outcome::Nothing
            }
            Step::Clean { idle_for } => {
                let now = self.now;
                self.end(|held| held.expires <= now || held.seen < now - idle_for);
                Outcome::Nothing
            }
        }
    }

    /// Does the step on the store. Returns the outcome, and the session that it was about to open.
    async fn run(&self, store: &dyn TestStore, step: &Step) -> (Outcome, Option<Held>) {
        let port_cap = |cap: Option<Cap>| {
            cap.map(|Cap { most, refuse, idle_for }| SessionCap {
                most,
                policy: if refuse { CapPolicy::Refuse } else { CapPolicy::EvictOldest },
                idle_before: at(self.now - idle_for),
            })
        };
        match step {
            Step::Own { lifetime, cap, replaces } => {
                let mut new = new_session(self.own);
                let held = self.held(&mut new.session, *lifetime, None);
                let replaces = replaces.and_then(|ago| self.ago(ago)).map(|held| held.id);
                let opened = store.open_session(&new, 0, replaces, port_cap(*cap)).await;
                let outcome = match opened.map(Durable::acknowledge).expect("the store answers") {
                    SessionOpened::Opened(ended) => Outcome::Opened(held.id, left(&ended)),
                    SessionOpened::CapReached => Outcome::CapReached,
                    SessionOpened::Refused => unreachable!("the epoch is right"),
                };
                (outcome, Some(held))
            }
            Step::External { name, token_age, lifetime, cap } => {
                let name = format!("{}-{name}", self.subject);
                let mut new = NewExternalSession {
                    issued_at: at(self.now - token_age),
                    cap: port_cap(*cap),
                    ..new_external(&self.subject, &name)
                };
                let mut held = self.held(&mut new.session, *lifetime, Some(name));
                held.owner = self.outside;
                let opened = store.open_external(&new).await.map(Durable::acknowledge);
                let outcome = match opened.expect("the store answers") {
                    ExternalOpened::Opened { active, ended, .. } => {
                        Outcome::Opened(active.session.id, left(&ended))
                    }
                    ExternalOpened::CapReached => Outcome::CapReached,
                    ExternalOpened::Ended => Outcome::StaysEnded,
                    ExternalOpened::Disabled => unreachable!("nobody is disabled"),
                };
                (outcome, Some(held))
            }
            Step::EndOne { ago, owner } => {
                let Some(named) = self.ago(*ago) else { return (Outcome::Ended(0, Vec::new()), None) };
                let stranger = if named.owner == self.own { self.outside } else { self.own };
                let by = if *owner { named.owner } else { stranger };
                (self.end_in(store, EndScope::One(by, named.id)).await, None)
            }
            Step::EndOthers { ago } => {
                let Some(kept) = self.ago(*ago) else { return (Outcome::Ended(0, Vec::new()), None) };
                (self.end_in(store, EndScope::Others(kept.owner, kept.id)).await, None)
            }
            Step::EndAll { outside } => {
                let owner = if *outside { self.outside } else { self.own };
                (self.end_in(store, EndScope::All(owner)).await, None)
            }
            Step::Seen { ago, age } => {
                if let Some(Held { id, owner, .. }) = self.ago(*ago) {
                    let used = Activity { session_id: id, user_id: owner, at: at(self.now - age), ip: None };
                    store.record_activity(&[used]).await.expect("the store answers").into_inner();
                }
                (Outcome::Nothing, None)
            }
            Step::Clean { idle_for } => {
                let idle_before = at(self.now - idle_for);
                let removed = store.remove_expired(at(self.now), idle_before, 1000).await;
                removed.expect("the store answers").into_inner();
                (Outcome::Nothing, None)
            }
        }
    }

    fn held(&self, session: &mut phoenix_auth::model::Session, lifetime: i64, name: Option<String>) -> Held {
        session.created_at = at(self.now);
        session.last_seen_at = at(self.now);
        session.expires_at = at(self.now + lifetime);
        let (id, owner) = (session.id, session.user_id);
        Held { id, owner, created: self.now, expires: self.now + lifetime, seen: self.now, name }
    }

    async fn end_in(&self, store: &dyn TestStore, scope: EndScope) -> Outcome {
        let ended = store.end_sessions(scope, at(self.now)).await.map(Durable::acknowledge);
        let SessionsEnded { count, external, .. } = ended.expect("the store answers");
        Outcome::Ended(count, external.into_iter().filter_map(|ended| ended.session).collect())
    }
}

/// The sessions that ended, each by its own entry.
fn left(ended: &SessionsEnded) -> Vec<SessionId> {
    assert_eq!(ended.count, ended.invalidations.len() as u64);
    let session = |entry: &phoenix_auth::ports::Invalidation| match entry.stale {
        phoenix_auth::ports::Stale::Session(id) => id,
        phoenix_auth::ports::Stale::User(id) => unreachable!("all of {id}"),
    };
    ended.invalidations.iter().map(session).collect()
}

async fn open_ids(store: &dyn TestStore, owner: UserId) -> HashSet<SessionId> {
    let listed = store.sessions_of(owner, 1000).await.expect("the store answers");
    listed.into_iter().map(|line| line.session.id).collect()
}

async fn follow(db: &Db, steps: &[Step]) -> Result<(), TestCaseError> {
    let store = &*db.store;
    let subject = format!("case{}", CASES.fetch_add(1, Ordering::Relaxed));
    let own = add_user(store, &format!("{subject}@example.com")).await;
    let outside = open_external(store, &new_external(&subject, &format!("{subject}-first"))).await.user.id;
    store.end_sessions(EndScope::All(outside), at(0)).await.expect("answers").acknowledge();
    let (open, all, ended) = (Vec::new(), Vec::new(), HashSet::new());
    let mut model = Model { own, outside, subject, now: 0, open, all, ended, signed_out: 0 };
    for step in steps {
        model.now += STEP_MS;
        let (outcome, new) = model.run(store, step).await;
        let expected = model.expect(step, new);
        prop_assert_eq!(outcome, expected, "{:?} at {} on {}", step, model.now, db.name);
        for owner in [own, outside] {
            let held = model.open.iter().filter(|held| held.owner == owner).map(|held| held.id);
            let held: HashSet<SessionId> = held.collect();
            prop_assert_eq!(open_ids(store, owner).await, held, "after {:?} on {}", step, db.name);
        }
    }
    for owner in [own, outside] {
        store.end_sessions(EndScope::All(owner), at(model.now)).await.expect("answers").acknowledge();
    }
    Ok(())
}

fn run_histories(db: &Db, runtime: &tokio::runtime::Runtime, cases: u32) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let histories = proptest::collection::vec(step(), 1..40);
    let outcome = runner.run(&histories, |steps| runtime.block_on(follow(db, &steps)));
    outcome.expect("the database follows the rules");
}

// spec: D15
#[test]
fn sessions_open_and_end_by_the_rules_whatever_the_history() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (embedded, server) = runtime.block_on(async { (sqlite_db(), postgres_db().await) });
    run_histories(&embedded, &runtime, 60);
    run_histories(&server, &runtime, 40);
}
