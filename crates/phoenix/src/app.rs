//! The composition root: a configuration becomes a running application.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use phoenix_auth::Auth;
use phoenix_auth::model::{HashParams, KeyRing, PasswordRules, SessionLimits};
use phoenix_auth::ops::Parts;
use phoenix_auth::policy::Policy;
use phoenix_auth::ports::{Clock, Entropy};
use phoenix_config::{Config, Registration};
use phoenix_http::{HttpParts, HttpSettings, Stack, WebOrigin};
use phoenix_store::FingerprintCheck;
use phoenix_store::redis::{RedisConfig, RedisSessions};
use phoenix_store::tiers::{TierLimits, TierParts, TieredSessions};
use zeroize::Zeroize;

use crate::database::{Database, DatabaseOptions};
use crate::introspect::Inspector;
use crate::lifecycle::Lifecycle;
use crate::passwords::PasswordThreads;
use crate::status_word::StatusWord;
use crate::{VERSION, entropy};

/// Longest path and query of a request in bytes.
const MAX_URI_BYTES: usize = 8 * 1024;
/// A body must be complete by then.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Sessions whose last-seen may wait to be written, about 100 bytes each.
const ACTIVITY_ENTRIES: usize = 262_144;

/// What the outside world gives to the application.
#[derive(Clone)]
pub struct World {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// The application, put together. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The use cases.
    pub auth: Auth,
    /// Tracks every task.
    pub lifecycle: Lifecycle,
    pub(crate) tiers: TieredSessions,
    pub(crate) database: Database,
    pub(crate) redis: Option<Arc<RedisSessions>>,
    pub(crate) word: Arc<StatusWord>,
    world: World,
}

impl App {
    /// Migrates and opens the database, and puts everything together. Nothing runs in the background yet.
    ///
    /// # Errors
    /// When the database, Redis' address or the secret key cannot be used; the message says what would do.
    pub async fn build(config: &Config, world: World) -> anyhow::Result<Self> {
        let lifecycle = Lifecycle::new();
        let options = DatabaseOptions::of(config, entropy::number(&*world.entropy));
        options.migrate(lifecycle.tracker()).await?;
        let database = options.open(lifecycle.tracker()).await?;
        let keys = keys(config, &database, &world).await?;
        let redis = redis(config, &keys, &world)?;
        let tiers = TieredSessions::new(TierParts {
            store: database.store(),
            redis: redis.clone(),
            clock: Arc::clone(&world.clock),
            limits: tier_limits(config),
        });
        let policy = policy(config);
        let cores = std::thread::available_parallelism().context("the number of cores is unknown")?;
        let spare_cores = std::num::NonZeroUsize::new(cores.get() - 1).unwrap_or(cores);
        let passwords = PasswordThreads::start(
            config.password.hash_workers.or_automatic(spare_cores).get(),
            config.password.hash_wait,
            policy.hash,
            &world.entropy,
        )
        .context("the threads that hash passwords cannot start")?;
        let auth = Auth::new(Parts {
            store: database.store(),
            cache: Arc::new(tiers.clone()),
            passwords: Arc::new(passwords),
            clock: Arc::clone(&world.clock),
            entropy: Arc::clone(&world.entropy),
            keys,
            policy,
        })?;
        Ok(Self { auth, lifecycle, tiers, database, redis, word: Arc::default(), world })
    }

    /// Starts the background tasks. The first lease is taken before this returns, so that caches count at once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn start(&self, config: &Config) -> anyhow::Result<()> {
        self.tiers.renew_lease().await.context("the database was opened, but does not answer")?;
        crate::background::start(self, config);
        Ok(())
    }

    /// The clock the application was given.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.world.clock)
    }

    /// The service that answers requests.
    #[must_use]
    pub fn stack(&self, config: &Config) -> Stack {
        let origin = |origin: &phoenix_config::Origin| WebOrigin(origin.to_string());
        let inspector = Inspector {
            word: Arc::clone(&self.word),
            clock: Arc::clone(&self.world.clock),
            database: self.database.clone(),
            tiers: self.tiers.clone(),
            redis: self.redis.clone(),
        };
        Stack::new(HttpParts {
            settings: HttpSettings {
                version: VERSION,
                public_origin: config.server.public_url.as_ref().map(origin),
                allowed_origins: config.server.allowed_origins.iter().map(origin).collect(),
                max_body_bytes: config.server.max_body_bytes.as_usize(),
                max_uri_bytes: MAX_URI_BYTES,
                body_timeout: BODY_TIMEOUT,
                request_timeout: config.server.request_timeout,
                instance: entropy::number(&*self.world.entropy),
            },
            auth: self.auth.clone(),
            clock: Arc::clone(&self.world.clock),
            introspection: Arc::new(inspector),
        })
    }

    /// Ends background work, writes what waits to be written, and closes the database.
    pub async fn stop(&self, limit: Duration) {
        // Connections to the database are tracked too, and end only when it is closed.
        self.lifecycle.stopping().cancel();
        if let Err(error) = self.tiers.flush_activity(1000).await {
            tracing::warn!(?error, "the last last-seens were not written");
        }
        self.database.close().await;
        if !self.lifecycle.stop(limit).await {
            tracing::warn!("some background work did not end in time");
        }
    }
}

/// The keys of this installation: from the configured secret, or from the one generated once and kept in the database.
async fn keys(config: &Config, database: &Database, world: &World) -> anyhow::Result<KeyRing> {
    let keys = derive_keys(config, database, world).await?;
    match database.instance().check_fingerprint(keys.fingerprint()).await?.acknowledge() {
        FingerprintCheck::Matches | FingerprintCheck::FirstUse => Ok(keys),
        FingerprintCheck::Differs => bail!(
            "this database was used with another PHOENIX_SECRET_KEY, so none of its sessions could be found; set that key \
             again, or run `phoenix migrate --new-secret-key` to accept the present one and sign everybody out"
        ),
    }
}

pub(crate) async fn derive_keys(
    config: &Config,
    database: &Database,
    world: &World,
) -> anyhow::Result<KeyRing> {
    if let Some(secret) = &config.secrets.key {
        return Ok(KeyRing::derive(secret.expose().as_bytes()));
    }
    let mut candidate = [0; 32];
    world.entropy.fill(&mut candidate);
    let mut secret = database.instance().get_or_set_secret(candidate).await?.acknowledge();
    let keys = KeyRing::derive(&secret);
    secret.zeroize();
    candidate.zeroize();
    Ok(keys)
}

fn redis(config: &Config, keys: &KeyRing, world: &World) -> anyhow::Result<Option<Arc<RedisSessions>>> {
    let Some(url) = &config.redis.url else { return Ok(None) };
    if url.tls_required() {
        bail!(
            "REDIS_URL asks for TLS (rediss://), which this version cannot speak to Redis; use redis:// over a private network"
        );
    }
    let options = RedisConfig {
        url: url.expose().to_owned(),
        command_timeout: config.redis.command_timeout,
        connect_timeout: config.redis.connect_timeout,
        lifetime: config.cache.l2_ttl,
    };
    Ok(Some(Arc::new(RedisSessions::new(&options, keys.clone(), Arc::clone(&world.clock))?)))
}

fn tier_limits(config: &Config) -> TierLimits {
    let cache = &config.cache;
    TierLimits {
        l1_max_bytes: cache.l1_max_bytes.bytes(),
        l1_ttl: cache.l1_ttl,
        negative_entries: cache.negative_entries,
        negative_ttl: cache.negative_ttl,
        revocation_bound: cache.revocation_bound,
        refresh_grace: config.session.refresh_grace,
        activity_entries: ACTIVITY_ENTRIES,
    }
}

fn policy(config: &Config) -> Policy {
    let (session, password, accounts) = (&config.session, &config.password, &config.accounts);
    Policy {
        sessions: SessionLimits {
            idle_timeout: session.idle_timeout,
            absolute_timeout: session.absolute_timeout,
            last_seen_step: session.last_seen_step,
        },
        refresh_grace: session.refresh_grace,
        password: PasswordRules { min_chars: password.min_length },
        hash: HashParams {
            memory_kib: password.argon2_memory.kib(),
            iterations: password.argon2_iterations,
            parallelism: password.argon2_parallelism,
        },
        registration_open: accounts.registration == Registration::Open,
        demo_accounts: accounts.demo_mode,
        test_account: accounts.test_user,
    }
}
