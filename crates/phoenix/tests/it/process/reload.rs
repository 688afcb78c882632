//! `SIGHUP` with a real process: rules of rate limits change while it serves, and a broken file changes nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use phoenix_testkit::process::PhoenixProcess;
use phoenix_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::support::{CommandLine, phoenix};

/// Longest time until a signal has been obeyed.
const BOUND: Duration = Duration::from_secs(20);
pub(super) const READ_AGAIN: &str = "configuration read again; what was counted stays counted";
pub(super) const REFUSED: &str =
    "the configuration is wrong, so nothing of it takes effect; the one before goes on";

fn hang_up(server: &PhoenixProcess) -> Result<()> {
    let pid = server.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    Ok(kill_process(pid.context("it runs")?, Signal::HUP)?)
}

fn lines(server: &PhoenixProcess) -> Vec<Value> {
    server.stderr().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Writes the file, sends the signal, and returns what was logged up to and with `last`, which must be new.
pub(super) async fn reread(
    server: &PhoenixProcess,
    file: &Path,
    text: &str,
    last: &str,
) -> Result<Vec<Value>> {
    let before = lines(server).len();
    fs::write(file, text)?;
    hang_up(server)?;
    let is_last = |line: &Value| line["message"] == last;
    let news = || {
        let mut news = lines(server).split_off(before);
        let end = news.iter().position(is_last)?;
        news.truncate(end + 1);
        Some(news)
    };
    Ok(wait::for_some(BOUND, last, || async { news() }).await)
}

fn find<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["message"] == message).collect()
}

// spec: R2
#[tokio::test]
async fn rules_are_read_again_and_a_broken_file_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("phoenix.toml");
    let first = "[limits.classes.api]\nwindows = [\"50/1m\"]\n";
    fs::write(&file, first)?;
    let server = phoenix().arg("--config").arg(file.to_string_lossy()).start()?;
    let pid = server.pid();

    let second = "[limits.classes.api]\nwindows = [\"60/1m\"]\n[limits.classes.mine]\nwindows = [\"1/1s\"]\n\
                  [limits]\nmemory = \"32MiB\"\n[cache]\nl1_ttl = \"1m\"\n";
    let log = reread(&server, &file, second, READ_AGAIN).await?;
    let changed = find(&log, "rate limits changed");
    let settings: Vec<&str> = changed.iter().filter_map(|line| line["setting"].as_str()).collect();
    assert_eq!(settings, ["limits.classes.api", "limits.classes.mine"], "{log:#?}");
    assert!(
        changed[0]["from"].to_string().contains("50/1m") && changed[0]["to"].to_string().contains("60/1m")
    );
    assert_eq!(changed[1]["from"], "not set");
    let at_start = find(&log, "changed settings that take effect at the next start");
    assert_eq!(at_start[0]["settings"], "cache.l1_ttl, limits.memory");

    let broken = "[limits.classes.api]\nwindows = [\"0/1m\"]\nblock = \"never\"\n";
    let log = reread(&server, &file, broken, REFUSED).await?;
    let wrong = find(&log, "wrong in the configuration");
    assert_eq!(wrong.len(), 2, "{log:#?}");
    assert_eq!(wrong[0]["level"], "ERROR");
    assert_eq!(wrong[0]["setting"], "limits.classes.api.windows");
    assert!(wrong[0]["source"].to_string().contains("phoenix.toml:2"), "{log:#?}");
    let no_class = "[[limits.routes]]\npath = \"/x\"\nclass = \"nothing\"\n";
    let log = reread(&server, &file, no_class, REFUSED).await?;
    assert_eq!(find(&log, "wrong in the configuration")[0]["setting"], "limits.routes[1].class");
    let log = reread(&server, &file, "[limits\n", REFUSED).await?;
    assert!(find(&log, "wrong in the configuration")[0]["reason"].to_string().contains("not valid TOML"));

    // What was refused left no trace: the second file changes nothing, the first one is the way back.
    let log = reread(&server, &file, second, READ_AGAIN).await?;
    assert!(find(&log, "rate limits changed").is_empty(), "{log:#?}");
    let log = reread(&server, &file, first, READ_AGAIN).await?;
    assert_eq!(find(&log, "rate limits changed").len(), 2, "{log:#?}");
    assert!(find(&log, "changed settings that take effect at the next start").is_empty(), "{log:#?}");
    assert_eq!(server.client().get("/healthz").send().await?.status, 200);
    assert_eq!(server.pid(), pid);
    fs::remove_file(&file)?;
    hang_up(&server)?;
    wait::until(BOUND, "the file is missed", || async {
        server.stderr().contains("cannot be read: No such file")
    })
    .await;
    server.terminate()?;
    Ok(())
}

// spec: G2
#[tokio::test]
async fn routes_are_read_again_with_the_limits_and_both_or_neither_take_effect() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("phoenix.toml");
    let first = "[gateway]\nupstream = [\"http://127.0.0.1:9\"]\n";
    fs::write(&file, first)?;
    let server = phoenix().arg("--config").arg(file.to_string_lossy()).start()?;

    let route = "[[gateway.routes]]\npath = \"/x\"\nauth = \"required\"\n";
    let limit = "[limits.classes.api]\nwindows = [\"60/1m\"]\n";
    let log = reread(&server, &file, &format!("{first}{route}"), READ_AGAIN).await?;
    let changed = find(&log, "routes changed");
    assert_eq!(changed[0]["setting"], "gateway.routes", "{log:#?}");
    assert_eq!((&changed[0]["added"], &changed[0]["removed"]), (&"/x".into(), &"".into()), "{log:#?}");

    // An upstream that the running process does not have, together with limits that would do.
    let unknown = "[gateway.upstreams.new]\nservers = [\"http://127.0.0.1:10\"]\n[[gateway.routes]]\npath = \"/y\"\n\
                   upstream = \"new\"\n";
    let log = reread(&server, &file, &format!("{first}{limit}{unknown}"), REFUSED).await?;
    let wrong = find(&log, "wrong in the configuration");
    assert_eq!(wrong[0]["setting"], "gateway.routes[1].upstream", "{log:#?}");
    assert!(wrong[0]["remedy"].to_string().contains("take effect at a start"), "{log:#?}");
    let log = reread(&server, &file, &format!("{first}{route}{limit}"), READ_AGAIN).await?;
    assert_eq!(find(&log, "rate limits changed").len(), 1, "what was refused left no trace: {log:#?}");
    assert!(find(&log, "routes changed").is_empty(), "{log:#?}");

    let other = "[gateway]\nupstream = [\"http://127.0.0.1:11\"]\n";
    let log = reread(&server, &file, &format!("{other}{route}{limit}"), READ_AGAIN).await?;
    let at_start = find(&log, "changed settings that take effect at the next start");
    assert_eq!(at_start[0]["settings"], "gateway.upstream", "{log:#?}");
    server.terminate()?;
    Ok(())
}

// spec: G2
#[tokio::test]
async fn the_values_of_headers_are_in_no_line_of_the_log() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("phoenix.toml");
    let first = "[gateway]\nupstream = [\"http://127.0.0.1:9\"]\n";
    fs::write(&file, first)?;
    let server = phoenix().arg("--config").arg(file.to_string_lossy()).start()?;
    let with =
        |headers: &str| format!("{first}[[gateway.routes]]\npath = \"/x\"\nrequest_headers = {headers}\n");
    let secret = "{ set = { authorization = \"Basic canary\", x-api-key = \"sk_canary_1\" } }";
    reread(&server, &file, &with(secret), READ_AGAIN).await?;
    // Only a value is another one: that is a change, and said.
    let log = reread(&server, &file, &with(&secret.replace("_1", "_2")), READ_AGAIN).await?;
    let changed = find(&log, "routes changed");
    assert_eq!(changed.len(), 1, "{log:#?}");
    assert_eq!((&changed[0]["changed"], &changed[0]["added"]), (&"/x".into(), &"".into()), "{log:#?}");
    // Nor when it is refused.
    for wrong in ["{ set = { host = \"canary\" } }", "{ set = [\"x-api-key: canary\"] }", "\"canary\""] {
        reread(&server, &file, &with(wrong), REFUSED).await?;
    }
    assert!(!server.stderr().contains("canary"), "{}", server.stderr());
    server.terminate()?;
    Ok(())
}

/// So many searches; the statuses of their answers.
async fn searches(server: &PhoenixProcess, number: usize) -> Result<Vec<u16>> {
    let client = server.client();
    let mut statuses = Vec::new();
    for _ in 0..number {
        statuses.push(client.get("/api/search").send().await?.status.as_u16());
    }
    Ok(statuses)
}

// spec: R2
#[tokio::test]
async fn what_was_counted_stays_counted_when_the_limit_changes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("phoenix.toml");
    let rule =
        |windows: &str| format!("[limits.classes.search]\nwindows = [\"{windows}\"]\nblock = \"none\"\n");
    fs::write(&file, rule("4/1h"))?;
    let server =
        phoenix().env("PHOENIX_LIMITS_EXEMPT", "").arg("--config").arg(file.to_string_lossy()).start()?;
    assert_eq!(searches(&server, 3).await?, [404, 404, 404]);
    reread(&server, &file, &rule("5/1h"), READ_AGAIN).await?;
    assert_eq!(searches(&server, 3).await?, [404, 404, 429], "three of five were used");
    reread(&server, &file, &rule("2/2h"), READ_AGAIN).await?;
    assert_eq!(searches(&server, 1).await?, [429], "five of two");
    reread(&server, &file, &rule("6/30m"), READ_AGAIN).await?;
    assert_eq!(searches(&server, 2).await?, [404, 429], "five of six");
    // Nor does a block end, or begin anew.
    let blocking = "[limits.classes.search]\nwindows = [\"6/1h\"]\nblock = \"2h\"\n";
    reread(&server, &file, blocking, READ_AGAIN).await?;
    assert_eq!(searches(&server, 1).await?, [429]);
    reread(&server, &file, &rule("100/1h"), READ_AGAIN).await?;
    let refused = server.client().get("/api/search").send().await?;
    let wait: u64 = refused.header("retry-after").context("it is still blocked")?.parse()?;
    assert!((7_000..=7_200).contains(&wait), "{wait}");
    server.terminate()?;
    Ok(())
}

#[tokio::test]
async fn check_reports_all_errors_of_the_rules_with_their_places() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let text = "[limits.classes.auth]\nkey = \"principal\"\n\n[[limits.routes]]\npath = \"/a/{b}\"\nclass = \"api\"\n\n\
                [[limits.routes]]\npath = \"/a/{c}\"\nclass = \"search\"\n\n[[limits.routes]]\npath = \"/x\"\nclass = \"y\"\n";
    fs::write(folder.path().join("phoenix.toml"), text)?;
    let phoenix = CommandLine::in_folder(folder.path());
    let parts = [
        "3 errors",
        "limits.classes.auth.key",
        "phoenix.toml:2",
        "limits.routes[2].path",
        "phoenix.toml:9",
        "the same requests as \"/a/{b}\"",
        "limits.routes[3].class",
        "phoenix.toml:14",
        "there is no class \"y\"",
    ];
    phoenix.run(&["config", "check"]).await.failed(2, &parts);
    phoenix.run(&["serve"]).await.failed(2, &parts);
    Ok(())
}
