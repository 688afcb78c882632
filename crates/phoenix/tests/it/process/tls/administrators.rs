//! Administrators' client certificates: with one, without, from elsewhere, and after their authority is gone.

use anyhow::Result;
use phoenix_testkit::wait;

use super::reload::{BOUND, hang_up};
use super::support::{Authority, Folder, Wanted, connect, get, server, sign_in};

const USERS: &str = "/api/admin/users";

// spec: G4
#[tokio::test]
async fn an_administrator_needs_a_certificate_and_nobody_else_does() -> Result<()> {
    let (authority, staff, foreign) = (Authority::new("A")?, Authority::new("Staff")?, Authority::new("F")?);
    let folder = Folder::new()?;
    let file = folder.write("a.pem", &authority.server(&["a.example"])?.both())?;
    let authorities = folder.write("staff.pem", &staff.pem())?;
    let server =
        server(&[&file]).env("PHOENIX_TLS_ADMIN_CLIENT_CA", authorities.to_string_lossy()).start()?;
    let (card, forged) = (staff.client("root")?, foreign.client("root")?);
    let without = Wanted::new(&authority).config()?;
    let with = Wanted { shows: Some(&card), ..Wanted::new(&authority) }.config()?;
    let wrong = Wanted { shows: Some(&forged), ..Wanted::new(&authority) }.config()?;

    // Signing in needs none, nor does what is not an administrator's.
    let token = sign_in(&server, &without).await?;
    assert_eq!(get(&server, &without, "/api/auth/me", Some(&token)).await?.status, 200);
    let refused = get(&server, &without, USERS, Some(&token)).await?;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("client-certificate-required"), "{refused:?}");
    assert_eq!(
        get(&server, &without, USERS, None).await?.status,
        401,
        "nobody is told what administrators need"
    );
    let short = get(&server, &without, "/api/phoenix/status", Some(&token)).await?;
    assert!(short.status == 200 && short.json()?.get("tls").is_none(), "{short:?}");

    // Twice: the second handshake goes on with the session of the first.
    for _ in 0..2 {
        assert_eq!(get(&server, &with, USERS, Some(&token)).await?.status, 200);
    }
    assert_eq!(get(&server, &with, USERS, None).await?.status, 401, "a certificate is no session");
    let full = get(&server, &with, "/api/phoenix/status", Some(&token)).await?.json()?;
    assert_eq!(full["tls"]["clientAuthorities"]["authorities"], 1, "{full}");
    assert!(full["tls"]["resumed"].as_u64() >= Some(1), "{full}");
    assert!(get(&server, &wrong, "/healthz", None).await.is_err(), "a certificate of nobody known");

    // The authority is replaced: neither a new handshake nor an old session lets its certificates in.
    std::fs::write(&authorities, foreign.pem())?;
    hang_up(&server)?;
    wait::until(BOUND, "the new authority", || async {
        get(&server, &wrong, USERS, Some(&token)).await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    let refused = match connect(server.address(), &with, "a.example").await {
        Err(_) => true,
        Ok(_) => get(&server, &with, USERS, Some(&token)).await.is_err(),
    };
    assert!(refused);
    Ok(())
}
