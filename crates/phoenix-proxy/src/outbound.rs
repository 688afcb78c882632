//! A request on its way out, in the form that both versions of HTTP begin with.

use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use crate::config::Origin;
use crate::hygiene::Way;
use crate::request_body::RequestBody;

/// A request as an application is to see it, but for what depends on the server and its version of HTTP. It is there
/// until it is answered, so that another server can be asked.
pub(crate) struct Outbound<'a> {
    pub(crate) method: Method,
    /// The target without scheme and host (RFC 9112 section 3.2.1).
    pub(crate) uri: Uri,
    /// Among them `Host`, if there is one.
    pub(crate) headers: HeaderMap,
    pub(crate) body: RequestBody,
    /// What it is told about its way, if it came from a client.
    pub(crate) way: Option<Way<'a>>,
}

impl Outbound<'_> {
    /// The host that a server is asked for.
    pub(crate) fn host<'h>(&'h self, origin: &'h Origin, keep_host: bool) -> &'h HeaderValue {
        let kept = keep_host.then(|| self.headers.get(HOST)).flatten();
        kept.unwrap_or(&origin.authority)
    }

    /// Whether it can be sent again though a server may have acted on it: safe methods (RFC 9110 section 9.2.1) without
    /// a body.
    pub(crate) fn is_repeatable(&self) -> bool {
        let is_safe = matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS);
        is_safe && matches!(self.body, RequestBody::Empty)
    }

    /// The form for HTTP/2: host and scheme stand in the target, and frames have their own lengths. Takes the body.
    pub(crate) fn take_http2(&mut self, origin: &Origin, keep_host: bool) -> Request<RequestBody> {
        let host = self.host(origin, keep_host);
        let mut parts = self.uri.clone().into_parts();
        parts.scheme = Some(if origin.server.https { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Authority::try_from(host.as_bytes()).ok();
        parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        let mut headers = self.headers.clone();
        if let Some(way) = &self.way {
            way.tell(&mut headers);
        }
        for name in [HOST, TRANSFER_ENCODING, CONNECTION] {
            headers.remove(name);
        }
        let mut request = Request::new(std::mem::replace(&mut self.body, RequestBody::Empty));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_else(|_| self.uri.clone());
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        request
    }
}

/// The target without scheme and host.
pub(crate) fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() && uri.scheme().is_none() {
        return uri;
    }
    let path = uri.into_parts().path_and_query.filter(|path| !path.as_str().is_empty());
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}
