//! The whole configuration: which sections there are, in which order, and how they become a [`Config`].
//! Does not own a setting (`settings.rs`) or a rule between two (`checks.rs`).

use std::time::Duration;

use crate::{
    checks,
    loader::Loader,
    setting::{AnySetting, Section},
    settings::{
        Accounts, Cache, Data, Database, ForwardAuth, Gateway, Geo, Identity, Limits, Log, Password, Redis,
        Secrets, Server, Session, StackSettings, Tls,
    },
    values::{Origin, ProjectId, Secret},
};

/// Everything Phoenix can be told, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listening, connections and request limits.
    pub server: Server,
    /// HTTPS.
    pub tls: Tls,
    /// Files of Phoenix's own.
    pub data: Data,
    /// The PostgreSQL database.
    pub database: Database,
    /// The shared tier.
    pub redis: Redis,
    /// Caches of sessions and users.
    pub cache: Cache,
    /// Lifetimes of sessions, how many a user may have, and what is done when one is used elsewhere.
    pub session: Session,
    /// Rate limits.
    pub limits: Limits,
    /// The application that Phoenix stands in front of.
    pub gateway: Gateway,
    /// Beside another proxy.
    pub forward_auth: ForwardAuth,
    /// Where addresses are.
    pub geo: Geo,
    /// Password rules and hashing.
    pub password: Password,
    /// Who has an account from the start.
    pub accounts: Accounts,
    /// Keys.
    pub secrets: Secrets,
    /// The Stack Auth project whose tokens are accepted; all of it or none.
    pub stack: Option<Stack>,
    /// Outside identity providers whose tokens are accepted.
    pub identity: Identity,
    /// Log lines.
    pub log: Log,
}

/// A Stack Auth project.
#[derive(Debug, Clone)]
pub struct Stack {
    /// The project.
    pub project_id: ProjectId,
    /// The key that servers use.
    pub secret_server_key: Secret,
    /// The key that browsers use; not a secret.
    pub publishable_client_key: String,
    /// Where the provider's API is; plain HTTP only on this machine.
    pub api_url: Origin,
    /// Whether users whom the provider restricts are let in.
    pub allow_restricted: bool,
    /// Whether anonymous users, who have not signed up, are let in.
    pub allow_anonymous: bool,
    /// The key that signs the provider's webhooks, with its `whsec_`; no webhook is accepted without it.
    pub webhook_secret: Option<Secret>,
    /// How often sessions in use are checked at the provider; zero is never.
    pub poll_interval: Duration,
}

/// The sections in the order in which they are documented.
pub(crate) const SECTIONS: &[Section] = &[
    Server::SECTION,
    Tls::SECTION,
    Data::SECTION,
    Database::SECTION,
    Redis::SECTION,
    Cache::SECTION,
    Session::SECTION,
    Limits::SECTION,
    Gateway::SECTION,
    ForwardAuth::SECTION,
    Geo::SECTION,
    Password::SECTION,
    Accounts::SECTION,
    Secrets::SECTION,
    StackSettings::SECTION,
    Identity::SECTION,
    Log::SECTION,
];

/// Every setting, in the order in which it is documented.
pub(crate) fn all() -> impl Iterator<Item = &'static dyn AnySetting> {
    SECTIONS.iter().flat_map(|section| section.settings.iter().copied())
}

impl Config {
    /// Resolves every section before any is given up on, so that all errors are collected.
    pub(crate) fn resolve(loader: &mut Loader<'_>) -> Option<Self> {
        let server = Server::resolve(loader);
        let tls = Tls::resolve(loader);
        let data = Data::resolve(loader);
        let database = Database::resolve(loader);
        let redis = Redis::resolve(loader);
        let cache = Cache::resolve(loader);
        let session = Session::resolve(loader);
        let limits = Limits::resolve(loader);
        let gateway = Gateway::resolve(loader);
        let forward_auth = ForwardAuth::resolve(loader);
        let geo = Geo::resolve(loader);
        let password = Password::resolve(loader);
        let accounts = Accounts::resolve(loader);
        let secrets = Secrets::resolve(loader);
        let stack = StackSettings::resolve(loader);
        let identity = Identity::resolve(loader);
        let log = Log::resolve(loader);
        checks::proxies(loader, server.as_ref());
        checks::tls(loader, tls.as_ref(), server.as_ref());
        checks::forward_auth(loader, forward_auth.as_ref(), server.as_ref());
        checks::database(loader, database.as_ref());
        checks::session(loader, session.as_ref());
        checks::role_timeouts(loader, session.as_ref());
        checks::reactions(loader, session.as_ref(), geo.as_ref());
        checks::gateway(loader, gateway.as_ref(), server.as_ref());
        checks::password(loader, password.as_ref());
        checks::accounts(loader, accounts.as_ref(), server.as_ref());
        Some(Self {
            server: server?,
            tls: tls?,
            data: data?,
            database: database?,
            redis: redis?,
            cache: cache?,
            session: session?,
            limits: limits?,
            gateway: gateway?,
            forward_auth: forward_auth?,
            geo: geo?,
            password: password?,
            accounts: accounts?,
            secrets: secrets?,
            stack: checks::stack(loader, stack?),
            identity: identity?,
            log: log?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Sources, load};

    #[test]
    fn the_registry_and_the_loader_agree() {
        let loaded = load(&Sources::default()).expect("the defaults are valid");
        let loaded: Vec<&str> = loaded.effective.settings().iter().map(|setting| setting.key).collect();
        let registered: Vec<&str> = all().map(AnySetting::key).collect();
        assert_eq!(loaded, registered);
    }

    #[test]
    fn names_are_unique_and_follow_their_section() {
        let keys: BTreeSet<&str> = all().map(AnySetting::key).collect();
        let mut names: BTreeSet<String> = all().map(|setting| setting.env().to_owned()).collect();
        let files: BTreeSet<String> = all().filter_map(AnySetting::env_file).collect();
        assert_eq!((keys.len(), names.len()), (all().count(), all().count()));
        let total = names.len() + files.len();
        names.extend(files);
        assert_eq!(names.len(), total, "a _FILE variable has the name of a setting");
        for section in SECTIONS {
            for setting in section.settings {
                assert_eq!(setting.key(), format!("{}.{}", section.name, setting.name()));
                assert!(!setting.name().contains('.'), "{}", setting.key());
                assert!(
                    !setting.doc().is_empty() && setting.doc()[0].trim().ends_with('.'),
                    "{}",
                    setting.key()
                );
            }
        }
    }
}
