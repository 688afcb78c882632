//! An application behind HTTPS: it is told so, and upgrades go through.

use anyhow::Result;
use phoenix_testkit::upstream::{Script, Upstream};
use serde_json::Value;

use super::support::{Authority, Folder, Wanted, connect, get, server, sign_in};
use crate::wire::{Wire, upgrade};

// spec: G1 G4
#[tokio::test]
async fn the_application_hears_of_https_and_of_who_is_calling() -> Result<()> {
    let (authority, folder, app) = (Authority::new("A")?, Folder::new()?, Upstream::start()?);
    let file = folder.write("a.pem", &authority.server(&["a.example"])?.both())?;
    let phoenix = server(&[&file]).env("PHOENIX_UPSTREAM", app.origin()).start()?;
    let config = Wanted::new(&authority).config()?;
    let token = sign_in(&phoenix, &config).await?;
    for credentials in [None, Some(token.as_str())] {
        let answer = get(&phoenix, &config, "/x?y", credentials).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("x-request-id").is_some() && answer.header("x-response-time").is_some());
        let seen: Value = answer.json()?;
        assert_eq!(seen["target"], "/x?y");
        let seen = app.last().expect("it was asked");
        assert_eq!(
            (seen.header("x-forwarded-proto"), seen.header("host")),
            (Some("https"), Some("a.example"))
        );
        assert_eq!(seen.header("x-phoenix-role"), credentials.map(|_| "admin"));
        assert_eq!(seen.header("authorization"), None);
    }
    Ok(())
}

// spec: G1 G4
#[tokio::test]
async fn websockets_go_through_https_with_the_code_they_close_with() -> Result<()> {
    let (authority, folder, app) = (Authority::new("A")?, Folder::new()?, Upstream::start()?);
    let file = folder.write("a.pem", &authority.server(&["a.example"])?.both())?;
    let routes = r#"[{ path = "/ws", auth = "required" }]"#;
    let phoenix = server(&[&file])
        .env("PHOENIX_UPSTREAM", app.origin())
        .env("PHOENIX_GATEWAY_ROUTES", routes)
        .start()?;
    app.on("/ws", Script::websocket());
    let config = Wanted::new(&authority).config()?;
    let token = sign_in(&phoenix, &config).await?;
    let cookie = format!("Cookie: __Host-phoenix_session={token}\r\n");
    let ask = async |more: &str| -> Result<(Wire<_>, String)> {
        let mut wire = Wire::on(connect(phoenix.address(), &config, "a.example").await?);
        wire.write(upgrade("/ws", more).replace("Host: 127.0.0.1", "Host: a.example")).await;
        let head = wire.head().await;
        Ok((wire, head))
    };
    for (more, status) in [
        (String::new(), 401),
        (cookie.clone(), 403),
        (format!("{cookie}Origin: https://evil.example\r\n"), 403),
        // A browser does not send the cookie of HTTP here; nor does it count.
        (format!("Cookie: phoenix_session={token}\r\nOrigin: https://a.example\r\n"), 401),
    ] {
        let (_, head) = ask(&more).await?;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{more}{head}");
    }
    assert_eq!(app.requests(), 0);
    let (mut wire, head) = ask(&format!("{cookie}Origin: https://a.example\r\n")).await?;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let seen = app.last().expect("it was asked");
    assert_eq!(
        (seen.header("x-forwarded-proto"), seen.header("x-phoenix-role")),
        (Some("https"), Some("admin"))
    );
    assert_eq!(seen.header("cookie"), None);
    for text in ["hello", "world"] {
        wire.send_frame(1, text.as_bytes()).await;
        assert_eq!(wire.frame().await, (1, text.as_bytes().to_vec()));
    }
    let farewell = [&4001_u16.to_be_bytes()[..], b"enough"].concat();
    wire.send_frame(8, &farewell).await;
    assert_eq!(wire.frame().await, (8, farewell));
    assert_eq!(wire.rest().await, "");
    Ok(())
}

// spec: G1 G4
#[tokio::test]
async fn who_sends_everything_before_reading_gets_the_answer_of_a_refused_request() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let file = folder.write("a.pem", &authority.server(&["a.example"])?.both())?;
    let phoenix = server(&[&file]).start()?;
    let config = Wanted::new(&authority).config()?;
    let mut wire = Wire::on(connect(phoenix.address(), &config, "a.example").await?);
    wire.write("POST /api/auth/login HTTP/1.1\r\nHost: a.example\r\nContent-Length: 8000000\r\n\r\n").await;
    wire.write(vec![b'a'; 8_000_000]).await;
    let answer = wire.rest().await;
    assert!(answer.starts_with("HTTP/1.1 41") && answer.ends_with('}'), "{answer}");
    Ok(())
}
