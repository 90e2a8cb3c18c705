//! The files of a generation: the same bytes for the same content, never an empty one, read by openssl and nginx
//! themselves; and what reading back accepts and refuses.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair};
use support::leaves::*;
use support::nginx::Nginx;
use support::rendering::{self, Files, denied_all, new_marker, rich, text, vouched_file, written};
use trustsync::targets::table::KINDS;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::plan::planner_state::PlannerState;
use trustsync::trust::plan::set::{Denial, DenialReason, TrustSet, Witnesses};
use trustsync::trust::records::manifest::Manifest;
use trustsync::trust::values::fingerprint::Fingerprint;
use trustsync::trust::values::slot::{Authority, SlotId};

fn render(set: &TrustSet, planner: &PlannerState, marker: &Certificate) -> Files {
    rendering::render(&[trustsync::targets::nginx::OUTPUT], set, planner, marker)
}

fn rendered(store: &MemoryStore) -> Files {
    render(&store.set, &store.planner, &new_marker())
}

#[test]
fn the_same_content_is_the_same_bytes() {
    let (store, _) = rich();
    let marker = new_marker();
    let first = render(&store.set, &store.planner, &marker);
    assert_eq!(first, render(&store.set.clone(), &store.planner.clone(), &marker));
    // The order in which things became known has no part in it.
    let mut shuffled = TrustSet { name_rules: store.set.name_rules.clone(), ..TrustSet::default() };
    for pin in store.set.pins.values().rev() {
        for (slot, role) in pin.roles.iter().rev() {
            shuffled.pin(slot, &pin.leaf, *role);
        }
    }
    shuffled.chain.extend(store.set.chain.clone().into_iter().rev());
    shuffled.extra.clone_from(&store.set.extra);
    shuffled.denied.clone_from(&store.set.denied);
    assert_eq!(first, render(&shuffled, &store.planner, &marker));
}

#[test]
fn every_file_has_its_form_and_none_is_empty() {
    let (store, [current, upcoming, denied]) = rich();
    let files = rendered(&store);
    let slot = SlotId::new("us", "us-east-1", Authority::DigiCert);
    let expected = [
        "chain.pem",
        "fingerprints.txt",
        "leaves.pem",
        "manifest.json",
        "nginx/admit.map",
        "nginx/generation.map",
        "trust-bundle.pem",
        &format!("{slot}/current.pem"),
        &format!("{slot}/upcoming.pem"),
    ];
    assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    for (path, bytes) in &files {
        assert!(bytes.ends_with(b"\n") && !bytes.contains(&b'\r'), "{path}");
    }
    let facts = |leaf: &Leaf| leaf.certificate.facts().clone();
    let mut lines = [("current", &current), ("upcoming", &upcoming)]
        .map(|(role, leaf)| {
            let facts = facts(leaf);
            format!("{role} sha256:{} sha1:{} {} {NAME}", facts.fingerprint, facts.sha1, facts.not_after)
        })
        .to_vec();
    let root = Fingerprint::of(WORLD.pki.genesys_root.der());
    lines.push(format!("name root={root} {NAME}"));
    lines.push(format!("denied sha256={} revoked", denied.fingerprint));
    let list = text(&files, "fingerprints.txt").lines().filter(|line| !line.starts_with('#'));
    assert_eq!(list.collect::<Vec<_>>(), lines);
    let map: Vec<&str> = text(&files, "nginx/admit.map").lines().skip(1).collect();
    assert_eq!(map[0], format!(r#""~^SUCCESS\\|{}\\|" "";"#, facts(&denied).sha1), "denied before all");
    let mut pins = [("current", &current), ("upcoming", &upcoming)];
    pins.sort_by_key(|(_, leaf)| leaf.fingerprint);
    for (line, (role, leaf)) in map[1..].iter().zip(pins) {
        assert_eq!(*line, format!(r#""~^SUCCESS\\|{}\\|" "{role}";"#, facts(leaf).sha1));
    }
    assert!(
        map[3].starts_with(r#""~^SUCCESS\\|[0-9a-f]{40}\\|CN=Simulated Genesys Cloud Root us\\-east\\-1"#),
        "{}",
        map[3]
    );
    assert!(map[3].ends_with(r#"\\z" "name";"#) && map.len() == 4, "names last: {}", map[3]);
    assert_eq!(text(&files, "nginx/generation.map"), "default \"000007\";\n");
}

#[test]
fn deny_all_is_said_in_every_file() {
    let store = denied_all();
    let files = rendered(&store);
    for (path, bytes) in &files {
        assert!(!bytes.is_empty(), "{path}");
    }
    for path in ["trust-bundle.pem", "chain.pem", "leaves.pem"] {
        assert_eq!(openssl_counts(&files[path]), 1, "the marker alone: {path}");
    }
    assert!(text(&files, "fingerprints.txt").contains("deny all"));
    assert!(text(&files, "nginx/admit.map").contains("deny all"));
    assert!(Manifest::read(&files["manifest.json"]).unwrap().deny_all);
    // Roots of others stay: their clients are served all the same.
    let mut with_others = store;
    with_others.extra.extend(rich().0.extra);
    with_others.poll_each(day(2), &[("us", None)]);
    let files = rendered(&with_others);
    assert_eq!(openssl_counts(&files["chain.pem"]), 1);
    assert_eq!(openssl_counts(&files["trust-bundle.pem"]), 2);
}

fn openssl_counts(pem: &[u8]) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.pem");
    std::fs::write(&path, pem).unwrap();
    let output = Command::new("openssl").args(["storeutl", "-noout", "-certs"]).arg(&path).output().expect("openssl");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let total = said.lines().find_map(|line| line.strip_prefix("Total found: ")).unwrap_or_else(|| panic!("{said}"));
    total.trim().parse().unwrap()
}

#[test]
fn openssl_counts_the_same_certificates_in_every_file() {
    let (store, [current, ..]) = rich();
    let files = rendered(&store);
    // Root and intermediate of one authority, root of the other, root of somebody else; and the marker.
    let counts = files.iter().filter(|(path, _)| path.ends_with(".pem")).map(|(_, pem)| openssl_counts(pem));
    assert_eq!(counts.collect::<Vec<_>>(), [4, 2, 5, 3, 3]);
    // Leaf first, then its issuers upward.
    let blocks = trustsync::trust::formats::pem::scan(text(&files, "us.us-east-1.digicert/current.pem"));
    let ders: Vec<Vec<u8>> = blocks.into_iter().map(|block| block.bytes.unwrap()).collect();
    assert_eq!(ders, current.path);
}

/// A root whose subject says this.
fn root_named(common_name: &str, organisation: &str) -> Certificate {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organisation);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Certificate::parse(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der()).unwrap()
}

const HOSTILE: [&str; 12] = [
    "plain",
    "\"; } server { listen 80; } map $a $b { \"",
    "back\\slash\\\\ \\",
    "{a}{2,} (b)* [c]+ ^d$ e|f .?",
    "semi;colon; # comment",
    "line\nbreak\r\nand\ttab",
    "$ssl_client_s_dn ${x}",
    "' apostrophe ` \\' \\\"",
    "Ünïcode \u{1F512}",
    "\\Q\\E\\z\\1\\x41 (?i:x) (?#",
    "include /etc/passwd;",
    "a, b + c = d < e > f #",
];

fn with_rule(root: &Certificate, names: &[&str]) -> TrustSet {
    let mut set = TrustSet::default();
    let slot = SlotId::new("us", "us-east-1", Authority::Genesys);
    set.admit_by_name(&slot, root, &names.iter().map(|name| (*name).to_owned()).collect(), &Witnesses::default());
    set.chain.insert(root.fingerprint(), root.clone());
    set
}

#[test]
fn nothing_that_an_issuer_or_a_name_says_escapes_its_place_in_nginxs_map() {
    let dir = tempfile::tempdir().unwrap();
    let mut maps = String::new();
    for (at, hostile) in HOSTILE.iter().enumerate() {
        let root = root_named(hostile, hostile);
        let map =
            render(&with_rule(&root, &[hostile, NAME]), &PlannerState::default(), &new_marker())["nginx/admit.map"]
                .clone();
        let map = String::from_utf8(map).unwrap();
        let path = dir.path().join(format!("{at}.map"));
        std::fs::write(&path, &map).unwrap();
        maps.push_str(&format!("map $request_uri $admit_{at} {{ default \"\"; include {}; }}\n", path.display()));
    }
    let configuration = format!(
        "pid {dir}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{ access_log off; client_body_temp_path \
         {dir}/t;\n{maps}\nserver {{ listen unix:{dir}/s; }} }}\n",
        dir = dir.path().display()
    );
    std::fs::write(dir.path().join("nginx.conf"), &configuration).unwrap();
    let test = Command::new("nginx")
        .args(["-t", "-p", dir.path().to_str().unwrap(), "-c", "nginx.conf"])
        .output()
        .expect("nginx is needed for this test: apt-get install nginx-light");
    assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stderr));
}

#[test]
fn nginx_admits_by_the_map_exactly_whom_the_set_admits() {
    let dir = tempfile::tempdir().unwrap();
    let (store, [current, upcoming, denied]) = rich();
    let hostile = root_named("O\"Brien \\ {x}; $y, Inc. (a|b)+", "C=ZZ");
    let mut set = store.set.clone();
    let slot = SlotId::new("eu", "eu-west-1", Authority::Genesys);
    set.admit_by_name(&slot, &hostile, &[NAME.to_owned()].into(), &Witnesses::default());
    // One of the denied would pass by its name.
    let sha1_of_denied = denied.certificate.facts().sha1.clone();
    std::fs::write(dir.path().join("admit.map"), &render(&set, &store.planner, &new_marker())["nginx/admit.map"])
        .unwrap();
    // A probe in the place of the variables of TLS.
    let nginx = Nginx::start(
        dir.path(),
        "large_client_header_buffers 4 16k;
         map $http_x_probe $admit { default \"\"; include @DIR@/admit.map; }
         server { listen 127.0.0.1:@PORT@; location / { return 200 \"[$admit]\"; } }",
    );
    let root = Certificate::parse(WORLD.pki.genesys_root.der()).unwrap();
    let ask = |verdict: &str, sha1: &str, issuer: &str, subject: &str| {
        let mut stream = TcpStream::connect(nginx.address()).unwrap();
        write!(stream, "GET / HTTP/1.0\r\nX-Probe: {verdict}|{sha1}|{issuer}|{subject}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.rsplit("\r\n\r\n").next().unwrap().to_owned();
        assert!(body.starts_with('[') && body.ends_with(']'), "{answer}");
        body[1..body.len() - 1].to_owned()
    };
    let sha1 = "0123456789abcdef0123456789abcdef01234567";
    let public = current.certificate.facts().issuer.clone();
    for (leaf, role) in [(&current, "current"), (&upcoming, "upcoming"), (&denied, "")] {
        let facts = leaf.certificate.facts();
        assert_eq!(ask("SUCCESS", &facts.sha1, &facts.issuer, &facts.subject), role);
        assert_eq!(ask("FAILED:expired", &facts.sha1, &facts.issuer, &facts.subject), "");
        assert_eq!(ask("NONE", &facts.sha1, &facts.issuer, &facts.subject), "");
    }
    for issuer in [&root.facts().subject, &hostile.facts().subject] {
        for subject in [
            format!("CN={NAME}"),
            format!("CN={},O=Genesys,C=US", NAME.to_uppercase()),
            format!("CN={NAME},OU=Another,O=Renamed\\, Inc.,L=x,ST=y,C=DE"),
        ] {
            assert_eq!(ask("SUCCESS", sha1, issuer, &subject), "name", "{issuer} {subject}");
            assert_eq!(ask("SUCCESS", &sha1_of_denied, issuer, &subject), "", "denied is asked first");
            assert_eq!(ask("FAILED", sha1, issuer, &subject), "");
            assert_eq!(ask("SUCCESS", sha1, &public, &subject), "", "a stranger of the public chain");
            assert_eq!(ask("SUCCESS", sha1, &format!("{issuer},O=x"), &subject), "");
            assert_eq!(ask("SUCCESS", sha1, &format!("CN=x,{issuer}"), &subject), "");
        }
        for subject in [
            format!("CN=x\\,CN={NAME}"),
            format!("CN=x,CN={NAME}"),
            format!("CN={NAME}.evil.example"),
            format!("CN=evil{NAME}"),
            format!("CN={NAME}\\,x"),
            format!("CN={NAME}+OU=x"),
            format!("CN={NAME},CN=x"),
            format!("O={NAME}"),
            format!("OU=x,CN={NAME}"),
            format!("CN={}", NAME.replace('.', "x")),
            format!("emailAddress=CN={NAME}"),
            String::new(),
        ] {
            assert_eq!(ask("SUCCESS", sha1, issuer, &subject), "", "{subject}");
        }
    }
}

mod reading_back {
    use super::*;
    use trustsync::targets::read_back::ReadBackError;

    #[test]
    fn a_file_that_no_kind_of_server_has_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["nginx/more.conf", "us/us-east-1/digicert/more.pem", "more.pem", "stranger/allow.list"] {
            let refused = written(dir.path(), &vouched_file(rendered(&rich().0), path, "anything")).unwrap_err();
            assert!(matches!(&refused, ReadBackError::Unknown { path: named } if named == path), "{refused}");
        }
    }

    #[test]
    fn what_is_rendered_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        for store in [rich().0, denied_all(), MemoryStore::trusting(&[&leaf(-1, 300)], 0)] {
            written(dir.path(), &rendered(&store)).unwrap();
        }
        // Two slots with one rule and one leaf between them: one line each.
        let shared = leaf(-1, 300);
        let witness = genesys_leaf("Genesys", NAME, &[NAME], -30, 300);
        let mut store =
            MemoryStore::new([digicert_slot("eu"), genesys_slot("eu"), digicert_slot("us"), genesys_slot("us")]);
        store.poll(day(0), &Answer::of(&[&shared], &[]).and(entity("Genesys", "Current", &witness.text)));
        written(dir.path(), &rendered(&store)).unwrap();
    }

    #[test]
    fn a_file_that_changed_or_is_missing_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = rendered(&rich().0);
        for path in files.keys().filter(|path| *path != "manifest.json") {
            let mut changed = files.clone();
            changed.get_mut(path).unwrap().push(b'\n');
            assert!(matches!(written(dir.path(), &changed), Err(ReadBackError::Changed { .. })), "{path}");
            let mut missing = files.clone();
            missing.remove(path);
            assert!(matches!(written(dir.path(), &missing), Err(ReadBackError::Missing { .. })), "{path}");
        }
        let mut without = files;
        without.remove("manifest.json");
        assert!(matches!(written(dir.path(), &without), Err(ReadBackError::NoManifest(7))));
    }

    #[test]
    fn certificates_that_a_server_would_lose_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = rendered(&rich().0);
        for path in ["trust-bundle.pem", "chain.pem", "leaves.pem"] {
            let pem = text(&files, path);
            let second = pem[1..].find("-----BEGIN").unwrap() + 1;
            let damages = [
                ("one is missing", pem[second..].to_owned()),
                ("one too many", format!("{pem}{}", &pem[..second])),
                ("space before the second BEGIN", format!("{} {}", &pem[..second], &pem[second..])),
                ("the vendor's join", pem.replace("-----\n-----BEGIN", "-----\r\n -----BEGIN")),
                ("truncated", pem[..pem.len() - 40].to_owned()),
                ("truncated in the middle", pem[..second + 100].to_owned()),
                ("base64 broken off", pem.replacen("-----END", "=\n-----END", 1)),
                ("another label", pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE")),
                ("a key in it", format!("{pem}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")),
                ("nothing in it", "\n".to_owned()),
            ];
            for (what, damage) in damages {
                let read = written(dir.path(), &vouched_file(files.clone(), path, damage));
                assert!(matches!(read, Err(ReadBackError::Count { .. })), "{path}, {what}: {read:?}");
            }
        }
    }

    #[test]
    fn lines_that_were_not_meant_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = rendered(&rich().0);
        let map = text(&files, "nginx/admit.map");
        let first_pin = map.lines().nth(2).unwrap();
        let mut damages: Vec<(&str, String)> = [
            "}",
            "include /etc/passwd;",
            "default \"current\";",
            "\"~.\" \"current\";",
            "\"~.\" \"current\"; }",
            "~. current;",
            "\"a\" \"b\"; \"c\" \"d\";",
            "volatile;",
            "",
            " # indented",
        ]
        .iter()
        .map(|line| ("nginx/admit.map", format!("{map}{line}\n")))
        .collect();
        damages.extend([
            ("nginx/admit.map", map.replace(&format!("{first_pin}\n"), "")),
            ("nginx/admit.map", map[..map.len() - 3].to_owned()),
            ("nginx/admit.map", "\n".to_owned()),
            ("nginx/admit.map", "# all of it lost\n".to_owned()),
            ("nginx/generation.map", "#\n".to_owned()),
            ("nginx/generation.map", "default \"000007\"\n".to_owned()),
            ("nginx/generation.map", "default \"000007\";\ndefault \"000008\";\n".to_owned()),
            ("fingerprints.txt", text(&files, "fingerprints.txt").lines().take(3).collect::<Vec<_>>().join("\n")),
            ("fingerprints.txt", format!("{}current sha256:00\n", text(&files, "fingerprints.txt"))),
            ("fingerprints.txt", text(&files, "fingerprints.txt").replace("name root=", "name root=0")),
            ("fingerprints.txt", text(&files, "fingerprints.txt").replace(NAME, "*")),
            ("fingerprints.txt", text(&files, "fingerprints.txt").replace("denied sha256=", "current sha256:")),
            ("fingerprints.txt", text(&files, "fingerprints.txt").replace("\ndenied", "\n#denied")),
        ]);
        for (path, damage) in damages {
            let read = written(dir.path(), &vouched_file(files.clone(), path, damage.clone()));
            assert!(matches!(read, Err(ReadBackError::Count { .. })), "{path}: {damage:?}: {read:?}");
        }
    }

    #[test]
    fn a_denial_without_its_sha1_is_no_line_and_does_not_disturb_the_count() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = rich();
        let denial = Denial::new(DenialReason::Distrusted, day(0));
        store.planner.denied.insert(Fingerprint::of(b"only its fingerprint is known"), denial);
        store.poll_each(day(0), &[("us", None)]);
        written(dir.path(), &rendered(&store)).unwrap();
    }
}

#[test]
fn a_list_without_names_has_no_denials_and_a_name_that_is_not_a_word_admits_nobody() {
    let only = leaf(-5, 300);
    let mut store = MemoryStore::trusting(&[&only], 0);
    store.deny(&leaf(-5, 400), DenialReason::Distrusted);
    store.poll(day(1), &Answer::of(&[&only], &[]));
    let files = rendered(&store);
    assert!(!text(&files, "fingerprints.txt").contains("denied"), "who is not pinned is not admitted");

    let (store, _) = rich();
    let mut set = store.set.clone();
    set.name_rules[0].names = ["*", "two words", "line\nname root=0 *", ""].map(str::to_owned).into();
    let list = render(&set, &store.planner, &new_marker())["fingerprints.txt"].clone();
    assert!(!std::str::from_utf8(&list).unwrap().lines().any(|line| line.starts_with("name")));
    // Whoever reads this list sees what stands in the SAN alone.
    set.name_rules[0].names.clear();
    assert_eq!(set.name_rules[0].witnesses.dns_names, [NAME.to_owned()].into());
    let root = Fingerprint::of(set.name_rules[0].root.der());
    let list = render(&set, &store.planner, &new_marker())["fingerprints.txt"].clone();
    assert!(std::str::from_utf8(&list).unwrap().contains(&format!("\nname root={root} {NAME}\n")));
    set.name_rules[0].witnesses = Witnesses::default();
    let list = render(&set, &store.planner, &new_marker())["fingerprints.txt"].clone();
    assert!(std::str::from_utf8(&list).unwrap().contains(&format!("\nname root={root} *\n")));
}

#[test]
fn lines_for_a_server_without_the_marker_name_no_file_that_has_it() {
    let link = Path::new("/var/lib/trustsync/target/edge");
    for kind in KINDS.all() {
        let Some(with) = kind.snippet(true, link) else { continue };
        let without = kind.snippet(false, link).unwrap();
        let (marked, plain) = kind.marker_file;
        assert!(with.contains(marked), "{kind:?}: {with}");
        assert!(!without.contains(marked) && without.contains(plain), "{kind:?}: {without}");
    }
}
