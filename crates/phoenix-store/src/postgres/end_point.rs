//! The channel binding `tls-server-end-point` (RFC 5929 section 4): a hash of the server's certificate, by the hash of
//! its signature. With it a password proves that nobody stands between, even one whose certificate would be trusted.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// DER tags.
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// 1.2.840.113549.1.1, the signatures of PKCS#1; the next byte says with which hash.
const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4, ECDSA; likewise.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];

/// The binding of this certificate (DER). `None` for signatures that do not name one hash, such as Ed25519 and
/// RSASSA-PSS: there is no binding for them.
pub(super) fn tls_server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_algorithm(certificate)?;
    let pkcs1 = algorithm.strip_prefix(PKCS1);
    let ecdsa = algorithm.strip_prefix(ECDSA);
    match (pkcs1, ecdsa) {
        // MD5 and SHA-1 are taken for SHA-256.
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Some(Sha256::digest(certificate).to_vec()),
        (Some([12]), _) | (_, Some([3, 3])) => Some(Sha384::digest(certificate).to_vec()),
        (Some([13]), _) | (_, Some([3, 4])) => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// The object identifier in `Certificate.signatureAlgorithm` (RFC 5280 section 4.1).
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (_to_be_signed, rest) = element(certificate, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    element(algorithm, OBJECT_IDENTIFIER).map(|(identifier, _)| identifier)
}

/// The content of the element that `bytes` begin with, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    if first == tag { rest.split_at_checked(length) } else { None }
}

#[cfg(test)]
mod tests {
    use phoenix_testkit::certificates::Authority;
    use proptest::prelude::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    use sha2::{Digest as _, Sha256};

    use super::tls_server_end_point;

    fn certificate() -> Vec<u8> {
        let leaf = Authority::new("private").issue_local();
        CertificateDer::from_pem_slice(leaf.certificate_pem.as_bytes()).expect("PEM").to_vec()
    }

    /// A certificate that has nothing but a signature algorithm.
    fn signed_with(identifier: &[u8]) -> Vec<u8> {
        let element = |tag: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).expect("short");
            [&[tag, length], content].concat()
        };
        let algorithm = element(0x30, &element(0x06, identifier));
        element(0x30, &[element(0x30, &[0; 5]), algorithm, element(0x03, &[0])].concat())
    }

    #[test]
    fn it_is_the_hash_that_the_signature_names() {
        let real = certificate();
        assert_eq!(tls_server_end_point(&real), Some(Sha256::digest(&real).to_vec()), "ECDSA with SHA-256");
        let rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
        let ecdsa = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
        for (identifier, length) in [
            ([&rsa[..], &[4]].concat(), Some(32)),
            ([&rsa[..], &[5]].concat(), Some(32)),
            ([&rsa[..], &[11]].concat(), Some(32)),
            ([&rsa[..], &[12]].concat(), Some(48)),
            ([&rsa[..], &[13]].concat(), Some(64)),
            ([&rsa[..], &[10]].concat(), None),
            ([&ecdsa[..], &[1]].concat(), Some(32)),
            ([&ecdsa[..], &[3, 2]].concat(), Some(32)),
            ([&ecdsa[..], &[3, 3]].concat(), Some(48)),
            ([&ecdsa[..], &[3, 4]].concat(), Some(64)),
            (vec![0x2b, 0x65, 0x70], None),
            (vec![], None),
        ] {
            let binding = tls_server_end_point(&signed_with(&identifier));
            assert_eq!(binding.map(|binding| binding.len()), length, "{identifier:x?}");
        }
    }

    #[test]
    fn a_certificate_cut_short_has_none() {
        let real = certificate();
        for length in 0..real.len() {
            assert_eq!(tls_server_end_point(&real[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = tls_server_end_point(&bytes);
        }
    }
}
