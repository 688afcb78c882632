//! Files of certificates, keys and authorities: read with a bound, told apart by their content. Does not own what is in
//! them (`certificate.rs`, `authorities.rs`) or when they are read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use phoenix_auth::model::Timestamp;
use phoenix_config::CertificateFiles;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

/// Largest file in bytes. A chain has a few thousand.
const MAX_BYTES: u64 = 1024 * 1024;
/// Mode bit: everybody on the machine may read.
const READABLE_BY_ALL: u32 = 0o004;

/// Why files cannot be used.
#[derive(Debug, Error)]
pub(crate) enum Unusable {
    /// The system does not give them.
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// Longer than 1 MiB.
    #[error("{} is larger than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    /// No `BEGIN CERTIFICATE`.
    #[error("{} holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    /// What stands there cannot be parsed.
    #[error("certificate {} in {} is broken", .1, .0.display())]
    BrokenCertificate(PathBuf, usize),
    /// No `BEGIN PRIVATE KEY`.
    #[error("{} holds no private key in PEM form", .0.display())]
    NoKey(PathBuf),
    /// It needs a password.
    #[error("the private key in {} is encrypted", .0.display())]
    EncryptedKey(PathBuf),
    /// No kind of key that can sign.
    #[error("the private key in {} is of no kind that can be used", .0.display())]
    StrangeKey(PathBuf),
    /// Two that do not belong together.
    #[error("the private key in {} does not belong to the first certificate in {}", .key.display(), .certificate.display())]
    Mismatch {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
    },
    /// Its time is over.
    #[error("the certificate in {} expired at {}", .0.display(), .1)]
    Expired(PathBuf, Timestamp),
    /// Its time has not come.
    #[error("the certificate in {} is not valid before {}", .0.display(), .1)]
    NotYetValid(PathBuf, Timestamp),
    /// An authority that cannot vouch for anybody.
    #[error("certificate {} in {} cannot be an authority", .1, .0.display())]
    NoAuthority(PathBuf, usize),
}

impl Unusable {
    /// What would do.
    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable(..) => "name a file that the user who runs Phoenix may read",
            Self::TooLarge(_) => "name a PEM file with a certificate, its chain or its key, and nothing else",
            Self::NoCertificate(_) => "name a PEM file that begins with -----BEGIN CERTIFICATE-----",
            Self::BrokenCertificate(..) => "fetch the file again from whoever issued the certificate",
            Self::NoKey(_) => {
                "name the PEM file with the private key after a colon: /path/fullchain.pem:/path/privkey.pem"
            }
            Self::EncryptedKey(_) => "store it without a password: openssl pkey -in old.pem -out new.pem",
            Self::StrangeKey(_) => {
                "use an ECDSA key on P-256 or P-384, an Ed25519 key, or an RSA key of 2048 bits"
            }
            Self::Mismatch { .. } => {
                "name the two files that were issued together, and put the server's certificate first in its file"
            }
            Self::Expired(..) => "renew the certificate",
            Self::NotYetValid(..) => "set this machine's clock, or use the certificate that is valid now",
            Self::NoAuthority(..) => "name a PEM file with the certificates of authorities only",
        }
    }

    /// The reason with what the system says.
    pub(crate) fn in_full(&self) -> String {
        match self {
            Self::Unreadable(_, source) => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }
}

/// Tells contents apart.
pub(crate) type Fingerprint = [u8; 32];

/// A certificate's file and its key's.
pub(crate) struct PairContent {
    pub(crate) certificate: Zeroizing<Vec<u8>>,
    pub(crate) key: Zeroizing<Vec<u8>>,
    /// Everybody on the machine may read the key.
    pub(crate) is_key_public: bool,
}

impl PairContent {
    /// Reads both.
    pub(crate) fn read(files: &CertificateFiles) -> Result<Self, Unusable> {
        let (certificate, mut mode) = read(&files.certificate)?;
        let key = if files.key == files.certificate {
            certificate.clone()
        } else {
            let (key, mode_of_key) = read(&files.key)?;
            mode = mode_of_key;
            key
        };
        Ok(Self { certificate, key, is_key_public: mode & READABLE_BY_ALL != 0 })
    }
}

/// What was read, to compare with what was read before: contents, or why there is none.
pub(crate) trait Fingerprinted {
    /// The same for the same content.
    fn fingerprint(&self) -> Fingerprint;
}

impl Fingerprinted for PairContent {
    fn fingerprint(&self) -> Fingerprint {
        let parts = [&*self.certificate, &*self.key];
        Sha256::digest(parts.map(Sha256::digest).concat()).into()
    }
}

impl Fingerprinted for Vec<u8> {
    fn fingerprint(&self) -> Fingerprint {
        Sha256::digest(self).into()
    }
}

impl<T: Fingerprinted> Fingerprinted for Result<T, Unusable> {
    fn fingerprint(&self) -> Fingerprint {
        match self {
            Ok(content) => content.fingerprint(),
            Err(error) => Sha256::digest(error.in_full()).into(),
        }
    }
}

/// The whole file and its mode.
pub(crate) fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), Unusable> {
    let read = || {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok((bytes, mode))
    };
    let (bytes, mode) = read().map_err(|source| Unusable::Unreadable(path.to_owned(), source))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Unusable::TooLarge(path.to_owned()));
    }
    Ok((bytes, mode))
}
