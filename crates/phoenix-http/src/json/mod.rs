//! JSON shapes that several routes share. Names are camelCase, times RFC 3339 in UTC, ids UUIDv7.

use bytes::Bytes;
use phoenix_auth::model::{ActiveSession, Block, SecurityEvent, Session, SessionLimits, User};
use phoenix_auth::ops::SessionLine;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

/// A user.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserView<'a> {
    /// UUIDv7.
    id: Uuid,
    /// Address as its owner wrote it. A user of an outside identity provider may have none.
    email: Option<&'a str>,
    /// Whether somebody proved to own the address.
    email_verified: bool,
    /// Name to show.
    username: Option<&'a str>,
    /// Given name.
    first_name: Option<&'a str>,
    /// Family name.
    last_name: Option<&'a str>,
    /// `https` address of a picture.
    image_url: Option<&'a str>,
    /// What the user may do: `admin`, `user`, or a name of the application's.
    role: &'a str,
    /// IANA time zone.
    timezone: Option<&'a str>,
    /// BCP 47 language tag.
    locale: Option<&'a str>,
    /// The application's settings for this user.
    #[schema(value_type = Object)]
    settings: Box<RawValue>,
    /// RFC 3339.
    #[schema(format = DateTime)]
    created_at: String,
    /// RFC 3339, to within the last-seen step.
    #[schema(format = DateTime)]
    last_active_at: Option<String>,
}

impl<'a> UserView<'a> {
    pub(crate) fn of(user: &'a User) -> Self {
        let profile = &user.profile;
        Self {
            id: user.id.as_uuid(),
            email: user.email.as_ref().map(phoenix_auth::model::Email::as_str),
            email_verified: user.email_verified,
            username: profile.username.as_deref(),
            first_name: profile.first_name.as_deref(),
            last_name: profile.last_name.as_deref(),
            image_url: profile.image_url.as_deref(),
            role: user.role.as_str(),
            timezone: profile.timezone.as_deref(),
            locale: profile.locale.as_deref(),
            settings: RawValue::from_string(user.settings.clone()).unwrap_or_else(|_| empty_object()),
            created_at: user.created_at.to_string(),
            last_active_at: user.last_active_at.map(|time| time.to_string()),
        }
    }
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("an empty object is JSON")
}

/// A user as administrators see them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AdminUserView<'a> {
    #[serde(flatten)]
    user: UserView<'a>,
    /// A disabled account can neither sign in nor use a session.
    disabled: bool,
}

impl<'a> AdminUserView<'a> {
    pub(crate) fn of(user: &'a User) -> Self {
        Self { user: UserView::of(user), disabled: user.disabled }
    }
}

/// A session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionView<'a> {
    /// UUIDv7. Not the token.
    id: Uuid,
    /// When it was opened, RFC 3339.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it ends whatever happens, RFC 3339.
    #[schema(format = DateTime)]
    expires_at: String,
    /// When it ends if it is not used again, RFC 3339.
    #[schema(format = DateTime)]
    idle_expires_at: String,
    /// Device it was opened on, such as `Firefox on Linux`.
    device: &'a str,
    /// Address it was opened from.
    ip_address: Option<String>,
    /// Who vouched for the user: `password`, `stack` or `oidc`.
    provider: &'static str,
}

impl<'a> SessionView<'a> {
    pub(crate) fn of(session: &'a Session, limits: &SessionLimits) -> Self {
        Self {
            id: session.id.as_uuid(),
            created_at: session.created_at.to_string(),
            expires_at: session.expires_at.to_string(),
            idle_expires_at: session.idle_expires_at(limits).to_string(),
            device: &session.device,
            ip_address: session.ip_address.map(|address| address.to_string()),
            provider: session.provider.as_str(),
        }
    }
}

/// A line of a list of sessions.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionLineView<'a> {
    #[serde(flatten)]
    session: SessionView<'a>,
    /// Last use, RFC 3339, to within the last-seen step.
    #[schema(format = DateTime)]
    last_seen_at: String,
    /// Address it was last used from.
    last_ip_address: Option<String>,
    /// Country of that address, ISO 3166-1 alpha-2, where a `GeoIP` file is configured.
    country: Option<String>,
    /// `User-Agent` it was opened with.
    user_agent: &'a str,
    /// Whether it is the one this request came with.
    current: bool,
}

impl<'a> SessionLineView<'a> {
    pub(crate) fn of(line: &'a SessionLine, limits: &SessionLimits) -> Self {
        let session = &line.summary.session;
        Self {
            session: SessionView::of(session, limits),
            last_seen_at: session.last_seen_at.to_string(),
            last_ip_address: session.last_ip.map(|address| address.to_string()),
            country: line.country.map(|country| country.as_str().to_owned()),
            user_agent: &line.summary.user_agent,
            current: line.current,
        }
    }

    /// For an account that strangers share: where the others are is left out.
    pub(crate) fn for_strangers(mut self) -> Self {
        if !self.current {
            self.session.ip_address = None;
            self.last_ip_address = None;
            self.country = None;
        }
        self
    }
}

/// A security event.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventView<'a> {
    /// UUIDv7.
    id: Uuid,
    /// When, RFC 3339.
    #[schema(format = DateTime)]
    at: String,
    /// What, such as `device-changed`.
    kind: &'static str,
    /// Whose account.
    user_id: Uuid,
    /// Which session.
    session_id: Option<Uuid>,
    /// From where.
    ip_address: Option<String>,
    /// More about it, for people.
    detail: &'a str,
}

impl<'a> EventView<'a> {
    pub(crate) fn of(event: &'a SecurityEvent) -> Self {
        Self {
            id: event.id.as_uuid(),
            at: event.at.to_string(),
            kind: event.kind.as_str(),
            user_id: event.user_id.as_uuid(),
            session_id: event.session_id.map(phoenix_auth::model::SessionId::as_uuid),
            ip_address: event.ip.map(|address| address.to_string()),
            detail: &event.detail,
        }
    }
}

/// A client that is refused for a while.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockView<'a> {
    /// UUIDv7.
    id: Uuid,
    /// Class of endpoints in which the client is refused.
    class: &'a str,
    /// Who, such as `address 203.0.113.7`; of an account's address only the first letter and the domain.
    subject: &'a str,
    /// Who began it: `limit`, because a limit was exceeded, or `administrator`.
    cause: &'static str,
    /// What the administrator said about it.
    reason: Option<&'a str>,
    /// When it began, RFC 3339.
    #[schema(format = DateTime)]
    since: String,
    /// When it ends by itself, RFC 3339.
    #[schema(format = DateTime)]
    until: String,
    /// The administrator.
    by: Option<Uuid>,
}

impl<'a> BlockView<'a> {
    pub(crate) fn of(block: &'a Block) -> Self {
        Self {
            id: block.id.as_uuid(),
            class: &block.class,
            subject: block.subject.as_str(),
            cause: block.cause.as_str(),
            reason: Some(block.reason.as_str()).filter(|reason| !reason.is_empty()),
            since: block.since.to_string(),
            until: block.until.to_string(),
            by: block.by.map(phoenix_auth::model::UserId::as_uuid),
        }
    }
}

/// Answer of `GET /api/auth/me`.
#[derive(Serialize, ToSchema)]
pub(crate) struct MeView<'a> {
    /// Always true: who is not authenticated gets 401.
    authenticated: bool,
    /// The caller.
    user: UserView<'a>,
    /// The session of this request.
    session: SessionView<'a>,
}

/// The body of `GET /api/auth/me`, rendered once and kept with the session.
pub(crate) fn me(active: &ActiveSession, limits: &SessionLimits) -> Bytes {
    let render = || {
        let view = MeView {
            authenticated: true,
            user: UserView::of(&active.user),
            session: SessionView::of(&active.session, limits),
        };
        Bytes::from(serde_json::to_vec(&view).unwrap_or_default())
    };
    active.rendered.get_or_init(render).clone()
}
