//! Certificates for servers and clients that tests play: private authorities, and what they issue.

use std::net::Ipv4Addr;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// A private authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS#8 PEM.
    pub key_pem: String,
}

impl Authority {
    /// An authority with a key of its own (ECDSA P-256), valid from 2025 to 2099.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, key());
        Self { issuer: issuer.unwrap_or_else(|error| panic!("a certificate of an authority: {error}")) }
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Its own certificate with its key, as if it were a server.
    #[must_use]
    pub fn as_leaf(&self) -> Leaf {
        Leaf { certificate_pem: self.issuer.pem(), key_pem: self.issuer.key().serialize_pem() }
    }

    /// A certificate for these names and addresses, valid from 2025 to 2099. Of none, one for a client.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Leaf {
        self.sign(&params(names))
    }

    /// One for 127.0.0.1 and localhost, where test servers are.
    #[must_use]
    pub fn issue_local(&self) -> Leaf {
        self.issue(&[&Ipv4Addr::LOCALHOST.to_string(), "localhost"])
    }

    /// A certificate for a client with this common name.
    #[must_use]
    pub fn issue_client(&self, common_name: &str) -> Leaf {
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, common_name);
        self.sign(&params)
    }

    /// One that ended in 2025.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Leaf {
        let mut params = params(names);
        params.not_after = date_time_ymd(2025, 2, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Leaf {
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer);
        let certificate = certificate.unwrap_or_else(|error| panic!("a certificate: {error}"));
        Leaf { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap_or_else(|error| panic!("a key: {error}"))
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params =
        CertificateParams::new(names).unwrap_or_else(|error| panic!("names of a certificate: {error}"));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    params
}
