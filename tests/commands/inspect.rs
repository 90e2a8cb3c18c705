//! `trustsync inspect`: files that real tools made are shown, what is odd is named, no key is shown, and whatever the bytes
//! are, it ends soon and says something.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::sample::Index;
use serde_json::json;
use support::cpu_time;
use support::sandbox::{Ran, fingerprint, run};
use tempfile::TempDir;
use trustsync::clock::{Clock, SystemClock};
use trustsync::simulator::pem_form::PemForm;
use trustsync::simulator::pki::{ClientCertificate, DAY, LeafRequest, Pki, Validity};
use trustsync::trust::formats::pem;
use trustsync::trust::inspection::{self, Form};

const NAME: &str = "dataactions.prod.us-east-1.mypurecloud.com";

struct Files {
    folder: TempDir,
    pki: Pki,
    client: ClientCertificate,
}

fn validity(days: u64) -> Validity {
    let now = SystemClock.now();
    // An hour more, so that the days that are left do not change while the test runs.
    Validity { not_before: now.minus(DAY), not_after: now.plus(DAY * u32::try_from(days).unwrap() + DAY / 24) }
}

impl Files {
    fn new() -> Self {
        let pki = Pki::new("us-east-1", SystemClock.now(), Some("http://crl.example.com")).unwrap();
        let client = pki.digicert_intermediate.issue("Genesys", &LeafRequest::client(NAME, validity(100))).unwrap();
        Self { folder: TempDir::new().unwrap(), pki, client }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A PKCS#12 file by openssl, of the leaf, its issuers and its key.
    fn pkcs12(&self, name: &str, password: &str, options: &[&str]) -> String {
        let leaf = self.file("leaf.pem", self.client.pem());
        let key = self.file("key.pem", self.client.key_pem());
        let issuers = self.file("issuers.pem", PemForm::Canonical.text(&self.client.with_issuers()[1..]));
        let out = self.path(name).to_str().unwrap().to_owned();
        let mut openssl = Command::new("openssl");
        openssl.args(["pkcs12", "-export", "-inkey", &key, "-in", &leaf, "-certfile", &issuers, "-out", &out]);
        let made = openssl.args(["-passout", &format!("pass:{password}")]).args(options).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        out
    }

    fn list(&self, revoked: &[Vec<u8>], days: u64) -> Vec<u8> {
        let validity = validity(days);
        let revoked: Vec<_> = revoked.iter().map(|der| (der.clone(), validity.not_before)).collect();
        self.pki.digicert_intermediate.revocation_list(&revoked, 1, validity).unwrap()
    }
}

fn inspect(arguments: &[&str]) -> Ran {
    run(Command::new(env!("CARGO_BIN_EXE_trustsync")).arg("inspect").args(arguments))
}

fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn a_chain_shows_names_validity_keys_usages_and_who_issued_whom() {
    let files = Files::new();
    let chain = files.file("chain.pem", PemForm::Canonical.text(&files.client.with_issuers()));
    let [leaf, intermediate, root] = &files.client.with_issuers()[..] else { panic!() };
    inspect(&[&chain]).exits(0).says(&[
        "chain.pem: PEM, 3 certificate(s)",
        "(100 days left)",
        &format!("dns names   {NAME}"),
        "key usages  digitalSignature",
        "usages      clientAuth",
        "crls        http://crl.example.com/digicert-intermediate.crl",
        &format!("({} here)", &fingerprint(intermediate)[..8]),
        &format!("({} here)", &fingerprint(root)[..8]),
        "(itself)",
        "EC P-256, signed with SHA-256 with ECDSA, a CA",
    ]);
    let json = inspect(&[&chain, "--output", "json"]).exits(0).json();
    assert_eq!(json["files"][0]["form"], "PEM");
    let first = &json["files"][0]["certificates"][0];
    assert_eq!((&first["sha256"], &first["days_left"]), (&json!(fingerprint(leaf)), &json!(100)));
    let by_openssl = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha1", "-in", &files.file("leaf.pem", files.client.pem())])
        .output()
        .unwrap();
    let by_openssl = String::from_utf8(by_openssl.stdout).unwrap();
    let sha1 = by_openssl.trim().split_once('=').unwrap().1.replace(':', "").to_lowercase();
    assert_eq!(first["sha1"], json!(sha1));
    // An issuer in another file is found too; without it, it is nowhere.
    let leaf = files.file("leaf.der", leaf);
    let issuer = files.file("issuer.der", intermediate);
    inspect(&[&leaf, &issuer]).exits(0).says(&["leaf.der: DER certificate", " here)"]);
    inspect(&[&leaf]).exits(0).says(&["(nothing that is here)"]);
}

#[test]
fn a_revocation_list_shows_its_issuer_time_number_entries_scope_and_signature() {
    let files = Files::new();
    let list = files.list(&[files.client.der().to_vec()], 6);
    let der = files.file("list.crl", &list);
    let text = files.file("list.pem", pem::encode("X509 CRL", &list));
    let issuer = files.file("issuer.der", &files.client.with_issuers()[1]);
    for (list, form) in [(&der, "DER CRL"), (&text, "PEM")] {
        inspect(&[list]).exits(0).says(&[
            form,
            "0 certificate(s), 1 CRL(s)",
            "CRL of      CN=Simulated DigiCert Assured ID Client CA G2",
            "(6 days left)",
            "entries     1",
            "scope       every certificate of its issuer",
            "SHA-256 with ECDSA; signature not checked: its issuer's certificate is not here",
        ]);
        inspect(&[list, &issuer]).exits(0).says(&["signed by its issuer, which is here, and in force"]);
    }
    let json = inspect(&[&der, "--output", "json"]).exits(0).json();
    assert_eq!(
        (&json["files"][0]["crls"][0]["entries"], &json["files"][0]["crls"][0]["days_left"]),
        (&json!(1), &json!(6))
    );
    assert!(json["files"][0]["crls"][0]["number"].is_string());

    let mut forged = list.clone();
    *forged.last_mut().unwrap() ^= 1;
    inspect(&[&files.file("forged.crl", &forged), &issuer]).exits(0).says(&["not usable: its signature is wrong"]);
    let stale = files.pki.digicert_intermediate.revocation_list(
        &[],
        1,
        Validity { not_before: SystemClock.now().minus(DAY * 9), not_after: SystemClock.now().minus(DAY * 2) },
    );
    inspect(&[&files.file("stale.crl", stale.unwrap()), &issuer]).exits(0).says(&["not usable", "it is stale"]);
    inspect(&[&files.file("cut.crl", &list[..list.len() / 2])]).exits(5).says(&["odd: "]);
}

#[test]
fn pkcs12_by_openssl_old_and_new_is_opened_and_its_key_is_named_and_never_shown() {
    let files = Files::new();
    let password = files.file("password", "correct horse é\n");
    let forms: [(&str, &[&str]); 6] = [
        ("modern", &[]),
        ("aes-128", &["-certpbe", "AES-128-CBC", "-keypbe", "AES-128-CBC", "-macalg", "sha512"]),
        ("aes-192", &["-certpbe", "AES-192-CBC", "-macalg", "sha384"]),
        ("3des", &["-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1"]),
        ("plain", &["-certpbe", "NONE", "-keypbe", "NONE"]),
        ("legacy", &["-legacy"]),
    ];
    let key: Vec<String> = files.client.key_pem().lines().map(str::to_owned).collect();
    for (name, options) in forms {
        let named = [&["-name", "the leaf\u{1b}[2J"], options].concat();
        let file = files.pkcs12(&format!("{name}.p12"), "correct horse é", &named);
        let ran = inspect(&[&file, "--password-file", &password]).exits(0);
        let pieces = [
            &fingerprint(files.client.der()),
            "PKCS#12, 3 certificate(s), 1 key(s)",
            "private key",
            "the leaf\\u{1b}[2J",
        ];
        let ran = ran.says(&pieces).says(&["(not shown)", " here)", "(itself)"]);
        ran.never_says(&[&key[1], "correct horse", "\u{1b}"]);
        let json = inspect(&[&file, "--password-file", &password, "--output", "json"]).exits(0).json();
        assert_eq!(json["files"][0]["certificates"].as_array().unwrap().len(), 3, "{name}");
        inspect(&[&file]).exits(5).says(&["none of the passwords that were tried", "--password-file"]);
    }
    let wrong = files.file("wrong", "wrong");
    inspect(&[files.path("modern.p12").to_str().unwrap(), "--password-file", &wrong]).exits(5);
}

#[test]
fn pkcs12_with_a_common_password_or_none_needs_no_password_file() {
    let files = Files::new();
    for (name, password, options) in [
        ("empty.p12", "", &[][..]),
        ("empty-legacy.p12", "", &["-legacy"][..]),
        ("java.p12", "changeit", &[][..]),
        ("no-mac.p12", "changeit", &["-nomac"][..]),
    ] {
        let file = files.pkcs12(name, password, options);
        let ran = inspect(&[&file]).exits(0).says(&[&fingerprint(files.client.der()), "1 key(s)"]);
        if name == "no-mac.p12" {
            ran.says(&["odd: it has no integrity check"]);
        }
    }
    // Certificates alone, as trust stores are.
    let chain = files.file("chain.pem", PemForm::Canonical.text(&files.client.with_issuers()));
    let out = files.path("trust.p12").to_str().unwrap().to_owned();
    let openssl = ["pkcs12", "-export", "-nokeys", "-in", &chain, "-passout", "pass:changeit", "-out", &out];
    assert!(Command::new("openssl").args(openssl).status().unwrap().success());
    inspect(&[&out]).exits(0).says(&["PKCS#12, 3 certificate(s)"]).never_says(&["key(s)"]);
}

#[test]
fn pkcs12_that_asks_for_hours_of_hashing_is_refused_at_once() {
    let files = Files::new();
    let file = files.pkcs12("costly.p12", "", &["-certpbe", "AES-256-CBC"]);
    let bytes = fs::read(&file).unwrap();
    // The rounds of the integrity check, the last value of the file, become two billion in four bytes instead of two.
    let mut costly = bytes.clone();
    let count = costly.len() - 4;
    assert_eq!(&costly[count..], [0x02, 0x02, 0x08, 0x00]);
    costly.truncate(count);
    costly.extend([0x02, 0x04, 0x7f, 0xff, 0xff, 0xff]);
    // Two bytes more in the lengths of the MAC data (one byte) and of the file (two bytes).
    let length = u16::from_be_bytes([costly[2], costly[3]]) + 2;
    costly[2..4].copy_from_slice(&length.to_be_bytes());
    let mac = bytes.len() - usize::from(bytes[usize::from(u16::from_be_bytes([bytes[9], bytes[10]])) + 12]) - 1;
    costly[mac] += 2;
    let ran = inspect(&[&files.file("costly.p12", &costly)]).exits(5);
    // Two billion rounds would take many minutes on the fastest machine.
    assert!(ran.took < Duration::from_secs(60), "{:?}", ran.took);
    ran.says(&["demands more rounds of hashing"]);
}

#[test]
fn each_file_of_a_zip_is_inspected_and_bombs_are_not_unpacked() {
    let files = Files::new();
    let list = files.list(&[], 6);
    let pkcs12 = fs::read(files.pkcs12("in.p12", "", &[])).unwrap();
    let inner = zipped(&[("leaf.der", files.client.der())]);
    let archive = zipped(&[
        ("roots/us-east-1.pem", files.pki.genesys_root.pem().as_bytes()),
        ("leaf.der", files.client.der()),
        ("list.crl", &list),
        ("store.p12", &pkcs12),
        ("inner.zip", &inner),
        ("\u{1b}[2J.txt", b"hello"),
    ]);
    let ran = inspect(&[&files.file("all.zip", &archive)]).exits(0);
    ran.says(&[
        "all.zip: zip, 0 certificate(s), 6 file(s)",
        "  roots/us-east-1.pem: PEM, 1 certificate(s)",
        "  leaf.der: DER certificate",
        "  list.crl: DER CRL",
        "  store.p12: PKCS#12, 3 certificate(s), 1 key(s)",
        "a zip in a zip is not followed",
        "signed by its issuer, which is here, and in force",
    ])
    .never_says(&["\u{1b}"]);
    let bomb = zipped(&[("bomb", &vec![0; 5 * 1024 * 1024])]);
    inspect(&[&files.file("bomb.zip", &bomb)]).exits(5).says(&["unpacks to more than 4194304 bytes"]);
    let many: Vec<(String, &[u8])> = (0..65).map(|at| (at.to_string(), &b"x"[..])).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, content)| (name.as_str(), *content)).collect();
    inspect(&[&files.file("many.zip", zipped(&many))]).exits(5).says(&["65 files, more than 64"]);
    inspect(&[&files.file("cut.zip", &archive[..archive.len() / 2])]).exits(5).says(&["cannot be read"]);
}

#[test]
fn what_is_odd_is_named() {
    let files = Files::new();
    let (pem, der) = (files.client.pem(), files.client.der());
    let odd: [(&str, Vec<u8>, i32, &[&str]); 9] = [
        ("bom", format!("\u{feff}{pem}").into(), 0, &["block 1: a byte-order mark before it"]),
        ("after", format!("{pem}and so on").into(), 0, &["block 1: text after it"]),
        ("before", format!("Certificate:\n{pem}").into(), 0, &["block 1: text before it"]),
        ("twice", format!("{pem}{pem}").into(), 0, &["block 2 is a duplicate"]),
        ("one-lost", format!("{pem}{}", &pem[..100]).into(), 0, &["2 BEGIN markers, but 1 readable certificates"]),
        ("tail", [der, &b"tail"[..]].concat(), 0, &["4 bytes follow the end of its DER"]),
        ("utf16", pem.encode_utf16().flat_map(u16::to_le_bytes).collect(), 5, &["neither PEM"]),
        ("jks", [&[0xfe, 0xed, 0xfe, 0xed][..], &[0; 40]].concat(), 5, &["Java keystore", "importkeystore"]),
        ("blocks", "-----BEGIN X".repeat(3_000).into(), 5, &["3000 PEM blocks, more than 2000"]),
    ];
    for (name, bytes, code, words) in odd {
        inspect(&[&files.file(name, &bytes)]).exits(code).says(words);
    }
    let with_bom: Vec<u8> = format!("\u{feff}{pem}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    inspect(&[&files.file("utf16-bom", with_bom)]).exits(5).says(&["UTF-16"]);
    let key = files.file("key.pem", files.client.key_pem());
    inspect(&[&key]).exits(5).says(&["block 1 is a PRIVATE KEY", "1 key(s)"]);
    inspect(&[&key, "--password-file", "/no/such"]).exits(11).says(&["/no/such", "cannot be read"]);
}

// --- whatever the bytes are ---

/// One real file of every form.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let files = Files::new();
    let list = files.list(&[files.client.der().to_vec()], 6);
    let chain = PemForm::Vendor.text(&files.client.with_issuers());
    let modern = fs::read(files.pkcs12("a.p12", "", &[])).unwrap();
    let legacy = fs::read(files.pkcs12("b.p12", "changeit", &["-legacy"])).unwrap();
    let plain = fs::read(files.pkcs12("c.p12", "", &["-certpbe", "NONE", "-keypbe", "NONE", "-nomac"])).unwrap();
    let archive = zipped(&[("chain.pem", chain.as_bytes()), ("leaf.der", files.client.der()), ("a.p12", &plain)]);
    let text = [chain.as_bytes(), pem::encode("X509 CRL", &list).as_bytes()].concat();
    vec![files.client.der().to_vec(), list, text, modern, legacy, plain, archive]
});

/// Cheap, so that thousands of cases are: the budget is what a test of it above is about.
const WORK: u64 = 20_000;

fn survives(bytes: &[u8]) -> inspection::Inspection {
    let begun = cpu_time();
    let inspection = inspection::inspect(bytes, &["", "changeit"], WORK);
    let taken = cpu_time() - begun;
    assert!(taken < Duration::from_secs(2), "{taken:?}");
    assert!(inspection.found_something() || inspection.form == Form::Zip || !inspection.oddities.is_empty());
    assert!(inspection.certificates.len() <= 2_000 && inspection.files.len() <= 64);
    inspection
}

#[test]
fn the_seeds_are_what_they_are_said_to_be() {
    let forms: Vec<Form> = SEEDS.iter().map(|seed| survives(seed).form).collect();
    let expected = [Form::Certificate, Form::Crl, Form::Pem, Form::Pkcs12, Form::Pkcs12, Form::Pkcs12, Form::Zip];
    assert_eq!(forms, expected);
    assert!(SEEDS.iter().all(|seed| survives(seed).found_something()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_inspected(bytes in vec(any::<u8>(), 0..2_000), head in 0..6_usize) {
        let heads: [&[u8]; 6] =
            [b"", b"\x30\x82\x01\x00", b"PK\x03\x04", b"-----BEGIN CERTIFICATE-----\n", b"\x30\x82\x10\x00\x02\x01\x03\x30", b"\xef\xbb\xbf"];
        survives(&[heads[head], &bytes].concat());
    }

    #[test]
    fn real_files_with_changed_bytes_are_inspected(
        seed in 0..7_usize,
        changes in vec((any::<Index>(), any::<u8>()), 1..8),
        cut in proptest::option::weighted(0.3, any::<Index>()),
        doubled in proptest::option::weighted(0.2, any::<Index>()),
    ) {
        let mut bytes = SEEDS[seed].clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(at) = doubled {
            let at = at.index(bytes.len());
            bytes.extend_from_within(at..);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        survives(&bytes);
    }
}
