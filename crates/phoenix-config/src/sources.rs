//! Where a configuration comes from: a file, the environment, the command line. Reads them as text, understands none.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    environment::{CONFIG_VARIABLE, is_known, may_be_ours},
    error::{ConfigError, ConfigErrors, Source},
};

/// Largest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The file that is read when none is named, if it exists.
const DEFAULT_FILE: &str = "phoenix.toml";

/// The text of a configuration file. May hold secrets, so `Debug` shows its path and length only.
#[derive(Clone)]
pub struct FileSource {
    path: PathBuf,
    text: String,
}

impl FileSource {
    /// Text as if it had been read from `path`.
    #[must_use]
    pub fn from_text(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Reads a file of at most 1 MiB.
    ///
    /// # Errors
    /// When it cannot be read, is larger, or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, ConfigErrors> {
        let bytes = read_at_most(path, MAX_FILE_BYTES).map_err(|error| {
            ConfigError::new(
                format!("the configuration file {} cannot be read: {error}", path.display()),
                format!("name a file that exists and is readable, with --config or {CONFIG_VARIABLE}"),
            )
        })?;
        let Some(bytes) = bytes else {
            return Err(ConfigError::new(
                format!("the configuration file {} is larger than 1 MiB", path.display()),
                "name a configuration file; the longest useful one has a few KiB",
            )
            .into());
        };
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = valid.split(|byte| *byte == b'\n').count();
            ConfigError::new("the configuration file is not UTF-8 text", "save it as UTF-8")
                .at(Source::File { path: path.to_owned(), line })
        })?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// The path it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSource({}, {} bytes)", self.path.display(), self.text.len())
    }
}

/// Everything a configuration is made from, as text. Later ones win: file, environment, overrides.
#[derive(Clone, Default)]
pub struct Sources {
    /// The configuration file, when there is one.
    pub file: Option<FileSource>,
    /// Environment variables by name. Others than Phoenix's are ignored; an empty value counts as not set.
    pub env: BTreeMap<String, String>,
    /// Settings from the command line, `section.name` and value. The last of several wins.
    pub overrides: Vec<(String, String)>,
}

impl Sources {
    /// Reads the file and the environment of this process.
    ///
    /// The file is `config_path`, else the one that `PHOENIX_CONFIG` names, else `./phoenix.toml` if it exists.
    ///
    /// # Errors
    /// When a named file does not exist, the file cannot be read, or a variable that Phoenix knows is not UTF-8.
    pub fn from_process(
        config_path: Option<PathBuf>,
        overrides: Vec<(String, String)>,
    ) -> Result<Self, ConfigErrors> {
        Self::from_parts(config_path, overrides, env::vars_os(), Path::new(DEFAULT_FILE))
    }

    /// The rest of [`Sources::from_process`], with the process as arguments.
    fn from_parts(
        config_path: Option<PathBuf>,
        overrides: Vec<(String, String)>,
        variables: impl Iterator<Item = (OsString, OsString)>,
        default_file: &Path,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let mut env = BTreeMap::new();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| may_be_ours(name)) else { continue };
            match value.into_string() {
                Ok(value) => drop(env.insert(name.to_owned(), value)),
                Err(_) if is_known(name) => errors.push(
                    ConfigError::new(
                        "the value is not UTF-8 text",
                        format!("set {name} to UTF-8 text, or unset it"),
                    )
                    .at(Source::Environment { name: name.to_owned() }),
                ),
                Err(_) => {}
            }
        }
        let named = config_path
            .or_else(|| env.get(CONFIG_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
        let file = match named {
            Some(path) => FileSource::read(&path).map(Some),
            None if default_file.try_exists().unwrap_or(true) => FileSource::read(default_file).map(Some),
            None => Ok(None),
        };
        match file {
            Ok(file) if errors.is_empty() => Ok(Self { file, env, overrides }),
            Ok(_) => Err(ConfigErrors::new(errors)),
            Err(file_errors) => {
                errors.splice(0..0, file_errors.errors().iter().cloned());
                Err(ConfigErrors::new(errors))
            }
        }
    }

    /// The text of a file, as if it stood in `phoenix.toml`.
    #[must_use]
    pub fn from_toml(text: impl Into<String>) -> Self {
        Self { file: Some(FileSource::from_text(DEFAULT_FILE, text)), ..Self::default() }
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Adds a setting from the command line.
    #[must_use]
    pub fn with_override(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.overrides.push((key.into(), value.into()));
        self
    }
}

/// Shows names only: values may be secrets.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overrides: Vec<&String> = self.overrides.iter().map(|(key, _)| key).collect();
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("env", &self.env.keys())
            .field("overrides", &overrides)
            .finish()
    }
}

/// The bytes of a file, or `None` when there are more than `max_bytes`.
pub(crate) fn read_at_most(path: &Path, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max_bytes).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

    use super::*;

    fn variables(list: &[(&str, &[u8])]) -> impl Iterator<Item = (OsString, OsString)> {
        let own = |(name, value): &(&str, &[u8])| (OsString::from(name), OsStr::from_bytes(value).to_owned());
        list.iter().map(own).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn the_named_file_comes_before_the_variable_and_the_default() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| dir.path().join(name);
        for name in ["flag.toml", "env.toml", "default.toml"] {
            fs::write(path(name), "").expect("written");
        }
        let env_path = path("env.toml");
        let both: &[(&str, &[u8])] = &[(CONFIG_VARIABLE, env_path.as_os_str().as_bytes())];
        let read = |named: Option<PathBuf>, env: &[(&str, &[u8])], default: &str| {
            let sources =
                Sources::from_parts(named, Vec::new(), variables(env), &path(default)).expect("readable");
            sources.file.map(|file| file.path().to_owned())
        };
        assert_eq!(read(Some(path("flag.toml")), both, "default.toml"), Some(path("flag.toml")));
        assert_eq!(read(None, both, "default.toml"), Some(path("env.toml")));
        assert_eq!(read(None, &[(CONFIG_VARIABLE, b"")], "default.toml"), Some(path("default.toml")));
        assert_eq!(read(None, &[], "absent.toml"), None);
    }

    #[test]
    fn every_source_that_cannot_be_read_is_reported() {
        let missing = Some(PathBuf::from("/nonexistent/phoenix.toml"));
        let env: &[(&str, &[u8])] = &[
            ("PHOENIX_LISTEN", b"\xff\xfe"),
            ("PHOENIX_SECRET_KEY_FILE", b"\xff"),
            ("PHOENIX_UNKNOWN", b"\xff"),
            ("PATH", b"\xff"),
        ];
        let errors = Sources::from_parts(missing, Vec::new(), variables(env), Path::new("absent"))
            .expect_err("neither is readable")
            .to_string();
        assert!(errors.contains("3 errors") && errors.contains("/nonexistent/phoenix.toml"), "{errors}");
        assert!(errors.contains("PHOENIX_LISTEN") && errors.contains("PHOENIX_SECRET_KEY_FILE"), "{errors}");
    }

    #[test]
    fn only_our_variables_are_kept() {
        let env: &[(&str, &[u8])] = &[
            ("PATH", b"/bin"),
            ("DATABASE_URL", b"x"),
            ("PHOENIX_X", b"y"),
            ("DB_X", b"z"),
            ("HEXCLAVE_X", b"x"),
            ("HEXCLAVE_PROJECT_ID", b"x"),
            ("HEXCLAVE_PROJECT_ID_FILE", b"x"),
            ("HEXCLAVE_SECRET_SERVER_KEY_FILE", b"x"),
        ];
        let sources = Sources::from_parts(None, Vec::new(), variables(env), Path::new("absent"))
            .expect("nothing to refuse");
        assert_eq!(
            sources.env.keys().collect::<Vec<_>>(),
            ["DATABASE_URL", "HEXCLAVE_PROJECT_ID", "HEXCLAVE_SECRET_SERVER_KEY_FILE", "PHOENIX_X"]
        );
    }
}
