//! The verdict about a request that another proxy asks about: the steps of `stack.rs` on the request as it is described.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response, StatusCode};

use super::{Described, Original};
use crate::answer::Trace;
use crate::client_ip::{Peer, speaks_for_others};
use crate::limits::tell;
use crate::problem::{Kind, Problem};
use crate::stack::{FirstSteps, Place, Shared};

/// Paths of Phoenix that applications may have, too. Beside a proxy they are not asked for through it.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

impl Shared {
    /// Whether a request that is described in another way than by HTTP may go on; see [`Shared::judge_original`].
    pub(crate) async fn judge_described(
        &self,
        asker: Peer,
        mut described: Described<'_>,
        trace: &mut Trace,
    ) -> Response<Bytes> {
        if let Some(source) = described.source {
            self.parts.settings.client_address.append(&mut described.headers, source);
        }
        self.judge_original(asker, || Original::of_described(described), trace).await
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
            let detail =
                "Set server.trusted_proxies (PHOENIX_TRUSTED_PROXIES) to the addresses of the proxy.";
            return Problem::new(Kind::ProxyNotTrusted).detail(detail).rendered();
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
        let mut request = Request::new(());
        request.method_mut().clone_from(&original.method);
        *request.uri_mut() = original.target.clone().into();
        request.headers_mut().clone_from(&original.headers);
        self.normalise(&mut request)?;
        let route = match self.route(&request)? {
            Some(route) => route,
            None if PROBES.contains(&request.uri().path()) => Arc::clone(self.parts.routes.load().fallback()),
            None => return Err(Kind::Misdirected.into()),
        };
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
                headers.extend(caller.iter().flat_map(|caller| self.told(caller, &route, trace)));
                tell(told, &mut response);
                Ok(response)
            }
            Err(problem) => Err(problem.tell(told)),
        }
    }

    /// What the client gets instead of the application's answer. For a browser that may be the way to sign in.
    fn refusal(&self, original: &Original, problem: Problem) -> Response<Bytes> {
        let settings = &self.parts.settings;
        let is_nobody = problem.kind().status() == StatusCode::UNAUTHORIZED;
        let page = settings.sign_in.as_ref().filter(|_| is_nobody);
        page.and_then(|page| page.answer(settings, original)).unwrap_or_else(|| problem.rendered())
    }
}
