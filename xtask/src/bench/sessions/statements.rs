//! Which statements of the database ran, and what they ran for.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::cluster::real;

/// What signing in and out is made of.
const SIGNING: &[&str] = &[
    "credentials",
    "password_upgrade",
    "session_open",
    "owner_lock",
    "sessions_beyond_cap",
    "external_ended",
    "identity_owner_lock",
    "identity_insert",
    EXTERNAL_OPEN,
    "external_opened",
    "session_end_each",
    "session_end_own",
    "invalidation_append",
    "notify",
];
/// Opens the session of an outside provider, the first time that it is seen.
const EXTERNAL_OPEN: &str = "external_open";
/// Look-ups that an opening needs under the names of other look-ups: whether the session is known (both), and in the
/// transaction that opens it once more whether it is still not.
const OF_AN_OPENING: &[(&str, u64)] = &[("session_find", 2), ("session_find_previous", 1)];
/// What runs by the clock, whether or not anybody asks for anything.
const CLOCK: &[&str] = &[
    "probe",
    "log_after",
    "recently_used",
    "expired_delete",
    "idle_scan",
    "idle_delete",
    "invalidation_trim",
    "event_trim",
    "delivery_trim",
    "ending_trim",
];

/// How often each statement ran, over all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Statements(BTreeMap<String, u64>);

/// The same, by what it was for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Totals {
    /// All of them.
    pub(super) all: f64,
    /// Signing in and out.
    pub(super) signing: f64,
    /// By the clock.
    pub(super) clock: f64,
}

impl Statements {
    /// The counters in the status reports of all nodes.
    pub(super) fn of(reports: &[Value]) -> Result<Self> {
        let mut counts = BTreeMap::new();
        for report in reports {
            let lines = report["database"]["statements"].as_array().context("the status has statements")?;
            for line in lines {
                let (name, count) = (line["name"].as_str(), line["count"].as_u64());
                let (name, count) = name.zip(count).context("a statement has a name and a count")?;
                *counts.entry(name.to_owned()).or_default() += count;
            }
        }
        Ok(Self(counts))
    }

    /// What ran since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let before = |name| earlier.0.get(name).copied().unwrap_or_default();
        let counts = self.0.iter().map(|(name, count)| (name.clone(), count.saturating_sub(before(name))));
        Self(counts.filter(|(_, count)| *count > 0).collect())
    }

    pub(super) fn totals(&self) -> Totals {
        let sum =
            |part: &dyn Fn(&str, u64) -> u64| self.0.iter().map(|(name, count)| part(name, *count)).sum();
        let clock = |name: &str, count| if CLOCK.contains(&name) { count } else { 0 };
        Totals {
            all: real(self.0.values().sum()),
            signing: real(sum(&|name, count| self.signing(name, count))),
            clock: real(sum(&clock)),
        }
    }

    /// How many of the `count` statements called `name` were for signing in or out.
    fn signing(&self, name: &str, count: u64) -> u64 {
        if SIGNING.contains(&name) {
            return count;
        }
        let openings = self.0.get(EXTERNAL_OPEN).copied().unwrap_or_default();
        let needed = OF_AN_OPENING.iter().find(|(other, _)| *other == name).map_or(0, |(_, times)| *times);
        (needed * openings).min(count)
    }

    /// One line each, to standard error.
    pub(super) fn show(&self) {
        for (name, count) in &self.0 {
            let signing = self.signing(name, *count);
            let rest = if CLOCK.contains(&name.as_str()) { "by the clock" } else { "requests" };
            for (count, kind) in [(signing, "signing in and out"), (count - signing, rest)] {
                if count > 0 {
                    eprintln!("  {name:<24}{count:>9}  {kind}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Statements, Totals};

    #[test]
    fn counts_are_differences_over_all_nodes_by_purpose() {
        let report = |find: u64, login: u64, polls: u64| {
            json!({"database": {"statements": [
                {"name": "session_find", "count": find},
                {"name": "session_open", "count": login},
                {"name": "log_after", "count": polls},
            ]}})
        };
        let read = |reports: &[_]| Statements::of(reports).expect("these are reports");
        let before = read(&[report(1, 1, 1), report(0, 0, 0)]);
        let after = read(&[report(5, 3, 10), report(1, 0, 20)]);
        let totals = after.since(&before).totals();
        assert_eq!(totals, Totals { all: 5.0 + 2.0 + 29.0, signing: 2.0, clock: 29.0 });
        assert!(Statements::of(&[json!({})]).is_err());
    }

    #[test]
    fn an_opening_takes_its_own_look_ups_out_of_those_of_requests() {
        let report = |finds: u64| {
            json!({"database": {"statements": [
                {"name": "session_find", "count": finds},
                {"name": "session_find_previous", "count": 4},
                {"name": "external_open", "count": 3},
            ]}})
        };
        let totals = |finds| Statements::of(&[report(finds)]).expect("this is a report").totals();
        assert_eq!(totals(10), Totals { all: 17.0, signing: 12.0, clock: 0.0 });
        assert_eq!(totals(5), Totals { all: 12.0, signing: 11.0, clock: 0.0 });
    }
}
