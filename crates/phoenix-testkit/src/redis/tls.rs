//! Redis servers that speak TLS, on a port beside the plain one that the test kit's own commands use.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};

use super::{Builder, Redis};
use crate::certificates::{Authority, Leaf};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITY: &str = "tls-ca.crt";

impl Builder {
    /// Speaks TLS with this certificate. What it connects to itself, a master or nodes of its cluster, it reaches under
    /// TLS too, and verifies by the authority.
    #[must_use]
    pub fn tls(mut self, leaf: Leaf, authority: &Authority) -> Self {
        self.tls = Some((leaf, authority.pem()));
        self
    }
}

impl Redis {
    /// Address of the TLS port for a client. `host` must be a name or an address of this machine.
    ///
    /// # Panics
    /// Without TLS.
    #[must_use]
    pub fn tls_url(&self, host: &str) -> String {
        assert!(self.tls_port != 0, "this server does not speak TLS");
        let password = self.options.password.as_ref().map_or_else(String::new, |word| format!(":{word}@"));
        format!("rediss://{password}{host}:{}", self.tls_port)
    }

    /// 127.0.0.1 and the TLS port; port 0 without TLS.
    #[must_use]
    pub fn tls_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.tls_port))
    }

    /// Shows this certificate to new connections from now on.
    ///
    /// # Errors
    /// When the server does not answer or refuses the certificate.
    pub fn change_certificate(&self, leaf: &Leaf, authority: &Authority) -> Result<()> {
        self.write_certificates(leaf, &authority.pem())?;
        let path = self.path(CERTIFICATE)?;
        self.command(&["CONFIG", "SET", "tls-cert-file", &path]).context("load the certificate")?;
        Ok(())
    }

    pub(super) fn write_certificates(&self, leaf: &Leaf, authority: &str) -> Result<()> {
        let contents = [(CERTIFICATE, &*leaf.certificate_pem), (KEY, &leaf.key_pem), (AUTHORITY, authority)];
        for (name, text) in contents {
            fs::write(self.guardian.directory().join(name), text).context("write a certificate")?;
        }
        Ok(())
    }

    pub(super) fn tls_settings(&self) -> Vec<(&'static str, String)> {
        if self.options.tls.is_none() {
            return Vec::new();
        }
        let path = |name| self.path(name).unwrap_or_default();
        let mut settings = vec![
            ("tls-port", self.tls_port.to_string()),
            ("tls-cert-file", path(CERTIFICATE)),
            ("tls-key-file", path(KEY)),
            ("tls-ca-cert-file", path(AUTHORITY)),
            ("tls-auth-clients", "no".to_owned()),
            ("tls-replication", "yes".to_owned()),
        ];
        if self.options.sentinel.is_none() {
            settings.push(("tls-cluster", "yes".to_owned()));
        }
        settings
    }

    fn path(&self, name: &str) -> Result<String> {
        let path = self.guardian.directory().join(name);
        Ok(path.to_str().context("the directory's name is not UTF-8")?.to_owned())
    }
}
