//! The question over HTTP: `/api/phoenix/verify` and its forms.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::{Asks, Original};
use crate::answer::Trace;
use crate::body::{Body, full};
use crate::client_ip::Peer;
use crate::stack::Shared;

/// The status that the client is to get, where the answer's own says only yes or no.
const X_PHOENIX_STATUS: HeaderName = HeaderName::from_static("x-phoenix-status");
/// The body that the client is to get.
const X_PHOENIX_PROBLEM: HeaderName = HeaderName::from_static("x-phoenix-problem");

impl Shared {
    /// Answers a proxy that asks about a request.
    pub(crate) async fn answer_proxy(
        &self,
        asks: Asks,
        peer: Peer,
        request: Request<Incoming>,
        trace: &mut Trace,
    ) -> Response<Body> {
        // Before anything of the body is read.
        let turned_away = self.turned_away(peer, &request).await;
        if asks == Asks::EnvoyGrpc {
            return self.answer_envoy(peer, request, turned_away, trace).await;
        }
        let read = || Original::of_http(asks, request.method(), request.uri(), request.headers());
        let verdict = match turned_away {
            None => self.judge_original(peer, read, trace).await,
            Some(problem) => problem.rendered(),
        };
        let is_for_nginx = asks == Asks::Nginx && self.parts.settings.answers_proxies;
        if is_for_nginx { for_nginx(verdict).map(full) } else { verdict.map(full) }
    }
}

/// nginx' `auth_request` knows yes, 401 and 403, and takes anything else for an error. What the client is to get goes
/// into headers, from which its configuration makes the answer.
fn for_nginx(mut verdict: Response<Bytes>) -> Response<Bytes> {
    let status = verdict.status();
    if status.is_success() {
        return verdict;
    }
    verdict.headers_mut().insert(X_PHOENIX_STATUS, HeaderValue::from(status.as_u16()));
    if let Ok(problem) = HeaderValue::from_bytes(verdict.body()) {
        verdict.headers_mut().insert(X_PHOENIX_PROBLEM, problem);
    }
    let is_known = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    *verdict.status_mut() = if is_known { status } else { StatusCode::FORBIDDEN };
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Kind, Problem};

    #[test]
    fn nginx_is_told_yes_or_no_and_the_rest_in_headers() {
        for kind in Kind::ALL.iter().copied().filter(|kind| kind.status().as_u16() >= 400) {
            let answer = for_nginx(Problem::new(kind).detail("What is \"wrong\": \u{e4}\n").rendered());
            assert!(matches!(answer.status().as_u16(), 401 | 403), "{kind:?}");
            assert_eq!(answer.headers()[X_PHOENIX_STATUS], kind.status().as_str());
            assert_eq!(answer.headers()[X_PHOENIX_PROBLEM].as_bytes(), &answer.body()[..]);
        }
        let answer = for_nginx(Response::new(Bytes::new()));
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().is_empty());
    }
}
