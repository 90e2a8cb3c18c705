//! Reads the configuration: the TOML file, then the environment over it, with the origin of every value.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat, Value, ValueKind};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::raw::{NOT_IN_A_FALLBACK, Raw, known_keys};
use crate::bounded::read_at_most;

/// The largest configuration file that is read.
const LARGEST: u64 = 1024 * 1024;

/// What the environment's names begin with.
const PREFIX: &str = "TRUSTSYNC";

/// Why the configuration could not be read or makes no sense. Exit code 3.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file could not be read, or is far too large.
    #[error(
        "the configuration {} cannot be read: {source}. Nothing was done; trust is unchanged. Write it (see README, \
         \"Configure\"), or name another with --config.",
        path.display()
    )]
    Unreadable {
        /// The configuration's file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML of the expected shape.
    #[error(
        "the configuration {}, line {line}, column {column}: {message}. Nothing was done; trust is unchanged.",
        path.display()
    )]
    Malformed {
        /// The configuration's file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// The environment does not fit.
    #[error("the configuration from the environment: {0}. Nothing was done; trust is unchanged.")]
    Environment(String),
    /// Values that cannot be.
    #[error("the configuration {}: {}. Nothing was done; trust is unchanged.", path.display(), problems.join("; "))]
    Wrong {
        /// The configuration's file.
        path: PathBuf,
        /// Each with its key and what to do.
        problems: Vec<String>,
    },
}

impl SettingsError {
    /// Each problem by itself.
    #[must_use]
    pub fn problems(self) -> Vec<String> {
        match self {
            Self::Wrong { problems, .. } => problems,
            other => vec![other.to_string()],
        }
    }
}

/// Where values were set, by their dotted keys; the others are defaults.
#[derive(Debug, Clone, Default)]
pub struct Origins(BTreeMap<String, String>);

impl Origins {
    /// Where the value of `key` (dotted) comes from, for people.
    #[must_use]
    pub fn of(&self, key: &str) -> &str {
        self.0.get(key).map_or("default", String::as_str)
    }

    pub(super) fn set(&mut self, key: String, origin: String) {
        self.0.insert(key, origin);
    }

    /// Of every value below `prefix`; those of the environment name it as their origin.
    fn gather(&mut self, prefix: &str, value: &Value, file: &Path) {
        match &value.kind {
            ValueKind::Table(table) => {
                for (name, value) in table {
                    let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    self.gather(&key, value, file);
                }
            }
            _ if is_of_environment(value) => {
                let variable = prefix.replace('.', "__").to_uppercase();
                self.set(prefix.to_owned(), format!("environment {PREFIX}__{variable}"));
            }
            _ => self.set(prefix.to_owned(), file.display().to_string()),
        }
    }
}

/// What was read, with what is wrong in it so far: all problems are reported at once, so reading goes on past them.
pub struct Read {
    /// File and environment, layered.
    pub raw: Raw,
    /// Where each value was set.
    pub origins: Origins,
    /// Unknown keys, each with the nearest known one, and secrets where none belong.
    pub problems: Vec<String>,
}

/// Reads file and environment.
pub fn load(path: &Path, environment: &BTreeMap<String, String>) -> Result<Read, SettingsError> {
    layer(path, &read(path)?, environment)
}

/// Layers the text of the file at `path`, which is not read here, and the environment.
pub fn layer(path: &Path, text: &str, environment: &BTreeMap<String, String>) -> Result<Read, SettingsError> {
    let known = known_keys();
    let mut problems = Vec::new();
    let table = DeTable::parse(text).map_err(|error| malformed(path, text, &error))?;
    unknown(&known, &[], table.get_ref().entries(), &mut problems);
    let in_file = Raw::deserialize(toml::Deserializer::from(table)).map_err(|error| malformed(path, text, &error))?;
    for (name, source) in &in_file.source {
        if source.client_secret.is_some() {
            problems.push(format!(
                "source.{name}.client_secret stands in the file: a secret belongs in a file of its own \
                 (client_secret_file), in the systemd credential {name}-client-secret, or in the environment"
            ));
        }
    }

    let ours: config::Map<String, String> = environment
        .iter()
        .filter(|(name, _)| name.to_ascii_uppercase().starts_with("TRUSTSYNC__"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let environment = Environment::with_prefix(PREFIX).prefix_separator("__").separator("__").source(Some(ours));
    let layered = Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .add_source(environment)
        .build()
        .map_err(|_| SettingsError::Environment("its values do not fit into the file's tables".to_owned()))?;
    let mut origins = Origins::default();
    origins.gather("", &layered.cache, path);
    let mut of_both = Vec::new();
    unknown(&known, &[], layered.cache.entries(), &mut of_both);
    of_both.retain(|problem| !problems.contains(problem));
    problems.extend(of_both.into_iter().map(|problem| format!("from the environment: {problem}")));
    let raw = Raw::deserialize(layered).map_err(|error| SettingsError::Environment(without_value(&error)))?;
    Ok(Read { raw, origins, problems })
}

fn read(path: &Path) -> Result<String, SettingsError> {
    let bytes = std::fs::File::open(path).and_then(|file| read_at_most(file, LARGEST));
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other));
    text.map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })
}

/// The parser's own rendering quotes the line, which may hold a secret: position and message alone are shown.
fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    SettingsError::Malformed {
        path: path.to_owned(),
        line: before.matches('\n').count().saturating_add(1),
        column: before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1),
        message: error.message().trim_end().replace('\n', ", "),
    }
}

/// config's messages quote the value, which may be a secret; the key is what helps.
fn without_value(error: &config::ConfigError) -> String {
    match error {
        config::ConfigError::Type { key: Some(key), expected, .. } => format!("{key} is not {expected}"),
        config::ConfigError::At { key: Some(key), error, .. } => match &**error {
            config::ConfigError::Type { expected, .. } => format!("{key} is not {expected}"),
            _ => format!("{key} has a value that does not fit"),
        },
        _ => "a value does not fit its key".to_owned(),
    }
}

/// What a value holds by name: nothing unless it is a table.
trait Entries {
    type Value: Entries;

    fn entries(&self) -> Vec<(&str, &Self::Value)>;
}

impl<'i> Entries for DeTable<'i> {
    type Value = Spanned<DeValue<'i>>;

    fn entries(&self) -> Vec<(&str, &Self::Value)> {
        self.iter().map(|(name, value)| (name.get_ref().as_ref(), value)).collect()
    }
}

impl<'i> Entries for Spanned<DeValue<'i>> {
    type Value = Self;

    fn entries(&self) -> Vec<(&str, &Self)> {
        self.get_ref().as_table().map(Entries::entries).unwrap_or_default()
    }
}

impl Entries for Value {
    type Value = Self;

    fn entries(&self) -> Vec<(&str, &Self)> {
        let ValueKind::Table(table) = &self.kind else { return Vec::new() };
        table.iter().map(|(name, value)| (name.as_str(), value)).collect::<BTreeMap<_, _>>().into_iter().collect()
    }
}

/// Adds a message for each unknown key below `table`, with the nearest known one.
fn unknown<V: Entries<Value = V>>(
    known: &[(&str, &'static [&'static str])],
    table: &[&str],
    entries: Vec<(&str, &V)>,
    problems: &mut Vec<String>,
) {
    // However deep a fallback is written, its keys are those of a reload.
    let depth = table.iter().rposition(|part| *part != "fallback").map_or(0, |last| last.saturating_add(1));
    let shape = table.get(..depth).unwrap_or(table);
    let fits = |pattern: &str| {
        let steps: Vec<&str> = pattern.split('.').filter(|step| !step.is_empty()).collect();
        steps.len() == shape.len() && steps.iter().zip(shape).all(|(step, part)| *step == "*" || step == part)
    };
    // None: the names in this table are the user's own.
    let keys = known.iter().find(|(pattern, _)| fits(pattern)).map(|(_, keys)| *keys);
    for (name, value) in entries {
        match keys {
            Some(keys) if !keys.contains(&name) => {
                let place = table.iter().map(|part| format!("{part}.")).collect::<String>();
                let keys = keys.iter().filter(|key| depth == table.len() || !NOT_IN_A_FALLBACK.contains(key));
                problems.push(not_known(&place, name, keys.copied()));
            }
            _ => unknown(known, &[table, &[name]].concat(), value.entries(), problems),
        }
    }
}

fn not_known<'a>(place: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    // A secret belongs elsewhere.
    let known: Vec<&str> = known.filter(|key| *key != "client_secret").collect();
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(candidate, name), *candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(2));
    match nearest {
        Some((_, nearest)) => format!("unknown key {place}{name}: did you mean {place}{nearest}?"),
        None => format!("unknown key {place}{name}: known here are {}", known.join(", ")),
    }
}

/// The environment names itself as the origin of each value that it sets.
fn is_of_environment(value: &Value) -> bool {
    match &value.kind {
        ValueKind::Table(entries) => entries.values().any(is_of_environment),
        _ => value.origin().is_some(),
    }
}
