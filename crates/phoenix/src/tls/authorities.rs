//! The authorities whose client certificates administrators show.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::certificate::chain;
use super::files::Unusable;

/// Checks client certificates.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    pub(crate) verifier: Arc<dyn ClientCertVerifier>,
    /// How many there are.
    pub(crate) count: usize,
}

impl Authorities {
    /// Understands the content of a file. A client that shows no certificate is let in: it may be no administrator.
    pub(crate) fn parse(path: &Path, bytes: &[u8], provider: &Arc<CryptoProvider>) -> Result<Self, Unusable> {
        let chain = chain(path, bytes)?;
        let mut roots = RootCertStore::empty();
        for (index, certificate) in chain.into_iter().enumerate() {
            let refused = |_reason| Unusable::NoAuthority(path.to_owned(), index + 1);
            roots.add(certificate).map_err(refused)?;
        }
        let count = roots.len();
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = builder.allow_unauthenticated().build();
        let verifier = verifier.map_err(|_reason| Unusable::NoAuthority(path.to_owned(), 1))?;
        Ok(Self { verifier, count })
    }
}
