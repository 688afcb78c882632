//! `SIGHUP`: the configuration is read again, and the rules of the rate limits and the routes of the gateway take effect,
//! all of them or none. What was counted stays counted, because it is kept under the names of classes and clients and
//! not under limits. A request that is under way keeps the route that it has.
//!
//! Everything else in the configuration takes effect at a start only; what changed of it is said.

use std::sync::Arc;

use phoenix_config::{ConfigErrors, Effective, Gateway, GatewayRoute, HttpMethod, Literal, Loaded};
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
/// Most routes that one line of the log names; the rest are counted.
const MAX_NAMED: usize = 20;

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
    /// The gateway as it was at the start, because its upstreams stay, with the routes in force.
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
        let of_routes = RouteChanges::between(&self.gateway.routes, &loaded.config.gateway.routes);
        // In this order a class is there before a route leads to it. A request that is under way with a route whose
        // class is gone counts for another one (`phoenix_http::limits`), so none is unlimited meanwhile.
        self.rules.replace(rules);
        self.served.routes.replace(routes);
        for Change { setting, from, to } in &reloaded {
            tracing::info!(setting, from, to, "rate limits changed");
        }
        if let Some(RouteChanges { added, removed, changed }) = &of_routes {
            tracing::info!(
                setting = ROUTES,
                added = named(added),
                removed = named(removed),
                changed = named(changed),
                "routes changed"
            );
        }
        if !at_start.is_empty() {
            let settings: Vec<&str> = at_start.iter().map(|change| change.setting.as_str()).collect();
            tracing::warn!(
                settings = settings.join(", "),
                "changed settings that take effect at the next start"
            );
        }
        // Of what only a start takes over, what the start took stays in effect.
        self.effective =
            self.effective.with(&loaded.effective, |setting| setting == ROUTES || is_reloaded(setting));
        self.gateway.routes = loaded.config.gateway.routes;
        let changes = reloaded.len() + usize::from(of_routes.is_some());
        tracing::info!(changes, "configuration read again; what was counted stays counted");
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

/// Whether it is one of the limits that take effect at once. Of routes, values are not told (see [`RouteChanges`]).
fn is_reloaded(setting: &str) -> bool {
    setting.starts_with(LIMITS) && setting != AT_START
}

/// Routes that differ, by their names: what is in them may be a secret.
#[derive(PartialEq, Eq, Debug)]
struct RouteChanges {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl RouteChanges {
    /// `None` when the routes are the same, in whatever order.
    fn between(before: &[GatewayRoute], after: &[GatewayRoute]) -> Option<Self> {
        let same = |all: &[GatewayRoute], one: &GatewayRoute| {
            all.iter().find(|other| requests(other) == requests(one)).cloned()
        };
        let missing = |from: &[GatewayRoute], of: &[GatewayRoute]| -> Vec<String> {
            of.iter().filter(|route| same(from, route).is_none()).map(name).collect()
        };
        let differs = |route: &&GatewayRoute| same(before, route).is_some_and(|old| old != **route);
        let changes = Self {
            added: missing(before, after),
            removed: missing(after, before),
            changed: after.iter().filter(differs).map(name).collect(),
        };
        let is_any =
            [&changes.added, &changes.removed, &changes.changed].iter().any(|names| !names.is_empty());
        is_any.then_some(changes)
    }
}

/// What tells a route from others: the requests that are its own.
fn requests(route: &GatewayRoute) -> (Option<&str>, &[HttpMethod], &str) {
    (route.host.as_deref(), &route.methods, &route.path)
}

/// `GET,POST app.example.com/tasks/{id}`.
fn name(route: &GatewayRoute) -> String {
    let (host, methods, path) = requests(route);
    let methods: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
    let space = if methods.is_empty() { "" } else { " " };
    format!("{}{space}{}{path}", methods.join(","), host.unwrap_or_default())
}

/// The first names, and how many more there are.
fn named(names: &[String]) -> String {
    let first = names.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMED) {
        0 => first,
        more => format!("{first}, and {more} more"),
    }
}

/// What differs of all but the routes; of a table the entries that do. Secrets are not in there, so that they changed is
/// not seen.
fn changes(before: &Effective, after: &Effective) -> Vec<Change> {
    let mut changes = Vec::new();
    for new in after.settings().iter().filter(|setting| setting.key != ROUTES) {
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

#[cfg(test)]
mod tests {
    use phoenix_config::{Sources, load};

    use super::*;

    fn routes(texts: &[&str]) -> Vec<GatewayRoute> {
        let text: Vec<String> = texts.iter().map(|text| format!("[[gateway.routes]]\n{text}\n")).collect();
        let text = text.concat();
        load(&Sources::from_toml(text)).unwrap_or_else(|errors| panic!("{errors}")).config.gateway.routes
    }

    #[test]
    fn routes_that_differ_are_named_and_nothing_of_them_is_told() {
        let set = |value: &str| format!("path = '/x'\nrequest_headers = {{ set = {{ x-key = '{value}' }} }}");
        let (get, all) = ("path = '/a'\nmethods = ['GET', 'PUT']\nhost = 'a.example'", "path = '/a'");
        let before = routes(&[get, all, &set("canary 1")]);
        assert_eq!(RouteChanges::between(&before, &routes(&[&set("canary 1"), all, get])), None, "the order");
        let after = routes(&[all, &set("canary 2"), "path = '/new'\nauth = 'none'"]);
        let changes = RouteChanges::between(&before, &after).expect("they differ");
        assert_eq!((named(&changes.added), named(&changes.changed)), ("/new".to_owned(), "/x".to_owned()));
        assert_eq!(named(&changes.removed), "GET,PUT a.example/a");
        assert!(!format!("{changes:?}{before:?}").contains("canary"));
    }

    #[test]
    fn a_line_names_no_more_than_so_many_routes() {
        let names = |number: usize| (0..number).map(|at| format!("/{at}")).collect::<Vec<_>>();
        assert!(named(&names(MAX_NAMED)).ends_with("/19"));
        assert!(named(&names(MAX_NAMED + 2)).ends_with("/19, and 2 more"));
    }
}
