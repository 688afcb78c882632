//! What the compiler is told of how the program runs (profile-guided optimisation): a build that counts serves the
//! requests that matter most, and the build that is given away is laid out by what was counted.
//!
//! Needs `llvm-profdata` of the compiler's own version, the component `llvm-tools` of rustup. Without it the binary is
//! built all the same, only slower.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use phoenix_testkit::process::{Exit, PhoenixProcess};
use serde_json::json;

use crate::bench::load::{self, Plan, Requests};
use crate::bench::proxy;
use crate::bench::reference::ReferenceServer;
use crate::shell;

/// Sessions that ask. So few, because each is registered.
const SESSIONS: usize = 8;
/// How long each kind of request is asked.
const TURN: Duration = Duration::from_secs(3);
/// Of one class for all of them, above what a build that counts can serve.
const CLASSES: &str = r#"{api = {windows = ["10000/1s"], block = "5m", key = "principal"}}"#;

/// Makes a profile with a build for this target, in `folder`; `None` if there is no tool for it.
///
/// # Errors
/// When the program cannot be built or run.
pub(super) fn make(triple: &str, folder: &Path) -> Result<Option<PathBuf>> {
    let Some(tool) = tool(triple)? else {
        eprintln!("no llvm-profdata (rustup component add llvm-tools): built without a profile");
        return Ok(None);
    };
    let counts = folder.join("counts");
    if counts.exists() {
        std::fs::remove_dir_all(&counts).with_context(|| format!("empty {}", counts.display()))?;
    }
    let flags = format!("{} -C profile-generate={}", super::FLAGS, counts.display());
    let program = super::build_with(triple, &flags, Some(&folder.join("build")))?;
    run(&program)?;
    let profile = folder.join("phoenix.profdata");
    let mut merge = Command::new(tool);
    merge.args(["merge", "-o"]).arg(&profile).arg(&counts);
    ensure!(shell::succeeds(&mut merge)?, "the counts were not merged");
    Ok(Some(profile))
}

/// The compiler's `llvm-profdata`; installed if rustup can.
fn tool(triple: &str) -> Result<Option<PathBuf>> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().context("start rustc")?;
    let sysroot = String::from_utf8(output.stdout).context("rustc --print sysroot")?;
    let tool = Path::new(sysroot.trim()).join(format!("lib/rustlib/{triple}/bin/llvm-profdata"));
    if !tool.is_file() {
        let _ = Command::new("rustup").args(["component", "add", "llvm-tools"]).status();
    }
    Ok(tool.is_file().then_some(tool))
}

/// Serves what matters: an application's answers with and without identity and limits, and `GET /api/auth/me`.
fn run(program: &Path) -> Result<()> {
    let this = std::env::current_exe().context("find this program")?;
    let origin = ReferenceServer::start_command(&this, &[], "bench-origin")?;
    let builder = || {
        PhoenixProcess::builder(program)
            .env("PHOENIX_UPSTREAM", format!("http://{}", origin.address()))
            .env("PHOENIX_LOG", "warn")
    };
    let open = builder().env("PHOENIX_LIMITS", "false").env("PHOENIX_GATEWAY_ROUTES", proxy::OPEN).start()?;
    for path in [proxy::SMALL, proxy::LARGE] {
        ask(&open, proxy::plain(path))?;
    }
    end(&open)?;
    let protected = builder()
        .env("PHOENIX_GATEWAY_ROUTES", proxy::PROTECTED)
        .env("PHOENIX_LIMITS_CLASSES", CLASSES)
        .start()?;
    let tokens = register(&protected)?;
    for path in [proxy::SMALL, proxy::LARGE, "/api/auth/me"] {
        ask(&protected, proxy::signed_in(path, &tokens))?;
    }
    end(&protected)
}

fn ask(server: &PhoenixProcess, requests: Requests) -> Result<()> {
    let plan = Plan { warm_up: Duration::ZERO, duration: TURN, ..Plan::new(server.address(), requests) };
    let outcome = load::closed_loop(&plan)?;
    ensure!(outcome.completed > 0, "nothing was answered");
    Ok(())
}

fn register(server: &PhoenixProcess) -> Result<Vec<String>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("make a runtime")?;
    let client = server.client();
    (0..SESSIONS)
        .map(|number| {
            let account = json!({
                "email": format!("user{number}@example.com"),
                "password": "correct horse battery staple",
                "firstName": "Ada",
                "transport": "bearer",
            });
            let answer = runtime.block_on(client.post("/api/auth/register").json(&account).send())?;
            let body: serde_json::Value = serde_json::from_slice(&answer.body).context("the account")?;
            let token = body["token"].as_str().context("a token")?;
            Ok(token.to_owned())
        })
        .collect()
}

/// The counts are written when the process ends well.
fn end(server: &PhoenixProcess) -> Result<()> {
    server.ask_to_end()?;
    match server.wait_exit() {
        Exit::Code(0) => Ok(()),
        other => bail!("the program that counts did not end well: {other:?}"),
    }
}
