//! What is spoken: versions, protocols, names, sessions that go on, and what is refused.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::support::CommandLine;
use super::support::{
    Answer, Authority, Folder, ONLY_1_2, ONLY_1_3, Wanted, ask, connect, get, report, server, shown, sign_in,
};

const HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nHost: a.example";
const BOUND: Duration = Duration::from_secs(10);

/// What the server sends until it closes. A reset is an end as well.
async fn until_closed(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    let mut received = Vec::new();
    let reading = async {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut chunk).await {
            received.extend_from_slice(&chunk[..length]);
        }
    };
    tokio::time::timeout(BOUND, reading).await.context("the server did not close in time")?;
    Ok(received)
}

/// A `ClientHello` of this version, with signature algorithms as its only extension (RFC 5246 section 7.4.1.2).
fn hello(minor: u8) -> Vec<u8> {
    let body =
        [&[3, minor][..], &[7; 32], &[0], &[0, 2, 0xc0, 0x13], &[1, 0], &[0, 8, 0, 13, 0, 4, 0, 2, 4, 3]]
            .concat();
    let handshake = [&[1, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat();
    [&[0x16, 3, 1, 0, u8::try_from(handshake.len()).unwrap()][..], &handshake].concat()
}

// spec: G4
#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_older() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let file = folder.write("a.pem", &authority.server(&["a.example"])?.both())?;
    let both = server(&[&file]).start()?;
    let newest = server(&[&file]).env("PHOENIX_TLS_MIN_VERSION", "1.3").start()?;
    let wanted = Wanted::new(&authority);
    let old = Wanted { versions: &ONLY_1_2, ..Wanted::new(&authority) }.config()?;
    for (config, expected) in
        [(wanted.config()?, ProtocolVersion::TLSv1_3), (old.clone(), ProtocolVersion::TLSv1_2)]
    {
        let stream = connect(both.address(), &config, "a.example").await?;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
        assert_eq!(ask(stream, HEALTHZ, "").await?.status, 200);
    }
    assert_eq!(get(&newest, &wanted.config()?, "/healthz", None).await?.status, 200);
    assert!(connect(newest.address(), &old, "a.example").await.is_err(), "1.2 where 1.3 is asked for");
    for minor in [0, 1, 2] {
        let answer = until_closed(both.address(), &hello(minor)).await?;
        // A fatal alert, protocol_version (RFC 8446 section 6).
        assert_eq!(answer.get(5..), Some(&[2, 70][..]), "3.{minor}: {answer:?}");
    }
    Ok(())
}

// spec: G4
#[tokio::test]
async fn the_client_chooses_the_protocol_and_without_a_choice_it_is_http_1() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let file = folder.write("a.pem", &authority.server(&["a.example"])?.both())?;
    let server = server(&[&file]).start()?;
    let of = |protocols: &[&[u8]]| Wanted { protocols, ..Wanted::new(&authority) }.config();
    let one: [&[u8]; 1] = [b"http/1.1"];
    for (offered, chosen) in [(&one[..], Some(one[0])), (&[], None)] {
        let stream = connect(server.address(), &of(offered)?, "a.example").await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        assert_eq!(ask(stream, HEALTHZ, "").await?.status, 200);
    }
    let stream = connect(server.address(), &of(&[b"http/1.1", b"h2"])?, "a.example").await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await?;
    let request = http::Request::get("https://a.example/healthz").body(Empty::<Bytes>::new())?;
    let response = tokio::select! {
        response = sender.send_request(request) => response?,
        ended = connection => { ended?; anyhow::bail!("the connection ended") }
    };
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    assert!(response.headers().contains_key("strict-transport-security"));
    assert!(connect(server.address(), &of(&[b"spdy/3"])?, "a.example").await.is_err(), "nothing in common");
    Ok(())
}

// spec: G4
#[tokio::test]
async fn each_name_gets_its_certificate_and_the_first_is_for_all_others() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let a = authority.server(&["a.example", "other.example"])?;
    let wild = authority.server(&["*.b.example"])?;
    let exact = authority.server(&["www.b.example"])?;
    // The key in a file of its own for one of them.
    let certificate = folder.write("a.crt", &a.certificate.pem())?;
    let key = folder.write("a.key", &a.key.serialize_pem())?;
    let pair = format!("{}:{}", certificate.display(), key.display());
    let files = [folder.write("wild.pem", &wild.both())?, folder.write("exact.pem", &exact.both())?];
    let server = server(&[pair.as_ref(), files[0].as_ref(), files[1].as_ref()]).start()?;
    let config = Wanted::new(&authority).config()?;
    for (name, expected) in [
        ("a.example", &a),
        ("other.example", &a),
        ("x.b.example", &wild),
        ("X.B.Example", &wild),
        ("www.b.example", &exact),
    ] {
        let stream = connect(server.address(), &config, name).await?;
        assert_eq!(shown(&stream), Some(expected.der()), "{name}");
    }
    // The client refuses what it is shown for a name that nobody has.
    for name in ["b.example", "x.y.b.example", "c.example"] {
        let refused = connect(server.address(), &config, name).await;
        let error = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(error.contains("not valid for name"), "{name}: {error}");
    }
    Ok(())
}

// spec: G4
#[tokio::test]
async fn a_session_goes_on_with_a_ticket() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let file = folder.write("a.pem", &authority.server(&["a.example"])?.both())?;
    let server = server(&[&file]).start()?;
    for versions in [&ONLY_1_3[..], &ONLY_1_2[..]] {
        let config = Wanted { versions, ..Wanted::new(&authority) }.config()?;
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let stream = connect(server.address(), &config, "a.example").await?;
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected), "{versions:?}");
            assert_eq!(ask(stream, HEALTHZ, "").await?.status, 200);
        }
    }
    let config = Wanted::new(&authority).config()?;
    let token = sign_in(&server, &config).await?;
    let told = report(&server, &config, &token).await?;
    assert!(told["resumed"].as_u64() >= Some(2) && told["handshakes"].as_u64() > Some(4), "{told}");
    assert_eq!((told["failed"].as_u64(), told["minVersion"].as_str()), (Some(0), Some("1.2")));
    assert_eq!(told["certificates"][0]["names"][0], "a.example");
    assert_eq!(told["certificates"][0]["expiresSoon"], false);
    Ok(())
}

// spec: G4
#[tokio::test]
async fn who_does_not_speak_tls_is_told_or_closed_and_nobody_else_suffers() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let file = folder.write("a.pem", &authority.server(&["a.example"])?.both())?;
    let server = server(&[&file]).env("PHOENIX_FIRST_BYTE_TIMEOUT", "300ms").start()?;
    let address = server.address();
    let request = b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc";
    for bytes in [&request[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"G", b"get / http/1.0\r\n\r\n"] {
        let answer = Answer::parse(&String::from_utf8_lossy(&until_closed(address, bytes).await?))?;
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains("This port speaks HTTPS"), "{answer:?}");
    }
    for bytes in
        [&b""[..], &hello(3)[..20], b"\0\0\0\0\0", &[0xff; 5000], &[0x16, 3, 1, 0xff, 0xff], b"\x80\x2e\x01"]
    {
        let answer = until_closed(address, bytes).await?;
        assert!(!answer.starts_with(b"HTTP"), "{bytes:?}: {answer:?}");
    }
    let config = Wanted::new(&authority).config()?;
    assert_eq!(get(&server, &config, "/healthz", None).await?.status, 200);
    let token = sign_in(&server, &config).await?;
    let told = report(&server, &config, &token).await?;
    assert_eq!(told["plain"], 4, "{told}");
    assert!(told["failed"].as_u64() >= Some(4), "{told}");
    assert!(!server.stderr().contains("panicked"));
    Ok(())
}

// spec: G4
#[tokio::test]
async fn cookies_and_headers_are_those_of_https() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let file = folder.write("a.pem", &authority.server(&["a.example"])?.both())?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    let server =
        server(&[&file]).env("PHOENIX_TLS_HSTS", "2d").env("PHOENIX_TLS_HSTS_SUBDOMAINS", "true").start()?;
    assert!(server.stdout().contains("listening on https://127.0.0.1:"), "{}", server.stdout());
    assert!(server.stderr().contains("everybody on this machine may read the private key"));
    let config = Wanted::new(&authority).config()?;
    let token = sign_in(&server, &config).await?;
    for (host, hsts) in [
        ("a.example", Some("max-age=172800; includesubdomains")),
        ("localhost", None),
        ("127.0.0.1:8443", None),
        ("[::1]", None),
    ] {
        // From memory, from a route, and where there is nothing.
        for path in ["/api/auth/me", "/api/auth/me", "/healthz", "/nowhere"] {
            let stream = connect(server.address(), &config, "a.example").await?;
            let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}");
            let answer = ask(stream, &head, "").await?;
            assert_eq!(answer.header("strict-transport-security"), hsts, "{host} {path}: {answer:?}");
        }
    }
    // The cookie of HTTPS even for a name that would have the other one over plain HTTP.
    let body = format!(
        "{{\"email\": \"{}\", \"password\": \"{}\"}}",
        super::super::support::ADMIN,
        super::super::support::PASSWORD
    );
    let head = "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    let answer = ask(connect(server.address(), &config, "a.example").await?, head, &body).await?;
    let cookie = answer.head.lines().find(|line| line.starts_with("set-cookie: __host-phoenix_session="));
    assert!(cookie.is_some_and(|cookie| cookie.contains("; secure;")), "{answer:?}");
    Ok(())
}

// spec: G4
#[tokio::test]
async fn health_asks_over_https() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let file = folder.write("a.pem", &authority.server(&["a.example"])?.both())?;
    let server = server(&[&file]).start()?;
    let address = server.address().to_string();
    let phoenix = CommandLine::beside(&server).env("PHOENIX_TLS_CERTIFICATES", file.to_string_lossy());
    let ready = phoenix.run(&["health", "--address", &address]).await.succeeded();
    assert!(ready.contains("ok") || ready.contains("ready"), "{ready}");
    let plain = CommandLine::beside(&server).run(&["health", "--address", &address]).await;
    plain.failed(1, &["This port speaks HTTPS"]);
    Ok(())
}

// spec: G4
#[tokio::test]
async fn a_server_that_stops_says_goodbye_on_connections_without_a_request() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let file = folder.write("a.pem", &authority.server(&["a.example"])?.both())?;
    let server = server(&[&file]).start()?;
    let config = Wanted::new(&authority).config()?;
    let mut stream = connect(server.address(), &config, "a.example").await?;
    stream.write_all(format!("{HEALTHZ}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    let goodbye = async {
        while !answer.ends_with(b"ok\n") {
            anyhow::ensure!(stream.read_buf(&mut answer).await? > 0, "closed without an answer");
        }
        server.ask_to_end()?;
        // Without close_notify (RFC 8446 section 6.1) this would be an error: somebody may have cut the answer.
        Ok(stream.read_to_end(&mut answer).await?)
    };
    assert_eq!(tokio::time::timeout(BOUND, goodbye).await.context("no goodbye in time")??, 0);
    Ok(())
}

// spec: G4
#[tokio::test]
async fn a_proxy_says_whose_the_connection_is_before_the_handshake() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let file = folder.write("a.pem", &authority.server(&["a.example"])?.both())?;
    let server = server(&[&file])
        .env("PHOENIX_TRUSTED_PROXIES", "127.0.0.1")
        .env("PHOENIX_PROXY_PROTOCOL", "on")
        .start()?;
    let config = Wanted::new(&authority).config()?;
    let mut stream = TcpStream::connect(server.address()).await?;
    stream.write_all(b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n").await?;
    let stream = TlsConnector::from(config.clone()).connect("a.example".try_into()?, stream).await?;
    let answer = ask(stream, "GET /api/phoenix/whoami HTTP/1.1\r\nHost: a.example", "").await?;
    assert!(answer.status == 200 && answer.body.contains("203.0.113.9"), "{answer:?}");
    assert!(connect(server.address(), &config, "a.example").await.is_err(), "without it");
    Ok(())
}
