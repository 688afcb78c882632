//! Checks of settings by themselves.

use std::path::Path;
use std::time::Duration;

use phoenix_config::{Environment, LogFormat, Registration, Scheme, duration_text};

use super::catalogue as check;
use super::finding::Finding;
use super::{Subject, size};
use crate::geoip::GeoIp;

/// Bytes of one limited client in memory, about, and of one open connection with its buffers.
const BYTES_PER_CLIENT: u64 = 128;
/// Age from which a file of places is worth renewing.
const GEO_OLD_DAYS: i64 = 60;
const MILLIS_PER_DAY: i64 = 24 * 60 * 60 * 1000;
/// Longest unused session that is usual.
const LONG_IDLE: Duration = Duration::from_hours(30 * 24);
/// Longest session that is usual.
const LONG_LIFE: Duration = Duration::from_hours(90 * 24);
/// Longest grace that is usual.
const LONG_GRACE: Duration = Duration::from_mins(15);

pub(super) fn judge(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = vec![readable(subject)];
    findings.extend(variables(subject));
    findings.extend([
        environment(subject),
        demo(subject),
        test_user(subject),
        registration(subject),
        public_url(subject),
        proxies(subject),
        session_times(subject),
        grace(subject),
        limits(subject),
        exempt(subject),
        limits_memory(subject),
        passwords(subject),
        geo(subject),
        log_format(subject),
        log_level(subject),
        check::THRESHOLDS.skipped("not in this version: set alerts where you watch, see deploy/prometheus"),
    ]);
    findings
}

fn readable(subject: &Subject<'_>) -> Finding {
    let set = subject.loaded.effective.settings().iter();
    let set = set.filter(|setting| setting.source != phoenix_config::Source::Default).count();
    check::READABLE.ok(format!("{set} settings are set, the others are defaults"))
}

fn variables(subject: &Subject<'_>) -> Vec<Finding> {
    if subject.loaded.warnings.is_empty() {
        return vec![check::VARIABLES.ok("every variable has a meaning")];
    }
    let warn = |warning: &String| {
        check::VARIABLES.warning(warning.as_str(), "correct it or unset it; docs/config.md has all names")
    };
    subject.loaded.warnings.iter().map(warn).collect()
}

fn is_production(subject: &Subject<'_>) -> bool {
    subject.config.server.environment == Environment::Production
}

fn environment(subject: &Subject<'_>) -> Finding {
    let mend = "set PHOENIX_ENV=production";
    check::ENVIRONMENT.ok_or_warning(
        is_production(subject),
        if is_production(subject) { "production" } else { "development" },
        mend,
    )
}

fn demo(subject: &Subject<'_>) -> Finding {
    let on = subject.config.accounts.demo_mode;
    check::DEMO.ok_or_failure(!on, if on { "on" } else { "off" }, "unset ENABLE_DEMO_MODE")
}

fn test_user(subject: &Subject<'_>) -> Finding {
    let on = subject.config.accounts.test_user;
    let mend = "unset ENABLE_TEST_USER, and disable the account: phoenix user disable";
    check::TEST_USER.ok_or_failure(!on, if on { "on" } else { "off" }, mend)
}

fn registration(subject: &Subject<'_>) -> Finding {
    let open = subject.config.accounts.registration == Registration::Open;
    let mend = "where accounts are given out: PHOENIX_REGISTRATION=closed";
    check::REGISTRATION.ok_or_warning(!open, if open { "open to everybody" } else { "closed" }, mend)
}

fn public_url(subject: &Subject<'_>) -> Finding {
    let has_certificate = !subject.config.tls.certificates.is_empty();
    match &subject.config.server.public_url {
        Some(url) if url.scheme() == Scheme::Https => check::PUBLIC_URL.ok(url.to_string()),
        Some(url) if url.is_loopback() => check::PUBLIC_URL.ok(format!("{url}, this machine only")),
        Some(url) => check::PUBLIC_URL.failure(
            format!("{url} is plain HTTP"),
            "put HTTPS in front or set PHOENIX_TLS_CERTIFICATES, and PHOENIX_PUBLIC_URL=https://...",
        ),
        None if has_certificate => check::PUBLIC_URL.warning(
            "not set; the Host that a client sends counts",
            "set PHOENIX_PUBLIC_URL to the address in browsers, https://...",
        ),
        None => check::PUBLIC_URL.warning(
            "not set, and there is no HTTPS here",
            "set PHOENIX_PUBLIC_URL to the address in browsers, https://..., and put HTTPS in front",
        ),
    }
}

fn proxies(subject: &Subject<'_>) -> Finding {
    let server = &subject.config.server;
    let everybody = server.trusted_proxies.iter().find(|network| network.prefix_len() == 0);
    if let Some(network) = everybody {
        return check::PROXIES.failure(
            format!("everybody is trusted: {network}"),
            "set PHOENIX_TRUSTED_PROXIES to the addresses of your proxies only",
        );
    }
    if server.trusted_hops > 0 {
        return check::PROXIES.warning(
            format!("whoever connects is believed ({} hops)", server.trusted_hops),
            "let nobody but the last proxy connect, or name it in PHOENIX_TRUSTED_PROXIES instead of PHOENIX_TRUSTED_HOPS",
        );
    }
    if !server.trusted_proxies.is_empty() {
        return check::PROXIES.ok(format!("{} networks", server.trusted_proxies.len()));
    }
    let behind_proxy = server.public_url.as_ref().is_some_and(|url| url.scheme() == Scheme::Https)
        && subject.config.tls.certificates.is_empty();
    let mend = "set PHOENIX_TRUSTED_PROXIES to the addresses of the proxy that does HTTPS";
    check::PROXIES.ok_or_warning(
        !behind_proxy,
        if behind_proxy {
            "nobody, but HTTPS is done by a proxy in front: all clients have its address"
        } else {
            "nobody: clients connect directly"
        },
        mend,
    )
}

fn session_times(subject: &Subject<'_>) -> Finding {
    let session = &subject.config.session;
    let (idle, life) = (session.idle_timeout, session.absolute_timeout);
    let found = format!("{} unused, {} at most", duration_text(idle), duration_text(life));
    let mend = "shorten PHOENIX_SESSION_IDLE_TIMEOUT and PHOENIX_SESSION_ABSOLUTE_TIMEOUT, or those of administrators: \
                PHOENIX_ROLE_TIMEOUTS=admin=1h/12h";
    check::SESSION_TIMES.ok_or_warning(idle <= LONG_IDLE && life <= LONG_LIFE, found, mend)
}

fn grace(subject: &Subject<'_>) -> Finding {
    let grace = subject.config.cache.outage_grace;
    let mend = "shorten PHOENIX_OUTAGE_GRACE; 0 refuses at once";
    check::GRACE.ok_or_warning(grace <= LONG_GRACE, duration_text(grace), mend)
}

fn limits(subject: &Subject<'_>) -> Finding {
    let limits = &subject.config.limits;
    if !limits.enabled {
        return check::LIMITS.failure("off", "unset PHOENIX_LIMITS");
    }
    let auth = limits.classes.iter().find(|class| class.name == "auth");
    let login = limits.routes.iter().find(|route| route.path == "/api/auth/login");
    if login.is_some_and(|route| route.class.is_none()) {
        return check::LIMITS.failure(
            "signing in is not limited",
            "remove the route /api/auth/login from limits.routes (PHOENIX_LIMITS_ROUTES)",
        );
    }
    match auth {
        Some(class) if class.observe => {
            check::LIMITS.failure("class auth only observes", "set observe = false in [limits.classes.auth]")
        }
        Some(_) => check::LIMITS.ok(format!("on, {} classes", limits.classes.len())),
        None => {
            check::LIMITS.failure("there is no class auth", "remove [limits.classes.auth] to have it back")
        }
    }
}

fn exempt(subject: &Subject<'_>) -> Finding {
    let limits = &subject.config.limits;
    let of_classes: Vec<_> = limits.classes.iter().flat_map(|class| &class.exempt).collect();
    let wide = limits.exempt.iter().chain(of_classes.iter().copied()).find(|network| {
        let widest = if network.addr().is_ipv4() { 8 } else { 16 };
        network.prefix_len() < widest
    });
    match wide {
        Some(network) => check::EXEMPT.failure(
            format!("{network} is exempt, which is nearly everybody"),
            "name only your own networks in PHOENIX_LIMITS_EXEMPT",
        ),
        None if limits.exempt.is_empty() && of_classes.is_empty() => check::EXEMPT.ok("nobody"),
        None if of_classes.is_empty() => check::EXEMPT.ok(format!("{} networks", limits.exempt.len())),
        None => check::EXEMPT.ok(format!(
            "{} networks from everything, {} from single classes",
            limits.exempt.len(),
            of_classes.len()
        )),
    }
}

fn limits_memory(subject: &Subject<'_>) -> Finding {
    let bytes = subject.config.limits.memory.bytes();
    let clients = bytes / BYTES_PER_CLIENT;
    let connections = u64::try_from(subject.config.server.max_connections).unwrap_or(u64::MAX);
    let found = format!("{}, enough for about {clients} clients", size(bytes));
    let mend = "raise PHOENIX_LIMITS_MEMORY";
    check::LIMITS_MEMORY.ok_or_warning(clients >= connections.saturating_mul(4), found, mend)
}

fn passwords(subject: &Subject<'_>) -> Finding {
    let length = subject.config.password.min_length;
    let found = format!("at least {length} characters");
    let mend =
        "raise PHOENIX_PASSWORD_MIN_LENGTH to 15 where a password is the only factor (NIST SP 800-63B-4)";
    check::PASSWORDS.ok_or_warning(length >= 12, found, mend)
}

fn geo(subject: &Subject<'_>) -> Finding {
    let Some(path) = subject.config.geo.database.as_deref() else {
        return check::GEO.skipped("PHOENIX_GEOIP_DB is not set");
    };
    geo_file(path, subject.world.clock.now().wall.as_millis())
}

fn geo_file(path: &Path, now_ms: i64) -> Finding {
    match GeoIp::open(path) {
        Ok(geo) => {
            let days = (now_ms - geo.built_at().as_millis()) / MILLIS_PER_DAY;
            let found = format!("{}, {days} days old", geo.database_type());
            check::GEO.ok_or_warning(days <= GEO_OLD_DAYS, found, "fetch a new file and restart")
        }
        Err(error) => check::GEO
            .failure(format!("{error:#}"), "name an MMDB file of type City or Country in PHOENIX_GEOIP_DB"),
    }
}

fn log_format(subject: &Subject<'_>) -> Finding {
    let is_human = subject.config.log.format == LogFormat::Human;
    let mend = "set PHOENIX_LOG_FORMAT=json, or unset it";
    check::LOG_FORMAT.ok_or_warning(
        !(is_human && is_production(subject)),
        if is_human { "human" } else { "JSON where nobody watches" },
        mend,
    )
}

fn log_level(subject: &Subject<'_>) -> Finding {
    let filter = &subject.config.log.filter;
    let is_verbose = |part: &str| matches!(part.trim().rsplit('=').next(), Some("debug" | "trace"));
    let verbose = filter.split(',').any(is_verbose) || subject.config.database.logging;
    let mend = "set PHOENIX_LOG=info and unset DB_LOGGING";
    check::LOG_LEVEL.ok_or_warning(!(verbose && is_production(subject)), filter.as_str(), mend)
}
