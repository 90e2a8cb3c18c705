//! What Apache includes and OpenSSL's hashed directory: the same bytes for the same content, in a form that Apache loads
//! whatever certificates say, under the very hashes of openssl; and what reading back accepts and refuses.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::string::{BmpString, Ia5String, PrintableString, TeletexString, UniversalString};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa, KeyPair};
use support::leaves::*;
use support::rendering::{self, Files, denied_all, new_marker, rich, text, vouched, vouched_file, written};
use trustsync::targets::ca_only::subject_hash;
use trustsync::targets::read_back::ReadBackError;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::plan::planner_state::PlannerState;
use trustsync::trust::plan::set::{TrustSet, Witnesses};
use trustsync::trust::values::slot::{Authority, SlotId};
use trustsync::trust::verify::anchor::Anchors;

fn render(set: &TrustSet, planner: &PlannerState, marker: &Certificate) -> Files {
    rendering::render(&[trustsync::targets::apache::OUTPUT, trustsync::targets::ca_only::OUTPUT], set, planner, marker)
}

fn rendered(store: &MemoryStore) -> Files {
    render(&store.set, &store.planner, &new_marker())
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|_| panic!("{program} is needed"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// What openssl calls a file.
fn hash_by_openssl(path: &Path) -> String {
    run("openssl", &["x509", "-noout", "-subject_hash", "-in", path.to_str().unwrap()]).trim().to_owned()
}

#[test]
fn the_allowlist_asks_denied_before_pins_before_names_and_is_the_same_every_time() {
    let (store, [current, upcoming, denied]) = rich();
    let marker = new_marker();
    let files = render(&store.set, &store.planner, &marker);
    assert_eq!(files, render(&store.set.clone(), &store.planner.clone(), &marker));
    let pin = |leaf: &Leaf| format!("Require expr \"sha1(%{{SSL_CLIENT_CERT}}) == '{}'\"", leaf.certificate.pem_sha1());
    let mut pins = [("# current", &current), ("# upcoming", &upcoming)];
    pins.sort_by_key(|(_, leaf)| leaf.fingerprint);
    let lines: Vec<&str> = text(&files, "apache/admit.conf").lines().map(str::trim).collect();
    assert_eq!(
        lines[..11],
        [
            "# trustsync generation 000007 store 0123456789abcdef",
            "<RequireAll>",
            "Require expr \"%{SSL_CLIENT_VERIFY} == 'SUCCESS'\"",
            &format!("Require expr \"sha1(%{{SSL_CLIENT_CERT}}) != '{}'\"", denied.certificate.pem_sha1()),
            "<RequireAny>",
            "Require all denied",
            pins[0].0,
            &pin(pins[0].1),
            pins[1].0,
            &pin(pins[1].1),
            "# name",
        ]
    );
    assert!(lines[11].starts_with(
        r#"Require expr "%{SSL_CLIENT_I_DN} =~ m#^CN=Simulated\x20Genesys\x20Cloud\x20Root\x20us\x2deast\x2d1"#
    ));
    assert_eq!(lines[12..], ["</RequireAny>", "</RequireAll>"]);
    assert!(text(&files, "apache/generation.conf").contains("Header always set X-Trustsync-Generation \"000007\" "));

    // The SHA-1 of the very text that Apache makes of it.
    let dir = tempfile::tempdir().unwrap();
    let [der, pem] = ["leaf.der", "leaf.pem"].map(|name| dir.path().join(name).to_str().unwrap().to_owned());
    fs::write(&der, current.certificate.der()).unwrap();
    run("openssl", &["x509", "-inform", "DER", "-in", &der, "-out", &pem]);
    assert!(run("openssl", &["sha1", "-r", &pem]).starts_with(&current.certificate.pem_sha1()));

    assert!(text(&rendered(&denied_all()), "apache/admit.conf").contains("deny all"));
}

#[test]
fn nothing_that_an_issuer_or_a_name_says_escapes_its_place_in_apaches_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let mut includes = String::new();
    for (at, hostile) in [
        "plain",
        "\" \n</RequireAny>\nRequire all granted",
        "back\\slash\\\\ \\",
        "{a}{2,} (b)* [c]+ ^d$ e|f .? #",
        "line\nbreak\r\nand\ttab",
        "${PATH} %{HTTP_HOST} $1 %s",
        "' apostrophe ` \\' \\\"",
        "Ünïcode \u{1F512}",
        "\\Q\\E\\z\\1\\x41 (?i:x) (?#",
        "m#x# || true",
        "a, b + c = d < e > f #",
    ]
    .iter()
    .enumerate()
    {
        let mut set = TrustSet::default();
        let root = root_named(&[(DnType::OrganizationName, utf8(hostile)), (DnType::CommonName, utf8(hostile))]);
        let slot = SlotId::new("us", "us-east-1", Authority::Genesys);
        set.admit_by_name(&slot, &root, &[(*hostile).to_owned(), NAME.to_owned()].into(), &Witnesses::default());
        set.chain.insert(root.fingerprint(), root);
        let files = render(&set, &PlannerState::default(), &new_marker());
        assert!(files["apache/admit.conf"].iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n')));
        let path = dir.path().join(format!("{at}.conf"));
        fs::write(&path, &files["apache/admit.conf"]).unwrap();
        includes.push_str(&format!("<Location /{at}>\nInclude {}\n</Location>\n", path.display()));
    }
    let modules: String = ["mpm_event", "ssl", "authz_core"]
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    let configuration =
        format!("ServerName x\nErrorLog {0}/log\nDefaultRuntimeDir {0}\n{modules}{includes}", dir.path().display());
    let file = dir.path().join("httpd.conf");
    fs::write(&file, &configuration).unwrap();
    run("apache2", &["-d", dir.path().to_str().unwrap(), "-f", file.to_str().unwrap(), "-t"]);
}

fn utf8(text: &str) -> DnValue {
    DnValue::Utf8String(text.to_owned())
}

fn root_named(subject: &[(DnType, DnValue)]) -> Certificate {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), value.clone());
    }
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Certificate::parse(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der()).unwrap()
}

#[test]
fn a_subjects_hash_is_openssls_for_every_kind_of_string() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(300);
    let mut subjects: Vec<Vec<(DnType, DnValue)>> = vec![vec![]];
    for value in [
        "",
        " ",
        "a",
        "A",
        "  two  spaces\t\n and more ",
        "DigiCert Assured ID Root G2",
        "Ünïté ÄÖÜ ß",
        "\u{1F512} emoji",
        "\u{a0}nbsp\u{a0}",
        "x\u{b}\u{c}y",
        "nul\0inside",
        &long,
        &"y".repeat(127),
        &"z".repeat(128),
    ] {
        subjects.push(vec![(DnType::CommonName, utf8(value))]);
        subjects.push(vec![
            (DnType::CountryName, utf8("US")),
            (DnType::OrganizationName, utf8(value)),
            (DnType::CommonName, utf8(value)),
        ]);
    }
    let of = |value: DnValue| vec![(DnType::OrganizationName, value.clone()), (DnType::CommonName, value)];
    subjects.push(of(DnValue::PrintableString(PrintableString::try_from("  Printable  STRING ").unwrap())));
    subjects.push(of(DnValue::Ia5String(Ia5String::try_from("Mail@Example.COM  x").unwrap())));
    subjects.push(of(DnValue::TeletexString(TeletexString::try_from("Tele TEX").unwrap())));
    subjects.push(of(DnValue::BmpString(BmpString::try_from("BMP  Ünï Ж 漢").unwrap())));
    subjects.push(of(DnValue::UniversalString(UniversalString::try_from("Universal  Ж \u{1F512}").unwrap())));
    subjects.push(vec![(DnType::CustomDnType(vec![1, 2, 3, 4, 5]), utf8(" An unknown  ATTRIBUTE "))]);
    let mut certificates: Vec<Certificate> = subjects.iter().map(|subject| root_named(subject)).collect();
    // Several values in one RDN, in either order.
    for subject in [
        "/O=Org+CN=Name+OU=A Unit/C=US",
        "/C=US/OU=zz+OU=AA+CN=b",
        // Whose order is another one without the spaces.
        "/CN=x   y   z+OU=abcdef",
        "/serialNumber=12 34+CN=x/emailAddress=A@B.c/DC=Example/UID=u",
    ] {
        let [key, made] = ["key.pem", "made.pem"].map(|name| dir.path().join(name).to_str().unwrap().to_owned());
        let arguments = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &made,
            "-subj",
            subject,
            "-multivalue-rdn",
        ];
        run("openssl", &arguments);
        let blocks = trustsync::trust::formats::pem::scan(&fs::read_to_string(&made).unwrap());
        certificates.push(Certificate::parse(&blocks.into_iter().next().unwrap().bytes.unwrap()).unwrap());
    }
    certificates.extend(Anchors::digicert().0);
    assert!(certificates.len() > 40);
    for certificate in &certificates {
        let path = dir.path().join("one.pem");
        fs::write(&path, certificate.pem()).unwrap();
        let ours = format!("{:08x}", subject_hash(&certificate.facts().subject_der).unwrap());
        assert_eq!(ours, hash_by_openssl(&path), "{}", certificate.facts().subject);
    }
    assert_eq!(subject_hash(b"no name"), None);
}

#[test]
fn the_hashed_directory_is_what_openssl_rehash_makes_and_verifies_by() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = rich().0;
    // Two roots of one name.
    let twins = [0, 1].map(|_| root_named(&[(DnType::CommonName, utf8("The Same  Name"))]));
    store.extra.extend(twins.iter().map(|twin| (twin.fingerprint(), twin.clone())));
    store.poll_each(day(0), &[("us", None)]);
    let files = rendered(&store);
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    fs::create_dir_all(&ours).unwrap();
    fs::create_dir_all(&theirs).unwrap();
    let mut names = BTreeSet::new();
    for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with("hashed/")) {
        let name = path.strip_prefix("hashed/").unwrap().to_owned();
        fs::write(ours.join(&name), bytes).unwrap();
        fs::write(theirs.join(format!("{}.pem", name.replace('.', "-"))), bytes).unwrap();
        names.insert(name);
    }
    assert_eq!(names.len(), text(&files, "trust-bundle.pem").matches("BEGIN").count());
    run("openssl", &["rehash", theirs.to_str().unwrap()]);
    let links = fs::read_dir(&theirs).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_symlink());
    assert_eq!(links.map(|entry| entry.file_name().into_string().unwrap()).collect::<BTreeSet<_>>(), names);
    assert!(names.iter().any(|name| name.ends_with(".1")), "{names:?}");
    // Every one is found by it, by those who know the directory alone.
    for (name, pem) in files.iter().filter(|(path, _)| path.starts_with("hashed/")).take(3) {
        let path = dir.path().join("one.pem");
        fs::write(&path, pem).unwrap();
        let by = |folder: &Path| {
            let arguments = ["verify", "-partial_chain", "-no_check_time", "-no-CAfile", "-no-CAstore", "-CApath"];
            Command::new("openssl").args(arguments).args([folder, &path]).output().unwrap().status.success()
        };
        assert!(by(&ours) && by(&theirs) && !by(dir.path()), "{name}");
    }
}

mod reading_back {
    use super::*;

    #[test]
    fn what_is_rendered_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        for store in [rich().0, denied_all(), MemoryStore::trusting(&[&leaf(-1, 300)], 0)] {
            written(dir.path(), &rendered(&store)).unwrap();
        }
        let mut issuer_alone = rich().0;
        for entry in issuer_alone.planner.slots.values_mut().flat_map(|slot| slot.entries.values_mut()) {
            entry.trusted.names.clear();
        }
        let set = issuer_alone.planner.set(
            &issuer_alone
                .set
                .chain
                .clone()
                .into_iter()
                .chain(issuer_alone.set.pins.iter().map(|(key, pin)| (*key, pin.leaf.clone())))
                .collect(),
        );
        assert!(set.name_rules.iter().all(|rule| rule.names.is_empty()) && !set.name_rules.is_empty());
        let files =
            render(&TrustSet { extra: issuer_alone.set.extra.clone(), ..set }, &issuer_alone.planner, &new_marker());
        assert!(!text(&files, "apache/admit.conf").contains("SSL_CLIENT_S_DN"));
        written(dir.path(), &files).unwrap();
    }

    #[test]
    fn whatever_was_not_meant_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = rendered(&rich().0);
        let (admit, generation) = (text(&files, "apache/admit.conf"), text(&files, "apache/generation.conf"));
        let lines: Vec<&str> = admit.lines().collect();
        let mut damages: Vec<(&str, String)> = Vec::new();
        // Every line lost, doubled and exchanged with the next one; comments may do that.
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.trim().starts_with('#')) {
            let without = [&lines[..at], &lines[at + 1..]].concat().join("\n");
            let doubled = [&lines[..=at], &lines[at..]].concat().join("\n");
            damages.extend([("apache/admit.conf", without), ("apache/admit.conf", doubled)]);
            let granted = admit.replacen(line, "Require all granted", 1);
            damages.push(("apache/admit.conf", granted));
        }
        for (from, to) in [
            ("SUCCESS", "NONE"),
            ("!= '", "== '"),
            ("<RequireAll>", "<RequireAny>"),
            ("all denied", "all granted"),
            ("== '", "== 'x"),
            ("\\z#", "#"),
            ("m#^", "m#"),
            ("# current", "# current \\"),
            ("Simulated", "Simul.*ated"),
            ("(?i:", "(?i:.*"),
            ("[^\\x2c\\x2b\\x5c]", "."),
        ] {
            let damage = admit.replacen(from, to, 1);
            assert_ne!(damage, admit, "{from}");
            damages.push(("apache/admit.conf", damage));
        }
        for line in
            ["Require all granted", "LoadModule evil_module /tmp/evil.so", "SSLVerifyClient none", "<If true>", "é"]
        {
            damages.push(("apache/admit.conf", format!("{admit}{line}\n")));
            damages.push(("apache/generation.conf", format!("{generation}{line}\n")));
        }
        damages.extend([
            ("apache/admit.conf", "# all of it lost\n".to_owned()),
            ("apache/admit.conf", admit[..admit.len() - 4].to_owned()),
            ("apache/generation.conf", "# lost\n".to_owned()),
            ("apache/generation.conf", generation.replace("000007", "000008")),
            ("apache/generation.conf", generation.replace("CONN_REMOTE_ADDR", "REMOTE_ADDR")),
        ]);
        for (path, damage) in damages {
            let damaged = vouched_file(files.clone(), path, damage.clone());
            let read = written(dir.path(), &damaged);
            assert!(matches!(read, Err(ReadBackError::Count { .. })), "{path}:\n{damage}\n{read:?}");
        }
    }

    #[test]
    fn a_hashed_directory_that_lost_or_gained_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = rendered(&rich().0);
        let one = files.keys().find(|path| path.starts_with("hashed/")).unwrap().clone();
        let pem = files[&one].clone();
        let moved = |to: &str| {
            let (one, to) = (one.clone(), to.to_owned());
            move |files: &mut Files| {
                let bytes = files.remove(&one).unwrap();
                files.insert(to, bytes);
            }
        };
        let whole = vouched(files.clone(), |_| ());
        written(dir.path(), &whole).unwrap();
        let damaged = [
            vouched(files.clone(), |files| drop(files.remove(&one))),
            vouched(files.clone(), |files| drop(files.insert("hashed/01234567.0".to_owned(), pem.clone()))),
            vouched(files.clone(), |files| drop(files.insert(one.clone(), [&pem[..], &pem[..]].concat()))),
            vouched(files.clone(), |files| drop(files.insert(one.clone(), b"no certificate\n".to_vec()))),
            vouched(files.clone(), moved(&one.replace(".0", ".1"))),
            vouched(files.clone(), moved(&one.replace(".0", ".00"))),
            vouched(files.clone(), moved(&one.replace(".0", ".pem"))),
            vouched(files.clone(), moved("hashed/ABCDEF01.0")),
            vouched(files.clone(), moved("hashed/abcdef01.0")),
        ];
        for (at, damaged) in damaged.iter().enumerate() {
            let read = written(dir.path(), damaged);
            assert!(matches!(read, Err(ReadBackError::Count { .. })), "{at}: {read:?}");
        }
    }
}
