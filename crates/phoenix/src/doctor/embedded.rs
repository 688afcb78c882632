//! Checks of the embedded database.

use std::path::Path;

use phoenix_store::sqlite::{SqliteConfig, SqliteFacts, inspect};

use super::catalogue as check;
use super::files::{self, Disk};
use super::finding::{Area, Finding};
use super::postgres::{key, schema};
use super::{Subject, bounded, size, skip_rest};

/// Largest file that is looked through, in bytes: about a second of reading.
const CHECK_BYTES: u64 = 512 << 20;
/// Free space below which somebody should act, and below which writes are about to fail, in bytes.
const LITTLE_SPACE: u64 = 1 << 30;
const NO_SPACE: u64 = 64 << 20;
/// A log of that size was not folded into the file for long, in bytes.
const LARGE_LOG: u64 = 256 << 20;

type Seen = Option<Result<Option<SqliteFacts>, String>>;

pub(super) async fn look(subject: &Subject<'_>) -> Seen {
    if subject.config.database.url.is_some() {
        return None;
    }
    let config = SqliteConfig::in_folder(&subject.config.data.dir);
    let looking = subject.lifecycle.tracker().spawn_blocking(move || inspect(&config, CHECK_BYTES));
    let seen = async { anyhow::Ok(looking.await??) };
    Some(bounded(seen).await)
}

pub(super) fn judge(subject: &Subject<'_>, seen: Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(seen) = seen else {
        skip_rest(Area::Embedded, &mut findings, "DATABASE_URL is set: PostgreSQL is used");
        return findings;
    };
    let folder = subject.config.data.dir.as_path();
    findings.push(usable(folder));
    findings.push(folder_mode(subject, folder));
    findings.push(disk(folder));
    findings.push(space(folder));
    findings.push(
        check::EMBEDDED_NODES.ok("one node; for several set DATABASE_URL (docs/operations/scale-out.md)"),
    );
    findings.push(check::EMBEDDED_BACKUP.warning(
        "no backup can be seen from here",
        "run `sqlite3 phoenix.db \".backup ...\"` from a timer and try to restore: docs/operations/backup.md",
    ));
    match seen {
        Ok(Some(facts)) => findings.extend(file(subject, &facts)),
        Ok(None) => skip_rest(
            Area::Embedded,
            &mut findings,
            "there is no database yet; it is made at the first start",
        ),
        Err(error) => {
            let mend = "restore a backup (docs/operations/backup.md), or correct owner and mode of the file";
            findings.push(check::EMBEDDED_INTEGRITY.failure(error, mend));
            skip_rest(Area::Embedded, &mut findings, "the file cannot be read (embedded.integrity)");
        }
    }
    findings
}

fn usable(folder: &Path) -> Finding {
    let nearest = files::nearest(folder);
    let mend = "name a folder that the user who runs Phoenix may write in PHOENIX_DATA_DIR";
    if !nearest.is_dir() {
        return check::EMBEDDED_FOLDER.failure(format!("{} is not a folder", nearest.display()), mend);
    }
    let found = if nearest == folder {
        format!("{}", folder.display())
    } else {
        format!("{} will be made in {}", folder.display(), nearest.display())
    };
    if files::is_writable_folder(&nearest) {
        check::EMBEDDED_FOLDER.ok(found)
    } else {
        check::EMBEDDED_FOLDER.failure(format!("{} cannot be written by this user", nearest.display()), mend)
    }
}

fn folder_mode(subject: &Subject<'_>, folder: &Path) -> Finding {
    let file = SqliteConfig::in_folder(folder).file;
    let open = files::open_to_all([folder, file.as_path()], subject.in_container);
    let is_fine = open.is_empty();
    let there = files::modes([folder, file.as_path()]);
    let found = match (open.is_empty(), there.is_empty()) {
        (false, _) => files::shown(&open),
        (true, false) => files::shown(&there),
        (true, true) => "the start makes the folder with 0700 and the file with 0600".to_owned(),
    };
    check::EMBEDDED_MODE.ok_or_failure(is_fine, found, "chmod 700 the folder and 600 the file")
}

fn disk(folder: &Path) -> Finding {
    let mend = "put PHOENIX_DATA_DIR on a local disk or a volume, or set DATABASE_URL";
    match files::disk(&files::nearest(folder)) {
        None => check::EMBEDDED_DISK.skipped("the system does not say what disk it is"),
        Some(Disk::Local) => check::EMBEDDED_DISK.ok("local"),
        Some(Disk::Network(kind)) => check::EMBEDDED_DISK.failure(format!("on {kind}"), mend),
        Some(Disk::Memory) => check::EMBEDDED_DISK.failure("in memory: empty after a restart", mend),
        Some(Disk::Layer) => {
            check::EMBEDDED_DISK.warning("an overlay, most often the own layer of a container", mend)
        }
    }
}

fn space(folder: &Path) -> Finding {
    let Some((free, all)) = files::space(&files::nearest(folder)) else {
        return check::EMBEDDED_SPACE.skipped("the system does not say how much is free");
    };
    let found = format!("{} of {} are free", size(free), size(all));
    let mend = "make space, or move PHOENIX_DATA_DIR";
    match free {
        ..NO_SPACE => check::EMBEDDED_SPACE.failure(found, mend),
        NO_SPACE..LITTLE_SPACE => check::EMBEDDED_SPACE.warning(found, mend),
        _ => check::EMBEDDED_SPACE.ok(found),
    }
}

fn file(subject: &Subject<'_>, facts: &SqliteFacts) -> Vec<Finding> {
    let integrity = match &facts.damage {
        None => check::EMBEDDED_INTEGRITY.skipped(format!(
            "it has {}: run `sqlite3 {} 'PRAGMA quick_check'`",
            size(facts.bytes),
            facts.file.display()
        )),
        Some(damage) => check::EMBEDDED_INTEGRITY.ok_or_failure(
            damage.is_empty(),
            if damage.is_empty() { format!("{}, sound", size(facts.bytes)) } else { damage.join("; ") },
            "stop Phoenix and restore a backup: docs/operations/backup.md",
        ),
    };
    let log = format!("{} beside {}", size(facts.wal_bytes), size(facts.bytes));
    vec![
        schema(check::EMBEDDED_SCHEMA, &facts.schema),
        integrity,
        key(subject, check::EMBEDDED_KEY, facts.fingerprint.as_deref()),
        check::EMBEDDED_LOG.ok_or_warning(
            facts.wal_bytes < LARGE_LOG,
            log,
            "end programs that hold the file open for reading, and restart Phoenix",
        ),
    ]
}
