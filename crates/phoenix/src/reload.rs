//! `SIGHUP`: the configuration is read again, and the rules of the rate limits and the routes of the gateway take effect,
//! all of them or none. What was counted stays counted, because it is kept under the names of classes and clients and
//! not under limits. A request that is under way keeps the route that it has.
//!
//! Everything else in the configuration takes effect at a start only; what changed of it is said.

use std::sync::Arc;

use phoenix_config::{ConfigErrors, Effective, Gateway, Literal, Loaded};
use phoenix_http::gateway::RouteTable;
use phoenix_http::limits::{LimitRules, LiveRules};
use tokio::signal::unix::Signal;

use crate::gateway::routes;
use crate::lifecycle::Lifecycle;
use crate::limits::rules;

/// Most errors of one reading that are logged; the rest are counted.
const MAX_LOGGED: usize = 50;
/// Settings with this start are read again, except for [`AT_START`].
const LIMITS: &str = "limits.";
/// Memory is taken once.
const AT_START: &str = "limits.memory";
/// What of the gateway is read again: connections to upstreams are made once.
const ROUTES: &str = "gateway.routes";

/// Reads the configuration as the process did at its start.
pub(crate) type Read = Arc<dyn Fn() -> Result<Loaded, ConfigErrors> + Send + Sync>;

/// Reads the configuration again whenever it is told to.
pub(crate) struct Reloader {
    /// How it is read.
    pub(crate) read: Read,
    /// The configuration in effect.
    pub(crate) effective: Effective,
    /// Where rules are put in force.
    pub(crate) rules: Arc<LiveRules>,
    /// The gateway as it was at the start: its upstreams stay.
    pub(crate) gateway: Gateway,
    /// Where routes are put in force, and keys read again.
    pub(crate) served: crate::gateway::Gateway,
}

impl Reloader {
    /// Obeys every signal until the process stops.
    pub(crate) async fn run(mut self, mut hangups: Signal, lifecycle: Lifecycle) {
        let stopping = lifecycle.stopping().clone();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                signal = hangups.recv() => if signal.is_none() { return },
            }
            let read = Arc::clone(&self.read);
            let served = self.served.clone();
            let again = move || {
                served.reload_keys();
                read()
            };
            // Files may be slow; requests go on meanwhile.
            match lifecycle.tracker().spawn_blocking(again).await {
                Ok(read) => self.take(read),
                Err(error) => tracing::error!(?error, "the configuration was not read again"),
            }
        }
    }

    /// What is to be put in force.
    fn build(&self, loaded: &Loaded) -> Result<(LimitRules, RouteTable), ConfigErrors> {
        Ok((rules::checked(loaded)?, routes::checked(loaded, &self.gateway)?))
    }

    /// Puts in force what was read, all of it or nothing.
    fn take(&mut self, read: Result<Loaded, ConfigErrors>) {
        let built = read.and_then(|loaded| self.build(&loaded).map(|built| (built, loaded)));
        let ((rules, routes), loaded) = match built {
            Ok(read) => read,
            Err(errors) => return refuse(&errors),
        };
        for warning in &loaded.warnings {
            tracing::warn!(warning, "read in the configuration");
        }
        let (reloaded, at_start): (Vec<Change>, Vec<Change>) =
            changes(&self.effective, &loaded.effective).into_iter().partition(|c| is_reloaded(&c.setting));
        self.rules.replace(rules);
        self.served.routes.replace(routes);
        for Change { setting, from, to } in &reloaded {
            if setting == ROUTES {
                tracing::info!(setting, from, to, "routes changed");
            } else {
                tracing::info!(setting, from, to, "rate limits changed");
            }
        }
        if !at_start.is_empty() {
            let settings: Vec<&str> = at_start.iter().map(|change| change.setting.as_str()).collect();
            tracing::warn!(
                settings = settings.join(", "),
                "changed settings that take effect at the next start"
            );
        }
        // Of what only a start takes over, what the start took stays in effect.
        self.effective = self.effective.with(&loaded.effective, is_reloaded);
        tracing::info!(changes = reloaded.len(), "configuration read again; what was counted stays counted");
    }
}

fn refuse(errors: &ConfigErrors) {
    for error in errors.errors().iter().take(MAX_LOGGED) {
        let source = error.source_of_value().map(ToString::to_string);
        tracing::error!(
            setting = error.setting(),
            source,
            value = error.shown_value(),
            reason = error.reason(),
            remedy = error.remedy(),
            "wrong in the configuration"
        );
    }
    tracing::error!(
        errors = errors.errors().len(),
        "the configuration is wrong, so nothing of it takes effect; the one before goes on"
    );
}

/// A setting with another value than before, both as in a file.
#[derive(PartialEq, Eq, Debug)]
struct Change {
    setting: String,
    from: String,
    to: String,
}

fn is_reloaded(setting: &str) -> bool {
    setting == ROUTES || (setting.starts_with(LIMITS) && setting != AT_START)
}

/// What differs; of a table the entries that do. Secrets are not in there, so that they changed is not seen.
fn changes(before: &Effective, after: &Effective) -> Vec<Change> {
    let mut changes = Vec::new();
    for new in after.settings() {
        let old = before.get(new.key).and_then(|old| old.value.as_ref());
        match (old, new.value.as_ref()) {
            (Some(Literal::Table(old)), Some(Literal::Table(new_entries))) => {
                changes.extend(entry_changes(new.key, old, new_entries));
            }
            (old, value) if old != value => changes.push(change(new.key.to_owned(), old, value)),
            _ => {}
        }
    }
    changes
}

fn entry_changes(setting: &str, old: &[(String, Literal)], new: &[(String, Literal)]) -> Vec<Change> {
    let value = |entries: &[(String, Literal)], name: &str| {
        entries.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let added = new.iter().filter(|(name, _)| value(old, name).is_none());
    let names = old.iter().chain(added).map(|(name, _)| name);
    let pairs = names.map(|name| (name, value(old, name), value(new, name)));
    let differing = pairs.filter(|(_, old, new)| old != new);
    differing
        .map(|(name, old, new)| change(format!("{setting}.{name}"), old.as_ref(), new.as_ref()))
        .collect()
}

fn change(setting: String, from: Option<&Literal>, to: Option<&Literal>) -> Change {
    let text = |value: Option<&Literal>| value.map_or_else(|| "not set".to_owned(), ToString::to_string);
    Change { setting, from: text(from), to: text(to) }
}
