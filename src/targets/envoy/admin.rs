//! What Envoy's admin endpoint shows of the secret that it was to load.
//!
//! ```text
//!  /config_dump   the secret as Envoy was given it — also one that it then refused
//!  /stats         the version of the last secret that it took
//!  /certs         the authorities that its TLS contexts hold; below 1.40 the first of each context alone
//!  /config_dump   the listeners that ask for the secret, and whether they ask for a certificate at all
//! ```
//! No one of them is enough. A secret whose authorities cannot be read is shown by the first although the one before it
//! is served (measured on 1.39 and 1.40; 1.36 goes on showing the one before it); so the other two must agree with it,
//! and its content with the file that the link names. The first authority of that file is the generation's marker, by
//! which alone its context is known.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use super::render::{SECRET, WITH_MARKER, WITHOUT_MARKER};
use crate::targets::BoxFuture;
use crate::targets::endpoint::Endpoint;
use crate::targets::http::Asker;
use crate::targets::process::printable;
use crate::targets::proof::marker;
use crate::targets::proof::observe::{Observe, OwnProof, OwnProofKey};
use crate::targets::proof::seen::{Seen, Wanted, not_ours, of_generation};
use crate::trust::formats::certificate::Certificate;
use crate::trust::turn::Proof;

/// More than the dump of a large mesh's listeners.
const READ: usize = 32 * 1024 * 1024;

/// The proof by Envoy's admin endpoint: the value of its key is the base of that.
pub static PROOF: OwnProofKey = OwnProofKey {
    key: "envoy",
    needs_files: None,
    read: |value, _, marker| {
        let admin = Endpoint::parse(value)?;
        let file = if marker { WITH_MARKER } else { WITHOUT_MARKER };
        Ok(OwnProof {
            place: admin.to_string(),
            // Without the marker an Envoy below 1.40 does not.
            shows_chain: marker,
            reconsider: |handshake, _| handshake,
            observer: Arc::new(move || match Asker::of(&admin) {
                Ok(endpoint) => Ok(Arc::new(Admin { endpoint, file })),
                Err(error) => Err(error.to_string()),
            }),
        })
    },
};

/// Asks one Envoy's admin endpoint.
struct Admin {
    endpoint: Asker,
    /// The file that the server's configuration names, beneath the target's link.
    file: &'static str,
}

impl Observe for Admin {
    fn observe<'a>(&'a self, wanted: &'a Wanted, limit: Duration) -> BoxFuture<'a, Seen> {
        Box::pin(async move { self.compared(wanted, limit).await.unwrap_or_else(|why| Proof::Unreachable(why).into()) })
    }
}

impl Admin {
    async fn compared(&self, wanted: &Wanted, limit: Duration) -> Result<Seen, String> {
        let meant = Meant::read(&wanted.directory.join(self.file), wanted)?;
        let counters = format!("stats?filter=%5Esds%5C.{SECRET}%5C.");
        let (dump, statistics, contexts, fixed, later) = tokio::try_join!(
            self.json("config_dump?resource=dynamic_active_secrets", limit),
            self.text(&counters, limit),
            self.json("certs", limit),
            self.json("config_dump?resource=static_listeners", limit),
            self.json("config_dump?resource=dynamic_listeners", limit),
        )?;
        let mut places = Vec::new();
        for listeners in [&fixed, &later] {
            find_asking(listeners, "a listener", &mut places);
        }
        // A cluster may have the secret, for a server that Envoy connects to.
        if places.is_empty() {
            return Ok(not_ours().into());
        }
        let secrets = secrets(&dump);
        // Listeners that ask for it in different words have one each, and each serves by its own.
        let ours: Vec<&Value> = secrets.iter().filter(|secret| !is_anothers(secret, wanted)).copied().collect();
        let is_alone = ours.len() == secrets.len();
        if let Some(otherwise) = not_taken(&ours, is_alone, &Statistics::read(&statistics), &places, wanted)? {
            return Ok(otherwise);
        }
        if ours.iter().any(|secret| context_of(secret) != Some(&meant.context)) {
            let several = if ours.len() == 1 { String::new() } else { format!(" (one of {}; {SEVERAL})", ours.len()) };
            return Ok(Seen::kept(format!(
                "its secret {SECRET:?} says that it is of generation {:06}, but holds something else than the file \
                 that the link names{several}",
                wanted.generation
            )));
        }
        let shown = match meant.held_in(&contexts) {
            Held::All | Held::Marker => Proof::Proven,
            Held::First if self.file == WITHOUT_MARKER => Proof::AllowlistOnly(FIRST_ALONE.to_owned()),
            Held::First | Held::Otherwise => {
                return Ok(Seen::kept(format!(
                    "none of its TLS contexts holds the authorities of generation {:06}, though it has taken the \
                     secret",
                    wanted.generation
                )));
            }
        };
        let open: Vec<String> = places.iter().filter_map(|place| place.why_open(&meant.context)).collect();
        Ok(if open.is_empty() { shown } else { Proof::NotEnforced(open.join("; ")) }.into())
    }

    async fn text(&self, path: &str, limit: Duration) -> Result<String, String> {
        let answer =
            self.endpoint.below(path).ask(Method::GET, limit, READ).await.map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("its admin endpoint answered with {}", answer.status));
        }
        String::from_utf8(answer.body).map_err(|_| "its admin endpoint did not answer with a text".to_owned())
    }

    /// `{}` for an empty body: Envoy has nothing of the kind.
    async fn json(&self, path: &str, limit: Duration) -> Result<Value, String> {
        let text = self.text(path, limit).await?;
        let text = if text.trim().is_empty() { "{}" } else { &text };
        serde_json::from_str(text).map_err(|error| format!("its admin endpoint's answer is not JSON: {error}"))
    }
}

/// What it shows instead of having taken the wanted generation's secret, if so. `is_alone`: no other store's secret has
/// the same name, so that the counters are ours.
fn not_taken(
    ours: &[&Value],
    is_alone: bool,
    statistics: &Statistics,
    places: &[Asking<'_>],
    wanted: &Wanted,
) -> Result<Option<Seen>, String> {
    let Some(first) = ours.first() else {
        return Ok(Some(match statistics.attempts {
            // It asks for the secret, and has none: then its listeners let nobody in.
            Some(_) => Seen::kept(format!(
                "it has loaded none of the secret {SECRET:?} yet: {}",
                statistics.refusals("every client is refused")
            )),
            None => not_ours().into(),
        }));
    };
    let unnamed = || format!("its admin endpoint names no version of the secret {SECRET:?}");
    let versions = ours.iter().map(|secret| version_of(secret)).collect::<Option<Vec<u64>>>().ok_or_else(unnamed)?;
    let of_another = versions.iter().copied().find(|version| *version != wanted.generation);
    if let Some(other) = of_another.filter(|_| versions.contains(&wanted.generation)) {
        return Ok(Some(Seen::other_content(parted(places, ours.len(), other))));
    }
    let taken = if is_alone { statistics.version } else { version_of(first) }.ok_or_else(unnamed)?;
    Ok(match of_another {
        None if taken == wanted.generation => None,
        None => Some(Seen::kept(format!(
            "it was given generation {:06} and refused it, and goes on with {taken:06}: {}",
            wanted.generation,
            statistics.refusals("its log says why")
        ))),
        Some(_) => Some(of_generation("its secret", taken).into()),
    })
}

/// Why the chain is not seen of an old Envoy whose file has no marker.
const FIRST_ALONE: &str = "it has taken the secret, but of each TLS context its admin endpoint shows one authority, as \
                           every Envoy below 1.40 does; without the generation marker (marker = false) that tells no \
                           generation";

/// What the file of the wanted generation says.
struct Meant {
    context: Value,
    /// The serial numbers of its authorities, in their order.
    serials: Vec<String>,
    /// That of the wanted generation's marker, where it is the first of them.
    marker: Option<String>,
}

/// What the TLS contexts of an Envoy hold of the authorities that are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    /// None of them does.
    Otherwise,
    /// One shows the first alone, which other generations have too.
    First,
    /// One shows the marker alone, which no other generation has.
    Marker,
    /// One shows just these.
    All,
}

impl Meant {
    fn read(path: &Path, wanted: &Wanted) -> Result<Self, String> {
        let unread =
            |why: &dyn Display| format!("{}, which it should have loaded, cannot be read ({why})", path.display());
        let bytes = std::fs::read(path).map_err(|error| unread(&error))?;
        let file: Value = serde_json::from_slice(&bytes).map_err(|error| unread(&error))?;
        let context = file.pointer("/resources/0/validation_context").cloned().unwrap_or_default();
        let mut authorities = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(bundle_of(&context)) {
            let der = certificate.map_err(|error| unread(&error))?;
            authorities.push(Certificate::parse(&der).map_err(|error| unread(&error))?);
        }
        let serial = |authority: &Certificate| plain(&authority.facts().serial);
        let marker = authorities.first().filter(|first| is_marker_of(first, wanted)).map(serial);
        Ok(Self { context, serials: authorities.iter().map(serial).collect(), marker })
    }

    /// The best that any TLS context shows.
    fn held_in(&self, contexts: &Value) -> Held {
        let mut all: Vec<&String> = self.serials.iter().collect();
        all.sort();
        let contexts = contexts.get("certificates").and_then(Value::as_array);
        let held = contexts.into_iter().flatten().map(|context| {
            let authorities = context.get("ca_cert").and_then(Value::as_array).into_iter().flatten();
            let mut found: Vec<String> =
                authorities.filter_map(|held| held.get("serial_number")?.as_str().map(plain)).collect();
            found.sort();
            match found.as_slice() {
                found if found.iter().eq(all.iter().copied()) => Held::All,
                [one] if Some(one) == self.marker.as_ref() => Held::Marker,
                [one] if self.marker.is_none() && Some(one) == self.serials.first() => Held::First,
                _ => Held::Otherwise,
            }
        });
        held.max().unwrap_or(Held::Otherwise)
    }
}

fn is_marker_of(certificate: &Certificate, wanted: &Wanted) -> bool {
    let markers = marker::find_in(&[certificate.facts().subject_der.clone()]);
    markers.iter().any(|marker| marker.store_id == wanted.store_id && marker.generation == wanted.generation)
}

/// A serial number without leading zeros, in lower case.
fn plain(serial: &str) -> String {
    serial.trim_start_matches('0').to_ascii_lowercase()
}

/// Counters of the secret's subscription.
#[derive(Debug, Default)]
struct Statistics {
    version: Option<u64>,
    attempts: Option<u64>,
    rejected: u64,
    failed: u64,
}

impl Statistics {
    fn read(text: &str) -> Self {
        let mut statistics = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(": ")) {
            let number = value.parse::<u64>();
            match name.rsplit('.').next() {
                Some("version_text") => statistics.version = value.trim_matches('"').parse().ok(),
                Some("update_attempt") => statistics.attempts = number.ok(),
                Some("update_rejected") => statistics.rejected = number.unwrap_or_default(),
                Some("update_failure") => statistics.failed = number.unwrap_or_default(),
                _ => {}
            }
        }
        statistics
    }

    fn refusals(&self, rest: &str) -> String {
        format!(
            "sds.{SECRET}.update_rejected is {}, sds.{SECRET}.update_failure {}; {rest}",
            self.rejected, self.failed
        )
    }
}

/// The secrets of our name.
fn secrets(dump: &Value) -> Vec<&Value> {
    let secrets = dump.get("configs").and_then(Value::as_array).into_iter().flatten();
    secrets.filter(|secret| secret.get("name").and_then(Value::as_str) == Some(SECRET)).collect()
}

fn context_of(secret: &Value) -> Option<&Value> {
    secret.get("secret")?.get("validation_context")
}

fn bundle_of(context: &Value) -> &[u8] {
    context.pointer("/trusted_ca/inline_string").and_then(Value::as_str).unwrap_or_default().as_bytes()
}

fn version_of(secret: &Value) -> Option<u64> {
    secret.get("version_info")?.as_str()?.parse().ok()
}

/// Whether no marker but other stores' is in it.
fn is_anothers(secret: &Value, wanted: &Wanted) -> bool {
    let ders = CertificateDer::pem_slice_iter(context_of(secret).map(bundle_of).unwrap_or_default());
    let subjects: Vec<Vec<u8>> =
        ders.filter_map(|der| Some(Certificate::parse(&der.ok()?).ok()?.facts().subject_der.clone())).collect();
    let markers = marker::find_in(&subjects);
    !markers.is_empty() && markers.iter().all(|marker| marker.store_id != wanted.store_id)
}

/// Why an Envoy has several secrets of our name, and by what those of different stores are known.
const SEVERAL: &str = "listeners that ask for it in different words have one each; if it is another store's, its file \
                       must hold that store's marker";

/// What of a validation context beside ours would let others in.
const WIDENING: [&str; 6] = [
    "trusted_ca",
    "verify_certificate_hash",
    "verify_certificate_spki",
    "trust_chain_verification",
    "allow_expired_certificate",
    // It judges in place of all that ours says.
    "custom_validator_config",
];

/// Where ours lists names: one of either list is enough. Where it does not, these are asked for besides.
const NAMING: [&str; 2] = ["match_typed_subject_alt_names", "match_subject_alt_names"];

/// The states of a listener in which it takes no connection: refused, or on its way out.
const IDLE: [&str; 2] = ["error_state", "draining_state"];

/// A TLS context of a listener that asks for the secret.
struct Asking<'a> {
    listener: &'a str,
    context: &'a Value,
    required: Option<&'a Value>,
}

fn find_asking<'a>(value: &'a Value, listener: &'a str, found: &mut Vec<Asking<'a>>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| find_asking(value, listener, found)),
        Value::Object(fields) => {
            let named = fields.get("name").and_then(Value::as_str).filter(|_| fields.contains_key("address"));
            let listener = named.unwrap_or(listener);
            if let Some(context) = fields.get("common_tls_context") {
                let place = Asking { listener, context, required: fields.get("require_client_certificate") };
                found.extend(place.secret().is_some().then_some(place));
            }
            let taking = fields.iter().filter(|(key, _)| !IDLE.contains(&key.as_str()));
            taking.for_each(|(_, value)| find_asking(value, listener, found));
        }
        _ => {}
    }
}

impl<'a> Asking<'a> {
    /// The part of the context that asks for the secret.
    fn secret(&self) -> Option<&'a Value> {
        let combined = self.context.get("combined_validation_context");
        [Some(self.context), combined].into_iter().flatten().find_map(|at| {
            let secret = at.get("validation_context_sds_secret_config")?;
            (secret.get("name").and_then(Value::as_str) == Some(SECRET)).then_some(secret)
        })
    }

    /// It reads a file, and does not see when the link is renamed.
    fn is_unwatched(&self) -> bool {
        let file = self.secret().and_then(|secret| secret.pointer("/sds_config/path_config_source"));
        file.is_some_and(|file| file.get("watched_directory").is_none())
    }

    fn why_open(&self, ours: &Value) -> Option<String> {
        let names = ours.get("match_typed_subject_alt_names").is_some();
        // Where certificates or names are listed, Envoy refuses a client that shows none, required or not (measured).
        let listed = names || ours.get("verify_certificate_hash").is_some();
        let why = if !listed && self.required != Some(&Value::Bool(true)) {
            "require_client_certificate is not set, so that a client without a certificate gets in".to_owned()
        } else {
            let default = self.context.pointer("/combined_validation_context/default_validation_context")?;
            let mut keys = WIDENING.into_iter().chain(NAMING.into_iter().filter(|_| names));
            let widening = keys.find(|key| default.get(key).is_some_and(|value| *value != Value::Array(Vec::new())))?;
            format!(
                "its default_validation_context has {widening}, which is joined with trustsync's and lets others in"
            )
        };
        Some(format!("{}: {why}", printable(self.listener.as_bytes())))
    }
}

/// Of secrets of several generations.
fn parted(places: &[Asking<'_>], count: usize, other: u64) -> String {
    let unwatched = places.iter().filter(|place| place.is_unwatched());
    let unwatched: BTreeSet<String> = unwatched.map(|place| printable(place.listener.as_bytes())).collect();
    let mut text = format!("of its {count} secrets {SECRET:?} one is of generation {other:06} ({SEVERAL})");
    if !unwatched.is_empty() {
        let listeners = unwatched.into_iter().collect::<Vec<_>>().join(", ");
        text.push_str(&format!(
            "; these listeners ask for it without watched_directory, by which alone Envoy sees a new generation: \
             {listeners}"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Why the listener of this TLS context is open, where our secret says this.
    fn open(ours: &Value, context: &Value, required: &Value) -> Vec<String> {
        let socket = json!({ "common_tls_context": context, "require_client_certificate": required });
        let listener = json!({ "name": "edge", "address": {}, "filter_chains": [socket] });
        let dump = json!({ "configs": [{ "active_state": { "listener": listener } }] });
        let mut places = Vec::new();
        find_asking(&dump, "?", &mut places);
        places.iter().filter_map(|place| place.why_open(ours)).collect()
    }

    /// What of three authorities (7 the marker, with a zero before it) these contexts hold.
    fn held(marker: Option<&str>, contexts: &[&[&str]]) -> Held {
        let serials = ["7", "1a", "2b"].map(str::to_owned).to_vec();
        let meant = Meant { context: json!({}), serials, marker: marker.map(str::to_owned) };
        let shown = contexts.iter().map(|held| {
            let authorities: Vec<Value> = held.iter().map(|serial| json!({ "serial_number": serial })).collect();
            json!({ "ca_cert": authorities, "cert_chain": [] })
        });
        meant.held_in(&json!({ "certificates": shown.collect::<Vec<_>>() }))
    }

    #[test]
    fn one_authority_alone_tells_the_generation_only_where_it_is_the_marker() {
        let marker = Some("7");
        for (contexts, expected) in [
            ([["07", "1A", "2b"].as_slice()].as_slice(), Held::All),
            (&[&["2b", "07", "1a"]], Held::All),
            (&[&["07"]], Held::Marker),
            (&[&["99"], &[], &["07"]], Held::Marker),
            (&[&["07"], &["1a", "07", "2b"]], Held::All),
            // Another generation's marker, or an authority that every generation has.
            (&[&["99"]], Held::Otherwise),
            (&[&["1a"]], Held::Otherwise),
            (&[&["2b"]], Held::Otherwise),
            // A list that is longer than one is a whole one: not ours, though the marker be in it.
            (&[&["1a", "2b"]], Held::Otherwise),
            (&[&["07", "1a"]], Held::Otherwise),
            (&[&["07", "1a", "2b", "99"]], Held::Otherwise),
            (&[&["07", "07"]], Held::Otherwise),
            (&[&["99", "1a", "2b"]], Held::Otherwise),
            (&[&[]], Held::Otherwise),
            (&[], Held::Otherwise),
        ] {
            assert_eq!(held(marker, contexts), expected, "{contexts:?}");
        }
        // Without it, the first is one that other generations have as well.
        assert_eq!(held(None, &[&["07"]]), Held::First);
        assert_eq!(held(None, &[&["1a"]]), Held::Otherwise);
        assert_eq!(held(None, &[&["07"], &["07", "1a", "2b"]]), Held::All);
    }

    fn joined(default: &Value) -> Value {
        json!({ "combined_validation_context": {
            "default_validation_context": default, "validation_context_sds_secret_config": { "name": SECRET },
        } })
    }

    #[test]
    fn a_listener_is_open_that_requires_no_certificate_or_joins_another_context() {
        let issuer = json!({ "trusted_ca": {} });
        let plain = json!({ "validation_context_sds_secret_config": { "name": SECRET } });
        assert!(open(&issuer, &plain, &json!(true)).is_empty());
        for required in [json!(false), json!(null)] {
            let open = open(&issuer, &plain, &required);
            assert!(open[0].starts_with("edge: require_client_certificate"), "{open:?}");
        }
        let other = json!({ "validation_context_sds_secret_config": { "name": "other" } });
        assert!(open(&issuer, &other, &json!(false)).is_empty(), "it is none of ours");
        for (default, is_open) in [
            (json!({}), false),
            (json!({ "match_typed_subject_alt_names": [] }), false),
            (json!({ "match_typed_subject_alt_names": [{}] }), false),
            (json!({ "verify_certificate_hash": ["ab"] }), true),
            (json!({ "custom_validator_config": { "name": "any" } }), true),
        ] {
            assert_eq!(!open(&issuer, &joined(&default), &json!(true)).is_empty(), is_open, "{default}");
        }
    }

    #[test]
    fn names_that_are_joined_with_ours_open_a_listener_where_ours_are_names() {
        let hashes = json!({ "verify_certificate_hash": ["ab"] });
        let names = json!({ "match_typed_subject_alt_names": [{}] });
        for key in ["match_typed_subject_alt_names", "match_subject_alt_names"] {
            let default = json!({ key: [{}] });
            assert!(open(&hashes, &joined(&default), &json!(true)).is_empty());
            let open = open(&names, &joined(&default), &json!(true));
            assert!(open[0].contains(&format!("has {key},")), "{open:?}");
        }
    }

    #[test]
    fn a_listener_that_takes_no_connection_asks_for_nothing() {
        let context = joined(&json!({}));
        let listener = json!({ "name": "edge", "address": {}, "filter_chains": [{ "common_tls_context": context }] });
        for (state, count) in [("active_state", 1), ("error_state", 0), ("draining_state", 0)] {
            let dump = json!({ "configs": [{ state: { "listener": listener } }] });
            let mut places = Vec::new();
            find_asking(&dump, "?", &mut places);
            assert_eq!(places.len(), count, "{state}");
        }
    }
}
