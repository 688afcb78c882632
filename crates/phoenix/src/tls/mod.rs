//! HTTPS: certificates from files, who is shown which, and reading them again while connections go on.
//!
//! The provider of cryptography is named here and never taken from the process. Does not own sockets and HTTP
//! (`listener`), or what a client certificate is good for (`phoenix-http`).

mod authorities;
mod by_name;
mod certificate;
mod files;
mod handshake;
pub(crate) mod probe;
mod report;
mod slot;
mod watch;

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use arc_swap::ArcSwap;
use http::HeaderValue;
use phoenix_auth::model::Timestamp;
use phoenix_auth::ports::Clock;
use phoenix_config::{CertificateFiles, Config, ConfigError, ConfigErrors, TlsVersion};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{ProducesTickets, ServerConfig};
use rustls::{ServerConnection, SupportedProtocolVersion, version};
use tokio::sync::Semaphore;

pub(crate) use self::handshake::Secured;

use self::authorities::Authorities;
use self::by_name::ByName;
use self::certificate::{Certificate, Facts};
use self::files::{PairContent, Unusable};
use self::slot::{Seen, Slot};
use self::watch::Told;

const CERTIFICATES: &str = "tls.certificates";
const ADMIN_CLIENT_CA: &str = "tls.admin_client_ca";
/// What clients may choose from, the best first (RFC 7301). A client that asks for none gets HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];
const HTTP2: &[u8] = b"h2";
/// For so many connections that may be open one handshake may be under way. Further ones wait.
const CONNECTIONS_PER_HANDSHAKE: usize = 2;

/// The server's side of TLS. Shared by all connections.
pub struct TlsServer {
    sources: Sources,
    clock: Arc<dyn Clock>,
    live: ArcSwap<Live>,
    held: Mutex<Held>,
    /// Handshakes that may be under way.
    handshakes: Semaphore,
    counters: Counters,
}

/// What the configuration says.
struct Sources {
    certificates: Vec<CertificateFiles>,
    authorities: Option<PathBuf>,
    min_version: TlsVersion,
    provider: Arc<CryptoProvider>,
}

/// What new connections use.
struct Live {
    config: Arc<ServerConfig>,
    names: Arc<ByName>,
}

/// What the files hold.
struct Held {
    /// As many as are configured, in their order.
    certificates: Vec<Slot<Certificate>>,
    authorities: Option<Slot<Authorities>>,
    /// Makes session tickets (RFC 8446 section 4.6.1) under keys that change by themselves.
    tickets: Arc<dyn ProducesTickets>,
    /// What was said about the end of each certificate, in the same order.
    told: Vec<Told>,
}

/// Since the start.
#[derive(Default)]
struct Counters {
    complete: AtomicU64,
    resumed: AtomicU64,
    failed: AtomicU64,
    plain: AtomicU64,
}

impl TlsServer {
    /// Reads the files that the configuration names; `None` when it names none.
    ///
    /// # Errors
    /// Every file that cannot be used, with what would do.
    pub fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Option<Arc<Self>>, ConfigErrors> {
        let tls = &config.tls;
        if tls.certificates.is_empty() {
            return Ok(None);
        }
        let sources = Sources {
            certificates: tls.certificates.clone(),
            authorities: tls.admin_client_ca.clone(),
            min_version: tls.min_version,
            provider: Arc::new(default_provider()),
        };
        let held = sources.open(clock.now().wall)?;
        let live = sources.live(&held).map_err(|error| unusable(&error))?;
        Ok(Some(Arc::new(Self {
            sources,
            clock,
            live: ArcSwap::from_pointee(live),
            held: Mutex::new(held),
            handshakes: Semaphore::new((config.server.max_connections / CONNECTIONS_PER_HANDSHAKE).max(1)),
            counters: Counters::default(),
        })))
    }

    /// Whether one of the certificates has this DNS name.
    pub(crate) fn covers(&self, name: &str) -> bool {
        self.live.load().names.covers(name)
    }

    /// Reads the files again. Something bad is told when it is found a second time, or at once if `is_final`.
    pub(crate) fn look(&self, is_final: bool) {
        let now = self.clock.now().wall;
        let mut held = self.held();
        let mut better = false;
        for (files, slot) in self.sources.certificates.iter().zip(&mut held.certificates) {
            let content = PairContent::read(files);
            let is_key_public = content.as_ref().is_ok_and(|content| content.is_key_public);
            let seen = slot.look(content, is_final, |content| self.sources.certificate(files, &content, now));
            let file = files.certificate.display();
            match seen {
                Seen::Nothing => {}
                Seen::Better => {
                    better = true;
                    tell(files, slot.current(), is_key_public);
                }
                Seen::Mended => {
                    tracing::info!(%file, "a certificate can be used again; it was in use all the time");
                }
                Seen::Worse(error) => {
                    tracing::error!(%file, error, "a certificate cannot be used; the one before stays in use");
                }
            }
        }
        better |= self.look_at_authorities(&mut held, is_final);
        if better {
            match self.sources.live(&held) {
                Ok(live) => self.live.store(Arc::new(live)),
                Err(error) => tracing::error!(?error, "the new certificates are not used"),
            }
        }
    }

    fn look_at_authorities(&self, held: &mut Held, is_final: bool) -> bool {
        let (Some(path), Some(slot)) = (&self.sources.authorities, &mut held.authorities) else {
            return false;
        };
        let content = files::read(path).map(|(bytes, _)| bytes.to_vec());
        let seen =
            slot.look(content, is_final, |bytes| Authorities::parse(path, &bytes, &self.sources.provider));
        match seen {
            Seen::Nothing => return false,
            Seen::Mended => {
                tracing::info!(
                    file = %path.display(),
                    "the authorities of administrators' certificates can be used again; they were in use all the time"
                );
                return false;
            }
            Seen::Better => {}
            Seen::Worse(error) => {
                tracing::error!(
                    file = %path.display(),
                    error,
                    "the authorities of administrators' certificates cannot be used; those before stay in use"
                );
                return false;
            }
        }
        // Who was let in by an authority that is gone must not come back with a ticket.
        match Ticketer::new() {
            Ok(tickets) => held.tickets = tickets,
            Err(error) => {
                tracing::error!(?error, "the new authorities are not used: no key for tickets");
                return false;
            }
        }
        tracing::info!(file = %path.display(), "the authorities of administrators' certificates were read again");
        true
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the client showed a certificate of an administrator that is valid now. A ticket outlives what it was
    /// given for, so the time is looked at for every connection.
    fn has_certificate(&self, connection: &ServerConnection) -> bool {
        let leaf = connection.peer_certificates().and_then(|chain| chain.first());
        let facts = leaf.and_then(Facts::of);
        let now = self.clock.now().wall;
        facts.is_some_and(|facts| facts.not_before <= now && now <= facts.not_after)
    }
}

impl Sources {
    fn open(&self, now: Timestamp) -> Result<Held, ConfigErrors> {
        let mut errors = Vec::new();
        let mut certificates = Vec::with_capacity(self.certificates.len());
        for files in &self.certificates {
            let opened = PairContent::read(files).and_then(|content| {
                let is_key_public = content.is_key_public;
                let slot = Slot::new(content, |content| self.certificate(files, &content, now))?;
                tell(files, slot.current(), is_key_public);
                Ok(slot)
            });
            match opened {
                Ok(slot) => certificates.push(slot),
                Err(error) => errors.push(explained(CERTIFICATES, &error)),
            }
        }
        let authorities = self.authorities.as_ref().and_then(|path| {
            let opened = files::read(path).and_then(|(bytes, _)| {
                Slot::new(bytes.to_vec(), |bytes| Authorities::parse(path, &bytes, &self.provider))
            });
            opened.map_err(|error| errors.push(explained(ADMIN_CLIENT_CA, &error))).ok()
        });
        if !errors.is_empty() {
            return Err(ConfigErrors::new(errors));
        }
        let tickets = Ticketer::new().map_err(|error| unusable(&error))?;
        let told = vec![Told::default(); certificates.len()];
        Ok(Held { certificates, authorities, tickets, told })
    }

    fn certificate(
        &self,
        files: &CertificateFiles,
        content: &PairContent,
        now: Timestamp,
    ) -> Result<Certificate, Unusable> {
        Certificate::parse(files, content, now, &self.provider)
    }

    /// Puts together what connections use.
    fn live(&self, held: &Held) -> Result<Live, rustls::Error> {
        let names = Arc::new(ByName::new(held.certificates.iter().map(Slot::current)));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_protocol_versions(versions(self.min_version))?;
        let builder = match &held.authorities {
            Some(slot) => builder.with_client_cert_verifier(Arc::clone(&slot.current().verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&names) as _);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.ticketer = Arc::clone(&held.tickets);
        Ok(Live { config: Arc::new(config), names })
    }
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static FROM_1_2: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    static FROM_1_3: [&SupportedProtocolVersion; 1] = [&version::TLS13];
    match min {
        TlsVersion::V1_2 => &FROM_1_2,
        TlsVersion::V1_3 => &FROM_1_3,
    }
}

fn tell(files: &CertificateFiles, certificate: &Certificate, is_key_public: bool) {
    let Facts { names, not_after, serial, .. } = &certificate.facts;
    tracing::info!(
        file = %files.certificate.display(),
        names = names.join(", "),
        %not_after,
        serial,
        "certificate in use"
    );
    if is_key_public {
        tracing::warn!(
            file = %files.key.display(),
            "everybody on this machine may read the private key; chmod 600 it, or 640 with a group of Phoenix's own"
        );
    }
}

fn explained(key: &str, error: &Unusable) -> ConfigError {
    ConfigError::new(error.in_full(), error.remedy()).key(key)
}

fn unusable(error: &rustls::Error) -> ConfigErrors {
    let reason = format!("TLS cannot be set up: {error}");
    ConfigErrors::new(vec![ConfigError::new(reason, "report this: it is a defect").key(CERTIFICATES)])
}

/// The value of `Strict-Transport-Security` (RFC 6797) for answers over TLS, if one is to be sent.
///
/// # Errors
/// Never with a duration that the configuration allows.
pub(crate) fn hsts(config: &Config) -> anyhow::Result<Option<HeaderValue>> {
    let tls = &config.tls;
    if tls.certificates.is_empty() || tls.hsts.is_zero() {
        return Ok(None);
    }
    let subdomains = if tls.hsts_subdomains { "; includeSubDomains" } else { "" };
    let preload = if tls.hsts_preload { "; preload" } else { "" };
    let text = format!("max-age={}{subdomains}{preload}", tls.hsts.as_secs());
    HeaderValue::from_str(&text).context("PHOENIX_TLS_HSTS makes no header").map(Some)
}
