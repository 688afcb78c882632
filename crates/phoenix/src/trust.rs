//! Whom outgoing connections trust: Mozilla's list, and the authorities in `tls.trust_file`. The same for the database,
//! Redis, identity providers and the application behind the gateway.
//!
//! Read once, at the start: what comes into the file later counts after a restart.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use phoenix_config::Config;
use phoenix_store::tls::Authorities;
use rustls::ClientConfig;

/// Largest file, in bytes: some 500 certificates.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The authorities.
///
/// # Errors
/// When the file cannot be read or holds something else; the message names it.
pub fn authorities(config: &Config) -> anyhow::Result<Authorities> {
    let Some(text) = additional(config)? else { return Ok(Authorities::mozilla()) };
    let path = config.tls.trust_file.as_deref().unwrap_or(std::path::Path::new(""));
    Authorities::mozilla()
        .with_pem(text.as_bytes())
        .with_context(|| format!("PHOENIX_TRUST_FILE names {}, which cannot be used", path.display()))
}

/// For clients of their own: verifies chain and name, and has no ALPN set.
///
/// # Errors
/// As [`authorities`].
pub fn client_config(config: &Config) -> anyhow::Result<Arc<ClientConfig>> {
    Ok(authorities(config)?.client_config()?)
}

/// Likewise, with the authorities in one more file.
///
/// # Errors
/// As [`authorities`], and when that file cannot be used.
pub(crate) fn client_config_with(config: &Config, ca_file: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let text = read(ca_file, "gateway.ca_file")?;
    let with_file = authorities(config)?.with_pem(text.as_bytes());
    let named = || format!("gateway.ca_file names {}, which cannot be used", ca_file.display());
    Ok(with_file.with_context(named)?.client_config()?)
}

/// The text of `tls.trust_file`, if one is set.
pub(crate) fn additional(config: &Config) -> anyhow::Result<Option<String>> {
    config.tls.trust_file.as_deref().map(|path| read(path, "PHOENIX_TRUST_FILE")).transpose()
}

fn read(path: &Path, setting: &str) -> anyhow::Result<String> {
    let named = || format!("{setting} names {}, which cannot be read", path.display());
    let mut text = Vec::new();
    let file = File::open(path).with_context(named)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).with_context(named)?;
    ensure!(
        u64::try_from(text.len()).is_ok_and(|length| length <= MAX_FILE_BYTES),
        "{setting} names {}, which is larger than {MAX_FILE_BYTES} bytes",
        path.display()
    );
    // PEM is ASCII, and what stands between certificates is not looked at.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use phoenix_config::{Sources, load};
    use phoenix_testkit::certificates::Authority;

    use super::*;

    fn config(path: Option<&std::path::Path>) -> Config {
        let path = path.and_then(|path| path.to_str()).unwrap_or_default();
        load(&Sources::default().with_env("PHOENIX_TRUST_FILE", path)).expect("valid").config
    }

    #[test]
    fn the_file_adds_to_the_list() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trust.pem");
        std::fs::write(&path, format!("# ours\n{}", Authority::new("ours").pem())).expect("written");
        assert!(authorities(&config(None)).expect("Mozilla's").is_mozilla());
        assert_eq!(authorities(&config(Some(&path))).expect("good").added(), 1);
        let client = client_config(&config(Some(&path))).expect("good");
        assert!(client.alpn_protocols.is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trust.pem");
        let refusal = || format!("{:#}", authorities(&config(Some(&path))).expect_err("refused"));
        assert!(refusal().contains("trust.pem"), "missing: {}", refusal());
        for text in ["", "no certificate"] {
            std::fs::write(&path, text).expect("written");
            assert!(refusal().contains("trust.pem") && refusal().contains("no certificate"), "{}", refusal());
        }
        std::fs::write(&path, "x".repeat(usize::try_from(MAX_FILE_BYTES).expect("small") + 1))
            .expect("written");
        assert!(refusal().contains("larger"), "{}", refusal());
    }
}
