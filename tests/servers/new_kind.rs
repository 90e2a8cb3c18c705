//! A new kind of server is one implementation and one line of the table: a made-up one is configured, rendered, read back,
//! explained and taken through its turns by the same code as those that are known.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use support::stage::Stage;
use trustsync::settings::{self, SettingsError};
use trustsync::store::generation;
use trustsync::targets::BoxFuture;
use trustsync::targets::generic::GENERIC;
use trustsync::targets::kind::{Kinds, ServerKind};
use trustsync::targets::nginx::NGINX;
use trustsync::targets::proof::observe::{Observe, OwnProof, OwnProofKey};
use trustsync::targets::proof::seen::{Seen, Wanted, of_generation};
use trustsync::targets::read_back::{ReadBackError, read_back};
use trustsync::targets::table::KINDS;
use trustsync::trust::plan::set::TrustSet;
use trustsync::trust::records::manifest::Manifest;
use trustsync::trust::render::{Family, Files, Label, Odd, Place};
use trustsync::trust::turn::{Evidence, Owed, Proof};
use trustsync::trust::values::fingerprint::Fingerprint;

/// A server that nobody has: it pins by one list, and knows no names.
struct Edge;

const LIST: &str = "edge/pins.list";

static EDGE: ServerKind = ServerKind {
    output: Some(&Edge),
    reads: &["edge/"],
    snippet: Some(|link| format!("trust \"{link}/trust-bundle.pem\" pins \"{link}/{LIST}\"\n", link = link.display())),
    check: Some(&["sh", "-c", "grep -q '^edge generation' \"$TRUSTSYNC_DIRECTORY/edge/pins.list\""]),
    // This table has no HAProxy, so the key is free: nothing but the table says what it means.
    own_proof: Some(&OwnProofKey {
        key: "haproxy",
        needs_files: None,
        read: |value, folder, _| {
            let shown = folder.join(value);
            Ok(OwnProof {
                place: shown.display().to_string(),
                shows_chain: true,
                reconsider: |handshake, _| handshake,
                observer: Arc::new(move || Ok(Arc::new(Shown(shown.clone())))),
            })
        },
    }),
    settle: Duration::ZERO,
    ..ServerKind::unknown("edge")
};

/// A file in which the server writes the generation that it has loaded.
struct Shown(PathBuf);

impl Observe for Shown {
    fn observe<'a>(&'a self, wanted: &'a Wanted, _: Duration) -> BoxFuture<'a, Seen> {
        Box::pin(async move {
            match fs::read_to_string(&self.0).ok().and_then(|text| text.trim().parse().ok()) {
                Some(shown) if shown == wanted.generation => Proof::Proven.into(),
                Some(shown) => of_generation("the file", shown).into(),
                None => Proof::Unreachable("no file".to_owned()).into(),
            }
        })
    }
}

impl Family for Edge {
    fn name(&self) -> &'static str {
        "edge"
    }

    fn files(&self, set: &TrustSet, label: &Label<'_>) -> Files {
        let pins: String = set.pins.keys().map(|pin| format!("{pin}\n")).collect();
        Files::from([(LIST.to_owned(), format!("edge generation {:06}\n{pins}", label.generation).into_bytes())])
    }

    fn read_back(&self, path: &str, bytes: &[u8], manifest: &Manifest) -> Option<Result<(), Odd>> {
        if path != LIST {
            return None;
        }
        let found = std::str::from_utf8(bytes).unwrap().lines().skip(1).count();
        let meant = manifest.slots.values().flat_map(|slot| &slot.entries).count();
        Some(if found == meant { Ok(()) } else { Err((format!("{found} pins"), meant.to_string())) })
    }

    fn problems(&self, place: &Place<'_>) -> Vec<String> {
        place
            .genesys
            .map(|source| format!("target.{} knows no names: source.{source}", place.target))
            .into_iter()
            .collect()
    }
}

const WITH_EDGE: Kinds = Kinds(&[&NGINX, &EDGE, &GENERIC]);

/// A stage whose one target is an `edge`.
async fn configured(lines: &str) -> Stage {
    let mut stage = Stage::begin().await.with_kinds(WITH_EDGE);
    stage.configure_targets(&format!("[target.front]\nkind = \"edge\"\n{lines}\n"));
    stage
}

#[tokio::test]
async fn it_is_configured_by_its_name_and_its_preset() {
    let stage = configured("").await;
    let path = stage.root().join("config.toml");
    let read = |kinds| settings::read_by(kinds, &path, &BTreeMap::new());

    let settings = read(WITH_EDGE).unwrap().settings;
    let target = &settings.stores["main"].targets[0];
    assert_eq!((target.kind.name, target.outputs.len()), ("edge", 1));
    assert_eq!(target.check.as_ref().unwrap()[0], "sh");

    let Err(SettingsError::Wrong { problems, .. }) = read(KINDS) else { panic!("our own table has no such kind") };
    assert!(problems[0].contains("target.front.kind: \"edge\" is not known"), "{problems:?}");
}

#[tokio::test]
async fn what_its_format_cannot_express_is_a_problem_of_the_configuration() {
    let stage = configured("").await;
    let path = stage.root().join("config.toml");
    let both = fs::read_to_string(&path).unwrap().replace(
        "digicert_anchors",
        "authorities = [\"DigiCert\", \"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]\ndigicert_anchors",
    );
    fs::write(&path, both).unwrap();
    let Err(SettingsError::Wrong { problems, .. }) = settings::read_by(WITH_EDGE, &path, &BTreeMap::new()) else {
        panic!("it knows no names")
    };
    assert_eq!(problems, ["target.front knows no names: source.us"]);
}

#[test]
fn its_snippet_names_the_targets_link_with_and_without_the_marker() {
    let of = |marker| EDGE.snippet(marker, Path::new("/srv/target/front")).unwrap();
    assert_eq!(of(true), "trust \"/srv/target/front/trust-bundle.pem\" pins \"/srv/target/front/edge/pins.list\"\n");
    assert_eq!(of(false), of(true).replace("trust-bundle", "chain"));
}

#[tokio::test]
async fn its_files_are_rendered_and_read_back_by_its_own_word() {
    let mut stage = configured("reload = { command = [\"true\"] }").await;
    stage.cycle().await;
    let root = stage.root().join("store");
    let folder = generation::path(&root, 1);
    assert!(fs::read_to_string(folder.join(LIST)).unwrap().starts_with("edge generation 000001\n"));
    read_back(WITH_EDGE, &root.join(generation::DIRECTORY), 1).unwrap();

    // Who does not know the kind does not pass its files unread.
    let unknown = read_back(KINDS, &root.join(generation::DIRECTORY), 1).unwrap_err();
    assert!(matches!(&unknown, ReadBackError::Unknown { path } if path == LIST), "{unknown}");

    // Damage that the manifest vouches for is seen by the kind's own parser.
    let damaged = "edge generation 000001\n";
    fs::write(folder.join(LIST), damaged).unwrap();
    let mut manifest = Manifest::read(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    manifest.files.insert(LIST.to_owned(), Fingerprint::of(damaged.as_bytes()));
    fs::write(folder.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    let odd = read_back(WITH_EDGE, &root.join(generation::DIRECTORY), 1).unwrap_err();
    assert!(matches!(&odd, ReadBackError::Count { path, .. } if path == LIST), "{odd}");
}

#[tokio::test]
async fn it_takes_its_turns() {
    let mut stage = configured("reload = { command = [\"true\"] }").await;
    let report = stage.cycle().await;
    assert!(report.targets[0].reloaded, "{report:?}");
    assert!(matches!(report.targets[0].settled, Some(Evidence::ReloadedNotProven(_))), "{report:?}");

    stage
        .configure_targets("[target.front]\nkind = \"edge\"\ncheck = [\"false\"]\nreload = { command = [\"true\"] }\n");
    stage.an_hour_later();
    stage.world().set_days_left(60).unwrap();
    let report = stage.cycle().await;
    assert!(matches!(report.targets[0].owed, Some(Owed::BrokenWithoutUs { .. } | Owed::BrokenBefore(_))), "{report:?}");
    assert!(!report.targets[0].reloaded, "{report:?}");
}

#[tokio::test]
async fn it_is_observed_in_its_own_way_which_other_tables_do_not_know() {
    let mut stage = configured("").await;
    let shown = stage.root().join("shown");
    stage.configure_targets(&format!(
        "[target.front]\nkind = \"edge\"\nproof = {{ haproxy = \"shown\", timeout = \"2s\" }}\n\
         reload = {{ command = [\"sh\", \"-c\", \"echo 1 > {}\"] }}\n",
        shown.display()
    ));
    let report = stage.cycle().await;
    assert_eq!(report.targets[0].settled, Some(Evidence::Proven), "{report:?}");

    let path = stage.root().join("config.toml");
    const NOBODYS: Kinds = Kinds(&[&GENERIC]);
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("\"edge\"", "\"generic\"")).unwrap();
    let Err(SettingsError::Wrong { problems, .. }) = settings::read_by(NOBODYS, &path, &BTreeMap::new()) else {
        panic!("no kind of this table has the key")
    };
    assert_eq!(problems, ["target.front.proof.haproxy is not a way of any kind of server that is known"]);
}
