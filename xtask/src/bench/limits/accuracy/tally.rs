//! How many decisions were right. Judges decisions that were made elsewhere, in the order of their times.

use std::collections::HashMap;

use phoenix_limit::{Decision, Rule, Verdict};

use super::super::oracle::{Oracle, Right, excess, micros};
use super::super::real;
use crate::bench::report::Bar;

/// Counts of one kind of traffic, or sums of several.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Tally {
    pub(in super::super) decisions: u64,
    /// Admitted instead of refused, or refused instead of admitted, or for another reason.
    pub(in super::super) wrong: u64,
    /// Refused rightly, but told a wrong time to wait.
    pub(in super::super) untrue_waits: u64,
    /// Admitted, but told a wrong number of units that are left.
    pub(in super::super) untrue_rooms: u64,
    /// Most units above a limit in any window.
    pub(in super::super) excess: u32,
    /// The first that was wrong, for whoever looks for the cause.
    pub(in super::super) first: Option<String>,
}

impl Tally {
    /// Compares one decision with what is right.
    pub(in super::super) fn compare(&mut self, client: u32, right: Right, decision: &Decision) {
        let refusal = match decision.verdict {
            Verdict::Admitted(_) => None,
            Verdict::Refused(refusal) => Some(refusal),
        };
        self.decisions += 1;
        let equal = refusal == right.refusal;
        let wait = equal && refusal.is_some() && micros(decision.retry_after) != right.wait;
        let room = equal && refusal.is_none() && decision.remaining != right.room;
        self.wrong += u64::from(!equal);
        self.untrue_waits += u64::from(wait);
        self.untrue_rooms += u64::from(room);
        if !equal || wait || room {
            self.first.get_or_insert_with(|| format!("client {client}: {decision:?}; right is {right:?}"));
        }
    }

    /// Counts a decision of which only the verdict is known.
    pub(in super::super) fn verdict(&mut self, right: Right, admitted: bool) {
        self.decisions += 1;
        self.wrong += u64::from(admitted != right.refusal.is_none());
    }

    /// Adds up.
    pub(in super::super) fn add(&mut self, other: Self) {
        self.decisions += other.decisions;
        self.wrong += other.wrong;
        self.untrue_waits += other.untrue_waits;
        self.untrue_rooms += other.untrue_rooms;
        self.excess = self.excess.max(other.excess);
        self.first = self.first.take().or(other.first);
    }

    /// Wrong decisions, in percent.
    pub(in super::super) fn percent(&self) -> f64 {
        100.0 * real(self.wrong) / real(self.decisions.max(1))
    }

    /// All must be right.
    pub(in super::super) fn exact_bars(&self, name: &str) -> Vec<Bar> {
        if let Some(first) = &self.first {
            eprintln!("{name}: the first that is wrong: {first}");
        }
        vec![
            Bar::info(format!("{name}: decisions"), real(self.decisions), ""),
            Bar::at_most(format!("{name}: wrong decisions"), real(self.wrong), "", 0.0),
            Bar::at_most(format!("{name}: most above a limit"), f64::from(self.excess), "units", 0.0),
        ]
    }
}

/// One decision of some limiter, with the time it was made by that limiter's clock.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Made {
    pub(in super::super) client: u32,
    /// Microseconds.
    pub(in super::super) at: u64,
    pub(in super::super) cost: u32,
    pub(in super::super) admitted: bool,
}

/// What an oracle that saw the same requests at the same times says: one that goes by its own decisions, and one
/// that goes by what was in fact admitted. At one time, admissions are taken for earlier.
pub(in super::super) fn judge(rule: &Rule, made: &[Made]) -> Judged {
    let mut ordered: Vec<&Made> = made.iter().collect();
    ordered.sort_by_key(|made| (made.at, !made.admitted));
    let (mut own, mut given) = (Oracle::new(rule), Oracle::new(rule));
    let mut judged = Judged::default();
    let mut admitted: HashMap<u32, Vec<u64>> = HashMap::new();
    for made in ordered {
        let Made { client, at, cost, admitted: said } = *made;
        let right = own.decide(client, at, cost, false);
        if said != right.refusal.is_none() {
            judged.own.first.get_or_insert_with(|| format!("{made:?}; right is {right:?}"));
        }
        judged.own.verdict(right, said);
        judged.given.verdict(given.follow(client, at, cost, said), said);
        if said {
            admitted.entry(client).or_default().extend((0..cost).map(|_| at));
        }
    }
    let worst = admitted.values_mut().map(|units| excess(rule, units)).max().unwrap_or_default();
    (judged.own.excess, judged.given.excess) = (worst, worst);
    judged
}

/// Two judgements of the same decisions.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Judged {
    /// By an oracle of its own: one wrong decision may make later ones differ.
    pub(in super::super) own: Tally,
    /// Given what was admitted before.
    pub(in super::super) given: Tally,
}

impl Judged {
    /// Adds up.
    pub(in super::super) fn add(&mut self, other: Self) {
        self.own.add(other.own);
        self.given.add(other.given);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use phoenix_limit::Window;

    use super::*;

    #[test]
    fn a_wrong_refusal_is_counted_by_both_and_its_consequences_by_one() {
        let window = Window { limit: 1, span: Duration::from_secs(1) };
        let rule = Rule::new(&[window], None).expect("it can work");
        let made = |at, admitted| Made { client: 1, at, cost: 1, admitted };
        let judged = judge(&rule, &[made(500_000, true), made(0, false), made(1_200_000, false)]);
        assert_eq!((judged.own.wrong, judged.given.wrong, judged.own.excess), (3, 1, 0));
    }

    #[test]
    fn admissions_of_one_moment_come_first_and_excess_is_seen() {
        let window = Window { limit: 1, span: Duration::from_secs(1) };
        let rule = Rule::new(&[window], None).expect("it can work");
        let made = |at, admitted| Made { client: 1, at, cost: 1, admitted };
        assert_eq!(judge(&rule, &[made(0, false), made(0, true)]).own.wrong, 0);
        let over = judge(&rule, &[made(0, true), made(1, true)]);
        assert_eq!((over.own.wrong, over.own.excess), (1, 1));
    }
}
