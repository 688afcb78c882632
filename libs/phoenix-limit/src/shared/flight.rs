//! Requests of one key that come while one is being decided in Redis wait for it, and are then decided together in one
//! call. Does not know what a decision is made of.
//!
//! One of those that ask leads: it asks for all. When it has its answer, the first of those who came meanwhile leads. A
//! leader that is dropped hands over, and those it asked for ask again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::call::Request;
use crate::{Decision, Key, Rule};

/// Locks, so that keys do not wait for each other.
const SHARDS: usize = 64;
/// Most requests that wait for one key; more ask by themselves. Also the most that one call decides.
const MAX_WAITING: usize = 256;

/// All keys that are being decided now: at most as many as there are requests.
#[derive(Debug)]
pub(super) struct Flights {
    shards: [Shard; SHARDS],
}

impl Default for Flights {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

type Shard = Mutex<HashMap<u128, Flight>>;

#[derive(Debug)]
struct Flight {
    rule: Rule,
    waiting: Vec<Waiter>,
}

/// A request, and where its decision goes.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) request: Request,
    decided: oneshot::Sender<Told>,
}

impl Waiter {
    /// Gives it its decision. If nobody waits any more, that is lost.
    pub(super) fn tell(self, decision: Decision) {
        drop(self.decided.send(Told::Decision(decision)));
    }
}

/// What one who waited is told.
#[derive(Debug)]
pub(super) enum Told {
    Decision(Decision),
    /// To ask now, for itself and others.
    Lead(Lead),
}

/// What to do with a request.
#[derive(Debug)]
pub(super) enum Turn {
    /// Ask, for itself and nobody else.
    Lead(Lead),
    /// Wait. An error says that the leader is gone.
    Wait(oneshot::Receiver<Told>),
    /// Ask, without waiting: there are too many, or the rule has just been changed.
    Apart,
}

/// The duty to ask for others.
#[derive(Debug)]
pub(super) struct Lead {
    flights: Arc<Flights>,
    key: Key,
    /// For whom, besides itself.
    others: Vec<Waiter>,
}

impl Lead {
    /// For whom to ask besides itself.
    pub(super) fn others(&mut self) -> Vec<Waiter> {
        std::mem::take(&mut self.others)
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.hand_over(self.key);
    }
}

impl Flights {
    fn shard(&self, key: Key) -> MutexGuard<'_, HashMap<u128, Flight>> {
        let place = (key.name() % SHARDS as u128) as usize;
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose turn it is.
    pub(super) fn join(self: &Arc<Self>, key: Key, rule: &Rule, request: Request) -> Turn {
        let mut shard = self.shard(key);
        let Some(flight) = shard.get_mut(&key.name()) else {
            shard.insert(key.name(), Flight { rule: rule.clone(), waiting: Vec::new() });
            return Turn::Lead(Lead { flights: Arc::clone(self), key, others: Vec::new() });
        };
        if flight.waiting.len() >= MAX_WAITING || flight.rule != *rule {
            return Turn::Apart;
        }
        let (decided, wait) = oneshot::channel();
        flight.waiting.push(Waiter { request, decided });
        Turn::Wait(wait)
    }

    /// The first who still waits leads the others.
    fn hand_over(self: &Arc<Self>, key: Key) {
        let mut shard = self.shard(key);
        let Some(flight) = shard.get_mut(&key.name()) else { return };
        let mut waiting =
            std::mem::take(&mut flight.waiting).into_iter().filter(|waiter| !waiter.decided.is_closed());
        let Some(first) = waiting.next() else {
            shard.remove(&key.name());
            return;
        };
        let others = waiting.collect();
        drop(shard);
        // If it has left just now, its duty is dropped here, and so handed over again.
        drop(first.decided.send(Told::Lead(Lead { flights: Arc::clone(self), key, others })));
    }

    /// Keys that are being decided.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().map_or(0, |shard| shard.len())).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Mode, Refusal, Verdict, Window};

    const KEY: Key = Key::from_parts(7, 0);
    const ONE: Request = Request { cost: 1, mode: Some(Mode::Count) };

    fn rule(limit: u32) -> Rule {
        Rule::new(&[Window { limit, span: Duration::from_secs(1) }], None).expect("the rule is good")
    }

    fn refused() -> Decision {
        Decision {
            verdict: Verdict::Refused(Refusal::Exceeded),
            window: 0,
            remaining: 0,
            reset_after: Duration::ZERO,
            retry_after: Duration::ZERO,
            at: 0,
        }
    }

    fn lead(flights: &Arc<Flights>) -> Lead {
        match flights.join(KEY, &rule(5), ONE) {
            Turn::Lead(lead) => lead,
            other => panic!("{other:?}"),
        }
    }

    fn wait(flights: &Arc<Flights>) -> oneshot::Receiver<Told> {
        match flights.join(KEY, &rule(5), ONE) {
            Turn::Wait(wait) => wait,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn those_who_come_meanwhile_are_led_by_the_first_of_them() {
        let flights = Arc::new(Flights::default());
        let first = lead(&flights);
        let (mut second, mut third) = (wait(&flights), wait(&flights));
        drop(first);
        let Ok(Told::Lead(mut leads)) = second.try_recv() else { panic!("the second leads") };
        let others = leads.others();
        assert_eq!(others.len(), 1);
        assert!(third.try_recv().is_err(), "not decided yet");
        for other in others {
            other.tell(refused());
        }
        assert!(matches!(third.try_recv(), Ok(Told::Decision(_))));
        drop(leads);
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn who_is_gone_does_not_lead_and_a_leader_who_goes_leaves_nobody_waiting() {
        let flights = Arc::new(Flights::default());
        let first = lead(&flights);
        let (second, mut third, mut fourth) = (wait(&flights), wait(&flights), wait(&flights));
        drop(second);
        drop(first);
        // The third was made the leader and goes before it has heard of it.
        assert!(matches!(third.try_recv(), Ok(Told::Lead(_))));
        assert!(
            fourth.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed),
            "asks again"
        );
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn another_rule_and_too_many_ask_apart() {
        let flights = Arc::new(Flights::default());
        let _lead = lead(&flights);
        assert!(matches!(flights.join(KEY, &rule(6), ONE), Turn::Apart));
        let _waiting: Vec<_> = (0..MAX_WAITING).map(|_| wait(&flights)).collect();
        assert!(matches!(flights.join(KEY, &rule(5), ONE), Turn::Apart));
    }
}
