//! One route: what it asks of a request, and where it leads.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue};
use phoenix_auth::model::Role;
use phoenix_auth::ops::Authenticated;

use crate::extract::Identity;
use crate::problem::{Kind, Problem};

/// Number of an upstream, in the order of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UpstreamId(pub u16);

/// Who may use a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Access {
    /// Anybody; credentials are not looked at, and the application sees no identity.
    Open,
    /// Anybody; the application is told who it is, if somebody is signed in.
    Optional,
    /// Whoever is signed in, and has one of the roles if any are named.
    Required(Vec<Role>),
}

impl Access {
    /// Whether a caller may use the route, and whom the application is told about. A credential that does not count is
    /// nobody's where nobody must be signed in.
    pub(crate) fn admit(&self, identity: Identity) -> Result<Option<Authenticated>, Problem> {
        match (self, identity) {
            (Self::Open, _) | (Self::Optional, Identity::Anonymous | Identity::Rejected(_)) => Ok(None),
            (Self::Optional, Identity::Known(caller, _)) => Ok(Some(caller)),
            (Self::Required(roles), identity) => {
                let (caller, _) = identity.required()?;
                if roles.is_empty() || roles.contains(&caller.active.user.role) {
                    Ok(Some(caller))
                } else {
                    Err(Kind::Forbidden.into())
                }
            }
        }
    }
}

impl HeaderChanges {
    /// Makes them.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        if !self.set.is_empty() && headers.contains_key(CONNECTION) {
            self.keep_from_connection(headers);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }
}

impl HeaderChanges {
    /// What a route sets does not belong to the client's connection, whatever that says: it would be removed again.
    fn keep_from_connection(&self, headers: &mut HeaderMap) {
        let is_set = |option: &[u8]| {
            self.set.iter().any(|(name, _)| name.as_str().as_bytes().eq_ignore_ascii_case(option))
        };
        let lines = headers.get_all(CONNECTION).iter();
        let options =
            lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        let left: Vec<&[u8]> = options.filter(|option| !option.is_empty() && !is_set(option)).collect();
        match HeaderValue::from_bytes(&left.join(&b", "[..])) {
            Ok(left) if !left.is_empty() => drop(headers.insert(CONNECTION, left)),
            Ok(_) | Err(_) => drop(headers.remove(CONNECTION)),
        }
    }
}

/// Which class of rate limits a route's requests belong to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClassOf {
    /// The one that `limits.routes` says for the path.
    ByPath,
    /// This one.
    Named(String),
    /// None.
    Unlimited,
}

/// Who answers questions of browsers about other origins (CORS).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CorsRule {
    /// Nothing is said: the application's headers are passed on. Preflights go to it, without identity, unless somebody
    /// must be signed in; then they are requests like others, which browsers send without a session.
    Unstated,
    /// The application: its headers are passed on, and preflights go to it, without identity. Where somebody must be
    /// signed in only those without a body, as browsers send them.
    Application,
    /// Phoenix: pages of these origins may read answers with credentials. Empty: none.
    Origins(Vec<String>),
}

impl CorsRule {
    /// The origins, where Phoenix knows them.
    pub(crate) fn origins(&self) -> &[String] {
        match self {
            Self::Unstated | Self::Application => &[],
            Self::Origins(origins) => origins,
        }
    }

    /// Whether Phoenix answers, and not the application.
    pub(crate) const fn is_ours(&self) -> bool {
        matches!(self, Self::Origins(_))
    }
}

/// What becomes of preflights to a route: that a request looks like one says nothing of who sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preflights {
    /// They are requests like others, and need a session.
    LikeOthers,
    /// Those without a body go to the application, without identity; others are requests like others.
    PassWithoutBody,
    /// They go to the application, without identity.
    Pass,
    /// Phoenix answers them.
    Answered,
}

impl Route {
    /// What becomes of preflights.
    #[must_use]
    pub const fn preflights(&self) -> Preflights {
        match (&self.cors, &self.access) {
            (CorsRule::Origins(_), _) => Preflights::Answered,
            (CorsRule::Unstated, Access::Required(_)) => Preflights::LikeOthers,
            (CorsRule::Application, Access::Required(_)) => Preflights::PassWithoutBody,
            (CorsRule::Unstated | CorsRule::Application, Access::Open | Access::Optional) => Preflights::Pass,
        }
    }
}

/// Headers that a route sets or removes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct HeaderChanges {
    /// Removed first.
    pub remove: Vec<HeaderName>,
    /// Then set, in place of any of the name.
    pub set: Vec<(HeaderName, HeaderValue)>,
}

/// One route of the gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Its template, with its host if it has one: the name in logs and metrics. Never what a client wrote.
    pub name: Arc<str>,
    /// Who may use it.
    pub access: Access,
    /// Its class of rate limits.
    pub class: ClassOf,
    /// Where it leads; `None` where Phoenix is beside another proxy and leads nowhere.
    pub upstream: Option<UpstreamId>,
    /// Audience of assertions for the application.
    pub audience: Arc<str>,
    /// Largest body of a request in bytes.
    pub max_body: u64,
    /// Time from the last byte of a request to the head of its answer.
    pub deadline: Duration,
    /// Longest pause within a body or a tunnel.
    pub idle: Duration,
    /// The same where it is written for this route: the client's pauses within a request are no shorter then, and its
    /// speed is its own.
    pub client_pause: Option<Duration>,
    /// Whether unsafe requests and upgrades with our cookie must come from our own pages.
    pub same_origin: bool,
    /// Whether the application sees Phoenix's own session token.
    pub keep_credentials: bool,
    /// Whether the application sees the `Host` that the client asked for, or its own.
    pub keep_host: bool,
    /// Who answers preflights.
    pub cors: CorsRule,
    /// Changes of the request's headers.
    pub request_headers: HeaderChanges,
    /// Changes of the answer's headers.
    pub response_headers: HeaderChanges,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_route_sets_cannot_be_named_as_the_connections() {
        let set = vec![(HeaderName::from_static("x-restricted"), HeaderValue::from_static("1"))];
        let changes = HeaderChanges { remove: Vec::new(), set };
        for (sent, left) in [
            ("keep-alive, X-Restricted ,x-other", Some("keep-alive, x-other")),
            ("x-restricted", None),
            ("upgrade", Some("upgrade")),
        ] {
            let mut headers = HeaderMap::from_iter([(CONNECTION, HeaderValue::from_static(sent))]);
            changes.apply(&mut headers);
            assert_eq!(headers.get(CONNECTION).map(HeaderValue::as_bytes), left.map(str::as_bytes), "{sent}");
            assert_eq!(headers["x-restricted"], "1");
        }
    }
}
