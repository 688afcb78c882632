//! Rules between settings: what each setting allows alone, but not together. Reports to the loader, changes nothing.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::{
    config::Stack,
    loader::Loader,
    settings::{
        Accounts, Database, ForwardAuth, Gateway, Geo, Password, Server, Session, StackSettings, Tls,
    },
    values::{ByteSize, Environment, Origin, ProxyProtocol, Reaction, Scheme, Secret},
};

/// OWASP's smallest equivalent parameters of Argon2id, from the most memory: memory and the passes that it needs.
/// <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id>
const ARGON2_MINIMA: [(ByteSize, u32); 5] = [
    (ByteSize::from_mib(46), 1),
    (ByteSize::from_mib(19), 2),
    (ByteSize::from_mib(12), 3),
    (ByteSize::from_mib(9), 4),
    (ByteSize::from_mib(7), 5),
];

/// Shortest time that makes a domain fit for the browsers' own list (<https://hstspreload.org>).
const PRELOAD_MIN: Duration = Duration::from_hours(365 * 24);

/// Proxies are known by their addresses or by their number, and one that speaks the PROXY protocol by its address.
pub(crate) fn proxies(loader: &mut Loader<'_>, server: Option<&Server>) {
    let Some(server) = server.filter(|_| loader.is_complete()) else { return };
    if server.trusted_hops > 0 && !server.trusted_proxies.is_empty() {
        let reason = format!(
            "proxies are known by their addresses or by their number, and there is {}",
            loader.describe("server.trusted_proxies")
        );
        let remedy = "unset server.trusted_hops (PHOENIX_TRUSTED_HOPS): addresses cannot be forged, or unset \
                      server.trusted_proxies (PHOENIX_TRUSTED_PROXIES)";
        loader.conflict("server.trusted_hops", reason, remedy.to_owned());
    } else if server.proxy_protocol == ProxyProtocol::On && server.trusted_proxies.is_empty() {
        let reason = "nobody may send it: no proxy is trusted";
        let remedy = "set server.trusted_proxies (PHOENIX_TRUSTED_PROXIES) to the addresses of the proxies";
        loader.conflict("server.proxy_protocol", reason.to_owned(), remedy.to_owned());
    }
}

/// What belongs to HTTPS needs a certificate, and browsers that use https see an address with https.
pub(crate) fn tls(loader: &mut Loader<'_>, tls: Option<&Tls>, server: Option<&Server>) {
    let (Some(tls), Some(server), true) = (tls, server, loader.is_complete()) else { return };
    if tls.certificates.is_empty() {
        let needing = [
            ("tls.redirect_listen", "PHOENIX_TLS_REDIRECT_LISTEN", tls.redirect_listen.is_some()),
            ("tls.admin_client_ca", "PHOENIX_TLS_ADMIN_CLIENT_CA", tls.admin_client_ca.is_some()),
        ];
        for (key, env, _) in needing.into_iter().filter(|(_, _, is_set)| *is_set) {
            let reason = "there is no HTTPS: tls.certificates is not set".to_owned();
            let remedy = format!("set tls.certificates (PHOENIX_TLS_CERTIFICATES), or unset {key} ({env})");
            loader.conflict(key, reason, remedy);
        }
        return;
    }
    if server.public_url.as_ref().is_some_and(|url| url.scheme() == Scheme::Http) {
        let reason = "browsers reach Phoenix by HTTPS: tls.certificates is set".to_owned();
        let remedy = "set server.public_url (PHOENIX_PUBLIC_URL) to an address with https://, or unset \
                      tls.certificates (PHOENIX_TLS_CERTIFICATES)";
        loader.conflict("server.public_url", reason, remedy.to_owned());
    }
    if tls.redirect_listen.is_some_and(|address| address.port() != 0 && address == server.listen) {
        let reason = format!("HTTPS is there: {}", loader.describe("server.listen"));
        let remedy = "set tls.redirect_listen (PHOENIX_TLS_REDIRECT_LISTEN) to another port";
        loader.conflict("tls.redirect_listen", reason, remedy.to_owned());
    }
    if tls.hsts_preload && (!tls.hsts_subdomains || tls.hsts < PRELOAD_MIN) {
        let reason = "browsers take up only who says it for a year and for all subdomains".to_owned();
        let remedy = "set tls.hsts (PHOENIX_TLS_HSTS) to at least 365d and tls.hsts_subdomains \
                      (PHOENIX_TLS_HSTS_SUBDOMAINS) to true, or unset tls.hsts_preload (PHOENIX_TLS_HSTS_PRELOAD)";
        loader.conflict("tls.hsts_preload", reason, remedy.to_owned());
    }
}

/// Who may ask about requests of others is who is trusted about addresses.
pub(crate) fn forward_auth(loader: &mut Loader<'_>, section: Option<&ForwardAuth>, server: Option<&Server>) {
    let Some((section, server)) = section.zip(server).filter(|_| loader.is_complete()) else { return };
    if section.spoe_listen.is_some() && server.trusted_proxies.is_empty() && server.trusted_hops == 0 {
        let reason = "nobody may ask there: no proxy is trusted";
        let remedy = "set server.trusted_proxies (PHOENIX_TRUSTED_PROXIES) to the addresses of HAProxy";
        loader.conflict("forward_auth.spoe_listen", reason.to_owned(), remedy.to_owned());
    }
    if section.spoe_listen == Some(server.listen) && server.listen.port() != 0 {
        let reason = "server.listen is the same address";
        let remedy = "HAProxy needs a port of its own, such as 127.0.0.1:8081";
        loader.conflict("forward_auth.spoe_listen", reason.to_owned(), remedy.to_owned());
    }
}

pub(crate) fn database(loader: &mut Loader<'_>, database: Option<&Database>) {
    let Some(database) = database.filter(|_| loader.is_complete()) else { return };
    if database.pool_min > database.pool_max {
        let reason = format!("it is above {}", loader.describe("database.pool_max"));
        let (min, max) = (database.pool_min, database.pool_max);
        let remedy = format!(
            "set database.pool_min (DB_POOL_MIN) to at most {max}, or database.pool_max (DB_POOL_MAX) to at least {min}"
        );
        loader.conflict("database.pool_min", reason, remedy);
    }
}

pub(crate) fn session(loader: &mut Loader<'_>, session: Option<&Session>) {
    let Some(session) = session.filter(|_| loader.is_complete()) else { return };
    if session.absolute_timeout < session.idle_timeout {
        let reason = format!("it is shorter than {}", loader.describe("session.idle_timeout"));
        let remedy = "set session.absolute_timeout (PHOENIX_SESSION_ABSOLUTE_TIMEOUT) to at least \
                      session.idle_timeout (PHOENIX_SESSION_IDLE_TIMEOUT)";
        loader.conflict("session.absolute_timeout", reason, remedy.to_owned());
    }
    if session.last_seen_step >= session.idle_timeout {
        let reason = format!("it is not shorter than {}", loader.describe("session.idle_timeout"));
        let remedy = "set session.last_seen_step (PHOENIX_LAST_SEEN_STEP) to less than \
                      session.idle_timeout (PHOENIX_SESSION_IDLE_TIMEOUT)";
        loader.conflict("session.last_seen_step", reason, remedy.to_owned());
    }
}

/// Times of roles are shorter ones than those of everybody, and exact enough to be kept.
pub(crate) fn role_timeouts(loader: &mut Loader<'_>, session: Option<&Session>) {
    let Some(session) = session.filter(|_| loader.is_complete()) else { return };
    for times in &session.role_timeouts {
        let role = &times.role;
        let limits = [
            ("idle time", times.idle, "session.idle_timeout", session.idle_timeout),
            ("age", times.absolute, "session.absolute_timeout", session.absolute_timeout),
        ];
        for (what, time, limit_key, limit) in limits {
            if time > limit {
                let reason =
                    format!("the {what} of \"{role}\" is longer than {}", loader.describe(limit_key));
                let remedy = format!(
                    "set session.role_timeouts (PHOENIX_ROLE_TIMEOUTS) to times of at most {limit_key}: the times of \
                     a role are shorter ones"
                );
                loader.conflict("session.role_timeouts", reason, remedy);
            }
        }
        if session.last_seen_step >= times.idle {
            let reason = format!(
                "the idle time of \"{role}\" is not longer than {}",
                loader.describe("session.last_seen_step")
            );
            let remedy = "set session.last_seen_step (PHOENIX_LAST_SEEN_STEP) to less than every idle time in \
                          session.role_timeouts (PHOENIX_ROLE_TIMEOUTS)";
            loader.conflict("session.role_timeouts", reason, remedy.to_owned());
        }
    }
}

/// A country or a place is only known from a file.
pub(crate) fn reactions(loader: &mut Loader<'_>, session: Option<&Session>, geo: Option<&Geo>) {
    let (Some(session), Some(geo), true) = (session, geo, loader.is_complete()) else { return };
    let needing = [
        ("session.on_country_change", "PHOENIX_ON_COUNTRY_CHANGE", session.on_country_change),
        ("session.on_impossible_travel", "PHOENIX_ON_IMPOSSIBLE_TRAVEL", session.on_impossible_travel),
    ];
    for (key, env, reaction) in needing {
        if reaction != Reaction::Observe && geo.database.is_none() {
            let reason = format!("nothing tells where an address is: {}", loader.describe("geo.database"));
            let remedy = format!(
                "set geo.database (PHOENIX_GEOIP_DB) to an MMDB file, or {key} ({env}) to \"observe\""
            );
            loader.conflict(key, reason, remedy);
        }
    }
}

/// An application is somebody else.
pub(crate) fn gateway(loader: &mut Loader<'_>, gateway: Option<&Gateway>, server: Option<&Server>) {
    let (Some(gateway), Some(server), true) = (gateway, server, loader.is_complete()) else { return };
    let of_tables = gateway.upstreams.iter().flat_map(|upstream| &upstream.servers);
    let servers = gateway.upstream.iter().map(|origin| ("gateway.upstream", origin));
    for (key, origin) in servers.chain(of_tables.map(|origin| ("gateway.upstreams", origin))) {
        if leads_to(origin, server.listen) {
            let reason =
                format!("\"{origin}\" leads to Phoenix itself: {}", loader.describe("server.listen"));
            let remedy = "name the address that the application listens on, or set server.listen \
                          (PHOENIX_LISTEN) to another one";
            loader.conflict(key, reason, remedy.to_owned());
        }
    }
}

/// Whether a connection to this origin is one to this address, as far as it can be known without asking a resolver.
fn leads_to(origin: &Origin, listen: SocketAddr) -> bool {
    let host = origin.host().trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<IpAddr>().ok();
    let is_here = match address {
        Some(address) => {
            address == listen.ip()
                || address.is_unspecified()
                || (listen.ip().is_unspecified() && address.is_loopback())
        }
        None => origin.is_loopback() && (listen.ip().is_unspecified() || listen.ip().is_loopback()),
    };
    is_here && origin.port() == listen.port()
}

pub(crate) fn password(loader: &mut Loader<'_>, password: Option<&Password>) {
    let Some(password) = password.filter(|_| loader.is_complete()) else { return };
    let minimum = ARGON2_MINIMA.iter().find(|(memory, _)| password.argon2_memory >= *memory);
    let Some((_, iterations)) = minimum.filter(|(_, iterations)| password.argon2_iterations < *iterations)
    else {
        return;
    };
    let reason = format!("it is below OWASP's minimum for {}", loader.describe("password.argon2_memory"));
    let enough = ARGON2_MINIMA.iter().rev().find(|(_, iterations)| password.argon2_iterations >= *iterations);
    let enough = enough.map(|(memory, _)| {
        format!(", or password.argon2_memory (PHOENIX_ARGON2_MEMORY) to at least {memory}")
    });
    let remedy = format!(
        "set password.argon2_iterations (PHOENIX_ARGON2_ITERATIONS) to at least {iterations}{}",
        enough.unwrap_or_default()
    );
    loader.conflict("password.argon2_iterations", reason, remedy);
}

pub(crate) fn accounts(loader: &mut Loader<'_>, accounts: Option<&Accounts>, server: Option<&Server>) {
    let (Some(accounts), Some(server), true) = (accounts, server, loader.is_complete()) else { return };
    if accounts.test_user && server.environment == Environment::Production {
        let reason = format!(
            "a user with a known password is refused in production: {}",
            loader.describe("server.environment")
        );
        let remedy = "unset accounts.test_user (ENABLE_TEST_USER), or set server.environment (PHOENIX_ENV) to \
                      \"development\" or \"test\"";
        loader.conflict("accounts.test_user", reason, remedy.to_owned());
    }
}

/// The project and its two keys, or none of them; and an address that keeps the key private.
pub(crate) fn stack(loader: &mut Loader<'_>, settings: StackSettings) -> Option<Stack> {
    let StackSettings {
        project_id,
        secret_server_key,
        publishable_client_key,
        api_url,
        allow_restricted,
        allow_anonymous,
        webhook_secret,
        poll_interval,
    } = settings;
    if loader.is_complete() && !api_url.is_private_on_the_way() {
        let reason = "the secret server key would cross the network in the clear";
        let remedy = "use https; http is for localhost, 127.0.0.1 and [::1] only";
        loader.conflict("stack.api_url", reason.to_owned(), remedy.to_owned());
    }
    let given = [
        ("stack.project_id", "STACK_PROJECT_ID", project_id.is_some()),
        ("stack.secret_server_key", "STACK_SECRET_SERVER_KEY", secret_server_key.is_some()),
        ("stack.publishable_client_key", "STACK_PUBLISHABLE_CLIENT_KEY", publishable_client_key.is_some()),
    ];
    if let (Some(project_id), Some(secret_server_key), Some(publishable_client_key)) =
        (project_id, secret_server_key, publishable_client_key)
    {
        return Some(Stack {
            project_id,
            secret_server_key,
            publishable_client_key,
            api_url,
            allow_restricted,
            allow_anonymous,
            webhook_secret,
            poll_interval,
        });
    }
    if loader.is_complete() {
        incomplete_stack(loader, &given, webhook_secret.as_ref());
    }
    None
}

/// Reports what is missing where some of `given` (key, variable, whether it is set) is set, or the webhook's key is.
fn incomplete_stack(
    loader: &mut Loader<'_>,
    given: &[(&'static str, &str, bool)],
    webhook_secret: Option<&Secret>,
) {
    let present: Vec<&str> = given.iter().filter(|(_, _, is_set)| *is_set).map(|(key, _, _)| *key).collect();
    if !present.is_empty() {
        for (key, env, _) in given.iter().filter(|(_, _, is_set)| !is_set) {
            let reason =
                format!("it is not set, but {} is; Stack Auth needs all three", present.join(" and "));
            loader.conflict(key, reason, format!("set {env}, or unset the others"));
        }
    } else if webhook_secret.is_some() {
        let reason = "webhooks are about the users of a project, and none is set";
        let remedy = "set STACK_PROJECT_ID, STACK_SECRET_SERVER_KEY and STACK_PUBLISHABLE_CLIENT_KEY, or unset \
                      STACK_WEBHOOK_SECRET";
        loader.conflict("stack.webhook_secret", reason.to_owned(), remedy.to_owned());
    }
}
