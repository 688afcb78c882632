//! Checks of a running server: what it says about itself to anybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use phoenix_config::{Config, Origin, UpstreamProtocol};
use serde_json::Value;

use super::catalogue as check;
use super::finding::{Area, Finding};
use super::get::{self, Target, Trust};
use super::{Said as _, Subject, bounded, skip_rest};
use crate::{VERSION, trust};

/// An address of nobody (RFC 5737), claimed to see who is believed.
const CLAIMED: &str = "203.0.113.77";
/// What to do about another status than 200 where everybody gets 200.
const MEND_ODD: &str = "ask again in a moment: 429 is a limit, 503 a database that does not answer or too much to do; the \
                        log says which";

/// What a server said.
pub(super) struct Running {
    ready: (u16, String),
    /// `GET /api/phoenix/status`, or why its answer is of no use.
    status: Result<Value, String>,
    /// `GET /api/phoenix/whoami` with a claimed address, likewise.
    whoami: Result<Value, String>,
}

/// Why a server said nothing.
pub(super) enum Silence {
    /// Nobody can be connected to.
    Nobody(String),
    /// Somebody can, who gives no answer of HTTP.
    Mute(String),
}

pub(super) async fn look(subject: &Subject<'_>) -> Result<Running, Silence> {
    let target = target(subject).map_err(|error| Silence::Nobody(error.said()))?;
    bounded(get::reach(&target.origin)).await.map_err(Silence::Nobody)?;
    let (status, body) = bounded(get::get(&target, "/readyz", &[])).await.map_err(Silence::Mute)?;
    let claim = [("x-forwarded-for", CLAIMED), ("forwarded", "for=203.0.113.77")];
    Ok(Running {
        ready: (status.as_u16(), body.trim().to_owned()),
        status: bounded(get::json(&target, "/api/phoenix/status", &[])).await,
        whoami: bounded(get::json(&target, "/api/phoenix/whoami", &claim)).await,
    })
}

/// The server that is named, or the one that is configured.
fn target(subject: &Subject<'_>) -> anyhow::Result<Target> {
    let protocol = UpstreamProtocol::Http1;
    let Some(url) = &subject.request.url else {
        return Ok(Target { origin: own(subject.config)?, trust: Trust::Anybody, protocol });
    };
    let origin = Origin::parse(url).map_err(|reason| anyhow::anyhow!("--url {url}: {reason}"))?;
    let is_local = origin.is_loopback();
    let trust =
        if is_local { Trust::Anybody } else { Trust::Verified(trust::client_config(subject.config)?) };
    Ok(Target { origin, trust, protocol })
}

/// Where a server of this configuration can be reached from this machine.
fn own(config: &Config) -> anyhow::Result<Origin> {
    let listen = config.server.listen;
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let scheme = if config.tls.certificates.is_empty() { "http" } else { "https" };
    let address = std::net::SocketAddr::new(host, listen.port());
    Origin::parse(&format!("{scheme}://{address}"))
        .map_err(|reason| anyhow::anyhow!("server.listen: {reason}"))
}

pub(super) fn judge(subject: &Subject<'_>, running: Result<Running, Silence>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let silence = match running {
        Ok(running) => {
            findings.push(check::RUNNING.ok("it answers"));
            findings.push(ready(&running));
            match &running.status {
                Ok(said) => findings.extend([version(said), status(said)]),
                Err(odd) => {
                    findings.push(check::SAME_VERSION.skipped("it does not say how it is (server.status)"));
                    findings.push(check::STATUS.warning(odd, MEND_ODD));
                }
            }
            findings.push(match &running.whoami {
                Ok(said) => addresses(subject, said),
                Err(odd) => check::ADDRESSES.warning(odd, MEND_ODD),
            });
            return findings;
        }
        Err(Silence::Nobody(_)) if subject.request.url.is_none() => {
            skip_rest(Area::Server, &mut findings, "no server answers at server.listen; name one with --url");
            return findings;
        }
        Err(silence) => silence,
    };
    findings.push(match silence {
        Silence::Nobody(error) => check::RUNNING
            .failure(error, "start it, or correct --url: an origin such as http://127.0.0.1:8080"),
        Silence::Mute(error) => check::RUNNING.failure(
            format!("it accepts connections and gives no answer: {error}"),
            "look at its log; where another program has the port, correct PHOENIX_LISTEN or --url",
        ),
    });
    skip_rest(Area::Server, &mut findings, "the server does not answer (server.answers)");
    findings
}

fn ready(running: &Running) -> Finding {
    let (status, body) = &running.ready;
    let mend = "look at the log and at postgres.reachable";
    check::READY.ok_or_failure(*status == 200, format!("{status} {body}"), mend)
}

fn version(said: &Value) -> Finding {
    let theirs = said.get("version").and_then(Value::as_str).unwrap_or_default();
    let mend = "restart it with this binary, or check with its own";
    check::SAME_VERSION.ok_or_warning(theirs == VERSION, format!("{theirs} there, {VERSION} here"), mend)
}

fn status(said: &Value) -> Finding {
    let word = said.get("status").and_then(Value::as_str).unwrap_or_default();
    let mend = "the log says what does not answer; see docs/operations/troubleshooting.md";
    check::STATUS.ok_or_warning(word == "ok", word, mend)
}

fn addresses(subject: &Subject<'_>, said: &Value) -> Finding {
    let seen = said.get("ipAddress").and_then(Value::as_str).unwrap_or_default();
    let trusts_this_machine = subject
        .config
        .server
        .trusted_proxies
        .iter()
        .any(|network| network.contains(&IpAddr::from(Ipv4Addr::LOCALHOST)));
    let mend = "take out of PHOENIX_TRUSTED_PROXIES what is no proxy; with PHOENIX_TRUSTED_HOPS let nobody but the proxy connect";
    if seen == CLAIMED {
        let found = "an address that was made up here was believed";
        return check::ADDRESSES.ok_or_warning(
            trusts_this_machine,
            format!("{found}; this machine is trusted"),
            mend,
        );
    }
    let source = said.get("source").and_then(Value::as_str).unwrap_or_default();
    check::ADDRESSES.ok(format!("{seen} ({source}); an address that was made up here was not believed"))
}
