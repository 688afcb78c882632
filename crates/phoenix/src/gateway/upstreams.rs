//! The applications behind Phoenix: what the HTTP surface asks of them (`phoenix_http::gateway::Upstreams`), done by
//! `phoenix-proxy`. The two do not know each other.

use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use phoenix_config::{Config, Origin, Scheme, UpstreamProtocol};
use phoenix_http::gateway::{Forward, ForwardBody, ForwardFailure, Forwarding, UpstreamReport, Upstreams};
use phoenix_http::{ConnectionHold, body::BodyError};
use phoenix_proxy::{
    Failure, FramingError, HealthCheck, Options, Parts, Protocol, Proxy, ServerOrigin, UpstreamConfig,
    check_framing,
};
use rustls::ClientConfig;

use super::routes::{self, UpstreamSettings};
use crate::app::World;
use crate::lifecycle::Lifecycle;
use crate::{entropy, trust};

/// Good answers in a row after which a server that is down is up.
const HEALTHY_AFTER: u32 = 2;
/// Bad or missing answers in a row after which it is down.
const UNHEALTHY_AFTER: u32 = 3;
/// Longest time that a server has to say how it is.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// The applications.
pub(crate) struct Applications {
    proxy: Proxy,
}

impl Applications {
    /// Those of the configuration; `None` when Phoenix is in front of none. `via` is the name of this installation.
    pub(crate) fn of(
        config: &Config,
        via: String,
        lifecycle: &Lifecycle,
        world: &World,
    ) -> anyhow::Result<Option<Arc<Self>>> {
        let settings = routes::upstreams(&config.gateway);
        if settings.is_empty() {
            return Ok(None);
        }
        let upstreams =
            settings.iter().map(|settings| upstream(config, settings)).collect::<anyhow::Result<Vec<_>>>()?;
        let (clock, entropy) = (Arc::clone(&world.clock), Arc::clone(&world.entropy));
        let parts = Parts {
            via,
            tasks: lifecycle.tunnels().clone(),
            connections: lifecycle.tracker().clone(),
            drain: lifecycle.cutting().clone(),
            max_tunnels: config.server.max_connections,
            clock: Arc::new(move || clock.mono()),
            random: Arc::new(move || entropy::number(&*entropy)),
        };
        let proxy = Proxy::new(&upstreams, parts)?;
        Ok(Some(Arc::new(Self { proxy })))
    }

    /// Asks servers how they are, and closes connections that nobody uses, until the process stops.
    pub(crate) fn tend(&self, lifecycle: &Lifecycle) {
        let (proxy, stopping) = (self.proxy.clone(), lifecycle.stopping().clone());
        lifecycle.spawn("upstreams", async move { proxy.tend(stopping).await });
    }
}

fn upstream(config: &Config, settings: &UpstreamSettings) -> anyhow::Result<UpstreamConfig> {
    let is_https = settings.servers.iter().any(|server| server.scheme() == Scheme::Https);
    let tls = is_https.then(|| tls(config, settings.ca_file.as_deref())).transpose();
    Ok(UpstreamConfig {
        name: settings.name.to_string(),
        servers: settings.servers.iter().map(server).collect(),
        protocol: match settings.protocol {
            UpstreamProtocol::Auto => Protocol::Auto,
            UpstreamProtocol::Http1 => Protocol::Http1,
            UpstreamProtocol::Http2 => Protocol::Http2,
        },
        connect_timeout: settings.connect_timeout,
        max_connections: settings.max_connections,
        health: settings.health_path.clone().map(|path| HealthCheck {
            path,
            interval: settings.health_interval,
            timeout: settings.health_interval.min(HEALTH_TIMEOUT),
            healthy_after: HEALTHY_AFTER,
            unhealthy_after: UNHEALTHY_AFTER,
        }),
        tls: tls.with_context(|| format!("the upstream {} cannot be used", settings.name))?,
    })
}

fn server(origin: &Origin) -> ServerOrigin {
    ServerOrigin {
        https: origin.scheme() == Scheme::Https,
        host: origin.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: origin.port(),
    }
}

/// Whom an upstream's servers must be certified by.
fn tls(config: &Config, ca_file: Option<&Path>) -> anyhow::Result<Arc<ClientConfig>> {
    match ca_file {
        None => trust::client_config(config),
        Some(path) => trust::client_config_with(config, path),
    }
}

impl Upstreams for Applications {
    fn forward(&self, request: Request<Incoming>, forward: Forward) -> Forwarding {
        let (mut head, body) = request.into_parts();
        if let Err(error) = check_framing(&mut head) {
            return Box::pin(ready(Err(malformed(error))));
        }
        let hold = head.extensions.get::<ConnectionHold>().cloned();
        let options = Options {
            fields: forward.identity,
            client: forward.client,
            is_https: forward.is_https,
            max_body: forward.max_body,
            deadline: forward.deadline,
            idle: forward.idle,
            client_pause: forward.client_pause,
            keep_host: forward.keep_host,
            now: forward.now,
            hold: hold.map(|hold| Box::new(hold) as Box<dyn Send + Sync>),
        };
        let (proxy, upstream) = (self.proxy.clone(), usize::from(forward.upstream.0));
        let request = Request::from_parts(head, body);
        Box::pin(async move {
            let answer = proxy.forward(upstream, request, options).await.map_err(failure)?;
            Ok(answer.map(|body| match body.into_whole() {
                Ok(bytes) => ForwardBody::Whole(Full::new(bytes)),
                Err(body) => {
                    let body = body.map_err(|error| -> BodyError { error.into() });
                    ForwardBody::Streamed(body.boxed_unsync())
                }
            }))
        })
    }

    fn is_loop(&self, headers: &HeaderMap) -> bool {
        self.proxy.is_loop(headers)
    }

    fn report(&self) -> Vec<UpstreamReport> {
        let reports = self.proxy.report().into_iter();
        reports
            .map(|report| UpstreamReport {
                upstream: report.upstream,
                server: report.server,
                is_up: report.is_up,
                under_way: u64::try_from(report.under_way).unwrap_or(u64::MAX),
                requests: report.requests,
                failures: report.failures,
                reason: report.reason,
            })
            .collect()
    }
}

fn malformed(error: FramingError) -> ForwardFailure {
    match error {
        FramingError::TransferEncoding => ForwardFailure::Malformed(
            "Transfer-Encoding must be chunked, alone, in HTTP/1.1, and without Content-Length.",
        ),
        FramingError::ContentLength => ForwardFailure::Malformed("Content-Length must be one number."),
        FramingError::Host => ForwardFailure::Malformed("Host must be there once, and be a host."),
        FramingError::Method => ForwardFailure::Method,
        FramingError::Expectation => ForwardFailure::Expectation,
    }
}

fn failure(failure: Failure) -> ForwardFailure {
    match failure {
        Failure::NoneUp => ForwardFailure::NoneUp,
        Failure::Full => ForwardFailure::Full,
        Failure::Unreachable => ForwardFailure::Unreachable,
        Failure::Untrusted => ForwardFailure::Untrusted,
        Failure::Closed => ForwardFailure::Closed,
        Failure::Garbage => ForwardFailure::Garbage,
        Failure::ConnectTimeout => ForwardFailure::ConnectTimeout,
        Failure::Timeout => ForwardFailure::Timeout,
        Failure::BodyTooLarge => ForwardFailure::BodyTooLarge,
        Failure::RequestBroken => ForwardFailure::RequestBroken,
        Failure::RequestSlow => ForwardFailure::RequestSlow,
        Failure::BadUpgrade => ForwardFailure::BadUpgrade,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_takes_too_long_is_not_blamed_on_the_routes_deadline() {
        assert_eq!(failure(Failure::ConnectTimeout), ForwardFailure::ConnectTimeout);
        assert_eq!(failure(Failure::Timeout), ForwardFailure::Timeout);
    }
}
