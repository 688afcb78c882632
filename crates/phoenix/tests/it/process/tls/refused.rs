//! Certificates that cannot be used: the start is refused with a clear error, as is `config check`.

use std::path::Path;

use anyhow::Result;
use phoenix_testkit::port;
use rcgen::date_time_ymd;

use super::super::support::CommandLine;
use super::support::{Authority, Folder};

const BROKEN: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

async fn is_refused(folder: &Folder, name: &str, certificates: &str, more: &[(&str, &str)], parts: &[&str]) {
    let listen = format!("127.0.0.1:{}", port::free());
    let command = CommandLine::in_folder(folder.path())
        .env("PHOENIX_LISTEN", &listen)
        .env("PHOENIX_TLS_CERTIFICATES", certificates);
    let command = more.iter().fold(command, |command, (name, value)| command.env(name, *value));
    for arguments in [&["serve"][..], &["config", "check"]] {
        let ran = command.run(arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{name}: {ran:?}");
        ran.failed(2, parts);
        assert!(!ran.stderr.contains("-----END"), "{name}: nothing of a file is shown: {ran:?}");
    }
    assert!(!Path::new(&folder.path().join("phoenix-data")).exists(), "{name}: something was changed");
}

// spec: G4
#[tokio::test]
async fn a_start_with_a_certificate_that_cannot_be_used_is_refused() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let names = ["a.example"];
    let good = authority.server(&names)?;
    let expired = authority.issue(&names, |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 2, 3);
    })?;
    let early = authority.issue(&names, |params| params.not_before = date_time_ymd(2090, 1, 1))?;
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let file =
        |name: &str, text: &str| folder.write(name, text).map(|path| path.to_string_lossy().into_owned());
    let (crt, key) =
        (file("good.crt", &good.certificate.pem())?, file("good.key", &good.key.serialize_pem())?);
    let both = file("both.pem", &good.both())?;
    let other = file("other.key", &expired.key.serialize_pem())?;
    let large = file("large.pem", &"x".repeat(1024 * 1024 + 1))?;
    for (name, certificates, parts) in [
        (
            "missing",
            "/nowhere/a.pem".to_owned(),
            &["tls.certificates", "/nowhere/a.pem cannot be read: No such file", "may read"][..],
        ),
        ("a folder", folder.path().to_string_lossy().into_owned(), &["cannot be read: Is a directory"]),
        (
            "expired",
            file("expired.pem", &expired.both())?,
            &["expired.pem expired at 2021-02-03T00:00:00.000Z", "renew"],
        ),
        (
            "too early",
            file("early.pem", &early.both())?,
            &["early.pem is not valid before 2090-01-01", "clock"],
        ),
        (
            "mismatch",
            format!("{crt}:{other}"),
            &["other.key does not belong to the first certificate in", "issued together"],
        ),
        ("no key", crt.clone(), &["good.crt holds no private key", "after a colon"]),
        ("no certificate", key.clone(), &["good.key holds no certificate"]),
        (
            "encrypted",
            format!("{crt}:{}", file("locked.key", encrypted)?),
            &["locked.key is encrypted", "openssl pkey"],
        ),
        (
            "broken",
            format!("{}:{key}", file("broken.crt", BROKEN)?),
            &["certificate 1 in", "broken.crt is broken"],
        ),
        ("empty", file("empty.pem", "")?, &["empty.pem holds no certificate"]),
        ("large", large, &["larger than 1 MiB"]),
        (
            "two at once",
            format!("/nowhere/b.pem,{both},{crt}"),
            &["2 errors", "/nowhere/b.pem", "good.crt holds no private key"],
        ),
    ] {
        is_refused(&folder, name, &certificates, &[], parts).await;
    }
    Ok(())
}

// spec: G4
#[tokio::test]
async fn a_start_with_authorities_that_cannot_be_used_is_refused() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let good = authority.server(&["a.example"])?;
    let file =
        |name: &str, text: &str| folder.write(name, text).map(|path| path.to_string_lossy().into_owned());
    let (both, key) = (file("both.pem", &good.both())?, file("good.key", &good.key.serialize_pem())?);
    let broken = file("broken.pem", BROKEN)?;
    for (name, authorities, parts) in [
        (
            "no authorities",
            "/nowhere/ca.pem".to_owned(),
            &["tls.admin_client_ca", "/nowhere/ca.pem cannot be read"][..],
        ),
        ("a key", key.clone(), &["tls.admin_client_ca", "good.key holds no certificate"]),
        ("broken authority", broken, &["certificate 1 in", "cannot be an authority"]),
    ] {
        is_refused(&folder, name, &both, &[("PHOENIX_TLS_ADMIN_CLIENT_CA", &authorities)], parts).await;
    }
    // Who manages accounts needs no certificate.
    let command = CommandLine::in_folder(folder.path()).env("PHOENIX_TLS_CERTIFICATES", "/nowhere/a.pem");
    command.run(&["user", "list"]).await.succeeded();
    Ok(())
}
