//! Checks of the machine: limits of the process and settings of the kernel. Files below `/proc` and `/sys` of Linux;
//! where they are not, the check is skipped.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::catalogue as check;
use super::finding::{Check, Finding};
use super::{Subject, size};
use crate::gateway::routes::upstreams;

/// Descriptors beside those of connections: files, listeners, database, Redis.
const OTHER_FILES: u64 = 200;
/// Bytes of a connection with its buffers, and of everything else in the process, about.
const BYTES_PER_CONNECTION: u64 = 20 << 10;
const BASE_BYTES: u64 = 64 << 20;
/// Smallest useful queues.
const QUEUE: u64 = 4096;
/// Fewest ports for connections that go out.
const PORTS: u64 = 20_000;
/// Files of programs that keep the clock.
const TIME_KEEPERS: [&str; 6] = [
    "/run/systemd/timesync/synchronized",
    "/run/chrony/chronyd.pid",
    "/run/chronyd.pid",
    "/run/chrony",
    "/run/ntpd.pid",
    "/run/openntpd.pid",
];

/// Whether files and clock are a container's.
pub(super) fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io"]
        .iter()
        .any(|path| Path::new(path).exists())
}

pub(super) fn judge(subject: &Subject<'_>) -> Vec<Finding> {
    vec![
        descriptors(subject),
        queue(check::SOMAXCONN, "net.core.somaxconn"),
        queue(check::SYN_BACKLOG, "net.ipv4.tcp_max_syn_backlog"),
        ports(),
        memory(subject),
        cores(),
        time(subject),
    ]
}

fn descriptors(subject: &Subject<'_>) -> Finding {
    let connections = u64::try_from(subject.config.server.max_connections).unwrap_or(u64::MAX);
    let each = if upstreams(&subject.config.gateway).is_empty() { 1 } else { 2 };
    let needed = connections.saturating_mul(each).saturating_add(OTHER_FILES);
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return check::FILES.ok("no limit");
    };
    let fitting = limit.saturating_sub(OTHER_FILES) / each;
    let mend = format!(
        "start Phoenix with LimitNOFILE={needed} (systemd), ulimits nofile (containers) or `ulimit -n {needed}`, or lower \
         PHOENIX_MAX_CONNECTIONS to {fitting}"
    );
    let found = format!("{limit} here, {needed} needed for {connections} connections");
    check::FILES.ok_or_failure(limit >= needed, found, &mend)
}

fn kernel(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()
}

fn queue(which: Check, name: &str) -> Finding {
    let Some(length) = kernel(name).and_then(|text| text.trim().parse::<u64>().ok()) else {
        return which.skipped("the system does not say");
    };
    let mend = format!("sysctl -w {name}={QUEUE}, and a line in /etc/sysctl.d");
    which.ok_or_warning(length >= QUEUE, format!("{name} is {length}"), &mend)
}

fn ports() -> Finding {
    let name = "net.ipv4.ip_local_port_range";
    let range = kernel(name).and_then(|text| {
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    let Some((first, last)) = range else { return check::PORTS.skipped("the system does not say") };
    let found = format!("{first} to {last}");
    let mend = format!("sysctl -w {name}=\"15000 65000\"");
    check::PORTS.ok_or_warning(last.saturating_sub(first) >= PORTS, found, &mend)
}

fn memory(subject: &Subject<'_>) -> Finding {
    let config = subject.config;
    let connections = u64::try_from(config.server.max_connections).unwrap_or(u64::MAX);
    let hashes = config.password.hash_workers.or_automatic(cores_here()).get();
    let hashing = config.password.argon2_memory.bytes().saturating_mul(u64::try_from(hashes).unwrap_or(1));
    let needed = [
        BASE_BYTES,
        config.cache.l1_max_bytes.bytes(),
        config.limits.memory.bytes(),
        connections.saturating_mul(BYTES_PER_CONNECTION),
        hashing,
    ];
    let needed = needed.into_iter().fold(0, u64::saturating_add);
    let Some((limit, by)) = memory_limit() else { return check::MEMORY.skipped("the system does not say") };
    let found = format!("up to {} by the settings, of {} ({by})", size(needed), size(limit));
    let mend = "raise the memory limit, or lower PHOENIX_L1_MAX_BYTES, PHOENIX_LIMITS_MEMORY or PHOENIX_MAX_CONNECTIONS";
    if needed > limit {
        check::MEMORY.failure(found, mend)
    } else {
        check::MEMORY.ok_or_warning(needed <= limit / 10 * 9, found, mend)
    }
}

/// The smallest limit of the process' cgroup (version 2) and those above it, else the machine's memory.
fn memory_limit() -> Option<(u64, &'static str)> {
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    let root = Path::new("/sys/fs/cgroup");
    let folder = root.join(group);
    let limits = folder
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse::<u64>().ok());
    if let Some(limit) = limits.min() {
        return Some((limit, "cgroup"));
    }
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some((kib.saturating_mul(1024), "machine"))
}

/// Cores that this process may use, by its quota, too.
fn cores_here() -> std::num::NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN)
}

fn cores() -> Finding {
    let cores = cores_here().get();
    let mend = "give Phoenix at least 2 cores: one that hashes passwords does not answer requests";
    check::CORES.ok_or_warning(cores >= 2, cores.to_string(), mend)
}

fn time(subject: &Subject<'_>) -> Finding {
    if subject.in_container {
        return check::TIME.skipped("a container has its host's clock");
    }
    let keeper = TIME_KEEPERS.iter().find(|path| Path::new(path).exists());
    match keeper {
        Some(path) => check::TIME.ok(format!("kept ({path})")),
        None => {
            check::TIME.warning("nobody is seen that keeps the clock", "turn on chrony or systemd-timesyncd")
        }
    }
}
