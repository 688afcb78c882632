//! `cargo xtask dist`: the binary that is given away. Builds it without shared libraries and by a profile of what it
//! does (`profile.rs`), and shows that it needs nothing: it is run in an empty root directory, as another user, on both
//! databases.
//!
//! glibc is linked statically. The names of hosts are resolved by glibc in there, which in a static program is known
//! to fail where its own shared libraries are missing; from version 2.34 files and DNS are built in, and the check
//! uses both.

mod checks;
mod dns;
mod elf;
mod profile;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::shell;

/// How it is compiled. Statically, glibc does not tell whether it has `getrandom`, and
/// without the second flag `/dev/urandom` would be read, which an empty root directory does not have.
const FLAGS: &str = r#"-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom""#;

/// Largest binary, in bytes.
const MAX_BYTES: u64 = 30_000_000;

/// What is built, and where it goes.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Folder for the binary
    #[arg(long, value_name = "FOLDER", default_value = "target/dist")]
    out: PathBuf,
    /// Only build; the check needs root, PostgreSQL and the program `chroot`
    #[arg(long)]
    no_check: bool,
    /// Build once only, without a profile: in half the time, for a slower binary
    #[arg(long)]
    no_profile: bool,
}

/// Builds, checks, and puts the binary into the folder.
///
/// # Errors
/// When something cannot be built or run; the message says what.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let built = build(!arguments.no_profile)?;
    let bytes = fs::read(&built).with_context(|| format!("read {}", built.display()))?;
    let mut passed = bar(
        "size",
        bytes.len() as u64 <= MAX_BYTES,
        &format!("{} bytes of at most {MAX_BYTES}", bytes.len()),
    );
    let needs = elf::needs(&bytes)?;
    passed &= bar(
        "static",
        needs.is_empty(),
        if needs.is_empty() { "no interpreter, no shared library" } else { &needs },
    );
    if !arguments.no_check {
        passed &= checks::run(&built)?;
    }
    if passed {
        put(&built, &arguments.out)?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line for one thing that must hold.
fn bar(name: &str, holds: bool, detail: &str) -> bool {
    println!("{name:<12} {:<4}  {detail}", if holds { "pass" } else { "FAIL" });
    holds
}

/// The release binary for this machine, linked statically; by a new profile or without.
fn build(with_profile: bool) -> Result<PathBuf> {
    let triple = host()?;
    let profile = if with_profile { profile::make(&triple, &profile_folder())? } else { None };
    build_by(&triple, profile.as_deref())
}

/// The binary that is given away, by the profile that was made last, or else a new one: for benchmarks. A profile that
/// is a little older than the source costs little.
///
/// # Errors
/// When it does not build.
pub fn optimised() -> Result<PathBuf> {
    let triple = host()?;
    let last = profile_folder().join("phoenix.profdata");
    let profile = if last.is_file() { Some(last) } else { profile::make(&triple, &profile_folder())? };
    build_by(&triple, profile.as_deref())
}

fn build_by(triple: &str, profile: Option<&Path>) -> Result<PathBuf> {
    let flags = profile
        .map_or_else(|| FLAGS.to_owned(), |profile| format!("{FLAGS} -C profile-use={}", profile.display()));
    build_with(triple, &flags, None)
}

/// With these flags for the program; dependencies that run while it is built have none of them.
fn build_with(triple: &str, flags: &str, folder: Option<&Path>) -> Result<PathBuf> {
    let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", triple.to_uppercase().replace('-', "_"));
    let folder = folder.map_or_else(target, Path::to_path_buf);
    let mut cargo =
        shell::cargo(&["build", "--release", "--locked", "--package", "phoenix", "--target", triple]);
    cargo.env(variable, flags).env("CARGO_TARGET_DIR", &folder);
    // It would win over the variable of the target.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    ensure!(shell::succeeds(&mut cargo)?, "the binary was not built");
    Ok(folder.join(triple).join("release/phoenix"))
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), PathBuf::from)
}

fn profile_folder() -> PathBuf {
    target().join("profile")
}

/// The target that this machine is.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("start rustc")?;
    let text = String::from_utf8(output.stdout).context("rustc -vV")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_owned())
}

fn put(built: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let to = folder.join("phoenix");
    fs::copy(built, &to).with_context(|| format!("write {}", to.display()))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).context("make it executable")?;
    println!("{}", to.display());
    Ok(())
}
