//! A certificate and its key, as files: `fullchain.pem:privkey.pem`, or one file that holds both. Reads neither.

use serde_json::{Value as Json, json};

use super::{FilePath, text};
use crate::{
    setting::{Kind, Literal, Raw, Refusal},
    values::CertificateFiles,
};

/// Stands between the two files.
const SEPARATOR: char = ':';

const PATH: FilePath = FilePath { example: "" };

/// The path of a certificate and, after a colon, that of its key.
pub(crate) struct CertificatePair;

impl Kind<CertificateFiles> for CertificatePair {
    fn parse(&self, raw: &Raw<'_>) -> Result<CertificateFiles, Refusal> {
        let text = text(raw)?;
        let path = |what: &str, path: &str| {
            PATH.parse(&Raw::Text(path))
                .map_err(|refusal| Refusal::because(format!("in the {what}: {}", refusal.reason)))
        };
        match text.split_once(SEPARATOR) {
            Some((_, key)) if key.contains(SEPARATOR) => {
                Err(Refusal::because("it has more than one \":\" between the two files"))
            }
            Some((certificate, key)) => Ok(CertificateFiles {
                certificate: path("certificate", certificate)?,
                key: path("key", key)?,
            }),
            None => {
                let both = path("file", text)?;
                Ok(CertificateFiles { certificate: both.clone(), key: both })
            }
        }
    }

    fn show(&self, value: &CertificateFiles) -> Option<Literal> {
        let CertificateFiles { certificate, key } = value;
        let (certificate, key) = (certificate.to_string_lossy(), key.to_string_lossy());
        Some(Literal::Text(if certificate == key {
            certificate.into_owned()
        } else {
            format!("{certificate}{SEPARATOR}{key}")
        }))
    }

    fn describe(&self) -> String {
        "a PEM file with the certificate and, after a colon, one with its key: \
         \"/etc/phoenix/tls/fullchain.pem:/etc/phoenix/tls/privkey.pem\""
            .to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^[^:]+(:[^:]+)?$"})
    }
}
