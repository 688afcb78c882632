//! Roles, and times for the sessions of one: `admin=1h/12h`.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Span, duration::to_text, text};
use crate::{
    setting::{Kind, Literal, Raw, Refusal},
    values::RoleTimeouts,
};

/// Longest name of a role, in bytes.
const MAX_ROLE_BYTES: usize = 32;

/// A role, an idle time and an age, both within the same bounds.
pub(crate) struct TimesOfRole {
    pub(crate) times: Span,
}

impl TimesOfRole {
    fn time(&self, which: &str, written: &str) -> Result<Duration, Refusal> {
        self.times.parse(&Raw::Text(written)).map_err(|refusal| {
            let remedy = refusal.remedy.unwrap_or_else(|| format!("use {}", self.describe()));
            Refusal::because(format!("in the {which} time: {}", refusal.reason)).remedy(remedy)
        })
    }
}

impl Kind<RoleTimeouts> for TimesOfRole {
    fn parse(&self, raw: &Raw<'_>) -> Result<RoleTimeouts, Refusal> {
        let (role, times) = text(raw)?
            .split_once('=')
            .ok_or_else(|| Refusal::because("it has no \"=\" between a role and its times"))?;
        let (idle, absolute) = times
            .split_once('/')
            .ok_or_else(|| Refusal::because("it has no \"/\" between the idle time and the age"))?;
        let role = role.trim_end();
        if !is_role(role) {
            return Err(Refusal::because(format!(
                "the role is not a name of 1 to {MAX_ROLE_BYTES} characters of a-z, 0-9, - and _ that begins with a letter"
            )));
        }
        let idle = self.time("idle", idle)?;
        let absolute = self.time("absolute", absolute)?;
        if absolute < idle {
            let reason =
                format!("the age {} is shorter than the idle time {}", to_text(absolute), to_text(idle));
            return Err(Refusal::because(reason)
                .remedy("write the idle time before the \"/\" and the age, at least as long, after it"));
        }
        Ok(RoleTimeouts { role: role.to_owned(), idle, absolute })
    }

    fn show(&self, value: &RoleTimeouts) -> Option<Literal> {
        let RoleTimeouts { role, idle, absolute } = value;
        Some(Literal::Text(format!("{role}={}/{}", to_text(*idle), to_text(*absolute))))
    }

    fn describe(&self) -> String {
        format!("role=idle/absolute, such as \"admin=1h/12h\", each time {}", self.times.describe())
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,31} *=[^/]+/[^/]+$"})
    }

    fn name_in_list(&self, value: &RoleTimeouts) -> Option<String> {
        Some(format!("role \"{}\"", value.role))
    }
}

/// The name of a role.
pub(super) struct RoleName;

impl Kind<String> for RoleName {
    fn parse(&self, raw: &Raw<'_>) -> Result<String, Refusal> {
        let role = text(raw)?;
        if is_role(role) {
            Ok(role.to_owned())
        } else {
            Err(Refusal::because("it is not the name of a role"))
        }
    }

    fn show(&self, value: &String) -> Option<Literal> {
        Some(Literal::Text(value.clone()))
    }

    fn describe(&self) -> String {
        format!(
            "the name of a role, such as \"admin\": 1 to {MAX_ROLE_BYTES} characters of a-z, 0-9, - and _ that begin \
             with a letter"
        )
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,31}$"})
    }
}

fn is_role(text: &str) -> bool {
    text.len() <= MAX_ROLE_BYTES
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}
