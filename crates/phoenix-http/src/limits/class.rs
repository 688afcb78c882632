//! A class: requests that are limited together, by one rule. Does not own which requests those are (`template.rs`).

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use phoenix_limit::{Mode, Rule};

use super::counters::Counters;
use super::networks::Treatment;

/// The class of requests that try a password. Counted by account, too.
pub(crate) const AUTH: &str = "auth";
/// The class of requests that make an account.
pub(crate) const REGISTER: &str = "register";
/// The class of tokens that were looked up in vain.
pub(crate) const CREDENTIALS: &str = "credentials";

/// The class of what has none of its own below `/api`.
pub(crate) const API: &str = "api";

/// A class as it is configured.
#[derive(Clone, PartialEq, Debug)]
pub struct ClassSpec {
    /// What it is called. Goes into the keys under which its requests are counted, so another name counts anew.
    pub name: String,
    /// Windows and block.
    pub rule: Rule,
    /// For whom requests are counted.
    pub key: KeyBy,
    /// Which requests are counted.
    pub count: Count,
    /// Nothing is refused; what would have been refused is counted and logged.
    pub observe: bool,
    /// Networks whose requests this class does not count.
    pub exempt: Vec<IpNet>,
    /// Networks for which the limits of every window are multiplied. The longest prefix that holds an address counts.
    pub networks: Vec<(IpNet, f64)>,
}

/// For whom requests are counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyBy {
    /// The client's address, IPv6 by its prefix.
    Address,
    /// The user when signed in, else the address.
    Principal,
    /// The user when signed in and, besides, the address: both must have room.
    Both,
    /// The address and, besides, the account that a login names together with the address.
    Account,
}

/// Which requests are counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Count {
    /// Every one.
    All,
    /// Those that failed. Until that is known a request counts as one that did.
    Failures,
}

impl Count {
    /// How a request is counted before it is known whether it failed.
    pub(crate) const fn mode(self) -> Mode {
        match self {
            Self::All => Mode::Count,
            Self::Failures => Mode::Reserve,
        }
    }
}

/// A class in force.
#[derive(Debug)]
pub(crate) struct Class {
    spec: ClassSpec,
    treatment: Treatment,
    /// Goes into keys.
    scope: String,
    counters: Arc<Counters>,
}

impl Class {
    pub(super) fn new(spec: ClassSpec, exempt_everywhere: &[IpNet]) -> Self {
        let exempt: Vec<IpNet> = exempt_everywhere.iter().chain(&spec.exempt).copied().collect();
        let treatment = Treatment::new(&exempt, &spec.networks, &spec.rule);
        // What is only observed begins no block that counts once it is more than observed.
        let scope = if spec.observe { format!("{} (observed)", spec.name) } else { spec.name.clone() };
        Self { spec, treatment, scope, counters: Arc::default() }
    }

    /// What stands for the class in the names of what is counted.
    pub(crate) fn scope(&self) -> &str {
        &self.scope
    }

    /// What became of its requests.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Goes on counting where the class of the same name of other rules is.
    pub(super) fn go_on_from(&mut self, other: &Self) {
        self.counters = Arc::clone(&other.counters);
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    /// For whom requests are counted.
    pub(crate) const fn key(&self) -> KeyBy {
        self.spec.key
    }

    /// Which requests are counted.
    pub(crate) const fn count(&self) -> Count {
        self.spec.count
    }

    /// Whether nothing is refused.
    pub(crate) const fn observe(&self) -> bool {
        self.spec.observe
    }

    /// The rule for an address; `None` when it is exempt.
    pub(super) fn rule_for(&self, ip: IpAddr) -> Option<&Rule> {
        self.treatment.rule_for(ip, &self.spec.rule)
    }

    /// How much it lets through: the class with the smaller value is the stricter one. One that only observes lets
    /// everything through; of the others the one with the lowest rate over any of its windows is the strictest.
    pub(super) fn looseness(&self) -> (bool, f64) {
        let rate = |window: &phoenix_limit::Window| f64::from(window.limit) / window.span.as_secs_f64();
        (self.spec.observe, self.spec.rule.windows().iter().map(rate).fold(f64::INFINITY, f64::min))
    }
}
