//! An authority that issues certificates, the files they stand in, and a client that trusts it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use phoenix_testkit::process::{Builder, PhoenixProcess};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::support::{ADMIN, PASSWORD, phoenix};

/// Longest time of one exchange.
const BOUND: Duration = Duration::from_secs(20);
/// Versions that a client speaks.
pub(super) static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
pub(super) static ONLY_1_2: [&SupportedProtocolVersion; 1] = [&version::TLS12];
pub(super) static ONLY_1_3: [&SupportedProtocolVersion; 1] = [&version::TLS13];

/// Issues certificates.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(super) struct Issued {
    pub(super) certificate: Certificate,
    pub(super) key: KeyPair,
}

impl Authority {
    pub(super) fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a server with these names.
    pub(super) fn server(&self, names: &[&str]) -> Result<Issued> {
        self.issue(names, |_| ())
    }

    /// For a client.
    pub(super) fn client(&self, name: &str) -> Result<Issued> {
        self.issue(&[name], |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    pub(super) fn issue(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Issued> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        change(&mut params);
        let key = KeyPair::generate()?;
        Ok(Issued { certificate: params.signed_by(&key, &self.0)?, key })
    }
}

impl Issued {
    /// Certificate and key in one text.
    pub(super) fn both(&self) -> String {
        self.certificate.pem() + &self.key.serialize_pem()
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }
}

/// A folder with files.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file; its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// A server with an administrator and these certificates, each file with its key.
pub(super) fn server(files: &[&Path]) -> Builder {
    let files: Vec<String> = files.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    phoenix().env("PHOENIX_TLS_CERTIFICATES", files.join(","))
}

/// What a client is.
pub(super) struct Wanted<'a> {
    pub(super) trusts: &'a Authority,
    pub(super) versions: &'static [&'static SupportedProtocolVersion],
    pub(super) protocols: &'a [&'a [u8]],
    pub(super) shows: Option<&'a Issued>,
}

impl<'a> Wanted<'a> {
    /// A client that trusts this authority, and has nothing special.
    pub(super) fn new(trusts: &'a Authority) -> Self {
        Self { trusts, versions: &BOTH, protocols: &[], shows: None }
    }

    /// Its settings; clones of them share what is remembered of sessions.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts.0.der().clone())?;
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(self.versions)?
            .with_root_certificates(roots);
        let mut config = match self.shows {
            None => builder.with_no_client_auth(),
            Some(Issued { certificate, key }) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
                builder.with_client_auth_cert(vec![certificate.der().clone()], key)?
            }
        };
        config.alpn_protocols = self.protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

/// A connection with its handshake done.
pub(super) async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &'static str,
) -> Result<TlsStream<TcpStream>> {
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::clone(config))
            .connect(ServerName::try_from(name)?, stream)
            .await
            .map_err(Into::into)
    };
    tokio::time::timeout(BOUND, connecting).await.context("no handshake in time")?
}

/// The certificate that the server showed.
pub(super) fn shown(stream: &TlsStream<TcpStream>) -> Option<CertificateDer<'static>> {
    let (_, connection) = stream.get_ref();
    connection.peer_certificates()?.first().map(|leaf| leaf.clone().into_owned())
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    /// Everything the server sent.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (head, body) = text.split_once("\r\n\r\n").context("no whole head")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
    }

    /// The values of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(super) fn json(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.body)?)
    }
}

/// One request as the last one of the connection.
pub(super) async fn ask<S>(mut stream: S, head: &str, body: &str) -> Result<Answer>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let text = format!("{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let exchange = async {
        stream.write_all(text.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(BOUND, exchange).await.context("no answer in time")??;
    Answer::parse(&String::from_utf8_lossy(&answer))
}

/// `GET` on a connection of its own, for the host `a.example`.
pub(super) async fn get(
    server: &PhoenixProcess,
    config: &Arc<ClientConfig>,
    path: &str,
    token: Option<&str>,
) -> Result<Answer> {
    let stream = connect(server.address(), config, "a.example").await?;
    let bearer = token.map(|token| format!("\r\nAuthorization: Bearer {token}")).unwrap_or_default();
    ask(stream, &format!("GET {path} HTTP/1.1\r\nHost: a.example{bearer}"), "").await
}

/// Signs the administrator in.
pub(super) async fn sign_in(server: &PhoenixProcess, config: &Arc<ClientConfig>) -> Result<String> {
    let body = json!({"email": ADMIN, "password": PASSWORD, "transport": "bearer"}).to_string();
    let head = "POST /api/auth/login HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/json";
    let answer = ask(connect(server.address(), config, "a.example").await?, head, &body).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.json()?["token"].as_str().context("a token")?.to_owned())
}

/// What administrators see of HTTPS.
pub(super) async fn report(
    server: &PhoenixProcess,
    config: &Arc<ClientConfig>,
    token: &str,
) -> Result<Value> {
    let answer = get(server, config, "/api/phoenix/status", Some(token)).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.json()?["tls"].clone())
}
