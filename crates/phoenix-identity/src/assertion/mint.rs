//! Makes assertions, and hands out one again while enough of its life is left: a signature costs about 20 us, more
//! than all else that Phoenix does for a request.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderValue;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Equivalent, Weighter};
use serde::Serialize;
use uuid::Uuid;

use super::keys::{AssertionKeys, KeySet, LiveKeys};
use super::{AssertionError, LIFETIMES};

/// Most memory for assertions that may be used again, in bytes. Beyond it those least worth keeping go first, and are
/// signed anew when they are asked for.
pub const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// An assertion and what belongs to it, usually, in bytes.
const TYPICAL_BYTES: u64 = 1024;
/// What is kept besides texts: key, slot, counts of references, in bytes.
const OVERHEAD_BYTES: usize = 320;

/// Whom an assertion is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AssertionSubject<'a> {
    /// The user's id: `sub`.
    pub user: Uuid,
    /// The session's id: `sid`.
    pub session: Uuid,
    /// The user's e-mail address, if one is known: `email`.
    pub email: Option<&'a str>,
    /// Whether it is verified: `email_verified`.
    pub email_verified: bool,
    /// The user's role: `role`.
    pub role: &'a str,
}

/// An assertion, and when it was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assertion {
    /// The token, as the value of a header.
    pub value: HeaderValue,
    /// Says whether it may be handed out again.
    pub stamp: AssertionStamp,
}

/// When an assertion was made, and with which keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AssertionStamp {
    /// Number of the keys in this process.
    pub keys: u64,
    /// `iat`: seconds since 1970.
    pub issued_at: u64,
    /// So many seconds it may be handed out again: from a quarter to half of its life, other for each session. What was
    /// made at one moment, after a start for example, is not made anew at one moment.
    pub reusable_for: u64,
}

/// Makes assertions. Shared by all requests.
pub struct AssertionMint {
    keys: LiveKeys,
    issuer: String,
    lifetime_seconds: u64,
    cache: Cache<Place, Arc<Kept>, ByBytes>,
    signed: AtomicU64,
}

/// The claims (RFC 7519 section 4). There is no `jti`, because an assertion is used for several requests, and no
/// `nbf`, because clocks a little behind ours must not refuse it.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: Uuid,
    sid: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    email_verified: bool,
    role: &'a str,
    iat: u64,
    exp: u64,
}

/// Where an assertion is kept.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    session: Uuid,
    audience: Box<str>,
}

/// The same, borrowed: hashes like a [`Place`].
#[derive(Hash)]
struct Wanted<'a> {
    session: Uuid,
    audience: &'a str,
}

impl Equivalent<Place> for Wanted<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        self.session == place.session && *self.audience == *place.audience
    }
}

/// An assertion that may be used again for the same subject, with everything that must be the same.
struct Kept {
    assertion: Assertion,
    user: Uuid,
    email: Option<Box<str>>,
    email_verified: bool,
    role: Box<str>,
}

impl Kept {
    /// Whether it says what would be said now.
    fn says(&self, subject: &AssertionSubject<'_>) -> bool {
        self.user == subject.user
            && self.email_verified == subject.email_verified
            && self.email.as_deref() == subject.email
            && *self.role == *subject.role
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Place, Arc<Kept>> for ByBytes {
    fn weight(&self, place: &Place, kept: &Arc<Kept>) -> u64 {
        let texts = place.audience.len()
            + kept.email.as_deref().map_or(0, str::len)
            + kept.role.len()
            + kept.assertion.value.len();
        u64::try_from(texts + OVERHEAD_BYTES).unwrap_or(u64::MAX)
    }
}

/// One from the future is of a clock that was set back.
fn is_young(stamp: AssertionStamp, now: u64) -> bool {
    now.checked_sub(stamp.issued_at).is_some_and(|age| age <= stamp.reusable_for)
}

impl AssertionMint {
    /// Assertions of `issuer` (`iss`) that count for `lifetime`, in whole seconds.
    ///
    /// # Errors
    /// When the lifetime is none of [`LIFETIMES`], or no key can be made.
    pub fn new(
        keys: AssertionKeys,
        issuer: &str,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Self, AssertionError> {
        if !LIFETIMES.contains(&lifetime) {
            return Err(AssertionError::Lifetime(lifetime));
        }
        let typical_entries = usize::try_from(CACHE_BYTES / TYPICAL_BYTES).unwrap_or(usize::MAX);
        Ok(Self {
            keys: LiveKeys::new(keys, unix_seconds(now)).ok_or(AssertionError::Derivation)?,
            issuer: issuer.to_owned(),
            lifetime_seconds: lifetime.as_secs(),
            cache: Cache::with(
                typical_entries,
                CACHE_BYTES,
                ByBytes,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            signed: AtomicU64::new(0),
        })
    }

    /// Puts other keys in force. Assertions signed with the ones before are not handed out any more.
    ///
    /// # Errors
    /// When no key can be made; then the ones before stay.
    pub fn replace_keys(&self, keys: AssertionKeys, now: SystemTime) -> Result<(), AssertionError> {
        if self.keys.replace(keys, unix_seconds(now)) { Ok(()) } else { Err(AssertionError::Derivation) }
    }

    /// An assertion about `subject` for `audience` (`aud`), which counts at `now` and for at least half the lifetime
    /// more. `None` only if the library fails.
    ///
    /// It says what Phoenix knew when the request was authenticated; call it for authenticated requests only. Takes no
    /// memory when one is at hand. Who keeps it asks [`AssertionMint::serves`] before handing it out again.
    #[must_use]
    pub fn assertion(
        &self,
        subject: &AssertionSubject<'_>,
        audience: &str,
        now: SystemTime,
    ) -> Option<Assertion> {
        let now = unix_seconds(now);
        let keys = self.keys.at(now);
        let wanted = Wanted { session: subject.session, audience };
        if let Some(kept) = self.cache.get(&wanted)
            && kept.assertion.stamp.keys == keys.number
            && is_young(kept.assertion.stamp, now)
            && kept.says(subject)
        {
            return Some(kept.assertion.clone());
        }
        let value = self.sign(subject, audience, &keys.set, now)?;
        let assertion = Assertion {
            value,
            stamp: AssertionStamp {
                keys: keys.number,
                issued_at: now,
                reusable_for: self.reusable_for(subject.session),
            },
        };
        let kept = Kept {
            assertion: assertion.clone(),
            user: subject.user,
            email: subject.email.map(Into::into),
            email_verified: subject.email_verified,
            role: subject.role.into(),
        };
        self.cache.insert(Place { session: subject.session, audience: audience.into() }, Arc::new(kept));
        Some(assertion)
    }

    /// Whether an assertion with this stamp may be handed out again at `now`, for the same subject and audience: the
    /// keys are the same, and it is young enough; then at least half its life is left.
    #[must_use]
    pub fn serves(&self, stamp: AssertionStamp, now: SystemTime) -> bool {
        let now = unix_seconds(now);
        is_young(stamp, now) && self.keys.are(stamp.keys, now)
    }

    fn reusable_for(&self, session: Uuid) -> u64 {
        let (_, low) = session.as_u64_pair();
        let quarter = self.lifetime_seconds / 4;
        quarter + low % (self.lifetime_seconds / 2 - quarter + 1)
    }

    fn sign(
        &self,
        subject: &AssertionSubject<'_>,
        audience: &str,
        keys: &KeySet,
        now: u64,
    ) -> Option<HeaderValue> {
        let claims = Claims {
            iss: &self.issuer,
            aud: audience,
            sub: subject.user,
            sid: subject.session,
            email: subject.email,
            email_verified: subject.email_verified,
            role: subject.role,
            iat: now,
            exp: now.saturating_add(self.lifetime_seconds),
        };
        let payload = serde_json::to_vec(&claims).ok()?;
        let mut value = HeaderValue::try_from(keys.signer.token(&payload)?).ok()?;
        // Not shown where headers are printed, and not kept in tables of HTTP/2 (RFC 7541 section 7.1).
        value.set_sensitive(true);
        self.signed.fetch_add(1, Ordering::Relaxed);
        Some(value)
    }

    /// The public keys (RFC 7517) of a time as JSON text: first the one that signs. An application that fetched them
    /// up to one rotation before or after an assertion was made finds its key.
    #[must_use]
    pub fn jwks(&self, now: SystemTime) -> Bytes {
        self.keys.at(unix_seconds(now)).set.jwks.clone()
    }

    /// Assertions signed since the start.
    #[must_use]
    pub fn signed(&self) -> u64 {
        self.signed.load(Ordering::Relaxed)
    }

    /// Memory taken by assertions that may be used again, in bytes. At most [`CACHE_BYTES`].
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        self.cache.weight()
    }
}

/// Seconds since 1970; a time before that is 1970.
fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
