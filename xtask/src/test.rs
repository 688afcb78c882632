//! `cargo xtask test`: makes sure the servers that tests start exist on this machine, then runs every test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use phoenix_testkit::postgres::binaries;
use phoenix_testkit::programs::Kind;

use crate::shell;

/// Debian and Ubuntu ask this script whether a package may start its service.
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";
const PACKAGES: [&str; 5] = ["postgresql", "redis-server", "nginx-light", "caddy", "haproxy"];
/// Exit status when the user has to do something first.
const NOT_PREPARED: u8 = 2;

/// Runs the tests; `arguments` go to `cargo test`.
///
/// # Errors
/// When a program cannot be started.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    if !servers_exist() && may_install() {
        install()?;
    }
    if !servers_exist() {
        eprintln!("{}", instructions());
        return Ok(ExitCode::from(NOT_PREPARED));
    }
    // Both always run, so that one call shows all failures.
    let mut passed = true;
    for what in ["--all-targets", "--doc"] {
        passed &= shell::succeeds(shell::cargo(&["test", "--workspace", what]).args(arguments))?;
    }
    if arguments.is_empty() {
        passed &= node_client()?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tests the library for Node.js. Without Node.js that fails and says so; tests of Rust alone are run by naming some.
fn node_client() -> Result<bool> {
    let npm = |arguments: &[&str]| {
        let mut command = Command::new("npm");
        command.args(arguments).current_dir(shell::root().join("clients/node"));
        shell::succeeds(&mut command).with_context(|| {
            format!("run npm {}; clients/node needs Node.js 20.9 or later with npm", arguments.join(" "))
        })
    };
    Ok(npm(&["ci", "--no-audit", "--no-fund"])? && npm(&["test"])?)
}

fn servers_exist() -> bool {
    let proxies = [Kind::Nginx, Kind::Caddy, Kind::HaProxy];
    binaries::directory().is_ok()
        && binaries::redis_server().is_ok()
        && proxies.iter().all(|proxy| proxy.program().is_ok())
}

fn may_install() -> bool {
    rustix::process::geteuid().is_root() && Path::new("/usr/bin/apt-get").exists()
}

/// Installs the packages without leaving a service running.
fn install() -> Result<()> {
    println!("installing {} ...", PACKAGES.join(" and "));
    let policy = if Path::new(SERVICE_POLICY).exists() { None } else { Some(ServicePolicy::forbid()?) };
    let update = apt_get(&["update"])?;
    let installed = apt_get(&[["install", "-y", "--no-install-recommends"].as_slice(), &PACKAGES].concat())?;
    drop(policy);
    if !(update && installed) {
        eprintln!("apt-get did not succeed");
    }
    Ok(())
}

fn apt_get(arguments: &[&str]) -> Result<bool> {
    shell::succeeds(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// While it lives, packages that are installed do not start their services.
struct ServicePolicy;

impl ServicePolicy {
    fn forbid() -> Result<Self> {
        fs::write(SERVICE_POLICY, "#!/bin/sh\nexit 101\n").context("write the service policy")?;
        let policy = Self;
        fs::set_permissions(SERVICE_POLICY, fs::Permissions::from_mode(0o755))
            .context("make the service policy executable")?;
        Ok(policy)
    }
}

impl Drop for ServicePolicy {
    fn drop(&mut self) {
        let _ = fs::remove_file(SERVICE_POLICY);
    }
}

fn instructions() -> String {
    let minimum = binaries::MINIMUM_VERSION;
    let command = if cfg!(target_os = "macos") {
        "brew install postgresql@17 redis nginx caddy haproxy"
    } else if Path::new("/usr/bin/apt-get").exists() {
        "sudo apt-get install --no-install-recommends postgresql redis-server nginx-light caddy haproxy"
    } else if Path::new("/usr/bin/dnf").exists() {
        "sudo dnf install postgresql-server postgresql-contrib redis nginx caddy haproxy"
    } else {
        "with your package manager, so that initdb, postgres, redis-server, nginx, caddy and haproxy are in PATH"
    };
    format!(
        "The tests start private servers and need the programs of PostgreSQL {minimum} or later, of Redis, nginx, Caddy and \
         HAProxy.\nInstall them, no service has to run:\n\n    {command}\n"
    )
}
