//! Which statements of the database ran, and what they ran for.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::cluster::real;

/// What logins and logouts are made of.
const SIGNING: &[&str] = &[
    "credentials",
    "password_upgrade",
    "session_open",
    "owner_lock",
    "sessions_beyond_cap",
    "session_end_each",
    "session_end_own",
    "invalidation_append",
    "notify",
];
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
    /// Logins and logouts.
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
        let of = |names: &[&str]| {
            self.0.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, count)| count).sum()
        };
        Totals { all: real(self.0.values().sum()), signing: real(of(SIGNING)), clock: real(of(CLOCK)) }
    }

    /// One line each, to standard error.
    pub(super) fn show(&self) {
        for (name, count) in &self.0 {
            let kind = match name.as_str() {
                name if SIGNING.contains(&name) => "login, logout",
                name if CLOCK.contains(&name) => "by the clock",
                _ => "requests",
            };
            eprintln!("  {name:<24}{count:>9}  {kind}");
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
                {"name": "last_seq", "count": polls},
            ]}})
        };
        let read = |reports: &[_]| Statements::of(reports).expect("these are reports");
        let before = read(&[report(1, 1, 1), report(0, 0, 0)]);
        let after = read(&[report(5, 3, 10), report(1, 0, 20)]);
        let totals = after.since(&before).totals();
        assert_eq!(totals, Totals { all: 5.0 + 2.0 + 29.0, signing: 2.0, clock: 29.0 });
        assert!(Statements::of(&[json!({})]).is_err());
    }
}
