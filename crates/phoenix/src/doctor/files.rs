//! Files: who may read them, what disk they are on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statfs, statvfs};

/// Mode bits: others than owner and group.
const OTHERS: u32 = 0o007;
/// Where containers find their secrets.
const SECRET_MOUNTS: [&str; 2] = ["/run/secrets", "/var/run/secrets"];

/// The permission bits of a file; `None` when it is not there or cannot be looked at.
pub(super) fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o777)
}

/// Those of `files` that every user of the machine may read or write, with their modes. What a container is given as a
/// secret is left out: nobody else is in there, and its mode is not the operator's.
pub(super) fn open_to_all<'a>(
    files: impl IntoIterator<Item = &'a Path>,
    in_container: bool,
) -> Vec<(PathBuf, u32)> {
    let open = |path: &Path| Some((path.to_owned(), mode(path).filter(|mode| mode & OTHERS != 0)?));
    files.into_iter().filter(|path| !(in_container && is_mounted_secret(path))).filter_map(open).collect()
}

/// Those of `files` that are there, with their modes.
pub(super) fn modes<'a>(files: impl IntoIterator<Item = &'a Path>) -> Vec<(PathBuf, u32)> {
    files.into_iter().filter_map(|path| Some((path.to_owned(), mode(path)?))).collect()
}

/// Docker mounts secrets below `/run/secrets`, Kubernetes from memory.
fn is_mounted_secret(path: &Path) -> bool {
    SECRET_MOUNTS.iter().any(|folder| path.starts_with(folder)) || disk(path) == Some(Disk::Memory)
}

/// Paths with modes, for people.
pub(super) fn shown(files: &[(PathBuf, u32)]) -> String {
    let one = |(path, mode): &(PathBuf, u32)| format!("{} is {mode:04o}", path.display());
    files.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The path itself, or the nearest folder above it that is there.
pub(super) fn nearest(path: &Path) -> PathBuf {
    let here = path.ancestors().find(|ancestor| ancestor.exists() && !ancestor.as_os_str().is_empty());
    here.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Whether this user may make files there.
pub(super) fn is_writable_folder(path: &Path) -> bool {
    path.is_dir() && access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Free and whole space of the disk that holds `path`, in bytes.
pub(super) fn space(path: &Path) -> Option<(u64, u64)> {
    let disk = statvfs(path).ok()?;
    Some((disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize)))
}

/// What a disk is, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Disk {
    Local,
    /// Reached over a network, by this protocol.
    Network(&'static str),
    /// In memory: empty after a restart.
    Memory,
    /// The own layer of a container: gone with it.
    Layer,
}

/// What disk holds `path` (statfs(2)).
pub(super) fn disk(path: &Path) -> Option<Disk> {
    Some(match statfs(path).ok()?.f_type {
        0x6969 => Disk::Network("NFS"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Disk::Network("SMB"),
        0x00c3_6400 => Disk::Network("Ceph"),
        0x0102_1994 | 0x8584_58f6 => Disk::Memory,
        0x794c_7630 => Disk::Layer,
        _ => Disk::Local,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_tell_who_may_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        fs::write(&path, "x").expect("written");
        for (bits, is_open) in [(0o600, false), (0o640, false), (0o644, true), (0o602, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).expect("set");
            let open = open_to_all([path.as_path(), Path::new("/nowhere/at/all")], false);
            assert_eq!(!open.is_empty(), is_open, "{bits:o}");
        }
        assert!(
            is_mounted_secret(Path::new("/run/secrets/key")) && !is_mounted_secret(Path::new("/etc/key"))
        );
        assert_eq!(nearest(&folder.path().join("a/b/c")), folder.path());
        assert!(is_writable_folder(folder.path()) && !is_writable_folder(&path));
        assert!(space(folder.path()).is_some_and(|(free, all)| free <= all && all > 0));
    }
}
