//! Names of environment variables: which are Phoenix's, which look like a mistake, which Kubernetes adds by itself.

use std::collections::BTreeMap;

use crate::{config::all, setting::AnySetting, suggest::nearest};

/// The variable that names the configuration file.
pub(crate) const CONFIG_VARIABLE: &str = "PHOENIX_CONFIG";

const PREFIX: &str = "PHOENIX_";

/// Variables of Stack Auth and their names since it is called Hexclave. Both names are read.
const RENAMED: [(&str, &str); 3] = [
    ("STACK_PROJECT_ID", "HEXCLAVE_PROJECT_ID"),
    ("STACK_SECRET_SERVER_KEY", "HEXCLAVE_SECRET_SERVER_KEY"),
    ("STACK_PUBLISHABLE_CLIENT_KEY", "HEXCLAVE_PUBLISHABLE_CLIENT_KEY"),
];

/// The names of a setting's variable: the one in its definition, and another where it has one.
pub(crate) fn names_of(env: &'static str) -> impl Iterator<Item = &'static str> {
    let other = RENAMED.iter().find(|(name, _)| *name == env).map(|(_, other)| *other);
    std::iter::once(env).chain(other)
}

/// True for the name of a setting, of the file of a secret one, and of the configuration file.
pub(crate) fn is_known(name: &str) -> bool {
    name == CONFIG_VARIABLE
        || all().any(|setting| {
            names_of(setting.env())
                .any(|known| known == name || (setting.has_file() && name == file_variable(known)))
        })
}

/// True for known names and for names that only Phoenix would have.
pub(crate) fn may_be_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || is_known(name)
}

/// The variable that may name a file with the value of `env` instead.
pub(crate) fn file_variable(env: &str) -> String {
    format!("{env}_FILE")
}

/// A warning for each variable that has our prefix and no meaning. Never shows a value.
pub(crate) fn warnings(env: &BTreeMap<String, String>) -> Vec<String> {
    let unknown = env.iter().filter(|(name, value)| {
        name.starts_with(PREFIX) && !value.is_empty() && !is_known(name) && !is_from_kubernetes(name, value)
    });
    unknown.map(|(name, _)| warning(name)).collect()
}

fn warning(name: &str) -> String {
    let shown = crate::error::one_line(name);
    if name == "PHOENIX_PORT" {
        return format!(
            "environment variable {shown} has no meaning; did you mean PHOENIX_LISTEN, an address and a port?"
        );
    }
    let files: Vec<String> = all().filter_map(AnySetting::env_file).collect();
    let mut names: Vec<&str> = all().map(AnySetting::env).chain([CONFIG_VARIABLE]).collect();
    names.extend(files.iter().map(String::as_str));
    match nearest(name, names) {
        Some(known) => format!("environment variable {shown} has no meaning; did you mean {known}?"),
        None => format!("environment variable {shown} has no meaning; it is ignored"),
    }
}

/// True for what Kubernetes sets in every pod beside a service called `phoenix` or `phoenix-..`:
/// `PHOENIX_SERVICE_HOST`, `PHOENIX_SERVICE_PORT[_NAME]`, `PHOENIX_PORT=tcp://..`, `PHOENIX_PORT_80_TCP[_ADDR]`.
fn is_from_kubernetes(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT")
        && ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme))
    {
        return true;
    }
    name.split("_PORT_").skip(1).any(|rest| {
        let mut parts = rest.split('_');
        let is_port = parts.next().is_some_and(|port| port.parse::<u16>().is_ok());
        is_port && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(name: &str, value: &str) -> Option<String> {
        warnings(&BTreeMap::from([(name.to_owned(), value.to_owned())])).pop()
    }

    #[test]
    fn kubernetes_service_variables_are_ignored() {
        for (name, value) in [
            ("PHOENIX_SERVICE_HOST", "10.0.0.1"),
            ("PHOENIX_SERVICE_PORT", "8080"),
            ("PHOENIX_SERVICE_PORT_HTTP", "8080"),
            ("PHOENIX_PORT", "tcp://10.0.0.1:8080"),
            ("PHOENIX_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("PHOENIX_PORT_8080_TCP_PROTO", "tcp"),
            ("PHOENIX_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("PHOENIX_WEB_SERVICE_HOST", "10.0.0.2"),
            ("PHOENIX_WEB_PORT_53_UDP_PORT", "53"),
        ] {
            assert_eq!(warned(name, value), None, "{name}");
        }
    }

    #[test]
    fn mistakes_are_warned_about() {
        for (name, part) in [
            ("PHOENIX_LISTN", "did you mean PHOENIX_LISTEN?"),
            ("PHOENIX_PORT", "did you mean PHOENIX_LISTEN"),
            ("PHOENIX_SECRET_KEY_FIL", "did you mean PHOENIX_SECRET_KEY_FILE?"),
            ("PHOENIX_SOMETHING_ELSE_ENTIRELY", "it is ignored"),
        ] {
            let warning = warned(name, "hunter2").expect(name);
            assert!(warning.contains(part) && !warning.contains("hunter2"), "{warning}");
        }
        assert_eq!(warned("PHOENIX_LISTN", ""), None, "an empty variable counts as not set");
        assert_eq!(warned("PHOENIX_LISTEN", "x"), None);
        assert_eq!(warned("PHOENIX_CONFIG", "x"), None);
    }
}
