//! `GET /api/phoenix/whoami`

use std::net::IpAddr;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::client_ip::{Announced, ClientIp, Explanation, Reason, Source, Verdict};
use crate::extract::{Identity, RequestContext};
use crate::routes::auth::json;
use crate::settings::HttpParts;

/// Which address the caller has.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShortAddress {
    /// The caller's address, as sessions and limits see it.
    #[schema(value_type = String)]
    ip_address: IpAddr,
    /// Who said so.
    source: Source,
}

/// Which address the caller has, and why.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExplainedAddress {
    /// The caller's address, as sessions and limits see it.
    #[schema(value_type = String)]
    ip_address: IpAddr,
    /// Who said so.
    source: Source,
    /// Why it is that.
    reason: Reason,
    /// The other end of the connection.
    #[schema(value_type = String)]
    peer: IpAddr,
    /// Whether the peer is in `server.trusted_proxies`.
    peer_trusted: bool,
    /// What the PROXY protocol said; null if it was not spoken.
    proxy_protocol: Option<AnnouncedView>,
    /// The elements of the header that is configured, the nearest (rightmost) first, at most 65.
    chain: Vec<ElementView>,
}

/// What the PROXY protocol said.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AnnouncedView {
    /// The client; null if the proxy named none.
    #[schema(value_type = Option<String>)]
    address: Option<IpAddr>,
}

/// One element of the header.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ElementView {
    /// As written, at most 128 characters.
    element: String,
    /// The address it names, if any.
    #[schema(value_type = Option<String>)]
    address: Option<IpAddr>,
    /// What became of it.
    verdict: Verdict,
}

/// The caller's address: how it was found, for everybody; every step of it, for administrators.
#[utoipa::path(get, path = "/api/phoenix/whoami", tag = "phoenix",
    responses((status = 200, description = "For administrators; others see ipAddress and source only.", body = ExplainedAddress)))]
pub(crate) async fn handle(
    State(parts): State<HttpParts>,
    context: RequestContext,
    identity: Identity,
    headers: HeaderMap,
) -> Response {
    match identity {
        Identity::Known(caller, _) if caller.active.user.role.is_admin() => {
            json(StatusCode::OK, &explained(&parts, &context, &headers))
        }
        Identity::Known(..) | Identity::Anonymous | Identity::Rejected(_) => {
            let ip: ClientIp = context.client_ip;
            json(StatusCode::OK, &ShortAddress { ip_address: ip.address(), source: ip.source() })
        }
    }
}

fn explained(parts: &HttpParts, context: &RequestContext, headers: &HeaderMap) -> ExplainedAddress {
    let settings = &parts.settings.client_address;
    let Explanation { peer, announced, client, reason, chain } =
        Explanation::of_request(settings, context.peer, headers);
    ExplainedAddress {
        ip_address: client.address(),
        source: client.source(),
        reason,
        peer,
        peer_trusted: settings.trusts(peer),
        proxy_protocol: announced.map(|announced| match announced {
            Announced::Client(address) => AnnouncedView { address: Some(address) },
            Announced::Nothing => AnnouncedView { address: None },
        }),
        chain: chain
            .into_iter()
            .map(|(element, address, verdict)| ElementView { element, address, verdict })
            .collect(),
    }
}
