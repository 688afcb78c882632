//! Keeps server and load on different cores, so that one does not slow the other. Where there are fewer than two
//! cores, or no way to pin, everything runs unpinned and the numbers say less.

use std::env;

/// The cores of one measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// For the server under test.
    pub server: Option<usize>,
    /// For the thread that makes the load.
    pub load: Option<usize>,
}

impl Cores {
    /// The first two cores this process may use.
    #[must_use]
    pub fn detect() -> Self {
        let allowed = allowed_cores();
        match allowed.as_slice() {
            [server, load, ..] if has_taskset() => Self { server: Some(*server), load: Some(*load) },
            _ => Self { server: None, load: None },
        }
    }

    /// The words to put before the server's command line; none when it is not pinned.
    #[must_use]
    pub fn server_prefix(&self) -> Vec<String> {
        prefix(self.server)
    }
}

/// The words that run a command on `core` only. `taskset` replaces itself by the command, so the pid stays.
#[must_use]
pub fn prefix(core: Option<usize>) -> Vec<String> {
    core.map_or_else(Vec::new, |core| vec!["taskset".to_owned(), "-c".to_owned(), core.to_string()])
}

/// Binds the calling thread to `core`. Where that is refused, it stays where it is.
#[cfg(target_os = "linux")]
pub fn this_thread(core: Option<usize>) {
    if let Some(core) = core {
        let mut set = rustix::thread::CpuSet::new();
        set.set(core);
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
}

/// Binds the first thread of process `pid` to `core`. Where that is refused, it stays where it is.
#[cfg(target_os = "linux")]
pub fn process(pid: u32, core: Option<usize>) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let (Some(pid), Some(core)) = (pid, core) {
        let mut set = rustix::thread::CpuSet::new();
        set.set(core);
        let _ = rustix::thread::sched_setaffinity(Some(pid), &set);
    }
}

/// Binds the first thread of a process to `core`: not offered by this system.
#[cfg(not(target_os = "linux"))]
pub fn process(_pid: u32, _core: Option<usize>) {}

/// Binds the calling thread to `core`: not offered by this system.
#[cfg(not(target_os = "linux"))]
pub fn this_thread(_core: Option<usize>) {}

#[cfg(target_os = "linux")]
fn allowed_cores() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

#[cfg(not(target_os = "linux"))]
fn allowed_cores() -> Vec<usize> {
    Vec::new()
}

fn has_taskset() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join("taskset").is_file())
}
