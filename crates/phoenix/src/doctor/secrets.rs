//! Checks of secrets: that they are set, strong, and read by nobody else.

use std::path::{Path, PathBuf};

use phoenix_config::{GatewayRoute, Source};

use super::catalogue as check;
use super::finding::Finding;
use super::strength::weakness;
use super::{Subject, files};

/// The settings that are secrets or hold one.
const SECRETS: [(&str, &str); 6] = [
    ("secrets.key", "PHOENIX_SECRET_KEY"),
    ("database.url", "DATABASE_URL"),
    ("redis.url", "REDIS_URL"),
    ("accounts.admin_password", "PHOENIX_ADMIN_PASSWORD"),
    ("stack.secret_server_key", "STACK_SECRET_SERVER_KEY"),
    ("stack.webhook_secret", "STACK_WEBHOOK_SECRET"),
];
/// Where routes are written, and what of them may be a secret.
const ROUTES: &str = "gateway.routes";
const HEADERS: &str = "headers set by gateway.routes";
/// Parts of names of headers whose values are credentials.
const CREDENTIALS: [&str; 6] = ["auth", "cookie", "key", "password", "secret", "token"];

pub(super) fn judge(subject: &Subject<'_>) -> Vec<Finding> {
    vec![
        key_set(subject),
        key_strength(subject),
        sources(subject),
        config_mode(subject),
        file_modes(subject),
        first_password(subject),
    ]
}

fn key_set(subject: &Subject<'_>) -> Finding {
    if subject.config.secrets.key.is_some() {
        return check::KEY_SET.ok("set");
    }
    check::KEY_SET.warning(
        "not set; a key was made and lies in the database",
        "set PHOENIX_SECRET_KEY_FILE to a file made with `openssl rand -base64 32`, on all nodes; then `phoenix migrate \
         --new-secret-key`, which signs everybody out",
    )
}

fn key_strength(subject: &Subject<'_>) -> Finding {
    let Some(key) = &subject.config.secrets.key else {
        return check::KEY_STRENGTH
            .skipped("PHOENIX_SECRET_KEY is not set; the one in the database is random");
    };
    let key = key.expose();
    match weakness(key) {
        None => check::KEY_STRENGTH.ok(format!("{} bytes that look random", key.len())),
        Some(reason) => check::KEY_STRENGTH.failure(
            reason,
            "make one with `openssl rand -base64 32`; `phoenix migrate --new-secret-key` puts it in force and signs \
             everybody out",
        ),
    }
}

/// Secrets that are set, by variable, with where they come from.
fn given<'a>(subject: &Subject<'a>) -> impl Iterator<Item = (&'static str, &'a Source)> {
    let effective = &subject.loaded.effective;
    SECRETS.into_iter().filter_map(|(key, variable)| Some((variable, &effective.get(key)?.source)))
}

/// Headers of requests that routes set, which are how an application is sent a credential, with where they come from.
struct SetHeaders<'a> {
    source: &'a Source,
    /// Whether one of them is a credential by its name; others may be.
    has_credential: bool,
}

impl<'a> SetHeaders<'a> {
    fn of(subject: &Subject<'a>) -> Option<Self> {
        let routes: &[GatewayRoute] = &subject.config.gateway.routes;
        let mut names =
            routes.iter().flat_map(|route| &route.request_headers.set).map(|(name, _)| name).peekable();
        names.peek()?;
        let has_credential = names.any(|name| CREDENTIALS.iter().any(|part| name.contains(part)));
        Some(Self { source: &subject.loaded.effective.get(ROUTES)?.source, has_credential })
    }
}

fn sources(subject: &Subject<'_>) -> Finding {
    let on_command_line =
        given(subject).filter(|(_, source)| **source == Source::CommandLine).map(|(variable, _)| variable);
    let mut named: Vec<_> = on_command_line.collect();
    let files = named.iter().map(|variable| format!("{variable}_FILE")).collect::<Vec<_>>().join(", ");
    let mut mends =
        if named.is_empty() { Vec::new() } else { vec![format!("name files in {files} instead")] };
    if SetHeaders::of(subject).is_some_and(|headers| *headers.source == Source::CommandLine) {
        named.push(HEADERS);
        mends.push("write gateway.routes into phoenix.toml".to_owned());
    }
    if named.is_empty() {
        return check::SOURCES.ok("none is on the command line");
    }
    check::SOURCES.failure(format!("on the command line: {}", named.join(", ")), mends.join("; "))
}

fn config_mode(subject: &Subject<'_>) -> Finding {
    let headers = SetHeaders::of(subject);
    let of_routes = headers.as_ref().map(|headers| (HEADERS, headers.source));
    let in_file: Vec<(&str, &PathBuf)> = given(subject)
        .chain(of_routes)
        .filter_map(|(variable, source)| match source {
            Source::File { path, .. } => Some((variable, path)),
            _ => None,
        })
        .collect();
    let Some((_, path)) = in_file.first() else {
        return check::CONFIG_MODE.ok("no secret is in a configuration file");
    };
    let names = in_file.iter().map(|(variable, _)| *variable).collect::<Vec<_>>().join(", ");
    let open = files::open_to_all([path.as_path()], subject.in_container);
    if open.is_empty() {
        let modes = files::shown(&files::modes([path.as_path()]));
        return check::CONFIG_MODE.ok(format!("{modes} and holds {names}"));
    }
    let found = format!("{} and holds {names}", files::shown(&open));
    let is_secret = names != HEADERS || headers.is_some_and(|headers| headers.has_credential);
    if !is_secret {
        return check::CONFIG_MODE
            .warning(found, format!("if one of them is a secret: chmod 600 {}", path.display()));
    }
    let apart = if names == HEADERS { "" } else { ", or put the secrets into files of their own" };
    check::CONFIG_MODE.failure(found, format!("chmod 600 {}{apart}", path.display()))
}

fn file_modes(subject: &Subject<'_>) -> Finding {
    let named: Vec<&Path> = given(subject)
        .filter_map(|(_, source)| match source {
            Source::SecretFile { path, .. } => Some(path.as_path()),
            _ => None,
        })
        .collect();
    if named.is_empty() {
        return check::FILE_MODES.skipped("no secret is in a file of its own");
    }
    let open = files::open_to_all(named.iter().copied(), subject.in_container);
    if open.is_empty() {
        return check::FILE_MODES.ok(format!("{} files, which nobody else may read", named.len()));
    }
    check::FILE_MODES.failure(files::shown(&open), "chmod 600 them, or 640 with a group of Phoenix's own")
}

fn first_password(subject: &Subject<'_>) -> Finding {
    let is_set = subject.config.accounts.admin_password.is_some();
    let mend =
        "change it (`phoenix user password EMAIL`) and unset PHOENIX_ADMIN_PASSWORD after the first start";
    check::FIRST_PASSWORD.ok_or_warning(!is_set, if is_set { "still set" } else { "not set" }, mend)
}
