//! Checks of the applications behind Phoenix.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use futures_util::future::join_all;
use phoenix_config::{Origin, Scheme};

use super::catalogue as check;
use super::finding::{Area, Finding};
use super::get::{self, Target, Trust};
use super::{Subject, bounded, files, skip_rest};
use crate::gateway::assertions::mode_protects;
use crate::gateway::routes::{UpstreamSettings, upstreams};
use crate::trust;

/// One server and what became of the attempt to reach it.
pub(super) struct Server {
    upstream: String,
    origin: Origin,
    /// What it answered to its health path, if it was asked.
    outcome: Result<Option<u16>, String>,
}

pub(super) async fn look(subject: &Subject<'_>) -> Vec<Server> {
    let settings = upstreams(&subject.config.gateway);
    let looks = settings.iter().flat_map(|upstream| {
        upstream.servers.iter().map(move |origin| async move {
            Server {
                upstream: upstream.name.to_string(),
                origin: origin.clone(),
                outcome: bounded(reach(subject, upstream, origin)).await,
            }
        })
    });
    join_all(looks).await
}

async fn reach(
    subject: &Subject<'_>,
    upstream: &UpstreamSettings,
    origin: &Origin,
) -> anyhow::Result<Option<u16>> {
    let trust = match (origin.scheme(), &upstream.ca_file) {
        (Scheme::Http, _) => Trust::Anybody,
        (Scheme::Https, None) => Trust::Verified(trust::client_config(subject.config)?),
        (Scheme::Https, Some(path)) => Trust::Verified(trust::client_config_with(subject.config, path)?),
    };
    let target = Target { origin: origin.clone(), trust, protocol: upstream.protocol };
    let Some(path) = &upstream.health_path else {
        let _connected = get::connect(&target).await?;
        return Ok(None);
    };
    let (status, _) = get::get(&target, path, &[]).await?;
    Ok(Some(status.as_u16()))
}

pub(super) fn judge(subject: &Subject<'_>, servers: &[Server]) -> Vec<Finding> {
    let mut findings = vec![keys(subject)];
    if servers.is_empty() {
        skip_rest(
            Area::Gateway,
            &mut findings,
            "PHOENIX_UPSTREAM is not set: Phoenix is in front of no application",
        );
        return findings;
    }
    findings.extend(servers.iter().map(reached));
    findings.push(own_address(subject, servers));
    findings.push(encrypted(servers));
    let settings = upstreams(&subject.config.gateway);
    let unasked: Vec<&str> =
        settings.iter().filter(|one| one.health_path.is_none()).map(|one| one.name.as_ref()).collect();
    findings.push(check::APP_HEALTH.ok_or_warning(
        unasked.is_empty(),
        if unasked.is_empty() { "asked".to_owned() } else { format!("not asked: {}", unasked.join(", ")) },
        "set PHOENIX_GATEWAY_HEALTH_PATH to a path that answers 200 when the application is well",
    ));
    findings
}

fn reached(server: &Server) -> Finding {
    let Server { upstream, origin, outcome } = server;
    let mend = "start the application, or correct PHOENIX_UPSTREAM or gateway.upstreams; for TLS: gateway.ca_file or \
                PHOENIX_TRUST_FILE";
    match outcome {
        Ok(None) => check::APP_SERVERS.ok(format!("{upstream} at {origin} accepts connections")),
        Ok(Some(status @ 200..=399)) => {
            check::APP_SERVERS.ok(format!("{upstream} at {origin} answers {status}"))
        }
        Ok(Some(status)) => check::APP_SERVERS
            .failure(format!("{upstream} at {origin} answers its health path with {status}"), mend),
        Err(error) => check::APP_SERVERS.failure(format!("{upstream} at {origin}: {error}"), mend),
    }
}

fn own_address(subject: &Subject<'_>, servers: &[Server]) -> Finding {
    let server = &subject.config.server;
    let is_own =
        |origin: &Origin| Some(origin) == server.public_url.as_ref() || is_listener(origin, server.listen);
    match servers.iter().find(|server| is_own(&server.origin)) {
        None => check::APP_OWN.ok("no server is Phoenix itself"),
        Some(own) => check::APP_OWN.failure(
            format!("{} is Phoenix itself", own.origin),
            "set PHOENIX_UPSTREAM to the application's own address",
        ),
    }
}

fn is_listener(origin: &Origin, listen: SocketAddr) -> bool {
    if origin.port() != listen.port() {
        return false;
    }
    let host = origin.host().trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<IpAddr>().ok();
    let is_loopback = host == "localhost" || address.is_some_and(|address| address.is_loopback());
    address == Some(listen.ip())
        || (is_loopback && (listen.ip().is_unspecified() || listen.ip().is_loopback()))
}

fn encrypted(servers: &[Server]) -> Finding {
    let in_private = |origin: &Origin| {
        let host = origin.host();
        let is_private = match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address.is_private() || address.is_loopback(),
            Ok(IpAddr::V6(address)) => address.is_unique_local() || address.is_loopback(),
            // A name without a dot is one of this machine's or its container network's own.
            Err(_) => host.rsplit_once('.').is_none_or(|(_, last)| ["local", "internal"].contains(&last)),
        };
        is_private || origin.is_loopback()
    };
    let open =
        servers.iter().find(|server| server.origin.scheme() == Scheme::Http && !in_private(&server.origin));
    match open {
        None => check::APP_TLS.ok("HTTPS, or a private network"),
        Some(server) => check::APP_TLS.warning(
            format!("{} is plain HTTP to a public address", server.origin),
            "use https:// in PHOENIX_UPSTREAM: docs/operations/upstreams.md",
        ),
    }
}

fn keys(subject: &Subject<'_>) -> Finding {
    let named: &[PathBuf] = &subject.config.gateway.assertion_keys;
    if named.is_empty() {
        return check::APP_KEYS.ok("they follow from the secret key and are replaced by themselves");
    }
    let missing = named.iter().find(|path| std::fs::File::open(path).is_err());
    if let Some(path) = missing {
        return check::APP_KEYS.failure(
            format!("{} cannot be read", path.display()),
            "correct PHOENIX_ASSERTION_KEYS, or make the file: openssl genpkey -algorithm EC -pkeyopt \
             ec_paramgen_curve:P-256",
        );
    }
    // By the rule of the start, which is stricter than that of other secrets.
    let is_open = |path: &&PathBuf| {
        fs::metadata(path).is_ok_and(|metadata| !mode_protects(metadata.mode(), metadata.uid()))
    };
    let open = files::modes(named.iter().filter(is_open).map(PathBuf::as_path));
    let is_fine = open.is_empty();
    let found = if open.is_empty() { format!("{} files", named.len()) } else { files::shown(&open) };
    let mend = "chmod 600 them: Phoenix does not start with others. 640 is taken where root owns the file";
    check::APP_KEYS.ok_or_failure(is_fine, found, mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_to_itself_is_seen_by_its_address() {
        let is = |origin: &str, listen: &str| {
            is_listener(&Origin::parse(origin).expect("an origin"), listen.parse().expect("an address"))
        };
        assert!(is("http://127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(is("http://localhost:8080", "0.0.0.0:8080"));
        assert!(is("http://10.0.0.5:8080", "10.0.0.5:8080"));
        assert!(!is("http://127.0.0.1:3000", "127.0.0.1:8080"));
        assert!(!is("http://10.0.0.6:8080", "10.0.0.5:8080"));
        assert!(!is("http://app:8080", "0.0.0.0:8080"));
    }
}
