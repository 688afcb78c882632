//! Certificates that change while connections go on.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use phoenix::clock::SystemClock;
use phoenix_auth::ports::Clock;
use phoenix_testkit::process::PhoenixProcess;
use phoenix_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;

use super::support::{Authority, Folder, Wanted, connect, get, report, server, shown, sign_in};

/// Longest time until a change is noticed: files are looked at every 10 s.
pub(super) const BOUND: Duration = Duration::from_secs(40);
const REFUSED: &str = "a certificate cannot be used; the one before stays in use";
const MENDED: &str = "a certificate can be used again; it was in use all the time";

pub(super) fn hang_up(server: &PhoenixProcess) -> Result<()> {
    let pid = server.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    Ok(kill_process(pid.context("it runs")?, Signal::HUP)?)
}

async fn present(server: &PhoenixProcess, config: &Arc<ClientConfig>) -> Option<CertificateDer<'static>> {
    shown(&connect(server.address(), config, "a.example").await.ok()?)
}

async fn until_shown(server: &PhoenixProcess, config: &Arc<ClientConfig>, expected: &CertificateDer<'_>) {
    wait::until(BOUND, "the new certificate", || async {
        // A session that goes on shows the certificate of its beginning.
        let fresh = {
            let mut fresh = ClientConfig::clone(config);
            fresh.resumption = rustls::client::Resumption::disabled();
            Arc::new(fresh)
        };
        present(server, &fresh).await.as_ref() == Some(expected)
    })
    .await;
}

// spec: G4
#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_and_no_request_fails_meanwhile() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let (first, second) = (authority.server(&["a.example"])?, authority.server(&["a.example"])?);
    let file = folder.write("a.pem", &first.both())?;
    let server = Arc::new(server(&[&file]).start()?);
    let config = Wanted::new(&authority).config()?;
    until_shown(&server, &config, &first.der()).await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (server, config) = (Arc::clone(&server), Arc::clone(&config));
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        load.spawn(async move {
            // Four of these are 200 connections a second.
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            while !stop.load(Ordering::Relaxed) {
                ticks.tick().await;
                anyhow::ensure!(get(&server, &config, "/healthz", None).await?.status == 200);
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    let requests = |number: usize| {
        let done = &done;
        let from = done.load(Ordering::Relaxed);
        wait::until(BOUND, "requests", move || async move { done.load(Ordering::Relaxed) >= from + number })
    };
    requests(50).await;
    for next in [&second, &first, &second] {
        fs::write(&file, next.both())?;
        hang_up(&server)?;
        until_shown(&server, &config, &next.der()).await;
        requests(20).await;
    }
    stop.store(true, Ordering::Relaxed);
    for ended in load.join_all().await {
        ended?;
    }
    Ok(())
}

// spec: G4
#[tokio::test]
async fn a_certificate_that_cannot_be_used_changes_nothing_and_is_told_once() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let (first, second) = (authority.server(&["a.example"])?, authority.server(&["a.example"])?);
    let other = authority.server(&["b.example"])?;
    let files = [folder.write("a.pem", &first.both())?, folder.write("b.pem", &other.both())?];
    let server = server(&[&files[0], &files[1]]).start()?;
    let config = Wanted::new(&authority).config()?;
    let token = sign_in(&server, &config).await?;
    let mismatch = first.certificate.pem() + &second.key.serialize_pem();
    let refusals = || server.stderr().matches(REFUSED).count();
    for (number, broken) in [mismatch.as_str(), "", "rubbish"].into_iter().enumerate() {
        fs::write(&files[0], broken)?;
        hang_up(&server)?;
        wait::until(BOUND, "the refusal", || async { refusals() == number + 1 }).await;
        until_shown(&server, &config, &first.der()).await;
        let told = report(&server, &config, &token).await?;
        let error = told["certificates"][0]["lastError"].as_str().unwrap_or_default().to_owned();
        assert!(error.contains("a.pem"), "{told}");
        assert_eq!(told["certificates"][1]["lastError"], serde_json::Value::Null, "{told}");
    }
    // The one that is well is renewed while the other is broken; then all is well. What was told is not told again.
    let renewed = authority.server(&["b.example"])?;
    fs::write(&files[1], renewed.both())?;
    hang_up(&server)?;
    wait::until(BOUND, "the other certificate", || async {
        let stream = connect(server.address(), &config, "b.example").await;
        stream.is_ok_and(|stream| shown(&stream) == Some(renewed.der()))
    })
    .await;
    assert_eq!(refusals(), 3);
    fs::write(&files[0], second.both())?;
    hang_up(&server)?;
    until_shown(&server, &config, &second.der()).await;
    let told = report(&server, &config, &token).await?;
    assert_eq!(told["certificates"][0]["lastError"], serde_json::Value::Null, "{told}");
    assert_eq!(refusals(), 3);
    // The file before comes back after an error: that is said, too, so that whoever was woken knows.
    fs::write(&files[0], "rubbish")?;
    hang_up(&server)?;
    wait::until(BOUND, "the refusal", || async { refusals() == 4 }).await;
    assert!(!server.stderr().contains(MENDED), "{}", server.stderr());
    fs::write(&files[0], second.both())?;
    hang_up(&server)?;
    wait::until(BOUND, "the good news", || async { server.stderr().contains(MENDED) }).await;
    Ok(())
}

// spec: G4
#[tokio::test]
async fn a_link_that_is_put_elsewhere_is_noticed_without_a_signal() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let (first, second) = (authority.server(&["a.example"])?, authority.server(&["a.example"])?);
    // As Kubernetes mounts a secret: the files are links through one link that is replaced.
    for (version, issued) in [("v1", &first), ("v2", &second)] {
        fs::create_dir(folder.path().join(version))?;
        folder.write(&format!("{version}/tls.crt"), &issued.certificate.pem())?;
        folder.write(&format!("{version}/tls.key"), &issued.key.serialize_pem())?;
    }
    symlink("v1", folder.path().join("data"))?;
    symlink("data/tls.crt", folder.path().join("tls.crt"))?;
    symlink("data/tls.key", folder.path().join("tls.key"))?;
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let pair = format!("{}:{}", at("tls.crt"), at("tls.key"));
    let server = server(&[pair.as_ref()]).start()?;
    let config = Wanted::new(&authority).config()?;
    until_shown(&server, &config, &first.der()).await;
    symlink("v2", folder.path().join("next"))?;
    fs::rename(folder.path().join("next"), folder.path().join("data"))?;
    until_shown(&server, &config, &second.der()).await;
    assert!(!server.stderr().contains(REFUSED), "{}", server.stderr());
    Ok(())
}

// spec: G4
#[tokio::test]
async fn a_certificate_that_ends_soon_is_warned_of() -> Result<()> {
    let (authority, folder) = (Authority::new("A")?, Folder::new()?);
    let now = Duration::from_millis(u64::try_from(SystemClock::start().now().wall.as_millis())?);
    let in_days = |days: u64| (std::time::UNIX_EPOCH + now + Duration::from_hours(24 * days + 1)).into();
    let soon = authority.issue(&["a.example"], |params| params.not_after = in_days(13))?;
    let later = authority.issue(&["b.example"], |params| params.not_after = in_days(15))?;
    let files = [folder.write("a.pem", &soon.both())?, folder.write("b.pem", &later.both())?];
    let server = server(&[&files[0], &files[1]]).start()?;
    let warning = "a certificate expires soon; renew it";
    wait::until(BOUND, "the warning", || async { server.stderr().contains(warning) }).await;
    let config = Wanted::new(&authority).config()?;
    let token = sign_in(&server, &config).await?;
    let told = report(&server, &config, &token).await?;
    let facts = |index: usize| {
        let certificate = &told["certificates"][index];
        (certificate["expiresSoon"].as_bool(), certificate["daysLeft"].as_i64())
    };
    assert_eq!((facts(0), facts(1)), ((Some(true), Some(13)), (Some(false), Some(15))), "{told}");
    hang_up(&server)?;
    wait::until(BOUND, "the signal", || async { server.stderr().contains("configuration read again") }).await;
    assert_eq!(server.stderr().matches(warning).count(), 1, "once a day, of one of the two");
    Ok(())
}
