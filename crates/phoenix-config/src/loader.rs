//! Which source a setting comes from, and collecting what is wrong. Precedence: command line, environment, file,
//! default. Only the value that wins is read. Does not own how a value is read (`kinds/`).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    config::{Config, all},
    effective::{Effective, EffectiveSetting},
    environment,
    error::{ConfigError, ConfigErrors, Source},
    file::{FileTable, Located, PartLines},
    secret_file,
    setting::{AnySetting, Literal, Raw, Refusal, Sensitivity, Setting, join},
    sources::Sources,
    suggest::nearest,
};

/// A configuration, and what is worth saying about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is probably a mistake but no reason to stop; one sentence each.
    pub warnings: Vec<String>,
    /// Every setting with its value and where it comes from.
    pub effective: Effective,
}

/// Turns the sources into a configuration.
///
/// # Errors
/// Everything that is wrong, not only the first.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let mut loader = Loader::new(sources);
    match (Config::resolve(&mut loader), loader.errors.is_empty()) {
        (Some(config), true) => {
            Ok(Loaded { config, warnings: loader.warnings, effective: Effective::new(loader.effective) })
        }
        (Some(_) | None, _) => Err(ConfigErrors::new(loader.errors)),
    }
}

/// Resolves settings one by one and collects errors.
pub(crate) struct Loader<'a> {
    path: Option<&'a Path>,
    file: FileTable,
    env: &'a BTreeMap<String, String>,
    overrides: BTreeMap<&'a str, &'a str>,
    errors: Vec<ConfigError>,
    warnings: Vec<String>,
    effective: Vec<EffectiveSetting>,
}

/// A value that somebody gave, and where.
struct Given {
    at: Source,
    value: GivenValue,
    parts: PartLines,
}

enum GivenValue {
    Text(Zeroizing<String>),
    Toml(Result<Literal, &'static str>),
}

impl Given {
    fn text(at: Source, text: &str) -> Self {
        Self { at, value: GivenValue::Text(Zeroizing::new(text.to_owned())), parts: PartLines::new() }
    }

    fn raw(&self) -> Raw<'_> {
        match &self.value {
            GivenValue::Text(text) => Raw::Text(text),
            GivenValue::Toml(Ok(literal)) => Raw::Toml(literal),
            GivenValue::Toml(Err(type_name)) => Raw::Unsupported(type_name),
        }
    }

    /// True when both are the same text. Not in constant time: who can time the start can read its environment.
    fn is_same_value(&self, other: &Self) -> bool {
        self.raw().as_text().is_some_and(|text| other.raw().as_text() == Some(text))
    }

    /// The value as it was written, for settings that are not secret.
    fn shown(&self) -> Option<String> {
        match &self.value {
            GivenValue::Text(text) => Some(text.as_str().to_owned()),
            GivenValue::Toml(Ok(literal)) => Some(literal.to_string()),
            GivenValue::Toml(Err(_)) => None,
        }
    }
}

impl<'a> Loader<'a> {
    fn new(sources: &'a Sources) -> Self {
        let mut file = sources.file.as_ref().map(FileTable::parse).unwrap_or_default();
        let mut loader = Self {
            path: sources.file.as_ref().map(crate::FileSource::path),
            errors: std::mem::take(&mut file.errors),
            file,
            env: &sources.env,
            overrides: BTreeMap::new(),
            warnings: environment::warnings(&sources.env),
            effective: Vec::new(),
        };
        for (key, value) in &sources.overrides {
            loader.add_override(key, value);
        }
        loader
    }

    fn add_override(&mut self, key: &'a str, value: &'a str) {
        let Some(setting) = all().find(|setting| setting.key() == key) else {
            let remedy = match nearest(key, all().map(AnySetting::key)) {
                Some(known) => format!("did you mean `{known}`?"),
                None => "a setting is written section.name, such as server.listen".to_owned(),
            };
            self.errors
                .push(ConfigError::new("there is no such setting", remedy).key(key).at(Source::CommandLine));
            return;
        };
        if let Some(env_file) = setting.env_file().filter(|_| !self.overrides.contains_key(key)) {
            self.warnings.push(format!(
                "`{key}` was given on the command line, where every user of this machine can read it; use {env_file}"
            ));
        }
        self.overrides.insert(key, value);
    }

    /// The value of a setting. `None` when it was refused, which has then been noted.
    pub(crate) fn resolve<T>(&mut self, setting: &Setting<T>) -> Option<T> {
        let resolved = match self.given(setting) {
            Ok(Some(given)) => match setting.kind.parse(&given.raw()) {
                Ok(value) => Ok((value, given.at, given.parts)),
                Err(refusal) => {
                    let refuse = |refusal| *refuse(setting, &given, refusal);
                    self.errors.extend(refusal.apart().into_iter().map(refuse));
                    return None;
                }
            },
            Ok(None) => default(setting).map(|value| (value, Source::Default, PartLines::new())),
            Err(error) => Err(error),
        };
        match resolved {
            Ok((value, source, parts)) => {
                let value_shown = setting.kind.show(&value);
                self.effective.push(EffectiveSetting { key: setting.key, value: value_shown, source, parts });
                Some(value)
            }
            Err(error) => {
                self.errors.push(*error);
                None
            }
        }
    }

    /// The value that wins, unread.
    fn given<T>(&self, setting: &Setting<T>) -> Result<Option<Given>, Box<ConfigError>> {
        if let Some(text) = self.overrides.get(setting.key) {
            return Ok(Some(Given::text(Source::CommandLine, text)));
        }
        if let Some(given) = self.given_by_environment(setting)? {
            return Ok(Some(given));
        }
        Ok(self.file.values.get(setting.key).map(|Located { value, line, parts }| Given {
            at: Source::File { path: self.path.map(Path::to_owned).unwrap_or_default(), line: *line },
            value: GivenValue::Toml(value.clone()),
            parts: parts.clone(),
        }))
    }

    /// The value from whichever of its variables is set. Two names of one variable must not contradict each other.
    fn given_by_environment<T>(&self, setting: &Setting<T>) -> Result<Option<Given>, Box<ConfigError>> {
        let mut first: Option<Given> = None;
        for name in environment::names_of(setting.env) {
            let Some(given) = self.given_by_variable(setting, name)? else { continue };
            match &first {
                None => first = Some(given),
                Some(first) if first.is_same_value(&given) => {}
                Some(first) => {
                    let reason = format!("{} and {} are both set and differ", first.at, given.at);
                    let remedy = "they are two names of one setting: keep one of them and unset the other";
                    let error = ConfigError::new(reason, remedy).key(setting.key);
                    return Err(Box::new(error.at(first.at.clone())));
                }
            }
        }
        Ok(first)
    }

    /// The value from the variable `name`, or from the file that the variable `name` with `_FILE` names.
    fn given_by_variable<T>(
        &self,
        setting: &Setting<T>,
        name: &str,
    ) -> Result<Option<Given>, Box<ConfigError>> {
        let variable = |name: &str| self.env.get(name).filter(|value| !value.is_empty());
        let env_file = environment::file_variable(name);
        let path = setting.has_file().then(|| variable(&env_file).map(PathBuf::from)).flatten();
        let at = Source::Environment { name: name.to_owned() };
        match (variable(name), path) {
            (None, None) => Ok(None),
            (Some(text), None) => Ok(Some(Given::text(at, text))),
            (Some(_), Some(_)) => {
                let reason = format!("both {name} and {env_file} are set");
                Err(Box::new(
                    ConfigError::new(reason, "keep one of them and unset the other").key(setting.key).at(at),
                ))
            }
            (None, Some(path)) => {
                let at = Source::SecretFile { name: env_file, path: path.clone() };
                match secret_file::read(&path) {
                    Ok(text) => {
                        Ok(Some(Given { at, value: GivenValue::Text(text), parts: PartLines::new() }))
                    }
                    Err(refusal) => Err(refuse_at(setting, at, None, refusal)),
                }
            }
        }
    }

    /// True when rules between settings can be judged: a file with a syntax error hides values.
    pub(crate) fn is_complete(&self) -> bool {
        !self.file.is_broken
    }

    /// Notes that two settings contradict each other. The first of `keys` is named as the one to change.
    pub(crate) fn conflict(&mut self, key: &'static str, reason: String, remedy: String) {
        let error = ConfigError::new(reason, remedy).key(key);
        let resolved = self.effective.iter().find(|setting| setting.key == key);
        let shown = resolved.and_then(|setting| setting.value.as_ref()).map(ToString::to_string);
        let error = match resolved {
            Some(setting) => error.at(setting.source.clone()),
            None => error,
        };
        self.errors.push(match shown {
            Some(shown) => error.value(&shown),
            None => error,
        });
    }

    /// `section.name = value (where from)`, for a message about another setting.
    pub(crate) fn describe(&self, key: &'static str) -> String {
        let resolved = self.effective.iter().find(|setting| setting.key == key);
        resolved.map_or_else(
            || key.to_owned(),
            |setting| match &setting.value {
                Some(value) => format!("{key} = {value} ({})", setting.source),
                None => format!("{key}, which is not set"),
            },
        )
    }
}

fn default<T>(setting: &Setting<T>) -> Result<T, Box<ConfigError>> {
    let absent = || {
        let refusal =
            Refusal::because("it is not set and has no default").remedy(format!("set {}", setting.env));
        refuse_at(setting, Source::Default, None, refusal)
    };
    match setting.default {
        Some(text) => setting
            .kind
            .parse(&Raw::Text(text))
            .map_err(|refusal| refuse_at(setting, Source::Default, Some(text.to_owned()), refusal)),
        None => setting.kind.absent().ok_or_else(absent),
    }
}

fn refuse<T>(setting: &Setting<T>, given: &Given, mut refusal: Refusal) -> Box<ConfigError> {
    let Some(part) = refusal.part.take() else {
        return refuse_at(setting, given.at.clone(), given.shown(), refusal);
    };
    let at = given.at.of_part(&given.parts, &part.path);
    let error = refuse_at(setting, at, part.shown, refusal);
    Box::new(error.key(&join(setting.key, &part.path)))
}

fn refuse_at<T>(
    setting: &Setting<T>,
    at: Source,
    shown: Option<String>,
    refusal: Refusal,
) -> Box<ConfigError> {
    let remedy = refusal.remedy.unwrap_or_else(|| format!("use {}", setting.kind.describe()));
    let error = ConfigError::new(refusal.reason, remedy).key(setting.key).at(at);
    match shown.filter(|_| setting.kind.sensitivity() == Sensitivity::Public) {
        Some(shown) => Box::new(error.value(&shown)),
        None => Box::new(error),
    }
}
