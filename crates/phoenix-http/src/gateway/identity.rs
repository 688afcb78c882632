//! What an application is told about the caller, and what it is not (invariant 7): identity headers are always written
//! or removed, never passed through; tokens of ours stay here.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use phoenix_auth::model::{ActiveSession, Email, SessionToken};

use super::port::{Assertion, AssertionStamp, Assertions, Subject};
use crate::cookie;

const USER_ID: HeaderName = HeaderName::from_static("x-phoenix-user-id");
const EMAIL: HeaderName = HeaderName::from_static("x-phoenix-email");
const ROLE: HeaderName = HeaderName::from_static("x-phoenix-role");
const SESSION_ID: HeaderName = HeaderName::from_static("x-phoenix-session-id");
const ASSERTION: HeaderName = HeaderName::from_static("x-phoenix-assertion");

/// Headers that say who the caller is. Nobody outside may send them.
pub(crate) const IDENTITY_HEADERS: [HeaderName; 5] = [USER_ID, EMAIL, ROLE, SESSION_ID, ASSERTION];

/// Most memory for what applications are told, in bytes. Beyond it the oldest goes first, and is made anew when it is
/// needed.
const MAX_KEPT_BYTES: usize = 16 * 1024 * 1024;
/// What is kept besides texts, in bytes: the values, and counts of references.
const OVERHEAD_BYTES: usize = 384;

/// Removes identity headers that came from outside, also those that an application may take for one: many read `_` as
/// `-`, as CGI does, and some `.` and other signs.
pub(crate) fn strip(headers: &mut HeaderMap) {
    // One pass over the names: a look-up for each of ours would hash it.
    while let Some(name) = headers.keys().find(|name| reads_as_identity(name.as_str())).cloned() {
        headers.remove(name);
    }
}

/// Whether a name is one of ours, or an application may take it for one.
pub(crate) fn reads_as_identity(name: &str) -> bool {
    let name = name.as_bytes();
    let reads_as = |header: &HeaderName| {
        let header = header.as_str().as_bytes();
        name.len() == header.len()
            && name
                .iter()
                .zip(header)
                .all(|(sent, ours)| sent == ours || (*ours == b'-' && !sent.is_ascii_alphanumeric()))
    };
    // In the names of all of them.
    name.get(2..9).is_some_and(|part| part == b"phoenix") && IDENTITY_HEADERS.iter().any(reads_as)
}

/// Stands between the name of a field and its value.
const COLON: &[u8] = b": ";
/// Ends a field line.
const END: &[u8] = b"\r\n";

/// What an application is told of a session as it was loaded. Remembered beside the session, so that a session that was
/// loaded anew, because anything of it changed, has none.
pub(crate) struct Telling {
    audience: Arc<str>,
    /// Of the assertion, if there is one.
    stamp: Option<AssertionStamp>,
    /// Names and values as lines of a head (RFC 9112 section 5), each with its end.
    lines: Bytes,
    /// Where the values of [`IDENTITY_HEADERS`] stand there.
    places: [Option<Range<usize>>; 5],
}

impl Telling {
    /// Lines of a head that say who the caller is, each with its end.
    pub(crate) fn lines(&self) -> Bytes {
        self.lines.clone()
    }

    /// The same as names and values.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        IDENTITY_HEADERS.into_iter().zip(self.places.clone()).filter_map(|(name, place)| {
            let mut value = HeaderValue::from_maybe_shared(self.lines.slice(place?)).ok()?;
            value.set_sensitive(name == ASSERTION);
            Some((name, value))
        })
    }

    fn bytes(&self) -> usize {
        self.lines.len() + OVERHEAD_BYTES
    }

    /// Whether an application with this audience may be told the same now.
    fn serves(&self, assertions: Option<&dyn Assertions>, audience: &Arc<str>, now: SystemTime) -> bool {
        // After a reload the same audience is another text.
        (Arc::ptr_eq(&self.audience, audience) || self.audience == *audience)
            && match (self.stamp, assertions) {
                (Some(stamp), Some(assertions)) => assertions.serves(stamp, now),
                (stamp, assertions) => stamp.is_none() && assertions.is_none(),
            }
    }

    /// All texts in one piece of memory, with one count of references.
    fn new(active: &ActiveSession, assertion: Option<&Assertion>, audience: &Arc<str>) -> Self {
        let user = &active.user;
        let (user_id, session_id) = (user.id.to_string(), active.session.id.to_string());
        let parts = [
            Some(user_id.as_bytes()),
            // An address may hold letters beyond ASCII; as UTF-8 they are valid in a field (RFC 9110 section 5.5).
            user.email.as_ref().map(|email| email.as_str().as_bytes()),
            Some(user.role.as_str().as_bytes()),
            Some(session_id.as_bytes()),
            assertion.map(|assertion| assertion.value.as_bytes()),
        ];
        let mut lines = Vec::new();
        let mut places = IDENTITY_HEADERS.into_iter().zip(parts).map(|(name, part)| {
            // What is no value of a field would end its line, and begin another one.
            let part = part.filter(|part| HeaderValue::from_bytes(part).is_ok())?;
            for piece in [name.as_str().as_bytes(), COLON, part, END] {
                lines.extend_from_slice(piece);
            }
            let end = lines.len() - END.len();
            Some(end - part.len()..end)
        });
        let places = [(); 5].map(|()| places.next().flatten());
        let stamp = assertion.map(|assertion| assertion.stamp);
        Self { audience: Arc::clone(audience), stamp, lines: lines.into(), places }
    }
}

/// What applications are told of callers, made once and used again for further requests of a session.
#[derive(Default)]
pub(crate) struct Tellings {
    kept: Mutex<Kept>,
}

/// The oldest first: it is also the one of whose assertion the least life is left.
#[derive(Default)]
struct Kept {
    tellings: VecDeque<Arc<Telling>>,
    bytes: usize,
}

impl Kept {
    fn keep(&mut self, telling: Arc<Telling>) {
        self.bytes += telling.bytes();
        self.tellings.push_back(telling);
        while self.bytes > MAX_KEPT_BYTES
            && let Some(oldest) = self.tellings.pop_front()
        {
            self.bytes -= oldest.bytes();
        }
    }
}

impl Tellings {
    /// What an application with this audience is told.
    pub(crate) fn told(
        &self,
        active: &ActiveSession,
        assertions: Option<&dyn Assertions>,
        audience: &Arc<str>,
        now: SystemTime,
    ) -> Arc<Telling> {
        let remembered = active.telling.recall::<Telling>();
        remembered
            .filter(|telling| telling.serves(assertions, audience, now))
            .unwrap_or_else(|| self.tell(active, assertions, audience, now))
    }

    fn tell(
        &self,
        active: &ActiveSession,
        assertions: Option<&dyn Assertions>,
        audience: &Arc<str>,
        now: SystemTime,
    ) -> Arc<Telling> {
        let user = &active.user;
        let subject = Subject {
            user: user.id,
            session: active.session.id,
            email: user.email.as_ref().map(Email::as_str),
            email_verified: user.email_verified,
            role: user.role.as_str(),
        };
        let assertion = assertions.and_then(|assertions| assertions.assertion(subject, audience, now));
        let telling = Arc::new(Telling::new(active, assertion.as_ref(), audience));
        // Without an assertion that there should be, the next request tries again.
        if assertion.is_some() || assertions.is_none() {
            active.telling.remember(&telling);
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).keep(Arc::clone(&telling));
        }
        telling
    }
}

/// Removes tokens of ours, and the mark of a known device: an application has no use for them, and its logs none.
pub fn hide_credentials(headers: &mut HeaderMap) {
    // Wherever it stands in the value: one that is no proper `Bearer` holds a secret as well.
    let prefix = SessionToken::PREFIX.as_bytes();
    let is_ours = |value: &HeaderValue| value.as_bytes().windows(prefix.len()).any(|part| part == prefix);
    if headers.get_all(AUTHORIZATION).iter().any(is_ours) {
        headers.remove(AUTHORIZATION);
    }
    // Several headers are one cookie that HTTP/2 has split (RFC 9113 section 8.2.3); the proxy joins what is not ours.
    let cookies = headers.get_all(COOKIE);
    if !cookies.iter().flat_map(cookie::all).any(cookie::is_ours) {
        return;
    }
    let mut kept: Vec<u8> = Vec::new();
    for cookie in cookies.iter().flat_map(cookie::all).filter(|cookie| !cookie::is_ours(cookie)) {
        if !kept.is_empty() {
            kept.extend_from_slice(b"; ");
        }
        kept.extend_from_slice(cookie);
    }
    // Mostly nothing is left: then nothing was allocated.
    let kept = if kept.is_empty() { None } else { HeaderValue::from_maybe_shared(Bytes::from(kept)).ok() };
    match kept {
        Some(kept) => drop(headers.insert(COOKIE, kept)),
        None => drop(headers.remove(COOKIE)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, UNIX_EPOCH};

    use phoenix_auth::model::{Profile, Provider, Role, Session, SessionId, Timestamp, User, UserId};
    use uuid::Uuid;

    use super::*;

    /// Numbers its signatures; each counts for ten seconds and for one set of keys.
    #[derive(Default)]
    struct Signer {
        signed: AtomicU64,
        keys: AtomicU64,
        is_broken: bool,
    }

    impl Assertions for Signer {
        fn assertion(&self, subject: Subject<'_>, audience: &str, now: SystemTime) -> Option<Assertion> {
            if self.is_broken {
                return None;
            }
            let number = self.signed.fetch_add(1, Ordering::Relaxed);
            let mut value = HeaderValue::try_from(format!("{number}:{audience}:{}", subject.role)).ok()?;
            value.set_sensitive(true);
            let issued_at = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
            Some(Assertion {
                value,
                stamp: AssertionStamp { keys: self.keys.load(Ordering::Relaxed), issued_at, reusable_for: 9 },
            })
        }

        fn serves(&self, stamp: AssertionStamp, now: SystemTime) -> bool {
            let since = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            stamp.keys == self.keys.load(Ordering::Relaxed) && since - stamp.issued_at < 10
        }

        fn jwks(&self, _: SystemTime) -> Bytes {
            Bytes::new()
        }
    }

    fn active(email: Option<&str>, role: Role) -> ActiveSession {
        let at = Timestamp::from_millis(0);
        let user = User {
            id: UserId::from_uuid(Uuid::from_u128(1)),
            email: email.map(|email| Email::parse(email).expect("an address")),
            email_verified: false,
            role,
            disabled: false,
            profile: Profile::default(),
            settings: String::new(),
            created_at: at,
            last_active_at: None,
        };
        let session = Session {
            id: SessionId::from_uuid(Uuid::from_u128(2)),
            user_id: user.id,
            created_at: at,
            expires_at: Timestamp::from_millis(3_600_000),
            last_seen_at: at,
            provider: Provider::Password,
            device: "curl".into(),
            ip_address: None,
            last_ip: None,
            fingerprint: None,
        };
        ActiveSession::new(session, user)
    }

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    struct App {
        tellings: Tellings,
        signer: Signer,
    }

    impl App {
        fn told(&self, active: &ActiveSession, audience: &Arc<str>, second: u64) -> HeaderMap {
            self.tellings.told(active, Some(&self.signer), audience, at(second)).headers().collect()
        }

        fn assertion(&self, active: &ActiveSession, audience: &Arc<str>, second: u64) -> String {
            let told = self.told(active, audience, second);
            told[ASSERTION].to_str().expect("text").to_owned()
        }
    }

    fn app() -> App {
        App { tellings: Tellings::default(), signer: Signer::default() }
    }

    #[test]
    fn an_application_is_told_the_same_again_without_another_signature() {
        let (app, audience) = (app(), Arc::from("app"));
        let ada = active(Some("ad\u{e4}@example.com"), Role::user());
        for _ in 0..3 {
            let told = app.told(&ada, &audience, 5);
            assert_eq!(told.len(), 5);
            assert_eq!(told[USER_ID], "00000000-0000-0000-0000-000000000001");
            assert_eq!(told[EMAIL].as_bytes(), "ad\u{e4}@example.com".as_bytes());
            assert_eq!(told[ROLE], "user");
            assert_eq!(told[SESSION_ID], "00000000-0000-0000-0000-000000000002");
            assert_eq!(told[ASSERTION], "0:app:user");
            assert!(told[ASSERTION].is_sensitive() && !told[EMAIL].is_sensitive());
        }
        let told = app.told(&active(None, Role::user()), &audience, 5);
        assert_eq!((told.len(), told.contains_key(EMAIL)), (4, false));
        // The same audience after a reload.
        assert_eq!(app.assertion(&ada, &Arc::from("app"), 6), "0:app:user");
    }

    #[test]
    fn the_lines_say_what_the_values_say() {
        let (app, audience) = (app(), Arc::from("app"));
        for email in [None, Some("ad\u{e4}@example.com")] {
            let telling =
                app.tellings.told(&active(email, Role::user()), Some(&app.signer), &audience, at(5));
            let lines: Vec<u8> = telling
                .headers()
                .flat_map(|(name, value)| {
                    [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat()
                })
                .collect();
            assert_eq!(telling.lines(), lines);
            assert_eq!(telling.headers().count(), if email.is_some() { 5 } else { 4 });
        }
    }

    #[test]
    fn what_an_application_was_told_does_not_outlive_what_it_says() {
        let (app, audience) = (app(), Arc::from("app"));
        let ada = active(None, Role::user());
        assert_eq!(app.assertion(&ada, &audience, 0), "0:app:user");
        assert_eq!(app.assertion(&ada, &audience, 9), "0:app:user");
        assert_eq!(app.assertion(&ada, &audience, 10), "1:app:user");
        app.signer.keys.store(1, Ordering::Relaxed);
        assert_eq!(app.assertion(&ada, &audience, 10), "2:app:user");
        assert_eq!(app.assertion(&ada, &Arc::from("other"), 10), "3:other:user");
        assert_eq!(app.assertion(&ada, &audience, 10), "4:app:user");
        // A session that was loaded anew.
        assert_eq!(app.assertion(&active(None, Role::admin()), &audience, 10), "5:app:admin");
        let unsigned: HeaderMap = app.tellings.told(&ada, None, &audience, at(10)).headers().collect();
        assert!(!unsigned.contains_key(ASSERTION));
    }

    #[test]
    fn a_signature_that_failed_is_tried_again() {
        let (mut app, audience) = (app(), Arc::from("app"));
        let ada = active(None, Role::user());
        app.signer.is_broken = true;
        assert!(!app.told(&ada, &audience, 0).contains_key(ASSERTION));
        app.signer.is_broken = false;
        assert_eq!(app.assertion(&ada, &audience, 0), "0:app:user");
    }

    #[test]
    fn memory_stays_within_its_bound() {
        let (app, audience) = (app(), Arc::from("app"));
        let size = Telling::new(&active(None, Role::user()), None, &audience).bytes();
        let sessions: Vec<_> = (0..MAX_KEPT_BYTES / size + 10).map(|_| active(None, Role::user())).collect();
        for session in &sessions {
            app.told(session, &audience, 0);
        }
        let kept = app.tellings.kept.lock().expect("not poisoned");
        assert!(kept.bytes <= MAX_KEPT_BYTES && kept.bytes > MAX_KEPT_BYTES / 2, "{}", kept.bytes);
        assert_eq!(kept.bytes, kept.tellings.iter().map(|telling| telling.bytes()).sum::<usize>());
        let is_kept = |session: &ActiveSession| session.telling.recall::<Telling>().is_some();
        assert!(!is_kept(&sessions[0]) && is_kept(&sessions[sessions.len() - 1]));
        // What is on the heap is not more than what is counted.
        assert!(size_of::<Telling>() + 2 * size_of::<usize>() + 40 <= OVERHEAD_BYTES);
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn nobody_outside_says_who_the_caller_is() {
        let mut sent = headers(&[
            ("x-phoenix-user-id", "a"),
            ("x-phoenix-user-id", "b"),
            ("x_phoenix_user_id", "c"),
            ("x-phoenix_user-id", "d"),
            ("x-phoenix-assertion", "e"),
            ("x_phoenix-role", "f"),
            ("x-phoenix-version", "kept"),
            ("x_custom", "kept"),
        ]);
        strip(&mut sent);
        let mut left: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-phoenix-version", "x_custom"]);
    }

    #[test]
    fn tokens_of_ours_stay_here_and_the_applications_own_go_on() {
        let cases = [
            ("a=1; phoenix_session=phx_s_x; b=2", Some("a=1; b=2")),
            ("__Host-phoenix_session=phx_s_x", None),
            ("__Host-phoenix_device=d;phoenix_device=e;c=3", Some("c=3")),
            ("my_phoenix_session=1; phoenix_theme=dark", Some("my_phoenix_session=1; phoenix_theme=dark")),
            ("a=1; b", Some("a=1; b")),
        ];
        for (sent, kept) in cases {
            let mut sent = headers(&[("cookie", sent)]);
            hide_credentials(&mut sent);
            assert_eq!(sent.get(COOKIE).map(|value| value.to_str().expect("text")), kept);
        }
        let mut split = headers(&[("cookie", "a=1"), ("cookie", "phoenix_session=x"), ("cookie", "b=2")]);
        hide_credentials(&mut split);
        assert_eq!(split.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        for (sent, stays) in [
            ("Bearer phx_s_abc", false),
            ("bearer  phx_s_abc", false),
            ("Bearer phx_s_abc, Bearer other", false),
            ("phx_s_abc", false),
            ("Bearer other", true),
            ("Basic YTpi", true),
        ] {
            let mut sent = headers(&[("authorization", sent)]);
            hide_credentials(&mut sent);
            assert_eq!(sent.contains_key(AUTHORIZATION), stays, "{sent:?}");
        }
    }
}
