//! TLS to PostgreSQL: what the address asks for (`sslmode`, `sslrootcert`, `sslcert`, `sslkey`), and the driver's
//! connector for it. All connections of the store go through it: the pool, the lanes, listeners and migrations.
//!
//! The words are those of libpq (PostgreSQL documentation, "SSL Support"). Two things differ, both to the safe side:
//! `require` verifies like `verify-full`, and so does `prefer` once the server offers TLS. On the other hand an address
//! without `sslmode` goes without TLS where nothing leaves the machine.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, FutureExt};
use percent_encoding::percent_decode_str;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Config;
use tokio_postgres::Socket;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use super::end_point::tls_server_end_point;
use crate::connect_error::{Cause, ConnectError};
use crate::tls::{Authorities, ChainOnly, provider};

/// What a client names by ALPN where there is no negotiation before TLS (`sslnegotiation=direct`).
const PROTOCOL: &[u8] = b"postgresql";
/// Largest file of certificates or keys.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The part of an address that the driver does not understand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TlsOptions {
    mode: Option<Mode>,
    root: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    Prefer,
    /// With the name verified, or the chain alone.
    Require {
        name: bool,
    },
}

impl TlsOptions {
    /// Takes them out of an address. The last of several of one name counts, as with the driver.
    pub(super) fn split(url: &str) -> Result<(String, Self), ConnectError> {
        let mut options = Self::default();
        let Some((start, query)) = url.split_once('?') else { return Ok((url.to_owned(), options)) };
        let mut others = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = || {
                let value = percent_decode_str(value).decode_utf8();
                value.map(Cow::into_owned).map_err(|e| ConnectError::Address(e.into()))
            };
            match name {
                "sslmode" => options.mode = Some(mode(&value()?)?),
                "sslrootcert" => options.root = Some(value()?),
                "sslcert" => options.certificate = Some(value()?),
                "sslkey" => options.key = Some(value()?),
                _ => others.push(pair),
            }
        }
        let separator = if others.is_empty() { "" } else { "?" };
        Ok((format!("{start}{separator}{}", others.join("&")), options))
    }

    /// Sets the driver's mode and makes the connector. Reads the files.
    pub(super) fn connector(
        &self,
        driver: &mut Config,
        trusted: &Authorities,
    ) -> Result<PgTls, ConnectError> {
        let mode = self.mode.unwrap_or(if is_local(driver) { Mode::Disable } else { Mode::Prefer });
        let name = match mode {
            Mode::Disable => {
                driver.ssl_mode(SslMode::Disable);
                return Ok(PgTls { config: None });
            }
            Mode::Prefer => {
                driver.ssl_mode(SslMode::Prefer);
                true
            }
            Mode::Require { name } => {
                driver.ssl_mode(SslMode::Require);
                name
            }
        };
        let mut config = self.client_config(trusted, name)?;
        if driver.get_ssl_negotiation() == SslNegotiation::Direct {
            config.alpn_protocols = vec![PROTOCOL.to_vec()];
        }
        Ok(PgTls { config: Some(Arc::new(config)) })
    }

    fn client_config(&self, trusted: &Authorities, name: bool) -> Result<ClientConfig, ConnectError> {
        let roots = match self.root.as_deref() {
            // libpq's word for "those that everybody trusts".
            None | Some("system") => trusted.roots(),
            Some(path) => {
                let unusable = |cause| unusable("sslrootcert", path, cause);
                let text = read(path).map_err(|e| unusable(e.into()))?;
                Authorities::none().with_pem(&text).map_err(|e| unusable(e.into()))?.roots()
            }
        };
        let failed = |error: rustls::Error| ConnectError::failed("set up TLS", error);
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let builder = if name {
            builder.with_root_certificates(roots)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(chain_only(roots)?))
        };
        match (self.certificate.as_deref(), self.key.as_deref()) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificate), Some(key)) => {
                let shown = client_certificate(certificate)?;
                let secret = client_key(key)?;
                builder
                    .with_client_auth_cert(shown, secret)
                    .map_err(|e| unusable("sslcert", certificate, e.into()))
            }
            (Some(_), None) | (None, Some(_)) => {
                Err(ConnectError::Address("sslcert and sslkey are given together or not at all".into()))
            }
        }
    }
}

fn mode(word: &str) -> Result<Mode, ConnectError> {
    match word {
        "disable" => Ok(Mode::Disable),
        // libpq's `allow` tries without TLS first; whoever does not mind that does not mind the safer order.
        "allow" | "prefer" => Ok(Mode::Prefer),
        "require" | "verify-full" => Ok(Mode::Require { name: true }),
        "verify-ca" => Ok(Mode::Require { name: false }),
        _ => Err(ConnectError::Address(
            "sslmode is none of disable, allow, prefer, require, verify-ca and verify-full".into(),
        )),
    }
}

/// Whether all hosts are on this machine, as far as that can be said without asking for names.
fn is_local(driver: &Config) -> bool {
    let hosts = driver.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    });
    hosts && driver.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

fn chain_only(roots: RootCertStore) -> Result<ChainOnly, ConnectError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map(ChainOnly)
        .map_err(|error| ConnectError::failed("set up TLS", error))
}

fn client_certificate(path: &str) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let unusable = |cause| unusable("sslcert", path, cause);
    let text = read(path).map_err(|e| unusable(e.into()))?;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|e| unusable(e.into()))?;
    if chain.is_empty() { Err(unusable("it holds no certificate".into())) } else { Ok(chain) }
}

fn client_key(path: &str) -> Result<PrivateKeyDer<'static>, ConnectError> {
    let unusable = |cause| unusable("sslkey", path, cause);
    let text = zeroize::Zeroizing::new(read(path).map_err(|e| unusable(e.into()))?);
    PrivateKeyDer::from_pem_slice(&text).map_err(|e| unusable(e.into()))
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut text = Vec::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

fn unusable(parameter: &'static str, path: &str, source: Cause) -> ConnectError {
    ConnectError::TlsFile { parameter, path: PathBuf::from(path), source }
}

/// Makes TLS connections for the driver. Clones share the settings and the tickets of earlier connections.
#[derive(Clone)]
pub(super) struct PgTls {
    /// Absent where there is none.
    config: Option<Arc<ClientConfig>>,
}

/// The same for one host.
pub(super) struct ConnectTo {
    config: Option<Arc<ClientConfig>>,
    host: String,
}

/// A connection under TLS.
pub(super) struct PgStream(tokio_rustls::client::TlsStream<Socket>);

impl MakeTlsConnect<Socket> for PgTls {
    type Stream = PgStream;
    type TlsConnect = ConnectTo;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<ConnectTo> {
        Ok(ConnectTo { config: self.config.clone(), host: host.to_owned() })
    }
}

impl TlsConnect<Socket> for ConnectTo {
    type Stream = PgStream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<PgStream>>;

    fn connect(self, stream: Socket) -> Self::Future {
        let Self { config, host } = self;
        async move {
            let config = config.ok_or_else(|| io::Error::other("TLS is off"))?;
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            TlsConnector::from(config).connect(name, stream).await.map(PgStream)
        }
        .boxed()
    }
}

impl TlsStream for PgStream {
    fn channel_binding(&self) -> ChannelBinding {
        let (_, session) = self.0.get_ref();
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        certificate
            .and_then(|certificate| tls_server_end_point(certificate))
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl AsyncRead for PgStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for PgStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use phoenix_testkit::certificates::Authority;

    use super::*;

    fn connector(url: &str) -> Result<(Config, PgTls), ConnectError> {
        let (rest, options) = TlsOptions::split(url)?;
        let mut driver: Config = rest.parse().expect("an address");
        let tls = options.connector(&mut driver, &Authorities::mozilla())?;
        Ok((driver, tls))
    }

    #[test]
    fn the_modes_are_those_of_libpq_and_the_default_spares_the_own_machine() {
        for (url, mode) in [
            ("postgres://a@db/d", SslMode::Prefer),
            ("postgres://a@10.0.0.1/d", SslMode::Prefer),
            ("postgres://a@localhost/d", SslMode::Disable),
            ("postgres://a@127.0.0.2,[::1]/d", SslMode::Disable),
            ("postgres://a@localhost,db/d", SslMode::Prefer),
            ("postgres://a@/d?host=/run/postgresql", SslMode::Disable),
            ("postgres://a@localhost/d?sslmode=prefer", SslMode::Prefer),
            ("postgres://a@db/d?sslmode=disable", SslMode::Disable),
            ("postgres://a@db/d?sslmode=allow", SslMode::Prefer),
            ("postgres://a@db/d?sslmode=require", SslMode::Require),
            ("postgres://a@db/d?sslmode=verify-ca", SslMode::Require),
            ("postgres://a@db/d?sslmode=verify-full&sslrootcert=system", SslMode::Require),
        ] {
            let (driver, tls) = connector(url).expect(url);
            assert_eq!(driver.get_ssl_mode(), mode, "{url}");
            assert_eq!(tls.config.is_some(), mode != SslMode::Disable, "{url}");
        }
    }

    #[test]
    fn what_is_left_is_the_drivers() {
        let (rest, options) = TlsOptions::split(
            "postgres://a:b@c/d?sslmode=require&application_name=x&sslrootcert=%2Fca%20file&channel_binding=require",
        )
        .expect("good");
        assert_eq!(rest, "postgres://a:b@c/d?application_name=x&channel_binding=require");
        assert_eq!(options.root.as_deref(), Some("/ca file"));
        assert_eq!(options.mode, Some(Mode::Require { name: true }));
        let (rest, _) = TlsOptions::split("postgres://a:b@c/d?sslmode=disable").expect("good");
        assert_eq!(rest, "postgres://a:b@c/d");
        assert!(matches!(TlsOptions::split("postgres://c/d?sslmode=on"), Err(ConnectError::Address(_))));
        assert!(matches!(TlsOptions::split("postgres://c/d?sslcert=%ff"), Err(ConnectError::Address(_))));
    }

    #[test]
    fn without_a_negotiation_the_protocol_is_named() {
        let (_, tls) = connector("postgres://a@db/d?sslmode=require&sslnegotiation=direct").expect("good");
        assert_eq!(tls.config.expect("TLS").alpn_protocols, [PROTOCOL]);
        let (_, tls) = connector("postgres://a@db/d?sslmode=require").expect("good");
        assert!(tls.config.expect("TLS").alpn_protocols.is_empty());
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            path.to_str().expect("UTF-8").to_owned()
        };
        let leaf = Authority::new("private").issue_client("phoenix");
        let (good, key) = (file("good", &leaf.certificate_pem), file("key", &leaf.key_pem));
        let (empty, other) =
            (file("empty", ""), file("other", &Authority::new("x").issue_client("y").key_pem));
        let given = |query: String| connector(&format!("postgres://a@db/d?sslmode=require&{query}"));
        assert!(given(format!("sslrootcert={good}&sslcert={good}&sslkey={key}")).is_ok());
        for (query, parameter) in [
            ("sslrootcert=/nowhere".to_owned(), "sslrootcert"),
            (format!("sslrootcert={empty}"), "sslrootcert"),
            (format!("sslcert={empty}&sslkey={key}"), "sslcert"),
            (format!("sslcert={good}&sslkey={empty}"), "sslkey"),
            (format!("sslcert={good}&sslkey={good}"), "sslkey"),
            (format!("sslcert={good}&sslkey={other}"), "sslcert"),
        ] {
            match given(query.clone()).err() {
                Some(ConnectError::TlsFile { parameter: named, .. }) => {
                    assert_eq!(named, parameter, "{query}");
                }
                other => panic!("{query}: {other:?}"),
            }
        }
        assert!(matches!(given(format!("sslcert={good}")).err(), Some(ConnectError::Address(_))));
    }
}
