//! What is fuzzed: for each parser a door that takes any bytes, and what must hold whatever they are. The fuzz targets call
//! one each; tests/core/fuzz_bounded.rs all of them, for a while, on every machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use trustsync::genesys::listing::{ENTITIES, read_page};
use trustsync::settings::load::layer;
use trustsync::trust::formats::archive;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::formats::pem::{self, encode, scan};
use trustsync::trust::inspection;
use trustsync::trust::inspection::pkcs12;
use trustsync::trust::plan::observation::{IdentityRule, SlotRules};
use trustsync::trust::records::adopt::{self, Giver};
use trustsync::trust::records::manifest::Manifest;
use trustsync::trust::records::state::State;
use trustsync::trust::render::{Content, Label};
use trustsync::trust::values::slot::{Authority, SlotId};
use trustsync::trust::values::timestamp::Timestamp;
use trustsync::trust::verify::anchor::Anchors;
use trustsync::trust::verify::crl::{self, Crl};
use trustsync::trust::verify::{self, Identity, Policy, Verdict};

/// What a target does with an input.
pub type Door = fn(&[u8]);

/// Every door, by the name of its target.
pub const DOORS: [(&str, Door); 11] = [
    ("pem", pem),
    ("certificate", certificate),
    ("judge", judge),
    ("crl", crl),
    ("pkcs12", pkcs12),
    ("zip", zip),
    ("listing", listing),
    ("configuration", configuration),
    ("state", state),
    ("inspect", inspect),
    ("adopt", adopt),
];

static DIGICERT: LazyLock<Anchors> = LazyLock::new(Anchors::digicert);
/// Rounds of hashing that one PKCS#12 file may cost here: many files matter more than long ones.
const WORK: u64 = 20_000;

fn now() -> Timestamp {
    Timestamp::from_unix(1_780_272_000)
}

/// Every BEGIN marker yields a block, and what was read survives being written canonically.
pub fn pem(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let blocks = scan(&text);
    assert_eq!(blocks.len(), pem::count(&text));
    for block in blocks {
        if let Ok(bytes) = block.bytes {
            let again = scan(&encode(&block.label, &bytes));
            assert_eq!(again.len(), 1);
            assert_eq!(again[0].bytes.as_ref(), Ok(&bytes));
            assert!(again[0].oddities.is_empty());
        }
    }
    let _ = Anchors::read(data);
}

/// Any DER, and any PEM block as DER, is a certificate or an error, and a certificate reads back as itself.
pub fn certificate(data: &[u8]) {
    let blocks = scan(&String::from_utf8_lossy(data));
    let ders = blocks.into_iter().filter_map(|block| block.bytes.ok());
    for der in ders.chain([data.to_vec()]) {
        if let Ok(certificate) = Certificate::parse(&der) {
            assert!(certificate.facts().subject.is_ascii() && certificate.facts().issuer.is_ascii());
            assert_eq!(certificate.der(), der);
            let again = scan(&certificate.pem());
            assert_eq!(again[0].bytes.as_ref(), Ok(&der));
            let _ = (certificate.identity_names(), format!("{certificate:?}"));
        }
    }
}

/// Any text is judged, with what it calls a CA as anchors too, and every refusal can be shown.
pub fn judge(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let parsed = scan(&text).into_iter().filter_map(|block| Certificate::parse(&block.bytes.ok()?).ok());
    let anchors = Anchors::of(parsed.filter(|certificate| certificate.facts().is_ca).collect());
    for (text, anchors) in [
        (text.as_ref(), DIGICERT.clone()),
        (text.as_ref(), anchors),
        (encode("CERTIFICATE", data).as_str(), DIGICERT.clone()),
    ] {
        match verify::verify_string(text, &anchors, &Policy::default(), now()) {
            Verdict::Accepted(candidate) => {
                assert!(candidate.leaf().facts().extended_key_usages.contains(&"clientAuth".to_owned()));
                assert!(candidate.chain().last().is_some_and(|root| anchors.0.contains(root)));
                let _ = candidate.admit(&Identity::Names(["example.com".to_owned()].into()));
            }
            Verdict::Expired(_, refusal) | Verdict::Refused(refusal) => assert!(refusal.to_string().is_ascii()),
        }
    }
}

/// Any bytes are a CRL or an error; a CRL reads back as itself, and none that DigiCert did not sign is believed.
pub fn crl(data: &[u8]) {
    let pem = encode("X509 CRL", data).into_bytes();
    for bytes in [data.to_vec(), pem] {
        let Ok(crl) = Crl::read(bytes) else { continue };
        let facts = crl.facts();
        assert!(facts.issuer.is_ascii() && facts.unknown_critical_extensions.len() <= 64);
        // An entry has a serial number and a date, and so no fewer than 20 octets.
        assert!(facts.count <= crl.der().len() / 20);
        assert_eq!(Crl::parse(crl.der().to_vec()).unwrap().facts(), facts);
        let refused = crl::believe(&crl, &DIGICERT.0, Duration::ZERO, now());
        assert!(refused.unwrap_err().to_string().is_ascii());
    }
}

/// Any bytes are opened or refused; what comes out is certificates that can be read.
pub fn pkcs12(data: &[u8]) {
    let _ = pkcs12::is_pkcs12(data);
    if let Ok(contents) = pkcs12::read(data, &["", "changeit"], WORK) {
        assert!(contents.certificates.len() + contents.crls.len() + contents.secrets.len() <= 2_000);
        assert!(contents.secrets.iter().all(|secret| secret.is_ascii()));
    }
}

/// Any archive is unpacked within its bounds, or refused.
pub fn zip(data: &[u8]) {
    if let Ok(files) = archive::files(data) {
        assert!(files.len() <= archive::MOST_FILES && files.iter().all(|file| file.name.is_ascii()));
        assert!(files.iter().map(|file| file.content.len() as u64).sum::<u64>() <= archive::MOST_BYTES);
    }
    let _ = Anchors::read(data);
}

/// Any body is a page or refused, and the next page is never asked elsewhere.
pub fn listing(data: &[u8]) {
    let url = "https://api.example.com/api/v2/certificates".parse().unwrap();
    if let Ok(page) = read_page(data, &url, "/api/v2/certificates", 1) {
        assert!(page.entities.len() <= ENTITIES + 1);
        for entity in page.entities {
            let written = serde_json::to_vec(&entity).unwrap();
            assert_eq!(serde_json::from_slice::<trustsync::genesys::wire::Entity>(&written).unwrap(), entity);
        }
    }
}

/// Any text is layered under an environment, or refused with words that do not repeat its values.
pub fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let environment = BTreeMap::from([("TRUSTSYNC__SCHEDULE__INTERVAL".to_owned(), "1h".to_owned())]);
    match layer(Path::new("config.toml"), &text, &environment) {
        Ok(read) => assert_eq!(read.origins.of("schedule.interval"), "environment TRUSTSYNC__SCHEDULE__INTERVAL"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Any bytes are a state or a manifest or refused; what was read is written as what reads the same.
pub fn state(data: &[u8]) {
    if let Ok(state) = State::read(data) {
        let written = state.to_bytes();
        assert_eq!(State::read(&written).unwrap().to_bytes(), written);
    }
    if let Ok(manifest) = Manifest::read(data) {
        let _ = (manifest.planner(), manifest.set(&BTreeMap::new()));
    }
}

/// Any file is inspected, and something is said of it.
pub fn inspect(data: &[u8]) {
    let inspection = inspection::inspect(data, &["", "changeit"], WORK);
    let empty = inspection.form == inspection::Form::Zip && inspection.files.is_empty();
    let nested = !inspection.files.is_empty();
    assert!(
        inspection.found_something()
            || !inspection.oddities.is_empty()
            || nested
            || empty
            || inspection.form == inspection::Form::Pkcs12
    );
}

/// Any manifest is adopted or withheld: whom it admits is known here, and what a server would read of it is lines of ours.
pub fn adopt(data: &[u8]) {
    let Ok(manifest) = Manifest::read(data) else { return };
    let roots = &DIGICERT.0;
    let certificates = roots.iter().map(|root| (root.fingerprint(), root.clone())).collect();
    let names = BTreeSet::from(["name.example".to_owned(), "other.example".to_owned()]);
    let rules = [Authority::DigiCert, Authority::Genesys].map(|authority| SlotRules {
        slot: SlotId::new("us", "us-east-1", authority),
        authority,
        anchors: DIGICERT.clone(),
        identity: IdentityRule::Fixed(Identity::Names(names.clone())),
    });
    for giver in [Giver::Daemon, Giver::Seed] {
        let adopted = adopt::adopt(&adopt::Input {
            giver,
            manifest: &manifest,
            certificates: &certificates,
            rules: &rules,
            earlier: None,
            earlier_certificates: &BTreeMap::new(),
            lists: &[],
            denied: &BTreeMap::new(),
            extra: &BTreeMap::new(),
            policy: &Policy::default(),
            now: now(),
        });
        let Ok(adopted) = adopted else { continue };
        // None of these certificates is a client's.
        assert!(adopted.set.pins.is_empty());
        for rule in &adopted.set.name_rules {
            assert!(roots.contains(&rule.root) && !rule.names.is_empty() && rule.names.is_subset(&names));
            assert!(rule.slots.iter().all(|slot| rules.iter().any(|rules| rules.slot == *slot)));
        }
        let outputs = BTreeSet::from([trustsync::targets::nginx::OUTPUT]);
        let content = Content::of(&adopted.set, &adopted.planner, &outputs);
        let (store, generation, committed) = (&*manifest.store, manifest.generation, manifest.committed);
        let label = Label { store, generation, committed, cause: "adopted", marker: &roots[0] };
        let files = content.render_those(&label, |path| path.starts_with("nginx/"));
        let map = String::from_utf8(files["nginx/admit.map"].clone()).unwrap();
        let is_ours = |line: &str| {
            line.starts_with("\"~^SUCCESS") && line.ends_with("\";") && line.matches(';').count() == 1
                || line.starts_with("# trustsync generation ")
                || line == "# nobody is trusted: deny all"
        };
        assert!(map.lines().all(is_ours), "{map}");
    }
}
