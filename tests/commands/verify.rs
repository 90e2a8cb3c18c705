//! `trustsync verify`, as a user meets it: files in, the path, the rules and the most specific reason out.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use serde_json::{Value, json};
use support::sandbox::{Ran, Sandbox, fingerprint, run};
use tempfile::TempDir;
use trustsync::simulator::pem_form::PemForm;
use trustsync::simulator::pki::{
    CertificateAuthority, ClientCertificate, DAY, LeafRequest, Pki, Validity, self_signed,
};
use trustsync::trust::formats::pem;
use trustsync::trust::values::timestamp::Timestamp;

const NAME: &str = "dataactions.prod.us-east-1.mypurecloud.com";
const AT: &str = "2026-06-01T00:00:00Z";
const ASKED: [&str; 4] = ["--at", AT, "--name", NAME];

/// Files of a small world that is of 2026-06-01.
struct Files {
    folder: TempDir,
    pki: Pki,
}

fn now() -> Timestamp {
    AT.parse().unwrap()
}

impl Files {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), pki: Pki::new("us-east-1", now(), None).unwrap() }
    }

    fn request(from: i64, to: i64) -> LeafRequest {
        let day = |days: i64| Timestamp::from_unix(now().unix() + days * 86_400);
        LeafRequest::client(NAME, Validity { not_before: day(from), not_after: day(to) })
    }

    fn issue(&self, request: &LeafRequest) -> ClientCertificate {
        self.pki.digicert_intermediate.issue("Genesys", request).unwrap()
    }

    fn leaf(&self) -> ClientCertificate {
        self.issue(&Self::request(-10, 380))
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn root(&self) -> String {
        self.file("root.pem", self.pki.digicert_root.pem())
    }

    fn chain(&self, client: &ClientCertificate) -> String {
        self.file("chain.pem", PemForm::Vendor.text(&client.with_issuers()))
    }

    /// Judges leaf and chain of one file against the world's root, with further arguments.
    fn verify(&self, leaf: &str, more: &[&str]) -> Ran {
        verify(&[&[leaf, "--anchor", &self.root()], more].concat())
    }

    /// A list by one of the two public CAs, of a week around the present.
    fn list(&self, name: &str, by_root: bool, revoked: &[Vec<u8>], from: i64, to: i64) -> String {
        let by = if by_root { &self.pki.digicert_root } else { &self.pki.digicert_intermediate };
        let validity = Self::request(from, to).validity;
        let revoked: Vec<_> = revoked.iter().map(|der| (der.clone(), validity.not_before)).collect();
        self.file(name, by.revocation_list(&revoked, 1, validity).unwrap())
    }
}

fn verify(arguments: &[&str]) -> Ran {
    let configured = arguments.contains(&"--config");
    // Whatever configuration this machine has is no business of the tests.
    let none: &[&str] = if configured { &[] } else { &["--config", "/nonexistent/config.toml"] };
    run(Command::new(env!("CARGO_BIN_EXE_trustsync")).arg("verify").args(arguments).args(none))
}

fn rule(judged: &Value, name: &str) -> Value {
    judged["rules"].as_array().unwrap().iter().find(|rule| rule["rule"] == name).unwrap().clone()
}

#[test]
fn a_good_leaf_is_accepted_and_its_path_and_every_rule_are_shown() {
    let files = Files::new();
    let client = files.leaf();
    let chain = files.chain(&client);
    let intermediate = fingerprint(&client.with_issuers()[1]);
    let ran = files.verify(&chain, &ASKED).exits(0);
    ran.says(&[
        "ACCEPTED at 2026-06-01T00:00:00Z",
        "leaf ",
        "intermediate ",
        "anchor ",
        &fingerprint(client.der()),
        &intermediate,
        &fingerprint(files.pki.digicert_root.der()),
        "ok          identity",
        "ok          expired",
    ]);
    let judged = files.verify(&chain, &[&ASKED[..], &["--output", "json"]].concat()).exits(0).json();
    assert_eq!((&judged["accepted"], &judged["at"]), (&json!(true), &json!(AT)));
    assert_eq!(judged["path"].as_array().unwrap().len(), 3);
    assert_eq!(judged["path"][0]["sha256"], json!(fingerprint(client.der())));
    assert_eq!(rule(&judged, "identity")["outcome"], "holds");
    assert_eq!(rule(&judged, "revoked")["outcome"], "not-checked");
    assert!(judged.get("refusal").is_none());
}

#[test]
fn without_a_name_it_says_first_that_the_identity_was_not_judged_and_accepts_nothing() {
    let files = Files::new();
    let chain = files.chain(&files.leaf());
    let ran = files.verify(&chain, &["--at", AT]).exits(11);
    let first = ran.stdout.lines().next().unwrap();
    assert!(first.starts_with("IDENTITY NOT JUDGED: no --name was given"), "{first}");
    let ran = ran.says(&["not checked identity", "NOT REFUSED by the other rules"]);
    ran.never_says(&["ACCEPTED"]);
    let judged = files.verify(&chain, &["--at", AT, "--output", "json"]).exits(11).json();
    assert_eq!((&judged["accepted"], &judged["identity"]), (&json!(false), &json!("not-judged")));

    let any = files.verify(&chain, &["--at", AT, "--any-identity"]).exits(0);
    any.says(&["ACCEPTED at", "not checked identity", "--any-identity"]).never_says(&["NOT JUDGED"]);
    files.verify(&chain, &["--at", AT, "--any-identity", "--name", NAME]).exits(2);
    let expired = files.chain(&files.issue(&Files::request(-30, -3)));
    files.verify(&expired, &["--at", AT]).exits(5).says(&["not checked identity", "BROKEN      expired"]);
}

#[test]
fn with_a_configuration_its_sources_anchors_judge_and_what_a_store_has_learned() {
    let files = Files::new();
    let chain = files.chain(&files.leaf());
    let region = files.pki.genesys_root.issue("Genesys", &Files::request(-10, 380)).unwrap();
    let region = files.file("genesys.pem", region.pem());
    let (root, genesys) = (files.root(), files.file("region.pem", files.pki.genesys_root.pem()));
    let source = |name: &str, more: &str| {
        // Nobody but the daemon has the secret.
        format!("[source.{name}]\nregion = \"us-east-1\"\nclient_id = \"x\"\n{more}\n")
    };
    let own = format!("digicert_anchors = [\"{root}\"]\nbuiltin_anchors = false");
    let judged = |leaf: &str, text: &str, more: &[&str]| {
        let config = files.file("config.toml", text);
        verify(&[&[leaf, "--at", AT, "--config", &config], more].concat())
    };
    judged(&chain, &source("us", ""), &[]).exits(5).says(&["unknown-issuer"]);
    judged(&chain, &source("us", &own), &[]).exits(0).says(&["ACCEPTED", "ok          identity"]);
    // Of both authorities, the one that accepts it.
    let both = format!("{own}\nauthorities = [\"DigiCert\", \"Genesys\"]\ngenesys_anchors = [\"{genesys}\"]");
    for leaf in [&chain, &region] {
        judged(leaf, &source("us", &both), &[]).exits(0);
    }
    judged(&region, &source("us", &both), &["--authority", "DigiCert"]).exits(5);
    // Of several sources, the one that is named.
    let two = source("us", &own) + &source("other", "");
    judged(&chain, &two, &[]).exits(2).says(&["--source", "us", "other"]);
    judged(&chain, &two, &["--source", "us"]).exits(0);
    judged(&chain, &two, &["--source", "other"]).exits(5);
    let listed = judged(&chain, &source("us", &own), &["--list-anchors"]).exits(0).stdout;
    assert!(listed.contains(&fingerprint(files.pki.digicert_root.der())) && listed.lines().count() == 1, "{listed}");
    let more = own.replace("false", "true");
    let listed = judged(&chain, &source("us", &more), &["--list-anchors"]).exits(0).stdout;
    assert_eq!(listed.lines().count(), 13, "{listed}");
}

#[test]
fn with_a_configuration_its_policy_and_its_identity_judge() {
    let files = Files::new();
    let chain = files.chain(&files.leaf());
    let secret = files.file("secret", "s3cret");
    let judged = |more: &str| {
        let text = format!(
            "[source.us]\nregion = \"us-east-1\"\nclient_id = \"x\"\nclient_secret_file = \"{secret}\"\n{more}\n"
        );
        files.verify(&chain, &["--at", AT, "--config", &files.file("config.toml", text)])
    };
    judged("").exits(0).says(&["ok          identity"]);
    judged("identity = [\"other.example\"]").exits(5).says(&["BROKEN      identity", "other.example"]);
    judged("identity = \"any\"").exits(0).says(&["not checked identity", "identity = \"any\" in the configuration"]);
    judged("[verify]\nmax_chain = 2").exits(5).says(&["BROKEN      chain-too-long"]);
    judged("[verify]\nmax_chain = 1").exits(3).says(&["verify.max_chain"]);
}

#[test]
fn the_names_that_a_store_has_learned_are_the_ones_that_judge() {
    let learned = "dataactions.learned.example";
    let sandbox = Sandbox::with(|options| options.certificate_name = learned.to_owned());
    fs::write(sandbox.path("leaf.pem"), PemForm::Vendor.text(&sandbox.world().current().unwrap().with_issuers()))
        .unwrap();
    let leaf = sandbox.path("leaf.pem");
    let verify = || sandbox.run(&["verify", leaf.to_str().unwrap()]);
    verify().exits(5).says(&["BROKEN      identity", learned]);
    sandbox.sync(&[]).exits(0).says(&["identity_learned"]);
    verify().exits(0).says(&["ACCEPTED", "ok          identity"]);
}

#[test]
fn the_chain_may_stand_in_the_file_or_beside_it_as_pem_or_der() {
    let files = Files::new();
    let client = files.leaf();
    let [leaf, intermediate, _] = &client.with_issuers()[..] else { panic!() };
    let pem_leaf = files.file("leaf.pem", client.pem());
    let der_leaf = files.file("leaf.der", leaf);
    let pem_issuer = files.file("issuer.pem", pem::encode("CERTIFICATE", intermediate));
    let der_issuer = files.file("issuer.der", intermediate);
    let both = files.file("both.pem", PemForm::Canonical.text(&client.presented()));
    files.verify(&both, &ASKED).exits(0);
    for leaf in [&pem_leaf, &der_leaf] {
        for issuer in [&pem_issuer, &der_issuer] {
            files.verify(leaf, &[&ASKED[..], &["--intermediate", issuer]].concat()).exits(0);
        }
        files.verify(leaf, &ASKED).exits(5).says(&["no certificate of the string", "unknown-issuer", "Client CA G2"]);
    }
    // One that is not needed is a note, and does no harm.
    let other = files.file("other.pem", files.pki.other_root.pem());
    let ran = files.verify(&both, &[&ASKED[..], &["--intermediate", &other]].concat()).exits(0);
    ran.says(&["note: 1 certificates in it are on no accepted path"]);
}

#[test]
fn anchors_may_be_pem_der_or_zip_and_replace_the_built_in_ones() {
    let files = Files::new();
    let chain = files.chain(&files.leaf());
    let root = files.pki.digicert_root.der();
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in [("readme.txt", &b"hello"[..]), ("us-east-1/root.crt", root)] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    let zipped = files.file("roots.zip", archive.finish().unwrap().into_inner());
    let der = files.file("root.der", root);
    for anchor in [&zipped, &der, &files.root()] {
        verify(&[&[&chain, "--anchor", anchor], &ASKED[..]].concat()).exits(0);
    }
    // Nothing of this world ends in what is built in.
    verify(&[&[&chain[..]], &ASKED[..]].concat()).exits(5).says(&["unknown-issuer"]);

    // Several are taken together, and none of the built-in ones besides.
    let other = files.file("other.pem", files.pki.other_root.pem());
    verify(&[&[&chain, "--anchor", &other, "--anchor", &der], &ASKED[..]].concat()).exits(0);
    verify(&[&[&chain, "--anchor", &other], &ASKED[..]].concat()).exits(5).says(&["unknown-issuer"]);
    let vendor = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digicert-assured-id-root-g2.pem");
    let listed = verify(&["--list-anchors", "--anchor", &other, "--output", "json"]).exits(0).json();
    assert_eq!(listed["anchors"].as_array().unwrap().len(), 1);
    assert_eq!(listed["anchors"][0]["sha256"], json!(fingerprint(files.pki.other_root.der())));

    // Built in are DigiCert's, the one of the vendor's sample among them.
    let built_in = verify(&["--list-anchors", "--output", "json"]).exits(0).json();
    let sample = pem::scan(&fs::read_to_string(vendor).unwrap()).remove(0).bytes.unwrap();
    let sample =
        built_in["anchors"].as_array().unwrap().iter().find(|row| row["sha256"] == fingerprint(&sample)).unwrap();
    assert_eq!(sample["not_after"], "2038-01-15T12:00:00Z");
    verify(&["--list-anchors"]).exits(0).says(&["DigiCert Assured ID Root G2", "until 2038-01-15T12:00:00Z"]);
}

#[test]
fn the_genesys_authority_has_no_anchor_built_in_and_takes_the_regions_own() {
    let files = Files::new();
    let client = files.pki.genesys_root.issue("Genesys", &Files::request(-10, 380)).unwrap();
    let leaf = files.file("genesys.pem", client.pem());
    let root = files.file("region.pem", files.pki.genesys_root.pem());
    verify(&[&leaf, "--authority", "Genesys"]).exits(2).says(&["name it with --anchor"]);
    verify(&[&[&leaf, "--authority", "Genesys", "--anchor", &root], &ASKED[..]].concat()).exits(0);
    verify(&[&[&leaf[..]], &ASKED[..]].concat()).exits(5).says(&["unknown-issuer"]);
    verify(&[&leaf, "--authority", "Nobody"]).exits(2).says(&["known are DigiCert and Genesys"]);
}

#[test]
fn each_refusal_says_what_was_found_on_what_which_rule_that_breaks_and_what_to_do() {
    let files = Files::new();
    let refused = |client: &ClientCertificate, pieces: &[&str]| {
        let words = [&[&fingerprint(client.der())[..], "REFUSED", "what is trusted already stays trusted"], pieces];
        let chain = files.chain(client);
        files.verify(&chain, &ASKED).exits(5).says(&words.concat());
    };
    let request = || Files::request(-10, 380);
    refused(&files.issue(&Files::request(-400, -3)), &["BROKEN      expired", "3 days"]);
    refused(&files.issue(&Files::request(2, 380)), &["BROKEN      not-yet-valid"]);
    refused(&files.issue(&Files::request(-10, 2_000)), &["BROKEN      validity-too-long"]);
    refused(&files.issue(&LeafRequest { client_auth: false, ..request() }), &["BROKEN      no-client-auth"]);
    refused(&files.issue(&LeafRequest { ca: true, ..request() }), &["leaf-is-ca"]);
    refused(&files.pki.other_root.issue("Genesys", &request()).unwrap(), &["BROKEN      unknown-issuer"]);
    refused(&self_signed("Genesys", &request()).unwrap(), &["BROKEN      unknown-issuer"]);
    let stranger = LeafRequest::client("stranger.example.com", request().validity);
    refused(
        &files.issue(&stranger),
        &["BROKEN      identity", NAME, "stranger.example.com", "A stranger's certificate"],
    );
    // Ranked: both hold, and the nearer one is said first.
    let forgotten = files.pki.other_root.issue("Genesys", &Files::request(-400, -3)).unwrap();
    let chain = files.chain(&forgotten);
    let judged = files.verify(&chain, &[&ASKED[..], &["--output", "json"]].concat()).exits(5).json();
    let refusal = judged["refusal"].as_str().unwrap();
    assert!(refusal.find("expired").unwrap() < refusal.find("Besides").unwrap(), "{refusal}");
    assert_eq!(rule(&judged, "unknown-issuer")["outcome"], "broken");
    assert_eq!(rule(&judged, "no-client-auth")["outcome"], "not-broken");
}

#[test]
fn an_expired_leaf_of_another_name_is_told_both() {
    let files = Files::new();
    let stranger = LeafRequest::client("stranger.example.com", Files::request(-30, -3).validity);
    let chain = files.chain(&files.issue(&stranger));
    files.verify(&chain, &ASKED).exits(5).says(&["BROKEN      expired", "BROKEN      identity"]);
}

#[test]
fn bad_text_is_refused_in_words_and_a_private_key_is_never_shown() {
    let files = Files::new();
    let client = files.leaf();
    let key = client.key_pem();
    let with_key = files.file("key.pem", format!("{}{key}", client.pem()));
    let lines: Vec<&str> = key.lines().filter(|line| !line.starts_with("--")).collect();
    for output in ["text", "json"] {
        let ran = files.verify(&with_key, &["--at", AT, "--output", output, "-vv"]).exits(5);
        ran.says(&["private key", "Treat that key as disclosed"]).never_says(&lines);
    }
    let two = files.file("two.pem", format!("{}{}", client.pem(), files.leaf().pem()));
    files.verify(&two, &["--at", AT]).exits(5).says(&["2 leaves where one is expected"]);
    let cut = files.file("cut.pem", &client.pem()[..300]);
    files.verify(&cut, &["--at", AT]).exits(5).says(&["BROKEN      broken-pem", "no END marker"]);
    for (name, bytes) in [("empty", &b""[..]), ("noise", &[0xff; 500]), ("escape", b"\x1b[2J")] {
        let ran = files.verify(&files.file(name, bytes), &["--at", AT]).exits(5);
        ran.says(&["BROKEN      no-certificate"]).never_says(&["\u{1b}"]);
    }
}

#[test]
fn the_moment_decides_and_defaults_to_now() {
    let files = Files::new();
    let chain = files.chain(&files.leaf());
    for (at, code) in [
        ("2026-05-22T00:00:00Z", 0),
        ("2026-05-21T23:54:00Z", 5),
        ("2027-06-16T00:00:00Z", 0),
        ("2027-06-16T00:00:01Z", 5),
        ("2026-06-01T02:00:00+02:00", 2),
    ] {
        files.verify(&chain, &["--at", at, "--any-identity"]).exits(code);
    }
    let of_today = files.issue(&LeafRequest::client(
        NAME,
        Validity::of(
            trustsync::clock::Clock::now(&trustsync::clock::SystemClock).minus(DAY),
            Duration::from_secs(172_800),
        ),
    ));
    let chain = files.chain(&of_today);
    files.verify(&chain, &["--name", NAME]).exits(0);
}

#[test]
fn a_wrong_command_line_is_exit_2_and_a_file_that_cannot_be_used_is_exit_11() {
    let files = Files::new();
    let chain = files.chain(&files.leaf());
    verify(&[]).exits(2).says(&["verify needs a file with the leaf"]);
    verify(&["/does/not/exist"]).exits(11).says(&["/does/not/exist", "cannot be read"]);
    files.verify(&chain, &["--at", "yesterday"]).exits(2).says(&["--at"]);
    files.verify(&chain, &["--crl", "/no/such.crl"]).exits(11).says(&["/no/such.crl", "cannot be read"]);
    let noise = files.file("noise", b"hello");
    verify(&[&chain, "--anchor", &noise]).exits(11).says(&["noise", "contains no certificate"]);
    let leaf = files.file("leaf.pem", files.leaf().pem());
    verify(&[&chain, "--anchor", &leaf]).exits(11).says(&["is not a CA certificate"]);
}

// --- CRLs ---

#[test]
fn a_revoked_leaf_is_refused_by_a_rule_of_its_own() {
    let files = Files::new();
    let client = files.leaf();
    let chain = files.chain(&client);
    let der = files.list("leaf.crl", false, &[client.der().to_vec()], -1, 6);
    let as_pem = files.file("leaf.crl.pem", pem::encode("X509 CRL", &fs::read(&der).unwrap()));
    for list in [&der, &as_pem] {
        let ran = files.verify(&chain, &[&ASKED[..], &["--crl", list]].concat()).exits(5);
        ran.says(&[
            "BROKEN      revoked",
            "was revoked by",
            "keyCompromise",
            &fingerprint(client.der()),
            "support case",
        ]);
    }
    let judged = files.verify(&chain, &[&ASKED[..], &["--crl", &der, "--output", "json"]].concat()).exits(5).json();
    assert_eq!(rule(&judged, "revoked")["outcome"], "broken");
    // Revocation is said before the expiry that hides it from the next list.
    let ran = files.verify(&chain, &["--at", "2026-06-01T00:00:00Z", "--name", "x.example", "--crl", &der]).exits(5);
    ran.says(&["BROKEN      revoked", "BROKEN      identity"]);
}

#[test]
fn a_revoked_intermediate_takes_its_leaf_along() {
    let files = Files::new();
    let client = files.leaf();
    let chain = files.chain(&client);
    let intermediate = client.with_issuers()[1].clone();
    let of_root = files.list("root.crl", true, std::slice::from_ref(&intermediate), -1, 6);
    let ran = files.verify(&chain, &[&ASKED[..], &["--crl", &of_root]].concat()).exits(5);
    ran.says(&["BROKEN      revoked", &fingerprint(&intermediate)]);
}

#[test]
fn lists_that_revoke_others_leave_it_accepted_and_what_they_do_not_cover_is_said() {
    let files = Files::new();
    let client = files.leaf();
    let chain = files.chain(&client);
    let of_leaves = files.list("leaf.crl", false, &[files.leaf().der().to_vec()], -1, 6);
    let of_root = files.list("root.crl", true, &[], -1, 6);
    let ran = files.verify(&chain, &[&ASKED[..], &["--crl", &of_leaves, "--crl", &of_root]].concat()).exits(0);
    ran.says(&["ACCEPTED", "ok          revoked"]);
    let ran = files.verify(&chain, &[&ASKED[..], &["--crl", &of_leaves]].concat()).exits(0);
    ran.says(&["not checked revoked", "note: no CRL that was given tells of", "Client CA G2"]);
    // A list by somebody who issued nothing here concerns nobody, and says so.
    let validity = Files::request(-1, 6).validity;
    let revoked = [(client.der().to_vec(), validity.not_before)];
    let other = files.pki.other_root.revocation_list(&revoked, 1, validity).unwrap();
    let other = files.file("other.crl", other);
    let ran = files.verify(&chain, &[&ASKED[..], &["--crl", &other]].concat()).exits(0);
    ran.says(&["note: the CRL ", "other.crl concerns nobody here", "Some Other Root"]);
}

#[test]
fn under_hard_a_leaf_needs_a_list_for_each_of_its_path_as_in_the_cycle() {
    let sandbox = Sandbox::new();
    let current = sandbox.world().current().unwrap();
    let chain = sandbox.path("chain.pem");
    fs::write(&chain, PemForm::Canonical.text(&current.with_issuers())).unwrap();
    let now = sandbox.world().now();
    let list = |name: &str, issuer: &CertificateAuthority| {
        let der = issuer.revocation_list(&[], 1, Validity::of(now, DAY)).unwrap();
        fs::write(sandbox.path(name), der).unwrap();
        sandbox.path(name).to_str().unwrap().to_owned()
    };
    let of_leaves = list("leaves.crl", &sandbox.world().pki().digicert_intermediate);
    let of_root = list("root.crl", &sandbox.world().pki().digicert_root);
    let verify = |lists: &[&str]| {
        let lists = lists.iter().flat_map(|list| ["--crl", *list]);
        sandbox.run(&["verify", chain.to_str().unwrap()].into_iter().chain(lists).collect::<Vec<_>>())
    };
    for (policy, one, says) in
        [("soft", 0, "note: no CRL that was given tells of"), ("hard", 5, "BROKEN      revocation-unknown")]
    {
        sandbox.configure(&sandbox.configuration().replace("policy = \"off\"", "policy = \"soft\""));
        sandbox.configure(&sandbox.configuration().replace("policy = \"soft\"", &format!("policy = \"{policy}\"")));
        verify(&[&of_leaves]).exits(one).says(&[says]);
        verify(&[&of_leaves, &of_root]).exits(0).says(&["ACCEPTED", "ok          revoked"]);
    }
}

#[test]
fn a_list_that_is_stale_revokes_whom_it_names() {
    let files = Files::new();
    let client = files.leaf();
    let chain = files.chain(&client);
    for list in [
        files.list("stale.crl", false, &[client.der().to_vec()], -9, -2),
        files.list("early.crl", false, &[client.der().to_vec()], 3, 9),
    ] {
        let ran = files.verify(&chain, &[&ASKED[..], &["--crl", &list]].concat()).exits(5);
        ran.says(&["REFUSED", "BROKEN      revoked"]);
    }
}

#[test]
fn a_file_of_several_lists_is_read_whole() {
    let files = Files::new();
    let client = files.leaf();
    let chain = files.chain(&client);
    let of_root = fs::read(files.list("root.crl", true, &[], -1, 6)).unwrap();
    let pem_of = |der: &[u8]| pem::encode("X509 CRL", der);
    let with = |name: &str, revoked: &[Vec<u8>]| {
        let of_leaves = fs::read(files.list("leaf.crl", false, revoked, -1, 6)).unwrap();
        files.file(name, format!("{}\n{}", pem_of(&of_root), pem_of(&of_leaves)))
    };
    let both = with("both.pem", &[]);
    let ran = files.verify(&chain, &[&ASKED[..], &["--crl", &both]].concat()).exits(0);
    ran.says(&["ACCEPTED", "ok          revoked"]);
    let revoking = with("revoking.pem", &[client.der().to_vec()]);
    files.verify(&chain, &[&ASKED[..], &["--crl", &revoking]].concat()).exits(5).says(&["BROKEN      revoked"]);
    // What is no list in it is named, and the others count.
    let mixed = files.file("mixed.pem", format!("{}{}", fs::read_to_string(&revoking).unwrap(), client.pem()));
    let ran = files.verify(&chain, &[&ASKED[..], &["--crl", &mixed]].concat()).exits(5);
    ran.says(&["BROKEN      revoked", "its PEM block is not an X509 CRL but"]);
}

#[test]
fn a_list_that_cannot_be_used_is_named_with_its_reason_and_refuses_nothing_as_in_the_cycle() {
    let files = Files::new();
    let client = files.leaf();
    let chain = files.chain(&client);
    let good = files.list("good.crl", false, &[], -1, 6);
    let of_root = files.list("root.crl", true, &[], -1, 6);
    let mut forged = fs::read(&good).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    let unusable = [
        (files.list("stale.crl", false, &[], -9, -2), "it is stale"),
        (files.list("early.crl", false, &[], 3, 9), "lies in the future"),
        (files.file("forged.crl", &forged), "its signature is wrong"),
        (files.file("cut.crl", &forged[..100]), "not a readable CRL"),
        (files.file("text.crl", "hello"), "not a readable CRL"),
    ];
    for (list, reason) in &unusable {
        let ran = files.verify(&chain, &[&ASKED[..], &["--crl", list]].concat()).exits(0);
        ran.says(&["ACCEPTED", "not checked revoked", "note: the CRL ", "cannot be used", list, reason]);
        let with_others = [&ASKED[..], &["--crl", list, "--crl", &good, "--crl", &of_root]].concat();
        let ran = files.verify(&chain, &with_others).exits(0);
        ran.says(&["ACCEPTED", "note: the CRL ", reason, "another one answers in its place"]);
    }
}

#[test]
fn what_policy_accepts_and_openssl_refuses_is_not_called_accepted() {
    let files = Files::new();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.distinguished_name.push(DnType::CommonName, "A root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let root_file = files.file("own-root.pem", root.self_signed(&key).unwrap().pem());
    let issuer = Issuer::from_params(&root, &key);
    let leaf = |kind: Option<u8>| {
        let mut leaf = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        (leaf.not_before, leaf.not_after) = (date_time_ymd(2026, 5, 1), date_time_ymd(2027, 5, 1));
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        // Netscape's certificate type, a BIT STRING.
        let kind = kind.map(|bits| {
            CustomExtension::from_oid_content(&[2, 16, 840, 1, 113_730, 1, 1], vec![0x03, 0x02, 0x06, bits])
        });
        leaf.custom_extensions.extend(kind);
        leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().pem()
    };
    for (kind, code) in [(None, 0), (Some(0x80), 0), (Some(0x40), 5)] {
        let file = files.file("own-leaf.pem", leaf(kind));
        let asked = [&[file.as_str(), "--anchor", &root_file], &ASKED[..]].concat();
        let ran = verify(&asked).exits(code);
        assert_eq!(
            ran.stdout.contains("\nACCEPTED") || ran.stdout.starts_with("ACCEPTED"),
            code == 0,
            "{}",
            ran.stdout
        );
        let judged = verify(&[&asked[..], &["--output", "json"]].concat()).exits(code).json();
        assert_eq!((&judged["accepted"], judged["unserved"].is_string()), (&json!(code == 0), code != 0), "{judged}");
        // As those say who are meant.
        let openssl = ["verify", "-attime", "1780272000", "-purpose", "sslclient", "-CAfile", &root_file, &file];
        assert_eq!(Command::new("openssl").args(openssl).output().unwrap().status.success(), code == 0);
    }
}

#[test]
fn a_file_that_is_not_a_leaf_is_the_operators_own_not_the_vendors() {
    let files = Files::new();
    let several = files.file("several.pem", [files.leaf().pem(), files.leaf().pem()].concat());
    files.verify(&several, &ASKED).exits(5).says(&["trustsync inspect", &several]).never_says(&["support case"]);
}
