//! Signs who callers are, with keys that follow from the secret of the installation or stand in files.
//!
//! Owns the files of keys: reading them at the start, and again on SIGHUP. The keys themselves, tokens and claims are
//! `phoenix_identity::assertion`'s.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use bytes::Bytes;
use phoenix_http::gateway::{Assertion, AssertionStamp, Assertions, Subject};
use phoenix_identity::assertion::{
    self, AssertionError, AssertionKeys, AssertionMint, AssertionSubject, MAX_ASSERTION_KEYS,
};
use zeroize::Zeroizing;

/// Largest file that holds a key, in bytes. One of P-256 takes about 250.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// How assertions are made.
#[derive(Clone, Debug)]
pub struct AssertionSettings {
    /// `iss`: the public address, or `phoenix`.
    pub issuer: String,
    /// How long one counts.
    pub lifetime: Duration,
    /// How long a derived key signs.
    pub rotation: Duration,
    /// Files with a key each, of which the first signs; none if keys are to follow from the secret.
    pub key_files: Vec<PathBuf>,
}

/// Signs who callers are.
pub struct AssertionSigner {
    mint: AssertionMint,
}

impl AssertionSigner {
    /// Reads the files, if there are any; `secret` is `KeyRing::assertion_secret` and used if there are none. Blocks
    /// while it reads.
    ///
    /// # Errors
    /// When a file cannot be used; the message names it and says what would do. When a time cannot be used.
    pub fn new(settings: &AssertionSettings, secret: [u8; 32], now: SystemTime) -> anyhow::Result<Self> {
        let keys = if settings.key_files.is_empty() {
            AssertionKeys::derived(secret, settings.rotation)?
        } else {
            read(&settings.key_files)?
        };
        Ok(Self { mint: AssertionMint::new(keys, &settings.issuer, settings.lifetime, now)? })
    }

    /// Reads the files again and puts their keys in force, all of them or none. Without files nothing changes: a
    /// change from one kind of keys to the other takes a start. Blocks while it reads.
    ///
    /// # Errors
    /// As [`AssertionSigner::new`]. The keys before stay in force.
    pub fn reload(&self, key_files: &[PathBuf], now: SystemTime) -> anyhow::Result<()> {
        if key_files.is_empty() {
            return Ok(());
        }
        self.mint.replace_keys(read(key_files)?, now)?;
        tracing::info!(files = key_files.len(), "keys of assertions read again");
        Ok(())
    }

    /// [`AssertionSigner::reload`], with an error in the log instead of a result.
    pub fn reload_or_log(&self, key_files: &[PathBuf], now: SystemTime) {
        if let Err(error) = self.reload(key_files, now) {
            tracing::error!(?error, "the keys of assertions cannot be used; the ones before go on");
        }
    }
}

impl Assertions for AssertionSigner {
    fn assertion(&self, subject: Subject<'_>, audience: &str, now: SystemTime) -> Option<Assertion> {
        let subject = AssertionSubject {
            user: subject.user.as_uuid(),
            session: subject.session.as_uuid(),
            email: subject.email,
            email_verified: subject.email_verified,
            role: subject.role,
        };
        let assertion::Assertion { value, stamp } = self.mint.assertion(&subject, audience, now)?;
        let assertion::AssertionStamp { keys, issued_at, reusable_for } = stamp;
        let stamp = AssertionStamp { keys, issued_at, reusable_for };
        Some(Assertion { value, stamp })
    }

    fn serves(&self, stamp: AssertionStamp, now: SystemTime) -> bool {
        let AssertionStamp { keys, issued_at, reusable_for } = stamp;
        let stamp = assertion::AssertionStamp { keys, issued_at, reusable_for };
        self.mint.serves(stamp, now)
    }

    fn jwks(&self, now: SystemTime) -> Bytes {
        self.mint.jwks(now)
    }
}

/// The keys in the files, the first of which signs.
fn read(files: &[PathBuf]) -> anyhow::Result<AssertionKeys> {
    // Before so many are read.
    ensure!(
        files.len() <= MAX_ASSERTION_KEYS,
        "there are {} files of keys for assertions; name at most {MAX_ASSERTION_KEYS}, the one that signs first",
        files.len()
    );
    let texts = files.iter().map(|path| read_file(path)).collect::<anyhow::Result<Vec<_>>>()?;
    AssertionKeys::from_pem(&texts).map_err(|error| match error {
        AssertionError::Key(number, refusal) => {
            let file = files.get(number).map_or_else(String::new, |file| file.display().to_string());
            anyhow::Error::new(refusal).context(format!("{file} has no key for assertions"))
        }
        other => other.into(),
    })
}

fn read_file(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let shown = path.display();
    let unreadable = || {
        format!(
            "cannot read the key for assertions {shown}; name a PEM file that exists and that the user of this \
             process may read, or unset the setting to have keys derived"
        )
    };
    // A pipe would block when it is opened, hence the look before.
    let is_file = fs::metadata(path).with_context(unreadable)?.is_file();
    ensure!(is_file, "the key for assertions {shown} is not a file; name a PEM file");
    let file = File::open(path).with_context(unreadable)?;
    let metadata = file.metadata().with_context(unreadable)?;
    ensure!(
        is_protected(&metadata),
        "the key for assertions {shown} has mode {:04o}, so others than its owner can read or change it; \
         run `chmod 600 {shown}`",
        metadata.mode() & 0o7777
    );
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    file.take(MAX_KEY_FILE_BYTES + 1).read_to_end(&mut text).with_context(unreadable)?;
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    ensure!(
        length <= MAX_KEY_FILE_BYTES,
        "the key for assertions {shown} is larger than {MAX_KEY_FILE_BYTES} bytes; name a PEM file with one key"
    );
    Ok(text)
}

fn is_protected(metadata: &Metadata) -> bool {
    mode_protects(metadata.mode(), metadata.uid())
}

/// Whether only the owner has access. Of a file of root's the group may read it, as Kubernetes mounts secrets for
/// processes that are not root (`fsGroup`); PostgreSQL has the same rule.
pub(crate) const fn mode_protects(mode: u32, owner: u32) -> bool {
    let allowed_to_others = if owner == 0 { 0o040 } else { 0 };
    mode & 0o077 & !allowed_to_others == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::UNIX_EPOCH;

    use phoenix_auth::model::{SessionId, UserId};
    use uuid::Uuid;

    use super::*;

    const P256: &str = include_str!("../../../phoenix-identity/src/assertion/tests/data/p256.pem");
    const OTHER: &str = include_str!("../../../phoenix-identity/src/assertion/tests/data/p256-sec1.pem");
    const P384: &str = include_str!("../../../phoenix-identity/src/assertion/tests/data/p384.pem");

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_hours(498_720)
    }

    fn settings(key_files: &[&Path]) -> AssertionSettings {
        AssertionSettings {
            issuer: "phoenix".to_owned(),
            lifetime: Duration::from_mins(1),
            rotation: Duration::from_hours(1),
            key_files: key_files.iter().map(|path| path.to_path_buf()).collect(),
        }
    }

    fn signer(files: &[&Path]) -> anyhow::Result<AssertionSigner> {
        AssertionSigner::new(&settings(files), [7; 32], now())
    }

    fn write(folder: &tempfile::TempDir, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        path
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    /// The whole of an error, as it is shown at the start.
    fn refusal(path: &Path) -> String {
        signer(&[path]).map_or_else(|error| format!("{error:#}"), |_| "taken".to_owned())
    }

    #[test]
    fn keys_come_from_files_or_from_the_secret() {
        let folder = folder();
        let file = write(&folder, "key.pem", P256, 0o600);
        let (derived, read) = (signer(&[]).expect("derived"), signer(&[&file]).expect("read"));
        assert_ne!(derived.jwks(now()), read.jwks(now()));
        let subject = Subject {
            user: UserId::from_uuid(Uuid::from_u128(1)),
            session: SessionId::from_uuid(Uuid::from_u128(2)),
            email: Some("ada@example.com"),
            email_verified: true,
            role: "user",
        };
        for signer in [derived, read] {
            let value = signer.assertion(subject, "app", now()).expect("an assertion").value;
            assert_eq!(value.to_str().expect("ASCII").split('.').count(), 3);
        }
    }

    #[test]
    fn every_refusal_names_the_file_and_what_would_do() {
        let folder = folder();
        let long = P256.repeat(400);
        let cases = [
            (folder.path().join("missing.pem"), "name a PEM file that exists"),
            (folder.path().to_path_buf(), "is not a file; name a PEM file"),
            (write(&folder, "world.pem", P256, 0o604), "has mode 0604"),
            (write(&folder, "group.pem", P256, 0o620), "run `chmod 600"),
            (write(&folder, "curve.pem", P384, 0o600), "openssl genpkey"),
            (write(&folder, "empty.pem", "", 0o600), "no private key in PEM form"),
            (write(&folder, "long.pem", &long, 0o600), "larger than 65536 bytes"),
        ];
        for (path, words) in cases {
            let refusal = refusal(&path);
            assert!(refusal.contains(words), "{refusal}");
            assert!(refusal.contains(&path.display().to_string()), "{refusal}");
            assert!(!refusal.contains("MIG"), "{refusal}");
        }
    }

    #[test]
    fn the_second_of_two_files_is_named_when_it_is_wrong() {
        let folder = folder();
        let (right, wrong) = (write(&folder, "a.pem", P256, 0o600), write(&folder, "b.pem", P384, 0o600));
        let refusal = signer(&[&right, &wrong]).map(|_| ()).expect_err("refused").to_string();
        assert!(refusal.contains("b.pem") && !refusal.contains("a.pem"), "{refusal}");
    }

    #[test]
    fn more_files_than_are_of_use_are_refused_unread() {
        let nowhere = Path::new("/nowhere");
        let refusal = signer(&[nowhere; 17]).map(|_| ()).expect_err("refused").to_string();
        assert!(refusal.contains("17 files"), "{refusal}");
    }

    #[test]
    fn files_that_became_wrong_leave_the_keys_before_in_force() {
        let folder = folder();
        let file = write(&folder, "key.pem", P256, 0o600);
        let files = vec![file.clone()];
        let signer = signer(&[&file]).expect("read");
        let before = signer.jwks(now());
        write(&folder, "key.pem", "garbage", 0o600);
        assert!(signer.reload(&files, now()).is_err());
        signer.reload_or_log(&files, now());
        assert_eq!(signer.jwks(now()), before);
        write(&folder, "key.pem", OTHER, 0o600);
        signer.reload(&files, now()).expect("read again");
        assert_ne!(signer.jwks(now()), before);
    }

    #[test]
    fn only_the_owner_has_access_or_the_group_of_a_file_of_roots() {
        for (mode, owner, expected) in [
            (0o100_600, 1000, true),
            (0o100_400, 1000, true),
            (0o100_700, 1000, true),
            (0o100_640, 1000, false),
            (0o100_604, 1000, false),
            (0o100_640, 0, true),
            (0o100_440, 0, true),
            (0o100_660, 0, false),
            (0o100_644, 0, false),
            (0o100_601, 0, false),
        ] {
            assert_eq!(mode_protects(mode, owner), expected, "{mode:o} of {owner}");
        }
    }
}
