//! The verdict about a request that another proxy asks about: the steps of `stack.rs` on the request as it is described.

use std::sync::Arc;

use arc_swap::Guard;
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;

use super::{Described, Original, spelling};
use crate::answer::Trace;
use crate::client_ip::{ClientIp, Peer, speaks_for_others};
use crate::gateway::{self, ClassOf, Owner, Route};
use crate::limits::{Asked, Gate, tell};
use crate::problem::{Kind, Problem};
use crate::stack::Shared;
use crate::steps::{FirstSteps, Place};

impl Shared {
    /// Whether a request that is described in another way than by HTTP may go on; see [`Shared::judge_original`].
    pub(crate) async fn judge_described(
        &self,
        asker: Peer,
        mut described: Described<'_>,
        trace: &mut Trace,
    ) -> Response<Bytes> {
        if let (Some(source), Ok(headers)) = (described.source, &mut described.headers) {
            self.parts.settings.client_address.append(headers, source);
        }
        self.judge_original(asker, || Original::of_described(described), trace).await
    }

    /// Why a peer may not ask by HTTP, if it may not: nobody may, or it is not trusted. Then its request is one of a client
    /// like others, and counts as such under its address.
    pub(super) async fn turned_away<B>(&self, peer: Peer, request: &Request<B>) -> Option<Problem> {
        let client_address = &self.parts.settings.client_address;
        let why: fn() -> Problem = if !self.parts.settings.answers_proxies {
            || Kind::NotFound.into()
        } else if speaks_for_others(client_address, peer) {
            return None;
        } else {
            not_trusted
        };
        let address = ClientIp::of_request(client_address, peer, request.headers()).address();
        let limits = &self.parts.limits;
        let mut gate = Gate::new(Guard::into_inner(limits.rules().load()), address, None, false);
        let asked = Asked { class: &ClassOf::ByPath, method: request.method(), path: request.uri().path() };
        let counted = match gate.before_authentication(limits, asked, false).await {
            Ok(()) => gate.after_authentication(limits, asked, None).await,
            refused => refused,
        };
        let problem = counted.err().unwrap_or_else(why);
        let status = problem.kind().status();
        Some(problem.tell(gate.settle(status, false).await))
    }

    /// Whether a request may go on to the application: 200 with what the application is to be told of the caller, or the
    /// answer that the client is to get instead. `read` is called only if the asker is a proxy that is believed.
    pub(super) async fn judge_original(
        &self,
        asker: Peer,
        read: impl FnOnce() -> Result<Original, Problem>,
        trace: &mut Trace,
    ) -> Response<Bytes> {
        if !speaks_for_others(&self.parts.settings.client_address, asker) {
            return not_trusted().rendered();
        }
        let original = match read() {
            Ok(original) => original,
            Err(problem) => return problem.rendered(),
        };
        let judged = self.admit(asker, &original, trace);
        match tokio::time::timeout(self.parts.settings.request_timeout, judged).await {
            Ok(Ok(admitted)) => admitted,
            Ok(Err(problem)) => self.refusal(&original, problem),
            Err(_elapsed) => Problem::busy().rendered(),
        }
    }

    async fn admit(
        &self,
        asker: Peer,
        original: &Original,
        trace: &mut Trace,
    ) -> Result<Response<Bytes>, Problem> {
        let mut request = Request::new(Empty::<Bytes>::new());
        request.method_mut().clone_from(&original.method);
        *request.uri_mut() = original.target.clone().into();
        request.headers_mut().clone_from(&original.headers);
        self.normalise(&mut request)?;
        // The application gets what was written, not the normal form that is judged.
        spelling::check(original.target.path(), request.uri().path())?;
        let route = self.route_beside(&request)?;
        let place = Place::App(route.clone());
        let FirstSteps::GoOn(mut cold) = self.steps_from_memory(asker, &request, place, *trace)? else {
            // Only a path of ours is answered there.
            return Err(Kind::Internal.into());
        };
        let judged = self.judge_for_app(&request, &mut cold, &route, trace).await;
        // What the application answers is not known here: of a class that counts failures, only refusals count.
        let status = judged.as_ref().map_or_else(|problem| problem.kind().status(), |_| StatusCode::OK);
        let told = cold.gate.settle(status, true).await;
        match judged {
            Ok(caller) => {
                let mut response = Response::new(Bytes::new());
                let headers = response.headers_mut();
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                if let Some(caller) = &caller {
                    headers.extend(self.told(caller, &route, trace).headers());
                }
                tell(told, &mut response);
                Ok(response)
            }
            Err(problem) => Err(problem.tell(told)),
        }
    }

    /// The application's route that a request belongs to.
    fn route_beside<B>(&self, request: &Request<B>) -> Result<Arc<Route>, Problem> {
        let ambiguous = || {
            Problem::new(Kind::AmbiguousPath)
                .detail("Applications may take this path for another one, to which other rules apply.")
        };
        let (table, path) = (self.parts.routes.load(), request.uri().path());
        match table.owner_beside(path) {
            Owner::Phoenix => return Err(Kind::Misdirected.into()),
            Owner::Unclear => return Err(ambiguous()),
            Owner::Application => {}
        }
        let host = gateway::asked_for(request)?;
        table.find(host, request.method(), path).cloned().map_err(|_| ambiguous())
    }

    /// What the client gets instead of the application's answer. For a browser that may be the way to sign in.
    fn refusal(&self, original: &Original, problem: Problem) -> Response<Bytes> {
        let settings = &self.parts.settings;
        let is_nobody = problem.kind().status() == StatusCode::UNAUTHORIZED;
        let page = settings.sign_in.as_ref().filter(|_| is_nobody);
        page.and_then(|page| page.answer(settings, original)).unwrap_or_else(|| problem.rendered())
    }
}

fn not_trusted() -> Problem {
    let detail = "Set server.trusted_proxies (PHOENIX_TRUSTED_PROXIES) to the addresses of the proxy.";
    Problem::new(Kind::ProxyNotTrusted).detail(detail)
}
