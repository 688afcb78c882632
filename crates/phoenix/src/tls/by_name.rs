//! Which certificate a client is shown: one whose names fit what it asks for (SNI, RFC 6066 section 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;

/// Certificates by their names. At most as many as are configured.
#[derive(Debug)]
pub(crate) struct ByName {
    /// By exact name, in the order of the configuration.
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows the `*.`.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    all: Vec<Arc<CertifiedKey>>,
}

impl ByName {
    pub(crate) fn new<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> Self {
        let mut by_name = Self { exact: HashMap::new(), wildcard: HashMap::new(), all: Vec::new() };
        for Certificate { certified, facts } in certificates {
            by_name.all.push(Arc::clone(certified));
            for name in &facts.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut by_name.wildcard, parent),
                    None => (&mut by_name.exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_default().push(Arc::clone(certified));
            }
        }
        by_name
    }

    /// Whether a certificate has this name.
    pub(crate) fn covers(&self, name: &str) -> bool {
        !self.find(&name.to_ascii_lowercase()).is_empty()
    }

    /// Those for this name in lower case. A wildcard stands for exactly one label (RFC 6125 section 6.4.3).
    fn find(&self, name: &str) -> &[Arc<CertifiedKey>] {
        let by_wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(by_wildcard).map_or(&[], Vec::as_slice)
    }

    /// The first one for this name whose key the client can check; where no name fits, the first of all.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase);
        let fitting = name.map_or(&[][..], |name| self.find(&name));
        let candidates = if fitting.is_empty() { &self.all } else { fitting };
        let usable = candidates.iter().find(|candidate| candidate.key.choose_scheme(schemes).is_some());
        usable.or_else(|| candidates.first()).cloned()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use phoenix_auth::model::Timestamp;
    use phoenix_config::CertificateFiles;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
    use rustls::crypto::aws_lc_rs::default_provider;
    use zeroize::Zeroizing;

    use super::super::files::PairContent;
    use super::*;

    const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
    const RSA: SignatureScheme = SignatureScheme::RSA_PSS_SHA256;

    fn with_key(names: &[&str], key: &KeyPair) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).and_then(|params| params.self_signed(key));
        let files = CertificateFiles { certificate: "/c".into(), key: "/k".into() };
        let content = PairContent {
            certificate: Zeroizing::new(certificate.expect("a certificate").pem().into_bytes()),
            key: Zeroizing::new(key.serialize_pem().into_bytes()),
            is_key_public: false,
        };
        let now = Timestamp::from_millis(1_800_000_000_000);
        Certificate::parse(&files, &content, now, &default_provider()).expect("it is valid")
    }

    fn certificate(names: &[&str]) -> Certificate {
        with_key(names, &KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key"))
    }

    fn chosen(all: &[Certificate], name: Option<&str>, schemes: &[SignatureScheme]) -> usize {
        let chosen = ByName::new(all).choose(name, schemes).expect("there is one");
        all.iter().position(|one| Arc::ptr_eq(&one.certified, &chosen)).expect("it is one of them")
    }

    #[test]
    fn of_two_for_a_name_the_client_gets_one_that_it_can_check() {
        let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
        let all = [certificate(&["b.example"]), with_key(&["a.example"], &rsa), certificate(&["a.example"])];
        assert_eq!(chosen(&all, Some("a.example"), &[ECDSA, RSA]), 1, "in the order of the configuration");
        assert_eq!(chosen(&all, Some("a.example"), &[ECDSA]), 2);
        assert_eq!(chosen(&all, Some("c.example"), &[RSA]), 1, "nobody has the name");
        assert_eq!(chosen(&all, None, &[ECDSA, RSA]), 0);
        assert_eq!(chosen(&all, Some("a.example"), &[]), 1, "the handshake fails as the client wants it");
    }

    #[test]
    fn what_stands_in_a_certificate_is_read() {
        let facts = certificate(&["A.Example", "192.0.2.1", "*.b.example", "2001:db8::1"]).facts;
        assert_eq!(facts.names, ["a.example", "*.b.example", "192.0.2.1", "2001:db8::1"]);
        assert!(facts.not_before < facts.not_after);
        assert!(facts.serial.split(':').all(|byte| u8::from_str_radix(byte, 16).is_ok()), "{}", facts.serial);
    }

    /// Whether a name in a certificate is for a host (RFC 6125 section 6.4).
    fn fits(pattern: &str, host: &str) -> bool {
        match pattern.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
            None => pattern == host,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        // spec: G4
        #[test]
        fn an_exact_name_comes_before_a_wildcard_and_both_before_the_first(
            names in proptest::collection::vec("(\\*\\.)?[ab](\\.[ab]){1,2}", 1..5),
            host in "[abAB](\\.[ab]){1,3}",
        ) {
            let all: Vec<Certificate> = names.iter().map(|name| certificate(&[name])).collect();
            let lower = host.to_ascii_lowercase();
            let exact = names.iter().position(|name| *name == lower);
            let fitting = exact.or_else(|| names.iter().position(|name| fits(name, &lower)));
            prop_assert_eq!(chosen(&all, Some(&host), &[ECDSA]), fitting.unwrap_or(0));
            prop_assert_eq!(ByName::new(&all).covers(&host), fitting.is_some());
        }
    }
}
