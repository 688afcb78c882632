//! The messages of Envoy's external authorization, as far as they are used. Fields that are not named here are skipped
//! when read, as protobuf has it.
//!
//! Numbers and names: `envoy/service/auth/v3/{external_auth,attribute_context}.proto`, `envoy/config/core/v3/base.proto`.
//! What may hold any bytes that HTTP allows is read as bytes: a string of protobuf must be UTF-8.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue as HttpValue};

use crate::forward_auth::{BadHeader, append_field};

/// `OVERWRITE_IF_EXISTS_OR_ADD` of `HeaderAppendAction`.
const OVERWRITE_IF_EXISTS_OR_ADD: i32 = 2;

/// `envoy.service.auth.v3.CheckRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) attributes: Option<AttributeContext>,
}

/// `envoy.service.auth.v3.AttributeContext`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AttributeContext {
    #[prost(message, optional, tag = "1")]
    pub(super) source: Option<Endpoint>,
    #[prost(message, optional, tag = "4")]
    pub(super) request: Option<AskedRequest>,
}

/// `envoy.service.auth.v3.AttributeContext.Peer`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Endpoint {
    #[prost(message, optional, tag = "1")]
    pub(super) address: Option<Address>,
}

/// `envoy.config.core.v3.Address`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Address {
    #[prost(message, optional, tag = "1")]
    pub(super) socket_address: Option<SocketAddress>,
}

/// `envoy.config.core.v3.SocketAddress`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SocketAddress {
    #[prost(string, tag = "2")]
    pub(super) address: String,
}

/// `envoy.service.auth.v3.AttributeContext.Request`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AskedRequest {
    #[prost(message, optional, tag = "2")]
    pub(super) http: Option<HttpRequest>,
}

/// `envoy.service.auth.v3.AttributeContext.HttpRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HttpRequest {
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) method: Bytes,
    /// Names in lower case. Values of a name that came more than once are joined with commas.
    #[prost(btree_map = "string, bytes", tag = "3")]
    pub(super) headers: BTreeMap<String, Vec<u8>>,
    /// Path and query.
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) path: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) host: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    pub(super) scheme: Bytes,
    /// In place of `headers`, where Envoy is told `encode_raw_headers`.
    #[prost(message, optional, tag = "13")]
    pub(super) header_map: Option<RawHeaders>,
}

/// `envoy.config.core.v3.HeaderMap`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RawHeaders {
    #[prost(message, repeated, tag = "1")]
    pub(super) headers: Vec<HeaderValue>,
}

/// `envoy.config.core.v3.HeaderValue`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HeaderValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) raw_value: Bytes,
}

/// `envoy.service.auth.v3.CheckResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<Rpc>,
    #[prost(oneof = "Verdict", tags = "2, 3")]
    pub(super) verdict: Option<Verdict>,
}

/// The field `http_response` of [`CheckResponse`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Verdict {
    #[prost(message, tag = "2")]
    Denied(DeniedHttpResponse),
    #[prost(message, tag = "3")]
    Ok(OkHttpResponse),
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Rpc {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
}

/// `envoy.service.auth.v3.DeniedHttpResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DeniedHttpResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<HttpStatus>,
    #[prost(message, repeated, tag = "2")]
    pub(super) headers: Vec<HeaderValueOption>,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) body: Bytes,
}

/// `envoy.type.v3.HttpStatus`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HttpStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
}

/// `envoy.service.auth.v3.OkHttpResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OkHttpResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) headers: Vec<HeaderValueOption>,
    #[prost(string, repeated, tag = "5")]
    pub(super) headers_to_remove: Vec<String>,
}

/// `envoy.config.core.v3.HeaderValueOption`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HeaderValueOption {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<HeaderValue>,
    /// Deprecated, but the only one that older versions read: false is to overwrite.
    #[prost(message, optional, tag = "2")]
    pub(super) append: Option<BoolValue>,
    #[prost(int32, tag = "3")]
    pub(super) append_action: i32,
}

/// `google.protobuf.BoolValue`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct BoolValue {
    #[prost(bool, tag = "1")]
    pub(super) value: bool,
}

impl CheckRequest {
    /// The request that is asked about.
    pub(super) fn http(&self) -> Option<&HttpRequest> {
        self.attributes.as_ref()?.request.as_ref()?.http.as_ref()
    }

    /// The other end of the connection that Envoy has it from.
    pub(super) fn source(&self) -> Option<IpAddr> {
        let source = self.attributes.as_ref()?.source.as_ref()?;
        source.address.as_ref()?.socket_address.as_ref()?.address.parse().ok()
    }
}

impl HttpRequest {
    /// The header, without what HTTP/2 writes as fields that are none (`:path`).
    pub(super) fn header(&self) -> Result<HeaderMap, BadHeader> {
        let raw = self.header_map.iter().flat_map(|map| &map.headers);
        let raw = raw.map(|field| {
            let value = if field.raw_value.is_empty() { &field.value } else { &field.raw_value };
            (field.key.as_str(), &value[..])
        });
        let joined = self.headers.iter().map(|(name, value)| (name.as_str(), &value[..]));
        let mut headers = HeaderMap::new();
        for (name, value) in raw.chain(joined).filter(|(name, _)| !name.starts_with(':')) {
            append_field(&mut headers, name.as_bytes(), value)?;
        }
        Ok(headers)
    }
}

impl HeaderValueOption {
    /// Sets a header in place of what is there.
    pub(super) fn overwriting(name: &HeaderName, value: &HttpValue) -> Self {
        let (key, value) = (name.to_string(), Bytes::copy_from_slice(value.as_bytes()));
        Self {
            header: Some(HeaderValue { key, value, raw_value: Bytes::new() }),
            append: Some(BoolValue { value: false }),
            append_action: OVERWRITE_IF_EXISTS_OR_ADD,
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::forward_auth::fields::MAX_FIELDS;

    /// What `protoc --encode` makes of a request with these fields, written down byte by byte after the `.proto` files:
    /// numbers and types of fields are checked here, not only against themselves.
    #[test]
    fn a_request_is_read_as_envoy_writes_it() {
        let field = |number: u8, content: &[u8]| {
            let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).expect("short")];
            bytes.extend_from_slice(content);
            bytes
        };
        let entry = |name: &[u8], value: &[u8]| field(3, &[field(1, name), field(2, value)].concat());
        let http = [
            field(1, b"id"),
            field(2, b"GET"),
            entry(b":path", b"/a"),
            entry(b"x-bytes", b"\xff"),
            field(4, b"/a?b"),
            field(5, b"app"),
            field(6, b"https"),
            vec![9 << 3, 1],
            field(10, b"HTTP/2"),
        ]
        .concat();
        let socket = [field(2, b"2001:db8::1"), vec![3 << 3, 80]].concat();
        let source = field(1, &field(1, &field(1, &socket)));
        let request = field(4, &field(2, &http));
        let message = field(1, &[source, request, field(12, b"x")].concat());
        let message = CheckRequest::decode(&message[..]).expect("a message");
        assert_eq!(message.source(), "2001:db8::1".parse().ok());
        let http = message.http().expect("of HTTP");
        assert_eq!(
            (&http.method[..], &http.path[..], &http.host[..], &http.scheme[..]),
            (&b"GET"[..], &b"/a?b"[..], &b"app"[..], &b"https"[..])
        );
        let headers = http.header().expect("a header");
        assert_eq!((headers.len(), headers["x-bytes"].as_bytes()), (1, &b"\xff"[..]));
    }

    #[test]
    fn headers_that_came_raw_are_read_one_by_one() {
        let field = |key: &str, value: &'static [u8], raw_value: &'static [u8]| HeaderValue {
            key: key.to_owned(),
            value: Bytes::from_static(value),
            raw_value: Bytes::from_static(raw_value),
        };
        let headers = vec![
            field("cookie", b"", b"a=1"),
            field("cookie", b"b=2", b""),
            field(":authority", b"app", b""),
        ];
        let read = |headers| {
            HttpRequest { header_map: Some(RawHeaders { headers }), ..HttpRequest::default() }.header()
        };
        let header = read(headers.clone()).expect("a header");
        assert_eq!(header.len(), 2);
        assert_eq!(header.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        // Nothing is left out: Envoy passes it on.
        for bad in
            [field("no header", b"x", b""), field("x-line", b"a\nb", b""), field("x-line", b"", b"\x01")]
        {
            assert_eq!(read([&headers[..], &[bad]].concat()).err(), Some(BadHeader::Field));
        }
        let many = vec![field("a", b"b", b""); MAX_FIELDS + 1];
        assert_eq!(read(many).err(), Some(BadHeader::TooMany));
        let joined = HttpRequest {
            headers: [("x-line".to_owned(), b"a\rb".to_vec())].into(),
            ..HttpRequest::default()
        };
        assert_eq!(joined.header().err(), Some(BadHeader::Field));
    }

    #[test]
    fn an_answer_is_written_as_envoy_reads_it() {
        let option =
            HeaderValueOption::overwriting(&HeaderName::from_static("a"), &HttpValue::from_static("b"));
        let header = b"\x0a\x06\x0a\x01a\x12\x01b\x12\x00\x18\x02";
        assert_eq!(option.encode_to_vec(), header);
        let ok = OkHttpResponse { headers: vec![option.clone()], headers_to_remove: vec!["c".to_owned()] };
        let response = CheckResponse { status: Some(Rpc { code: 0 }), verdict: Some(Verdict::Ok(ok)) };
        let expected = [&b"\x0a\x00\x1a\x11\x12\x0c"[..], header, b"\x2a\x01c"].concat();
        assert_eq!(response.encode_to_vec(), expected);
        let status = Some(HttpStatus { code: 429 });
        let denied = DeniedHttpResponse { status, headers: vec![option], body: Bytes::from_static(b"x") };
        let response =
            CheckResponse { status: Some(Rpc { code: 7 }), verdict: Some(Verdict::Denied(denied)) };
        let expected =
            [&b"\x0a\x02\x08\x07\x12\x16\x0a\x03\x08\xad\x03\x12\x0c"[..], header, b"\x1a\x01x"].concat();
        assert_eq!(response.encode_to_vec(), expected);
    }
}
