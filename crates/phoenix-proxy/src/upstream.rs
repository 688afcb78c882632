//! The servers of one application, and which of them is asked next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use phoenix_resilience::{Call, RetryBudget};

use crate::config::{ConfigError, HealthCheck, Origin, SERVERS, UpstreamConfig};
use crate::failure::Failure;
use crate::server::{Place, Server};

/// An application.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) health: Option<HealthCheck>,
    pub(crate) retries: RetryBudget,
    /// Where the search begins, so that ties go round.
    turn: AtomicUsize,
}

/// A server that may be asked.
pub(crate) struct Chosen<'a> {
    pub(crate) server: &'a Arc<Server>,
    /// To be told how it went.
    pub(crate) call: Call<'a>,
    pub(crate) place: Place,
}

impl Upstream {
    pub(crate) fn new(config: &UpstreamConfig) -> Result<Self, ConfigError> {
        if config.servers.is_empty() || config.servers.len() > SERVERS {
            return Err(ConfigError::Servers(config.name.clone()));
        }
        if let Some(health) = &config.health
            && (!health.path.starts_with('/') || health.path.parse::<http::uri::PathAndQuery>().is_err())
        {
            return Err(ConfigError::HealthPath { upstream: config.name.clone(), path: health.path.clone() });
        }
        let servers = config
            .servers
            .iter()
            .map(|server| Ok(Arc::new(Server::new(Origin::new(server, config)?, config))));
        Ok(Self {
            name: config.name.clone(),
            servers: servers.collect::<Result<_, ConfigError>>()?,
            health: config.health.clone(),
            retries: RetryBudget::new(),
            turn: AtomicUsize::new(0),
        })
    }

    /// The server with the fewest requests under way among those that are up, another than `avoid` if there is one. One
    /// that was left alone for long enough comes first: its answer says whether it is up again.
    pub(crate) fn choose(&self, now: Duration, avoid: Option<&Arc<Server>>) -> Result<Chosen<'_>, Failure> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.servers.len();
        let mut best: Option<(&Arc<Server>, Call<'_>, (bool, usize))> = None;
        for index in 0..count {
            let server = &self.servers[(turn.wrapping_add(index)) % count];
            if !server.checks.is_up() {
                continue;
            }
            let avoided = avoid.is_some_and(|avoid| Arc::ptr_eq(avoid, server));
            let order = (avoided, server.under_way());
            if best.as_ref().is_some_and(|(_, _, least)| *least <= order) && server.breaker.is_closed() {
                continue;
            }
            let Some(call) = server.breaker.admit(now) else { continue };
            if call.is_probe() {
                let place = server.enter().ok_or(Failure::Full)?;
                return Ok(Chosen { server, call, place });
            }
            best = Some((server, call, order));
        }
        let (server, call, _) = best.ok_or(Failure::NoneUp)?;
        let place = server.enter().ok_or(Failure::Full)?;
        Ok(Chosen { server, call, place })
    }

    /// Whether a server besides this one is well.
    pub(crate) fn has_another(&self, server: &Arc<Server>) -> bool {
        let mut others = self.servers.iter().filter(|other| !Arc::ptr_eq(other, server));
        others.any(|other| other.checks.is_up() && other.breaker.is_closed())
    }
}
