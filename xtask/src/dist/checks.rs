//! The binary in an empty root directory: nothing but itself, a folder for data, and the two files that every
//! container gets (`/etc/hosts`, `/etc/resolv.conf`). As a user that exists nowhere.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::process::{Builder, Exit, PhoenixProcess};

use super::{bar, dns};

/// User and group, as in the Dockerfile.
const USER: u32 = 65532;
/// Names of the database's host: one in the file, one that only the name server knows.
const IN_HOSTS: &str = "in-hosts.test";
const IN_DNS: &str = "in-dns.test";

/// Runs all checks; whether they passed.
///
/// # Errors
/// When they cannot be run here.
pub(super) fn run(binary: &Path) -> Result<bool> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "the check needs root, for chroot and for a name server on port 53; --no-check only builds"
    );
    let folder = empty_root(binary)?;
    let root = folder.to_str().context("the folder's name is not UTF-8")?;
    dns::serve(IN_DNS)?;
    let postgres = Postgres::start()?;
    let mut passed = starts(root, "embedded", None)?;
    for host in [IN_HOSTS, IN_DNS] {
        let url = postgres.create_database().replace("@127.0.0.1:", &format!("@{host}:"));
        ensure!(url.contains(host), "{url} does not name {host}");
        passed &= starts(root, host, Some(url))?;
    }
    fs::remove_dir_all(&folder).context("remove the root directory")?;
    Ok(passed)
}

fn empty_root(binary: &Path) -> Result<std::path::PathBuf> {
    let folder = std::env::temp_dir().join(format!("phoenix-dist-{}", std::process::id()));
    fs::create_dir_all(folder.join("etc")).context("make a root directory")?;
    fs::create_dir(folder.join("data")).context("make a folder for data")?;
    chown(folder.join("data"), Some(USER), Some(USER)).context("give it to the user")?;
    fs::copy(binary, folder.join("phoenix")).context("copy the binary")?;
    fs::write(folder.join("etc/hosts"), format!("127.0.0.1 localhost {IN_HOSTS}\n"))?;
    fs::write(folder.join("etc/resolv.conf"), format!("nameserver {}\n", dns::ADDRESS))?;
    for path in ["", "etc", "etc/hosts", "etc/resolv.conf", "phoenix"] {
        fs::set_permissions(folder.join(path), fs::Permissions::from_mode(0o755))?;
    }
    Ok(folder)
}

/// Starts it, asks it from outside and by its own health check, and ends it.
fn starts(root: &str, name: &str, database: Option<String>) -> Result<bool> {
    let user = format!("--userspec={USER}:{USER}");
    let mut start: Builder = PhoenixProcess::builder("/phoenix")
        .run_under(["chroot", &user, "--groups=", root])
        .env("PHOENIX_DATA_DIR", "/data")
        .env("PHOENIX_DRAIN_IDLE", "0s");
    if let Some(url) = database {
        start = start.env("DATABASE_URL", url);
    }
    let server = match start.start() {
        Ok(server) => server,
        Err(error) => return Ok(bar(name, false, &format!("{error:#}"))),
    };
    let address = server.address().to_string();
    let health =
        Command::new("chroot").args([&user, root, "/phoenix", "health", "--address", &address]).output();
    let health = health.context("start chroot")?;
    let memory = server.memory()?;
    let ended = server.terminate()?;
    let holds = health.status.success() && ended == Exit::Code(0);
    let answer = String::from_utf8_lossy(&health.stdout);
    let detail = format!("health: {}; {memory:?}; ended with {ended:?}", answer.trim());
    Ok(bar(name, holds, &detail))
}
