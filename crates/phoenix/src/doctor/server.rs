//! Checks of a running server: what it says about itself to anybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use phoenix_config::{Config, Origin};
use serde_json::Value;

use super::catalogue as check;
use super::finding::{Area, Finding};
use super::get::{self, Trust};
use super::{Subject, bounded, skip_rest};
use crate::{VERSION, trust};

/// An address of nobody (RFC 5737), claimed to see who is believed.
const CLAIMED: &str = "203.0.113.77";

/// What a server said.
pub(super) struct Running {
    status: Value,
    ready: (u16, String),
    /// `GET /api/phoenix/whoami` with a claimed address.
    whoami: Value,
}

pub(super) async fn look(subject: &Subject<'_>) -> Result<Running, String> {
    bounded(ask(subject)).await
}

async fn ask(subject: &Subject<'_>) -> anyhow::Result<Running> {
    let (origin, trust) = match &subject.request.url {
        Some(url) => {
            let origin = Origin::parse(url).map_err(|reason| anyhow::anyhow!("--url {url}: {reason}"))?;
            let local = origin.is_loopback();
            (
                origin,
                if local { Trust::Anybody } else { Trust::Verified(trust::client_config(subject.config)?) },
            )
        }
        None => (own(subject.config)?, Trust::Anybody),
    };
    let (status, body) = get::get(&origin, &trust, "/readyz", &[]).await?;
    let claim = [("x-forwarded-for", CLAIMED), ("forwarded", "for=203.0.113.77")];
    Ok(Running {
        status: get::json(&origin, &trust, "/api/phoenix/status", &[]).await?,
        ready: (status.as_u16(), body.trim().to_owned()),
        whoami: get::json(&origin, &trust, "/api/phoenix/whoami", &claim).await?,
    })
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

pub(super) fn judge(subject: &Subject<'_>, running: Result<Running, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match running {
        Ok(running) => {
            findings.push(check::RUNNING.ok("it answers"));
            findings.push(ready(&running));
            findings.push(version(&running));
            findings.push(status(&running));
            findings.push(addresses(subject, &running));
        }
        Err(error) if subject.request.url.is_some() => {
            let mend = "start it, or correct --url: an origin such as http://127.0.0.1:8080";
            findings.push(check::RUNNING.failure(error, mend));
            skip_rest(Area::Server, &mut findings, "the server does not answer (server.answers)");
        }
        Err(_) => {
            skip_rest(Area::Server, &mut findings, "no server answers at server.listen; name one with --url");
        }
    }
    findings
}

fn ready(running: &Running) -> Finding {
    let (status, body) = &running.ready;
    let mend = "look at the log and at postgres.reachable";
    check::READY.ok_or_failure(*status == 200, format!("{status} {body}"), mend)
}

fn version(running: &Running) -> Finding {
    let theirs = running.status.get("version").and_then(Value::as_str).unwrap_or_default();
    let mend = "restart it with this binary, or check with its own";
    check::SAME_VERSION.ok_or_warning(theirs == VERSION, format!("{theirs} there, {VERSION} here"), mend)
}

fn status(running: &Running) -> Finding {
    let word = running.status.get("status").and_then(Value::as_str).unwrap_or_default();
    let mend = "the log says what does not answer; see docs/operations/troubleshooting.md";
    check::STATUS.ok_or_warning(word == "ok", word, mend)
}

fn addresses(subject: &Subject<'_>, running: &Running) -> Finding {
    let seen = running.whoami.get("ipAddress").and_then(Value::as_str).unwrap_or_default();
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
    let source = running.whoami.get("source").and_then(Value::as_str).unwrap_or_default();
    check::ADDRESSES.ok(format!("{seen} ({source}); an address that was made up here was not believed"))
}
