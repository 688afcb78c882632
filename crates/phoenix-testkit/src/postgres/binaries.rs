//! Finds the programs of `PostgreSQL` and `Redis` on this machine, and the account that may run `PostgreSQL`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Oldest major version that Phoenix supports.
pub const MINIMUM_VERSION: u32 = 15;

/// The directory with `initdb` and `postgres` of the highest installed version, 15 or later: the places where
/// distributions put it first, then `PATH`.
///
/// # Errors
/// When there is none.
pub fn directory() -> Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    let roots = ["/usr/lib/postgresql", "/usr/lib64/postgresql", "/opt/homebrew/opt", "/usr/local/opt"];
    for entry in roots.iter().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten() {
        found.extend(candidate(entry.path().join("bin")));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    found.extend(env::split_paths(&path).filter_map(candidate));
    found.sort_by_key(|(version, _)| *version);
    let (_, directory) = found.pop().with_context(|| {
        format!(
            "no PostgreSQL server of version {MINIMUM_VERSION} or later is installed; run `cargo xtask test`"
        )
    })?;
    Ok(directory)
}

/// Path of `redis-server` (or `valkey-server`, which speaks the same protocol) in `PATH`.
///
/// # Errors
/// When there is none.
pub fn redis_server() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    ["redis-server", "valkey-server"]
        .iter()
        .find_map(|name| env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()))
        .context("no redis-server is installed; run `cargo xtask test`")
}

/// The account to run the server as: `PostgreSQL` refuses to run as root.
pub(super) fn unprivileged_account() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let has_own = accounts.lines().any(|line| line.starts_with("postgres:"));
    Some(if has_own { "postgres" } else { "nobody" })
}

fn candidate(directory: PathBuf) -> Option<(u32, PathBuf)> {
    if !directory.join("initdb").is_file() {
        return None;
    }
    let version = major_version(&directory.join("postgres"))?;
    (version >= MINIMUM_VERSION).then_some((version, directory))
}

/// Reads 15 from `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major_version(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_ascii_whitespace().nth(2)?;
    number.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}
