//! The gateway as the process runs it: routes, upstreams and signatures from the configuration.
//!
//! Does not own which route a request belongs to (`phoenix-http`), how routes are written down (`phoenix-config`), or
//! connections to applications (`phoenix-proxy`).

pub mod assertions;
pub(crate) mod routes;
pub(crate) mod upstreams;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use phoenix_auth::model::{KeyRing, Timestamp};
use phoenix_auth::ports::Clock;
use phoenix_config::Config;
use phoenix_http::gateway::LiveRoutes;

use self::assertions::{AssertionSettings, AssertionSigner};
use self::upstreams::Applications;
use crate::app::World;
use crate::lifecycle::Lifecycle;

/// What stands between Phoenix and the applications that it protects.
#[derive(Clone)]
pub(crate) struct Gateway {
    /// The routes in force.
    pub(crate) routes: Arc<LiveRoutes>,
    /// The applications, if Phoenix is in front of any.
    pub(crate) applications: Option<Arc<Applications>>,
    /// Signs who callers are.
    pub(crate) signer: Arc<AssertionSigner>,
    /// Where its keys are, if they are in files.
    key_files: Arc<[PathBuf]>,
    clock: Arc<dyn Clock>,
}

impl Gateway {
    /// As configured. Reads files.
    ///
    /// # Errors
    /// When routes, upstreams or keys cannot be used; the message says what would do.
    pub(crate) fn of(
        config: &Config,
        keys: &KeyRing,
        lifecycle: &Lifecycle,
        world: &World,
    ) -> anyhow::Result<Self> {
        let gateway = &config.gateway;
        let settings = AssertionSettings {
            issuer: config
                .server
                .public_url
                .as_ref()
                .map_or_else(|| "phoenix".to_owned(), ToString::to_string),
            lifetime: gateway.assertion_lifetime,
            rotation: gateway.assertion_rotation,
            key_files: gateway.assertion_keys.clone(),
        };
        let signer = AssertionSigner::new(&settings, keys.assertion_secret(), wall(&*world.clock))?;
        Ok(Self {
            routes: Arc::new(LiveRoutes::new(routes::of(gateway, &config.limits)?)),
            applications: Applications::of(config, pseudonym(keys), lifecycle, world)?,
            signer: Arc::new(signer),
            key_files: settings.key_files.into(),
            clock: Arc::clone(&world.clock),
        })
    }

    /// Reads the keys again, if they are in files. Blocks while it does.
    pub(crate) fn reload_keys(&self) {
        self.signer.reload_or_log(&self.key_files, wall(&*self.clock));
    }
}

/// The name of this installation in `Via`: the same on all its nodes, and on no others.
fn pseudonym(keys: &KeyRing) -> String {
    let [first, second, third, fourth, ..] = keys.fingerprint();
    format!("phoenix-{:08x}", u32::from_be_bytes([first, second, third, fourth]))
}

fn wall(clock: &dyn Clock) -> SystemTime {
    UNIX_EPOCH + clock.now().wall.since(Timestamp::default())
}
