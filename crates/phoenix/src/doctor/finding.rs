//! What a check is and what it found. Does not own what is checked (`catalogue.rs`) or how findings are shown
//! (`report.rs`).

use serde_json::{Value, json};

/// What a check is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Area {
    Configuration,
    Secrets,
    Postgres,
    Embedded,
    Redis,
    Gateway,
    Tls,
    Identity,
    System,
    Server,
}

impl Area {
    /// In the order in which they are shown.
    pub(crate) const ALL: [Self; 10] = [
        Self::Configuration,
        Self::Secrets,
        Self::Postgres,
        Self::Embedded,
        Self::Redis,
        Self::Gateway,
        Self::Tls,
        Self::Identity,
        Self::System,
        Self::Server,
    ];

    /// The name in JSON, with which the ids of its checks begin.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Secrets => "secrets",
            Self::Postgres => "postgres",
            Self::Embedded => "embedded",
            Self::Redis => "redis",
            Self::Gateway => "gateway",
            Self::Tls => "tls",
            Self::Identity => "identity",
            Self::System => "system",
            Self::Server => "server",
        }
    }
}

/// One thing that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Check {
    /// Stable, `area.what`.
    pub(crate) id: &'static str,
    pub(crate) area: Area,
    /// Why it matters.
    pub(crate) why: &'static str,
}

/// How it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// It works, but something is worth doing.
    Warning,
    /// Not fit for production.
    Failure,
    /// Not looked at.
    Skipped,
}

impl State {
    /// The word in JSON and in text.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
        }
    }
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Finding {
    pub(crate) check: Check,
    pub(crate) state: State,
    /// What was found, with figures; of a skipped one why.
    pub(crate) found: String,
    /// What to do; empty where nothing is.
    pub(crate) mend: String,
}

impl Check {
    pub(crate) fn ok(self, found: impl Into<String>) -> Finding {
        Finding { check: self, state: State::Ok, found: found.into(), mend: String::new() }
    }

    pub(crate) fn warning(self, found: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { check: self, state: State::Warning, found: found.into(), mend: mend.into() }
    }

    pub(crate) fn failure(self, found: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { check: self, state: State::Failure, found: found.into(), mend: mend.into() }
    }

    pub(crate) fn skipped(self, why: impl Into<String>) -> Finding {
        Finding { check: self, state: State::Skipped, found: why.into(), mend: String::new() }
    }

    /// Fine, or what is to be done.
    pub(crate) fn ok_or_warning(self, is_ok: bool, found: impl Into<String>, mend: &str) -> Finding {
        if is_ok { self.ok(found) } else { self.warning(found, mend) }
    }

    /// Fine, or what has to be done.
    pub(crate) fn ok_or_failure(self, is_ok: bool, found: impl Into<String>, mend: &str) -> Finding {
        if is_ok { self.ok(found) } else { self.failure(found, mend) }
    }
}

impl Finding {
    pub(crate) fn json(&self) -> Value {
        json!({
            "id": self.check.id, "area": self.check.area.name(), "state": self.state.word(),
            "found": self.found, "why": self.check.why, "mend": self.mend,
        })
    }
}
