//! `phoenix doctor`: goes through what production needs and says what is missing, why it matters and how to mend it.
//!
//! First everything is looked at (probes: bounded, all at the same time, nothing is changed anywhere), then judged by
//! functions of what was seen. Does not own the command line, nor how facts are got from a database (`phoenix-store`).

mod catalogue;
mod configuration;
mod embedded;
mod files;
mod finding;
mod gateway;
mod get;
mod postgres;
mod providers;
mod redis;
mod report;
mod secrets;
mod server;
mod strength;
mod system;
mod tls;

use std::error::Error;
use std::time::Duration;

use phoenix_auth::model::KeyRing;
use phoenix_config::{Config, ConfigErrors, Loaded};

pub(crate) use self::finding::State;
pub(crate) use self::report::{Report, list};

use self::finding::{Area, Finding};
use crate::app::World;
use crate::lifecycle::Lifecycle;
use crate::serve::system_world;

/// Longest time of one look.
const PROBE_BOUND: Duration = Duration::from_secs(3);
/// Longest time of connections and tasks to end after the last look.
const END_BOUND: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// How many nodes there are, if it is known better than Redis knows it.
    pub(crate) nodes: Option<u32>,
    /// Origin of a running server.
    pub(crate) url: Option<String>,
}

/// What is looked at.
struct Subject<'a> {
    config: &'a Config,
    loaded: &'a Loaded,
    request: &'a Request,
    world: World,
    lifecycle: Lifecycle,
    /// Whether this process runs in a container, where others on the machine do not see its files.
    in_container: bool,
}

impl Subject<'_> {
    /// The keys, where they follow from the configuration.
    fn keys(&self) -> Option<KeyRing> {
        self.config.secrets.key.as_ref().map(|key| KeyRing::derive(key.expose().as_bytes()))
    }
}

/// Looks at everything.
pub(crate) async fn examine(loaded: &Loaded, request: &Request) -> Report {
    let subject = Subject {
        config: &loaded.config,
        loaded,
        request,
        world: system_world(),
        lifecycle: Lifecycle::new(),
        in_container: system::in_container(),
    };
    let (redis, postgres, embedded, servers, providers, running) = tokio::join!(
        redis::look(&subject),
        postgres::look(&subject),
        embedded::look(&subject),
        gateway::look(&subject),
        providers::look(&subject),
        server::look(&subject),
    );
    let nodes = Nodes::of(request, redis.as_ref().and_then(|seen| seen.as_ref().ok()));
    let mut findings = configuration::judge(&subject);
    findings.extend(secrets::judge(&subject));
    findings.extend(postgres::judge(&subject, postgres, nodes));
    findings.extend(embedded::judge(&subject, embedded));
    findings.extend(redis::judge(&subject, redis));
    findings.extend(gateway::judge(&subject, &servers));
    findings.extend(tls::judge(&subject));
    findings.extend(providers::judge(&subject, providers));
    findings.extend(system::judge(&subject));
    findings.extend(server::judge(&subject, running));
    subject.lifecycle.stop(END_BOUND).await;
    Report::new(findings)
}

/// What is wrong with a configuration that cannot be used; nothing else can be looked at.
pub(crate) fn unreadable(errors: &ConfigErrors) -> Report {
    let finding = |error: &phoenix_config::ConfigError| {
        let setting = error.setting().map(|key| format!("{key}: ")).unwrap_or_default();
        let source = error.source_of_value().map(|source| format!(" ({source})")).unwrap_or_default();
        catalogue::READABLE.failure(format!("{setting}{}{source}", error.reason()), error.remedy())
    };
    let mut findings: Vec<Finding> = errors.errors().iter().map(finding).collect();
    let others = catalogue::ALL.iter().filter(|check| **check != catalogue::READABLE);
    findings.extend(others.map(|check| check.skipped("the configuration cannot be read")));
    Report::new(findings)
}

/// How many nodes share the database, and who says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Nodes {
    count: u32,
    by: &'static str,
}

impl Nodes {
    fn of(request: &Request, redis: Option<&phoenix_store::redis::RedisFacts>) -> Self {
        if let Some(count) = request.nodes {
            return Self { count, by: "--nodes" };
        }
        match redis.map(redis::live_nodes) {
            Some(count) if count > 0 => Self { count, by: "Redis" },
            _ => Self { count: 1, by: "assumed; say --nodes" },
        }
    }
}

/// The rest of an area's checks, which were not made for this reason.
fn skip_rest(area: Area, findings: &mut Vec<Finding>, why: &str) {
    for check in catalogue::of(area) {
        if findings.iter().all(|finding| finding.check != check) {
            findings.push(check.skipped(why));
        }
    }
}

/// The outcome of one look, or why there is none, in words.
async fn bounded<T, E: Said>(look: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(PROBE_BOUND, look).await {
        Ok(outcome) => outcome.map_err(|error| error.said()),
        Err(_elapsed) => Err(format!("no answer within {} s", PROBE_BOUND.as_secs())),
    }
}

/// An error with its causes in one line, each said once.
trait Said {
    fn said(&self) -> String;
}

impl Said for anyhow::Error {
    fn said(&self) -> String {
        joined(self.chain().map(ToString::to_string))
    }
}

impl Said for phoenix_store::ConnectError {
    fn said(&self) -> String {
        causes(self)
    }
}

impl Said for phoenix_store::redis::RedisInspectError {
    fn said(&self) -> String {
        causes(self)
    }
}

fn causes(error: &(dyn Error + 'static)) -> String {
    joined(std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string))
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for part in parts.filter(|part| !part.is_empty()) {
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
    }
    text
}

/// Milliseconds with as many digits as are of use.
fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// Bytes in the largest unit that keeps at least one digit before the point.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => {
            let tenths = bytes.saturating_mul(10) / unit;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_causes_are_short() {
        assert_eq!(size(512), "512 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(3 << 30), "3.0 GiB");
        let error = anyhow::anyhow!("refused").context("connect: refused").context("no answer");
        assert_eq!(error.said(), "no answer: connect: refused");
    }
}
