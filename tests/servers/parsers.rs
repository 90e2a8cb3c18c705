//! Every file of a generation that holds certificates, read by those who will: openssl, GnuTLS, Java, Python's ssl and Go
//! count the same. And who may read what: a server's own user, exactly what it needs.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::privilege;
use support::sandbox::Sandbox;
use support::service;
use support::stage::Stage;
use trustsync::simulator::crls::Revoke;
use trustsync::targets::table::KINDS;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

fn run(program: &str, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed for this test ({error}): tests/run installs it"));
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// How many certificates each of them finds in a PEM file.
fn counted(path: &Path) -> BTreeMap<&'static str, usize> {
    let file = path.to_str().unwrap();
    let bundled = run("openssl", &["crl2pkcs7", "-nocrl", "-certfile", file], b"");
    let python = "import ssl, sys\n\
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n\
        context.load_verify_locations(sys.argv[1])\n\
        print(context.cert_store_stats()['x509'])";
    let number = |text: String| text.trim().parse().unwrap();
    let go = service::built_by_go(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/count.go"));
    BTreeMap::from([
        (
            "openssl",
            run("openssl", &["pkcs7", "-print_certs", "-noout"], bundled.as_bytes()).matches("subject=").count(),
        ),
        (
            "openssl's store",
            run("openssl", &["storeutl", "-noout", "-certs", file], b"").matches(": Certificate").count(),
        ),
        (
            "gnutls",
            run("certtool", &["--certificate-info", "--infile", file], b"")
                .matches("X.509 Certificate Information:")
                .count(),
        ),
        (
            "java",
            run("keytool", &["-J-Duser.language=en", "-printcert", "-file", file], b"").matches("Owner: ").count(),
        ),
        ("python", number(run("python3", &["-c", python, file], b""))),
        ("go", number(run(go.to_str().unwrap(), &[file], b""))),
    ])
}

/// The same of a truststore, by those who read such files.
fn counted_in_truststore(path: &Path) -> BTreeMap<&'static str, usize> {
    let file = path.to_str().unwrap();
    let bytes = fs::read(path).unwrap();
    let password = ["-storepass", "changeit"];
    BTreeMap::from([
        (
            "openssl",
            run("openssl", &["pkcs12", "-in", file, "-nokeys", "-passin", "pass:changeit"], b"").matches(BEGIN).count(),
        ),
        (
            "gnutls",
            run("certtool", &["--p12-info", "--inder", "--password", "changeit"], &bytes).matches(BEGIN).count(),
        ),
        (
            "java",
            run(
                "keytool",
                &[&["-J-Duser.language=en", "-list", "-rfc", "-keystore", file][..], &password].concat(),
                b"",
            )
            .matches(BEGIN)
            .count(),
        ),
    ])
}

/// Every file beneath a folder.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_in(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Every certificate file of a generation, whatever families it has: all readers find as many as have a marker there, and
/// not none. What was looked at.
fn assert_all_agree(generation: &Path) -> Vec<String> {
    let scratch = tempfile::tempdir().unwrap();
    let mut looked_at = Vec::new();
    for path in files_in(generation) {
        let name = path.strip_prefix(generation).unwrap().to_str().unwrap().to_owned();
        let bytes = fs::read(&path).unwrap();
        if name.ends_with(".p12") {
            let counted = counted_in_truststore(&path);
            let most = *counted.values().max().unwrap();
            assert!(most > 0 && counted.values().all(|count| *count == most), "{name}: {counted:?}");
        } else if let Ok(json) = serde_json::from_slice::<serde_json::Value>(&bytes) {
            for (place, text) in inline(&json).iter().enumerate() {
                let file = scratch.path().join(format!("inline-{place}.pem"));
                fs::write(&file, text).unwrap();
                assert_agree(&format!("{name}, inline"), &file);
            }
            if inline(&json).is_empty() {
                continue;
            }
        } else if String::from_utf8_lossy(&bytes).contains(BEGIN) {
            assert_agree(&name, &path);
        } else {
            assert!(!name.ends_with(".pem"), "{name} holds no certificate");
            continue;
        }
        looked_at.push(name);
    }
    looked_at
}

fn assert_agree(name: &str, path: &Path) {
    let expected = fs::read_to_string(path).unwrap().matches(BEGIN).count();
    let counted = counted(path);
    assert!(expected > 0 && counted.values().all(|count| *count == expected), "{name}: {expected}, {counted:?}");
}

/// The certificates that stand as texts in a JSON file.
fn inline(json: &serde_json::Value) -> Vec<String> {
    match json {
        serde_json::Value::String(text) if text.contains(BEGIN) => vec![text.clone()],
        serde_json::Value::Array(values) => values.iter().flat_map(inline).collect(),
        serde_json::Value::Object(values) => values.values().flat_map(inline).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn all_who_read_certificates_find_the_same_in_every_file() {
    let both = "authorities = [\"DigiCert\", \"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]";
    let mut stage = Stage::begin().await.with_lines(both, "extra_anchors = [\"other-root.pem\"]").with_crls();
    // Envoy's kind has a context for one authority; its family of files can be had all the same.
    // Envoy's is no file of certificates, and cannot be of both authorities.
    let outputs: Vec<&str> = KINDS.outputs().map(|output| output.name()).filter(|name| *name != "envoy").collect();
    stage.configure_targets(&format!("[target.all]\nkind = \"generic\"\noutputs = {outputs:?}\n"));
    stage.on_day(45);
    stage.cycle().await;
    let looked_at = assert_all_agree(&stage.link("all"));
    println!("{looked_at:?}");
    for name in ["chain.pem", "leaves.pem", "trust-bundle.pem"] {
        assert!(looked_at.iter().any(|each| each == name), "{looked_at:?}");
    }
    assert!(looked_at.iter().any(|name| name.ends_with("current.pem")), "{looked_at:?}");
    assert!(looked_at.iter().any(|name| name.ends_with("upcoming.pem")), "{looked_at:?}");
}

#[tokio::test]
async fn and_where_nobody_is_trusted_any_more() {
    let mut stage = Stage::begin().await.with_crls();
    let outputs: Vec<&str> = KINDS.outputs().map(|output| output.name()).collect();
    stage.configure_targets(&format!("[target.all]\nkind = \"generic\"\noutputs = {outputs:?}\n"));
    stage.cycle().await;
    stage.world().revoke(Revoke::Current).unwrap();
    stage.an_hour_later();
    assert!(stage.cycle().await.deny_all);
    let looked_at = assert_all_agree(&stage.link("all"));
    assert!(looked_at.len() >= 3, "{looked_at:?}");
}

#[test]
fn a_servers_own_user_reads_what_it_needs_by_its_link_and_changes_nothing() {
    if !privilege::is_root() {
        return;
    }
    let sandbox = Sandbox::new();
    let outputs: Vec<&str> = KINDS.outputs().map(|output| output.name()).collect();
    sandbox.append(&format!("\n[target.app]\nkind = \"generic\"\noutputs = {outputs:?}\n"));
    fs::set_permissions(sandbox.folder.path(), Permissions::from_mode(0o755)).unwrap();
    // Whatever the umask it runs with.
    let mut strict = Command::new("sh");
    strict.args(["-c", "umask 0777; exec \"$0\" \"$@\""]);
    let sync = sandbox.command(&["sync"]);
    strict.arg(sync.get_program()).args(sync.get_args()).current_dir(sandbox.folder.path());
    let output = strict.output().unwrap();
    assert!(output.status.success(), "{output:?}");

    let as_nobody = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(sandbox.store());
        let mut command = privilege::as_nobody(&command);
        command.output().unwrap()
    };
    let read = as_nobody(
        "find -L \"$1/target/app\" -type f -exec cat {} + > /dev/null && find -L \"$1/target/app\" -type f | wc -l",
    );
    assert!(read.status.success() && read.stderr.is_empty(), "{}", String::from_utf8_lossy(&read.stderr));
    let files = files_in(&sandbox.store().join("target/app")).len();
    assert_eq!(String::from_utf8_lossy(&read.stdout).trim(), files.to_string());
    assert!(files >= 5, "{files}");
    for (change, script) in [
        ("a file", "echo >> \"$1/target/app/fingerprints.txt\""),
        ("a folder", "echo > \"$1/target/app/more.pem\""),
        ("the link", "ln -sfn /tmp \"$1/target/app\""),
        ("the store", "echo > \"$1/more\""),
        ("the lock", "cat \"$1/lock\""),
    ] {
        let refused = as_nobody(script);
        assert!(!refused.status.success(), "{change} can be had: {refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("ermission denied"), "{change}: {refused:?}");
    }
}
