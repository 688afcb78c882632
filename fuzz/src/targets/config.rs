//! Configuration: sizes, durations, routes and all other settings, as text and as TOML.
//!
//! What is read and shown reads as the same again; what is wrong is told and never ends in a panic.

use phoenix_config::{EffectiveSetting, FileSource, Literal, Loaded, Sources, load};

use crate::input;

/// A byte: 0 for a file that follows, else a setting, `=`, and its value as text.
pub(crate) fn run(mut data: &[u8]) {
    let which = input::byte(&mut data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.split_once('=') {
        _ if which == 0 => as_file(text),
        Some((key, text)) => as_text(key, text),
        None => {}
    }
}

/// Whether a value can be written down as it is shown: it is there, and no secret.
fn is_shown(setting: &EffectiveSetting) -> bool {
    !setting.value.as_ref().is_none_or(|value| value.to_string().contains("<redacted>"))
}

fn as_text(key: &str, text: &str) {
    let of = |text: &str| {
        let overrides = vec![(key.to_owned(), text.to_owned())];
        load(&Sources { overrides, ..Sources::default() }).ok()
    };
    let Some(first) = of(text) else { return };
    let Some(setting) = first.effective.get(key).filter(|setting| is_shown(setting)) else { return };
    // What has parts is written in a file only.
    let shown = match &setting.value {
        Some(Literal::Text(text)) => text.clone(),
        Some(Literal::Integer(number)) => number.to_string(),
        Some(Literal::Boolean(is)) => is.to_string(),
        Some(Literal::List(items)) if !items.is_empty() => items.join(","),
        Some(_) | None => return,
    };
    let second = of(&shown);
    assert!(second.is_some_and(|second| is_same(&second, &first)), "{key} = {text:?}, shown as {shown:?}");
}

/// Compared as they are used, not as they are shown: what is shown may have lost something both times.
fn is_same(one: &Loaded, other: &Loaded) -> bool {
    // A class of limits is built in as long as nobody has written it down.
    let used = |loaded: &Loaded| format!("{:?}", loaded.config).replace("built_in: true", "built_in: false");
    used(one) == used(other)
}

fn as_file(text: &str) {
    let of = |text: &str| {
        let file = Some(FileSource::from_text("phoenix.toml", text));
        load(&Sources { file, ..Sources::default() }).ok()
    };
    let Some(first) = of(text) else { return };
    if first.effective.settings().iter().any(|setting| setting.value.is_some() && !is_shown(setting)) {
        return;
    }
    let shown = first.effective.to_text();
    let second = of(&shown).unwrap_or_else(|| unreachable!("what is shown is no configuration:\n{shown}"));
    assert!(is_same(&second, &first), "{shown}");
}
