//! The configuration as written: every value optional, nothing checked. [`super::resolve`] makes sense of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::resolved::Secret;

/// The whole file, with the environment over it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Raw {
    pub source: BTreeMap<String, RawSource>,
    pub store: BTreeMap<String, RawStore>,
    pub target: BTreeMap<String, RawTarget>,
    pub schedule: RawSchedule,
    pub listen: RawListen,
    pub alarms: RawAlarms,
    pub crl: RawCrl,
    pub verify: RawVerify,
}

/// The keys of each table, for naming the nearest known one. `*` stands for a name of the user's.
pub fn known_keys() -> [(&'static str, &'static [&'static str]); 12] {
    [
        ("", keys_of::<Raw>()),
        ("source.*", keys_of::<RawSource>()),
        ("store.*", keys_of::<RawStore>()),
        ("target.*", keys_of::<RawTarget>()),
        ("target.*.reload", keys_of::<RawReloadTable>()),
        ("target.*.proof", keys_of::<RawProof>()),
        ("schedule", keys_of::<RawSchedule>()),
        ("listen", keys_of::<RawListen>()),
        ("alarms", keys_of::<RawAlarms>()),
        ("alarms.upcoming_missing", keys_of::<RawMissing>()),
        ("crl", keys_of::<RawCrl>()),
        ("verify", keys_of::<RawVerify>()),
    ]
}

/// The keys of a reload that a reload in its place cannot have.
pub const NOT_IN_A_FALLBACK: [&str; 2] = ["haproxy", "fallback"];

/// The fields of a type, as its derived `Deserialize` asks for them.
fn keys_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut keys: &'static [&'static str] = &[];
    // It always fails: no value is read.
    let _ = T::deserialize(FieldNames(&mut keys));
    keys
}

struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("only the fields are asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawSource {
    pub region: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<RawSecret>,
    pub client_secret_file: Option<PathBuf>,
    pub authorities: Option<List>,
    pub genesys_anchors: Option<List>,
    pub digicert_anchors: Option<List>,
    pub builtin_anchors: Option<bool>,
    pub identity: Option<List>,
    pub api: Option<String>,
    pub login: Option<String>,
    pub path: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub proxy: Option<RawSecret>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawCrl {
    pub policy: Option<String>,
    pub allow_private: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawVerify {
    pub min_rsa_bits: Option<u32>,
    pub curves: Option<List>,
    pub signatures: Option<List>,
    pub other_usages: Option<String>,
    pub max_validity: Option<String>,
    pub max_chain: Option<u32>,
    pub max_certificates: Option<u32>,
    pub clock_skew: Option<String>,
    pub max_new_leaves: Option<u32>,
    pub max_pins: Option<u32>,
    pub changed_issuer: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawStore {
    pub path: Option<PathBuf>,
    pub grace: Option<String>,
    pub keep: Option<u32>,
    pub sources: Option<List>,
    pub extra_anchors: Option<List>,
    pub seed: Option<PathBuf>,
    pub privileged_path: Option<PathBuf>,
    pub on_drift: Option<String>,
    pub turns: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawTarget {
    pub kind: Option<String>,
    pub store: Option<String>,
    pub outputs: Option<List>,
    pub marker: Option<bool>,
    pub pinning: Option<String>,
    pub privileged: Option<bool>,
    pub check: Option<List>,
    pub check_timeout: Option<String>,
    pub reload: Option<RawReload>,
    pub reload_timeout: Option<String>,
    pub proof: Option<RawProof>,
}

/// `"none"`, or a table.
#[derive(Debug, Clone)]
pub enum RawReload {
    Word(String),
    Table(RawReloadTable),
}

impl<'de> Deserialize<'de> for RawReload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrTable;
        impl<'de> Visitor<'de> for WordOrTable {
            type Value = RawReload;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"none\" or a table such as { systemd = \"nginx.service\" }")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<RawReload, E> {
                Ok(RawReload::Word(word.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawReload, A::Error> {
                RawReloadTable::deserialize(MapAccessDeserializer::new(map)).map(RawReload::Table)
            }
        }
        deserializer.deserialize_any(WordOrTable)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawReloadTable {
    pub signal: Option<String>,
    pub pidfile: Option<PathBuf>,
    pub process: Option<String>,
    pub unit: Option<String>,
    pub systemd: Option<String>,
    pub command: Option<List>,
    pub http: Option<String>,
    pub haproxy: Option<PathBuf>,
    pub fallback: Option<Box<RawReload>>,
    pub master: Option<PathBuf>,
}

impl RawReloadTable {
    /// What is written of the ways that a kind of server has alone, by their keys.
    pub fn own(&self) -> [(&'static str, Option<&PathBuf>); 2] {
        [("haproxy", self.haproxy.as_ref()), ("master", self.master.as_ref())]
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawProof {
    pub connect: Option<List>,
    pub server_name: Option<String>,
    pub generation: Option<String>,
    pub path: Option<String>,
    pub proxy_protocol: Option<String>,
    pub command: Option<List>,
    pub http: Option<String>,
    pub envoy: Option<String>,
    pub haproxy: Option<PathBuf>,
    pub settle: Option<String>,
    pub timeout: Option<String>,
}

impl RawProof {
    /// What is written of the ways that a kind of server has alone, by their keys.
    pub fn own(&self) -> [(&'static str, Option<&str>); 2] {
        [("envoy", self.envoy.as_deref()), ("haproxy", self.haproxy.as_deref().and_then(Path::to_str))]
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawSchedule {
    pub interval: Option<String>,
    pub window: Option<String>,
    pub window_interval: Option<String>,
    pub proof_interval: Option<String>,
    pub jitter: Option<f64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawListen {
    pub address: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RawAlarms {
    pub upcoming_missing: RawMissing,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawMissing {
    pub warning: Option<String>,
    pub critical: Option<String>,
}

/// A list; from the environment, which has no lists, a text that is split at commas because the key is a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List(pub Vec<String>);

// By hand, so that a wrong item is named with its own line.
impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<List, E> {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(List(items.map(str::to_owned).collect()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<List, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(sequence)).map(List)
            }
        }
        deserializer.deserialize_any(Items)
    }
}

/// A text that may hold a secret. Whatever its type, reading it never fails with its value in the message.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Scalar")]
pub struct RawSecret(pub Secret);

#[derive(Deserialize)]
#[serde(untagged, expecting = "a text was expected")]
enum Scalar {
    Text(String),
    Integer(i64),
    Float(f64),
    Truth(bool),
}

impl From<Scalar> for RawSecret {
    fn from(read: Scalar) -> Self {
        Self(Secret::new(match read {
            Scalar::Text(text) => text,
            Scalar::Integer(number) => number.to_string(),
            Scalar::Float(number) => number.to_string(),
            Scalar::Truth(truth) => truth.to_string(),
        }))
    }
}
