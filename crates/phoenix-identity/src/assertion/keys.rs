//! Which keys sign now, and which are published: derived ones change by the clock, those from files by hand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use zeroize::Zeroizing;

use super::key::SigningKey;
use super::{AssertionError, ROTATIONS, derived, jwks};

/// Most keys from files. More than the one that signs and a few that did are of no use.
pub const MAX_ASSERTION_KEYS: usize = 16;

/// Where the keys of assertions come from.
pub struct AssertionKeys(Source);

enum Source {
    Derived { secret: Zeroizing<[u8; 32]>, rotation_seconds: u64 },
    Fixed(Arc<KeySet>),
}

/// What counts during one epoch.
pub(super) struct KeySet {
    /// Signs.
    pub(super) signer: SigningKey,
    /// All that are published.
    pub(super) jwks: Bytes,
}

impl AssertionKeys {
    /// Keys that follow from a secret and the time. The key before, the present and the next one are published.
    ///
    /// # Errors
    /// When the rotation is none of [`ROTATIONS`].
    pub fn derived(secret: [u8; 32], rotation: Duration) -> Result<Self, AssertionError> {
        let secret = Zeroizing::new(secret);
        if !ROTATIONS.contains(&rotation) {
            return Err(AssertionError::Rotation(rotation));
        }
        Ok(Self(Source::Derived { secret, rotation_seconds: rotation.as_secs() }))
    }

    /// Keys from PEM texts: the first signs, all are published.
    ///
    /// # Errors
    /// When a text is no key, or there are none or more than [`MAX_ASSERTION_KEYS`].
    pub fn from_pem<T: AsRef<[u8]>>(texts: &[T]) -> Result<Self, AssertionError> {
        if texts.len() > MAX_ASSERTION_KEYS {
            return Err(AssertionError::Count(texts.len()));
        }
        let mut keys = Vec::with_capacity(texts.len());
        for (number, text) in texts.iter().enumerate() {
            let key = SigningKey::from_pem(text.as_ref());
            keys.push(key.map_err(|refusal| AssertionError::Key(number, refusal))?);
        }
        let mut public = Vec::with_capacity(keys.len());
        for key in keys.iter().map(SigningKey::public) {
            if !public.contains(key) {
                public.push(key.clone());
            }
        }
        let jwks = jwks::json(&public);
        let signer = keys.into_iter().next().ok_or(AssertionError::Count(0))?;
        Ok(Self(Source::Fixed(Arc::new(KeySet { signer, jwks }))))
    }
}

impl fmt::Debug for AssertionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Derived { .. } => "AssertionKeys::Derived(..)",
            Source::Fixed(_) => "AssertionKeys::Fixed(..)",
        })
    }
}

/// The keys in force. Read by every request, without a lock.
pub(super) struct LiveKeys {
    in_force: ArcSwap<InForce>,
    /// Numbers given so far.
    numbers: AtomicU64,
}

struct InForce {
    source: Arc<AssertionKeys>,
    epoch: u64,
    keys: NumberedKeys,
}

/// Keys of an epoch under a number that no others of this process have, so that it tells them apart without holding them.
#[derive(Clone)]
pub(super) struct NumberedKeys {
    pub(super) number: u64,
    pub(super) set: Arc<KeySet>,
}

impl InForce {
    fn of(source: Arc<AssertionKeys>, unix_seconds: u64, numbers: &AtomicU64) -> Option<Self> {
        let epoch = source.epoch(unix_seconds);
        let set = match &source.0 {
            Source::Fixed(set) => Arc::clone(set),
            Source::Derived { secret, .. } => Arc::new(derived_set(secret, epoch)?),
        };
        let keys = NumberedKeys { number: numbers.fetch_add(1, Ordering::Relaxed), set };
        Some(Self { source, epoch, keys })
    }
}

fn derived_set(secret: &[u8; 32], epoch: u64) -> Option<KeySet> {
    let [before, signer, next] =
        [epoch.saturating_sub(1), epoch, epoch.saturating_add(1)].map(|epoch| derived::key(secret, epoch));
    let signer = signer?;
    let public = [signer.public(), before?.public(), next?.public()].map(Clone::clone);
    Some(KeySet { jwks: jwks::json(&public), signer })
}

impl AssertionKeys {
    fn epoch(&self, unix_seconds: u64) -> u64 {
        match &self.0 {
            Source::Derived { rotation_seconds, .. } => unix_seconds / rotation_seconds,
            Source::Fixed(_) => 0,
        }
    }
}

impl LiveKeys {
    pub(super) fn new(keys: AssertionKeys, unix_seconds: u64) -> Option<Self> {
        let numbers = AtomicU64::default();
        let in_force = ArcSwap::from_pointee(InForce::of(Arc::new(keys), unix_seconds, &numbers)?);
        Some(Self { in_force, numbers })
    }

    /// Puts others in force. Returns whether that worked.
    pub(super) fn replace(&self, keys: AssertionKeys, unix_seconds: u64) -> bool {
        let other = InForce::of(Arc::new(keys), unix_seconds, &self.numbers);
        other.map(|other| self.in_force.store(Arc::new(other))).is_some()
    }

    /// Those of a time.
    ///
    /// The first request of an epoch makes them, which takes less than a millisecond. Several may do so at once: all
    /// find the same. Should the library ever fail, the present ones go on: the next are tried again at once.
    pub(super) fn at(&self, unix_seconds: u64) -> NumberedKeys {
        let present = self.in_force.load();
        if present.source.epoch(unix_seconds) == present.epoch {
            return present.keys.clone();
        }
        let Some(next) = InForce::of(Arc::clone(&present.source), unix_seconds, &self.numbers) else {
            return present.keys.clone();
        };
        let keys = next.keys.clone();
        // Keys that were replaced meanwhile stay replaced.
        self.in_force.compare_and_swap(&present, Arc::new(next));
        keys
    }

    /// Whether the keys of this number are those of a time. Makes none.
    pub(super) fn are(&self, number: u64, unix_seconds: u64) -> bool {
        let present = self.in_force.load();
        present.keys.number == number && present.source.epoch(unix_seconds) == present.epoch
    }
}
