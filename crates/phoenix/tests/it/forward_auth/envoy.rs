//! Envoy's external authorization over gRPC: calls as Envoy makes them, over HTTP/2 without TLS.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use phoenix_testkit::process::PhoenixProcess;
use prost::Message;
use tokio::net::TcpStream;

use super::support::Beside;
use crate::process::support::{register, token};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Written down here again, from the `.proto` files, so that a wrong number in the product is found.
mod proto {
    use std::collections::HashMap;

    macro_rules! messages {
        ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
            $($(#[$doc])* #[derive(Clone, PartialEq, prost::Message)]
            pub(super) struct $name { $($(#[$field_doc])* pub(super) $field: $type,)* })*
        };
    }

    messages! {
        CheckRequest { #[prost(message, optional, tag = "1")] attributes: Option<Attributes>, }
        Attributes {
            #[prost(message, optional, tag = "1")] source: Option<Peer>,
            #[prost(message, optional, tag = "4")] request: Option<AskedRequest>,
        }
        Peer { #[prost(message, optional, tag = "1")] address: Option<Address>, }
        Address { #[prost(message, optional, tag = "1")] socket_address: Option<Socket>, }
        Socket {
            #[prost(string, tag = "2")] address: String,
            #[prost(uint32, tag = "3")] port: u32,
        }
        AskedRequest { #[prost(message, optional, tag = "2")] http: Option<Http>, }
        Http {
            #[prost(string, tag = "1")] id: String,
            #[prost(string, tag = "2")] method: String,
            #[prost(map = "string, string", tag = "3")] headers: HashMap<String, String>,
            #[prost(string, tag = "4")] path: String,
            #[prost(string, tag = "5")] host: String,
            #[prost(string, tag = "6")] scheme: String,
            #[prost(string, tag = "10")] protocol: String,
        }
        CheckResponse {
            #[prost(message, optional, tag = "1")] status: Option<Status>,
            #[prost(message, optional, tag = "2")] denied: Option<Denied>,
            #[prost(message, optional, tag = "3")] ok: Option<Admitted>,
        }
        Status { #[prost(int32, tag = "1")] code: i32, }
        Denied {
            #[prost(message, optional, tag = "1")] status: Option<Status>,
            #[prost(message, repeated, tag = "2")] headers: Vec<SetHeader>,
            #[prost(string, tag = "3")] body: String,
        }
        Admitted {
            #[prost(message, repeated, tag = "2")] headers: Vec<SetHeader>,
            #[prost(string, repeated, tag = "5")] remove: Vec<String>,
        }
        SetHeader {
            #[prost(message, optional, tag = "1")] header: Option<Header>,
            #[prost(int32, tag = "3")] action: i32,
        }
        Header {
            #[prost(string, tag = "1")] key: String,
            #[prost(string, tag = "2")] value: String,
        }
    }
}

/// One call; the message of the answer, and the status of gRPC.
async fn call(phoenix: &PhoenixProcess, body: Vec<u8>) -> (Option<proto::CheckResponse>, String) {
    let stream = TcpStream::connect(phoenix.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let request = Request::post(format!("http://phoenix{CHECK}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let exchange = async {
        let response = sender.send_request(request).await.unwrap();
        let (head, body) = response.into_parts();
        (head, body.collect().await.unwrap())
    };
    let (head, body) = tokio::select! {
        exchanged = exchange => exchanged,
        ended = connection => panic!("the connection ended before the answer: {ended:?}"),
    };
    assert_eq!(
        (head.status.as_u16(), &head.headers["content-type"]),
        (200, &"application/grpc".parse().unwrap())
    );
    let trailers: HeaderMap = body.trailers().cloned().unwrap_or(head.headers);
    let status = trailers["grpc-status"].to_str().unwrap().to_owned();
    let bytes = body.to_bytes();
    let message = bytes.get(5..).map(|message| {
        assert_eq!(bytes[0], 0);
        assert_eq!(u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize, message.len());
        proto::CheckResponse::decode(message).unwrap()
    });
    (message, status)
}

async fn check(phoenix: &PhoenixProcess, path: &str, headers: &[(&str, &str)]) -> proto::CheckResponse {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let http = proto::Http {
        id: "17".to_owned(),
        method: "GET".to_owned(),
        headers: headers.chain([(":path".to_owned(), path.to_owned())]).collect(),
        path: path.to_owned(),
        host: "app.example.com".to_owned(),
        scheme: "https".to_owned(),
        protocol: "HTTP/2".to_owned(),
    };
    let socket = proto::Socket { address: "203.0.113.9".to_owned(), port: 4711 };
    let source = proto::Peer { address: Some(proto::Address { socket_address: Some(socket) }) };
    let request = proto::AskedRequest { http: Some(http) };
    let attributes = proto::Attributes { source: Some(source), request: Some(request) };
    let message = proto::CheckRequest { attributes: Some(attributes) }.encode_to_vec();
    let (answer, status) = call(phoenix, framed(&message)).await;
    assert_eq!(status, "0");
    answer.expect("a message")
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

fn set(headers: &[proto::SetHeader]) -> Vec<(String, String)> {
    let pairs = headers.iter().map(|option| {
        assert_eq!(option.action, 2, "OVERWRITE_IF_EXISTS_OR_ADD");
        let header = option.header.clone().unwrap();
        (header.key, header.value)
    });
    pairs.collect()
}

// spec: G2
#[tokio::test]
async fn envoy_is_answered_over_grpc() {
    let beside = Beside::start();
    let user = token(&register(&beside.client(), "user@example.com").await.unwrap(), 201);
    let bearer = format!("Bearer {user}");
    let phoenix = &beside.phoenix;

    let open =
        check(phoenix, "/open/x?a=b", &[("x-phoenix-role", "admin"), ("x_phoenix_role", "admin")]).await;
    assert_eq!(open.status.unwrap_or_default().code, 0);
    let ok = open.ok.expect("admitted");
    assert!(ok.headers.is_empty());
    assert!(
        ["x-phoenix-role", "x_phoenix_role", "x-phoenix-assertion"]
            .iter()
            .all(|name| ok.remove.iter().any(|other| other == name)),
        "{ok:?}"
    );

    let known =
        check(phoenix, "/private/x", &[("authorization", &bearer), ("x-phoenix-role", "admin")]).await;
    let ok = known.ok.expect("admitted");
    let told = set(&ok.headers);
    assert!(told.contains(&("x-phoenix-role".to_owned(), "user".to_owned())), "{told:?}");
    assert!(told.iter().any(|(name, _)| name == "x-phoenix-user-id"));
    assert!(ok.remove.iter().all(|name| told.iter().all(|(set, _)| set != name)), "set and removed: {ok:?}");

    for (path, status, code) in [
        ("/private/x", 401, "unauthenticated"),
        ("/staff/x", 401, "unauthenticated"),
        ("/api/auth/me", 421, "misdirected"),
    ] {
        let refused = check(phoenix, path, &[]).await;
        assert_eq!(refused.status.unwrap_or_default().code, 7);
        let denied = refused.denied.expect("refused");
        assert_eq!(denied.status.unwrap().code, status, "{path}");
        assert!(denied.body.contains(code), "{}", denied.body);
    }
    let forbidden = check(phoenix, "/staff/x", &[("authorization", &bearer)]).await;
    assert_eq!(forbidden.denied.expect("refused").status.unwrap().code, 403);

    // The limit counts for the client that Envoy names, not for Envoy.
    for _ in 0..2 {
        assert!(check(phoenix, "/limited/x", &[]).await.ok.is_some());
    }
    let refused = check(phoenix, "/limited/x", &[]).await.denied.expect("refused");
    assert_eq!(refused.status.unwrap().code, 429);
    assert!(set(&refused.headers).iter().any(|(name, _)| name == "retry-after"));
    assert!(
        check(phoenix, "/limited/x", &[("x-forwarded-for", "198.51.100.4, 203.0.113.9")])
            .await
            .denied
            .is_some()
    );
    // A proxy in front of Envoy, which is trusted, would be followed to its client; this one is not.
    assert!(check(phoenix, "/limited/x", &[("x-forwarded-for", "198.51.100.4")]).await.denied.is_some());
}

#[tokio::test]
async fn where_nobody_may_ask_a_call_is_unimplemented() {
    let settings = [("PHOENIX_TRUSTED_PROXIES", "127.0.0.1"), ("PHOENIX_FORWARD_AUTH", "off")];
    let beside = Beside::with(&settings.map(|(name, value)| (name, value.to_owned())));
    let (message, status) = call(&beside.phoenix, framed(b"")).await;
    assert_eq!((message, status.as_str()), (None, "12"));
    assert_eq!(beside.client().post(CHECK).send().await.unwrap().status, 404);
}

/// Nothing of a stranger's message is waited for, and what it asks counts.
#[tokio::test]
async fn a_stranger_is_refused_before_its_message_is_read() {
    let beside = Beside::trusting("10.0.0.1");
    let stream = TcpStream::connect(beside.phoenix.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    // A body that never comes.
    let body = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, std::io::Error>>());
    let request = Request::post(format!("http://phoenix{CHECK}"))
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap();
    let exchange = async {
        let whole = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap();
        proto::CheckResponse::decode(&whole.to_bytes()[5..]).unwrap()
    };
    let answer = tokio::select! {
        answer = tokio::time::timeout(super::SOON, exchange) => answer.expect("an answer at once"),
        ended = connection => panic!("the connection ended before the answer: {ended:?}"),
    };
    let denied = answer.denied.expect("refused");
    assert_eq!(denied.status.as_ref().unwrap().code, 403);
    assert!(denied.body.contains("proxy-not-trusted"), "{}", denied.body);
    assert!(set(&denied.headers).iter().any(|(name, _)| name == "ratelimit"), "{denied:?}");
}

/// What Envoy would pass on all the same is not left out of the question.
#[tokio::test]
async fn a_header_that_cannot_be_read_is_refused() {
    let beside = Beside::start();
    let many: Vec<(String, &str)> = (0..300).map(|number| (format!("x-{number}"), "a")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    for (headers, reason) in [
        (&[("x-bad", "a\u{1}b")][..], "that HTTP does not know"),
        (&[("a b", "c")], "that HTTP does not know"),
        (&many, "more than 256 header fields"),
    ] {
        let denied = check(&beside.phoenix, "/open/x", headers).await.denied.expect("refused");
        assert_eq!(denied.status.unwrap().code, 400);
        assert!(denied.body.contains("malformed-request") && denied.body.contains(reason), "{}", denied.body);
    }
}

#[tokio::test]
async fn calls_that_cannot_be_read_are_refused_in_the_words_of_grpc() {
    let beside = Beside::start();
    for (body, status) in [
        (Vec::new(), "3"),
        (framed(b""), "3"),
        (framed(b"\xff\xff\xff"), "3"),
        (b"\0\0\0\0\x09short".to_vec(), "3"),
        (b"\x01\0\0\0\0".to_vec(), "12"),
        (framed(&vec![0; 200 * 1024]), "8"),
    ] {
        let length = body.len();
        let (message, answered) = call(&beside.phoenix, body).await;
        assert_eq!((message, answered.as_str()), (None, status), "{length} bytes");
    }
    // Not a call at all.
    let client = beside.client();
    assert_eq!(client.post(CHECK).send().await.unwrap().status, 400);
}
