//! The composition root: a configuration becomes a running application.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use phoenix_auth::Auth;
use phoenix_auth::model::{HashParams, KeyRing, PasswordRules, Role, SessionLimits, SessionTimes};
use phoenix_auth::ops::Parts;
use phoenix_auth::policy::{Policy, Reaction, SignalPolicy};
use phoenix_auth::ports::{CapPolicy, Clock, Entropy, GeoLocator, IdentityVerifier};
use phoenix_config::{Config, ForwardAuthMode, Registration, RoleTimeouts, SessionCapPolicy};
use phoenix_http::gateway::{Assertions, Upstreams};
use phoenix_http::limits::{Limits, LiveRules};
use phoenix_http::{
    ClientAddressSettings, ForwardedHeader, HttpParts, HttpSettings, LimitAdmin, ProviderCookies, SignIn,
    Stack, WebOrigin, Webhooks,
};
use phoenix_store::FingerprintCheck;
use phoenix_store::bus::{Bus, PostgresWire, RedisWire, Wire};
use phoenix_store::redis::{RedisConfig, RedisSessions};
use phoenix_store::tiers::{TierLimits, TierParts, TieredSessions};
use zeroize::Zeroize;

use crate::database::{Database, DatabaseOptions};
use crate::events::EventQueue;
use crate::gateway::Gateway;
use crate::geoip::GeoIp;
use crate::introspect::Inspector;
use crate::lifecycle::Lifecycle;
use crate::limits::block_queue::BlockQueue;
use crate::limits::enforcement::{self, Counted, Obedient, Store as LimitStore};
use crate::limits::{BlockParts, Blocks};
use crate::listener::Door;
use crate::passwords::PasswordThreads;
use crate::providers::{Providers, StackWebhooks};
use crate::status_word::StatusWord;
use crate::tls::{self, TlsServer};
use crate::{VERSION, entropy, limits};

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
    pub(crate) bus: Option<Bus>,
    pub(crate) providers: Option<Arc<Providers>>,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) word: Arc<StatusWord>,
    /// The rate limits in force.
    pub(crate) limit_rules: Arc<LiveRules>,
    pub(crate) limit_store: LimitStore,
    pub(crate) limits: Arc<Limits>,
    pub(crate) gateway: Gateway,
    /// Who is refused.
    blocks: Blocks,
    /// HTTPS, if there are certificates.
    pub(crate) tls: Option<Arc<TlsServer>>,
    world: World,
}

impl App {
    /// Migrates and opens the database, and puts everything together. Nothing runs in the background yet.
    ///
    /// # Errors
    /// When the database, Redis' address or the secret key cannot be used; the message says what would do.
    pub async fn build(config: &Config, world: World) -> anyhow::Result<Self> {
        let lifecycle = Lifecycle::new();
        let options = DatabaseOptions::of(config, entropy::number(&*world.entropy))?;
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
        let policy = policy(config)?;
        let providers = Providers::of(config, entropy::number(&*world.entropy))?;
        let events = Arc::new(EventQueue::default());
        let bus = bus(&database, redis.as_deref(), &tiers, &keys, &world);
        let passwords = passwords(config, &policy, &world)?;
        let limit_rules = Arc::new(LiveRules::new(limits::rules::of(&config.limits)?));
        let gateway = Gateway::of(config, &keys, &lifecycle, &world)?;
        let limit_store = LimitStore::new(config, redis_config(config)?.as_ref(), &keys, &world)?;
        let block_queue = Arc::<BlockQueue>::default();
        let limits = enforcement::limits(&limit_store, &limit_rules, &keys, &block_queue, &lifecycle, &world);
        let blocks = Blocks::new(BlockParts {
            queue: block_queue,
            store: database.store(),
            sink: Arc::new(Obedient {
                limiter: Arc::clone(&limit_store.limiter),
                is_shared: limit_store.commands.is_some(),
            }),
            keys: Arc::new(Counted(Arc::clone(&limits))),
            bus: bus.clone(),
            clock: Arc::clone(&world.clock),
            entropy: Arc::clone(&world.entropy),
        });
        let auth = Auth::new(Parts {
            store: database.store(),
            cache: Arc::new(tiers.clone()),
            passwords: Arc::new(passwords),
            identity: providers.clone().map(|providers| providers as Arc<dyn IdentityVerifier>),
            geo: geo(config)?,
            events: events.clone(),
            clock: Arc::clone(&world.clock),
            entropy: Arc::clone(&world.entropy),
            keys,
            policy,
        })?;
        Ok(Self {
            auth,
            lifecycle,
            tiers,
            database,
            redis,
            bus,
            providers,
            events,
            word: Arc::default(),
            limit_rules,
            limit_store,
            limits,
            gateway,
            blocks,
            tls: None,
            world,
        })
    }

    /// Starts the background tasks. The first lease is taken before this returns, so that caches count at once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn start(&self, config: &Config) -> anyhow::Result<()> {
        self.tiers.renew_lease().await.context("the database was opened, but does not answer")?;
        if let Some(redis) = &self.redis {
            // Connects before the first request does, which would wait for it. Redis may be down.
            self.word.set_redis_lost(redis.ping().await.is_none());
        }
        // First, so that who is blocked is refused before Redis is known, and Redis is told of it.
        self.blocks.start(&self.lifecycle).await.context("the blocks cannot be read")?;
        self.limit_store.start(&self.limits, &self.lifecycle, &self.world).await;
        crate::background::start(self, config);
        Ok(())
    }

    /// The clock the application was given.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.world.clock)
    }

    /// The same with HTTPS, if there is any.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<TlsServer>>) -> Self {
        Self { tls, ..self }
    }

    /// What connections meet: HTTPS where there are certificates.
    #[must_use]
    pub fn door(&self) -> Door {
        self.tls.clone().map_or(Door::Plain, Door::Tls)
    }

    /// The service that answers requests.
    ///
    /// # Errors
    /// When the webhook secret cannot be used.
    pub fn stack(&self, config: &Config) -> anyhow::Result<Stack> {
        let origin = |origin: &phoenix_config::Origin| WebOrigin(origin.to_string());
        let inspector = Inspector {
            word: Arc::clone(&self.word),
            clock: Arc::clone(&self.world.clock),
            database: self.database.clone(),
            tiers: self.tiers.clone(),
            redis: self.redis.clone(),
            bus: self.bus.clone(),
            providers: self.providers.clone(),
            limits: Arc::clone(&self.limits),
            blocks: Arc::clone(&self.blocks.queue),
            tls: self.tls.clone(),
        };
        let webhooks = match &config.stack {
            Some(stack) => StackWebhooks::of(stack, self.auth.clone(), self.clock())?,
            None => None,
        };
        Ok(Stack::new(HttpParts {
            settings: HttpSettings {
                version: VERSION,
                public_origin: config.server.public_url.as_ref().map(origin),
                allowed_origins: config.server.allowed_origins.iter().map(origin).collect(),
                answers_proxies: match config.forward_auth.enabled {
                    ForwardAuthMode::Auto => self.gateway.applications.is_none(),
                    ForwardAuthMode::On => true,
                    ForwardAuthMode::Off => false,
                },
                sign_in: config.forward_auth.sign_in_url.as_ref().map(|url| SignIn::new(url.as_str())),
                provider: config
                    .stack
                    .as_ref()
                    .map(|stack| ProviderCookies { project: stack.project_id.to_string() }),
                client_address: client_address(&config.server),
                max_body_bytes: config.server.max_body_bytes.as_usize(),
                max_uri_bytes: MAX_URI_BYTES,
                body_timeout: BODY_TIMEOUT,
                request_timeout: config.server.request_timeout,
                hsts: tls::hsts(config)?,
                admin_certificate: config.tls.admin_client_ca.is_some(),
                instance: entropy::number(&*self.world.entropy),
            },
            auth: self.auth.clone(),
            clock: Arc::clone(&self.world.clock),
            introspection: Arc::new(inspector),
            limits: Arc::clone(&self.limits),
            webhooks: webhooks.map(|webhooks| Arc::new(webhooks) as Arc<dyn Webhooks>),
            limit_admin: self.blocks.administration.clone() as Arc<dyn LimitAdmin>,
            routes: Arc::clone(&self.gateway.routes),
            upstreams: self.gateway.applications.clone().map(|apps| apps as Arc<dyn Upstreams>),
            assertions: Some(Arc::clone(&self.gateway.signer) as Arc<dyn Assertions>),
        }))
    }

    /// Ends background work, writes what waits to be written, and closes the database.
    pub async fn stop(&self, limit: Duration) {
        // Connections to the database are tracked too, and end only when it is closed.
        self.lifecycle.stopping().cancel();
        if let Err(error) = self.tiers.flush_activity(1000).await {
            tracing::warn!(?error, "the last last-seens were not written");
        }
        if let Err(error) = self.events.flush(&*self.database.store()).await {
            tracing::warn!(?error, "the last security events were not written");
        }
        if let Err(error) = self.blocks.flush().await {
            tracing::warn!(?error, "the last blocks were not written");
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

fn passwords(config: &Config, policy: &Policy, world: &World) -> anyhow::Result<PasswordThreads> {
    let cores = std::thread::available_parallelism().context("the number of cores is unknown")?;
    let spare_cores = std::num::NonZeroUsize::new(cores.get() - 1).unwrap_or(cores);
    let workers = config.password.hash_workers.or_automatic(spare_cores).get();
    PasswordThreads::start(workers, config.password.hash_wait, policy.hash, &world.entropy)
        .context("the threads that hash passwords cannot start")
}

fn redis(config: &Config, keys: &KeyRing, world: &World) -> anyhow::Result<Option<Arc<RedisSessions>>> {
    let Some(options) = redis_config(config)? else { return Ok(None) };
    Ok(Some(Arc::new(RedisSessions::new(&options, keys.clone(), Arc::clone(&world.clock))?)))
}

pub(crate) fn redis_config(config: &Config) -> anyhow::Result<Option<RedisConfig>> {
    let Some(url) = &config.redis.url else { return Ok(None) };
    Ok(Some(RedisConfig {
        url: url.expose().to_owned(),
        trusted: crate::trust::authorities(config)?,
        command_timeout: config.redis.command_timeout,
        connect_timeout: config.redis.connect_timeout,
        lifetime: config.cache.l2_ttl,
    }))
}

fn tier_limits(config: &Config) -> TierLimits {
    let cache = &config.cache;
    TierLimits {
        l1_max_bytes: cache.l1_max_bytes.bytes(),
        l1_ttl: cache.l1_ttl,
        l1_min_ttl: cache.l1_min_ttl,
        negative_entries: cache.negative_entries,
        negative_ttl: cache.negative_ttl,
        revocation_bound: cache.revocation_bound,
        outage_grace: cache.outage_grace,
        refresh_grace: config.session.refresh_grace,
        activity_entries: ACTIVITY_ENTRIES,
        token_pool_entries: cache.token_pool_entries,
    }
}

/// How this node and the others tell each other what became stale: through Redis, or where there is none through
/// PostgreSQL. The embedded database has one node only.
fn bus(
    database: &Database,
    redis: Option<&RedisSessions>,
    tiers: &TieredSessions,
    keys: &KeyRing,
    world: &World,
) -> Option<Bus> {
    let random = || entropy::number(&*world.entropy);
    let wire: Arc<dyn Wire> = match (redis, database) {
        (Some(redis), _) => Arc::new(RedisWire::new(redis.channel(random()), keys.fingerprint())),
        (None, Database::Postgres(store)) => Arc::new(PostgresWire::new(Arc::clone(store))),
        (None, Database::Sqlite(_)) => return None,
    };
    Some(Bus::new(wire, tiers.clone(), Arc::clone(&world.clock), keys.clone(), random()))
}

/// Whom to believe about the addresses of clients. The configuration has proxies by address or by number, never both.
fn client_address(server: &phoenix_config::Server) -> ClientAddressSettings {
    let header = match server.forwarded_header {
        phoenix_config::ForwardedHeader::XForwardedFor => ForwardedHeader::XForwardedFor,
        phoenix_config::ForwardedHeader::Forwarded => ForwardedHeader::Forwarded,
    };
    NonZeroU8::new(server.trusted_hops).map_or_else(
        || ClientAddressSettings::behind_proxies(&server.trusted_proxies, header),
        |hops| ClientAddressSettings::behind_hops(hops, header),
    )
}

/// The file that knows where addresses are, if one is configured.
fn geo(config: &Config) -> anyhow::Result<Option<Arc<dyn GeoLocator>>> {
    let Some(path) = &config.geo.database else { return Ok(None) };
    let geo = GeoIp::open(path).context("PHOENIX_GEOIP_DB cannot be used")?;
    tracing::info!(kind = geo.database_type(), built_at = %geo.built_at(), "places of addresses are known");
    Ok(Some(Arc::new(geo)))
}

fn policy(config: &Config) -> anyhow::Result<Policy> {
    let (session, password, accounts) = (&config.session, &config.password, &config.accounts);
    Ok(Policy {
        sessions: session_times(session)?,
        session_cap: (session.max_per_user > 0)
            .then_some((session.max_per_user, cap_policy(session.max_policy))),
        signals: SignalPolicy {
            device: reaction(session.on_device_change),
            device_threshold: session.device_threshold,
            network: reaction(session.on_network_change),
            country: reaction(session.on_country_change),
            travel: reaction(session.on_impossible_travel),
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
    })
}

fn session_times(session: &phoenix_config::Session) -> anyhow::Result<SessionTimes> {
    let default = SessionLimits {
        idle_timeout: session.idle_timeout,
        absolute_timeout: session.absolute_timeout,
        last_seen_step: session.last_seen_step,
    };
    let of_role = |times: &RoleTimeouts| {
        let role = Role::parse(&times.role).context("PHOENIX_ROLE_TIMEOUTS names a role that cannot be")?;
        Ok((role, SessionLimits { idle_timeout: times.idle, absolute_timeout: times.absolute, ..default }))
    };
    let roles = session.role_timeouts.iter().map(of_role).collect::<anyhow::Result<_>>()?;
    Ok(SessionTimes { default, roles })
}

const fn reaction(configured: phoenix_config::Reaction) -> Reaction {
    match configured {
        phoenix_config::Reaction::Observe => Reaction::Observe,
        phoenix_config::Reaction::Reauthenticate => Reaction::Reauthenticate,
        phoenix_config::Reaction::Revoke => Reaction::Revoke,
    }
}

const fn cap_policy(configured: SessionCapPolicy) -> CapPolicy {
    match configured {
        SessionCapPolicy::EvictOldest => CapPolicy::EvictOldest,
        SessionCapPolicy::Refuse => CapPolicy::Refuse,
    }
}
